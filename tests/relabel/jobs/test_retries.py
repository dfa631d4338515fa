"""Dead letters of a source that was mended: the same command, and the bytes of a whole source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import jobs
from relabel.jobs.options import JobOptions
from schemas.errors import DeadLetterError, StoreError
from schemas.store import Store
from tests.pipelines import small_source
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.small_source import cut_image, write_source
from tests.pipelines.store_checks import hashes, problems, state

Relabel = Callable[..., Any]
BAD = "slice-train-00000-000002-000003.parquet"  # of episode 2, of 4 frames


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return write_source(tmp_path / "origin")


@pytest.fixture
def relabel(job: JobOptions, embedding: Embedding, scoring: Scoring, origin: Path) -> Relabel:
    """Runs the one command that everything here is about."""

    def run(**changes: Any) -> Any:
        own = {key: changes.pop(key) for key in ("retry_dead_letters",) if key in changes}
        what = embedding(source=str(origin), **own)
        return jobs.relabel(replace(job, **changes), what, scoring())

    return run


@pytest.fixture
def expected(tmp_path: Path, relabel: Relabel) -> dict[str, str]:
    """What a store of the whole source holds."""
    relabel(store=str(tmp_path / "whole"))
    return hashes(tmp_path / "whole")


def flip(origin: Path) -> None:
    """Damages the data of episode 2 beneath its checksum; the same again mends it."""
    shard = min(origin.glob("*.tfrecord-*"))
    content = bytearray(shard.read_bytes())
    content[content.index(b"pisode_2.npy") - 1] ^= 1
    shard.write_bytes(content)


def truncate(origin: Path) -> Callable[[], object]:
    shard = min(origin.glob("*.tfrecord-*"))
    content = shard.read_bytes()
    small_source.truncate(origin)
    return lambda: shard.write_bytes(content)


def flipped(origin: Path) -> Callable[[], object]:
    flip(origin)
    return lambda: flip(origin)


DAMAGES: list[Callable[[Path], Callable[[], object]]] = [truncate, flipped]


def check(store: Path, expected: dict[str, str]) -> None:
    assert hashes(store) == expected
    assert not list((store / "dead_letters").rglob("*.parquet"))
    assert problems(store) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_job_that_stopped_goes_on_with_the_mended_source(
    origin: Path, relabel: Relabel, store: Path, expected: dict[str, str], counted: Any,
    damage: Callable[[Path], Callable[[], object]],
) -> None:  # fmt: skip
    mend = damage(origin)
    for _ in range(2):
        with pytest.raises(DeadLetterError, match=r"once the source is mended, the same command"):
            relabel()
    mend()
    counted.frames.clear()
    done = relabel()
    assert sum(counted.frames) == 4  # of the mended slice alone
    assert any("computed again" in note or "made again" in note for note in done.notes)
    check(store, expected)


@pytest.mark.parametrize("damage", DAMAGES)
def test_accepted_dead_letters_are_made_good_on_request(
    origin: Path, relabel: Relabel, store: Path, expected: dict[str, str], counted: Any,
    damage: Callable[[Path], Callable[[], object]],
) -> None:  # fmt: skip
    mend = damage(origin)
    relabel(max_dead_ratio=1)
    mend()
    counted.frames.clear()
    relabel(retry_dead_letters=True)
    assert sum(counted.frames) == 4
    check(store, expected)


def test_to_replace_tables_makes_mended_records_good_too(
    origin: Path, relabel: Relabel, store: Path, expected: dict[str, str]
) -> None:
    flip(origin)
    relabel(max_dead_ratio=1)
    flip(origin)
    assert relabel().tables_new == ()  # nobody asked
    relabel(overwrite=True)
    check(store, expected)


def test_what_is_not_mended_is_not_computed_twice(
    origin: Path, relabel: Relabel, store: Path, counted: Any
) -> None:
    flip(origin)
    with pytest.raises(DeadLetterError):
        relabel()
    counted.frames.clear()
    done = relabel(max_dead_ratio=1)
    assert counted.frames == []
    assert {table.dead_letters for table in done.tables} == {0, 1}
    before = state(store)
    assert relabel(max_dead_ratio=1).tables_new == ()
    assert state(store) == before


def test_a_retry_of_what_is_not_mended_changes_no_byte(
    origin: Path, relabel: Relabel, store: Path
) -> None:
    flip(origin)
    relabel(max_dead_ratio=1)
    before = hashes(store)
    relabel(max_dead_ratio=1, retry_dead_letters=True)
    assert hashes(store) == before
    assert problems(store) == []


def test_tables_of_other_commands_are_named(
    origin: Path, relabel: Relabel, store: Path, job: JobOptions, scoring: Scoring
) -> None:
    flip(origin)
    relabel(max_dead_ratio=1)
    jobs.score(replace(job, command="vlm-relabel score again"), scoring(name="v2"))
    flip(origin)
    done = relabel(retry_dead_letters=True)
    assert any("those that this command does not make are unfinished" in n for n in done.notes)
    assert Store.open(str(store)).unfinished() == ["rewards/v2"]
    with pytest.raises(StoreError, match="resume it with:\n  vlm-relabel score again"):
        Store.open(str(store)).read("rewards/v2")
    jobs.score(job, scoring(name="v2"))
    assert problems(store) == []


def test_a_mended_image_needs_no_more_than_the_same_command(
    tmp_path: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    cameras = ("front", "wrist")
    cut = write_source(tmp_path / "cut", change=cut_image)
    with pytest.raises(DeadLetterError):
        jobs.embed(job, embedding(source=str(cut), cameras=cameras))
    whole = write_source(tmp_path / "whole")
    jobs.embed(job, embedding(source=str(whole), cameras=cameras))
    other = replace(job, store=str(tmp_path / "other"))
    jobs.embed(other, embedding(source=str(whole), cameras=cameras))
    check(store, hashes(tmp_path / "other"))


def test_a_camera_added_after_the_source_was_mended_says_what_to_do(
    origin: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    flip(origin)
    jobs.embed(replace(job, max_dead_ratio=1), embedding(source=str(origin)))
    flip(origin)
    both = embedding(source=str(origin), cameras=("front", "wrist"))
    with pytest.raises(
        StoreError, match=r"000002-000003: 0 rows against 4; .*--retry-dead-letters"
    ):
        jobs.embed(job, both)
    jobs.embed(job, replace(both, retry_dead_letters=True))
    assert problems(store) == []
    assert (store / "steps" / BAD).exists()
