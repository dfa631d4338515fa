"""`verify_store` finds every kind of damage, and none in a good store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from relabel.source.source import Source
from schemas import fields
from schemas.enums import Timing
from schemas.manifests import sealed
from schemas.store import GOAL_SET, GOALS, MANIFEST, PLAN, Store
from schemas.tables import matrix, vectors
from schemas.verify import Problem, verify_store
from tests import small
from tests.small import FRONT


def problems(store: Store) -> list[Problem]:
    return [problem for _, found in verify_store(store) for problem in found]


def found(store: Store) -> set[tuple[str, str | None]]:
    """Table and file of every problem."""
    return {(p.table, p.file) for p in problems(store)}


def texts(store: Store) -> str:
    return "\n".join(problem.text for problem in problems(store))


def front(store: Store) -> str:
    return next(e.table for e in store.embeddings() if e.camera == FRONT)


def rewrite(store: Store, table: str, index: int, change: Callable[[pa.Table], pa.Table]) -> None:
    """Writes a slice anew with other rows, and lists it as if it had always been so."""
    manifest, piece = store.table_manifest(table), store.slices[index]
    content = store.read_slices(table, [piece])
    new = change(content)
    with store.writer(table, piece, content.schema, fingerprint=manifest.fingerprint) as writer:
        for batch in new.to_batches():
            writer.write(batch.columns)
        writer.commit()
    small.relist(store, manifest)


def with_rows(name: str, change: Callable[[np.ndarray], None]) -> Callable[[pa.Table], pa.Table]:
    """Changes one fixed-size list column as a matrix, in place."""

    def apply(content: pa.Table) -> pa.Table:
        place = content.schema.get_field_index(name)
        rows = matrix(content.column(name), "float64")
        change(rows)
        new = vectors(rows, content.schema.field(name).type.value_type)
        return content.set_column(place, content.schema.field(name), new)

    return apply


# --- good stores


def test_a_good_store_has_no_problem(store: Store) -> None:
    assert [(table, found) for table, found in verify_store(store)] == [
        (table, []) for table in store.tables()
    ]


def test_other_reward_sets_have_no_problem(store: Store) -> None:
    small.score(store, "same", timing=Timing.SAME_FRAME)
    small.score(store, "p", reward="probability")
    small.score(store, "cosine", reward="cosine", cameras=[FRONT])
    small.score(store, "lean", scores=False)
    assert problems(store) == []


def test_a_store_with_dead_letters_has_no_problem(tmp_path: Path) -> None:
    items = small.episodes()
    observation = items[0]["steps"][1]["observation"]
    observation["front"] = observation["front"][:40]
    source = small.write_source(tmp_path / "src", items)
    store = small.build_store(tmp_path / "store", source)
    assert store.table_manifest(front(store)).dead_letters == 1
    assert problems(store) == []


# --- files


def test_a_flipped_byte_is_found_anywhere(store: Store) -> None:
    manifests = [store.table_manifest(table) for table in store.tables()]
    listed = [(m.table, file) for m in manifests for file in m.files]
    assert len(listed) == 5 * 3 + 2
    for table, file in listed:
        path = Path(store.location, file.table, file.file)
        content = path.read_bytes()
        path.write_bytes(_flipped(content, len(content) // 2))
        assert (table, file.file) in found(store), file
        path.write_bytes(content)
    assert problems(store) == []


@pytest.mark.parametrize("position", [0, 3, 100, -9, -1])
def test_a_flipped_byte_is_found_at_either_end(store: Store, position: int) -> None:
    path = Path(store.location, "rewards/v1", store.slices[2].file)
    content = path.read_bytes()
    path.write_bytes(_flipped(content, position % len(content)))
    (problem,) = problems(store)
    assert (problem.table, problem.file) == ("rewards/v1", store.slices[2].file)


def _flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def test_a_changed_content_is_named(store: Store) -> None:
    path = Path(store.location, "steps", store.slices[0].file)
    path.write_bytes(_flipped(path.read_bytes(), 50))
    assert "SHA-256 is not the one recorded" in texts(store)
    path.write_bytes(path.read_bytes()[:-1])
    assert "bytes, got" in texts(store)


@pytest.mark.parametrize("table", ["steps", "episodes", "rewards/v1"])
def test_a_missing_file_is_found(store: Store, table: str) -> None:
    name = store.slices[1].file
    store.folder.delete(f"{table}/{name}")
    assert (table, name) in found(store)
    assert "missing" in {problem.text for problem in problems(store) if problem.file == name}


def test_missing_goals_are_found(store: Store) -> None:
    store.folder.delete(f"rewards/v1/{GOALS}")
    assert ("rewards/v1", GOALS) in found(store)


def test_a_missing_goal_set_is_found(store: Store) -> None:
    store.folder.delete(f"rewards/v1/{GOAL_SET}")
    assert found(store) == {("rewards/v1", GOAL_SET)}


def test_an_extra_file_is_found(store: Store) -> None:
    folder = Path(store.location, "steps")
    shutil.copy(folder / store.slices[0].file, folder / "slice-train-00007-000000-000001.parquet")
    (problem,) = problems(store)
    assert problem.file == "slice-train-00007-000000-000001.parquet"
    assert problem.text == "there but not in the manifest"


def test_a_slice_that_is_not_listed_is_found(store: Store) -> None:
    steps = store.table_manifest("steps")
    small.rewrite_manifest(store, steps.model_copy(update={"files": steps.files[1:]}))
    told = {p.text for p in problems(store) if p.file == store.slices[0].file}
    assert told == {"planned but not in the manifest", "there but not in the manifest"}


def test_a_changed_row_count_is_found(store: Store) -> None:
    steps = store.table_manifest("steps")
    one, *others = steps.files
    wrong = replace(one, rows=one.rows + 1)
    small.rewrite_manifest(store, steps.model_copy(update={"files": (wrong, *others)}))
    assert [p.text for p in problems(store)] == [f"expected {one.rows + 1} rows, got {one.rows}"]


def test_a_file_of_another_table_is_found(store: Store) -> None:
    small.score(store, "v2", threshold=0.1)
    piece = store.slices[2]
    shutil.copy(
        Path(store.location, "rewards/v2", piece.file),
        Path(store.location, "rewards/v1", piece.file),
    )
    small.relist(store, store.rewards("v1"))
    (problem,) = problems(store)
    assert (problem.table, problem.file) == ("rewards/v1", piece.file)
    assert "belongs to another table" in problem.text


# --- tables and manifests


def test_an_unfinished_table_is_a_problem(store: Store) -> None:
    small.score(store, "v2")
    Path(store.location, "rewards/v2", MANIFEST).rename(Path(store.location, "rewards/v2", PLAN))
    (problem,) = problems(store)
    assert problem.table == "rewards/v2"
    count = len(store.slices)
    assert problem.text.endswith(
        f"unfinished ({count} of {count} slices); complete it with:\n"
        f"  vlm-relabel finish {store.location}\nor resume it with:\n  score again"
    )


def test_an_empty_store_is_a_problem(empty_store: Store) -> None:
    assert [(p.table, p.text) for p in problems(empty_store)] == [
        ("steps", "there is no such table"),
        ("episodes", "there is no such table"),
    ]


def test_a_broken_manifest_is_a_problem(store: Store) -> None:
    Path(store.location, "steps", MANIFEST).write_text("{")
    assert ("steps", None) in found(store)
    assert "not JSON" in texts(store)


def test_a_table_of_another_source_is_found(store: Store) -> None:
    path = Path(store.location, "episodes", MANIFEST)
    content = json.loads(path.read_text())
    content.pop("checksum")
    path.write_bytes(sealed({**content, "source_fingerprint": "0" * 64}))
    assert ("episodes", None) in found(store)
    assert "belongs to another source than the store" in texts(store)


def test_rewards_of_embeddings_that_were_replaced_are_found(store: Store, source: Source) -> None:
    embeddings = small.source_tables(store, [FRONT], dtype="float32")[2]
    store.begin(embeddings, overwrite=True)
    small.embed(store, source, [embeddings])
    (problem,) = problems(store)
    assert (problem.table, problem.file) == ("rewards/v1", None)
    assert f"was scored from {embeddings.table} before that was replaced" in problem.text


# --- rows


def test_reordered_rows_are_found(store: Store) -> None:
    rewrite(store, "rewards/v1", 2, lambda content: content.take(pa.array([1, 0, *range(2, 7)])))
    (problem,) = problems(store)
    assert (problem.table, problem.file) == ("rewards/v1", store.slices[2].file)
    assert "column 'step' differs" in problem.text


def test_lost_rows_are_found(store: Store) -> None:
    rewrite(store, front(store), 2, lambda content: content.slice(0, 6))
    assert "7 rows against 6" in texts(store)


def test_episodes_and_steps_must_agree(store: Store) -> None:
    def one_longer(content: pa.Table) -> pa.Table:
        lengths = pa.array([4, 0], pa.int32())
        return content.set_column(1, content.schema.field(1), lengths)

    rewrite(store, "episodes", 0, one_longer)
    (problem,) = problems(store)
    assert problem.table == "episodes"
    assert "list different episodes or lengths" in problem.text


def test_steps_must_count(store: Store) -> None:
    def gap(content: pa.Table) -> pa.Table:
        steps = pa.array([0, 2, 3, 0], pa.int32())
        return content.set_column(1, content.schema.field(1), steps)

    for table in store.tables():
        if table != "episodes":
            rewrite(store, table, 0, gap)
    assert "the steps of an episode are not 0, 1, 2, …" in texts(store)


# --- values


def scaled(rows: np.ndarray) -> None:
    rows[1] *= 1.05


def test_a_wrong_norm_is_found(store: Store) -> None:
    rewrite(store, front(store), 0, with_rows(fields.EMBEDDING, scaled))
    (problem,) = problems(store)
    assert problem.table == front(store)
    assert "norm differs from 1 by 0.05" in problem.text


def test_float32_norms_are_held_to_more(empty_store: Store, source: Source) -> None:
    small.embed(empty_store, source, small.source_tables(empty_store, [FRONT], dtype="float32"))
    assert problems(empty_store) == []

    def slightly(rows: np.ndarray) -> None:
        rows[1] *= 1.0005  # float16 could not tell

    rewrite(empty_store, front(empty_store), 0, with_rows(fields.EMBEDDING, slightly))
    assert "norm differs from 1 by 0.0005" in texts(empty_store)


def test_an_unexplained_gap_is_found(store: Store) -> None:
    def gap(rows: np.ndarray) -> None:
        rows[1] = np.nan

    rewrite(store, front(store), 0, with_rows(fields.EMBEDDING, gap))
    assert "1 embeddings are missing and no dead letter says why" in texts(store)


def test_a_score_out_of_range_is_found(store: Store) -> None:
    def too_high(rows: np.ndarray) -> None:
        rows[0, 1] = 1.5  # frame 0: no reward looks at it

    rewrite(store, "rewards/v1", 0, with_rows(fields.SCORE, too_high))
    (problem,) = problems(store)
    assert problem.text.startswith("a score lies outside [0.0, 1.0]: ")


def test_a_reward_out_of_range_is_found(store: Store) -> None:
    small.score(store, "p", reward="probability", scores=False)

    def negative(rows: np.ndarray) -> None:
        rows[0, 0] = -0.5

    rewrite(store, "rewards/p", 0, with_rows(fields.REWARD, negative))
    (problem,) = problems(store)
    assert problem.text.startswith("a reward lies outside [0.0, 1.0]: ")


def test_a_binary_reward_of_two_is_found(store: Store) -> None:
    def two(rows: np.ndarray) -> None:
        rows[0, 0] = 2

    rewrite(store, "rewards/v1", 0, with_rows(fields.REWARD, two))
    assert "a reward is neither 0 nor 1" in texts(store)


@pytest.mark.parametrize("place", [(0, 0), (1, 2)])
def test_a_reward_that_does_not_follow_is_found(store: Store, place: tuple[int, int]) -> None:
    def flip(rows: np.ndarray) -> None:
        rows[place] = 1 - rows[place]

    rewrite(store, "rewards/v1", 2, with_rows(fields.REWARD, flip))
    (problem,) = problems(store)
    assert problem.text == "1 rewards do not follow from score, threshold and timing"


def test_a_lost_reward_is_found(store: Store) -> None:
    def lose(rows: np.ndarray) -> None:
        rows[0] = np.nan

    rewrite(store, "rewards/v1", 2, with_rows(fields.REWARD, lose))
    assert "3 rewards do not follow" in texts(store)


@pytest.mark.parametrize("last", [4, 6])  # of an episode, and of the slice
def test_a_reward_of_the_last_frame_is_found(store: Store, last: int) -> None:
    small.score(store, "lean", scores=False)

    def past_the_end(rows: np.ndarray) -> None:
        rows[last] = 0

    rewrite(store, "rewards/lean", 2, with_rows(fields.REWARD, past_the_end))
    (problem,) = problems(store)
    assert problem.text.startswith("the last frame of an episode has a reward")
