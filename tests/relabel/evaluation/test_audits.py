"""Whole audits: of a store whose figures are known, of odd ones, and of the shared data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import vlm_relabel
from relabel.evaluation import coverage
from relabel.evaluation.coverage import outside, read_reference
from schemas.errors import LabelError, RelabelError, StoreError
from schemas.labels import Labels
from schemas.store import Store
from tests import small
from tests.relabel.goal_dataset_stores import TEXTS, How, Told, make_store

ROOT = Path(__file__).parents[3]
BRIDGE = ROOT.parent / "shared" / "data" / "bridge_dataset" / "1.0.0"
ENCODERS = ROOT / "examples" / "playroom" / "encoders"


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Store:
    source = small.write_source(tmp_path / "source")
    return small.build_store(tmp_path / "store", source)


def test_an_audit_of_a_whole_store(store: Store) -> None:
    report = vlm_relabel.audit(store=store.location, rewards="v1")
    assert [goal.goal_id for goal in report.goals] == ["a-red-room", "a-green-room", "a-blue-room"]
    scores = vlm_relabel.open_store(store.location).scores("v1")
    for place, goal in enumerate(report.goals):
        assert goal.claimed == pytest.approx((scores[:, place] > 0.5).mean())
        assert goal.precision is None
    assert report.claims.frames == 11
    assert report.claims.exclusive_pairs == 3
    assert [one.frames for one in report.coverage] == [11, 11]  # of two cameras
    assert report.swaps_from == {"goals": 6, "stored": 0, "encoder": 0, "missing": 3}
    assert report.confusion.basis == "claims"
    assert any("--labels" in note for note in report.notes)


def test_figures_of_a_store_of_which_all_is_known(tmp_path: Path) -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.9], [0.1, 0.1]])
    truth = np.array([[0, 0], [0, 0], [1, 1], [0, 0]])
    episodes = [
        Told(scores > 0.5, scores=scores, truth=truth, language=TEXTS[0]),
        Told(scores > 0.5, scores=scores, truth=0 * truth, language=TEXTS[1]),
    ]
    store = make_store(tmp_path / "store", episodes)
    report = vlm_relabel.audit(store=store.location, rewards="v1", labels_field="truth")
    rows = [(k.kind, k.frames, k.claimed, k.episodes, k.fooled) for k in report.kinds]
    assert rows == [("absent", 8, 4, 2, 2), ("before", 4, 3, 2, 2), ("after", 2, 0, 2, 0)]
    first, second = report.goals
    assert (first.precision, first.recall) == (0, 0)
    assert (second.precision, second.recall) == (0.25, 1)
    assert second.false_positives == {"absent": 2, "before": 1, "after": 0}
    assert report.truth == {"field": "truth", "where": None}


@pytest.mark.parametrize(
    "how",
    [
        How(scores=False),
        How(binary=False, threshold=None, function={"name": "cosine"}),
        How(binary=False, threshold=None, scores=False, function={"name": "cosine"}),
    ],
)
@pytest.mark.parametrize("goals", [1, 3])
def test_odd_rewards_are_audited(tmp_path: Path, how: How, goals: int) -> None:
    rng = np.random.default_rng(0)
    values = [rng.random((length, goals)) for length in (1, 4, 1, 3)]
    values[1][2] = np.nan
    told = [Told(own if not how.binary else np.round(own), scores=own) for own in values]
    store = make_store(tmp_path / "store", told, how)
    report = vlm_relabel.audit(store=store.location, labels_field="truth")
    assert len(report.goals) == goals
    assert report.claims.frames > 0
    assert bool(report.kinds) == how.scores
    assert any("no scores" in note for note in report.notes) != how.scores


def test_labels_of_all_sorts(tmp_path: Path) -> None:
    told = [Told(np.eye(3), scores=np.eye(3), language=TEXTS[0]) for _ in range(3)]
    store = make_store(tmp_path / "store", told)
    rows = {
        "one class": [("train/0/0", 0, "g0", True), ("train/0/1", 0, "g0", True)],
        "no positive": [("train/0/0", 0, "g0", False)],
        "contradictory": [("train/0/0", 0, "g0", False), ("train/0/0", 0, "g0", True)],
        "unknown": [("train/0/9", 0, "g0", True), ("train/0/0", 9, "g0", True)],
    }
    also = [("train/0/0", 0, "g1", False)]
    for name, own in rows.items():
        report = vlm_relabel.audit(store=store.location, labels=Labels.of_rows(own + also))
        assert sum(goal.known or 0 for goal in report.goals) == (
            1 + {"one class": 2, "no positive": 1}.get(name, 0)
        )
        assert any("label" in note for note in report.notes) == (
            name in ("contradictory", "unknown")
        )
    for own, why in (
        (rows["unknown"], "1 labels of episodes that the store does not have: train/0/9"),
        (rows["contradictory"], "1 frames labelled both yes and no"),
        ([], "there is none"),
    ):
        with pytest.raises(LabelError, match=f"no label to judge by: {why}.*goal_id of rewards/v1"):
            vlm_relabel.audit(store=store.location, labels=Labels.of_rows(own))


def test_goals_in_odd_words(store: Store, tmp_path: Path) -> None:
    odd = ["<script>alert(1)</script>", 'a, "b"\nc', "🙂🙂 red", "הדלת פתוחה", "$x_1$ red room"]
    goals = small.GoalSet.from_texts(odd)
    small.score(store, "odd", goals=goals)
    report = vlm_relabel.audit(store=store.location, rewards="odd", out=tmp_path / "out")
    assert len(report.goals) == 5
    names = {"audit.json", "confusion.csv", "confusion.png", "confusion.svg"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "<script>" not in (tmp_path / "out" / "confusion.svg").read_text()


def test_what_does_not_fit_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no table 'rewards/v9'"):
        vlm_relabel.audit(store=store.location, rewards="v9")
    with pytest.raises(RelabelError, match="--labels and --labels-field exclude each other"):
        vlm_relabel.audit(store=store.location, labels="l.csv", labels_field="truth")
    with pytest.raises(RelabelError, match="--where: expected --labels-field"):
        vlm_relabel.audit(store=store.location, where="is_last")
    with pytest.raises(RelabelError, match="--save-reference: expected --reference"):
        vlm_relabel.audit(store=store.location, save_reference=tmp_path / "r.parquet")
    for above in (np.nan, np.inf, -np.inf):
        with pytest.raises(RelabelError, match="--above: expected a finite number"):
            vlm_relabel.audit(store=store.location, above=above)
    small.score(store, "bare", scores=False)
    with pytest.raises(RelabelError, match=r"--above 0\.5: expected scores, and rewards/bare was"):
        vlm_relabel.audit(store=store.location, rewards="bare", above=0.5)
    with pytest.raises(RelabelError, match="--device cuda: is that of --encoder"):
        vlm_relabel.audit(store=store.location, device="cuda")
    with pytest.raises(RelabelError, match="--precision auto: is that of --encoder"):
        vlm_relabel.audit(store=store.location, precision="auto")
    with pytest.raises(StoreError, match="made with another one"):
        vlm_relabel.audit(
            store=store.location, encoder="relabel.testing:PixelMeanEncoder(version=1)"
        )


# --- the shared data --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "smaller"])
def test_robot_frames_are_outside_and_held_out_playroom_frames_are_not(
    tmp_path: Path, size: str
) -> None:
    if not BRIDGE.exists():
        pytest.skip(f"no BridgeData at {BRIDGE}")
    pytest.importorskip("minigrid")
    from examples.playroom.check_encoder import held_out_sample
    from relabel.encoders.open_clip import load_encoder

    name = f"local-dir:{ENCODERS / size}"
    reference = read_reference(str(ENCODERS / size / coverage.REFERENCE))
    encoder = load_encoder(name, precision="float32")
    reference.check(encoder.spec)
    room = held_out_sample(1000, seed=5).frames
    inverted = list(255 - room)
    assert _flagged(reference, encoder.encode_images(list(room))) <= 0.05
    assert _flagged(reference, encoder.encode_images(inverted)) >= 0.95  # of neither kind
    cameras = [f"observation/image_{place}" for place in range(3)]
    place = tmp_path / "bridge"
    how = {"encoder": name, "precision": "float32", "store": place}
    vlm_relabel.embed(source=BRIDGE, camera=cameras, **how)
    store = Store.open(str(place))
    assert len(store.embeddings()) == 3
    for table in store.embeddings():
        found = np.concatenate([own for _, own in outside(store, table.table, reference)])
        assert len(found) == 250
        assert (found > reference.bound).mean() >= 0.95


def _flagged(reference: coverage.Reference, embeddings: np.ndarray) -> float:
    return float((reference.distances(embeddings) > reference.bound).mean())
