"""Reads a Dockerfile: stages, and the instructions of each."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Instruction:
    """One of a Dockerfile, its lines joined."""

    name: str  # FROM, RUN and so on
    text: str  # what follows

    @property
    def words(self) -> list[str]:
        """As a shell would take them apart."""
        return shlex.split(self.text)


def instructions(text: str) -> list[Instruction]:
    """Those of a Dockerfile, without comments."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [line.split(None, 1) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    return [Instruction(name, rest.strip()) for name, rest in found]


def of_the_image() -> list[Instruction]:
    """Those of the repository's Dockerfile."""
    return instructions((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def copied() -> list[str]:
    """Files and folders of the repository that are copied into the image."""
    return [
        word
        for step in of_the_image()
        if step.name == "COPY" and not step.text.startswith("--from")
        for word in step.words[:-1]
    ]


def kept_by_dockerignore() -> set[str]:
    """What a build gets to see."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    return {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
