"""From a weights file to a model and its identity.

Imports neither torch nor open_clip: `relabel.encoders.open_clip`, the one module that does, passes
open_clip in. What open_clip lets pass in silence is checked after loading.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from relabel.encoders.checkpoint import plain_checkpoint
from relabel.encoders.remote_code import no_remote_code
from relabel.encoders.tokenizer import tokenizer_sha256
from relabel.encoders.weights import EncoderSource, brief
from schemas.encoders import EncoderSpec, Precision
from schemas.errors import EncoderError, MissingExtraError
from schemas.extras import named_extras

if TYPE_CHECKING:
    import torch

Shapes = dict[str, tuple[int, ...]]

# Rises when the same weights and settings begin to give other embeddings.
_REVISION = 1


def build_model(source: EncoderSource, clip: Any) -> torch.nn.Module:
    """Build the model in float32 on the CPU and load every one of its weights."""
    try:
        plain = plain_checkpoint(source)
        with named_extras("an encoder"), no_remote_code(), plain as (model_name, checkpoint):
            model = clip.create_model(
                model_name,
                pretrained=None if source.is_directory else str(checkpoint),
                precision="fp32",
                device="cpu",
                force_preprocess_cfg=source.preprocess,
                require_pretrained=True,
                weights_only=True,
            )
            stored = _stored_shapes(checkpoint, clip)
    except (EncoderError, MissingExtraError):
        raise
    except Exception as error:  # open_clip, torch and safetensors raise all kinds
        raise EncoderError(
            f"encoder {source.name}: {source.checkpoint} could not be loaded: it is damaged, or "
            f"holds another architecture than {source.model_name} ({brief(error)})"
        ) from error
    problems = _silent_changes(model, stored)
    if problems:
        raise EncoderError(f"encoder {source.name}: {source.checkpoint}: {'; '.join(problems)}")
    return cast("torch.nn.Module", model)


def _stored_shapes(checkpoint: Path, clip: Any) -> Shapes:
    """Names and shapes of a checkpoint's tensors."""
    if checkpoint.suffix == ".safetensors":
        opened = importlib.import_module("safetensors").safe_open(checkpoint, "pt")
        with opened as file:
            names = file.keys()
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    load = clip.factory.load_state_dict
    return {name: tuple(tensor.shape) for name, tensor in load(str(checkpoint)).items()}


def _silent_changes(model: torch.nn.Module, stored: Shapes) -> list[str]:
    """What open_clip's strict loading lets pass: resampled positions, an invented bias."""
    stored = {name.removeprefix("module."): shape for name, shape in stored.items()}
    problems = []
    for name, tensor in model.state_dict().items():
        old_name = name.removeprefix("text.")  # before text towers were modules
        shape = stored.get(name, stored.get(old_name))
        if name.endswith("positional_embedding") and shape not in (None, tuple(tensor.shape)):
            problems.append(
                f"{name}: expected {tuple(tensor.shape)}, got {shape}: trained at another image "
                "size or context length"
            )
        if name == "logit_bias" and name not in stored:
            problems.append("logit_bias: the architecture has one, the checkpoint has none")
    return problems


# --- identity -------------------------------------------------------------------------------


def describe(source: EncoderSource, model: Any, tokenizer: Any) -> dict[Precision, EncoderSpec]:
    """Identity and constants of a loaded model, still in float32 on the CPU, by precision."""
    preprocess = json.loads(json.dumps(model.visual.preprocess_cfg))  # tuples become lists
    weights = weights_sha256(model)
    bias = getattr(model, "logit_bias", None)
    covered = {
        "revision": _REVISION,
        "weights": weights,
        "preprocess": preprocess,
        # The same tensors give other embeddings with another activation or head count,
        # and other texts with another vocabulary.
        "architecture": _without_place(source.config),
        "vocabulary": _vocabulary_sha256(tokenizer),
    }
    constants = {
        "name": source.name,
        "slug": source.slug,
        "weights_sha256": weights,
        "tokenizer_sha256": tokenizer_sha256(tokenizer, source.config["text_cfg"]),
        "preprocess": preprocess,
        "dim": int(source.config["embed_dim"]),
        "logit_scale": math.exp(float(model.logit_scale.item())),
        "logit_bias": None if bias is None else float(bias.item()),
    }
    return {
        precision: EncoderSpec(
            precision=precision,
            fingerprint=_fingerprint(precision=precision, **covered),
            **constants,
        )
        for precision in get_args(Precision)
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """Hash of a model's weights, the same for every file format, process and precision.

    Args:
        model: A model in float32 on the CPU. Weights stored in 16 bits are exact in
            float32, so a checkpoint and its converted copy have one hash.

    Returns:
        SHA-256 over name, type, shape and little-endian bytes of each tensor of the state
        dict, in the order of the names.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {tensor.shape}\n".encode())
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _fingerprint(**parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _without_place(config: dict[str, Any]) -> dict[str, Any]:
    """An architecture without the place of its vocabulary, which is hashed by content."""
    options = dict(config["text_cfg"].get("tokenizer_kwargs") or {})
    options.pop("bpe_path", None)
    return {**config, "text_cfg": {**config["text_cfg"], "tokenizer_kwargs": options}}


def _vocabulary_sha256(tokenizer: Any) -> str | None:
    """Hash of a BPE vocabulary; None for other tokenizers: `tokenizer_sha256` covers all.

    It stays in the fingerprint so that stores made before there was that hash keep theirs.
    """
    vocabulary = getattr(tokenizer, "encoder", None)
    return None if not isinstance(vocabulary, dict) else _fingerprint(vocabulary=vocabulary)
