"""What a training run was asked for: `RUN/config.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from offline_rl.actions import ActionBounds, ActionLayout
from offline_rl.dataset import GoalEncoding, View
from schemas import fields
from schemas.enums import Kind
from schemas.errors import RunError
from schemas.json_text import parse_json

CONFIG: Final = "config.json"
TRUE_SUFFIX: Final = ".true"  # of the dataset built from the environment's truth
_RENAMED: Final = {"rewards": "learn_from", "goals": "goal_encoding"}  # since runs of 0.1.0


class TrainConfig(BaseModel):
    """One training run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str  # absolute when the run has started
    dataset: str
    dataset_fingerprint: str = ""  # filled in when the run starts
    algo: str
    settings: dict[str, Any] = Field(default_factory=dict)
    learn_from: Literal["vlm", "true", "none"] = "vlm"
    observations: tuple[str, ...]  # embedding tables by their whole name when the run has started
    goal_encoding: GoalEncoding = GoalEncoding.TEXT
    weights: dict[str, float] = Field(default_factory=dict)  # by kind
    positive_share: float | None = Field(default=None, ge=0, le=1)
    actions: tuple[str, ...] = (fields.ACTION,)  # columns or groups of them
    discrete: bool | None = None  # ids of choices; None: if the action is one integer scalar
    action_bounds: ActionBounds = ActionBounds.MIN_MAX
    n_step: int | None = Field(default=None, ge=1)  # None: as the algorithm has it
    goal_mix: dict[str, float] = Field(default_factory=dict)  # {}: language alone
    layout: ActionLayout | None = None  # of the joined action; filled in when the run starts
    steps: int = Field(ge=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    log_every: int = Field(default=100, ge=1)
    checkpoint_every: int = Field(default=1000, ge=1)
    keep: int = Field(default=5, ge=1)  # checkpoints, the newest
    device: str = "cpu"
    loggers: tuple[str, ...] = ()
    # Of this process and not of the run: files of the store are not hashed when they are read.
    trust: bool = Field(default=False, exclude=True)

    @property
    def view(self) -> View:
        """What the agent sees and does."""
        weights = self.weights
        if self.learn_from == "none":
            # Without rewards only the command is known: clone what was done on command.
            weights = {kind.value: float(kind is Kind.COMMANDED) for kind in Kind}
        return View(
            self.observations,
            self.goal_encoding,
            weights,
            self.positive_share,
            self.actions,
            self.discrete,
            self.action_bounds,
        )

    @property
    def dataset_name(self) -> str:
        """The dataset trained on: that of the truth for `learn_from="true"`."""
        return self.dataset + (TRUE_SUFFIX if self.learn_from == "true" else "")


def load_config(out: Path) -> TrainConfig:
    """What a run was asked for; runs of earlier versions are read with today's defaults.

    Raises:
        RunError: `out` is no run, or one of a later version.
    """
    path = out / CONFIG
    if not path.exists():
        raise RunError(f"{out}: not a run (no {CONFIG}); `vlm-relabel train` makes one")
    try:
        return TrainConfig.model_validate(_upgraded(parse_json(path.read_text())))
    except (ValidationError, ValueError) as error:
        raise RunError(
            f"{path}: not the configuration of a run, or of a later version: {error}"
        ) from error


def _upgraded(content: Any) -> Any:
    """The keys of an earlier version as those of today."""
    if not isinstance(content, dict):
        return content
    upgraded = {_RENAMED.get(key, key): value for key, value in content.items()}
    if "action" in upgraded:
        upgraded["actions"] = [upgraded.pop("action")]
    return upgraded
