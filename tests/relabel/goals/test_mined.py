"""Goals mined from a store's texts: spellings, lists of phrasings, several columns."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from relabel.goals.mined import MinedGoals, mine_goals, mined_fields
from relabel.goals.prompts import negatives_of, resolve_prompts
from relabel.goals.readings import Readings
from schemas.errors import GoalError, StoreError
from schemas.manifests import StoreManifest
from schemas.slices import Slice
from schemas.store import MANIFEST, Store
from schemas.tables import FieldSpec
from tests import small

TEXT, LIST = pa.string(), pa.list_(pa.string())
Told = Any  # what one step or episode has in one column: a text, a list of texts, or None


class ToldStore:
    """Of a `Store` what mining needs, over texts that a test tells: two episodes a slice.

    Args:
        steps: per column, per episode, per step what it says.
        episodes: per column, per episode what it says.
    """

    location = "told"

    def __init__(
        self, steps: dict[str, list[list[Told]]], episodes: dict[str, list[Told]] | None = None
    ) -> None:
        self._steps = steps
        self._episodes = {} if episodes is None else episodes
        some = [list(map(len, column)) for column in steps.values()]
        self._lengths = some[0] if some else [1] * len(next(iter(self._episodes.values())))
        count = len(self._lengths)
        where: dict[str, Any] = {"count": -(-count // 2), "split": "t", "shard": 0}
        self.slices = [
            Slice(index=start // 2, start=start, stop=min(start + 2, count), **where)
            for start in range(0, count, 2)
        ]
        self.manifest = StoreManifest.model_construct(
            fields=tuple(_spec(name, c[0]) for name, c in steps.items()),
            metadata=tuple(_spec(name, c) for name, c in self._episodes.items()),
            language_fields=(),
        )

    def read_slices(self, table: str, pieces: Sequence[Slice], columns: list[str]) -> pa.Table:
        """Columns of one slice."""
        (piece,) = pieces
        own = slice(piece.start, piece.stop)
        content: dict[str, pa.Array] = {}
        for name in columns:
            if name == "length":
                content[name] = pa.array(self._lengths[own])
            elif table == "steps":
                values = [told for episode in self._steps[name][own] for told in episode]
                content[name] = pa.array(values, _type(self._steps[name]))
            else:
                bare = name.removeprefix("episode_metadata.")
                content[name] = pa.array(self._episodes[bare][own], _type([self._episodes[bare]]))
        return pa.table(content)


def _type(column: list[list[Told]]) -> pa.DataType:
    return LIST if any(isinstance(t, list) for told in column for t in told) else TEXT


def _spec(name: str, told: list[Told]) -> FieldSpec:
    shape = (None,) if any(isinstance(t, list) for t in told) else ()
    return FieldSpec(name=name, kind="text", dtype="object", shape=shape)


def mine(store: Any, names: str, **how: Any) -> MinedGoals:
    return mine_goals(store, names, **how)


def texts(mined: MinedGoals) -> list[tuple[str, ...]]:
    return [goal.texts for goal in mined.goals.goals]


# --- one column of texts


def test_distinct_instructions_become_goals(store: Store) -> None:
    mined = mine_goals(store, "language_instruction")
    assert texts(mined) == [("fermé",), ("open the drawer",)]
    assert mined.goals.name == "field-language_instruction"
    assert mined.goals.null_prompts == ("an empty room",)
    assert mined.notes == ()
    again = mine_goals(store, "language_instruction", null_prompts=["a table"])
    assert again.goals.null_prompts == ("a table",)
    assert mine_goals(store, "language_instruction", null_prompts=[]).goals.null_prompts == ()


def test_goals_can_be_mined_before_the_steps_are_finished(store: Store) -> None:
    store.folder.delete(f"steps/{MANIFEST}")
    assert len(mine_goals(store, "language_instruction").episodes) == 2


@pytest.mark.parametrize("column", ["instruction", "action", "observation/front"])
def test_a_field_that_is_no_text_lists_the_texts(store: Store, column: str) -> None:
    with pytest.raises(
        GoalError, match=rf"field:{column}: no such text field; there are language_instruction, "
    ):
        mine_goals(store, f"language_instruction,{column}")


def test_a_field_named_twice_is_refused(store: Store) -> None:
    with pytest.raises(GoalError, match="column language_instruction is named twice"):
        mined_fields(store.manifest, "language_instruction, language_instruction")


def test_a_field_without_text_is_refused(tmp_path: Path) -> None:
    items = small.episodes()
    for step in (step for episode in items for step in episode["steps"]):
        step["language_instruction"] = "  "
    source = small.write_source(tmp_path / "src", items)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store, []))
    with pytest.raises(GoalError, match="field:language_instruction: expected at least one text"):
        mine_goals(store, "language_instruction")


def test_spellings_are_one_goal_worded_as_most_episodes_do() -> None:
    said = ["Open it.", "open it", "open it", " OPEN  it", "open it", "shut it", None, ""]
    mined = mine(ToldStore({"text": [[text] * 3 for text in said]}), "text")
    assert texts(mined) == [("open it",), ("shut it",)]
    assert mined.episodes == (5, 1)
    (note,) = mined.notes
    assert "2 of the texts of the source differ from a commoner one only in case" in note
    assert "“Open it.” and “open it”" in note


def test_an_instruction_that_changes_is_several_goals() -> None:
    mined = mine(ToldStore({"text": [["a b", "a b", "c d"], [None, "c d", "C d."]]}), "text")
    assert texts(mined) == [("a b",), ("c d",)]
    assert mined.episodes == (1, 2)


# --- phrasings


def test_a_row_of_phrasings_is_one_goal() -> None:
    lists = [["open it", "pull it"], ["Pull it.", "open it", ""], ["open it"], [], [None, "x"]]
    mined = mine(ToldStore({"told": [[own, own] for own in lists]}), "told")
    assert texts(mined) == [("open it",), ("open it", "Pull it."), ("x",)]
    assert mined.episodes == (1, 2, 1)
    prompts = resolve_prompts(mined.goals)
    assert negatives_of(prompts, 0) == ["x", "an empty room"], "goals that share a phrasing"


def test_columns_that_do_not_change_are_phrasings_of_one_goal_per_episode() -> None:
    store = ToldStore(
        {
            "first": [["open it", "open it"], ["open it"], ["x", "x"], [None, None]],
            "second": [[None, "pull it"], ["pull it"], ["", ""], ["", None]],
        }
    )
    mined = mine(store, "first,second")
    assert texts(mined) == [("open it", "pull it"), ("x",)]
    assert mined.episodes == (2, 1)
    assert mined.goals.name == "field-first-second"


def test_columns_that_change_are_phrasings_step_by_step() -> None:
    store = ToldStore(
        {"first": [["a b", "a b", "c d"]], "second": [["e f", "e f", "g h"]]},
        {"task": ["all of it"]},
    )
    assert texts(mine(store, "first,second")) == [("a b", "e f"), ("c d", "g h")]
    assert texts(mine(store, "first,task,second")) == [
        ("a b", "e f", "all of it"),
        ("c d", "g h", "all of it"),
    ]


def test_texts_of_the_episode() -> None:
    told: list[Told] = ["open it", "Open it", None, "shut it", "open it"]
    mined = mine(ToldStore({"text": [["x"]] * 5}, {"task": told}), "episode_metadata/task")
    assert texts(mined) == [("open it",), ("shut it",)]
    assert mined.episodes == (3, 1)


def test_tables_that_do_not_fit_are_refused() -> None:
    store = ToldStore({"text": [["a"], ["b"]]})
    store._lengths = [1, 2]
    with pytest.raises(StoreError, match="episodes and steps differ in length"):
        mine(store, "text")


_WORD = st.sampled_from(["cup", "Cup", "cup.", " key", "key", "box!", "", " "])
_TEXT = st.none() | _WORD
_LISTS = st.lists(_TEXT, max_size=3)


@st.composite
def stores(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=5))
    kinds = draw(st.lists(st.sampled_from([_TEXT, _LISTS]), min_size=1, max_size=3))
    steps = {
        f"s{i}": [draw(st.lists(kind, min_size=n, max_size=n)) for n in lengths]
        for i, kind in enumerate(kinds)
    }
    of_episode = draw(st.none() | st.sampled_from([_TEXT, _LISTS]))
    if of_episode is None:
        return steps, {}
    return steps, {"e": [draw(of_episode) for _ in lengths]}


def said(told: Told) -> tuple[str, ...]:
    several = told if isinstance(told, list) else [told]
    return tuple(dict.fromkeys(t.strip() for t in several if t and t.strip()))


def bare(text: str) -> str:
    return text.strip().lower().rstrip(".!")


@settings(max_examples=300)
@given(stores())
def test_goals_equal_those_of_a_brute_force(told: tuple[dict[str, Any], dict[str, Any]]) -> None:
    steps, episodes = told
    expected: Counter[frozenset[str]] = Counter()
    spelled: dict[frozenset[str], set[str]] = {}
    for e, length in enumerate(map(len, steps["s0"])):
        whole = [said(column[e]) for column in episodes.values()]
        rows = [[*(said(c[e][t]) for c in steps.values()), *whole] for t in range(length)] or [
            whole
        ]
        changing = any(len({row[c] for row in rows if row[c]}) > 1 for c in range(len(rows[0])))
        parts = rows if changing else [[p for row in rows for p in row]]
        sets = {}
        for part in parts:
            key = frozenset(bare(t) for phrasings in part for t in phrasings)
            sets.setdefault(key, set()).update(t for phrasings in part for t in phrasings)
        sets.pop(frozenset(), None)
        for key, own in sets.items():
            expected[key] += 1
            spelled.setdefault(key, set()).update(own)
    names = ",".join([*steps, *(f"episode_metadata.{name}" for name in episodes)])
    store = ToldStore(steps, episodes)
    if not expected:
        with pytest.raises(GoalError, match="expected at least one text"):
            mine(store, names)
        return
    mined = mine(store, names)
    got = {frozenset(map(bare, own)): own for own in texts(mined)}
    assert len(got) == len(texts(mined))
    counts = {
        frozenset(map(bare, own)): n for own, n in zip(texts(mined), mined.episodes, strict=True)
    }
    assert counts == dict(expected)
    for key, own in got.items():
        assert len(own) == len(key)
        assert set(own) <= spelled[key]
    assert bool(mined.notes) == any(len(own) > len(key) for key, own in spelled.items())


# --- what the encoder reads alike


def encode(strings: Sequence[str]) -> np.ndarray:
    """Reads `_` as a space."""
    seeds = [hashlib.sha256(s.replace("_", " ").encode()).digest()[:8] for s in strings]
    return np.stack([np.random.default_rng(int.from_bytes(s)).normal(size=8) for s in seeds])


def test_goals_that_the_encoder_reads_alike_are_one() -> None:
    words = ["open_it", "open it", "Open it", "open it", "shut it", "shut_it.", "shut_it", "go"]
    mined = mine(ToldStore({"text": [[text] for text in words]}), "text", null_prompts=["no"])
    assert texts(mined) == [("go",), ("open it",), ("open_it",), ("shut it",), ("shut_it",)]
    readings = Readings(mined.goals, encode)
    merged = mined.merged(readings.alike())
    assert [(g.id, g.texts, g.spoken) for g in merged.goals.goals] == [
        ("go", ("go",), ()),
        ("open-it", ("open it",), ("open_it",)),
        ("shut-it", ("shut_it",), ("shut it",)),
    ]
    assert merged.episodes == (1, 4, 3)
    assert merged.goals.null_prompts == ("no",)
    assert len(merged.notes) == 2
    assert "2 of the texts of the source are one goal with another" in merged.notes[1]
    assert "“open_it” and “open it”" in merged.notes[1]
    prompts = resolve_prompts(merged.goals, readings.alike())
    assert prompts.notes == ()
    assert negatives_of(prompts, 1) == ["go", "shut_it", "no"]


def test_goals_that_the_encoder_tells_apart_stay() -> None:
    mined = mine(ToldStore({"text": [["open it"], ["shut it"]]}), "text")
    assert mined.merged(Readings(mined.goals, encode).alike()) is mined


def test_phrasings_that_are_read_alike_are_one_goal_as_a_whole_only() -> None:
    lists = [["open it", "pull it"], ["open_it", "pull_it"], ["open_it", "x"], ["open it"]]
    mined = mine(ToldStore({"told": [[own] for own in lists]}), "told")
    merged = mined.merged(Readings(mined.goals, encode).alike())
    assert texts(merged) == [("open it",), ("open it", "pull it"), ("open_it", "x")]
    assert merged.goals.goals[1].spoken == ("open_it", "pull_it")
