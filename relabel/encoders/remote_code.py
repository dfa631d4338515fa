"""Code that comes with an encoder is never run; a library that it needs is named.

A configuration of Hugging Face's transformers may name Python files of its repository. The library
runs them if it is told to trust them, or asks at the terminal. Here it is neither told nor asked.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from schemas.errors import EncoderError

_CODE_KEYS: Final = ("auto_map", "trust_remote_code", "code_revision")


def refuse_code(name: str, place: str, config: Any) -> None:
    """Refuse a configuration that asks for code to be run.

    Args:
        name: of the encoder, for the message.
        place: of the configuration, for the message.
        config: as read from JSON.

    Raises:
        EncoderError: It has `auto_map` or `trust_remote_code` at any depth.
    """
    if asked := sorted(_keys(config) & set(_CODE_KEYS)):
        raise EncoderError(
            f"encoder {name}: {place} asks for code that comes with the encoder "
            f"({', '.join(asked)}), which is never run; use a tokenizer and a model of the "
            "transformers library itself, and take the entry out"
        )


def _keys(value: Any) -> set[str]:
    """The keys of nested JSON; those that are switched off do not count."""
    if isinstance(value, Mapping):
        inner = set().union(*(_keys(item) for item in value.values())) if value else set()
        return inner | {str(key) for key, item in value.items() if item}
    if isinstance(value, list):
        return set().union(*(_keys(item) for item in value)) if value else set()
    return set()


def check_texts_can_be_read(name: str, config: Mapping[str, Any]) -> None:
    """Refuse an architecture whose texts need code of its own, or a library that is missing.

    Args:
        name: of the encoder, for the message.
        config: The architecture, as open_clip reads it.

    Raises:
        EncoderError: as said.
    """
    refuse_code(name, "its configuration", config)
    keys = [key for key in ("hf_tokenizer_name", "hf_model_name") if config["text_cfg"].get(key)]
    if keys and not has_transformers():
        raise EncoderError(
            f"encoder {name}: its texts are read by Hugging Face's {config['text_cfg'][keys[0]]}, "
            "which needs the library transformers; pip install 'vlm-relabel[hf]'"
        )


@contextmanager
def no_remote_code() -> Iterator[None]:
    """Inside, transformers refuses code of a repository where it would ask at the terminal."""
    if not has_transformers():
        yield
        return
    module: Any = importlib.import_module("transformers.dynamic_module_utils")
    patience, module.TIME_OUT_REMOTE_CODE = module.TIME_OUT_REMOTE_CODE, 0
    try:
        yield
    finally:
        module.TIME_OUT_REMOTE_CODE = patience


def has_transformers() -> bool:
    """Whether the library of Hugging Face's tokenizers and text towers is installed."""
    return importlib.util.find_spec("transformers") is not None
