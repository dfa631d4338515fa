"""Small open_clip models: made, saved, loaded, and asked for embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from examples.clip.vocabulary import BPE_FILE, tokenizer_with
from relabel.encoders.open_clip_import import import_open_clip

CONTEXT_LENGTH = 20
CONFIG_FILE, WEIGHTS_FILE = "open_clip_config.json", "open_clip_model.safetensors"
_TEXT_DEVIATION = 0.3
_MEAN = _STD = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Size:
    """How large an encoder is, and what frames it takes."""

    embedding: int
    width: int
    vision_layers: int
    text_layers: int
    head_width: int = 16
    pixels: int = 84  # side of a frame
    patch: int = 28  # side of a patch; few of them, so that a frame costs few tokens


def open_clip_config(size: Size, vocab_size: int) -> dict[str, Any]:
    """Returns what open_clip_config.json says; the logit bias makes `sigmoid` rewards usable."""
    vision = {
        "image_size": size.pixels,
        "patch_size": size.patch,
        "width": size.width,
        "layers": size.vision_layers,
        "head_width": size.head_width,
        "mlp_ratio": 2.0,
    }
    text = {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": vocab_size,
        "width": size.width,
        "heads": size.width // size.head_width,
        "layers": size.text_layers,
        "mlp_ratio": 2.0,
    }
    model = {
        "embed_dim": size.embedding,
        "init_logit_scale": float(np.log(10.0)),
        "init_logit_bias": -5.0,
        "vision_cfg": vision,
        "text_cfg": text,
    }
    preprocess = {"size": [size.pixels, size.pixels], "mean": _MEAN, "std": _STD}
    return {"model_cfg": model, "preprocess_cfg": preprocess}


def new_model(directory: Path, size: Size, vocab_size: int) -> Any:
    """Writes the config into `directory` and returns the model with random weights."""
    config = open_clip_config(size, vocab_size)
    (directory / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    name = f"local-dir:{directory}"
    model = import_open_clip().create_model(name, load_weights=False)
    # open_clip's own deviations (0.02, 0.01) suit widths of hundreds: here words would look alike.
    torch.nn.init.normal_(model.token_embedding.weight, std=_TEXT_DEVIATION)
    torch.nn.init.normal_(model.positional_embedding, std=_TEXT_DEVIATION)
    return model


def save_weights(model: torch.nn.Module, directory: Path) -> None:
    """Writes the weights as float16 safetensors."""
    half = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    (directory / WEIGHTS_FILE).write_bytes(save(half))


def load_model(directory: Path) -> tuple[Any, Any]:
    """Loads a model directory for inference, in float32 on the CPU, with its tokenizer."""
    name = f"local-dir:{directory}"
    model = import_open_clip().create_model(name, require_pretrained=True)
    return model.eval(), tokenizer_of(directory)


def tokenizer_of(directory: Path) -> Any:
    """Returns the tokenizer with the directory's vocabulary (open_clip knows no relative path)."""
    return tokenizer_with(directory / BPE_FILE, CONTEXT_LENGTH)


def pixels(frames: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Turns frames ``(N, S, S, 3) uint8`` into a model's input ``(N, 3, S, S) float32``."""
    channels_first = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().float()
    return channels_first.div_(255).sub_(_MEAN[0]).div_(_STD[0])


@torch.inference_mode()
def embed_frames(
    model: Any, frames: npt.NDArray[np.uint8], batch: int = 256
) -> npt.NDArray[np.float32]:
    """Returns unit-norm image embeddings ``(N, D) float32`` of frames ``(N, S, S, 3) uint8``."""
    parts = [
        model.encode_image(pixels(frames[start : start + batch]), normalize=True).numpy()
        for start in range(0, len(frames), batch)
    ]
    return np.concatenate(parts)


@torch.inference_mode()
def embed_texts(model: Any, tokenizer: Any, texts: list[str]) -> npt.NDArray[np.float32]:
    """Returns unit-norm text embeddings ``(len(texts), D) float32``."""
    embedded: npt.NDArray[np.float32] = model.encode_text(tokenizer(texts), normalize=True).numpy()
    return embedded


def parameter_count(model: torch.nn.Module) -> int:
    """Returns how many numbers a model has learned."""
    return sum(value.numel() for value in model.parameters())
