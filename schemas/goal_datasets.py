"""Goal datasets: which pieces of which episodes are trajectories towards which goals.

One row is a trajectory: transitions `start, …, stop - 1` of an episode, towards one goal, with
their rewards. It copies no observation.

    transition t      o_t ──a_t──▶ o_{t+1}        reward of t as the reward set's timing says
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from schemas import fields
from schemas.enums import Kind, LastStep, Split, Timing
from schemas.names import Name
from schemas.table_manifest import TableManifest

GOAL: Final = "goal"  # place on the goal axis of the reward set, int32
START: Final = "start"  # first transition, int32
STOP: Final = "stop"  # one past the last transition, int32
KIND: Final = "kind"  # see Kind
SUCCESS: Final = "success"  # whether the goal is reached within [start, stop)
FIRST_SUCCESS: Final = "first_success"  # first transition that reaches it, int32; null: none
RETURN: Final = "return"  # discounted sum of `rewards`, float32
REWARDS: Final = "rewards"  # float32, one per transition, as to be trained on
TERMINAL: Final = "terminal"  # whether the last transition ends the task: success or environment
SPLIT: Final = "split"  # train, validation or test
NEXT_PREFIX: Final = "next."  # of an observation column: the same column at o_{t+1}


def split_of(episode_id: str, validation: float, test: float) -> Split:
    """The split of an episode, by its id alone: adding episodes moves none.

    Args:
        episode_id: stable id.
        validation: share of episodes, in [0, 1].
        test: share of episodes, in [0, 1].
    """
    digest = hashlib.sha256(episode_id.encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test:
        return Split.TEST
    return Split.VALIDATION if position < test + validation else Split.TRAIN


def transition_count(
    length: int, *, ends_terminal: bool, timing: Timing, last_step: LastStep
) -> int:
    """How many transitions an episode has: 0, 1, …, one less than this are all of them.

    Transition t needs a reward and an outcome: frame t+1, or nothing but the end of the task
    when the last step carries the action that ended it.

        frames          o_0 ──a_0──▶ o_1 ──a_1──▶ … o_{T-1} ──a_{T-1}──▶
        transitions     0            1            … only if the last step carries an action,
                                                    o_{T-1} is terminal, and rewards look at
                                                    the same frame

    Args:
        length: T, frames of the episode; may be 0.
        ends_terminal: `is_terminal` of the last frame.
        timing: of the rewards, from `effective_timing`.
        last_step: what the source's last steps are.
    """
    if length == 0:
        return 0
    after_last = (
        ends_terminal and timing is Timing.SAME_FRAME and last_step is LastStep.CARRIES_ACTION
    )
    return length if after_last else length - 1


def effective_timing(function: Mapping[str, Any], timing: Timing) -> Timing:
    """The timing of a reward set's rewards: a potential difference always looks ahead.

    Args:
        function: of the reward set's manifest.
        timing: of the reward set's manifest.
    """
    return Timing.NEXT_FRAME if is_difference(function) else timing


def is_difference(function: Mapping[str, Any]) -> bool:
    """Whether rewards are what an action added to the score, not the score reached."""
    return function.get("name") == "potential-difference"


GOAL_DATASET_SCHEMA: Final = pa.schema(
    [
        pa.field(fields.EPISODE_ID, pa.string(), nullable=False),
        pa.field(GOAL, pa.int32(), nullable=False),
        pa.field(START, pa.int32(), nullable=False),
        pa.field(STOP, pa.int32(), nullable=False),
        pa.field(KIND, pa.string(), nullable=False),
        pa.field(SUCCESS, pa.bool_(), nullable=False),
        pa.field(FIRST_SUCCESS, pa.int32()),
        pa.field(RETURN, pa.float32(), nullable=False),
        pa.field(REWARDS, pa.list_(pa.float32()), nullable=False),
        pa.field(TERMINAL, pa.bool_(), nullable=False),
        pa.field(SPLIT, pa.string(), nullable=False),
    ]
)

LEFT_OUT_SCHEMA: Final = pa.schema(  # those not made, since a reward is missing
    [
        GOAL_DATASET_SCHEMA.field(name)
        for name in (fields.EPISODE_ID, GOAL, START, STOP, KIND, SPLIT)
    ]
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DatasetOptions(_Model):
    """How a goal dataset is cut out of a reward set."""

    end_on_success: bool = True  # a trajectory ends, and is terminal, at its first success
    step_reward: Literal[0, -1] = 0  # 0: rewards 0 and 1; -1: rewards -1 and 0
    success_above: float = Field(
        default=0.5, allow_inf_nan=False
    )  # a reward above this is a success
    discount: float = Field(default=0.99, gt=0, le=1)  # of the return column
    min_length: int = Field(default=1, ge=1)  # shorter trajectories are not made
    failed_per_achieved: float = Field(default=1.0, ge=0)  # failed trajectories per achieved one
    failed_at_least: int = Field(default=1, ge=0)  # per episode, however few it achieves
    hindsight_most: int = Field(default=4, ge=0)  # trajectories per episode and goal
    commands_hold: bool = False  # a step without a text stands under the last text before it
    kinds: tuple[Kind, ...] = tuple(Kind)
    goals: tuple[str, ...] = ()  # ids; (): all
    episodes: tuple[str, ...] = ()  # patterns of ids ("train/0/*"), "!…" for not; (): all
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)
    seed: int = 0

    def takes(self, episode_id: str) -> bool:
        """Whether the dataset is made of this episode."""
        unwanted = [pattern[1:] for pattern in self.episodes if pattern.startswith("!")]
        wanted = [pattern for pattern in self.episodes if not pattern.startswith("!")] or ["*"]
        return _matches(episode_id, wanted) and not _matches(episode_id, unwanted)

    def split(self, episode_id: str) -> Split:
        """The split of an episode under these shares."""
        return split_of(episode_id, self.validation, self.test)


def _matches(episode_id: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(episode_id, pattern) for pattern in patterns)


class ColumnStatistics(_Model):
    """Statistics of one column over the frames of the training split, per component.

    Values that are not finite are not counted; NaN where nothing is left.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    p01: tuple[float, ...]  # 1st percentile
    p99: tuple[float, ...]
    frames: int = 0  # looked at; an action without an outcome is not one
    percentile_frames: int = 0  # of these, evenly spaced, that the percentiles are taken of
    missing: tuple[int, ...] = ()  # frames in which the component is not finite


class DatasetGoal(_Model):
    """A goal of a dataset that no reward set stands behind."""

    id: str
    family: str = "goal"
    texts: tuple[str, ...] = ()  # that name it, for commanded trajectories


class GoalDatasetManifest(TableManifest):
    """Manifest of `goal_datasets/<name>`."""

    kind: Literal["goal_datasets"] = "goal_datasets"
    name: Name
    rewards: Name | None  # name of the reward set; None: there is none, `source_column` is all
    rewards_fingerprint: str | None  # of its manifest
    source_column: str | None = None  # a steps column of (G,) truth used instead of the rewards
    timing: Timing | None = None  # of the column, if there is no reward set; else that one's
    goals: tuple[DatasetGoal, ...] = ()  # likewise
    options: DatasetOptions
    materialized: bool = False  # transitions are written out as well
    statistics: dict[str, ColumnStatistics] = Field(default_factory=dict)  # by steps column
    counts: dict[str, int] = Field(default_factory=dict)  # by "<split>/<kind>", and left_out

    _CIRCUMSTANCES = TableManifest._CIRCUMSTANCES | {"statistics", "counts"}

    @property
    def table(self) -> str:
        """Path of the table below the store."""
        return f"goal_datasets/{self.name}"

    @property
    def transitions(self) -> str:
        """Path of the materialized transitions below the store."""
        return self._beside("transitions")

    @property
    def left_out(self) -> str:
        """Path of the trajectories that a missing reward kept out."""
        return self._beside("left_out")

    def _beside(self, what: str) -> str:
        # Not below the table, whose folder is to be read as one table.
        return f"{self.table}/{what}" if self.is_of_first_format else f"{what}/{self.name}"

    @property
    def folders(self) -> tuple[str, ...]:
        """As for any table, and those of its transitions and of the trajectories left out."""
        return (*super().folders, self.transitions, self.left_out)
