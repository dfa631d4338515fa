"""The jobs on a small source: what they write, and what they do not do twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines import jobs
from relabel.jobs.options import JobOptions, RunOptions
from relabel.testing import load_pixel_mean_encoder
from schemas.enums import Fusion, LastStep, Timing
from schemas.errors import DeadLetterError, GoalError, SourceError, StoreError
from schemas.store import MANIFEST, PLAN, Store
from schemas.tables import matrix
from tests.pipelines import small_source
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.small_source import colour, cut_image, truncate, write_source
from tests.pipelines.store_checks import hashes, leftovers, problems, state

FRAMES = [(e, s) for e, length in enumerate((3, 2, 4, 2)) for s in range(length)]
LAST = np.array([step == length - 1 for length in (3, 2, 4, 2) for step in range(length)])


# --- what is written --------------------------------------------------------------------------


def test_embed_writes_steps_episodes_and_embeddings(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    done = jobs.embed(job, embedding())
    assert [table.complete for table in done.tables] == [True] * 3
    assert (done.slices, done.slices_new, done.frames_new, done.episodes) == (4, 4, 11, 4)
    opened = Store.open(str(store))
    steps = opened.read("steps")
    assert steps.column("episode_id").to_pylist()[:4] == ["train/0/0"] * 3 + ["train/0/1"]
    assert steps.column("step").to_pylist() == [step for _, step in FRAMES]
    states = matrix(steps.column("observation.state"))
    np.testing.assert_array_equal(states[:, :2], FRAMES)
    assert "observation.front" not in steps.column_names
    episodes = opened.read("episodes")
    assert episodes.column("length").to_pylist() == [3, 2, 4, 2]
    assert episodes.column("language").to_pylist()[0] == "make it red"
    assert problems(store) == []
    assert leftovers(store) == []


def test_relabel_rewards_a_goal_when_the_next_frame_shows_it(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.relabel(job, embedding(), scoring())
    rewards = matrix(Store.open(str(store)).read("rewards/v1").column("reward"))
    following = np.array([colour(e, s + 1) for e, s in FRAMES])
    shows = np.stack([(following[:, c] == 255) for c in range(3)], axis=1).astype(float)
    np.testing.assert_array_equal(rewards, np.where(LAST[:, None], np.nan, shows))
    assert problems(store) == []


def test_relabel_is_embed_and_then_score(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, tmp_path: Path
) -> None:
    jobs.relabel(job, embedding(), scoring())
    parts = replace(job, store=str(tmp_path / "parts"))
    jobs.embed(parts, embedding())
    jobs.score(parts, scoring())
    assert hashes(store) == hashes(tmp_path / "parts")


def test_a_report_tells_each_goal_and_each_table(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    done = jobs.relabel(job, embedding(), scoring())
    assert [goal.goal_id for goal in done.goals] == ["red", "green", "blue"]
    assert done.goals[1].rewarded == pytest.approx(2 / 7)
    assert [table.rows for table in done.tables] == [11, 4, 11, 11]
    assert done.last_step == (
        "final-observation (0 of 4 sampled episodes end with a non-zero action)"
    )
    assert (done.episodes_empty, done.episodes_of_one_step) == (0, 0)


def test_goals_mined_from_the_source(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    done = jobs.relabel(job, embedding(), scoring(goals="field:language_instruction"))
    ids = [goal.goal_id for goal in done.goals]
    assert ids == ["make-it-blue", "make-it-green", "make-it-red"]
    assert [table.complete for table in done.tables] == [True] * 4
    assert done.frames_new == 11
    assert problems(store) == []
    assert sum(counted.frames) == 11


def test_mining_an_unknown_field_lists_the_fields_before_anything_is_embedded(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    with pytest.raises(GoalError, match=r"no such text field; .*language_instruction"):
        jobs.relabel(job, embedding(), scoring(goals="field:wish"))
    assert counted.frames == []
    assert not store.exists()


def test_frames_are_kept_on_request(job: JobOptions, embedding: Embedding, store: Path) -> None:
    jobs.embed(job, embedding(keep_frames=True))
    kept = Store.open(str(store)).read("steps").column("observation.front")
    expected = small_source.encoded_image(small_source.frame(0, 0))
    assert kept[0].as_py() == expected


def test_several_cameras_are_fused(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.relabel(job, embedding(cameras=("front", "wrist")), scoring(fusion=Fusion.MEAN))
    jobs.score(job, scoring(name="front", cameras=("front",)))
    jobs.score(job, scoring(name="wrist", cameras=("observation/wrist",)))
    opened = Store.open(str(store))
    both, front, wrist = (
        matrix(opened.read(f"rewards/{name}").column("score")) for name in ("v1", "front", "wrist")
    )
    np.testing.assert_allclose(both, (front + wrist) / 2, atol=1e-6)
    jobs.score(job, scoring(name="most", fusion=Fusion.MAX))
    most = matrix(opened.read("rewards/most").column("score"))
    np.testing.assert_array_equal(most, np.maximum(front, wrist))
    assert not np.allclose(front, wrist)


def test_timing_and_scores_are_options(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.embed(job, embedding())
    jobs.score(job, scoring(timing=Timing.SAME_FRAME, scores=False, reward="cosine"))
    table = Store.open(str(store)).read("rewards/v1")
    assert table.column_names == ["episode_id", "step", "reward"]
    assert not np.isnan(matrix(table.column("reward"))).any()
    assert problems(store) == []


# --- other tools ------------------------------------------------------------------------------


def test_duckdb_and_pandas_read_every_table_as_pyarrow_does(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.relabel(job, embedding(dtype="float32"), scoring())
    tables = Store.open(str(store)).tables()
    assert len(tables) == 4
    for table in tables:
        for path in sorted((store / table).glob("*.parquet")):
            arrow = pq.read_table(path)
            duck = duckdb.sql(f"select * from '{path}'").fetchall()
            assert [tuple(row.values()) for row in arrow.to_pylist()] == duck
            pandas = pd.read_parquet(path)
            assert list(pandas.columns) == arrow.column_names
            assert [list(map(str, row)) for row in pandas.to_numpy()] == [
                list(map(str, row)) for row in arrow.to_pandas().to_numpy()
            ]


def test_duckdb_joins_the_tables_by_their_keys(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.relabel(job, embedding(), scoring())
    rows = duckdb.sql(
        f"""select count(*), sum(r.reward[2]) from '{store}/steps/slice-*.parquet' s
        join '{store}/rewards/v1/slice-*.parquet' r using (episode_id, step)"""
    ).fetchall()
    assert rows == [(11, 2)]  # lists count from 1 in SQL: green


# --- nothing twice ----------------------------------------------------------------------------


def test_a_rerun_does_nothing(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    jobs.relabel(job, embedding(), scoring())
    before = state(store)
    counted.frames.clear()
    again = jobs.relabel(job, embedding(), scoring())
    assert state(store) == before
    assert counted.frames == []
    assert (again.slices_new, again.frames_new) == (0, 0)
    assert all(table.complete for table in again.tables)


def test_score_for_other_goals_needs_no_source(
    tmp_path: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, counted: Any
) -> None:
    source = write_source(tmp_path / "source")
    jobs.relabel(job, embedding(source=str(source)), scoring())
    counted.frames.clear()
    shutil.move(source, tmp_path / "elsewhere")
    other = tmp_path / "other.yaml"
    other.write_text("goals: [{id: blue, texts: [it is blue]}]")
    done = jobs.score(job, scoring(goals=str(other), name="v2"))
    mined = jobs.score(job, scoring(goals="field:language_instruction", name="v3"))
    assert [len(report.goals) for report in (done, mined)] == [1, 3]
    assert counted.frames == []
    assert {"rewards/v1", "rewards/v2", "rewards/v3"} < set(Store.open(job.store).tables())


def test_a_second_camera_embeds_only_that_one(
    job: JobOptions, embedding: Embedding, store: Path, counted: Any
) -> None:
    jobs.embed(job, embedding())
    before = state(store)
    counted.frames.clear()
    jobs.embed(job, embedding(cameras=("front", "wrist")))
    assert sum(counted.frames) == 11
    after = state(store)
    assert {name: after[name] for name in before} == before
    new = after.keys() - before.keys()
    assert {name.split("/")[1].split(".")[-1] for name in new} == {"wrist"}


def test_a_second_encoder_embeds_only_with_that_one(
    job: JobOptions, embedding: Embedding, store: Path, counted: Any
) -> None:
    jobs.embed(job, embedding())
    before = state(store)
    counted.frames.clear()
    jobs.embed(job, embedding(encoder=counted.load_other))
    assert sum(counted.frames) == 11
    after = state(store)
    assert {name: after[name] for name in before} == before
    assert len(Store.open(str(store)).embeddings()) == 2
    assert problems(store) == []


def test_a_slice_that_got_lost_in_mid_run_is_made_again(
    job: JobOptions, embedding: Embedding, store: Path, counted: Any
) -> None:
    jobs.embed(job, embedding())
    expected = hashes(store)
    table = store / Store.open(str(store)).embeddings()[0].table
    (table / MANIFEST).rename(table / PLAN)  # as if the run had been killed
    (table / "slice-train-00000-000002-000003.parquet").unlink()
    counted.frames.clear()
    done = jobs.embed(job, embedding())
    assert counted.frames == [2, 2]  # of the four frames of episode 2, in batches of 2
    assert (done.slices_new, done.frames_new) == (1, 4)
    assert hashes(store) == expected


def test_leftovers_of_dead_letters_are_cleared_too(
    tmp_path: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    what = embedding(source=str(truncate(write_source(tmp_path / "source"))))
    with pytest.raises(DeadLetterError):
        jobs.embed(job, what)
    (store / "dead_letters/steps/.tmp-0123-slice-train-00000-000001-000002.parquet").touch()
    jobs.embed(replace(job, max_dead_ratio=0.5), what)
    assert leftovers(store) == []


def test_a_dry_run_writes_nothing(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    told = jobs.relabel(replace(job, dry_run=True), embedding(), scoring())
    assert told.dry_run
    assert not any(table.complete for table in told.tables)
    assert not store.exists()
    assert told.estimate is not None
    assert sum(counted.frames) == told.estimate.sample_frames, "no more than the sample is embedded"


# --- what does not fit the store --------------------------------------------------------------


def test_a_store_of_another_source_is_refused(
    tmp_path: Path, job: JobOptions, embedding: Embedding
) -> None:
    jobs.embed(job, embedding())
    before = state(Path(job.store))
    other = write_source(tmp_path / "other", lengths=(3, 2), shard_lengths=(2,), name="other")
    with pytest.raises(StoreError, match=r"another source: stored small .* asked for other"):
        jobs.embed(job, embedding(source=str(other)))
    assert state(Path(job.store)) == before


def test_a_reward_set_of_other_goals_is_refused_or_replaced(
    tmp_path: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.relabel(job, embedding(), scoring())
    before = state(store)
    other = tmp_path / "other.yaml"
    other.write_text(small_source.GOALS.replace("a blue room", "a deep blue room"))
    with pytest.raises(StoreError, match=r"(?s)rewards/v1: exists .*goals_hash: stored"):
        jobs.score(job, scoring(goals=str(other)))
    assert state(store) == before
    done = jobs.score(replace(job, overwrite=True), scoring(goals=str(other)))
    assert done.slices_new == 4
    texts = Store.open(str(store)).goals("v1").column("texts").to_pylist()
    assert texts[-1] == ["a deep blue room"]
    others = ("rewards", "text_embeddings")  # which texts are added to
    assert {n: s for n, s in state(store).items() if not n.startswith(others)} == {
        n: s for n, s in before.items() if not n.startswith(others)
    }
    assert problems(store) == []


@pytest.mark.parametrize("given", [{}, {"goals": "field:language_instruction"}])
@pytest.mark.parametrize("part", ["train", "train[:2]"])  # the latter grows
@pytest.mark.parametrize("change", [{"dtype": "float32"}, {"cameras": ("wrist",)}])
def test_a_relabel_whose_rewards_are_refused_begins_no_embeddings(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path,
    given: dict[str, Any], part: str, change: dict[str, Any],
) -> None:  # fmt: skip
    what = scoring(**given)
    jobs.relabel(job, embedding(split=part), what)
    before = state(store)
    differs = "dtype: stored" if "dtype" in change else "rewards/v1: exists "
    with pytest.raises(StoreError, match=differs):
        jobs.relabel(job, embedding(split="train", **change), what)
    assert state(store) == before
    assert Store.open(str(store)).unfinished() == []
    assert problems(store) == []


def test_a_reward_set_of_another_function_is_refused(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    jobs.relabel(job, embedding(), scoring())
    with pytest.raises(StoreError, match=r"function\.threshold: stored 0\.5, asked for 0\.7"):
        jobs.score(job, scoring(parameters={"threshold": 0.7}))


def test_embeddings_of_another_dtype_are_refused(job: JobOptions, embedding: Embedding) -> None:
    jobs.embed(job, embedding())
    with pytest.raises(StoreError, match='dtype: stored "float16", asked for "float32"'):
        jobs.embed(job, embedding(dtype="float32"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"last_step": LastStep.CARRIES_ACTION}, "--last-step: stored final-observation"),
        ({"keep_frames": True}, "--keep-frames: the store was made without frames"),
        ({"episodes_per_slice": 2}, "--episodes-per-slice: stored 1, asked for 2"),
    ],
)
def test_what_a_store_fixes_cannot_be_asked_for_differently(
    job: JobOptions, embedding: Embedding, change: dict[str, Any], text: str
) -> None:
    jobs.embed(job, embedding())
    with pytest.raises(StoreError, match=text):
        jobs.embed(job, embedding(**change))


def test_score_without_embeddings_of_the_encoder_lists_those_there_are(
    job: JobOptions, embedding: Embedding, scoring: Scoring, counted: Any
) -> None:
    jobs.embed(job, embedding())
    with pytest.raises(StoreError, match=r"(?s)no embeddings of pixel-mean:1 .*pixel-mean:0"):
        jobs.score(job, scoring(encoder=counted.load_other))


def test_score_of_a_camera_that_is_not_embedded_lists_those_that_are(
    job: JobOptions, embedding: Embedding, scoring: Scoring
) -> None:
    jobs.embed(job, embedding())
    with pytest.raises(StoreError, match=r"'wrist' is not embedded; the embedded ones are obs"):
        jobs.score(job, scoring(cameras=("wrist",)))


def test_an_unknown_camera_leaves_no_store_behind(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    with pytest.raises(SourceError, match="observation/front, observation/wrist"):
        jobs.embed(job, embedding(cameras=("hand",)))
    assert not store.exists()


# --- dead letters -----------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut image", "truncated shard"])
def test_dead_letters_are_refused_then_accepted_without_computing_again(
    tmp_path: Path,
    job: JobOptions,
    embedding: Embedding,
    scoring: Scoring,
    store: Path,
    counted: Any,
    damage: str,
) -> None:
    source = tmp_path / "source"
    if damage == "cut image":
        write_source(source, change=cut_image)
    else:
        truncate(write_source(source))
    what = embedding(source=str(source), cameras=("wrist",))
    with pytest.raises(DeadLetterError, match=r"(?s)1 dead letter .*episode train/0/2") as refusal:
        jobs.relabel(job, what, scoring())
    assert "rewards" not in str(refusal.value)
    opened = Store.open(str(store))
    assert "rewards/v1" in opened.unfinished()
    with pytest.raises(StoreError, match="unfinished"):
        opened.read("rewards/v1")
    tables = hashes(store)
    counted.frames.clear()
    done = jobs.relabel(replace(job, max_dead_ratio=0.25), what, scoring())
    assert counted.frames == []
    assert hashes(store) == tables
    assert all(table.complete for table in done.tables)
    assert done.dead_letters == (1 if damage == "cut image" else 3)  # a lost episode: per table
    assert problems(store) == []
    assert leftovers(store) == []


def test_a_frame_that_cannot_be_decoded_has_no_embedding_and_no_reward(
    tmp_path: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    source = write_source(tmp_path / "source", change=cut_image)
    what = embedding(source=str(source), cameras=("wrist",))
    jobs.relabel(replace(job, max_dead_ratio=0.1), what, scoring(scores=True))
    table = Store.open(str(store)).read("rewards/v1")
    lost = FRAMES.index((2, 1))
    assert np.flatnonzero(np.isnan(matrix(table.column("score"))).all(axis=1)).tolist() == [lost]
    missing = np.isnan(matrix(table.column("reward"))).all(axis=1)
    assert np.flatnonzero(missing & ~LAST).tolist() == [lost - 1]
    letters = pq.read_table(next(store.glob("dead_letters/embeddings/*/*.parquet"))).to_pylist()
    assert [(row["episode_id"], row["step"], row["camera"]) for row in letters] == [
        ("train/0/2", 1, "observation.wrist")
    ]


def test_empty_and_one_step_episodes_are_kept_and_told(
    tmp_path: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    source = write_source(tmp_path / "source", lengths=(3, 0, 1, 2))
    done = jobs.relabel(job, embedding(source=str(source)), scoring())
    assert (done.episodes_empty, done.episodes_of_one_step) == (1, 1)
    episodes = Store.open(str(store)).read("episodes")
    assert episodes.column("length").to_pylist() == [3, 0, 1, 2]
    rewards = Store.open(str(store)).read("rewards/v1")
    alone = rewards.filter(pc.equal(rewards.column("episode_id"), "train/0/2"))
    assert np.isnan(matrix(alone.column("reward"))).all()
    assert problems(store) == []


# --- a real dataset ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_bridge_sample(
    bridge: Path, tmp_path: Path, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    source = tmp_path / "1.0.0"
    shutil.copytree(bridge, source)
    job = JobOptions(str(store), run=RunOptions(), threads=1)
    what = embedding(source=str(source), cameras=("image_0",), batch_size=32, episodes_per_slice=7)
    # The fake encoder reads all of these instructions alike: a softmax has nothing to compare.
    mined = scoring(goals="field:language_instruction", reward="cosine")
    done = jobs.relabel(job, what, mined)
    assert [table.rows for table in done.tables] == [250, 25, 250, 250]
    assert done.slices == 4
    assert problems(store) == []
    before = state(store)
    counted.frames.clear()
    jobs.relabel(job, what, mined)
    assert state(store) == before
    source.rename(tmp_path / "moved")
    other = tmp_path / "other.yaml"
    other.write_text(small_source.GOALS)
    jobs.score(job, scoring(goals=str(other), name="v2"))
    assert counted.frames == []
    opened = Store.open(str(store))
    for table in opened.tables():
        arrow = opened.read(table)
        files = f"{store}/{table}/slice-*.parquet"
        keys = [name for name in arrow.column_names if name in ("episode_id", "step", "length")]
        duck = duckdb.sql(f"select {', '.join(keys)} from '{files}'").fetchall()
        assert duck == list(zip(*(arrow.column(key).to_pylist() for key in keys), strict=True))
        parts = sorted((store / table).glob("slice-*.parquet"))
        pandas = pd.concat([pd.read_parquet(part) for part in parts])
        assert len(pandas) == arrow.num_rows
        assert pandas["episode_id"].tolist() == arrow.column("episode_id").to_pylist()


def test_the_fake_encoder_of_the_public_module_is_the_one_counted(counted: Any) -> None:
    assert counted.CountingEncoder().spec == load_pixel_mean_encoder().spec
