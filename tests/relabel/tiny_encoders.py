"""Randomly initialised open_clip models of some 30,000 weights, as `local-dir:` directories."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from relabel.encoders.open_clip_import import import_open_clip

open_clip = import_open_clip()

MERGES = 100
VOCABULARY_SIZE = 512 + MERGES + 2  # bytes, bytes that end a word, merges, start and end
WORDS = (
    "a",
    "the",
    "red",
    "blue",
    "ball",
    "box",
    "door",
    "is",
    "open",
    "empty",
    "room",
    "next",
    "to",
)


def config(**changes: Any) -> dict[str, Any]:
    """A model of some 30,000 weights; `changes` are merged into the parts they name."""
    content: dict[str, Any] = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {
                "image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16,
            },
            "text_cfg": {
                "context_length": 24, "vocab_size": VOCABULARY_SIZE, "width": 32, "heads": 2,
                "layers": 1,
            },
        },
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }  # fmt: skip
    content["model_cfg"] |= changes.pop("model", {})
    for part in ("vision_cfg", "text_cfg"):
        content["model_cfg"][part] |= changes.pop(part, {})
    content["preprocess_cfg"] |= changes
    return content


def write_vocabulary(path: Path) -> None:
    """The first merges of open_clip's own vocabulary: a trimmed one."""
    full = Path(open_clip.tokenizer.default_bpe())
    lines = gzip.decompress(full.read_bytes()).decode("utf-8").split("\n")
    path.write_bytes(gzip.compress("\n".join(lines[: MERGES + 1]).encode("utf-8"), mtime=0))


def write_model(directory: Path, seed: int = 0, half: bool = False, **changes: Any) -> str:
    """Write a randomly initialised `local-dir:` model; returns its encoder name."""
    directory.mkdir(parents=True)
    (directory / "open_clip_config.json").write_text(json.dumps(config(**changes)))
    write_vocabulary(directory / "bpe_vocab.txt.gz")
    torch.manual_seed(seed)
    model = open_clip.create_model(f"local-dir:{directory}", load_weights=False)
    state = {k: v.half() if half else v for k, v in model.state_dict().items()}
    safetensors.torch.save_file(state, directory / "open_clip_model.safetensors")
    return f"local-dir:{directory}"


def hugging_face_config(**changes: Any) -> dict[str, Any]:
    """SigLIP's settings, small: a tower that sees both ways, sigmoid loss, its own tokenizer."""
    text = {
        "context_length": 12,
        "vocab_size": len(WORDS) + 3,
        "hf_tokenizer_name": "org/never-asked",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        **changes.pop("text_cfg", {}),
    }
    model = {"init_logit_bias": -10.0, "init_logit_scale": 2.5, "custom_text": True}
    model |= changes.pop("model", {})
    mean: dict[str, Any] = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    return {"model": model, "text_cfg": text, **mean, **changes}


def write_hugging_face_model(directory: Path, seed: int = 0, **changes: Any) -> str:
    """Write a SigLIP-like `local-dir:` model with its tokenizer beside it; its encoder name."""
    name = write_model(directory, seed, **hugging_face_config(**changes))
    (directory / "bpe_vocab.txt.gz").unlink()
    write_tokenizer(directory)
    return name


def write_tokenizer(directory: Path, words: tuple[str, ...] = WORDS) -> None:
    """Write the files of a Hugging Face tokenizer of whole words that ends texts with </s>."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: place for place, word in enumerate(("<pad>", "</s>", "<unk>", *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": 12,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
