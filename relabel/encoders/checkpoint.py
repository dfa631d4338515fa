"""The weights in a torch file, whatever lies around them, without running what else it holds.

Training code keeps the weights beside an optimiser's state, under one name or another, and wraps
the names of the tensors. A file is read with `weights_only=True`; one that needs more than that is
named for what it is.
"""

from __future__ import annotations

import importlib
import pickle
import shlex
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from relabel.encoders.weights import CONFIG_FILE, EncoderSource
from schemas.errors import EncoderError

_WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "module")  # what holds the weights
_PREFIXES: Final = ("module.", "_orig_mod.", "model.")  # DDP, torch.compile, Lightning
# Scalars that OpenAI's models keep among their weights.
_OF_OPENAI: Final = ("input_resolution", "context_length", "vocab_size")
_torch: Any = torch


@contextmanager
def plain_checkpoint(source: EncoderSource) -> Iterator[tuple[str, Path]]:
    """A model as open_clip can load it: its name for open_clip, and its weights file.

    Args:
        source: the model; its file is left as it is, and copied if it holds more than open_clip
            understands.

    Raises:
        EncoderError: The file holds something else than weights, or weights of OpenAI for an
            architecture with another activation.
    """
    path = source.checkpoint
    state = None if path.suffix == ".safetensors" else _surrounded(source)
    if state is None:
        yield source.model_name, path
        return
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-weights-") as name:
        copy = Path(name) / "open_clip_model.safetensors"
        importlib.import_module("safetensors.torch").save_file(state, copy)
        model_name = source.model_name
        if source.is_directory:
            shutil.copy(path.parent / CONFIG_FILE, name)
            model_name = f"local-dir:{name}"
        yield model_name, copy


def _surrounded(source: EncoderSource) -> dict[str, torch.Tensor] | None:
    """The weights of a file that open_clip would not find in it; None if it would."""
    whole = _read(source)
    state, names = _unwrapped(source, whole), []
    if set(_OF_OPENAI) <= state.keys():
        _check_openai(source)
        names = [*_OF_OPENAI]
    plain = {name: tensor for name, tensor in state.items() if name not in names}
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) for n in plain)), None):
        plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    found = whole.get("state_dict", whole)
    if found is state and plain.keys() == state.keys():
        return None
    # Tensors that share memory are written apart.
    return {name: tensor.detach().clone().contiguous() for name, tensor in plain.items()}


def _unwrapped(source: EncoderSource, whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping of names to tensors inside a checkpoint."""
    state: Any = whole
    while isinstance(state, Mapping) and not _all_tensors(state):
        inner = (state[key] for key in _WRAPPERS if isinstance(state.get(key), Mapping))
        state = next(inner, None)
    if isinstance(state, Mapping) and state:
        return state
    keys = ", ".join(sorted(map(str, whole))[:8])
    raise EncoderError(
        f"encoder {source.name}: {source.checkpoint}: expected tensors by name, alone or under one "
        f"of {', '.join(_WRAPPERS)}; got {keys or 'nothing'}"
    )


def _all_tensors(state: Mapping[str, Any]) -> bool:
    return all(isinstance(value, torch.Tensor) for value in state.values())


def _read(source: EncoderSource) -> Mapping[str, Any]:
    """What a torch file holds, if that can be had without running code."""
    path = source.checkpoint
    if _is_torchscript(path):
        target = path.with_suffix(".pth")
        code = (
            f"import torch; torch.save(torch.jit.load({str(path)!r}, map_location='cpu')"
            f".state_dict(), {str(target)!r})"
        )
        raise EncoderError(
            f"encoder {source.name}: {path} is a TorchScript program, as OpenAI's CLIP is, and no "
            "code of a checkpoint is run here; where you trust it, take its weights out once: "
            f"python -c {shlex.quote(code)}, and name {target.name}"
        )
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise EncoderError(
            f"encoder {source.name}: {path} could not be loaded: it is damaged, or holds objects "
            f"beside tensors{_objects(path)}, for which code would have to be run; where you trust "
            "it, save its state dict alone, best as safetensors"
        ) from error
    return whole if isinstance(whole, Mapping) else {}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _objects(path: Path) -> str:
    """Which kinds of objects, if the file can tell."""
    try:
        found = _torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # too damaged to be looked into, which the message says
        return ""
    return f" ({', '.join(sorted(found))})" if found else ""


def _check_openai(source: EncoderSource) -> None:
    """All of OpenAI's weights were trained with QuickGELU; nothing else in them tells."""
    if source.config.get("quick_gelu", False):
        return
    raise EncoderError(
        f"encoder {source.name}: QuickGELU mismatch: {source.checkpoint} holds weights of OpenAI, "
        f"which were trained with quick_gelu=True, and {source.model_name} computes without, so "
        f"every embedding would be wrong; use {source.model_name}-quickgelu"
    )
