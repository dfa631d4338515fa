"""Dead letters: written as rows, read back, counted as a share."""

from __future__ import annotations

import pytest

from schemas.dead_letters import DeadLetter, dead_letter_columns, dead_ratio, read_dead_letters
from schemas.slices import TableFile
from schemas.store import Store
from schemas.tables import DEAD_LETTER_SCHEMA

EPISODE = DeadLetter("train/0/1", "checksum")
FRAME = DeadLetter("train/0/0", "cut off", step=2, camera="observation.front")


def written(store: Store, letters: list[DeadLetter], index: int = 0) -> TableFile:
    piece = store.slices[index]
    columns = dead_letter_columns(letters, piece, "steps")
    with store.writer("dead_letters/steps", piece, DEAD_LETTER_SCHEMA, fingerprint="f") as writer:
        writer.write(columns)
        return writer.commit()


def test_letters_come_back(empty_store: Store) -> None:
    files = [written(empty_store, [EPISODE, FRAME]), written(empty_store, [EPISODE], 2)]
    rows = read_dead_letters(empty_store, "steps", files).to_pylist()
    first, second = empty_store.slices[0].name, empty_store.slices[2].name
    assert [(r["episode_id"], r["step"], r["camera"], r["reason"], r["slice"]) for r in rows] == [
        ("train/0/1", None, None, "checksum", first),
        ("train/0/0", 2, "observation.front", "cut off", first),
        ("train/0/1", None, None, "checksum", second),
    ]
    assert {row["stage"] for row in rows} == {"steps"}


def test_only_the_files_listed_are_read(empty_store: Store) -> None:
    file = written(empty_store, [FRAME])
    written(empty_store, [EPISODE], 2)
    assert read_dead_letters(empty_store, "steps", [file]).num_rows == 1
    assert read_dead_letters(empty_store, "episodes", [file]).num_rows == 0
    assert read_dead_letters(empty_store, "steps", []).schema == DEAD_LETTER_SCHEMA


def frames(rows: int) -> TableFile:
    return TableFile(table="steps", file="slice-x.parquet", rows=rows, bytes=1, sha256="")


@pytest.mark.parametrize(
    ("letters", "rows", "expected"),
    [
        ([EPISODE], 10, 1 / 5),  # of the five stored episodes
        ([FRAME], 10, 1 / 10),
        ([EPISODE, FRAME, FRAME, FRAME], 10, 3 / 10),
        ([EPISODE, EPISODE, FRAME], 10, 2 / 5),
        ([FRAME], 0, 1.0),
    ],
)
def test_the_share_is_of_episodes_or_of_frames(
    empty_store: Store, letters: list[DeadLetter], rows: int, expected: float
) -> None:
    files = [written(empty_store, letters), frames(rows)]
    assert dead_ratio(empty_store, "steps", files) == pytest.approx(expected)


def test_no_letter_is_no_share(empty_store: Store) -> None:
    assert dead_ratio(empty_store, "steps", [frames(10)]) == 0
