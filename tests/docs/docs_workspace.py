"""The files that the examples of README and docs name, small enough to run in seconds.

my_dataset/1.0.0    20 episodes of 3 to 6 steps in 2 shards, two JPEG cameras; enough that the
                    default shares leave an episode to validate on
my_encoder          an open_clip model of some 30,000 random weights
goals.yaml          three goals in two families
"""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

EPISODES: Final = 20
SHARDS: Final = (12, 8)  # episodes of each
INSTRUCTIONS: Final = ("open the drawer", "close the drawer", "put the pot on the stove")
_SIDE: Final = 32  # pixels
_MERGES: Final = 100  # of the BPE vocabulary that are kept
COMMAND: Final = (  # as the store records it
    "vlm-relabel relabel --source my_dataset/1.0.0 --camera image_0 "
    "--encoder local-dir:my_encoder --goals goals.yaml --store my.store"
)
GOALS: Final = """\
name: kitchen
null_prompts: ["an empty kitchen"]
goals:
  - id: drawer-open
    family: drawer
    texts: ["the drawer is open", "an open drawer"]
  - id: drawer-closed
    family: drawer
    texts: ["the drawer is closed"]
  - id: pot-on-stove
    family: pot
    texts: ["a pot stands on the stove"]
"""


def make_workspace(directory: Path) -> Path:
    """Writes all the files once; returns their directory."""
    directory.mkdir(parents=True)
    _write_dataset(directory / "my_dataset" / "1.0.0")
    _write_encoder(directory / "my_encoder")
    (directory / "goals.yaml").write_text(GOALS)
    return directory


def make_store(directory: Path) -> None:
    """Relabels the source into `my.store`, for a page that begins with a store."""
    from pipelines.jobs import relabel
    from relabel.encoders.registry import encoder_loader
    from relabel.jobs.options import EmbedOptions, JobOptions, ScoreOptions

    encoder = encoder_loader("local-dir:my_encoder")
    relabel(
        JobOptions(store=str(directory / "my.store"), threads=1, command=COMMAND),
        EmbedOptions("my_dataset/1.0.0", "train", ("image_0",), encoder),
        ScoreOptions(encoder, "goals.yaml"),
    )


def copy_workspace(made: Path, target: Path) -> Path:
    """A workspace of its own for one document."""
    shutil.copytree(made, target)
    return target


def _write_dataset(directory: Path) -> None:
    import tensorflow_datasets as tfds

    from relabel.testing import write_rlds

    camera = tfds.features.Image(shape=(_SIDE, _SIDE, 3), encoding_format="jpeg")
    steps = tfds.features.FeaturesDict(
        {
            "observation": {
                "image_0": camera,
                "image_1": camera,
                "state": tfds.features.Tensor(shape=(3,), dtype=np.float32),
            },
            "action": tfds.features.Tensor(shape=(2,), dtype=np.float32),
            "reward": np.float32,
            "discount": np.float32,
            "is_first": np.bool_,
            "is_last": np.bool_,
            "is_terminal": np.bool_,
            "truth": tfds.features.Tensor(shape=(len(INSTRUCTIONS),), dtype=np.bool_),
            "language_instruction": tfds.features.Text(),
        }
    )
    metadata = {"file_path": tfds.features.Text()}
    features = tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(steps), "episode_metadata": metadata}
    )
    write_rlds(directory, features, _episodes(), shard_lengths=SHARDS, name="my_dataset")


def _episodes() -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(0)
    for episode in range(EPISODES):
        length = 3 + episode % 4
        instruction = INSTRUCTIONS[episode % len(INSTRUCTIONS)]
        steps = [_step(t, length, instruction, random) for t in range(length)]
        yield {"steps": steps, "episode_metadata": {"file_path": f"log/{episode}.npy"}}


def _step(t: int, length: int, instruction: str, random: np.random.Generator) -> dict[str, Any]:
    from relabel.testing import encoded_image

    last = t == length - 1
    reached = np.array([last and instruction == other for other in INSTRUCTIONS])
    cameras = random.integers(0, 256, (2, _SIDE, _SIDE, 3), dtype=np.uint8)
    return {
        "observation": {
            "image_0": encoded_image(cameras[0], "JPEG"),
            "image_1": encoded_image(cameras[1], "JPEG"),
            "state": random.normal(size=3).astype(np.float32),
        },
        # the RLDS way: nothing is done after the final observation
        "action": (0 if last else 1) * random.normal(size=2).astype(np.float32),
        "reward": np.float32(last),
        "discount": np.float32(1),
        "is_first": t == 0,
        "is_last": last,
        "is_terminal": last,
        "truth": reached,  # per goal of goals.yaml, in its order
        "language_instruction": instruction,
    }


def _write_encoder(directory: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from relabel.encoders.open_clip_import import import_open_clip

    open_clip = import_open_clip()
    directory.mkdir()
    bias = {"init_logit_scale": math.log(100), "init_logit_bias": -10.0}  # as a SigLIP model has
    vision = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16}
    text = {
        "context_length": 32,
        "vocab_size": 512 + _MERGES + 2,  # bytes, bytes that end a word, merges, start and end
        "width": 32,
        "heads": 2,
        "layers": 1,
    }
    model = {"embed_dim": 16, **bias, "vision_cfg": vision, "text_cfg": text}
    config = {"model_cfg": model, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (directory / "open_clip_config.json").write_text(json.dumps(config))
    _write_vocabulary(Path(open_clip.tokenizer.default_bpe()), directory / "bpe_vocab.txt.gz")
    torch.manual_seed(0)
    weights = open_clip.create_model(f"local-dir:{directory}", load_weights=False).state_dict()
    save_file(weights, directory / "open_clip_model.safetensors")


def _write_vocabulary(full: Path, path: Path) -> None:
    """The first merges of open_clip's own vocabulary."""
    lines = gzip.decompress(full.read_bytes()).decode("utf-8").split("\n")
    path.write_bytes(gzip.compress("\n".join(lines[: _MERGES + 1]).encode("utf-8"), mtime=0))
