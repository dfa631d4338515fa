"""Files for those who carry on the work say the same as the Makefile, setup.py and each other."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> Any:
    return yaml.safe_load(read(name))


def recipe(target: str) -> list[list[str]]:
    """The commands of a make target, without the environment's directory."""
    (lines,) = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", read("Makefile"), re.MULTILINE)
    return [shlex.split(line.replace("$(BIN)/", "")) for line in lines.splitlines()]


def test_the_citation_is_of_this_version_and_names_the_papers_of_the_readme() -> None:
    citation = parsed("CITATION.cff")
    (version,) = re.findall(r'^    version="(.+)",$', read("setup.py"), re.MULTILINE)
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", version)
    assert {"title", "message", "authors"} <= set(citation)
    sources = read("README.md").split("## Sources")[1]
    urls = [reference["url"] for reference in citation["references"]]
    assert urls == re.findall(r"https://arxiv.org/abs/[\d.]+", sources)
    assert all(reference["authors"] for reference in citation["references"])


def test_hooks_before_a_commit_check_what_make_lint_checks_and_need_no_network() -> None:
    (local,) = parsed(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    hooks = local["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    found = [shlex.split(hook["entry"].removeprefix(".venv/bin/")) for hook in hooks]
    asked = [[word for word in command if word != "--force-exclude"] for command in found]
    assert asked == [[word for word in command if word != "."] for command in recipe("lint")]


def test_ci_runs_the_script_of_the_repository_and_nothing_else() -> None:
    workflow = parsed(".github/workflows/ci.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
    (python,) = [
        s["with"]["python-version"] for s in steps if "python-version" in s.get("with", {})
    ]
    assert f"python{python}" in read("Makefile")


def test_make_quick_runs_folders_that_are_there() -> None:
    (names,) = re.findall(r"^QUICK := (.+)$", read("Makefile"), re.MULTILINE)
    assert all(list(ROOT.glob(name)) for name in names.split())
