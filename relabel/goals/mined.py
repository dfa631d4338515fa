"""Goals from the instructions of a source: one for each thing that is said, in all its spellings.

Instructions that say the same to people are one goal, worded as most episodes word it. Those
that are one to the encoder as well become one as soon as it has read them.

    field:language_instruction      each text is a goal
    field:phrasings                 a column of lists: the texts of a row are phrasings of a goal
    field:first,second,third        columns: what an episode says in them are phrasings of a goal
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relabel.goals.files import FIELD_PREFIX
from relabel.goals.instructions import texts
from relabel.goals.prompts import Alike, Prompt
from schemas import fields
from schemas.errors import GoalError, StoreError
from schemas.goals import DEFAULT_NULL_PROMPTS, GoalSet
from schemas.manifests import StoreManifest
from schemas.slices import Slice
from schemas.store import Store
from schemas.text_fields import TextField, text_field
from schemas.texts import brief, normalised

Phrasings = tuple[str, ...]
_SEPARATOR: Final = "\x1f"  # between texts of one row, while they are one string
_EXAMPLES: Final = 3


@dataclass(frozen=True)
class MinedGoals:
    """A goal set made of what a source says."""

    goals: GoalSet
    episodes: tuple[int, ...]  # that say it, per goal
    notes: tuple[str, ...] = ()  # which texts became one goal

    def merged(self, alike: Alike) -> MinedGoals:
        """Those goals as one that the encoder cannot tell apart, phrasing by phrasing.

        The wording is that of the goal that most episodes say; the others are `spoken` of it.

        Args:
            alike: from `relabel.goals.readings`, of `goals`.
        """
        groups: dict[frozenset[object], list[int]] = defaultdict(list)
        for place, goal in enumerate(self.goals.goals):
            said = (alike[Prompt((text,), self.goals.templates)] for text in goal.texts)
            groups[frozenset(said)].append(place)
        if len(groups) == len(self.episodes):
            return self
        most_first = [sorted(group, key=lambda i: -self.episodes[i]) for group in groups.values()]
        texts = [[self.goals.goals[place].texts for place in group] for group in most_first]
        goals = GoalSet.from_phrasings(
            [own[0] for own in texts],
            spoken=[_unlike(own[0], own[1:]) for own in texts],
            name=self.goals.name,
            null_prompts=self.goals.null_prompts,
        )
        pairs = [(other[0], own[0][0]) for own in texts for other in own[1:]]
        note = f"{len(pairs)} of the texts of the source are one goal with another, because the "
        note += f"encoder cannot tell them apart: {_such(pairs)}"
        episodes = tuple(sum(self.episodes[place] for place in group) for group in most_first)
        return MinedGoals(goals, episodes, (*self.notes, note))


def _unlike(kept: Phrasings, others: Iterable[Phrasings]) -> Phrasings:
    """Texts of the others that do not say the same to people as one that is kept."""
    known = set(map(normalised, kept))
    return tuple(dict.fromkeys(t for own in others for t in own if normalised(t) not in known))


def _such(pairs: Sequence[tuple[str, str]]) -> str:
    """Some pairs of a text and the one that stands for it."""
    told = "; ".join(f"“{brief(other)}” and “{brief(kept)}”" for other, kept in pairs[:_EXAMPLES])
    return f"{told}; and so on" if len(pairs) > _EXAMPLES else told


def mined_fields(manifest: StoreManifest, names: str) -> tuple[TextField, ...]:
    """The text columns that goals are to be mined from.

    Args:
        manifest: of the store.
        names: as behind `field:`, a comma between several.

    Raises:
        GoalError: no such text column, or one twice.
    """
    found = tuple(text_field(manifest, name.strip()) for name in names.split(","))
    twice = [name for name, count in Counter(column.name for column in found).items() if count > 1]
    if twice:
        raise GoalError(f"{FIELD_PREFIX}{names}: the column {twice[0]} is named twice")
    return found


def mine_goals(store: Store, names: str, null_prompts: Sequence[str] | None = None) -> MinedGoals:
    """One goal per distinct thing that the instructions stored in a store say.

    Args:
        store: its steps and episodes may still be unfinished, but need all slices.
        names: text columns, a comma between several.
        null_prompts: captions of frames that show none of the goals; None is the default.

    Raises:
        GoalError: no such text column, or it holds no text.
    """
    columns = mined_fields(store.manifest, names)
    said = _Said()
    for piece in store.slices:
        for phrasings in _episodes(store, piece, columns):
            said.add(phrasings)
    if not said.groups:
        raise GoalError(f"{FIELD_PREFIX}{names}: expected at least one text, got none")
    nulls = DEFAULT_NULL_PROMPTS if null_prompts is None else tuple(null_prompts)
    name = f"field-{'-'.join(column.name for column in columns)}"
    groups = sorted(said.groups.values(), key=lambda group: (list(group.spellings), group.texts))
    own = [group.texts for group in groups]
    goals = GoalSet.from_phrasings(own, name=name, null_prompts=nulls)
    return MinedGoals(goals, tuple(group.episodes for group in groups), said.notes())


@dataclass
class _Group:
    """One thing that is said: its phrasings, each in all its spellings."""

    episodes: int = 0
    spellings: dict[str, Counter[str]] = field(default_factory=dict)  # by what they say

    @property
    def texts(self) -> Phrasings:
        """The commonest spelling of each phrasing; of equally common ones, the first by name."""
        return tuple(min(found, key=lambda t: (-found[t], t)) for found in self.spellings.values())


class _Said:
    """Everything that is said, over all episodes."""

    def __init__(self) -> None:
        self.groups: dict[frozenset[str], _Group] = {}
        self._says: dict[str, str] = {}

    def add(self, episode: Iterable[Phrasings]) -> None:
        """Adds what one episode says: sets of phrasings, in any spelling."""
        seen: dict[frozenset[str], list[str]] = defaultdict(list)
        for phrasings in episode:
            for text in phrasings:
                if text not in self._says:
                    self._says[text] = normalised(text)
            seen[frozenset(self._says[text] for text in phrasings)] += phrasings
        for key, spelled in seen.items():
            group = self.groups.setdefault(key, _Group())
            group.episodes += 1
            for text in dict.fromkeys(spelled):
                group.spellings.setdefault(self._says[text], Counter())[text] += 1

    def notes(self) -> tuple[str, ...]:
        """For people: which spellings became one."""
        pairs = {
            (other, kept): None
            for group in self.groups.values()
            for kept, spelled in zip(group.texts, group.spellings.values(), strict=True)
            for other in spelled
            if other != kept
        }
        if not pairs:
            return ()
        return (
            f"{len(pairs)} of the texts of the source differ from a commoner one only in case, "
            f"spaces, signs or spelling of letters, and are one goal with it: {_such(list(pairs))}",
        )


def _episodes(
    store: Store, piece: Slice, columns: Sequence[TextField]
) -> Iterator[list[Phrasings]]:
    """What each episode of a slice says: sets of phrasings, none empty.

    If no column changes within the episode, all that it says is one set. If one does, each
    step's texts are one.
    """
    lengths = store.read_slices("episodes", [piece], [fields.LENGTH]).column(fields.LENGTH)
    tables = {table: [c for c in columns if c.table == table] for table in ("steps", "episodes")}
    steps, of_step = _distinct(store, piece, tables["steps"], lengths.to_numpy())
    _, of_episode = _distinct(store, piece, tables["episodes"], np.ones(len(lengths), np.int64))
    bounds = np.searchsorted(steps, np.arange(len(lengths) + 1))
    for episode in range(len(lengths)):
        whole = of_episode[episode] if of_episode else []
        rows = [[*row, *whole] for row in of_step[bounds[episode] : bounds[episode + 1]]]
        yield _sets(rows or [whole])


def _sets(rows: list[list[Phrasings]]) -> list[Phrasings]:
    said = [dict.fromkeys(p for p in column if p) for column in zip(*rows, strict=True)]
    if all(len(own) <= 1 for own in said):
        rows = [[p for own in said for p in own]]
    sets = (tuple(dict.fromkeys(t for phrasings in row for t in phrasings)) for row in rows)
    return [phrasings for phrasings in dict.fromkeys(sets) if phrasings]


def _distinct(
    store: Store, piece: Slice, columns: Sequence[TextField], lengths: NDArray[np.integer]
) -> tuple[NDArray[np.int64], list[list[Phrasings]]]:
    """The distinct rows of each episode: (n,) the episode, and what each column says.

    Args:
        store: read from.
        piece: the slice.
        columns: of one table.
        lengths: (E,) rows of each episode.
    """
    if not columns:
        return np.zeros(0, np.int64), []
    names = [column.name for column in columns]
    table = store.read_slices(columns[0].table, [piece], names)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    if len(episode) != table.num_rows:
        raise StoreError(f"{store.location}, {piece.name}: episodes and steps differ in length")
    coded = [_coded(table.column(name)) for name in names]
    rows = np.unique(np.stack([episode, *(codes for codes, _ in coded)], axis=1), axis=0)
    said = [said for _, said in coded]
    return rows[:, 0], [
        [said[c][code] for c, code in enumerate(row)] for row in rows[:, 1:].tolist()
    ]


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[Phrasings]]:
    """(T,) a number per row, and what the rows of each number say; () for nothing."""
    rows, values = texts(column)
    values = pc.replace_substring(values, _SEPARATOR, " ")
    stops = np.cumsum(np.bincount(rows, minlength=len(column)))
    offsets = pa.array(np.append(0, stops).astype(np.int32))
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, values), _SEPARATOR)
    coded = joined.dictionary_encode()
    said = [
        tuple(dict.fromkeys(text.strip() for text in row.split(_SEPARATOR) if text.strip()))
        for row in coded.dictionary.to_pylist()
    ]
    return coded.indices.to_numpy(zero_copy_only=False).astype(np.int64), said
