"""What an option that takes a location refuses, before anything is written or shown."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.vlm_relabel.cli.cli_outcomes import Run
from vlm_relabel.cli import main, redaction

SECRET = "hunter2"
KEYED = f"s3://KEY:{SECRET}@bucket/x"
TRAIN = ("train", "some.store", "--dataset", "gc1", "--algo", "iql")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--out", (*TRAIN, "--out", "s3://bucket/run")),
        ("--cache", (*TRAIN, "--out", "run", "--cache", "s3://bucket/run")),
        ("RUN", ("evaluate", "s3://bucket/run")),
        ("--gif", ("evaluate", "run", "--gif", "s3://bucket/run")),
        ("RUN", ("export-agent", "s3://bucket/run", "agent.d3")),
        ("FILE", ("export-agent", "run", "s3://bucket/run")),
    ],
)
def test_what_is_local_only_says_so(
    run: Run, tmp_path: Path, option: str, words: tuple[str, ...]
) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert f"error: {option} s3://bucket/run: expected a path on a local disk" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", KEYED),
        ("relabel", "--source", KEYED, "--store", "s"),
        ("embed", "--source", "x", "--store", KEYED),
        ("score", "--store", "s", f"--goals={KEYED}", "--encoder", "e"),
        ("score", "--store", "s", "--goals", "g", "--encoder", f"local-dir:{KEYED}"),
        ("build-goals", KEYED),
        (*TRAIN, "--out", KEYED),
        ("evaluate", KEYED, "--json"),
        ("verify", KEYED),
        ("no-such-command", KEYED),
        ("verify", "s", "--no-such-option", KEYED),
        ("verify", "s", f"s3://bucket/x?key={SECRET}"),
    ],
)
def test_a_secret_is_refused_wherever_it_stands(
    run: Run, tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert "must not carry keys" in done.stderr
    assert SECRET not in done.output
    if "--json" in words:
        assert json.loads(done.stdout)["error"] == "LocationError"
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ValueError(f"cannot reach http://user:{SECRET}@127.0.0.1:1/")

    monkeypatch.setattr(main, "app", broken)
    monkeypatch.setattr(main, "interruption", SimpleNamespace(listen=int, ignore=int))
    monkeypatch.setattr(sys, "argv", ["vlm-relabel", "verify", "s"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    told = capfd.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in told
    assert "ValueError: cannot reach http://…@127.0.0.1:1/" in told
    assert SECRET not in told


def test_a_log_is_told_without_its_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        redaction.log_errors()
        logging.getLogger("some.package").error("no answer from %s", KEYED)
    finally:
        root.handlers = handlers
    assert capfd.readouterr().err == "ERROR:some.package:no answer from s3://…@bucket/x\n"
