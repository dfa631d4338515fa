"""The way back from an agent's joined action to what an environment takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_rl.actions import ActionLayout, typed
from schemas import fields
from schemas.errors import RunError

Restore = Callable[[Any], Any]  # an agent's action → the environment's


def restorer(layout: ActionLayout, space: Any) -> Restore:
    """How an agent's action becomes one that an environment takes.

    A `Dict` space gets nested dicts by the columns' names, `action.arm` under `arm`. Any other
    gets the joined values, in its shape and type; of a space that is not Gymnasium's, a single
    column comes in its own shape and type.

    Args:
        layout: of the agent.
        space: the environment's `action_space`.

    Raises:
        RunError: the space does not take such actions.
    """
    if isinstance(getattr(space, "spaces", None), Mapping):
        return lambda action: _nested(layout, space, layout.split(action))
    shape, dtype = getattr(space, "shape", None), getattr(space, "dtype", None)
    if shape is None or dtype is None:
        return lambda action: _plain(layout, action)
    if int(np.prod(shape, dtype=int)) != layout.width:
        raise RunError(
            f"the environment takes actions of shape {tuple(shape)}, the agent's have "
            f"{layout.width} value{'s' * (layout.width != 1)}: {layout}"
        )

    def restore(action: Any) -> Any:
        flat = np.concatenate([np.ravel(value) for value in layout.split(action).values()])
        made = typed(flat, np.dtype(dtype)).reshape(shape)
        return made if shape else made[()]

    return restore


def _plain(layout: ActionLayout, action: Any) -> Any:
    parts = list(layout.split(action).values())
    if len(parts) > 1:
        return np.concatenate([np.ravel(part) for part in parts])
    return parts[0] if parts[0].shape else parts[0][()]


def _nested(layout: ActionLayout, space: Any, parts: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The columns' values by name, as an environment of a `Dict` space takes them."""
    names = {column: _keys(layout, column) for column in parts}
    made: dict[str, Any] = {}
    for column, value in parts.items():
        inner, place = space, made
        for key in names[column][:-1]:
            inner, place = _inner(inner, key, column), place.setdefault(key, {})
        inner = _inner(inner, names[column][-1], column)
        place[names[column][-1]] = _fitted(value, inner, column)
    _check_whole(space, made)
    return made


def _keys(layout: ActionLayout, column: str) -> list[str]:
    """The path of a column below the action: `action.arm` is `arm`."""
    keys = column.split(".")
    return keys[1:] if len(keys) > 1 and keys[0] == fields.ACTION else keys


def _inner(space: Any, key: str, column: str) -> Any:
    spaces = getattr(space, "spaces", None)
    if not isinstance(spaces, Mapping) or key not in spaces:
        known = ", ".join(spaces) if isinstance(spaces, Mapping) else type(space).__name__
        raise RunError(f"the environment's actions have no {key!r} for {column}, only {known}")
    return spaces[key]


def _fitted(value: NDArray[Any], space: Any, column: str) -> Any:
    if int(np.prod(space.shape, dtype=int)) != value.size:
        raise RunError(
            f"{column}: the environment takes shape {tuple(space.shape)}, the agent's has "
            f"{tuple(value.shape)}"
        )
    made = typed(value, np.dtype(space.dtype)).reshape(space.shape)
    return made if space.shape else made[()]


def _check_whole(space: Any, made: Mapping[str, Any], path: str = "") -> None:
    """Refuses an environment that wants more than the agent does."""
    for key, inner in space.spaces.items():
        if key not in made:
            raise RunError(
                f"the environment's actions need {path}{key}, which no --action column of the run "
                f"gives; it has {', '.join(path + name for name in made)}"
            )
        if isinstance(made[key], Mapping):
            _check_whole(inner, made[key], f"{path}{key}.")
