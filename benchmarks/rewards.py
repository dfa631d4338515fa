"""Scores and rewards per second of every reward function, beside the code of another commit.

    python -m benchmarks.rewards [--beside COMMIT]

Whole episodes of unit vectors in memory, in blocks as `score` makes them; nothing is read or
written. With `--beside`, the room `relabel/rewards` of that commit is loaded into the same process
and takes turns with the code as it is; both must give the same bytes. Seconds are those of the
processor, on one thread: what else the machine does hardly moves them.
"""

from __future__ import annotations

import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import common
from relabel.goals.readings import read_prompts
from schemas.encoders import EncoderSpec
from schemas.goals import Goal, GoalSet

PATHS: dict[str, dict[str, Any]] = {
    "softmax-threshold": {},
    "probability": {},
    "cosine": {},
    "goal-baseline": {},
    "vlm-rm": {},
    "sigmoid": {},
    "window-mean/softmax-threshold": {"window": 3},
    "potential-difference/probability": {},
}
EPISODE = 64  # frames
BLOCK = 8  # episodes in one call, as `score` has them
DIM = 512

Rewarder = Callable[[], tuple[np.ndarray, np.ndarray]]


def room(commit: str, folder: Path) -> Any:
    """The module that binds reward functions, as it was at a commit."""
    listed = _git("ls-tree", "--name-only", commit, "relabel/rewards/").split()
    package = folder / "rewards_of_old"
    package.mkdir()
    for path in listed:
        text = _git("show", f"{commit}:{path}")
        name = Path(path).name
        (package / name).write_text(text.replace("relabel.rewards", "rewards_of_old"))
    sys.path.append(str(folder))
    return importlib.import_module("rewards_of_old.scorer")


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=Path(__file__).parents[1], check=True, capture_output=True, text=True
    )
    return done.stdout


def goal_set(count: int) -> GoalSet:
    """Goals in two families, some of which may be true together."""
    goals = tuple(Goal(id=f"g{i}", texts=(f"goal {i}",), family="ab"[i % 2]) for i in range(count))
    together = tuple((f"g{i}", f"g{i + 2}") for i in range(0, count - 2, 10))
    return GoalSet(goals=goals, baseline="a room", may_be_true_together=together)


def spec() -> EncoderSpec:
    """Of an encoder with all constants."""
    return EncoderSpec(
        name="bench", slug="bench", fingerprint="0" * 64, weights_sha256="0" * 64, preprocess={},
        precision="float32", dim=DIM, logit_scale=100.0, logit_bias=-10.0,
    )  # fmt: skip


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    """(rows, DIM) float32."""
    vectors = rng.normal(size=(rows, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rewarder(code: Any, parse: Any, path: str, goals: GoalSet, frames: np.ndarray) -> Rewarder:
    """A call that scores all frames, block after block, and gives the last block's arrays."""
    rng = np.random.default_rng(0)
    prompts, vectors, norms = read_prompts(goals, lambda texts: unit(rng, len(texts)))
    function = parse(path, **PATHS[path])
    scorer = code.bind(function, goals, prompts, vectors, spec(), norms=norms)
    lengths, rows = [EPISODE] * BLOCK, EPISODE * BLOCK

    def run() -> tuple[np.ndarray, np.ndarray]:
        for start in range(0, len(frames), rows):
            scores = scorer.scores([frames[start : start + rows]], lengths)
            rewards = scorer.rewards(scores, lengths)
        return scores, rewards

    return run


def _parse(code: Any) -> Any:
    """`parse_reward`, which has not always been in the same module."""
    if hasattr(code, "parse_reward"):
        return code.parse_reward
    package = code.__name__.rpartition(".")[0]
    return importlib.import_module(f"{package}.registry").parse_reward


def main() -> None:
    """Prints both, and their ratio."""
    parser = common.options(__doc__, repeats=101)
    parser.add_argument("--beside", metavar="COMMIT", help="also run the code of this commit")
    parser.add_argument("--goals", type=int, default=100)
    parser.add_argument("--frames", type=int, default=8192)
    options = parser.parse_args()
    count = 1024 if options.quick else options.frames // (EPISODE * BLOCK) * EPISODE * BLOCK
    frames = unit(np.random.default_rng(1), count).astype(np.float16)
    goals = goal_set(options.goals)
    with common.folder() as folder:
        codes = {"as it is": importlib.import_module("relabel.rewards.scorer")}
        if options.beside:
            codes[options.beside] = room(options.beside, folder)
        cases = {
            f"{path}, {name}": rewarder(code, _parse(code), path, goals, frames)
            for path in PATHS
            for name, code in codes.items()
        }
        for path in PATHS:
            _same(*(cases[f"{path}, {name}"]() for name in codes))
        repeats = 1 if options.quick else options.repeats
        found: dict[str, list[float]] = {}
        with threadpool_limits(1):
            for path in PATHS:  # the two of a pair in turns, close to each other
                pair = {name: run for name, run in cases.items() if name.startswith(f"{path}, ")}
                timed = {name: lambda run=run: cpu_seconds(run) for name, run in pair.items()}
                found |= common.interleaved(timed, repeats)
    rows, ratios = [], {}
    for path in PATHS:
        now = f"{path}, as it is"
        if options.beside:
            ratios[path] = common.paired_ratio(found, f"{path}, {options.beside}", now)
        rows.append((path, count / statistics.median(found[now]), ratios.get(path, "")))
    common.show(
        f"{options.goals} goals, vectors of {DIM} values, {count:,} frames in memory",
        ("reward", "frames/s", f"speed / {options.beside or 'none'}"),
        rows,
        {"seconds": found, "ratios": ratios},
        options.out,
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _same(first: tuple[np.ndarray, ...], *others: tuple[np.ndarray, ...]) -> None:
    for other in others:
        if any(a.tobytes() != b.tobytes() for a, b in zip(first, other, strict=True)):
            raise SystemExit("the two do not give the same bytes")


if __name__ == "__main__":
    main()
