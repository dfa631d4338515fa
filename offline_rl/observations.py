"""What an agent sees if nobody says so: the observation vectors, but no embedding of a text.

Many datasets keep an embedding of their own instruction among the observations. Beside the goal
that a trajectory is relabelled with, it would say something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from offline_rl.frames import as_matrix
from schemas import fields
from schemas.errors import RunError
from schemas.store import Store
from schemas.tables import FieldSpec

_TEXT_WORDS: Final = frozenset(
    [
        "language",
        "lang",
        "instruction",
        "instructions",
        "text",
        "texts",
        "caption",
        "captions",
        "prompt",
        "prompts",
        "sentence",
        "sentences",
    ]
)
_EMBEDDING_WORDS: Final = frozenset(["embedding", "embeddings", "embed", "emb"])
_IMAGE_WORDS: Final = frozenset(
    ["image", "images", "visual", "vision", "frame", "frames", "camera", "rgb", "depth"]
)
_WIDE: Final = 128  # values from which a vector may be an embedding; states are narrower
_STILL: Final = 0.75  # share of steps over which an embedding of a text stays the same, at least
_LOOKED_AT: Final = 10_000  # frames


@dataclass(frozen=True)
class DefaultObservations:
    """Columns that are seen, and those that are not, with the reason."""

    names: tuple[str, ...]
    left_out: dict[str, str]


def default_observations(store: Store) -> DefaultObservations:
    """Every column of `observation` of floats that is no embedding of a text, in stored order.

    Raises:
        RunError: there is none; says what can be named.
    """
    columns = [f for f in store.manifest.fields if _is_vector(f)]
    named = {f.name: why for f in columns if (why := _named_as_text(f.name))}
    wide = [f for f in columns if f.name not in named and _width(f) >= _WIDE]
    left_out = named | _shaped_as_text(store, wide)
    names = tuple(f.name for f in columns if f.name not in left_out)
    if not names:
        found = "; ".join(f"{name} {why}" for name, why in left_out.items())
        raise RunError(
            f"{store.location}: no observation vector in the steps table"
            + (f" but what looks like an embedding of a text ({found})" if found else "")
            + "; name what the agent sees with --observation embedding:NAME"
            + (f", or with --observation {next(iter(left_out))}" if left_out else "")
        )
    return DefaultObservations(names, left_out)


def _is_vector(spec: FieldSpec) -> bool:
    is_float = spec.kind == "tensor" and spec.dtype.startswith("float") and None not in spec.shape
    return is_float and spec.name.split(".")[0] == fields.OBSERVATION


def _width(spec: FieldSpec) -> int:
    return int(np.prod([n for n in spec.shape if n is not None], dtype=int))


def _named_as_text(name: str) -> str | None:
    """Why a column is an embedding of a text by its name; None if it is not."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name.removeprefix(f"{fields.OBSERVATION}."))
    words = set(re.split(r"[^a-z0-9]+", spaced.lower()))
    if words & _TEXT_WORDS or (words & _EMBEDDING_WORDS and not words & _IMAGE_WORDS):
        return "is named like an embedding of a text"
    return None


def _shaped_as_text(store: Store, columns: Sequence[FieldSpec]) -> dict[str, str]:
    """Wide columns that hardly ever change within an episode, with the reason.

    Frames of the first slices are looked at.
    """
    names = [f.name for f in columns]
    steps = np.zeros(len(names), int)
    still = np.zeros(len(names), int)
    for piece in store.slices if names else ():
        content = store.read_slices("steps", [piece], [fields.STEP, *names])
        inside = content.column(fields.STEP).to_numpy()[1:] > 0  # not from episode to episode
        for place, name in enumerate(names):
            values = as_matrix(content.column(name))
            same = (values[1:] == values[:-1]).all(axis=1) & inside
            steps[place] += inside.sum()
            still[place] += same.sum()
        if steps[0] >= _LOOKED_AT:
            break
    return {
        f.name: f"has {_width(f)} values that hardly change within an episode, as those of a text"
        for f, count, same in zip(columns, steps, still, strict=True)
        if count and same >= _STILL * count
    }
