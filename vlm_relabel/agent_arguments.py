"""What `train` and `evaluate` are asked for: one object each; see `vlm_relabel.arguments`."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from offline_rl.training import Plan
from vlm_relabel.keywords import STRICT, Count, Location, Seed, Share, Words

Pairs = Mapping[str, Any] | Sequence[str] | None  # values by name, or NAME=VALUE as typed
Show = Callable[[int, int, dict[str, float]], None]  # step, steps, figures


def _silent(step: int, steps: int, figures: dict[str, float]) -> None:
    """Shows nothing."""


def _no_plan(plan: Plan, left_out: Mapping[str, str]) -> None:
    """Shows nothing."""


def _warn(text: str) -> None:
    """Tells what is unusual."""
    warnings.warn(text, stacklevel=2)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainArguments:
    """Of `train`."""

    store: Location
    dataset: str
    algo: str
    out: Location  # run folder
    steps: Count = 10_000
    seed: Seed = 0
    observation: Words = None  # columns; None: every observation vector that is no text embedding
    goal_encoding: Literal["text", "one-hot", "none"] | None = None
    learn_from: Literal["vlm", "true", "none"] = "vlm"
    set: Pairs = None  # hyper-parameters of the algorithm
    kind_weight: Pairs = None  # sampling weights
    positive_share: Share | None = None
    n_step: Count | None = None
    goal_mix: Pairs = None  # shares of goals by where they come from
    action: Words = None
    discrete: bool | None = None
    action_bounds: Literal["min-max", "p01-p99"] = "min-max"
    device: str = "cpu"
    cache: Location | None = None
    log_every: Count = 100
    checkpoint_every: Count = 1000
    keep: Count = 5
    logger: Words = None
    trust: bool = False  # of stored files, compare the sizes only
    show: Show = _silent  # called at every log interval
    begins: Callable[[Plan, Mapping[str, str]], None] = _no_plan  # and what is left out, and why


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateArguments:
    """Of `evaluate`."""

    run: Location
    step: int | None = None  # of the checkpoint; None: the last one
    split: Literal["train", "validation", "test"] = "validation"
    fqe_steps: Annotated[int, Field(ge=0)] = 2000
    fqe_fits: Count = 3
    env: str | Callable[[], Any] | None = None  # module:factory, or the factory
    episodes: Count = 10  # per goal
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # of actions; 0: the best
    goal: Words = None  # ids; None: all
    seed: Seed = 1_000_000
    encoder: str | None = None
    camera: str = "image"
    baselines: bool = True
    gif: Location | None = None
    device: str = "cpu"
    trust: bool = False  # of stored files, compare the sizes only
    show: Show = _silent  # called during fitted Q evaluation
    say: Callable[[str], None] = _warn  # told of checkpoints that are not evaluated

    @property
    def of_rollouts(self) -> list[str]:
        """Options of rollouts that are not as by default, as they are typed."""
        given = {f.name for f in fields(self) if getattr(self, f.name) != f.default}
        return [flag for name, flag in _OF_ROLLOUTS.items() if name in given]

    @property
    def kept(self) -> dict[str, Any]:
        """The options that figures depend on, as a report keeps them."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _UNKEPT}
        paths = {n: os.fspath(v) for n, v in values.items() if isinstance(v, os.PathLike)}
        named = {"env": str(self.env)} if callable(self.env) else {}
        return {**values, **paths, **named}


_OF_ROLLOUTS: Final = {
    "episodes": "--episodes",
    "temperature": "--temperature",
    "goal": "--goal",
    "encoder": "--encoder",
    "camera": "--camera",
    "baselines": "--no-baselines",
    "gif": "--gif",
}
_UNKEPT: Final = ("run", "step", "split", "trust", "show", "say")  # said elsewhere in a report
