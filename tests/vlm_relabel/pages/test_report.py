"""What `report` gathers is what the store holds, and odd stores are shown too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve

import vlm_relabel
from relabel.source.source import Source
from schemas.errors import LabelError, RelabelError, SourceError, StoreError
from schemas.labels import Labels, write_labels
from schemas.store import Store
from tests import small
from tests.relabel.goal_dataset_stores import How, Told, make_store
from tests.vlm_relabel.pages.report_files import content, episodes, told_by

LENGTHS = [4, 1, 7, 3, 5, 2]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Told]:
    monkeypatch.setattr("schemas.slice_writer.ROW_GROUP_ROWS", 3)
    monkeypatch.setattr("vlm_relabel.pages.scans._VALUES", 8)
    return episodes(LENGTHS, 3)


@pytest.fixture
def store(told: list[Told], tmp_path: Path) -> Store:
    return make_store(tmp_path / "told.store", told)


def report(store: Store, out: Path, **options: Any) -> vlm_relabel.PageReport:
    return vlm_relabel.report(store=store.location, out=out, no_plots=True, **options)


def test_counts_and_precisions_are_those_of_numpy(
    store: Store, told: list[Told], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = report(store, out, labels_field="truth")
    table = content(out, "sets/0")
    scores = np.concatenate([e.scores for e in told])
    truth = np.concatenate([e.truth for e in told])
    rewards = np.concatenate([e.rewards for e in told])
    thresholds = np.array(table["thresholds"], np.float32)
    precisions = [average_precision_score(truth[:, g], scores[:, g]) for g in range(3)]
    for goal, row in enumerate(table["rows"]):
        above = scores[:, goal, None] > thresholds
        np.testing.assert_array_equal(row["above"], above.sum(axis=0))
        np.testing.assert_array_equal(row["trueAbove"], above[truth[:, goal]].sum(axis=0))
        np.testing.assert_array_equal(row["falseAbove"], above[~truth[:, goal]].sum(axis=0))
        claimed = scores[:, goal] > 0.5
        hits = int((claimed & truth[:, goal]).sum())
        assert row["ownKnown"] == [hits, int(claimed.sum()) - hits]
        assert (row["own"], row["true"]) == (claimed.sum(), truth[:, goal].sum())
        assert row["rewarded"] == np.nansum(rewards[:, goal])
        assert row["precision"] == pytest.approx(precisions[goal], abs=1e-5)
        assert row["interval"][0] <= row["precision"] + 1e-6
        detail = content(out, f"goals/0-{goal}")
        assert sum(detail["all"]) == len(scores)
        precision, recall, _ = precision_recall_curve(truth[:, goal], scores[:, goal])
        for point in zip(detail["recall"][1:], detail["precision"][1:], strict=True):
            same = np.isclose(recall[:-1], point[0], atol=1e-5)
            assert precision[:-1][same].max() == pytest.approx(point[1], abs=1e-5)
        assert len(detail["recall"]) == len(np.unique(np.append(recall[:-1], 0)))
        assert [sum(detail[k]) for k in ("true", "false")] == [
            row["true"],
            row["known"] - row["true"],
        ]
    assert found.precision == {"v1": pytest.approx(np.mean(precisions))}
    matrix = content(out, "confusion/0")
    assert matrix["basis"] == "truth" and len(matrix["share"]) == 3


def test_episodes_are_shown_as_they_are_stored(
    store: Store, told: list[Told], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    report(store, out, labels_field="truth")
    site = content(out, "site")
    assert [e["length"] for e in site["episodes"]] == LENGTHS
    for number, episode in enumerate(told):
        shown = content(out, f"episodes/{number}")
        own = shown["sets"][0]
        np.testing.assert_allclose(np.transpose(own["scores"]), episode.scores, atol=1e-4)
        for goal in range(3):
            paid = np.flatnonzero(np.nan_to_num(episode.rewards[:, goal]) > 0)
            assert own["rewards"][goal] == paid.tolist()
            true = np.flatnonzero(episode.truth[:, goal])
            assert shown["truth"].get(str(goal), []) == true.tolist()
        paid, true = np.nansum(episode.rewards, axis=0) > 0, episode.truth.any(axis=0)
        (tags,) = site["episodes"][number]["tags"]
        assert tags["hits"] == (paid & true).sum()
        assert tags["alarms"] == (paid & ~true).sum()
        assert tags["misses"] == (~paid & true).sum()
        assert site["episodes"][number]["commanded"] == [0]


def test_labels_are_shown_and_what_is_set_aside_is_told(store: Store, tmp_path: Path) -> None:
    rows = [
        ("train/0/0", 0, "g0", True),
        ("train/0/0", 1, "g0", False),
        ("train/0/2", 6, "g0", True),
        ("train/0/2", 5, "g1", True),
        ("train/0/2", 5, "g1", False),  # both ways
        ("train/9/9", 0, "g0", True),
        ("train/0/0", 0, "nobody", True),
        ("train/0/0", 77, "g2", True),
    ]
    write_labels(Labels.of_rows(rows), str(tmp_path / "labels.csv"))
    (tmp_path / "labels.csv").write_text(
        "episode_id,step,goal_id,label\n"
        + "".join(f"{e},{s},{g},{'yes' if v else 'no'}\n" for e, s, g, v in rows)
    )
    out = tmp_path / "out"
    told = report(store, out, labels=tmp_path / "labels.csv")
    site = content(out, "site")
    rows_shown = content(out, "sets/0")["rows"]
    assert [row["known"] for row in rows_shown] == [3, 0, 0]
    assert [row["true"] for row in rows_shown] == [2, 0, 0]
    assert rows_shown[1]["precision"] is None
    notes = " ".join(site["sets"][0]["notes"])
    for part in ("goals that", "episodes that", "both yes and no", "without a score"):
        assert part in notes
    assert told.notes[:4] == tuple(f"v1: {note}" for note in site["sets"][0]["notes"])
    assert content(out, "episodes/0")["labels"] == [[0, 0, True], [0, 1, False], [2, 77, True]]
    kinds = [example["kind"] for example in content(out, "goals/0-0")["examples"]]
    assert kinds[:2] == ["true-high", "true-high"] and "false-high" in kinds
    assert content(out, "goals/0-1")["examples"][0]["kind"] == "high"


def test_an_empty_label_table_is_told(store: Store, tmp_path: Path) -> None:
    told = report(store, tmp_path / "out", labels=Labels.of_rows([]))
    (note,) = (note for note in told.notes if "label table" in note)
    assert note in content(tmp_path / "out", "site")["notes"]


def test_frames_come_from_the_source(source_dir: Path, tmp_path: Path) -> None:
    source = Source.open(str(source_dir), "train")
    store = told_by(small.build_store(tmp_path / "small.store", source), source_dir)
    out = tmp_path / "out"
    found = report(store, out, frame_size=16, frames_per_episode=2)
    assert found.frames == str(source_dir)
    site = content(out, "site")
    assert site["cameras"] == [small.FRONT, small.WRIST]
    assert [len(content(out, f"episodes/{n}")["frameSteps"]) for n in range(4)] == [2, 1, 2, 2]
    for episode in site["episodes"]:
        assert (out / episode["sheet"]["src"]).is_file()
        assert (episode["sheet"]["width"], episode["sheet"]["height"]) == (12, 4)  # two cameras
    assert any("2 frames are shown" in note for note in found.notes)


def test_a_source_that_is_gone_is_told_on_the_page(source_dir: Path, tmp_path: Path) -> None:
    source = Source.open(str(source_dir), "train")
    store = told_by(small.build_store(tmp_path / "small.store", source), Path("/gone/1.0.0"))
    found = report(store, tmp_path / "out")
    assert found.frames is None
    assert any("/gone/1.0.0" in note for note in found.notes)
    with pytest.raises(SourceError, match="/also/gone"):
        report(store, tmp_path / "out", source="/also/gone")
    moved = report(store, tmp_path / "out", source=source_dir)
    assert moved.frames == str(source_dir)


# --- odd stores


ODD = (
    *("one goal", "one-frame episodes", "no scores", "dense", "missing frames"),
    *("no score at all", "no positives", "all true", "silent goals"),
)


def odd(name: str) -> tuple[list[Told], How]:
    """Episodes and how they are stored."""
    some = [(e, np.asarray(e.scores), np.asarray(e.truth)) for e in episodes(LENGTHS, 3)]
    end = np.full((1, 3), np.nan)
    match name:
        case "one goal":
            first = [(e.rewards[:, :1], s[:, :1], t[:, :1]) for e, s, t in some]
            return [Told(r, scores=s, truth=t) for r, s, t in first], How()
        case "one-frame episodes":
            return episodes([1, 1, 1], 2), How()
        case "no scores":
            return [e for e, _, _ in some], How(scores=False)
        case "dense":
            how = How(binary=False, threshold=None, function={"name": "cosine"})
            return [replace(e, rewards=np.append(s[1:], end, 0)) for e, s, _ in some], how
        case "missing frames":
            return [replace(e, scores=np.append(end, s[1:], 0)) for e, s, _ in some], How()
        case "no score at all":
            return [replace(e, scores=np.full_like(s, np.nan)) for e, s, _ in some], How()
        case "no positives":
            return [replace(e, truth=np.zeros_like(t)) for e, _, t in some], How()
        case "all true":
            return [replace(e, truth=np.ones_like(t)) for e, _, t in some], How()
    return [e for e, _, _ in some], How(threshold=(0.1, 0.5, 1.0))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name", ODD)
def test_odd_stores_are_shown(name: str, known: bool, tmp_path: Path) -> None:
    told, how = odd(name)
    store = make_store(tmp_path / "odd.store", told, how)
    out = tmp_path / "out"
    found = report(store, out, **({"labels_field": "truth"} if known else {}))
    goals = told[0].rewards.shape[1]
    rows = content(out, "sets/0")["rows"]
    assert (found.goals, len(rows)) == (goals, goals)
    assert found.episodes == len(told)
    if name == "no scores":
        assert "above" not in rows[0] and content(out, "episodes/0")["sets"][0]["scores"] is None
        assert not known or any("without scores" in note for note in found.notes)
    if name == "missing frames":
        assert [row["missing"] for row in rows] == [len(told)] * goals
    if "above" in rows[0]:
        assert all(row["above"][-1] == 0 for row in rows)
    if name == "no positives" and known:
        assert found.precision == {"v1": None} and rows[0]["true"] == 0
    if name == "silent goals":
        assert rows[2]["own"] == 0


def test_a_thousand_goals_are_bounded_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = [rng.random((5, 1000)).astype(np.float32) for _ in range(4)]
    truth = [(s > 0.8) for s in scores]
    from tests.relabel import goal_dataset_stores

    texts = tuple(f"goal {n}" for n in range(1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goal_dataset_stores, "TEXTS", texts)
        told = [
            Told((s > 0.5).astype(float), scores=s, truth=t)
            for s, t in zip(scores, truth, strict=True)
        ]
        store = make_store(tmp_path / "many.store", told)
    out = tmp_path / "out"
    found = report(store, out, labels_field="truth", goals=20, episodes=2)
    assert found.goals == 1000
    assert len(list((out / "data" / "goals").iterdir())) == 20
    notes = " ".join(found.notes)
    assert "20 of the 1,000 goals" in notes and "2 of 4 episodes" in notes


def test_a_report_is_no_larger_than_asked(store: Store, tmp_path: Path) -> None:
    found = report(store, tmp_path / "out", max_mb=0.001)
    site = content(tmp_path / "out", "site")
    assert not any(episode["there"] for episode in site["episodes"])
    assert any("--max-mb" in note for note in found.notes)


# --- refusals


def test_only_an_earlier_report_is_replaced(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report(store, out)
    (out / "mine.txt").touch()
    report(store, out)
    assert not (out / "mine.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "told.store"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(RelabelError, match="something else than an earlier report"):
        report(store, other)
    with pytest.raises(RelabelError, match="something else"):
        report(store, other / "thesis.tex")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"labels": "x.csv", "labels_field": "truth"}, RelabelError, "exclude each other"),
        ({"where": "truth"}, RelabelError, "--where: expected --labels-field, whose"),
        ({"labels": "none.csv"}, LabelError, "no such file"),
        ({"labels_field": "nothing"}, StoreError, "nothing"),
        ({"labels_field": "truth", "where": "nothing"}, StoreError, "nothing"),
        ({"rewards": "v9"}, StoreError, "v9"),
        ({"max_mb": 0}, RelabelError, "--max-mb: expected greater than 0"),
        ({"camera": "front"}, SourceError, "--source"),
        ({"camera": "front", "no_frames": True}, RelabelError, "--camera and --no-frames exclude"),
        ({"source": "there", "no_frames": True}, RelabelError, "--source and --no-frames exclude"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    store: Store, tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        report(store, tmp_path / "out", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["told.store"]


def test_a_store_without_rewards_is_refused(tmp_path: Path, source_dir: Path) -> None:
    source = Source.open(str(source_dir), "train")
    store = Store.create(str(tmp_path / "bare.store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    with pytest.raises(StoreError, match=r"no complete reward set.*vlm-relabel score"):
        report(store, tmp_path / "out")
