"""Trees of tensors and plain values as safetensors and JSON: nothing in them can be code.

d3rlpy keeps an agent in pickles, which run whatever the file says when they are opened. A state of
nested dicts is written here in two files instead:

    NAME.safetensors   every tensor, by number
    NAME.json          the tree, with a tensor's number in its place
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from schemas.errors import RunError

_TENSOR = "tensor"
_PLAIN = (bool, int, float, str, type(None))


def write_tree(folder: Path, name: str, tree: Any) -> None:
    """Writes a tree as `NAME.safetensors` and `NAME.json`.

    Args:
        folder: exists.
        name: of both files.
        tree: dicts with keys of text or whole numbers, lists and tuples, of tensors and plain
            values.

    Raises:
        TypeError: it holds anything else.
    """
    tensors: dict[str, torch.Tensor] = {}
    told = _told(tree, tensors)
    # Not `save_file`, which has an error of its own for a full disk.
    (folder / f"{name}.safetensors").write_bytes(save(tensors))
    (folder / f"{name}.json").write_text(json.dumps(told))


def read_tree(folder: Path, name: str) -> Any:
    """What `write_tree` wrote; tensors on the CPU.

    Raises:
        RunError: a file is missing or is no such tree.
    """
    try:
        told = json.loads((folder / f"{name}.json").read_text())
        return _built(told, load_file(folder / f"{name}.safetensors"))
    except Exception as error:  # of JSON, safetensors and whatever a wrong tree leads to
        raise RunError(f"{folder / name}: cannot be read: {error}") from error


def _told(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """A tree as JSON; every kind of node is a list that begins with its name."""
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()  # tensors that share memory
        return [_TENSOR, key]
    if isinstance(value, Mapping):
        if any(type(key) not in (str, int) for key in value):
            raise TypeError(f"keys {list(value)[:3]}: expected text or whole numbers")
        return ["dict", [[key, _told(inner, tensors)] for key, inner in value.items()]]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_told(inner, tensors) for inner in value]]
    if type(value) in _PLAIN:
        return ["value", value]
    raise TypeError(f"{type(value).__name__} is neither a tensor nor a plain value")


def _built(told: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    kind, content = told
    if kind == _TENSOR:
        return tensors[content]
    if kind == "dict":
        return {key: _built(inner, tensors) for key, inner in content}
    if kind in ("list", "tuple"):
        values = [_built(inner, tensors) for inner in content]
        return values if kind == "list" else tuple(values)
    if kind == "value" and type(content) in _PLAIN:
        return content
    raise ValueError(f"unknown node {str(kind)[:20]!r}")
