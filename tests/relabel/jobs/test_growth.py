"""Stores of a part of a source, their growth, and sources that change beneath them."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorflow.core.example import example_pb2  # type: ignore[import-untyped]

from pipelines import jobs
from pipelines.jobs import build_goals
from relabel.jobs.options import GoalDatasetOptions, JobOptions
from relabel.source.records import read_records
from relabel.testing import write_rlds, write_shard
from schemas.errors import SourceError, StoreError
from schemas.goal_datasets import DatasetOptions
from schemas.manifests import manifest_bytes
from schemas.replan import with_split
from schemas.store import MANIFEST, PLAN, STORE_MANIFEST, Store
from tests.pipelines import small_source
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.store_checks import hashes, leftovers, problems, state

LENGTHS, SHARDS = (3, 2, 4, 2, 3, 1, 2, 4), (5, 3)
IDS = [f"train/{shard}/{i}" for shard, count in enumerate(SHARDS) for i in range(count)]
GOALS = GoalDatasetOptions("gc1", options=DatasetOptions(validation=0.2, test=0.2))


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Eight episodes in two shards, which a test may change."""
    return small_source.write_source(tmp_path / "origin", LENGTHS, SHARDS)


def shard(origin: Path, index: int) -> Path:
    return sorted(origin.glob("*.tfrecord-*"))[index]


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Rewrites a shard with other records; all its checksums are right."""
    count = path.read_bytes().count(b"episode_metadata/file_path")
    records = [r for r in read_records(str(path), "tfrecord", 0, count) if isinstance(r, bytes)]
    write_shard(path, change(records), "tfrecord")


def edited(record: bytes, name: str, change: Callable[[Any], None]) -> bytes:
    example = example_pb2.Example.FromString(record)
    change(example.features.feature[name])
    return bytes(example.SerializeToString())


def repair_is_last(records: list[bytes]) -> list[bytes]:
    """Moves a flag of the third episode: neither size nor length changes."""

    def swap(feature: Any) -> None:
        values = feature.int64_list.value
        values[0], values[-1] = values[-1], values[0]

    records[2] = edited(records[2], "steps/is_last", swap)
    return records


def episode_ids(store: Path, table: str = "episodes") -> list[str]:
    column = Store.open(str(store)).read(table, ["episode_id"]).column("episode_id").to_pylist()
    return list(dict.fromkeys(column))


def rows(store: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Store.open(str(store)).read(table).to_pylist()
    return found


# --- a part


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("train[:3]", IDS[:3]),
        ("train[3:6]", IDS[3:6]),
        ("train[-3:]", IDS[-3:]),
        ("train[:50%]", IDS[:4]),
    ],
)
def test_a_part_has_the_ids_and_rows_of_the_whole(
    tmp_path: Path, origin: Path, job: JobOptions, embedding: Embedding, store: Path,
    part: str, expected: list[str],
) -> None:  # fmt: skip
    done = jobs.embed(job, embedding(source=str(origin), split=part, episodes_per_slice=2))
    assert (done.episodes, done.source) == (len(expected), f"small 1.0.0 {part}")
    assert episode_ids(store) == expected
    assert Store.open(str(store)).manifest.source.part == part
    whole = replace(job, store=str(tmp_path / "whole"))
    jobs.embed(whole, embedding(source=str(origin), split="train", episodes_per_slice=2))
    for table in Store.open(str(store)).tables():
        told = [row for row in rows(tmp_path / "whole", table) if row["episode_id"] in expected]
        assert rows(store, table) == told
    assert problems(store) == []


def test_all_splits_in_one_store(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    more = [small_source.episode(index, 2) for index in (20, 21)]
    write_rlds(origin, small_source.features(), more, shard_lengths=[2], split="val")
    jobs.relabel(job, embedding(source=str(origin), split="all"), scoring())
    assert episode_ids(store) == [*IDS, "val/0/0", "val/0/1"]
    manifest = Store.open(str(store)).manifest.source
    assert (manifest.split, manifest.part) == ("train+val", "all")
    assert problems(store) == []
    again = jobs.relabel(job, embedding(source=str(origin), split="val+train"), scoring())
    assert again.tables_new == ()


# --- growth


def grow(
    job: JobOptions, embedding: Embedding, scoring: Scoring, origin: Path, **parts: Any
) -> Any:
    what = embedding(source=str(origin), episodes_per_slice=2, **parts)
    return jobs.relabel(job, what, scoring())


@pytest.mark.parametrize(
    ("parts", "aligned"),
    [
        (["train[:2]", "train[:4]", "train"], True),  # at the borders of slices
        (["train[2:4]", "train[:50%]", "train"], True),
        (["train[5:]", "train"], True),
        (["train[:1]", "train[:3]", "train[:6]", "train"], False),
        (["train[3:4]", "train[3:4]+train[6:7]", "train[1:]", "train"], False),
    ],
)
def test_a_grown_store_is_the_store_of_the_whole(
    tmp_path: Path, origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring,
    store: Path, counted: Any, parts: list[str], aligned: bool,
) -> None:  # fmt: skip
    before: dict[str, str] = {}
    for part in parts:
        grow(job, embedding, scoring, origin, split=part)
        now = hashes(store)
        assert before.items() <= now.items(), "what was there stays, byte for byte"
        before = now
        assert problems(store) == []
    assert sum(counted.frames) == sum(LENGTHS), "each frame is embedded once"
    whole = replace(job, store=str(tmp_path / "whole"))
    grow(whole, embedding, scoring, origin, split="train")
    assert (hashes(store) == hashes(tmp_path / "whole")) == aligned
    tables = Store.open(str(store)).tables()
    assert len(tables) == 4
    for table in tables:
        assert rows(store, table) == rows(tmp_path / "whole", table)
    assert leftovers(store) == []
    names = [piece.file for piece in Store.open(str(store)).slices]
    assert names == sorted(names)


def test_other_tables_are_unfinished_until_their_command_has_run_again(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path, counted: Any
) -> None:
    part = {"source": str(origin), "split": "train[:3]"}
    command = "vlm-relabel embed --split 'train[:3]' --camera wrist"
    jobs.relabel(job, embedding(**part), scoring())
    jobs.embed(replace(job, command=command), embedding(**part, cameras=("wrist",)))
    jobs.score(replace(job, command="score v2"), scoring(name="v2", cameras=("front",)))
    build_goals(replace(job, command="build gc1"), GOALS)
    told = jobs.relabel(job, embedding(source=str(origin), split="train"), scoring())
    assert any("grows from 3 to 8 episodes" in note for note in told.notes)
    opened = Store.open(str(store))
    wrist = next(t for t in opened.unfinished() if t.endswith(".wrist"))
    assert opened.unfinished() == [wrist, "goal_datasets/gc1", "rewards/v2"]
    with pytest.raises(StoreError, match=r"(?s)unfinished \(.*resume it with:\n  .*--split train "):
        opened.read(wrist)
    with pytest.raises(
        StoreError, match=r"unfinished \(\d of \d slices\); resume it with:\n  build gc1"
    ):
        opened.read("goal_datasets/gc1")
    recorded = opened.recorded(wrist)
    assert recorded is not None
    assert recorded.command == with_split(command, "train")
    counted.frames.clear()
    jobs.embed(job, embedding(source=str(origin), split=None, cameras=("wrist",)))
    assert sum(counted.frames) == sum(LENGTHS[3:])
    jobs.score(job, scoring(name="v2", cameras=("front",)))
    build_goals(job, GOALS)
    assert Store.open(str(store)).unfinished() == []
    assert problems(store) == []
    assert set(episode_ids(store, "goal_datasets/gc1")) > set(IDS[:3])


def test_a_goal_dataset_grows_to_what_it_would_have_been(
    tmp_path: Path, origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring,
    store: Path,
) -> None:  # fmt: skip
    whole = replace(job, store=str(tmp_path / "whole"))
    grow(job, embedding, scoring, origin, split="train[:4]")
    build_goals(job, GOALS)
    for options in (job, whole):
        grow(options, embedding, scoring, origin, split="train")
        build_goals(options, GOALS)
    assert hashes(store) == hashes(tmp_path / "whole")
    grown, made = (
        Store.open(options.store).table_manifest("goal_datasets/gc1") for options in (job, whole)
    )
    assert grown.model_dump() == made.model_dump()


def test_goals_mined_from_a_part_are_others_than_those_of_the_whole(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    mined = scoring(goals="field:language_instruction")
    jobs.relabel(job, embedding(source=str(origin), split="train[:2]"), mined)
    with pytest.raises(StoreError, match=r"(?s)rewards/v1: exists .*goals: stored 2, asked for 3"):
        jobs.relabel(job, embedding(source=str(origin), split="train"), mined)
    jobs.relabel(replace(job, overwrite=True), embedding(source=str(origin), split=None), mined)
    assert len(Store.open(str(store)).goals("v1")) == 3
    assert problems(store) == []


@pytest.mark.parametrize("part", ["train[:2]", "train[1:]", "train[4:]", "train[-1:]"])
def test_a_store_does_not_shrink(
    origin: Path, job: JobOptions, embedding: Embedding, part: str, store: Path
) -> None:
    jobs.embed(job, embedding(source=str(origin), split="train[:4]"))
    before = state(store)
    text = r"holds train\[:4\], 4 episodes; asked for train\[.*without train/0/"
    with pytest.raises(StoreError, match=text):
        jobs.embed(job, embedding(source=str(origin), split=part))
    with pytest.raises(StoreError, match=text):  # not even so
        jobs.embed(replace(job, overwrite=True), embedding(source=str(origin), split=part))
    assert state(store) == before


def test_a_store_does_not_take_another_split(
    origin: Path, job: JobOptions, embedding: Embedding
) -> None:
    more = [small_source.episode(20, 2)]
    write_rlds(origin, small_source.features(), more, shard_lengths=[1], split="val")
    jobs.embed(job, embedding(source=str(origin), split="train"))
    for split in ("val", "all"):
        with pytest.raises(StoreError, match=r"stored small 1.0.0 train .*within its splits"):
            jobs.embed(job, embedding(source=str(origin), split=split))


def test_without_a_split_a_store_keeps_its_part(
    origin: Path, job: JobOptions, embedding: Embedding, store: Path, counted: Any
) -> None:
    jobs.embed(job, embedding(source=str(origin), split="train[:25%]"))
    counted.frames.clear()
    jobs.embed(job, embedding(source=str(origin), split=None, cameras=("front", "wrist")))
    assert sum(counted.frames) == sum(LENGTHS[:2])
    assert Store.open(str(store)).manifest.source.part == "train[:25%]"


def test_a_dry_run_of_a_growth_writes_nothing(
    origin: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    jobs.embed(job, embedding(source=str(origin), split="train[:4]"))
    before = state(store)
    told = jobs.embed(replace(job, dry_run=True), embedding(source=str(origin), split="train"))
    assert state(store) == before
    assert (told.episodes, told.slices) == (8, 8)
    assert not any(table.complete for table in told.tables)
    assert "grows from 4 to 8" in told.notes[0]


def test_a_growth_that_was_killed_is_taken_up_again(
    tmp_path: Path, origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring,
    store: Path,
) -> None:  # fmt: skip
    grow(job, embedding, scoring, origin, split="train[:4]")
    part = Path(shutil.copytree(store, tmp_path / "part"))
    grow(job, embedding, scoring, origin, split="train")
    expected, manifest = hashes(store), (store / STORE_MANIFEST).read_bytes()
    for steps in range(9):  # killed after so many changes of files
        killed = Path(shutil.copytree(part, tmp_path / f"killed{steps}"))
        tables = Store.open(str(killed)).tables()
        for table in tables[: (steps + 1) // 2]:
            shutil.copy(killed / table / MANIFEST, killed / table / PLAN)
        for table in tables[: steps // 2]:
            (killed / table / MANIFEST).unlink()
        if steps == 8:
            (killed / STORE_MANIFEST).write_bytes(manifest)
        grow(replace(job, store=str(killed)), embedding, scoring, origin, split="train")
        assert hashes(killed) == expected
        assert problems(killed) == []


# --- content that changes


@pytest.fixture
def made(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> Path:
    """A store of the whole, a slice per two episodes."""
    grow(job, embedding, scoring, origin, split="train")
    return store


def text_of_another_size(records: list[bytes]) -> list[bytes]:
    def change(feature: Any) -> None:
        feature.bytes_list.value[0] = b"another file"

    records[2] = edited(records[2], "episode_metadata/file_path", change)
    return records


def swap(records: list[bytes]) -> list[bytes]:
    records[2], records[3] = records[3], records[2]
    return records


THIRD = r"slice-train-00000-000002-000004, episodes train/0/2 to train/0/3, .*00000-of-00002"


@pytest.mark.parametrize("change", [repair_is_last, text_of_another_size, swap])
def test_a_changed_record_is_named_and_computed_again_on_request(
    tmp_path: Path, origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring,
    made: Path, change: Callable[[list[bytes]], list[bytes]], counted: Any,
) -> None:  # fmt: skip
    build_goals(job, GOALS)
    before, files = state(made), hashes(made)
    size = shard(origin, 0).stat().st_size
    rewrite(shard(origin, 0), change)
    if change is repair_is_last:
        assert shard(origin, 0).stat().st_size == size
    with pytest.raises(StoreError, match=rf"(?s)has changed since .*1 of 5 slices .*{THIRD}"):
        grow(job, embedding, scoring, origin, split="train")
    assert state(made) == before
    counted.frames.clear()
    grow(replace(job, overwrite=True), embedding, scoring, origin, split="train")
    assert sum(counted.frames) == sum(LENGTHS[2:4])
    assert Store.open(str(made)).unfinished() == ["goal_datasets/gc1"]
    build_goals(job, GOALS)
    whole = replace(job, store=str(tmp_path / "whole"))
    grow(whole, embedding, scoring, origin, split="train")
    build_goals(whole, GOALS)
    assert hashes(made) == hashes(tmp_path / "whole")
    kept = {name for name in files if "000002-000004" not in name}
    assert {name: hashes(made)[name] for name in kept} == {name: files[name] for name in kept}
    assert problems(made) == []


def test_a_change_is_seen_before_anything_is_resumed(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, made: Path
) -> None:
    table = Store.open(str(made)).embeddings()[0].table
    (made / table / MANIFEST).rename(made / table / PLAN)
    (made / table / "slice-train-00001-000000-000002.parquet").unlink()
    before = state(made)
    rewrite(shard(origin, 0), repair_is_last)
    with pytest.raises(StoreError, match=THIRD):
        grow(job, embedding, scoring, origin, split="train")
    assert state(made) == before


def test_a_changed_array_record_names_its_shard(
    tmp_path: Path, job: JobOptions, embedding: Embedding
) -> None:
    items = [small_source.episode(i, n) for i, n in enumerate((2, 3, 2))]
    write_rlds(tmp_path / "src", small_source.features(), items, shard_lengths=[2, 1],
               file_format="array_record")  # fmt: skip
    jobs.embed(job, embedding(source=str(tmp_path / "src")))
    items[0]["steps"][0]["action"][0] += 1
    shutil.rmtree(tmp_path / "src")
    write_rlds(tmp_path / "src", small_source.features(), items, shard_lengths=[2, 1],
               file_format="array_record")  # fmt: skip
    with pytest.raises(StoreError, match=r"(?s)2 of 3 slices .*train/0/0.*train/0/1") as raised:
        jobs.embed(job, embedding(source=str(tmp_path / "src")))
    assert "train/1/0" not in str(raised.value)


def test_records_written_behind_are_a_growth(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, made: Path, counted: Any
) -> None:
    files = hashes(made)
    rewrite(shard(origin, 1), lambda records: [*records, records[0]])
    counted.frames.clear()
    grow(job, embedding, scoring, origin, split="train")
    assert sum(counted.frames) == LENGTHS[5]
    assert episode_ids(made) == [*IDS, "train/1/3"]
    assert files.items() <= hashes(made).items()
    assert problems(made) == []


def test_records_that_are_gone_are_a_change(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, made: Path
) -> None:
    rewrite(shard(origin, 1), lambda records: records[:-1])
    info = json.loads((origin / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["5", "2"]
    (origin / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(StoreError, match=r"slice-train-00001-000002-000003, episode train/1/2"):
        grow(job, embedding, scoring, origin, split="train")
    grow(replace(job, overwrite=True), embedding, scoring, origin, split="train")
    assert episode_ids(made) == IDS[:-1]
    assert problems(made) == []


def test_a_repaired_shard_needs_no_more_than_the_same_command(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    content = shard(origin, 0).read_bytes()
    small_source.truncate(origin)
    grow(replace(job, max_dead_ratio=1), embedding, scoring, origin, split="train")
    shard(origin, 0).write_bytes(content)
    grow(job, embedding, scoring, origin, split="train")
    assert episode_ids(store) == IDS
    assert not list((store / "dead_letters").rglob("*.parquet"))
    assert problems(store) == []


def test_other_features_are_another_source(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, made: Path
) -> None:
    content = json.loads((origin / "features.json").read_text())
    content["featuresDict"]["features"]["episode_metadata"]["description"] = "new"
    (origin / "features.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"another source: .*the features, the file format"):
        grow(job, embedding, scoring, origin, split="train")


# --- what a description hides


def test_records_beyond_the_description_are_in_the_store_with_a_note(
    origin: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    info = json.loads((origin / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["2", "3"]
    (origin / "dataset_info.json").write_text(json.dumps(info))
    done = jobs.embed(job, embedding(source=str(origin)))
    assert episode_ids(store) == IDS
    (note,) = done.notes
    assert "(holds 5, told 2): more records than dataset_info.json says" in note


def test_a_missing_shard_leaves_no_store_behind(
    origin: Path, job: JobOptions, embedding: Embedding, store: Path
) -> None:
    shard(origin, 1).unlink()
    with pytest.raises(SourceError, match=r"ask for --split 'train\[:5\]'"):
        jobs.embed(job, embedding(source=str(origin)))
    assert not store.exists()
    jobs.embed(job, embedding(source=str(origin), split="train[:5]"))
    small_source.write_source(origin.parent / "again", LENGTHS, SHARDS)
    shutil.copy(shard(origin.parent / "again", 1), origin)
    jobs.embed(job, embedding(source=str(origin), split="train"))
    assert episode_ids(store) == IDS


# --- stores of format 1


def as_first_format(store: Path, origin: Path) -> None:
    """Makes a store look as if format 1 had written it; its tables are taken away."""
    from relabel.source.source import Source

    opened = Store.open(str(store))
    for table in opened.tables():
        opened.folder.delete_folder(table)
    slices = tuple(replace(piece, digest=None, split=None) for piece in opened.manifest.slices)
    fingerprint = Source.open(str(origin), "train").first_fingerprint()
    manifest = opened.manifest.model_copy(
        update={
            "format_version": "1.0",
            "slices": slices,
            "episodes_per_slice": None,
            "source": opened.manifest.source.model_copy(update={"fingerprint": fingerprint}),
        }
    )
    (store / STORE_MANIFEST).write_bytes(manifest_bytes(manifest))


def test_a_store_of_format_1_is_used_without_digests(
    origin: Path, job: JobOptions, embedding: Embedding, scoring: Scoring, made: Path
) -> None:
    as_first_format(made, origin)
    jobs.relabel(job, embedding(source=str(origin), episodes_per_slice=2), scoring())
    assert episode_ids(made) == IDS
    assert (made / "steps/slice-00000-of-00005.parquet").exists()
    assert problems(made) == []
    rewrite(shard(origin, 0), repair_is_last)  # of equal size: not seen
    what = embedding(source=str(origin), split=None, episodes_per_slice=None)
    again = jobs.relabel(job, what, scoring())
    assert again.tables_new == ()
    rewrite(shard(origin, 0), text_of_another_size)
    with pytest.raises(StoreError, match="another source"):
        jobs.relabel(job, what, scoring())


def test_the_resume_command_asks_for_the_new_part() -> None:
    command = "vlm-relabel embed --source 'a b' --split 'train[:3]' --store s"
    assert shlex.split(with_split(command, "train[:50%]"))[5] == "train[:50%]"
    assert with_split("x --split=val", "train") == "x --split=train"
    assert with_split("x --store s", "train") == "x --store s"
