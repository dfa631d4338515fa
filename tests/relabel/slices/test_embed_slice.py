"""`embed_slice`: rows, bytes, dead letters, and what is added to a store later."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from relabel.slices.frame_batches import Chunk, Prepared, Row, chunked, embed_prepared, rebatched
from relabel.source.source import Source
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.dead_letters import read_dead_letters
from schemas.errors import FrameError, StoreError
from schemas.store import Store
from schemas.tables import matrix
from tests import small
from tests.small import FRONT, LENGTHS, WRIST

KEYS = [fields.EPISODE_ID, fields.STEP]
IDS = ["train/0/0", "train/0/1", "train/0/2", "train/1/0", "train/1/1"]
ROWS = [(IDS[e], t) for e, length in enumerate(LENGTHS) for t in range(length)]


def expected(encoded: bytes) -> np.ndarray:
    """What `PixelMeanEncoder` must say of an encoded image, computed beside it."""
    with Image.open(io.BytesIO(encoded)) as image:
        red, green, blue = np.asarray(image, np.float64).reshape(-1, 3).mean(axis=0) / 255
    vector = np.array([red, green, blue, 0.1])
    return vector / np.sqrt((vector**2).sum())


def raw_steps(items: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    source = small.episodes() if items is None else items
    return [step for episode in source for step in episode["steps"]]


def rows_of(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(*(table.column(key).to_pylist() for key in KEYS), strict=True))


def embeddings_of(store: Store, camera: str) -> pa.Table:
    table = next(e for e in store.embeddings() if e.camera == camera)
    return store.read(table.table)


@pytest.mark.parametrize(("camera", "key"), [(FRONT, "front"), (WRIST, "wrist")])
def test_embeddings_are_those_of_each_frame(store: Store, camera: str, key: str) -> None:
    table = embeddings_of(store, camera)
    direct = [expected(step["observation"][key]) for step in raw_steps()]
    assert rows_of(table) == ROWS
    np.testing.assert_allclose(matrix(table.column(fields.EMBEDDING)), direct, atol=1e-3)


def test_float32_embeddings_are_kept_whole(empty_store: Store, source: Source) -> None:
    small.embed(empty_store, source, small.source_tables(empty_store, [FRONT], dtype="float32"))
    direct = [expected(step["observation"]["front"]) for step in raw_steps()]
    stored = matrix(embeddings_of(empty_store, FRONT).column(fields.EMBEDDING))
    np.testing.assert_allclose(stored, direct, atol=1e-7)


def test_steps_table_is_the_source(store: Store) -> None:
    steps, raw = store.read("steps"), raw_steps()
    assert rows_of(steps) == ROWS
    for name in ("is_first", "is_last", "is_terminal", "reward", "language_instruction"):
        assert steps.column(name).to_pylist() == [step[name] for step in raw]
    touching = [step["observation"]["touching"] for step in raw]
    assert steps.column("observation.touching").to_pylist() == touching
    actions = np.array([step["action"] for step in raw])
    np.testing.assert_array_equal(matrix(steps.column("action")), actions)
    states = np.array([step["observation"]["state"] for step in raw])
    stored = matrix(steps.column("observation.state")).reshape(-1, 2, 3)
    np.testing.assert_array_equal(stored, states)
    assert not any(name in steps.column_names for name in (FRONT, WRIST))


def test_episodes_table_has_the_empty_and_the_one_step_episode(store: Store) -> None:
    episodes = store.read("episodes")
    assert episodes.column(fields.EPISODE_ID).to_pylist() == IDS
    assert episodes.column(fields.LENGTH).to_pylist() == list(LENGTHS)
    language = ["open the drawer", "fermé", None, "fermé", "open the drawer"]
    assert episodes.column(fields.LANGUAGE).to_pylist() == language
    assert episodes.column("episode_metadata.file").to_pylist() == [
        f"/raw/é{i}.h5" for i in range(5)
    ]
    assert episodes.column("episode_metadata.seed").to_pylist() == [100, 101, 102, 103, 104]


def test_a_slice_of_only_an_empty_episode_has_files_without_rows(store: Store) -> None:
    piece = store.slices[1]
    assert (piece.start, piece.stop) == (2, 3)
    for table in ("steps", *(e.table for e in store.embeddings()), "rewards/v1"):
        assert store.rows(table, piece.file) == 0
    assert store.rows("episodes", piece.file) == 1


def test_batches_cross_episodes_never_slices(empty_store: Store, source: Source) -> None:
    encoder = PixelMeanEncoder()
    small.embed(empty_store, source, small.source_tables(empty_store, [FRONT]), encoder=encoder)
    # Slices of 3 + 1, 0 and 5 + 2 frames in batches of 2.
    assert encoder.calls == [2, 2, 2, 2, 2, 1]


def test_row_groups_have_one_length_whatever_the_batch(store: Store) -> None:
    piece = store.slices[2]
    for table in ("steps", *(e.table for e in store.embeddings()), "rewards/v1"):
        file = pq.ParquetFile(store.folder.join(f"{table}/{piece.file}"))
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [3, 3, 1]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("decode_threads", [1, 4])
def test_bytes_do_not_depend_on_threads_or_batches(
    batch_size: int, decode_threads: int, store: Store, empty_store: Store, source: Source
) -> None:
    # PixelMeanEncoder treats each frame by itself, so here not even the batch size matters.
    tables = small.source_tables(empty_store)
    how = {"batch_size": batch_size, "decode_threads": decode_threads}
    small.embed(empty_store, source, tables, **how)
    one, other = (small.tree(Path(s.location), manifests=False) for s in (store, empty_store))
    assert other == {name: data for name, data in one.items() if not name.startswith("rewards")}


def half_a_jpeg() -> list[dict[str, Any]]:
    """The small source with the wrist image of episode 3, step 2, cut in half."""
    items = small.episodes()
    observation = items[3]["steps"][2]["observation"]
    observation["wrist"] = observation["wrist"][: len(observation["wrist"]) // 2]
    return items


def test_half_a_jpeg_is_one_dead_letter(tmp_path: Path, row_groups_of_three: None) -> None:
    source = small.write_source(tmp_path / "src", half_a_jpeg())
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    wrist = next(e for e in store.embeddings() if e.camera == WRIST)
    letters = read_dead_letters(store, wrist.table, wrist.files).to_pylist()
    (letter,) = letters
    reason = letter.pop("reason")
    assert letter == {
        "episode_id": "train/1/0",
        "step": 2,
        "slice": "slice-train-00001-000000-000002",
        "stage": wrist.table,
        "camera": WRIST,
    }
    assert "expected a whole JPEG, PNG or WebP" in reason
    assert wrist.dead_letters == 1
    table = store.read(wrist.table)
    missing = np.isnan(matrix(table.column(fields.EMBEDDING))).all(axis=1)
    assert [row for row, gone in zip(ROWS, missing, strict=True) if gone] == [("train/1/0", 2)]
    assert table.column(fields.EMBEDDING).to_pylist()[6] == [None] * 4
    front = next(e for e in store.embeddings() if e.camera == FRONT)
    assert front.dead_letters == 0
    assert not np.isnan(matrix(store.read(front.table).column(fields.EMBEDDING))).any()


def flip_byte(path: Path, inside: bytes) -> None:
    """Changes one byte of a record without changing any length."""
    content = bytearray(path.read_bytes())
    position = bytes(content).index(inside)
    content[position] ^= 0x55
    path.write_bytes(bytes(content))


def dead_episode_source(directory: Path) -> Source:
    """The small source with a damaged record: episode 3, "train/1/0"."""
    source = small.write_source(directory)
    flip_byte(Path(source.paths[1]), "/raw/é3.h5".encode())
    return source


def test_a_dead_episode_is_a_letter_of_every_table(tmp_path: Path) -> None:
    source = dead_episode_source(tmp_path / "src")
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    tables = small.source_tables(store)
    small.embed(store, source, tables)
    for table in tables:
        manifest = store.table_manifest(table.table)
        (letter,) = read_dead_letters(store, table.table, manifest.files).to_pylist()
        assert (letter["episode_id"], letter["step"]) == ("train/1/0", None)
        assert letter["camera"] is None
        assert "checksum" in letter["reason"]
        assert Path(source.paths[1]).name in letter["reason"]
        assert manifest.dead_letters == 1
    living = [row for row in ROWS if row[0] != "train/1/0"]
    assert rows_of(store.read("steps")) == living
    assert rows_of(embeddings_of(store, FRONT)) == living


def test_committed_slices_are_not_made_again(store: Store, source: Source) -> None:
    before = small.tree(Path(store.location))
    encoder = PixelMeanEncoder()
    tables = small.source_tables(store)
    for piece in store.slices:
        result = small.embed_one(store, source, tables, piece, encoder)
        listed = {file.table: file for file in result.files}
        for table in tables:
            assert listed[table.table] in store.table_manifest(table.table).files
    assert encoder.calls == []
    assert small.tree(Path(store.location)) == before


def test_only_the_missing_table_of_a_slice_is_made(store: Store, source: Source) -> None:
    before = small.tree(Path(store.location))
    tables = small.source_tables(store)
    lost = Path(store.location, tables[3].table, store.slices[2].file)
    lost.unlink()
    encoder = PixelMeanEncoder()
    small.embed_one(store, source, tables, store.slices[2], encoder, batch_size=64)
    assert encoder.calls == [7]
    assert small.tree(Path(store.location)) == before


def test_a_camera_added_later_equals_one_made_at_once(
    store: Store, empty_store: Store, source: Source
) -> None:
    small.embed(empty_store, source, small.source_tables(empty_store, [FRONT]))
    small.embed(empty_store, source, small.source_tables(empty_store, [WRIST])[2:])
    at_once = small.tree(Path(store.location, "embeddings"), manifests=False)
    assert small.tree(Path(empty_store.location, "embeddings"), manifests=False) == at_once


def test_an_encoder_added_later_stands_beside_the_first(store: Store, source: Source) -> None:
    more = small.source_tables(store, [FRONT], version=1)[2:]
    small.embed(store, source, more, encoder=PixelMeanEncoder(1))
    assert len(store.embeddings()) == 3
    assert more[0].table in store.tables()


def test_a_table_added_to_other_rows_is_refused(tmp_path: Path) -> None:
    whole = small.write_source(tmp_path / "whole")
    store = Store.create(str(tmp_path / "store"), small.store_manifest(whole))
    small.embed(store, whole, small.source_tables(store, [FRONT]))
    damaged = dead_episode_source(tmp_path / "damaged")
    later = small.source_tables(store, [WRIST])[2:]
    with pytest.raises(StoreError, match=r"steps and the source, slice-train-00001-000000-000002"):
        small.embed(store, damaged, later)
    third = Path(store.location, later[0].table, store.slices[2].file)
    assert not third.exists()
    assert store.folder.leftovers() == []


def test_a_camera_added_to_a_slice_of_dead_episodes_alone(tmp_path: Path) -> None:
    source = small.write_source(tmp_path / "src")
    flip_byte(Path(source.paths[1]), "/raw/é3.h5".encode())
    flip_byte(Path(source.paths[1]), "/raw/é4.h5".encode())
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store, [FRONT]))
    small.embed(store, source, small.source_tables(store, [WRIST])[2:])
    assert rows_of(embeddings_of(store, WRIST)) == [r for r in ROWS if r[0].startswith("train/0")]


def test_kept_frames_are_the_bytes_of_the_source(source: Source, tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "s"), small.store_manifest(source, keep=True))
    small.embed(store, source, small.source_tables(store, []))
    steps = store.read("steps")
    for name, key in ((FRONT, "front"), (WRIST, "wrist")):
        raw = [step["observation"][key] for step in raw_steps()]
        assert steps.column(name).to_pylist() == raw


def test_steps_and_episodes_need_no_encoder(empty_store: Store, source: Source) -> None:
    tables = small.source_tables(empty_store, [])
    for piece in empty_store.slices:
        small.embed_one(empty_store, source, tables, piece, None)
        assert empty_store.has("steps", piece)


class BrokenEncoder(PixelMeanEncoder):
    """Fails on its second batch."""

    def encode_images(self, frames: Any) -> Any:
        if self.calls:
            raise RuntimeError("out of memory")
        return super().encode_images(frames)


def test_an_encoder_that_fails_leaves_no_file(empty_store: Store, source: Source) -> None:
    tables = small.source_tables(empty_store)
    before = small.tree(Path(empty_store.location))
    with pytest.raises(RuntimeError, match="out of memory"):
        small.embed_one(
            empty_store, source, tables, empty_store.slices[0], BrokenEncoder(), decode_threads=2
        )
    assert small.tree(Path(empty_store.location)) == before


def prepared(place: list[int], *frames: np.ndarray) -> Prepared:
    errors = {row: FrameError("cut") for row, at in enumerate(place) if at < 0}
    blank = np.zeros(len(place), np.bool_)
    return Prepared(errors, np.array(place, np.int64), blank, list(frames) or None)


def test_frames_that_cannot_be_decoded_do_not_reach_the_encoder() -> None:
    encoder, black = PixelMeanEncoder(), np.zeros((2, 2, 3), np.uint8)
    parts = [prepared([-1, 0], black), prepared([-1])]
    out = embed_prepared(parts, encoder)
    assert encoder.calls == [1]
    np.testing.assert_array_equal(np.isnan(out).all(axis=1), [True, False, True])
    np.testing.assert_allclose(out[1], [0, 0, 0, 1])
    assert np.isnan(embed_prepared(parts[1:], encoder)).all()
    assert encoder.calls == [1]


def test_a_repeated_frame_is_embedded_once_for_every_row() -> None:
    encoder = PixelMeanEncoder()
    black, white = (np.full((2, 2, 3), value, np.uint8) for value in (0, 255))
    parts = [prepared([0, 1, 0, -1], black, white), prepared([-1, -1]), prepared([0, 0], white)]
    out = embed_prepared(parts, encoder)
    assert encoder.calls == [3]
    dark, light = encoder.encode_images([black, white])
    missing = np.full(4, np.nan)
    expected_rows = [dark, light, dark, missing, missing, missing, light, light]
    np.testing.assert_array_equal(out, expected_rows)


def test_repeats_in_a_source_are_written_for_every_step(tmp_path: Path) -> None:
    items = small.episodes()
    still = items[3]["steps"][0]["observation"]["front"]
    for step in items[3]["steps"][1:4]:
        step["observation"]["front"] = still
    items[3]["steps"][3]["observation"]["front"] = still[: len(still) // 2]
    source = small.write_source(tmp_path / "src", items)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    encoder, tables = PixelMeanEncoder(), small.source_tables(store, [FRONT])
    small.embed(store, source, tables, encoder=encoder, batch_size=64)
    assert sum(encoder.calls) == len(ROWS) - 3  # two repeats and a damaged image
    table = embeddings_of(store, FRONT)
    stored = matrix(table.column(fields.EMBEDDING))
    first = ROWS.index(("train/1/0", 0))
    np.testing.assert_allclose(stored[first : first + 3], [expected(still)] * 3, atol=1e-3)
    assert np.isnan(stored[first + 3]).all()


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 8, 13])
@pytest.mark.parametrize(("batch", "chunk"), [(1, 3), (4, 3), (4, 4), (5, 2), (6, 16)])
def test_chunks_never_belong_to_two_batches(rows: int, batch: int, chunk: int) -> None:
    made = [Row("e", step, ()) for step in range(rows)]
    chunks = list(chunked(iter(made), batch, chunk))
    assert [row for part in chunks for row in part] == made
    assert all(len(part) <= chunk for part in chunks)
    batches = list(rebatched((Chunk(part, ()) for part in chunks), batch))
    steps = [[row.step for part in parts for row in part.rows] for parts in batches]
    assert steps == [list(range(i, min(i + batch, rows))) for i in range(0, rows, batch)]
