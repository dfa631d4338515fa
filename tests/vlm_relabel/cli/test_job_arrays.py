"""Job arrays: `--slices I/N`, each part a process of its own, and `finish`."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from schemas.store import MANIFEST, Store
from tests.pipelines.small_source import GOALS, cut_image, write_source
from tests.pipelines.store_checks import hashes, leftovers, problems
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, refusal

ROOT = Path(__file__).parents[3]
LENGTHS = (3, 2, 4, 2, 3, 1, 4)
WAIT_S = 120


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A source of seven slices, and goals."""
    write_source(tmp_path / "source", LENGTHS, (4, 3))
    (tmp_path / "goals.yaml").write_text(GOALS)
    return tmp_path


def relabel(place: Path, store: str, *more: str) -> list[str]:
    """Words of the whole job."""
    words = ["relabel", "--source", place / "source", "--camera", "front", "--encoder", PIXEL_MEAN]
    words += ["--goals", place / "goals.yaml", "--store", place / store, "--threads", "1"]
    return [str(word) for word in (*words, "--episodes-per-slice", "1", *more)]


def start(words: list[str], **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vlm_relabel.cli.entry", *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_for(path: Path, pattern: str) -> None:
    """Until there is such a file."""
    deadline = time.monotonic() + WAIT_S
    while not any(path.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {path}"
        time.sleep(0.01)


def manifests(store: Path) -> dict[str, Any]:
    """Of every table, without where its store lies."""
    found = {
        str(path.relative_to(store)): json.loads(path.read_bytes())
        for path in store.glob(f"*/**/{MANIFEST}")
    }
    return {
        name: {k: v for k, v in content.items() if k not in ("command", "checksum")}
        for name, content in found.items()
    }


def test_three_parts_at_once_one_killed_give_the_bytes_of_one_run(place: Path, run: Run) -> None:
    store = place / "parts"
    parts = [start(relabel(place, "parts", "--slices", f"{i}/3")) for i in (1, 2, 3)]
    wait_for(store, "steps/slice-*.parquet")
    parts[1].kill()  # somewhere in its work, or before
    told = [part.communicate(timeout=WAIT_S)[0].decode() for part in parts]
    assert [parts[0].returncode, parts[2].returncode] == [0, 0], told
    again = start(relabel(place, "parts", "--slices", "2/3"))
    assert "part 2/3: " in again.communicate(timeout=WAIT_S)[0].decode()
    assert again.returncode == 0
    assert Store.open(str(store)).tables() == []
    run("finish", store)
    run(*relabel(place, "whole"))
    assert hashes(store) == hashes(place / "whole")
    assert manifests(store) == manifests(place / "whole")
    assert problems(store) == leftovers(store) == []


def test_jobs_that_follow_each_other_in_parts(place: Path, run: Run) -> None:
    """`embed`, `score` and `build-goals` in parts, each finished before the next."""
    store, encoder = str(place / "parts"), ("--encoder", PIXEL_MEAN)
    source = ["--source", place / "source", "--camera", "front", "--episodes-per-slice", "1"]
    jobs = (
        ["embed", *source, *encoder, "--store", store],
        ["score", *encoder, "--goals", place / "goals.yaml", "--store", store],
        ["build-goals", store, "--materialize"],
    )
    for words, number in itertools.product(jobs, (2, 1)):
        done = run(*words, "--threads", 1, "--slices", f"{number}/2")
        assert done.exit_code == 0, done.output
        if number == 1:
            assert run("finish", store).exit_code == 0
    run(*relabel(place, "whole"))
    run("build-goals", place / "whole", "--materialize", "--threads", 1)
    assert hashes(Path(store)) == hashes(place / "whole")
    assert problems(Path(store)) == []


def test_finish_says_what_is_missing_and_the_command_for_it(place: Path, run: Run) -> None:
    store = place / "parts"
    assert start(relabel(place, "parts", "--slices", "1/3")).wait(WAIT_S) == 0
    message = refusal(run("finish", store, "--json"))
    for table, count in (("steps", 4), ("rewards/v1", 4)):
        assert f"{table}: {count} of 7" in message
    assert "slice-train-00000-000001-000002.parquet" in message
    (command,) = {line.strip() for line in message.splitlines() if "vlm-relabel relabel" in line}
    assert command == shlex.join(["vlm-relabel", *relabel(place, "parts")])
    (store / "rewards/v1" / "slice-train-00000-000000-000001.parquet").unlink()
    assert "rewards/v1: 5 of 7" in refusal(run("finish", store, "--json"))


def test_finish_completes_what_it_can(place: Path, run: Run) -> None:
    store = place / "parts"
    run(*relabel(place, "parts"))
    stored = Store.open(str(store))
    for table in ("steps", "rewards/v1"):
        stored.folder.write(
            f"{table}/__meta__/plan.json", stored.folder.read(f"{table}/{MANIFEST}")
        )
        stored.folder.delete(f"{table}/{MANIFEST}")
    (store / "rewards/v1" / stored.slices[2].file).unlink()
    assert "rewards/v1: 1 of 7" in refusal(run("finish", store, "--json"))
    assert stored.is_complete("steps")
    run(*relabel(place, "parts", "--slices", "3/3"))
    assert run("finish", store).exit_code == 0
    assert problems(store) == []


def test_a_file_that_changed_is_missing(place: Path, run: Run) -> None:
    store = place / "parts"
    run(*relabel(place, "parts", "--slices", "1/1"))
    path = min((store / "episodes").glob("slice-*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "episodes: 1 of 7" in refusal(run("finish", store, "--json"))
    run(*relabel(place, "parts", "--slices", "1/1"))
    assert run("finish", store).exit_code == 0
    assert problems(store) == []


@pytest.mark.parametrize("table", ["steps", "embeddings", "rewards/v1"])
def test_slices_of_complete_tables_that_are_gone_or_cut(
    place: Path, run: Run, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = place / "whole"
    monkeypatch.setattr(sys, "argv", ["vlm-relabel", *relabel(place, "whole")])
    run(*relabel(place, "whole"))
    opened = Store.open(str(store))
    name = next(known for known in opened.tables() if known.startswith(table))
    gone, cut = (store / name / opened.slices[i].file for i in (1, 4))
    size = cut.stat().st_size
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    whole, part = relabel(place, "whole"), relabel(place, "whole", "--slices", "1/3")
    for words in (["finish", store], ["finish", store, "--trust"], whole, part):
        assert refusal(run(*words, "--json")) == (
            f"{store}: slices of complete tables are missing or damaged:\n"
            f"  {name}/{gone.name}: missing\n"
            f"  {name}/{cut.name}: expected {size} bytes, got {size - 1}\n"
            f"`vlm-relabel repair {store}` makes them again"
        )
    assert run("repair", store, "--yes", "--allow-code").exit_code == 0
    assert problems(store) == []
    assert run("finish", store).exit_code == 0


def test_slices_that_were_accepted_with_dead_letters_and_are_gone(place: Path, run: Run) -> None:
    """They are missing, and not too many dead letters."""
    shutil.rmtree(place / "source")
    write_source(place / "source", LENGTHS, (4, 3), change=cut_image)
    store = place / "whole"
    words = relabel(place, "whole", "--camera", "wrist")
    assert "dead letter" in refusal(run(*words, "--json"))
    assert run(*words, "--max-dead-ratio", "1").exit_code == 0
    for path in (store / "rewards/v1").glob("slice-*.parquet"):
        path.unlink()
    message = refusal(run("finish", store, "--json"))
    assert message.count("rewards/v1/slice-train-") == 3
    assert "rewards/v1: 4 more" in message
    assert "dead letters" not in message


def test_tables_that_wait_for_a_table_that_is_gone(place: Path, run: Run) -> None:
    store = place / "parts"
    run(*relabel(place, "parts", "--slices", "1/1"))
    shutil.rmtree(store / "embeddings")
    message = refusal(run("finish", store, "--json"))
    assert message.startswith(f"{store}: cannot be completed: rewards/v1; expected whole tables")


def test_jobs_on_tables_that_wait_for_finish(place: Path, run: Run) -> None:
    """They name what is unfinished, how far it is, and what completes it."""
    store, encoder = place / "parts", ("--encoder", PIXEL_MEAN)
    of_source = ["--source", place / "source", "--episodes-per-slice", "1", *encoder]
    score = ["score", *encoder, "--goals", place / "goals.yaml", "--store", store]
    build = ["build-goals", store, "--name", "gc"]
    train = [
        "train",
        store,
        "--dataset",
        "gc",
        "--algo",
        "iql",
        "--out",
        place / "run",
        "--steps",
        "1",
    ]

    def check(makes: list[Any], needs: list[Any], table: str) -> None:
        done = run(*makes, "--slices", "1/2")
        assert done.exit_code == 0, done.output
        assert "unfinished (4 of 7 slices); resume it with:\n" in refusal(run(*needs, "--json"))
        run(*makes, "--slices", "2/2")
        told = refusal(run(*needs, "--json"))
        assert f"/{table}" in told
        assert (
            f"unfinished (7 of 7 slices); complete it with:\n  vlm-relabel finish {store}\n"
            "or resume it with:\n" in told
        )
        assert run("finish", store).exit_code == 0

    check(["embed", *of_source, "--camera", "front", "--store", store], score, "embeddings/")
    wrist = ["embed", *of_source, "--camera", "wrist", "--store", store]
    check(wrist, [*score, "--camera", "wrist"], "embeddings/")
    check([*score, "--camera", "front"], build, "rewards/v1")
    check(build, train, "goal_datasets/")


def test_more_parts_than_slices(place: Path, run: Run) -> None:
    for number in range(1, 10):
        done = run(*relabel(place, "parts", "--slices", f"{number}/9"))
        assert done.exit_code == 0
        assert f"part {number}/9: {int(number <= 7)} new slice" in done.output
    assert run("finish", place / "parts").exit_code == 0


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5", "1.5/3", ""])
def test_no_part(place: Path, run: Run, text: str) -> None:
    message = refusal(run(*relabel(place, "parts", f"--slices={text}"), "--json"))
    assert "expected I/N, the I-th of N parts, such as 1/8 to 8/8" in message
    assert ("counted from 1" in message) == (text == "0/3")
    assert not (place / "parts").exists()


@pytest.mark.parametrize("option", ["--overwrite", "--retry-dead-letters"])
def test_what_a_part_may_not_do(place: Path, run: Run, option: str) -> None:
    message = refusal(run(*relabel(place, "parts", "--slices", "1/3", option), "--json"))
    assert f"{option} and --slices exclude each other" in message
    assert not (place / "parts").exists()


def test_mined_goals_need_every_slice(place: Path, run: Run) -> None:
    words = relabel(place, "parts", "--slices", "1/3")
    words[words.index("--goals") + 1] = "field:language_instruction"
    message = refusal(run(*words, "--json"))
    assert "are made when every slice has been embedded" in message


def test_nothing_to_finish(place: Path, run: Run) -> None:
    run(*relabel(place, "parts"))
    done = run("finish", place / "parts")
    assert done.exit_code == 0
    assert "nothing to do: every table is complete" in done.output
