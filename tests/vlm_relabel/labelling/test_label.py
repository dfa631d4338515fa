"""`label` on a small store: what is asked, what the page holds, what is refused."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from relabel.source.source import Source
from schemas.errors import GoalError, LabelError, RelabelError, SourceError, StoreError
from schemas.goals import GoalSet
from schemas.labels import Labels, write_labels
from schemas.store import Store
from tests import small
from tests.relabel.goal_dataset_stores import Told, make_store
from tests.small import FRONT

ODD = ("a <script>alert(1)</script> room", 'red, "blue"\nor green', "😀 \u202eחדר", "-" * 300)


@pytest.fixture(name="store")
def _store(source: Source, tmp_path: Path, row_groups_of_three: None) -> Store:
    return small.build_store(tmp_path / "small.store", source)


@pytest.fixture(name="source", scope="module")
def _source(source_dir: Path) -> Source:
    return Source.open(str(source_dir), "train")


def ask(store: Store, source_dir: Path | None, **how: Any) -> Any:
    out = Path(store.location).parent / "label.html"
    given = {"store": store.location, "source": source_dir, "out": out, "budget": 4}
    return vlm_relabel.label(**{**given, **how})


def content(path: str) -> dict[str, Any]:
    text = Path(path).read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    return dict(json.loads(found[1]))


def test_the_page_holds_what_the_report_tells(store: Store, source_dir: Path) -> None:
    report = ask(store, source_dir)
    page = content(report.out)
    asked = [
        (page["frames"][f]["episode"], page["frames"][f]["step"], page["goals"][g]["id"])
        for f, g in page["questions"]
    ]
    assert asked == [(q.episode_id, q.step, q.goal_id) for q in report.questions]
    assert (len(asked), report.goals, report.frames) == (12, 3, len(page["frames"]))
    assert len(set(asked)) == 12
    assert report.bytes == Path(report.out).stat().st_size < 200_000
    assert page["goals"][0]["texts"] == ["a red room"]
    assert all(f["image"].startswith("data:image/webp;base64,") for f in page["frames"])
    scores = {(q.goal_id, q.stratum) for q in report.questions}
    assert len(scores) == 12
    places = [f for f, _ in page["questions"]]
    assert sum(a != b for a, b in itertools.pairwise(places)) == len(set(places)) - 1


def test_scores_and_reasons_stay_out_of_the_page(store: Store, source_dir: Path) -> None:
    """Who sees a score answers by it."""
    page = content(ask(store, source_dir).out)
    keys = {key for entry in (*page["frames"], *page["goals"]) for key in entry}
    assert keys == {"episode", "step", "image", "id", "texts"}


def test_a_dry_run_writes_nothing_and_reads_no_frame(store: Store) -> None:
    report = ask(store, None, dry_run=True)  # nobody knows where the source is
    assert report.out is None
    assert not (Path(store.location).parent / "label.html").exists()
    assert "stratum 1 of 4" in " ".join(q.why for q in report.questions)
    again = ask(store, None, dry_run=True)
    assert again == report
    assert ask(store, None, dry_run=True, seed=1) != report


def test_random_frames(store: Store) -> None:
    report = ask(store, None, dry_run=True, random=True)
    assert {(q.why, q.score, q.stratum) for q in report.questions} == {
        ("drawn at random", None, None)
    }
    assert len(report.questions) == 12


def test_budgets_beyond_the_frames_ask_them_all(store: Store) -> None:
    report = ask(store, None, dry_run=True, budget=50)
    assert len(report.questions) == 3 * sum(small.LENGTHS)
    assert "3 of 3 goals have fewer than 50 frames left to ask about: " in report.notes[0]


def test_some_goals(store: Store, source_dir: Path) -> None:
    ids = store.goals("v1").column("goal_id").to_pylist()
    report = ask(store, source_dir, goal=ids[1])
    assert {q.goal_id for q in report.questions} == {ids[1]}
    assert [goal["id"] for goal in content(report.out)["goals"]] == [ids[1]]
    with pytest.raises(GoalError, match="--goal no-such: the reward set has no such goal; there a"):
        ask(store, None, dry_run=True, goal=["no-such", ids[0]])


def test_earlier_labels_are_not_asked_again(store: Store, tmp_path: Path) -> None:
    first = ask(store, None, dry_run=True, budget=3).questions
    rows = [(q.episode_id, q.step, q.goal_id, q.stratum == 0) for q in first]
    path = str(tmp_path / "earlier.csv")
    odd = [("gone/0/0", 1, rows[0][2], True), ("train/0/0", 0, "no-such", True)]
    write_labels(Labels.of_rows([*rows, *odd, ("train/0/0", 99, rows[0][2], False)]), path)
    for random in (False, True):
        report = ask(store, None, dry_run=True, labels=path, random=random)
        asked = {(q.episode_id, q.step, q.goal_id) for q in report.questions}
        assert len(asked) == 12
        assert not asked & {row[:3] for row in rows}
        assert report.labelled == len(rows) + 3
        assert len(report.notes) == 3  # of a goal, an episode and a step that are not there


def test_all_is_labelled(store: Store, tmp_path: Path) -> None:
    report = ask(store, None, dry_run=True, budget=50)
    rows = [(q.episode_id, q.step, q.goal_id, True) for q in report.questions]
    path = str(tmp_path / "all.parquet")
    write_labels(Labels.of_rows(rows), path)
    with pytest.raises(LabelError, match="no frame is left to ask about"):
        ask(store, None, dry_run=True, labels=path)


def test_pages_are_not_replaced_unasked(store: Store, source_dir: Path) -> None:
    ask(store, source_dir)
    with pytest.raises(LabelError, match=r"label\.html: is there already; name another --out"):
        ask(store, source_dir)
    assert ask(store, source_dir, overwrite=True).out is not None


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_in_the_place_of_the_page_is_noticed_first(
    store: Store, tmp_path: Path, overwrite: bool
) -> None:
    nowhere, here = tmp_path / "nowhere", tmp_path / "here"
    here.mkdir()
    (tmp_path / "file").touch()
    for out, said in (
        (here, "--out .*here: expected a file, such as .*here/label.html, got a folder"),
        (tmp_path / "file" / "x.html", "--out .*file/: expected a folder, and .*file is a file"),
    ):
        with pytest.raises(RelabelError, match=said):  # and not that there is no source
            ask(store, nowhere, out=str(out), overwrite=overwrite)


def test_a_source_that_has_moved_is_asked_for(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--source"):
        ask(store, None)
    with pytest.raises(RelabelError, match="nowhere"):
        ask(store, tmp_path / "nowhere")


def test_pages_are_bounded(store: Store, source_dir: Path) -> None:
    with pytest.raises(LabelError, match=r"--max-mb 0\.1: the page would be larger"):
        ask(store, source_dir, max_mb=0.1)
    assert not (Path(store.location).parent / "label.html").exists()


def test_cameras_are_shown_side_by_side(store: Store, source_dir: Path) -> None:
    """By default those that were scored: here two of 6 by 4 pixels."""
    import base64
    import io

    from PIL import Image

    def size(report: Any) -> tuple[int, int]:
        picture = content(report.out)["frames"][0]["image"].partition(",")[2]
        return Image.open(io.BytesIO(base64.b64decode(picture))).size

    assert size(ask(store, source_dir)) == (12, 4)
    assert size(ask(store, source_dir, overwrite=True, camera="front")) == (6, 4)
    small.score(store, "front", cameras=(FRONT,))
    assert size(ask(store, source_dir, overwrite=True, rewards="front")) == (6, 4)


def test_frames_that_were_kept_need_no_source(source: Source, tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "kept.store"), small.store_manifest(source, keep=True))
    small.embed(store, source, small.source_tables(store))
    small.score(store)
    assert len(content(ask(store, None).out)["questions"]) == 12


def test_odd_texts_of_goals_come_back_unchanged(
    source: Source, source_dir: Path, tmp_path: Path
) -> None:
    store = Store.create(str(tmp_path / "odd.store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    small.score(store, goals=GoalSet.from_texts(list(ODD)))
    report = ask(store, source_dir)
    assert [g["texts"][0] for g in content(report.out)["goals"]] == list(ODD)
    assert b"<script>alert" not in Path(report.out).read_bytes()


def test_dense_rewards(store: Store) -> None:
    small.score(store, "dense", reward="cosine")
    assert len(ask(store, None, dry_run=True, rewards="dense").questions) == 12


def test_no_scores(store: Store, tmp_path: Path) -> None:
    small.score(store, "bare", scores=False)
    with pytest.raises(StoreError, match=r"rewards/bare: expected scores to choose by.*--random"):
        ask(store, None, dry_run=True, rewards="bare")
    report = ask(store, None, dry_run=True, rewards="bare", random=True)
    assert len(report.questions) == 12
    row = report.questions[0]
    path = str(tmp_path / "one.csv")
    write_labels(Labels.of_rows([(row.episode_id, row.step, row.goal_id, True)]), path)
    report = ask(store, None, dry_run=True, rewards="bare", random=True, labels=path, budget=50)
    assert len(report.questions) == 3 * sum(small.LENGTHS) - 1


@pytest.mark.parametrize("goals", [1, 1000])
def test_one_goal_and_a_thousand(tmp_path: Path, goals: int) -> None:
    rng = np.random.default_rng(0)
    episodes = [Told(rng.random((n, goals)) > 0.5, scores=rng.random((n, goals))) for n in (1, 4)]
    store = make_store(tmp_path / "store", episodes)
    report = ask(store, None, dry_run=True, budget=2)
    assert (len(report.questions), report.goals) == (2 * goals, goals)


def test_missing_frames_and_one_frame_episodes(tmp_path: Path) -> None:
    scores = [np.array([[0.5, np.nan]]), np.array([[np.nan, np.nan]]), np.array([[0.2, np.nan]])]
    episodes = [Told(np.zeros((1, 2)), scores=own.astype(np.float32)) for own in scores]
    report = ask(make_store(tmp_path / "store", episodes), None, dry_run=True)
    assert {(q.episode_id, q.goal_id) for q in report.questions} == {
        ("train/0/0", "g0"),
        ("train/0/2", "g0"),
    }
    assert (
        "2 of 2 goals have fewer than 4 frames left to ask about: g0 (2), g1 (0)"
        in (report.notes[0])
    )


def test_nothing_has_a_score(tmp_path: Path) -> None:
    nothing = Told(np.zeros((3, 2)), scores=np.full((3, 2), np.nan, np.float32))
    with pytest.raises(LabelError, match="no frame is left to ask about"):
        ask(make_store(tmp_path / "store", [nothing]), None, dry_run=True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": 0}, "--budget: expected greater than or equal to 1, got 0"),
        ({"frame_pixels": 2000}, "--frame-pixels: expected less than or equal to 1024"),
        ({"max_mb": 0}, "--max-mb: expected greater than 0"),
        ({"rewards": "v9"}, "no table 'rewards/v9'"),
        ({"out": "folder/"}, "--out folder/: expected a file"),
        ({"labels": "no.csv"}, "no.csv: there is no such file"),
    ],
)
def test_what_is_wrong_is_said(store: Store, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(RelabelError, match=re.escape(said)):
        ask(store, None, **wrong)


@pytest.mark.parametrize("readable", [1, 0])
def test_frames_that_cannot_be_read_are_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch, readable: int
) -> None:
    class Broken:
        """Gives the first frame alone, and no picture of it if none is readable."""

        def each(self, wanted: dict[str, list[int]]) -> Any:
            episode_id, steps = next(iter(wanted.items()))
            frame = np.zeros((4, 6, 3), np.uint8) if readable else None
            yield episode_id, steps[0], (frame, None)

    monkeypatch.setattr("vlm_relabel.pictures.open_pictures", lambda *_: Broken())
    if not readable:
        with pytest.raises(LabelError, match="none of the chosen frames can be read"):
            ask(store, None)
        return
    report = ask(store, None)
    assert report.frames == 1
    assert report.notes == (
        f"{12 - len(report.questions)} questions left out: their frames cannot be read",
    )
    assert len(content(report.out)["questions"]) == len(report.questions)
