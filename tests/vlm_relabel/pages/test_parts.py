"""Counts, examples, choices and scripts of a report, each beside a slow and obvious twin."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vlm_relabel.pages.choices import chosen_episodes, chosen_goals
from vlm_relabel.pages.examples import Extremes, Frames, known_examples
from vlm_relabel.pages.grids import BINS, Grid
from vlm_relabel.pages.scripts import script

SCORES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 40), st.integers(1, 4)),
    elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 0.95, 1.0, float("nan")]),
)


# --- counts


@given(SCORES, st.integers(1, 7))
def test_counts_are_those_of_a_comparison_with_every_threshold(
    scores: np.ndarray, rows: int
) -> None:
    known = scores[np.isfinite(scores)]
    grid = Grid.of(known, (0.0, 1.0), [0.95, 0.5])
    tally = grid.tally(scores.shape[1])
    for start in range(0, len(scores), rows):
        tally.add(scores[start : start + rows])
    expected = [[(column > t).sum() for t in grid.thresholds] for column in scores.T]
    np.testing.assert_array_equal(tally.claimed, expected)
    np.testing.assert_array_equal(tally.count, np.isfinite(scores).sum(axis=0))
    assert {np.float32(0.95), np.float32(0.5)} <= set(grid.thresholds)
    bins = [
        np.histogram(column[np.isfinite(column)].astype(float), BINS, (0, 1))[0]
        for column in scores.T
    ]
    assert tally.histogram.sum() == len(known)
    assert np.abs(np.cumsum(tally.histogram - bins, axis=1)).max(initial=0) <= len(known)


def test_a_grid_fits_the_scores_that_are_there() -> None:
    cosines = np.linspace(0.1, 0.3, 50, dtype=np.float32)
    grid = Grid.of(cosines, (-1.0, 1.0))
    assert (grid.low, grid.high) == (np.float32(0.1), np.float32(0.3))
    assert (np.diff(grid.thresholds) > 0).all()
    alike = Grid.of(np.full(9, 0.2, np.float32), (-1.0, 1.0))
    assert alike.low < np.float32(0.2) < alike.high
    none = Grid.of(np.zeros(0, np.float32), (0.0, 1.0))
    assert (none.low, none.high) == (0.0, 1.0)


# --- examples


def frames(scores: list[float], episodes: list[int], label: list[bool] | None = None) -> Frames:
    steps = [episodes[:n].count(e) for n, e in enumerate(episodes)]
    known = None if label is None else np.array(label, bool)
    return Frames(np.array(episodes), np.array(steps), np.array(scores, np.float32), known)


def greedy(own: Frames, key: Any, most: int, per: int) -> list[tuple[int, int]]:
    taken: list[tuple[int, int]] = []
    rows = sorted(own, key=lambda e: (key(np.float32(e.score)), e.episode, e.step))
    for example in rows:
        if sum(e == example.episode for e, _ in taken) < per and len(taken) < most:
            taken.append((example.episode, example.step))
    return taken


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 1.0]), st.integers(0, 4)), max_size=30
    ),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_extremes_are_found_whatever_the_parts(
    pairs: list[tuple[float, int]], most: int, per: int
) -> None:
    pairs.sort(key=lambda pair: pair[1])
    whole = frames([s for s, _ in pairs], [e for _, e in pairs])
    found = Extremes(0.5, most, per)
    for start in range(0, len(pairs), 3):
        found.add(whole.take(np.arange(start, min(start + 3, len(pairs)))))
    keys = {"high": lambda s: -s, "low": lambda s: s, "near": lambda s: abs(s - np.float32(0.5))}
    for kind, key in keys.items():
        own = [(e.episode, e.step) for e in found.examples.get(kind, [])]
        assert own == greedy(whole, key, most, per), kind


def test_known_examples_are_told_apart_by_their_labels() -> None:
    own = frames([0.9, 0.1, 0.8, 0.6], [0, 1, 2, 3], [True, True, False, False])
    found = known_examples(own, 0.75, 1, 1)
    told = {kind: [(e.episode, e.label) for e in examples] for kind, examples in found.items()}
    assert told == {
        "true-high": [(0, True)],
        "true-low": [(1, True)],
        "false-high": [(2, False)],
        "near": [(2, False)],
    }
    assert "near" not in known_examples(own, None, 1, 1)


# --- choices


def test_goals_of_every_family_are_shown_the_worst_and_the_most_rewarded() -> None:
    families = ["a"] * 4 + ["b"] * 4
    rewarded = [9, 1, 5, 7, 0, 0, 0, 3]
    precision = [1.0, 0.2, 0.9, 0.95, math.nan, 0.5, 0.4, 1.0]
    assert chosen_goals(families, rewarded, precision, 4) == [0, 1, 6, 7]
    assert chosen_goals(families, rewarded, precision, 8) == list(range(8))
    assert len(chosen_goals(families, rewarded, precision, 5)) == 5


def test_episodes_show_successes_alarms_misses_and_disagreements() -> None:
    paid = np.zeros((20, 3), bool)
    true = np.zeros((20, 3), bool)
    other = paid.copy()
    paid[4, 0] = true[4, 0] = other[4, 0] = True  # success
    paid[7, 1] = other[7, 1] = True  # false alarm
    true[11, 2] = True  # miss
    other[13, 0] = true[13, 0] = paid[13, 1] = True  # disagreement
    lengths = [3] * 19 + [0]
    found = chosen_episodes(lengths, [paid, other], true, [17], 6)
    assert {4, 7, 11, 13, 17} <= set(found)
    assert found == sorted(found) and len(found) == 6
    assert chosen_episodes(lengths, [paid], None, [], 100) == list(range(19))  # 19 has no frame
    assert len(chosen_episodes(lengths, [], None, [], 5)) == 5


# --- scripts


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>",
        "<!-- &lt; -->",
        "line\u2028and\u2029paragraph\n\r\t",
        "quotes \" ' ` and , commas",
        "שלום عربي 🤖",
        "\ud800 alone",
        "\x00\x1b[31m",
    ],
)
def test_a_script_gives_back_its_texts_and_cannot_be_ended_by_them(text: str) -> None:
    written = script("x", {"a": [text], text: 1})
    assert written.isascii()
    assert not set("<>&\u2028\u2029\r") & set(written)
    assert written.count("\n") == 1
    (content,) = re.findall(r'^Report\.receive\("x", (.*)\);$', written)
    assert json.loads(content) == {"a": [text], text: 1}


def test_numbers_are_plain() -> None:
    values = [np.float32(0.1), np.int64(3), np.nan, -np.inf, True, None, np.array([1, 2]), (1.5,)]
    (content,) = re.findall(r"(\[.*\])\);", script("x", values))
    assert json.loads(content) == [0.1, 3, None, None, True, None, [1, 2], [1.5]]
