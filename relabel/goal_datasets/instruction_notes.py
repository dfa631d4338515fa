"""What is unusual about the instructions of a store, with regard to a set of goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from relabel.goal_datasets.inputs import DatasetInputs
from relabel.goals.instructions import broken_off, language_columns, texts
from schemas import fields
from schemas.goal_datasets import DatasetOptions
from schemas.slices import Slice
from schemas.store import Store


@dataclass
class _Heard:
    """What one column says in the episodes seen so far."""

    texts: dict[str, None] = field(default_factory=dict)  # distinct, in order of appearance
    broken_off: int = 0  # episodes in which a text is followed by a step without one

    def add(self, column: pa.ChunkedArray) -> None:
        """Hears the texts of some rows."""
        self.texts.update(dict.fromkeys(texts(column)[1].unique().to_pylist()))


def instruction_notes(store: Store, inputs: DatasetInputs, options: DatasetOptions) -> list[str]:
    """What keeps instructions from becoming commands; reads every text of the store once.

    Args:
        store: with complete steps and episodes.
        inputs: with the goals.
        options: say which episodes count.
    """
    spoken, whole = language_columns(store.manifest)
    heard = {name: _Heard() for name in (*spoken, *whole)}
    episodes = 0
    for piece in store.slices:
        episodes += _hear(store, piece, (spoken, whole), options, heard)
    notes = []
    for name, column in heard.items():
        unknown = [text for text in column.texts if not inputs.names(text)]
        if unknown:
            notes.append(
                f"{name}: {len(unknown)} of {len(column.texts)} instructions match no goal's text, "
                f"so no commanded trajectory covers their steps; such as “{unknown[0]}”"
            )
        if column.broken_off and not options.commands_hold:
            notes.append(
                f"{name}: in {column.broken_off} of {episodes} episodes a text is followed by "
                "steps without one, and its command ends there; if it stands until the next text, "
                "give --commands-hold"
            )
    return notes


def _hear(
    store: Store,
    piece: Slice,
    columns: tuple[Sequence[str], Sequence[str]],
    options: DatasetOptions,
    heard: dict[str, _Heard],
) -> int:
    """Adds what one slice says; the number of its episodes that count."""
    spoken, whole = columns
    names = [fields.EPISODE_ID, fields.LENGTH, *whole]
    episodes = store.read_slices("episodes", [piece], names)
    ids = episodes.column(fields.EPISODE_ID).to_pylist()
    taken = np.array([options.takes(episode_id) for episode_id in ids], bool)
    lengths = episodes.column(fields.LENGTH).to_numpy()
    steps = store.read_slices("steps", [piece], [fields.EPISODE_ID, *spoken])
    steps = steps.filter(pa.array(np.repeat(taken, lengths)))
    episodes, lengths = episodes.filter(pa.array(taken)), lengths[taken]
    first = np.repeat(np.cumsum(lengths) - lengths, lengths)
    silent = np.ones(len(lengths), bool)
    for name in spoken:
        column = steps.column(name)
        heard[name].add(column)
        heard[name].broken_off += broken_off(column, first)
        own = np.repeat(np.arange(len(lengths)), lengths)
        silent[own[texts(column)[0]]] = False
    for name in whole:
        counts = pa.array(silent if name == fields.LANGUAGE else np.ones(len(lengths), bool))
        heard[name].add(episodes.column(name).filter(counts))
    return len(lengths)
