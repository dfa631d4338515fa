"""`plan`: what a job will take, held against the job itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tensorflow_datasets.proto import tf_example_pb2

from relabel.jobs.sampling import spread
from relabel.source.records import read_records
from relabel.testing import write_shard
from tests.pipelines.small_source import GOALS, write_source
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, files, refusal

LENGTHS = (3, 3, 3, 3, 3, 3)  # alike, so that a sample tells of all


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_source(tmp_path / "source", LENGTHS, (4, 2))
    (tmp_path / "goals.yaml").write_text(GOALS)
    return tmp_path


def words(place: Path, *more: Any) -> list[Any]:
    given = ["--source", place / "source", "--camera", "front", "--encoder", PIXEL_MEAN]
    return [*given, "--threads", 1, "--episodes-per-slice", 1, *more]


def planned(run: Run, place: Path, *more: Any) -> dict[str, Any]:
    done = run("plan", *words(place, *more), "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_is_told_is_what_comes(place: Path, run: Run) -> None:
    goals = ("--goals", place / "goals.yaml")
    before = files(place)
    found = planned(run, place, *goals, "--sample-slices", 6)
    assert files(place) == before
    job = run("relabel", *words(place, *goals), "--store", place / "store", "--json")
    done = json.loads(job.stdout)
    assert (found["slices"], found["episodes"], found["frames"]) == (6, 6, 18)
    assert (done["slices"], done["episodes"], done["frames_new"]) == (6, 6, 18)
    assert found["store_bytes"] == sum(table["bytes"] for table in done["tables"])
    assert found["read_bytes"] == record_bytes(place)


def record_bytes(place: Path) -> int:
    """Of the data of all records: a TFRecord file has 16 bytes more for each of them."""
    shards = (place / "source").glob("*tfrecord*")
    return sum(shard.stat().st_size for shard in shards) - 16 * len(LENGTHS)


def dry(run: Run, *given: Any) -> dict[str, Any]:
    done = run(*given, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("slice-*"))


def test_a_dry_run_tells_what_a_plan_does(place: Path, run: Run) -> None:
    goals = ("--goals", place / "goals.yaml")
    plan = planned(run, place, *goals, "--workers", 3, "--price-per-hour", 2)
    before = files(place)
    how = ("--store", place / "store", "--workers", 3, "--price-per-hour", 2)
    told = dry(run, "relabel", *words(place, *goals), *how)["estimate"]
    assert files(place) == before
    names = ("source", "slices", "episodes", "frames", "read_bytes", "store_bytes", "threads")
    assert {name: told[name] for name in names} == {name: plan[name] for name in names}
    columns = ("engine", "workers", "start_s")
    assert [[e[c] for c in columns] for e in told["engines"]] == [
        [e[c] for c in columns] for e in plan["engines"]
    ]
    assert all(engine["cost"] > 0 for engine in told["engines"])


def test_a_dry_run_tells_of_what_is_left(place: Path, run: Run) -> None:
    store = ("--store", place / "store")
    run("embed", *words(place), *store, "--slices", "1/3")
    told = dry(run, "embed", *words(place), *store)["estimate"]
    assert (told["slices"], told["episodes"], told["frames"]) == (4, 4, 12)
    assert told["read_bytes"] < record_bytes(place)
    run("embed", *words(place), *store)
    assert dry(run, "embed", *words(place), *store)["estimate"] is None


def test_a_dry_run_of_what_reads_the_store(place: Path, run: Run) -> None:
    store, made = ("--store", place / "store"), place / "store"
    how = ("--encoder", PIXEL_MEAN, "--goals", place / "goals.yaml", "--name", "v2")
    run("relabel", *words(place), "--goals", place / "goals.yaml", *store)
    before = files(place)
    told = dry(run, "score", *store, *how, "--threads", 1)["estimate"]
    (embedded,) = (made / "embeddings").iterdir()
    assert (told["slices"], told["frames"], told["sample_frames"]) == (6, 18, 6)
    assert told["read_bytes"] == bytes_of(embedded)
    built = dry(run, "build-goals", made, "--threads", 1)["estimate"]
    assert (built["slices"], built["episodes"], built["frames"]) == (6, 6, 18)
    read = (made / "steps", made / "episodes", made / "rewards/v1")
    assert built["read_bytes"] == sum(map(bytes_of, read))
    assert files(place) == before
    run("score", *store, *how, "--threads", 1)
    run("build-goals", made, "--threads", 1)
    assert told["store_bytes"] == pytest.approx(bytes_of(made / "rewards/v2"), rel=0.05)
    (dataset,) = (made / "goal_datasets").iterdir()
    assert built["store_bytes"] == pytest.approx(bytes_of(dataset), rel=0.1)


def test_a_dry_run_is_told_to_people(place: Path, run: Run) -> None:
    how = ("--store", place / "store", "--dry-run")
    told = run("embed", *words(place), *how, "--price-per-hour", 1).output
    for text in ("about 18 frames", "MB to read", "MB to write", "job array", "cost", "dry run: "):
        assert text in told


def test_a_price_that_nobody_would_tell_is_refused(place: Path, run: Run) -> None:
    given = words(place, "--store", place / "store", "--price-per-hour", 1)
    assert "goes with --dry-run" in refusal(run("embed", *given, "--json"))


def test_a_sample_tells_of_the_whole(place: Path, run: Run) -> None:
    found = planned(run, place, "--sample-slices", 2)
    assert (found["sample_slices"], found["sample_frames"], found["frames"]) == (2, 6, 18)
    whole = planned(run, place, "--sample-slices", 6)
    assert found["store_bytes"] == pytest.approx(whole["store_bytes"], rel=0.02)


def test_hours_and_costs_follow_from_the_sample(place: Path, run: Run) -> None:
    how = ("--workers", 4, "--price-per-hour", 2.5, "--start-seconds", 90)
    found = planned(run, place, *how)
    slice_s = found["sample_s"] / 2
    for engine in found["engines"]:
        here = engine["engine"] == "this machine"
        workers, start = (1, 0) if here else (4, 90)
        seconds = start + found["load_s"] + math.ceil(6 / workers) * slice_s
        assert (engine["workers"], engine["start_s"]) == (workers, start)
        assert engine["hours"] == pytest.approx(seconds / 3600)
        assert engine["cost"] == pytest.approx(workers * 2.5 * seconds / 3600)
    assert {engine["cost"] for engine in planned(run, place)["engines"]} == {None}


def test_people_are_told_what_was_measured_and_what_is_assumed(place: Path, run: Run) -> None:
    told = run("plan", *words(place), "--price-per-hour", 1).output
    for text in (
        "6 slices, 6 episodes, about 18 frames",
        "measured: 2 slices of 6 frames",
        "done in a temporary folder",
        "this machine",
        "job array",
        "cost",
        "assumed: every worker is as fast as this machine",
    ):
        assert text in told


def test_goals_that_need_all_frames_are_left_out_and_told(place: Path, run: Run) -> None:
    found = planned(run, place, "--goals", "field:language_instruction")
    assert "scoring is left out" in found["notes"][0]


def spoil(place: Path) -> None:
    """Every record of the source."""
    for shard in (place / "source").glob("*tfrecord*"):
        content = bytearray(shard.read_bytes())
        for position in range(20, len(content), 40):
            content[position] ^= 255
        shard.write_bytes(content)


def test_a_source_that_cannot_be_read(place: Path, run: Run) -> None:
    spoil(place)
    refusal(run("plan", *words(place), "--json"))


@pytest.mark.parametrize("most", [1, 2, 5, 9])
def test_a_sample_is_spread(most: int) -> None:
    found = spread(tuple(range(5)), most)  # type: ignore[arg-type]
    assert len(found) == len(set(found)) == min(most, 5)
    assert list(found) == sorted(found)
    assert spread(tuple(range(100)), 4) == (12, 37, 62, 87)  # type: ignore[arg-type]


# --- dry runs of stores in other states ---------------------------------------------------------


def change_a_record(place: Path) -> None:
    """Another action in the third record of the first shard; all its checksums are right."""
    (path, *_) = sorted((place / "source").glob("*tfrecord*"))
    records = [r for r in read_records(str(path), "tfrecord", 0, 4) if isinstance(r, bytes)]
    example = tf_example_pb2.Example.FromString(records[2])
    values = example.features.feature["steps/action"].float_list.value
    values[0] += 1
    records[2] = example.SerializeToString()
    write_shard(path, records, "tfrecord")


def test_a_dry_run_of_changed_records_tells_of_their_slices(place: Path, run: Run) -> None:
    store = ("--store", place / "store")
    run("embed", *words(place), *store)
    change_a_record(place)
    before = files(place)
    told = dry(run, "embed", *words(place), *store, "--overwrite")
    assert files(place) == before
    assert (told["estimate"]["slices"], told["estimate"]["frames"]) == (1, 3)
    done = json.loads(run("embed", *words(place), *store, "--overwrite", "--json").stdout)
    assert (done["slices_new"], done["frames_new"]) == (1, 3)


def test_overwrite_leaves_what_does_not_differ(place: Path, run: Run) -> None:
    store = ("--store", place / "store")
    run("embed", *words(place), *store, "--slices", "1/3")
    told = dry(run, "embed", *words(place), *store, "--overwrite")["estimate"]
    done = json.loads(run("embed", *words(place), *store, "--overwrite", "--json").stdout)
    assert told["slices"] == done["slices_new"] == 4


def test_a_dry_run_without_an_encoder_counts_frames(place: Path, run: Run) -> None:
    given = ("--source", place / "source", "--no-frames", "--threads", 1, "--episodes-per-slice", 1)
    told = dry(run, "embed", *given, "--store", place / "store")["estimate"]
    assert (told["episodes"], told["frames"], told["sample_frames"]) == (6, 18, 6)


def test_a_sample_without_a_frame_is_a_note_of_a_dry_run(place: Path, run: Run) -> None:
    spoil(place)
    told = dry(run, "embed", *words(place), "--store", place / "store")
    assert told["estimate"] is None
    assert told["notes"][-1].startswith("no estimate: ")
    assert "none of the frames of 2 sampled slices can be read" in told["notes"][-1]


def test_scoring_that_is_left_out_is_told_though_all_is_embedded(place: Path, run: Run) -> None:
    store = ("--store", place / "store")
    run("embed", *words(place), *store)
    told = dry(run, "relabel", *words(place), *store, "--goals", "field:language_instruction")
    assert told["estimate"] is None
    assert "scoring is left out" in told["notes"][-1]


def test_the_sample_of_score_fills_every_place(place: Path, run: Run) -> None:
    run("embed", *words(place), "--store", place / "store")
    how = ("--store", place / "store", "--encoder", PIXEL_MEAN, "--goals", place / "goals.yaml")
    told = dry(run, "score", *how, "--threads", 6)["estimate"]
    assert told["sample_slices"] == 4  # side by side: 6 // 2 + 1
