"""What a command left behind, and whether it was refused as it should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from typer.testing import Result

PIXEL_MEAN = "relabel.testing:PixelMeanEncoder"  # an encoder that takes no time
Run = Callable[..., Result]  # the fixture `run`: words of a command line


def flat(words: Mapping[str, Any], **changes: Any) -> list[str]:
    """Options as words; `store="x"` replaces `--store`."""
    merged = {**words, **{f"--{key.replace('_', '-')}": v for key, v in changes.items()}}
    return [str(word) for pair in merged.items() for word in pair]


def refusal(result: Result) -> str:
    """The message of a command run with --json that the user has to mend.

    It must have ended with 2, told the same to people and machines, and shown no traceback.
    """
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    told = json.loads(result.stdout)
    assert told.keys() == {"error", "message"}
    assert told["error"].endswith("Error")
    assert told["message"] in result.stderr
    return str(told["message"])


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, by name; {} if there is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
