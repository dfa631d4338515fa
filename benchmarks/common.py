"""What the benchmarks share: interleaved timing, inputs made on the spot, one way to print."""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from schemas.locations import path_argument

PACKAGES = ("numpy", "pyarrow", "torch", "apache-beam", "tensorflow-datasets", "pillow", "d3rlpy")


def options(doc: str | None, *, repeats: int = 5) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=repeats, help=f"default: {repeats}")
    parser.add_argument("--quick", action="store_true", help="small: shows that it runs")
    parser.add_argument("--out", type=path_argument, help="JSON file to write as well")
    return parser


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(cases: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each case returns, `repeats` times; in turns, so that noise hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats):
        for name, case in cases.items():
            found[name].append(case())
            sys.stderr.write(f"{turn + 1}/{repeats} {name}: {found[name][-1]:.4g}\n")
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Median of each case."""
    return {name: statistics.median(values) for name, values in found.items()}


def paired_ratio(found: Mapping[str, Sequence[float]], above: str, below: str) -> float:
    """Median over repeats of the ratio within one repeat: slow noise cancels."""
    pairs = zip(found[above], found[below], strict=True)
    return statistics.median(one / other for one, other in pairs)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import torch

    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpus": gpus,
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def show(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    result: Mapping[str, Any],
    out: Path | None = None,
) -> None:
    """Prints a table, then everything as one line of JSON, which `out` gets too."""
    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:,.4g}" for cell in row))
    Console(soft_wrap=True, highlight=False).print(table)
    content = {"title": title, "command": sys.argv, **result, "machine": machine()}
    sys.stdout.write(json.dumps(content) + "\n")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix="vlm-relabel-bench-") as name:
        yield Path(name)


def measured(phase: Callable[..., Any], *inputs: Any) -> tuple[Any, float]:
    """What a function returns in a process of its own, and the MB that it adds there at most.

    Args:
        phase: of a module, so that it can be sent there.
        inputs: of it.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_in_process, phase, inputs).result()


def _in_process(phase: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Any, float]:
    import tensorflow_datasets  # noqa: F401  what a job of any size loads
    import torch  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    before = _memory_mb("VmRSS")
    found = phase(*inputs)
    return found, _memory_mb("VmHWM") - before


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return float(line.split()[1]) / 1024


# --- inputs


def photos(count: int, height: int, width: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Frames (height, width, 3) uint8 with the detail of a photograph: blurred noise plus grain."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for _ in range(count):
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        smooth = np.asarray(
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        )
        grain = rng.normal(0, 6, smooth.shape)
        yield np.clip(smooth + grain, 0, 255).astype(np.uint8)


def jpeg_source(
    directory: Path,
    *,
    episodes: int,
    steps: int,
    size: tuple[int, int],
    distinct: int = 64,
    times: int = 1,
) -> Path:
    """An RLDS directory of JPEG frames.

    Args:
        directory: to write to.
        episodes: in as many shards as there are of 8 episodes, at least 1.
        steps: frames per episode.
        size: (height, width) of a frame.
        distinct: so many different frames, used in turn: making them takes longest.
        times: each of them comes so often before the next.
    """
    import tensorflow_datasets as tfds

    from relabel.testing import encoded_image, write_rlds

    made_once = [encoded_image(frame, "JPEG") for frame in photos(distinct, *size)]
    images = [image for image in made_once for _ in range(times)]
    features = tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(
                {
                    "observation": {
                        "image": tfds.features.Image(shape=(*size, 3), encoding_format="jpeg"),
                        "state": tfds.features.Tensor(shape=(8,), dtype=np.float32),
                    },
                    "action": tfds.features.Tensor(shape=(7,), dtype=np.float32),
                    "reward": np.float32,
                    "is_first": np.bool_,
                    "is_last": np.bool_,
                    "is_terminal": np.bool_,
                }
            )
        }
    )

    def made() -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng(1)
        for episode in range(episodes):
            yield {"steps": [_step(images, rng, episode, step, steps) for step in range(steps)]}

    shards = max(1, episodes // 8)
    borders = [episodes * shard // shards for shard in range(shards + 1)]
    lengths = [stop - start for start, stop in itertools.pairwise(borders)]
    write_rlds(directory, features, made(), shard_lengths=lengths, name="photos")
    return directory


def _step(
    images: Sequence[bytes], rng: np.random.Generator, episode: int, step: int, steps: int
) -> dict[str, Any]:
    return {
        "observation": {
            "image": images[(episode * steps + step) % len(images)],
            "state": rng.normal(size=8).astype(np.float32),
        },
        "action": rng.normal(size=7).astype(np.float32),
        "reward": 0.0,
        "is_first": step == 0,
        "is_last": step == steps - 1,
        "is_terminal": step == steps - 1,
    }


def random_vit(directory: Path, name: str = "ViT-B-32") -> str:
    """An open_clip architecture with random weights on disk; the name `load_encoder` takes."""
    import torch
    from safetensors.torch import save_file

    from relabel.encoders.open_clip_import import import_open_clip

    torch.manual_seed(0)
    model = import_open_clip().create_model(name, pretrained=None)
    checkpoint = directory / f"{name}.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, checkpoint)
    return f"{name}:{checkpoint}"


TINY = "local-dir:" + str(Path(__file__).parents[1] / "examples/playroom/encoders/small")
"""The shipped encoder: 84 pixels, so small that everything else dominates."""


def goals_file(path: Path, count: int) -> Path:
    """A goal set of `count` goals in families of 50, with one null prompt."""
    import yaml

    goals = [
        {
            "id": f"goal-{i}",
            "family": f"family-{i // 50}",
            "texts": [f"put thing {i} into place {i}"],
        }
        for i in range(count)
    ]
    content = {"name": f"bench-{count}", "null_prompts": ["nothing happens"], "goals": goals}
    path.write_text(yaml.safe_dump(content))
    return path
