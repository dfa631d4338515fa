"""A randomly initialised open_clip model of some 30,000 weights, as a `local-dir:`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

MERGES = 100


def write_tiny_model(directory: Path) -> str:
    """Writes the model; returns its encoder name."""
    import torch
    from safetensors.torch import save_file

    from relabel.encoders.open_clip_import import import_open_clip

    open_clip = import_open_clip()

    directory.mkdir(parents=True)
    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {
                "image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16,
            },
            "text_cfg": {
                "context_length": 24, "vocab_size": 512 + MERGES + 2, "width": 32, "heads": 2,
                "layers": 1,
            },
        },
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }  # fmt: skip
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    lines = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).split(b"\n")
    merges = gzip.compress(b"\n".join(lines[: MERGES + 1]), mtime=0)
    (directory / "bpe_vocab.txt.gz").write_bytes(merges)
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{directory}", load_weights=False)
    save_file(model.state_dict(), directory / "open_clip_model.safetensors")
    return f"local-dir:{directory}"
