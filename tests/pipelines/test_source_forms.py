"""The whole way from sources of odd forms to rewards and goal datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines import jobs
from pipelines.jobs import build_goals
from relabel.jobs.options import GoalDatasetOptions, JobOptions
from schemas.enums import Kind
from schemas.errors import DeadLetterError, StoreError
from schemas.goal_datasets import DatasetOptions
from schemas.store import MANIFEST, Store
from tests.pipelines.counted_encoders import TellingEncoder
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.small_source import Episode, write_source
from tests.pipelines.store_checks import hashes, problems
from tests.relabel.odd_sources import FORMS

CASES = Path(__file__).parents[3] / "shared" / "cases"
KEYS = ("episode_id", "step")


def case(name: str) -> str:
    """One of the shared odd datasets."""
    directory = CASES / name / "1.0.0"
    if not directory.is_dir():
        pytest.skip(f"no odd dataset at {directory}")
    return str(directory)


# --- language ---------------------------------------------------------------------------------

MINED = [form for form, odd in FORMS.items() if odd.mine and odd.goals]


@pytest.mark.parametrize("form", MINED)
def test_goals_of_every_form_of_language(
    form: str, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, tmp_path: Path
) -> None:
    odd = FORMS[form]
    source = str(odd.write(tmp_path / "src"))
    what = embedding(source=source, cameras=("image",), encoder=TellingEncoder)
    mined = scoring(goals=f"field:{odd.mine}", reward="cosine", encoder=TellingEncoder)
    done = jobs.relabel(job, what, mined)
    assert all(table.complete for table in done.tables)
    goals = Store.open(str(store)).goals("v1")
    assert [tuple(texts) for texts in goals.column("phrasings").to_pylist()] == odd.goals
    assert problems(store) == []


RED = "pick up the red ball"
SHARED: dict[str, tuple[str, list[str | None] | None]] = {  # field, language of each episode
    "fractal_like": (
        "natural_language_instruction",
        ["pick coke can", "open top drawer", "pick coke can", "close bottom drawer"],
    ),
    "lang_tensor": ("language_instruction", ["open the drawer", "lift the ball"]),
    "lang_codes": ("instruction", ["push the red circle to the left", "move the blue cube up"]),
    "lang_seq": ("language_instruction", ["open the drawer", "lift the ball"]),
    "first_only": (
        "language_instruction",
        ["open the drawer", "lift the ball", "put the ball in the box"],
    ),
    "instr": ("natural_language_instruction", None),  # its texts change within episodes
    "bad_utf8": ("language_instruction", [RED, None, RED]),
    "seq_images": ("language_instruction", [RED] * 2),
    "merged": ("language_instruction", [RED, "open the drawer"] * 4),
    "term1_false": ("language_instruction", [RED] * 6),
}


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_cases(
    name: str, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    field, expected = SHARED[name]
    what = embedding(source=case(name), cameras=("image",), encoder=TellingEncoder)
    mined = scoring(goals=f"field:{field}", reward="cosine", encoder=TellingEncoder)
    done = jobs.relabel(job, what, mined)
    assert all(table.complete for table in done.tables)
    assert done.dead_letters == 0
    opened = Store.open(str(store))
    if expected is not None:
        assert opened.read("episodes").column("language").to_pylist() == expected
        firsts = [texts[0] for texts in opened.goals("v1").column("phrasings").to_pylist()]
        assert sorted(firsts) == sorted({text for text in expected if text})
    assert problems(store) == []


def test_a_text_that_is_not_utf8_is_counted(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    done = jobs.embed(job, embedding(source=case("bad_utf8"), cameras=("image",)))
    assert "language_instruction: 4 texts are not UTF-8 and are left out (null)" in done.notes
    texts = Store.open(str(store)).read("steps").column("language_instruction")
    assert (len(texts), texts.null_count) == (12, 4)


# --- flags ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["term0_false", "term1_false"])
def test_no_episode_is_terminal_where_no_flag_is_set(
    name: str, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    what = embedding(source=case(name), cameras=("image",))
    jobs.relabel(job, what, scoring(goals="field:language_instruction", reward="cosine"))
    options = DatasetOptions(success_above=0.5, end_on_success=False, validation=0, test=0)
    build_goals(job, GoalDatasetOptions("gc", options=options))
    rows = Store.open(str(store)).read("goal_datasets/gc")
    assert rows.num_rows
    assert not any(rows.column("terminal").to_pylist())


# --- several episodes in a record -------------------------------------------------------------


def merge(episodes: list[Episode]) -> None:
    """The first two episodes in one record."""
    first, second, *others = episodes
    merged = {**first, "steps": [*first["steps"], *second["steps"]]}
    episodes[:] = [merged, *others]


def without_ids(store: Path, table: str) -> list[dict[str, Any]]:
    rows = Store.open(str(store)).read(table).to_pylist()
    return [{key: v for key, v in row.items() if key != "episode_id"} for row in rows]


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    return write_source(tmp_path / "merged", shard_lengths=(2, 1), change=merge)


def test_records_of_several_episodes_give_what_separate_records_give(
    job: JobOptions,
    embedding: Embedding,
    scoring: Scoring,
    store: Path,
    merged: Path,
    tmp_path: Path,
) -> None:
    plain = JobOptions(str(tmp_path / "plain"), threads=1)
    # Failed trajectories are drawn by the ids of episodes, which differ.
    options = DatasetOptions(validation=0, test=0, kinds=(Kind.ACHIEVED, Kind.HINDSIGHT))
    for own, what in ((plain, embedding()), (job, embedding(source=str(merged)))):
        done = jobs.relabel(own, what, scoring())
        assert done.episodes == 4
        build_goals(own, GoalDatasetOptions("gc", options=options))
        assert problems(Path(own.store)) == []
    name = Store.open(str(store)).embeddings()[0].table
    for table in ("steps", name, "rewards/v1", "goal_datasets/gc"):
        assert without_ids(store, table) == without_ids(tmp_path / "plain", table), table
    ids = Store.open(str(store)).read("episodes").column("episode_id").to_pylist()
    assert ids == ["train/0/0.0", "train/0/0.1", "train/0/1", "train/1/0"]
    manifest = Store.open(str(store)).manifest
    assert (manifest.merged_records, manifest.exclude) == ("split", ())


def test_a_note_tells_how_many_episodes_were_split(
    job: JobOptions, embedding: Embedding, merged: Path
) -> None:
    (note,) = jobs.embed(job, embedding(source=str(merged))).notes
    assert note.startswith("2 of 4 episodes come from records that hold several")
    assert note.endswith("the first is train/0/0.0")


def test_a_lost_slice_of_split_records_is_made_again_alike(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, merged: Path
) -> None:
    what = embedding(source=str(merged))
    jobs.relabel(job, what, scoring())
    before = hashes(store)
    opened = Store.open(str(store))
    tables = ("steps", "episodes", opened.embeddings()[0].table, "rewards/v1")
    for table in tables:
        for path in (store / table).glob("slice-train-00000-000000-*"):
            path.unlink()
        opened.folder.delete(f"{table}/{MANIFEST}")
    jobs.relabel(job, what, scoring())
    assert hashes(store) == before
    assert problems(store) == []


def test_such_records_can_be_kept_whole(
    job: JobOptions, embedding: Embedding, store: Path, merged: Path
) -> None:
    done = jobs.embed(job, embedding(source=str(merged), keep_merged=True))
    assert done.episodes == 3
    assert "and are kept whole; the first is train/0/0" in done.notes[0]
    opened = Store.open(str(store))
    assert opened.manifest.merged_records == "whole"
    assert opened.read("episodes").column("length").to_pylist() == [5, 4, 2]
    again = jobs.embed(job, embedding(source=str(merged)))  # as the store has it
    assert again.tables_new == ()


def test_a_store_does_not_change_how_it_reads_records(
    job: JobOptions, embedding: Embedding, merged: Path
) -> None:
    jobs.embed(job, embedding(source=str(merged)))
    with pytest.raises(StoreError, match=r"--keep-merged: the store was made with such records sp"):
        jobs.embed(job, embedding(source=str(merged), keep_merged=True))


# --- features that are left out ---------------------------------------------------------------


def test_excluded_features_are_left_out_for_good(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    jobs.embed(job, embedding(exclude=("observation.st*", "file_path")))
    opened = Store.open(str(store))
    assert opened.manifest.exclude == ("observation.st*", "file_path")
    assert opened.manifest.left_out == {
        "observation.state": "excluded by --exclude observation.st*",
        "file_path": "excluded by --exclude file_path",
    }
    assert "observation.state" not in opened.read("steps").column_names
    assert opened.read("episodes").column_names == ["episode_id", "length", "language"]
    assert jobs.embed(job, embedding()).tables_new == ()
    with pytest.raises(StoreError, match=r"--exclude: stored observation.st\*, file_path, asked f"):
        jobs.embed(job, embedding(exclude=("reward",)))


def test_a_feature_that_records_lack_is_named_and_can_be_excluded(
    job: JobOptions, embedding: Embedding, tmp_path: Path
) -> None:
    source = case("missing_step_feature")
    with pytest.raises(DeadLetterError, match="feature 'gripper' is missing from the record"):
        jobs.embed(job, embedding(source=source, cameras=("image",)))
    other = JobOptions(str(tmp_path / "other"), threads=1)
    done = jobs.embed(other, embedding(source=source, cameras=("image",), exclude=("gripper",)))
    assert (done.dead_letters, done.episodes) == (0, 3)
