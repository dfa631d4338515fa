"""False positives by kind, near misses and claims at once, against plain loops."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from relabel.evaluation import claims
from relabel.evaluation.claims import bounds_of, claim_blocks
from relabel.evaluation.evidence import of_field
from relabel.evaluation.exclusive import ClaimCounts, exclusive_goals
from relabel.evaluation.false_positives import KINDS, FalsePositives, TruthBits
from schemas.store import Store
from tests.relabel.goal_dataset_stores import Told, make_store

LENGTHS = (6, 1, 9, 4, 2)
GOALS = 3


def told(seed: int) -> list[Told]:
    rng = np.random.default_rng(seed)
    episodes = []
    for length in LENGTHS:
        scores = rng.random((length, GOALS)).astype(np.float32)
        scores[rng.random(length) < 0.2] = np.nan
        truth = (rng.random((length, GOALS)) < 0.3) * rng.integers(0, 2, GOALS)
        episodes.append(Told(scores > 0.5, scores=scores, truth=truth))
    return episodes


@pytest.fixture(name="made", params=range(4))
def _made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Store, list[Told]]:
    monkeypatch.setattr(claims, "_BLOCK_VALUES", 7)
    episodes = told(request.param)
    return make_store(tmp_path / "store", episodes), episodes


def frames_of(episodes: list[Told], goal: int) -> list[list[tuple[float, bool]]]:
    """Per episode, score and truth of the frames that have a score."""
    return [
        [
            (float(score), bool(holds))
            for score, holds in zip(one.scores[:, goal], one.truth[:, goal], strict=True)  # type: ignore[index]
            if not np.isnan(score)
        ]
        for one in episodes
    ]


def test_every_frame_at_which_a_goal_does_not_hold_is_of_one_kind(
    made: tuple[Store, list[Told]],
) -> None:
    store, episodes = made
    found = FalsePositives(bounds_of(store, "v1"))
    for frames in of_field(store, "v1", "truth"):
        found.add(frames)
    for goal in range(GOALS):
        wrong, claimed, of, fooled = (dict.fromkeys(KINDS, 0) for _ in range(4))
        positives = hits = 0
        for episode in frames_of(episodes, goal):
            seen: dict[str, list[bool]] = {kind: [] for kind in KINDS}
            for at, (score, holds) in enumerate(episode):
                if holds:
                    positives, hits = positives + 1, hits + (score > 0.5)
                elif not any(true for _, true in episode):
                    seen["absent"].append(score > 0.5)
                else:
                    came = any(true for _, true in episode[:at])
                    seen["after" if came else "before"].append(score > 0.5)
            for kind, own in seen.items():
                wrong[kind] += len(own)
                claimed[kind] += sum(own)
                of[kind] += bool(own)
                fooled[kind] += any(own)
        assert (positives, hits) == (found.positives[goal], found.hits[goal])
        for table, wanted in zip(
            (found.frames, found.claimed, found.episodes, found.fooled),
            (wrong, claimed, of, fooled),
            strict=True,
        ):
            assert table[goal].tolist() == list(wanted.values())
        assert found.known[goal] == sum(map(len, frames_of(episodes, goal)))


def test_near_misses(made: tuple[Store, list[Told]]) -> None:
    store, episodes = made
    near = np.zeros((2, GOALS, GOALS), bool)
    near[0, 0, 1] = near[0, 1, 0] = True
    near[1, 0, 2] = near[1, 2, 0] = True
    bits = TruthBits(bounds_of(store, "v1"), np.array(LENGTHS))
    for frames in of_field(store, "v1", "truth"):
        bits.add(frames)
    found = bits.near_misses(list(near))
    counts, others = np.zeros((2, 2), int), np.zeros(2, int)
    for one, goal in itertools.product(episodes, range(GOALS)):
        for scores, holds in zip(one.scores, one.truth, strict=True):  # type: ignore[arg-type]
            if np.isnan(scores[goal]) or holds[goal]:
                continue
            claimed, anywhere = scores[goal] > 0.5, False
            for kind in range(2):
                if (near[kind, goal] & (holds > 0)).any():
                    counts[kind] += 1, claimed
                    anywhere = True
            if not anywhere:
                others += 1, claimed
    assert (found.frames.tolist(), found.claimed.tolist()) == tuple(counts.T.tolist())
    assert [found.others, found.others_claimed] == others.tolist()


def test_claims_of_exclusive_goals(made: tuple[Store, list[Told]]) -> None:
    store, episodes = made
    exclusive = np.zeros((GOALS, GOALS), bool)
    exclusive[0, 2] = exclusive[2, 0] = True
    counts = ClaimCounts(exclusive)
    for block in claim_blocks(store, "v1", bounds_of(store, "v1")):
        counts.add(block)
    scores = np.concatenate([one.scores for one in episodes])  # type: ignore[misc]
    claimed = np.nan_to_num(scores) > 0.5
    seen = np.isfinite(scores).any(axis=1)
    assert counts.frames == seen.sum()
    assert counts.known.tolist() == np.isfinite(scores).sum(axis=0).tolist()
    assert counts.claimed.tolist() == claimed.sum(axis=0).tolist()
    assert counts.at_once == (claimed[:, 0] & claimed[:, 2]).sum()
    number = claimed[seen].sum(axis=1)
    assert counts.goals_per_frame.tolist() == [int((number == n).sum()) for n in range(GOALS + 1)]
    assert counts.mean_goals == pytest.approx(number.mean())
    both = int((claimed[:, 0] & claimed[:, 2]).sum())
    assert counts.rivals() == ([(0, 2, both)] if both else [])


def test_exclusive_goals_are_recorded_negatives_or_of_one_family() -> None:
    families = pa.table({"texts": [["a"], ["b"], ["c"]], "family": ["x", "y", "x"]})
    assert np.argwhere(exclusive_goals(families)).tolist() == [[0, 2], [2, 0]]
    negatives = pa.array([["b | bb", "nothing"], [], None], pa.list_(pa.string()))
    told = pa.table({"texts": [["a"], ["b", "bb"], ["c"]], "negatives": negatives})
    assert np.argwhere(exclusive_goals(told)).tolist() == [[0, 1], [1, 0]]
