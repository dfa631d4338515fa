"""The one way open_clip is imported here: beside a CPU-only torch, and without torch's compiler.

open_clip imports torchvision, for its image transforms, and timm.

The registry's torchvision is built for CUDA: beside a CPU-only torch its compiled operators
cannot be loaded, and its import stops at "operator torchvision::nms does not exist", because
it registers shape functions for two operators that nobody defined. Defining the two schemas
first, without kernels, lets the import pass. The transforms never call them; a detector that
did would get torch's own error for an operator without a kernel.

Both also import `torch._dynamo`, two seconds of modules, for one function of a detector and
one decorator that is to keep a method from being compiled. They get the same two, looked up
when they are called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import library

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_COMPILER = "torch._dynamo"
_torch: Any = torch  # its operators and its compiler carry no types,
_library: Any = library  # nor does this part of it
# A Library withdraws its definitions when it is collected, so it lives as long as the module.
_kept: list[Any] = []


def import_open_clip() -> Any:
    """open_clip; a first import takes a second or two.

    It changes nothing where nothing is amiss, and may be called any number of times.

    Raises:
        ImportError: open_clip or torchvision is not installed.
    """
    if "torchvision" not in sys.modules:
        _define_operators()
    with _compiler_left_out():
        return importlib.import_module("open_clip")


# --- torchvision's operators ----------------------------------------------------------------


def operators_are_stand_ins() -> bool:
    """Whether torchvision could only be imported with schemas in the place of its operators."""
    return bool(_kept)


def _define_operators() -> None:
    """Defines the missing operators, if torchvision could not be imported without."""
    if _kept or torch.version.cuda is not None:
        return
    if hasattr(torch.ops.torchvision, "nms") or not _operators_fail_to_load():
        return
    operators = _library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        operators.define(schema)
    _kept.append(operators)


def _operators_fail_to_load() -> bool:
    """Whether torchvision is installed with a compiled part that this torch cannot load."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False  # not installed: its own ImportError says so better
    # The same call that torchvision makes at import, where it swallows the error.
    try:
        for compiled in sorted(Path(spec.origin).parent.glob("_C.*")):
            _torch.ops.load_library(str(compiled))
    except (ImportError, OSError):
        return True
    return not hasattr(torch.ops.torchvision, "nms")


# --- torch's compiler -----------------------------------------------------------------------


class _Later(ModuleType):
    """A module that is imported when something is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # asked by the import system: no reason to load
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _is_compile_supported(device: Any) -> Any:
    """torch's own, of torch._dynamo.utils."""
    return importlib.import_module(f"{_COMPILER}.utils").is_compile_supported(device)


def _disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """torch.compiler.disable in the form that torch itself uses: it looks dynamo up when called."""
    del reason
    return _torch._compile._disable_dynamo(fn, recursive)


@contextmanager
def _compiler_left_out() -> Iterator[None]:
    """Modules imported inside need no compiler until they call it."""
    if _COMPILER in sys.modules:
        yield
        return
    disable = _torch.compiler.disable
    utils = _Later(f"{_COMPILER}.utils")
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules[utils.__name__] = utils
    _torch.compiler.disable = _disable
    try:
        yield
    finally:
        _torch.compiler.disable = disable
        if sys.modules.get(utils.__name__) is utils:
            del sys.modules[utils.__name__]
