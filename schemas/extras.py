"""Libraries that only some commands need: each comes with an extra of this distribution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from schemas.errors import MissingExtraError

DISTRIBUTION: Final = "vlm-relabel"
EXTRAS: Final = {  # by top-level module
    **dict.fromkeys(
        ("torch", "torchvision", "open_clip", "safetensors", "timm", "huggingface_hub"), "embed"
    ),
    **dict.fromkeys(("tensorflow_datasets", "array_record", "etils", "PIL"), "embed"),
    **dict.fromkeys(("apache_beam", "grpc"), "beam"),
    "distributed": "dask",
    **dict.fromkeys(("d3rlpy", "gymnasium", "gym_notices", "structlog", "scipy"), "agents"),
    **dict.fromkeys(("sklearn", "matplotlib", "jinja2"), "evaluation"),
    "rerun": "rerun",
    "transformers": "hf",
    "sentencepiece": "hf",
    "av": "video",
    "gcsfs": "gcs",
    "s3fs": "s3",
    "tensorboardX": "tensorboard",
}
AGENTS: Final = "agents"
_OF_AGENTS_TOO: Final = ("torch", "safetensors", "PIL")


def is_installed(module: str) -> bool:
    """Whether a top-level module could be imported; imports nothing."""
    return find_spec(module) is not None


def missing_extra(what: str, module: str, extra: str | None = None) -> MissingExtraError:
    """The error of a library that is not installed.

    Args:
        what: needs it.
        module: one of `EXTRAS`.
        extra: that everything of its kind needs, if it brings the library as well.
    """
    named = AGENTS if extra == AGENTS and module in _OF_AGENTS_TOO else EXTRAS[module]
    return MissingExtraError(
        f"{what} needs the library {module}, which is not installed: "
        f"pip install '{DISTRIBUTION}[{named}]'"
    )


@contextmanager
def named_extras(what: str, extra: str | None = None) -> Iterator[None]:
    """Turns a failed import of such a library into one sentence that names the extra.

    Args:
        what: needs the libraries: a command or a function.
        extra: as of `missing_extra`.

    Raises:
        MissingExtraError: the block imported a library of an extra that is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in EXTRAS or is_installed(library):
            raise  # a module of the user's own, or a fault of the library or of ours
        raise missing_extra(what, library, extra) from error
