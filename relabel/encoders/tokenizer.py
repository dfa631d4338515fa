"""The tokenizer of an encoder: how it is found, what it cuts, and its identity.

Imports neither torch nor open_clip: `relabel.encoders.open_clip` passes open_clip in. A tokenizer
is open_clip's own (byte pairs) or one of Hugging Face, whose files lie beside the weights of a
`local-dir:`. No code that comes with an encoder is ever run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relabel.encoders.remote_code import no_remote_code, refuse_code
from relabel.encoders.weights import VOCABULARY_FILE, EncoderSource, brief
from schemas.errors import EncoderError

# What open_clip's two kinds of tokenizer take from a configuration; it would pass anything else
# on to transformers, where some options run code.
_BYTE_PAIR_SETTINGS: Final = {"bpe_path", "additional_special_tokens", "clean", "reduction_mask"}
_HUGGING_FACE_SETTINGS: Final = {"clean", "strip_sep_token", "language"}
_FILES: Final = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("vocab.json", "vocab.txt"),
)
_MAY_ASK_FOR_CODE: Final = ("tokenizer_config.json", "config.json")
_ENDS: Final = 2  # tokens that a byte-pair tokenizer puts around a text
_CLIPS_ENDS: Final = 3  # of tokenizer_mode "clips": both ends and a class token


def load_tokenizer(source: EncoderSource, model: Any, clip: Any) -> Any:
    """The tokenizer that belongs to a model, with the directory's own vocabulary if it has one.

    Raises:
        EncoderError: It is missing or damaged, asks for code of its own, or knows more tokens
            than the model.
    """
    hugging_face = bool(source.config["text_cfg"].get("hf_tokenizer_name"))
    try:
        with no_remote_code():
            load = _hugging_face if hugging_face else _byte_pairs
            tokenizer = load(source, clip)
    except EncoderError:
        raise
    except Exception as error:  # gzip, json, the hub: the cure is the same
        raise EncoderError(
            f"encoder {source.name}: its tokenizer could not be loaded ({brief(error)})"
        ) from error
    size, known = getattr(tokenizer, "vocab_size", 0), getattr(model, "vocab_size", None)
    if known is not None and size > known:
        raise EncoderError(
            f"encoder {source.name}: its tokenizer has {size} tokens, the model knows {known}; "
            f"a model with its own vocabulary needs {VOCABULARY_FILE} in its directory"
        )
    return tokenizer


def _byte_pairs(source: EncoderSource, clip: Any) -> Any:
    settings = _settings(source, _BYTE_PAIR_SETTINGS)
    if source.vocabulary is not None:
        settings["bpe_path"] = str(source.vocabulary)
    return clip.SimpleTokenizer(context_length=_context_length(source, clip), **settings)


def _hugging_face(source: EncoderSource, clip: Any) -> Any:
    """A tokenizer of transformers: from the encoder's directory, else by its name on the hub."""
    text_config = source.config["text_cfg"]
    place = text_config["hf_tokenizer_name"]
    if source.is_directory:
        place = str(source.checkpoint.parent)
        _check_files(source.name, source.checkpoint.parent, text_config["hf_tokenizer_name"])
    return clip.tokenizer.HFTokenizer(
        place,
        context_length=_context_length(source, clip),
        tokenizer_mode=text_config.get("tokenizer_mode"),
        trust_remote_code=False,
        local_files_only=source.is_directory,
        **_settings(source, _HUGGING_FACE_SETTINGS),
    )


def _context_length(source: EncoderSource, clip: Any) -> int:
    default = clip.tokenizer.DEFAULT_CONTEXT_LENGTH
    return int(source.config["text_cfg"].get("context_length", default))


def _settings(source: EncoderSource, known: set[str]) -> dict[str, Any]:
    """The configuration's `tokenizer_kwargs`; a setting that is not known is refused."""
    settings = dict(source.config["text_cfg"].get("tokenizer_kwargs") or {})
    if unknown := sorted(settings.keys() - known):
        raise EncoderError(
            f"encoder {source.name}: tokenizer_kwargs has {', '.join(unknown)}; expected only "
            f"{', '.join(sorted(known))}"
        )
    return settings


def _check_files(name: str, directory: Path, hub_name: str) -> None:
    """The tokenizer's files are there, and ask for no code."""
    if not any((directory / file).is_file() for file in _FILES):
        raise EncoderError(
            f"encoder {name}: its tokenizer is {hub_name} of Hugging Face; expected its files "
            f"({', '.join(_FILES[:3])}, ...) in {directory}, got none; where there is a network, "
            f"transformers.AutoTokenizer.from_pretrained({hub_name!r}).save_pretrained(DIR) "
            "writes them"
        )
    for file in _MAY_ASK_FOR_CODE:
        path = directory / file
        if path.is_file():
            refuse_code(name, path.name, json.loads(path.read_text("utf-8")))


# --- lengths ----------------------------------------------------------------------------------


def token_limit(tokenizer: Any) -> int:
    """How many tokens of a text the model reads, its ends not counted where the kind has such."""
    length = int(tokenizer.context_length)
    if _is_byte_pairs(tokenizer):
        return length - _ENDS
    return length - _CLIPS_ENDS if tokenizer.tokenizer_mode == "clips" else length


def token_counts(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """The number of tokens of each text before anything is cut, counted as `token_limit` does."""
    if _is_byte_pairs(tokenizer):
        return [len(tokenizer.encode(text)) for text in texts]
    if not texts:
        return []
    cleaned = [tokenizer.clean_fn(text) for text in texts]
    ends = tokenizer.tokenizer_mode != "clips"
    found = tokenizer.tokenizer(cleaned, add_special_tokens=ends, truncation=False, padding=False)
    return [len(tokens) for tokens in found["input_ids"]]


def _is_byte_pairs(tokenizer: Any) -> bool:
    return isinstance(getattr(tokenizer, "encoder", None), dict)


# --- identity ---------------------------------------------------------------------------------


def tokenizer_sha256(tokenizer: Any, text_config: Mapping[str, Any]) -> str:
    """Hash of everything that decides which tokens a text becomes.

    Args:
        tokenizer: As loaded, before its first call.
        text_config: The architecture's `text_cfg`.

    Returns:
        SHA-256 over the vocabulary, the merges or the whole pipeline of a Hugging Face
        tokenizer, its special tokens, and the settings around it. Place and file format do not
        matter.
    """
    settings = dict(text_config.get("tokenizer_kwargs") or {})
    settings.pop("bpe_path", None)  # hashed by content
    content = {
        "settings": settings,
        "mode": text_config.get("tokenizer_mode"),
        "context_length": tokenizer.context_length,
        "vocabulary": _vocabulary(tokenizer),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _vocabulary(tokenizer: Any) -> Any:
    if _is_byte_pairs(tokenizer):
        return {"tokens": tokenizer.encoder, "merges": [list(pair) for pair in tokenizer.bpe_ranks]}
    inner = tokenizer.tokenizer
    special = {name: str(token) for name, token in inner.special_tokens_map.items()}
    backend = getattr(inner, "backend_tokenizer", None)
    if backend is None:  # a tokenizer of plain Python
        return {"special": special, "tokens": inner.get_vocab(), "class": type(inner).__name__}
    pipeline = json.loads(backend.to_str())
    pipeline.pop("truncation", None)  # set anew by each call
    pipeline.pop("padding", None)
    return {"special": special, "pipeline": pipeline, "padding_side": inner.padding_side}
