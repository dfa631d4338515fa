"""Ctrl-C, sent as a terminal does: to every process of the command."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipelines.small_source import write_source
from tests.vlm_relabel.cli.cli_outcomes import flat
from vlm_relabel.cli import interruption

ROOT = Path(__file__).parents[3]
SLICES = 40
RESUMES = "interrupted; the same command resumes where it stopped\n"


def _start(*line: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A process group of its own, as a shell makes for a command; it heeds Ctrl-C.

    Tests that a script has put into the background do not, and what they start would not either.
    """
    return subprocess.Popen(
        [sys.executable, *line],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _interrupt(
    process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT
) -> tuple[int, str, str]:
    os.killpg(process.pid, number)
    try:
        out, error = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):  # of what went on all the same
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, out, error


def _waiting(words: list[str], work: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A command that is at work, and says so."""
    process = _start(
        "-c",
        "import sys, threading, time, subprocess\nfrom vlm_relabel.cli import interruption\n"
        f"sys.argv = ['vlm-relabel', *{words!r}]\ninterruption.listen()\n{work}",
        stderr=stderr,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


IN_MAIN = "print('at work', flush=True)\ntime.sleep(60)"
IN_THREADS = (
    "def forever():\n    while True: pass\n"
    "for _ in range(3): threading.Thread(target=forever).start()\n"
    # In turns: a signal that comes just before a thread begins to wait is heard when it stops.
    "print('at work', flush=True)\nwhile True: threading.Event().wait(0.1)"
)
UNDER_TRY = (
    "try:\n    print('at work', flush=True)\n    time.sleep(60)\n"
    "except BaseException:\n    raise ValueError('swallowed')"
)


@pytest.mark.parametrize("work", [IN_MAIN, IN_THREADS, UNDER_TRY])
def test_one_line_and_130_whatever_runs(work: str) -> None:
    assert _interrupt(_waiting(["relabel", "--store", "x"], work)) == (130, "", RESUMES)


def test_worker_processes_end_too() -> None:
    """The shell between is one more process, as between Beam and its workers."""
    work = (
        "subprocess.Popen('trap \"\" INT; sleep 61; true', shell=True)\n"
        "time.sleep(0.5)\nprint('at work', flush=True)\ntime.sleep(60)"
    )
    process = _waiting(["score"], work)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 2
    assert _interrupt(process) == (130, "", RESUMES)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_a_terminal_gets_its_cursor_back() -> None:
    """A progress bar hides it, and is drawn by a thread."""
    bar = (
        "import os\nfrom rich.console import Console\nfrom vlm_relabel.cli import console\n"
        "console.ERR = Console(stderr=True, force_terminal=True)\n"
        "with console.progress(False):\n    os.write(1, b'at work\\n')\n    time.sleep(60)"
    )
    terminal, own = pty.openpty()
    process = _waiting(["relabel"], bar, stderr=own)
    os.close(own)
    assert _interrupt(process)[0] == 130
    told = os.read(terminal, 1 << 16).decode().replace("\r\n", "\n")
    os.close(terminal)
    assert told.count("\x1b[?25l") == 1, "no bar was drawn"
    assert told.endswith("\r\x1b[K\x1b[?25h" + RESUMES)


@pytest.mark.parametrize("work", [IN_MAIN, IN_THREADS, UNDER_TRY])
def test_sigterm_is_143_with_the_word_how_to_go_on(work: str) -> None:
    told = RESUMES.replace("interrupted", "terminated")
    ended = _interrupt(_waiting(["relabel", "--store", "x"], work), signal.SIGTERM)
    assert ended == (143, "", told)
    code, out, _ = _interrupt(_waiting(["score", "--json"], work), signal.SIGTERM)
    assert (code, json.loads(out)) == (143, {"error": "Terminated", "message": told.strip()})


def test_machines_are_told_too() -> None:
    code, out, error = _interrupt(_waiting(["train", "--json"], IN_MAIN))
    assert (code, error) == (130, RESUMES)
    assert json.loads(out) == {"error": "Interrupted", "message": RESUMES.strip()}


@pytest.mark.parametrize("command", ["inspect", "verify", "evaluate"])
def test_what_writes_no_table_does_not_promise_to_resume(command: str) -> None:
    assert "resumes" not in interruption.message([command, "relabel"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "number", "code"), [(1, signal.SIGTERM, 143), (2, signal.SIGINT, 130)]
)
def test_a_job_interrupted_at_work_goes_on(
    workers: int, number: signal.Signals, code: int, goals: Path, tiny_model: str, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "source", (3,) * SLICES, (SLICES,))
    words: dict[str, Any] = {
        "--source": source,
        "--camera": "front",
        "--encoder": tiny_model,
        "--goals": goals,
        "--episodes-per-slice": 1,
        "--threads": 1,
        "--workers": workers,
    }
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    process = _start("-m", "vlm_relabel.cli.entry", "relabel", *flat(words, store=stopped))
    while process.poll() is None and not list(stopped.glob("rewards/v1/*.parquet")):
        time.sleep(0.05)
    ended, _, error = _interrupt(process, number)
    assert ended == code, error  # else it ended before it could be interrupted
    assert len(list(stopped.glob("steps/slice-*.parquet"))) < SLICES
    for more in ({"store": stopped}, {"store": whole, "workers": 1}):
        done = _start("-m", "vlm_relabel.cli.entry", "relabel", *flat(words, **more))
        _, error = done.communicate(timeout=120)
        assert done.returncode == 0, error
    assert _tables(stopped) == _tables(whole)
    assert list(stopped.rglob(".tmp-*")) == []


def _tables(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*.parquet")}
