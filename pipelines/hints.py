"""What the step that embeds asks of a machine: an accelerator, memory. Other steps ask for nothing.

Beam's own `--resource_hint` is for all steps of a job; `--embed_resource_hint` is for this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.resources import parse_resource_hints

from schemas.errors import RunnerError

OPTION: Final = "--embed_resource_hint"


class HintOptions(PipelineOptions):  # type: ignore[misc]
    """Teaches Beam the option, which is given behind `--` like its own."""

    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument(
            OPTION,
            dest="embed_resource_hints",
            action="append",
            default=[],
            help="NAME=VALUE for the step that embeds, as of --resource_hint; may be given again",
        )


def embed_hints(words: Sequence[str]) -> Mapping[str, str]:
    """Hints for the step that embeds, by Beam's names of them.

    Args:
        words: Beam arguments.

    Raises:
        RunnerError: Beam knows no such hint, or cannot read its value.
    """
    given = PipelineOptions(list(words)).view_as(HintOptions).embed_resource_hints
    hints: dict[str, str] = {}
    for text in given:
        name, is_there, value = text.partition("=")
        if not (is_there and value):
            raise RunnerError(f"{OPTION} {text}: expected NAME=VALUE, such as min_ram=16GB")
        if name in hints:
            raise RunnerError(f"{OPTION} {text}: {name} is given twice")
        hints[name] = value
    try:
        parse_resource_hints(hints)
    except ValueError as error:
        raise RunnerError(
            f"{OPTION}: {str(error).rstrip('.')}; expected such as min_ram=16GB or "
            "'accelerator=type:nvidia-l4;count:1;install-nvidia-driver'"
        ) from error
    return hints


def refuse_hints(words: Sequence[str], who: str) -> None:
    """Refuses hints that nobody would heed.

    Args:
        words: Beam arguments.
        who: would not heed them.

    Raises:
        RunnerError: there are some.
    """
    if embed_hints(words):
        raise RunnerError(
            f"{OPTION}: {who} runs on machines that are there, and heeds no hints; leave it out, "
            "or name a runner that starts machines, such as DataflowRunner"
        )
