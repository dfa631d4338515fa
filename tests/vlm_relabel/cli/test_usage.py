"""How words become options: what is refused as typed, and told to people and machines alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import typer

from tests.vlm_relabel.cli.cli_outcomes import Run, refusal
from vlm_relabel.cli.main import app
from vlm_relabel.cli.usage import Command, wants_json

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
SINGLE = [
    (name, option)
    for name, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag and not option.multiple
]


def test_every_command_refuses_repetition() -> None:
    assert {name for name, command in COMMANDS.items() if not isinstance(command, Command)} == set()
    assert len(SINGLE) > 50


@pytest.mark.parametrize(("command", "option"), SINGLE, ids=lambda x: getattr(x, "name", x))
def test_an_option_of_one_value_is_refused_twice(run: Run, command: str, option: Any) -> None:
    name = option.opts[-1]
    result = run(command, name, "left", f"{name}=right", "--json")
    message = refusal(result)
    assert message == f"{name} takes one value, got 2: 'left', 'right'; leave out all but one"
    assert json.loads(result.stdout)["error"] == "UsageError"


def test_three_values_are_all_named(run: Run) -> None:
    told = refusal(run("score", *("--name", "a", "--name", "a", "--name", "b"), "--json"))
    assert "got 3: 'a', 'a', 'b'" in told


def test_options_of_several_values_may_be_repeated(run: Run) -> None:
    told = refusal(run("embed", "--camera", "a", "--camera", "b", "--json"))
    assert told == "Missing option '--source'."


def test_a_switch_is_on_or_off(run: Run) -> None:
    line = ("evaluate", "run", "--json")
    told = refusal(run(*line, "--baselines", "--no-baselines"))
    assert told == "--baselines and --no-baselines contradict each other"
    assert "contradict" not in refusal(run(*line, "--no-baselines", "--no-baselines"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("relabel", "--nope"), "No such option: --nope"),
        (("relabel",), "Missing option '--source'"),
        (("inspect",), "Missing argument 'DIR'"),
        (("score", "--workers", "0"), "--workers"),
        (("score", "--workers", "x"), "--workers"),
        (("verify", "a", "b"), "Got unexpected extra argument"),
        (("verifi", "a"), "No such command 'verifi'. Did you mean 'verify'?"),
        ((), "No such option: --json"),
    ],
)
def test_misuse_is_told_to_machines(run: Run, words: tuple[str, ...], text: str) -> None:
    result = run(*words, "--json")
    assert text in refusal(result)
    assert json.loads(result.stdout)["error"] == "UsageError"
    plain = run(*(words or ("--nope",)))
    assert (plain.exit_code, plain.stdout) == (2, "")


def test_json_after_the_dashes_is_not_ours(run: Run) -> None:
    assert wants_json(["score", "--json", "--", "--runner", "x"])
    assert not wants_json(["score", "--", "--json"])
    assert run("score", "--nope", "--", "--json").stdout == ""


# --- what is asked of the program itself -------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("relabel",), ("train",)])
def test_short_help(run: Run, words: tuple[str, ...]) -> None:
    short, long = run(*words, "-h"), run(*words, "--help")
    assert short.exit_code == 0
    assert short.stdout == long.stdout
    assert "-h, --help" in short.stdout


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("vlm-relabel 0.")


@pytest.mark.parametrize(
    ("typed", "found"),
    [("vlm-relabel bu", ["build-goals"]), ("vlm-relabel relabel --so", ["--source"])],
)
def test_completion_knows_commands_and_options(typed: str, found: list[str]) -> None:
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "vlm_relabel.cli.entry"],
        env={**os.environ, **asked, "_VLM_RELABEL_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == found


def test_the_help_names_completion(run: Run) -> None:
    told = run("--help").stdout
    assert "--install-completion" in told
    assert "--show-completion" in told
