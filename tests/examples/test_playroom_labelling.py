"""The curve of chosen against random labels, small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from examples.playroom import labelling
from examples.playroom.labelling import Frames, in_rounds, main, measure, needed, quality
from relabel.evaluation.platt import Platt
from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, make_store

GOALS = 4


def frames(seed: int = 0, episodes: int = 40, length: int = 12) -> Frames:
    """Scores that rank perfectly, with a threshold of 0.99 instead of a half."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-3, 4, (episodes * length, GOALS))
    score = 1 / (1 + np.exp(-odds))
    return Frames(np.repeat(np.arange(episodes), length), score, odds > 4.6, ("one",) * GOALS)


def test_chosen_labels_are_worth_more_than_random_ones() -> None:
    found = {
        way: np.mean([measure(frames(), way, 4, seed)["F1"] for seed in range(5)])
        for way in labelling.WAYS
    }
    assert found["chosen"] > found["random"] + 0.02
    assert found["rounds"] > found["random"] + 0.02


def test_labels_and_measurements_share_no_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    real = labelling.quality

    def noting(others: Frames, platt: Platt) -> dict[str, float]:
        seen["measured"] = set(others.episode.tolist())
        return real(others, platt)

    def asked(own: Frames, budget: int, seed: int) -> labelling.Labels:
        seen["labelled"] = set(own.episode.tolist())
        return labelling.at_random(own, budget, seed)

    monkeypatch.setattr(labelling, "quality", noting)
    monkeypatch.setattr(labelling, "WAYS", {"noted": asked})
    measure(frames(), "noted", 3, 1)
    assert len(seen["measured"]) == len(seen["labelled"]) == 20
    assert not seen["measured"] & seen["labelled"]


@pytest.mark.parametrize("budget", [1, 4, 7, 8])
def test_rounds_ask_no_frame_twice(budget: int) -> None:
    frame, goal = in_rounds(frames(), budget, 0)
    assert np.bincount(goal).tolist() == [budget] * GOALS
    assert len(set(zip(frame.tolist(), goal.tolist(), strict=True))) == budget * GOALS


def test_quality_against_plain_loops() -> None:
    own = frames(3, 4, 5)
    told = quality(own, Platt(1.0, np.full(GOALS, -2.0)))
    claimed = own.score > 1 / (1 + np.exp(-2.0))
    precisions, recalls, f1s = [], [], []
    for goal in range(GOALS):
        hits = sum(claimed[:, goal] & own.truth[:, goal])
        if claimed[:, goal].any():
            precisions.append(hits / claimed[:, goal].sum())
        if own.truth[:, goal].any():
            recalls.append(hits / own.truth[:, goal].sum())
            f1s.append(2 * hits / (claimed[:, goal].sum() + own.truth[:, goal].sum()))
    found = [told[name] for name in ("precision", "recall", "F1")]
    assert found == pytest.approx([np.mean(own) for own in (precisions, recalls, f1s)])


def test_what_random_labels_reach_must_be_kept() -> None:
    def curve(*values: float) -> labelling.Curve:
        pairs = zip((1, 2, 4), values, strict=True)
        return {n: dict.fromkeys(labelling.METRICS, (v, 0.0)) for n, v in pairs}

    curves = {"random": curve(0.5, 0.6, 0.9), "chosen": curve(0.7, 0.55, 0.8)}
    assert needed(curves, "chosen", "F1") == {1: 1, 2: 4, 4: None}
    assert needed(curves, "chosen", "calibration error") == {1: None, 2: None, 4: 1}


def test_the_command_writes_a_picture_and_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = frames(1, 6, 10)
    told = [
        Told(s > 0.5, scores=s.astype(np.float32), truth=t)
        for s, t in zip(np.split(own.score, 6), np.split(own.truth, 6), strict=True)
    ]
    store = make_store(tmp_path / "store", told, How())

    def read(opened: Store, rewards: str) -> Frames:
        from relabel.evaluation.evidence import of_field

        goals = list(of_field(opened, rewards, "truth"))  # this store has no frames held out
        columns = [np.stack([getattr(g, n) for g in goals], axis=1) for n in ("score", "label")]
        return Frames(goals[0].episode, columns[0].astype(float), columns[1], ("f",) * GOALS)

    monkeypatch.setattr(Frames, "read", read)
    monkeypatch.setattr(labelling, "BUDGETS", (1, 2))
    out = tmp_path / "labels.png"
    main(["--store", store.location, "--rewards", "v1", "--seeds", "2", "--out", str(out)])
    assert out.read_bytes()[:4] == b"\x89PNG"
    found = json.loads(out.with_suffix(".json").read_text())
    assert found["v1"].keys() == {"random", "chosen", "rounds"}
    assert found["v1"]["chosen"].keys() == {"1", "2"}
    assert "v1, F1, random → chosen: " in capsys.readouterr().out
