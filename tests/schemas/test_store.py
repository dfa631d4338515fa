"""The store: begin, finish, resume, refuse, read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from relabel.source.source import Source
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.enums import Timing
from schemas.errors import StoreError
from schemas.manifests import EmbeddingManifest, StepsManifest, manifest_bytes
from schemas.slices import Slice, TableFile
from schemas.store import (
    GOAL_SET,
    GOALS,
    MANIFEST,
    META,
    PLAN,
    STORE_MANIFEST,
    Store,
    check_same_rows,
)
from schemas.tables import KEYS
from schemas.verify import verify_store
from tests import small
from tests.small import FRONT, WRIST

KEY_SCHEMA = pa.schema(KEYS)


def keys(*steps: int, episode: str = "train/0/0") -> list[pa.Array]:
    return [pa.array([episode] * len(steps), pa.string()), pa.array(steps, pa.int32())]


def commit(store: Store, table: str, piece: Slice, rows: list[pa.Array], **more: Any) -> TableFile:
    fingerprint = more.get("fingerprint", "f" * 64)
    with store.writer(table, piece, KEY_SCHEMA, fingerprint=fingerprint) as writer:
        writer.write(rows)
        return writer.commit()


# --- a store as a whole


def test_what_is_no_store(tmp_path: Path) -> None:
    assert not Store.exists(str(tmp_path))
    with pytest.raises(StoreError, match=r"not a store \(no manifest.json\).*vlm-relabel relabel"):
        Store.open(str(tmp_path))


def test_a_store_is_created_once(empty_store: Store) -> None:
    assert Store.exists(empty_store.location)
    changes: dict[str, Any] = {"episodes_per_slice": 7, "slices": empty_store.manifest.slices[:1]}
    other = empty_store.manifest.model_copy(update=changes)
    text = "a store already, with another plan: episodes_per_slice: stored null, asked for 7; type"
    with pytest.raises(StoreError, match=text):
        Store.create(empty_store.location, other)
    same = empty_store.manifest.model_copy(update={"last_step_reason": "told otherwise"})
    assert Store.create(empty_store.location, same).manifest == empty_store.manifest
    again = Store.open(empty_store.location)
    assert again.manifest == empty_store.manifest
    assert again.slices == empty_store.slices
    assert again.tables() == again.unfinished() == []


def test_a_store_of_a_later_format_is_refused(empty_store: Store) -> None:
    path = Path(empty_store.location, STORE_MANIFEST)
    path.write_text(path.read_text().replace('"format_version": "2.0"', '"format_version": "3.0"'))
    message = r"manifest.json: expected format version 1.x or 2.x, got '3.0'"
    with pytest.raises(StoreError, match=message):
        Store.open(empty_store.location)


def test_tables_of_a_finished_store(store: Store) -> None:
    spec = PixelMeanEncoder().spec
    assert store.tables() == [
        f"embeddings/{spec.key}.front",
        f"embeddings/{spec.key}.wrist",
        "episodes",
        "rewards/v1",
        "steps",
    ]
    assert store.unfinished() == []
    assert [e.camera for e in store.embeddings()] == [FRONT, WRIST]
    assert store.rewards("v1").goals == 3
    assert {m.rows for m in map(store.table_manifest, store.tables())} == {11, 5}


# --- begin, resume, finish


def test_begin_records_the_plan_and_can_be_repeated(empty_store: Store) -> None:
    steps = small.source_tables(empty_store)[0]
    assert empty_store.begin(steps) is False
    assert empty_store.begin(steps) is False
    assert empty_store.unfinished() == ["steps"]
    assert empty_store.tables() == []


def test_of_two_that_begin_a_table_at_once_one_follows(
    empty_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (small.source_tables(empty_store, dtype=d)[2] for d in ("float16", "float32"))
    monkeypatch.setattr(Store, "recorded", lambda *_: None)  # both look before either writes
    assert empty_store.begin(one) is False
    assert empty_store.begin(one) is False
    plan = empty_store.folder.read(f"{one.table}/{PLAN}")
    empty_store.begin(other)
    assert empty_store.folder.read(f"{one.table}/{PLAN}") == plan
    monkeypatch.undo()
    with pytest.raises(StoreError, match='dtype: stored "float16", asked for "float32"'):
        empty_store.begin(other)


def test_a_finished_table_needs_no_more(store: Store) -> None:
    before = small.tree(Path(store.location))
    for table in store.tables():
        assert store.begin(store.table_manifest(table)) is True
    assert small.tree(Path(store.location)) == before


def test_what_a_killed_command_did_not_clear_is_cleared_by_the_next(store: Store) -> None:
    before = small.tree(Path(store.location))
    for table in store.tables():
        manifest = store.table_manifest(table)
        store.folder.write(f"{table}/{PLAN}", manifest_bytes(manifest))
        store.record(table, store.slices[0], manifest.slice_files[:1])
        small.stage_and_die(store.folder, f"{table}/{store.slices[0].file}")
    assert small.tree(Path(store.location)) != before
    for table in store.tables():
        assert store.begin(store.table_manifest(table)) is True
    assert small.tree(Path(store.location)) == before


def test_who_made_a_table_does_not_decide_what_it_is(store: Store) -> None:
    steps = store.table_manifest("steps")
    other = steps.model_copy(update={"command": "another", "made_by": {"machine": "arm"}})
    assert store.begin(other) is True


def test_an_unfinished_table_says_what_resumes_it(empty_store: Store) -> None:
    steps = small.source_tables(empty_store)[0]
    empty_store.begin(steps)
    count = len(empty_store.slices)
    text = rf"empty.store/steps: unfinished \(0 of {count} slices\); resume it with:\n  embed again"
    for ask in (empty_store.table_manifest, empty_store.read):
        with pytest.raises(StoreError, match=text):
            ask("steps")
    unnamed = StepsManifest(source_fingerprint="x")
    Path(empty_store.location, "steps", PLAN).write_bytes(manifest_bytes(unnamed))
    with pytest.raises(StoreError, match="the command that began it"):
        empty_store.table_manifest("steps")


def test_an_unknown_table_lists_the_known(store: Store, empty_store: Store) -> None:
    with pytest.raises(StoreError, match=r"no table 'rewards/v2'; there are embeddings/.*, steps"):
        store.rewards("v2")
    with pytest.raises(StoreError, match="there are none"):
        empty_store.read("steps")


def test_every_difference_is_named(store: Store) -> None:
    stored = store.rewards("v1")
    function = {**stored.function, "threshold": 0.75}
    changes = {"function": function, "timing": Timing.SAME_FRAME, "goals_hash": "0" * 64}
    before = small.tree(Path(store.location))
    with pytest.raises(StoreError) as caught:
        store.begin(stored.model_copy(update=changes))
    text = str(caught.value)
    assert "rewards/v1: exists and was made from other inputs" in text
    assert "function.threshold: stored 0.5, asked for 0.75" in text
    assert 'timing: stored "next-frame", asked for "same-frame"' in text
    assert "goals_hash: stored" in text
    assert "temperature" not in text
    assert "--name" in text
    assert "--overwrite" in text
    assert small.tree(Path(store.location)) == before


def test_differences_from_an_unfinished_table_count_too(empty_store: Store) -> None:
    embedding = small.source_tables(empty_store, dtype="float16")[2]
    empty_store.begin(embedding)
    other = small.source_tables(empty_store, dtype="float32")[2]
    with pytest.raises(StoreError, match='dtype: stored "float16", asked for "float32"'):
        empty_store.begin(other)


def test_overwrite_replaces_one_table_and_its_letters(store: Store) -> None:
    stored = store.rewards("v1")
    commit(store, "dead_letters/rewards/v1", store.slices[0], keys(0))
    commit(store, "dead_letters/steps", store.slices[0], keys(0))
    other = stored.model_copy(update={"timing": Timing.SAME_FRAME, "files": ()})
    assert store.begin(other, overwrite=True) is False
    assert store.folder.names("rewards/v1", recursive=True) == [PLAN]
    assert store.folder.names("dead_letters/rewards/v1") == []
    assert store.folder.names("dead_letters/steps") == [store.slices[0].file]
    assert store.is_complete("steps")
    assert store.unfinished() == ["rewards/v1"]


def test_overwrite_of_an_equal_table_keeps_it(store: Store) -> None:
    before = small.tree(Path(store.location))
    assert store.begin(store.rewards("v1"), overwrite=True) is True
    assert small.tree(Path(store.location)) == before


def test_a_table_with_a_slice_missing_is_not_finished(store: Store) -> None:
    steps = store.table_manifest("steps")
    files = [f for f in steps.files if f.file != store.slices[1].file]
    with pytest.raises(
        StoreError, match=r"1 of 3 slices are missing, such as slice-train-00000-000002"
    ):
        store.finish(steps.model_copy(update={"files": tuple(files)}))


def test_a_goals_file_is_no_slice(store: Store) -> None:
    manifest = store.rewards("v1")
    assert {GOALS, GOAL_SET} < {file.file for file in manifest.files}
    assert len(manifest.slice_files) == 3
    assert manifest.rows == 11


def test_finishing_clears_plan_and_leftovers(empty_store: Store, source: Source) -> None:
    tables = small.source_tables(empty_store, [])
    empty_store.begin(tables[0])
    file = f"steps/{empty_store.slices[0].file}"
    small.stage_and_die(empty_store.folder, file)
    small.embed(empty_store, source, tables)
    names = [piece.file for piece in empty_store.slices]
    assert empty_store.folder.names("steps", recursive=True) == [MANIFEST, *names]


# --- writing slices


def test_a_writer_that_is_not_committed_leaves_nothing(empty_store: Store) -> None:
    piece = empty_store.slices[0]
    with empty_store.writer("steps", piece, KEY_SCHEMA, fingerprint="f") as writer:
        writer.write(keys(0, 1, 2, 3))
    with pytest.raises(KeyError, match="boom"):
        break_off(empty_store, piece)
    assert empty_store.folder.names("", recursive=True) == [STORE_MANIFEST]


def break_off(store: Store, piece: Slice) -> None:
    with store.writer("steps", piece, KEY_SCHEMA, fingerprint="f") as writer:
        writer.write(keys(0))
        raise KeyError("boom")


def test_bytes_depend_on_rows_not_on_how_they_came(empty_store: Store) -> None:
    one, other = empty_store.slices[0], empty_store.slices[2]
    rows = [keys(n) for n in range(8)]
    whole = commit(empty_store, "steps", one, keys(*range(8)))
    with empty_store.writer("steps", other, KEY_SCHEMA, fingerprint="f" * 64) as writer:
        writer.write(keys())
        for row in rows:
            writer.write(row)
        parts = writer.commit()
    assert (parts.sha256, parts.bytes, parts.rows) == (whole.sha256, whole.bytes, whole.rows)
    content = Path(empty_store.location, "steps", other.file).read_bytes()
    assert len(content) == parts.bytes
    assert empty_store.folder.sha256(f"steps/{other.file}") == parts.sha256


def test_a_slice_without_rows_is_a_whole_file(empty_store: Store) -> None:
    piece = empty_store.slices[1]
    with empty_store.writer("steps", piece, KEY_SCHEMA, fingerprint="f") as writer:
        file = writer.commit()
    assert file.rows == empty_store.rows("steps", piece.file) == 0
    assert empty_store.read_slices("steps", [piece]).schema.names == ["episode_id", "step"]


def test_a_committed_slice_is_recognised(empty_store: Store) -> None:
    piece, steps = empty_store.slices[0], small.source_tables(empty_store)[0]
    assert empty_store.committed(steps, piece) == ()
    assert not empty_store.has("steps", piece)
    file = commit(empty_store, "steps", piece, keys(0, 1), fingerprint=steps.fingerprint)
    assert empty_store.committed(steps, piece) == (file,)
    assert empty_store.has("steps", piece)


def test_a_slice_of_another_table_is_refused(empty_store: Store) -> None:
    piece, steps = empty_store.slices[0], small.source_tables(empty_store)[0]
    commit(empty_store, "steps", piece, keys(0), fingerprint="a" * 64)
    text = rf"belongs to another table \(fingerprint aaaaaaaa, expected {steps.fingerprint[:8]}\); "
    with pytest.raises(StoreError, match=text + "--overwrite"):
        empty_store.committed(steps, piece)


def test_a_file_of_nobody_is_refused_and_half_a_file_is_made_anew(empty_store: Store) -> None:
    piece, steps = empty_store.slices[0], small.source_tables(empty_store)[0]
    path = Path(empty_store.location, "steps", piece.file)
    path.parent.mkdir()
    pq.write_table(pa.table({"step": [1]}), path)
    with pytest.raises(StoreError, match=r"fingerprint none, expected"):
        empty_store.committed(steps, piece)
    path.write_bytes(b"PAR1 and then nothing")
    assert empty_store.committed(steps, piece) == ()
    with pytest.raises(StoreError, match="not a whole Parquet file"):
        empty_store.rows("steps", piece.file)


def compressions(store: Store, table: str) -> set[str]:
    metadata = pq.read_metadata(Path(store.location, table, store.slices[2].file))
    group = metadata.row_group(0)
    return {group.column(i).compression for i in range(metadata.num_columns)}


def test_embeddings_are_not_compressed_other_tables_are(store: Store) -> None:
    assert compressions(store, store.embeddings()[0].table) == {"UNCOMPRESSED"}
    assert compressions(store, "steps") == compressions(store, "rewards/v1") == {"ZSTD"}


# --- reading


def test_slices_are_read_in_order_columns_as_asked(store: Store) -> None:
    table = store.read("steps", ["step", "observation.touching"])
    assert table.column_names == ["step", "observation.touching"]
    assert table.column("step").to_pylist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 1]
    backwards = store.read_slices("steps", store.slices[::-1], ["step"])
    assert backwards.column("step").to_pylist() == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 0]


def test_batches_are_short_and_whole(store: Store) -> None:
    batches = list(store.batches("steps", store.slices[2], ["step"]))
    assert [batch.num_rows for batch in batches] == [3, 3, 1]
    assert [s for b in batches for s in b.column("step").to_pylist()] == [0, 1, 2, 3, 4, 0, 1]


def test_a_damaged_slice_is_named_when_read(store: Store) -> None:
    path = Path(store.location, "steps", store.slices[0].file)
    path.write_bytes(path.read_bytes()[:-20])
    for read in (
        lambda: store.read("steps"),
        lambda: list(store.batches("steps", store.slices[0])),
        lambda: store.rows("steps", store.slices[0].file),
    ):
        with pytest.raises(StoreError, match=r"steps/slice-train-00000-000000-000002.parquet: "):
            read()
    path.unlink()
    with pytest.raises(StoreError, match=r"steps/slice-train-00000-000000-000002.parquet: missing"):
        store.read("steps")


def test_goals_are_read_in_the_order_of_the_axis(store: Store) -> None:
    goals = store.goals("v1")
    assert goals.column("goal_id").to_pylist() == ["a-red-room", "a-green-room", "a-blue-room"]
    assert store.goals("v1", ["family"]).column_names == ["family"]
    with pytest.raises(StoreError, match="no table 'rewards/v2'"):
        store.goals("v2")


def test_the_goal_set_is_kept_as_it_was_given(store: Store) -> None:
    assert store.goal_set("v1") == small.COLOURS
    assert store.goal_set("v1").content_hash == store.rewards("v1").goals_hash
    Path(store.location, "rewards", "v1", GOAL_SET).write_text("{")
    with pytest.raises(
        StoreError, match=r"rewards/v1/__meta__/goals.json: expected \d+ bytes, got 1"
    ):
        store.goal_set("v1")


def test_a_manifest_of_another_kind_is_refused(store: Store) -> None:
    shutil.copy(Path(store.location, "steps", MANIFEST), Path(store.location, "rewards/v1", META))
    with pytest.raises(StoreError, match="rewards/v1: its manifest is of another kind"):
        store.rewards("v1")


# --- joins


def test_a_join_brings_rows_together(store: Store) -> None:
    tables = ["steps", *(e.table for e in store.embeddings()), "rewards/v1"]
    for piece in store.slices:
        sizes = []
        for batches in store.join(tables, piece):
            assert len(batches) == 4
            first = batches[0].select([fields.EPISODE_ID, fields.STEP])
            for batch in batches[1:]:
                assert batch.select([fields.EPISODE_ID, fields.STEP]).equals(first)
            sizes.append(first.num_rows)
        assert sum(sizes) == store.rows("steps", piece.file)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (keys(0, 1, 2, 0), r"steps and x, slice-train-00000.*column 'episode_id' differs"),
        (keys(0, 1, 2), "slice-train-00000.*the tables have different numbers of rows"),
        (keys(0, 1), "slice-train-00000.*3 rows against 2"),
        (keys(*range(9)), "slice-train-00000"),
    ],
)
def test_tables_of_other_rows_are_not_joined(store: Store, rows: list[pa.Array], text: str) -> None:
    commit(store, "x", store.slices[0], rows)
    with pytest.raises(StoreError, match=text):
        list(store.join(["steps", "x"], store.slices[0]))


def test_the_same_rows_in_another_order_are_other_rows() -> None:
    one, two = (pa.record_batch(keys(*steps), schema=KEY_SCHEMA) for steps in ((0, 1), (1, 0)))
    check_same_rows(one, one, "here")
    with pytest.raises(StoreError, match="here: column 'step' differs"):
        check_same_rows(one, two, "here")


# --- not on a local disk


def test_a_store_can_live_where_nothing_can_be_renamed(
    source: Source, store: Store, row_groups_of_three: None
) -> None:
    folder = small.memory_folder("bucket/remote.store")
    manifest = small.store_manifest(source)
    folder.write(STORE_MANIFEST, manifest_bytes(manifest))
    remote = Store("memory://bucket/remote.store", folder, manifest)
    small.embed(remote, source, small.source_tables(remote))
    small.score(remote)
    names = remote.folder.names("", recursive=True)
    local = small.tree(Path(store.location))
    assert names == sorted(local)
    assert {name: remote.folder.read(name) for name in names} == local
    assert [problems for _, problems in verify_store(remote)] == [[]] * 5


def test_a_store_by_uri_is_the_store_by_path(store: Store) -> None:
    other = Store.open(f"file://{store.location}")
    assert other.read("rewards/v1").equals(store.read("rewards/v1"))


def test_a_path_that_looks_like_partitions_adds_no_column(store: Store, tmp_path: Path) -> None:
    moved = tmp_path / "model=v1" / "n=3"
    shutil.copytree(store.location, moved)
    assert Store.open(str(moved)).read("steps").column_names == store.read("steps").column_names


def test_embedding_tables_of_two_precisions_have_two_names(store: Store) -> None:
    spec = PixelMeanEncoder().spec
    half = spec.model_copy(update={"precision": "float16", "fingerprint": "9" * 64})
    tables = {
        EmbeddingManifest(encoder=e, camera=FRONT, source_fingerprint="").table
        for e in (spec, half)
    }
    assert len(tables) == 2
