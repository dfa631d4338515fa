"""Options have one name, one default and one check, on the command line and from Python."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vlm_relabel
from schemas.errors import RelabelError
from vlm_relabel.cli import (
    agent_commands,
    audit_command,
    calibrate_command,
    compare_command,
    goals_command,
    job_commands,
    label_command,
    main,
    report_command,
)

# Of Python alone: what the command line has after --, writes down, and shows.
_OF_PYTHON = {"beam_args", "command", "show", "each", "begins", "say"}
_OF_COMMANDS = {"context", "json", "old_goals", "old_rewards"}
COMMANDS: dict[str, Callable[..., Any]] = {
    "relabel": job_commands.relabel,
    "embed": job_commands.embed,
    "score": job_commands.score,
    "build_goals": goals_command.build_goals,
    "audit": audit_command.audit,
    "calibrate": calibrate_command.calibrate,
    "compare": compare_command.compare,
    "inspect": main.inspect,
    "verify": main.verify,
    "label": label_command.label,
    "report": report_command.report,
    "train": agent_commands.train,
    "evaluate": agent_commands.evaluate,
    "export_agent": agent_commands.export_agent,
}
JOB = {"source": "s", "camera": "c", "encoder": "e", "goals": "an open drawer", "store": "x"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_its_function_have_the_same_options(name: str) -> None:
    typed = inspect.signature(COMMANDS[name]).parameters
    called = inspect.signature(getattr(vlm_relabel, name)).parameters
    own = {n.rstrip("_"): p.default for n, p in typed.items() if n not in _OF_COMMANDS}
    assert own == {n: p.default for n, p in called.items() if n not in _OF_PYTHON}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dtype": "int8"}, "--dtype: expected float16 or float32, got 'int8'"),
        ({"last_step": "last"}, "--last-step: expected auto, final-observation or carries-action"),
        ({"timing": "now"}, "--timing: expected next-frame or same-frame, got 'now'"),
        ({"workers": 0}, "--workers: expected greater than or equal to 1, got 0"),
        ({"max_dead_ratio": 2}, "--max-dead-ratio: expected less than or equal to 1, got 2"),
        ({"camera": 3}, "--camera: expected a valid string, got 3"),
        ({"camra": "front"}, "--camra: no such option"),
        ({"batch_size": 0, "fuse": "min"}, "--fuse: expected mean or max, got 'min'; --batch-size"),
        ({"set": "power"}, "--set 'power': expected key=value"),
        ({"alpha": 1, "set": {"alpha": 0}}, "--set alpha: --alpha is given as well; leave one of"),
        ({"goals": []}, "--goals: expected a file, a field or texts, got none"),
        ({"beam_args": ["--runner=DirectRunner"]}, "--runner: DirectRunner now starts Prism"),
    ],
)
def test_what_is_wrong_is_said_as_the_command_says_it(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(RelabelError, match=f"^{said}"):
        vlm_relabel.relabel(**{**JOB, **wrong})


def test_what_is_missing_is_said() -> None:
    with pytest.raises(RelabelError, match="--store: is missing; --camera: is missing"):
        vlm_relabel.relabel(source="s", encoder="e", goals="g")


def test_options_are_keywords() -> None:
    with pytest.raises(RelabelError, match=r"by keyword, such as store=…; got 'my\.store'"):
        vlm_relabel.build_goals("my.store")


def test_frames_or_none_must_be_said_in_full() -> None:
    with pytest.raises(RelabelError, match=r"--camera and --encoder: missing; .*--no-frames"):
        vlm_relabel.embed(source="s", store="x")
    with pytest.raises(RelabelError, match="--no-frames and --camera exclude each other"):
        vlm_relabel.embed(source="s", store="x", no_frames=True, camera="front")
    with pytest.raises(RelabelError, match="--rewards v2 and --no-rewards exclude each other"):
        vlm_relabel.build_goals(store="x", rewards="v2", no_rewards=True)
    with pytest.raises(RelabelError, match=r"--discount: expected greater than 0, got 0\.0"):
        vlm_relabel.build_goals(store="x", discount=0)
    for temperature in (-1, float("nan"), float("inf")):
        with pytest.raises(RelabelError, match="--temperature: expected"):
            vlm_relabel.evaluate(run="x", temperature=temperature)


def test_pairs_are_dicts_or_texts(tmp_path: Path) -> None:
    job = {"store": tmp_path, "dataset": "gc1", "algo": "iql", "out": tmp_path / "run"}
    for wrong in ({"kind_weight": {"achieved": -1}}, {"kind_weight": ["achieved=-1"]}):
        with pytest.raises(RelabelError, match="not a store"):
            vlm_relabel.train(**job, **wrong)
    with pytest.raises(RelabelError, match="--positive-share: expected less than or equal to 1"):
        vlm_relabel.train(**job, positive_share=2)
