"""Commands read off texts, against a walk over episodes, steps and goals; forms of text columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relabel.goal_datasets.inputs import dataset_inputs
from relabel.goal_datasets.instruction_notes import instruction_notes
from relabel.goals.instructions import Commanded, broken_off, commands, texts
from schemas.goal_datasets import DatasetOptions
from tests.relabel.goal_dataset_stores import (
    How,
    Told,
    build,
    dataset_manifest,
    make_store,
    trajectories_of,
)

NAMES = {"lift": {0}, "raise": {0}, "drop": {1, 2}, "hum": set()}
Said = list[list[list[str]]]  # per column, per episode, per step


def named(text: str) -> frozenset[int]:
    return frozenset(NAMES[text.strip()])


def walked(
    said: Said, language: Sequence[str], lengths: Sequence[int], holds: bool
) -> list[list[tuple[int, int, int]]]:
    """(goal, start, stop) of each episode, one goal and one step at a time."""
    found = []
    for episode, length in enumerate(lengths):
        own = []
        silent = not any(text.strip() for column in said for text in column[episode])
        for goal in range(3):
            asked = []
            for step in range(length):
                now = [language[episode]] if silent else []
                for column in said:
                    heard = [t for t in column[episode][: step + 1] if t.strip()] if holds else []
                    now += [heard[-1] if heard else column[episode][step]]
                asked.append(any(goal in named(text) for text in now if text.strip()))
            edges = [False, *asked, False]
            starts = [t for t in range(length) if edges[t + 1] and not edges[t]]
            stops = [t + 1 for t in range(length) if edges[t + 1] and not edges[t + 2]]
            own += [(goal, a, b) for a, b in zip(starts, stops, strict=True)]
        found.append(own)
    return found


@given(st.data(), st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3))
def test_commands_are_what_a_walk_over_the_steps_finds(
    data: st.DataObject, lengths: list[int], number: int
) -> None:
    text = st.sampled_from(["", " ", *NAMES])
    said = [[[data.draw(text) for _ in range(n)] for n in lengths] for _ in range(number)]
    language = [data.draw(text) for _ in lengths]
    columns = [pa.chunked_array([pa.array(own, pa.string()) for own in c]) for c in said]
    for holds in (False, True):
        found = commands(
            columns,
            [pa.chunked_array([pa.array(language, pa.string())])],
            np.array(lengths, np.int64),
            named,
            holds=holds,
        )
        plain = [[(c.goal, c.start, c.stop) for c in own] for own in found]
        assert plain == walked(said, language, lengths, holds)


def test_time_line_of_the_docstring() -> None:
    first = pa.chunked_array([["lift", "lift", "", "lift", "drop", "drop"]])
    second = pa.chunked_array([["", "", "drop", "drop", "", ""]])
    none = [pa.chunked_array([pa.array([None], pa.string())])]
    lengths = np.array([6])

    def one(text: str) -> frozenset[int]:
        return frozenset({"lift": {0}, "drop": {1}}[text])

    (found,) = commands([first, second], none, lengths, one, holds=False)
    assert found == (Commanded(0, 0, 2), Commanded(0, 3, 4), Commanded(1, 2, 6))
    (found,) = commands([first], none, lengths, one, holds=True)
    assert found == (Commanded(0, 0, 4), Commanded(1, 4, 6))


def test_what_the_source_says_of_a_whole_episode_always_counts() -> None:
    steps = [pa.chunked_array([["lift", "", "hum"]])]
    language = pa.chunked_array([["lift", "lift"]])
    metadata = pa.chunked_array([["drop", "hum"]])
    first, second = commands(steps, [language, metadata], np.array([2, 1]), named, holds=False)
    assert first == (Commanded(0, 0, 1), Commanded(1, 0, 2), Commanded(2, 0, 2))
    assert second == ()  # a step has a text, so that `language` does not count


@pytest.mark.parametrize(
    "column",
    [
        pa.array([["a", ""], [], ["b"], ["a", "b"]]),
        pa.array([["a", ""], [], ["b", None], ["a", "b"]], pa.list_(pa.string())),
        pa.array([["a", ""], [], ["b"], ["a", "b"]], pa.list_(pa.binary())),
        pa.array([[b"a", b"\xe9"], [], [b"b"], [b"a", b"b"]], pa.list_(pa.binary())),
        pa.array([["a", " "], ["", ""], ["b", ""], ["a", "b"]], pa.list_(pa.string(), 2)),
        pa.array([["x"], ["a", ""], [], ["b"], ["a", "b"]], pa.list_(pa.string())).slice(1),
    ],
)
def test_texts_of_lists(column: pa.Array) -> None:
    rows, values = texts(pa.chunked_array([column]))
    assert list(zip(rows.tolist(), values.to_pylist(), strict=True)) == [
        (0, "a"),
        (2, "b"),
        (3, "a"),
        (3, "b"),
    ]


def test_texts_of_bytes_and_of_nothing() -> None:
    rows, values = texts(pa.chunked_array([pa.array([b"fait", b"\xe9", None, b""])]))
    assert (rows.tolist(), values.to_pylist()) == ([0], ["fait"])
    rows, values = texts(pa.chunked_array([], pa.string()))
    assert (len(rows), len(values)) == (0, 0)


def test_episodes_whose_text_breaks_off() -> None:
    column = pa.chunked_array([["a", "", "", "a", "", "a"]])
    assert broken_off(column, np.array([0, 0, 0, 3, 4, 4])) == 1
    assert broken_off(column, np.array([0, 0, 0, 0, 0, 0])) == 1
    assert broken_off(column, np.arange(6)) == 0


# --- as trajectories


def told(said: Sequence[str], hits: Sequence[int] = (), goals: int = 2) -> Told:
    """An episode of one text column that reaches goal 1 at some transitions."""
    rewards = np.zeros((len(said), goals))
    rewards[list(hits), 1] = 1
    rewards[-1] = np.nan
    return Told(rewards, said=[(text,) for text in said])


def rows_of(store_rows: list[dict]) -> list[tuple]:
    return [(r["goal"], r["start"], r["stop"], r["kind"], r["success"]) for r in store_rows]


def test_an_instruction_that_changes_covers_the_steps_that_carry_it(tmp_path: Path) -> None:
    said = ["a red room"] * 3 + ["a green room"] * 4 + ["a red room"] * 2
    store = make_store(tmp_path / "s", [told(said, hits=[1, 5])], How(columns=1))
    build(store)
    assert rows_of(trajectories_of(store)) == [
        (0, 0, 3, "commanded", False),
        (0, 0, 8, "failed", False),
        (0, 7, 8, "commanded", False),
        (1, 0, 2, "achieved", True),
        (1, 2, 6, "hindsight", True),
        (1, 3, 6, "commanded", True),
    ]
    terminal = [row["terminal"] for row in trajectories_of(store)]
    assert terminal == [False, False, False, True, True, True]
    build(store, "whole", end_on_success=False, kinds=("commanded",))
    assert rows_of(trajectories_of(store, "whole"))[2] == (1, 3, 7, "commanded", True)
    assert not any(row["terminal"] for row in trajectories_of(store, "whole"))


def test_a_command_takes_the_place_of_a_row_of_the_same_range(tmp_path: Path) -> None:
    said = ["", "", "a green room", "a green room", "a green room", ""]
    store = make_store(tmp_path / "s", [told(said, hits=[0, 1, 4])], How(columns=1))
    build(store, kinds=("commanded", "hindsight"))
    assert rows_of(trajectories_of(store)) == [(1, 2, 5, "commanded", True)]


def test_an_instruction_given_once_ends_or_holds(tmp_path: Path) -> None:
    once = told(["a green room", "", "", "", ""], hits=[2])
    later = told(["", "a green room", "a green room", "a green room"])
    store = make_store(tmp_path / "s", [once, later], How(columns=1))
    build(store, kinds=("commanded",))
    assert rows_of(trajectories_of(store)) == [
        (1, 0, 1, "commanded", False),
        (1, 1, 3, "commanded", False),
    ]
    manifest = build(store, "held", kinds=("commanded",), commands_hold=True)
    assert rows_of(trajectories_of(store, "held")) == [
        (1, 0, 3, "commanded", True),
        (1, 1, 3, "commanded", False),
    ]
    plain = dataset_manifest(store, kinds=("commanded",))
    (difference,) = plain.model_copy(update={"name": "held"}).differences(manifest)
    assert difference == "options.commands_hold: stored false, asked for true"


def notes(store: object, **options: object) -> list[str]:
    dataset = dataset_manifest(store, **options)
    return instruction_notes(store, dataset_inputs(store, dataset), DatasetOptions(**options))


def test_notes_count_what_is_said_at_any_step(tmp_path: Path) -> None:
    first = told(["a red room", "a grey sky", "", "hum"])
    second = told(["A  Green room", "hum", "hum"])
    silent = Told(np.zeros((2, 2)), language="la la")
    spoken = Told(np.zeros((2, 2)), language="never heard", said=[("hum",), ("hum",)])
    store = make_store(tmp_path / "s", [first, second, silent, spoken], How(columns=1))
    assert notes(store) == [
        "language_instruction_0: 2 of 4 instructions match no goal's text, so no "
        "commanded trajectory covers their steps; such as “a grey sky”",
        "language_instruction_0: in 1 of 4 episodes a text is followed by steps without one, and "
        "its command ends there; if it stands until the next text, give --commands-hold",
        "language: 1 of 1 instructions match no goal's text, so no commanded trajectory covers "
        "their steps; such as “la la”",
    ]
    assert len(notes(store, commands_hold=True)) == 2
    assert [n[:30] for n in notes(store, episodes=("train/0/1",))] == [
        "language_instruction_0: 1 of 2"
    ]
