"""Who works on a table: another command waits, the same one helps, a dead one is forgotten."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines import jobs
from relabel.jobs import leases
from relabel.jobs.leases import LEASES, Lease, leased
from relabel.jobs.options import JobOptions
from relabel.jobs.plans import plan_embedding
from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from schemas.files import Folder
from schemas.processes import ProcessName
from schemas.store import Store
from tests import small
from tests.pipelines.job_options import Embedding, Scoring
from tests.pipelines.store_checks import hashes, leftovers, problems

NOW = 1_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path))


def held(folder: Folder, table: str = "steps") -> Lease:
    return Lease.model_validate_json(folder.read(f"{LEASES}/{table}.json"))


def put(folder: Folder, process: ProcessName, seen: float, command: str = "embed a") -> None:
    lease = Lease(process=process, command=command, renewed=seen)
    folder.write(f"{LEASES}/steps.json", lease.model_dump_json().encode())


def take(folder: Folder, command: str, now: float = NOW) -> Lease:
    with leased(folder, ["steps"], command, lambda: now):
        return held(folder)


def test_a_lease_names_its_process_and_goes_with_the_block(folder: Folder) -> None:
    with leased(folder, ["steps", "rewards/v1"], "embed a"):
        assert held(folder, "rewards/v1").process == ProcessName.own()
    assert folder.names("", recursive=True) == []
    with pytest.raises(KeyError), leased(folder, ["steps"], "embed a"):
        raise KeyError
    assert folder.names("", recursive=True) == []


def test_half_a_lease_of_a_killed_process_is_swept(folder: Folder) -> None:
    small.stage_and_die(folder, f"{LEASES}/embeddings/clip.json")
    assert folder.leftovers() != []
    with leased(folder, ["steps"], "embed a"):
        assert folder.leftovers() == []


def test_another_command_is_told_who_works_there(folder: Folder) -> None:
    own = ProcessName.own()
    with leased(folder, ["steps"], "embed a", lambda: NOW):
        text = rf"/steps: another command works on it: embed a \(process {own.pid} on .*seen 7 s"
        with (
            pytest.raises(StoreError, match=text),
            leased(folder, ["episodes", "steps"], "embed b", lambda: NOW + 7),
        ):
            raise AssertionError
        assert folder.names("", recursive=True) == [f"{LEASES}/steps.json"]
        assert held(folder).command == "embed a"


def test_the_same_command_helps(folder: Folder) -> None:
    with leased(folder, ["steps"], "embed a"):
        before = held(folder)
        put(folder, other := replace_pid(before.process, 1), NOW)
        with leased(folder, ["steps"], "embed a", lambda: NOW):
            assert held(folder).process == other
        assert held(folder).process == other  # who comes second leaves it alone


def replace_pid(process: ProcessName, pid: int) -> ProcessName:
    started = psutil.Process(pid).create_time()
    return process.model_copy(update={"pid": pid, "started": started})


def dead() -> ProcessName:
    """Of a process that has ended."""
    code = "from schemas.processes import ProcessName\nprint(ProcessName.own().model_dump_json())"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=root)
    return ProcessName.model_validate_json(done.stdout)


def test_the_lease_of_a_killed_process_is_broken_at_once(folder: Folder) -> None:
    put(folder, dead(), NOW - 1)
    assert take(folder, "embed b").process == ProcessName.own()


def test_a_number_given_to_another_process_is_not_the_process(folder: Folder) -> None:
    own = ProcessName.own()
    put(folder, own.model_copy(update={"started": own.started - 1000}), NOW)
    assert take(folder, "embed b").command == "embed b"


def test_a_zombie_has_ended(folder: Folder) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = ProcessName.own().model_copy(
        update={"pid": child.pid, "started": psutil.Process(child.pid).create_time()}
    )
    put(folder, name, NOW)
    with pytest.raises(StoreError):
        take(folder, "embed b")
    child.kill()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert take(folder, "embed b").command == "embed b"
    child.wait()


@pytest.mark.parametrize(("ago", "stale"), [(10, False), (299, False), (301, True)])
def test_one_of_another_machine_is_broken_when_it_is_not_renewed(
    folder: Folder, ago: float, stale: bool
) -> None:
    put(folder, ProcessName(host="elsewhere", pid=1, started=0), NOW - ago)
    if stale:
        assert take(folder, "embed b").command == "embed b"
    else:
        with pytest.raises(StoreError, match="process 1 on elsewhere"):
            take(folder, "embed b")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"command": 1}'])
def test_a_torn_lease_holds_nobody_up(folder: Folder, content: bytes) -> None:
    folder.write(f"{LEASES}/steps.json", content)
    assert take(folder, "embed b").command == "embed b"


def test_leases_are_renewed_and_taken_over(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_RENEWED_S", 0.001)
    seconds, lock = [NOW], threading.Event()

    def clock() -> float:
        seconds[0] += 1
        lock.set()
        return seconds[0]

    with leased(folder, ["steps"], "embed a", clock):
        while held(folder).renewed < NOW + 5:
            lock.wait()
        folder.delete(f"{LEASES}/steps.json")  # as by the process that began
        while not folder.exists(f"{LEASES}/steps.json"):
            lock.wait()
    assert folder.names("", recursive=True) == []


# --- of several that find a stale lease, one breaks it

PROGRAM = """
import sys, time
from relabel.jobs.leases import leased
from schemas.errors import StoreError
from schemas.files import Folder
place, command, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for number in range(rounds):
    sys.stdin.readline()
    try:
        with leased(Folder.at(f"{place}/{number}"), ["steps"], command):
            print("won", flush=True)
            sys.stdin.readline()
    except StoreError as error:
        print(error, flush=True)
        sys.stdin.readline()
"""


def test_of_processes_that_find_a_stale_lease_one_wins(tmp_path: Path) -> None:
    rounds, commands = 40, ["embed a", "embed b", "embed c"]
    gone = dead()
    for number in range(rounds):
        put(Folder.at(str(tmp_path / str(number))), gone, NOW)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), command, str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for command in commands
    ]
    try:
        assert [told(process) for process in started] == ["ready"] * 3
        for number in range(rounds):
            for process in started:
                go(process)
            outcomes = [told(process) for process in started]
            assert outcomes.count("won") == 1, outcomes
            winner = commands[outcomes.index("won")]
            place = Folder.at(str(tmp_path / str(number)))
            assert held(place).command == winner
            lost = [outcome for outcome in outcomes if outcome != "won"]
            assert all(f"another command works on it: {winner} (" in outcome for outcome in lost)
            for process in started:
                go(process)
        for process in started:
            assert process.wait() == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("linked", [True, False])
def test_of_threads_that_find_a_stale_lease_one_wins(
    folder: Folder, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not linked:
        monkeypatch.setattr(os, "link", small.no_links)
    gone, threads = dead(), 6
    for number in range(100):
        put(folder, gone, NOW - number)
        together = threading.Barrier(threads, timeout=60)

        def begin(name: int, together: threading.Barrier = together) -> bool:
            together.wait()
            try:
                with leased(folder, ["steps"], f"embed {name}"):
                    together.wait()  # for the losers
                    assert held(folder).command == f"embed {name}"
                    return True
            except StoreError:
                together.wait()
                return False

        with ThreadPoolExecutor(threads) as pool:
            assert sum(pool.map(begin, range(threads))) == 1
        assert folder.names("", recursive=True) == []


def test_who_was_late_to_break_a_lease_leaves_that_of_the_winner(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had read the stale content before; the winner has given up its claim since."""
    put(folder, dead(), NOW)
    stale = folder.read(f"{LEASES}/steps.json")
    with leased(folder, ["steps"], "embed a"):
        late = leases._Leases(folder, ["steps"], "embed b", time.time)
        assert not late._break(f"{LEASES}/steps.json", stale, late._write)
        assert held(folder).command == "embed a"
        with pytest.raises(StoreError, match="embed a"):
            late.take()


@pytest.mark.parametrize("written", [False, True])
def test_who_was_killed_while_it_broke_a_lease_stands_in_nobodys_way(
    folder: Folder, written: bool
) -> None:
    gone = dead()
    put(folder, gone, NOW)
    content = folder.read(f"{LEASES}/steps.json")
    killed = gone.model_copy(update={"started": gone.started + 1})
    claim = f"{LEASES}/steps.json.{hashlib.sha256(content).hexdigest()[:16]}"
    lease = Lease(process=killed, command="embed b", renewed=NOW)
    folder.write(claim, lease.model_dump_json().encode())
    if written:
        put(folder, killed, NOW, "embed b")
    assert take(folder, "embed c").command == "embed c"
    assert folder.names("", recursive=True) == []


def test_one_that_is_about_to_break_a_lease_is_waited_for_in_vain(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_BREAKING_S", 0.1)
    put(folder, dead(), NOW)
    content = folder.read(f"{LEASES}/steps.json")
    claim = f"{LEASES}/steps.json.{hashlib.sha256(content).hexdigest()[:16]}"
    lease = Lease(process=ProcessName.own(), command="embed b", renewed=NOW)
    folder.write(claim, lease.model_dump_json().encode())
    with pytest.raises(StoreError, match=r"take it over for 0\.1 s; type the command"):
        take(folder, "embed c")
    assert folder.read(f"{LEASES}/steps.json") == content


@pytest.mark.parametrize("others", [[], ["rewards/v1"]])
def test_leases_of_a_process_killed_at_the_very_end_are_cleared_by_the_next(
    folder: Folder, others: list[str]
) -> None:
    """Its tables are complete, so that nobody takes them again."""
    gone = dead()
    for table in ("steps", "embeddings/a", "episodes"):
        lease = Lease(process=gone, command="embed a", renewed=NOW)
        content = lease.model_dump_json().encode()
        folder.write(f"{LEASES}/{table}.json", content)
        folder.write(f"{LEASES}/{table}.json.{hashlib.sha256(content).hexdigest()[:16]}", content)
    with leased(folder, ["goal_datasets/gc"], "of another"):
        put(folder, gone, NOW)
        with leased(folder, others, "score b"):
            names = {f"{table}.json" for table in (*others, "goal_datasets/gc")}
            assert set(folder.names(LEASES, recursive=True)) == names
    assert folder.names("", recursive=True) == []


# --- in jobs


def test_of_two_stores_planned_at_once_one_is_made(
    job: JobOptions, embedding: Embedding, store: Path
) -> None:
    spec = PixelMeanEncoder().spec
    plans = [plan_embedding(job, embedding(episodes_per_slice=n), spec) for n in (1, 2, 1)]
    made = [Store.create(str(store), plan.store.manifest) for plan in plans[::2]]
    assert made[0].manifest == made[1].manifest
    with pytest.raises(StoreError, match="episodes_per_slice: stored 1, asked for 2"):
        Store.create(str(store), plans[1].store.manifest)
    assert Store.open(str(store)).manifest == made[0].manifest


def test_a_job_begins_on_no_table_that_another_command_works_on(
    job: JobOptions, embedding: Embedding, scoring: Scoring, store: Path
) -> None:
    jobs.embed(job, embedding())
    before = hashes(store)
    with leased(Folder.at(str(store)), ["rewards/v1"], "vlm-relabel score --name v1 other"):
        with pytest.raises(StoreError, match="score --name v1 other"):
            jobs.score(job, scoring())
        assert hashes(store) == before
        jobs.score(job, scoring(name="v2"))
        jobs.score(replace(job, command="vlm-relabel score --name v1 other"), scoring())
    assert problems(store) == []
    assert leftovers(store) == []


def test_a_complete_table_needs_no_lease(
    job: JobOptions, embedding: Embedding, store: Path, scoring: Scoring
) -> None:
    jobs.relabel(job, embedding(), scoring())
    tables: list[Any] = Store.open(str(store)).tables()
    with leased(Folder.at(str(store)), tables, "another"):
        assert jobs.relabel(job, embedding(), scoring()).tables_new == ()
