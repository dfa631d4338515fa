"""A goal dataset of a store, opened for training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_rl.achieved import achieved_goals
from offline_rl.actions import ActionBounds, ActionLayout, Actions, layout_of, read_actions
from offline_rl.choices import choice, kind_weights
from offline_rl.frames import Floats, FrameColumns, FrameTable, as_matrix, column_width
from offline_rl.hindsight import AchievedGoals, GoalMix
from offline_rl.observations import default_observations
from offline_rl.positives import reached
from offline_rl.progress import ScoreProgress
from offline_rl.replay import GoalConditionedReplayBuffer, Trajectories
from schemas import fields
from schemas.enums import Kind, LastStep, Split
from schemas.errors import RunError, StoreError
from schemas.goal_basis import basis, dataset_goals
from schemas.goal_datasets import (
    GOAL,
    KIND,
    REWARDS,
    SPLIT,
    START,
    STOP,
    SUCCESS,
    TERMINAL,
    GoalDatasetManifest,
)
from schemas.store import Store


class GoalEncoding(StrEnum):
    """How a goal is put behind an observation."""

    TEXT = "text"  # the text embedding of the reward set
    ONE_HOT = "one-hot"  # its place on the goal axis
    NONE = "none"  # not at all: for one goal


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def default_encoding(dataset: GoalDatasetManifest) -> GoalEncoding:
    """How goals are put behind observations unless it is said: as texts, if they have any."""
    if dataset.rewards is not None:
        return GoalEncoding.TEXT
    return GoalEncoding.NONE if len(dataset.goals) == 1 else GoalEncoding.ONE_HOT


@dataclass(frozen=True)
class View:
    """What an agent is trained on."""

    observations: tuple[str, ...]  # columns: "observation.state", "embedding:small"
    goals: GoalEncoding = GoalEncoding.TEXT
    weights: Mapping[str, float] = field(default_factory=dict)  # by kind; 1 if not given
    positive_share: float | None = None
    actions: tuple[str, ...] = (fields.ACTION,)  # columns or groups of them, joined in this order
    discrete: bool | None = None  # ids of choices; None: if the action is one integer scalar
    action_bounds: ActionBounds = ActionBounds.MIN_MAX  # that become -1 and 1


class ViewChoices(TypedDict, total=False):
    """Keywords of `GoalDataset.view`."""

    observations: str | Sequence[str] | None
    goals: GoalEncoding | str | None
    weights: Mapping[str, float] | None
    positive_share: float | None
    actions: str | Sequence[str]
    discrete: bool | None
    action_bounds: ActionBounds | str


class GoalDataset:
    """The trajectories, the actions and the goals of one goal dataset.

    Args:
        store: that holds it: opened, or its folder or URL.
        name: that `build-goals` gave it.
        trust: of files that are read, compare the sizes only; of a store that is not opened yet.

    Raises:
        StoreError: it does not exist, is unfinished, or its reward set has changed.

    Example:
        >>> dataset = GoalDataset("my.store", "gc1")
        >>> replay = dataset.replay(split="train", goals="text")
        >>> replay.sample_transition_batch(256).observations.shape
        (256, 19)
    """

    def __init__(
        self, store: Store | str | os.PathLike[str], name: str, *, trust: bool = False
    ) -> None:
        if not isinstance(store, Store):
            store = Store.open(os.fspath(store), trust=trust)
        manifest = store.table_manifest(f"goal_datasets/{name}")
        if not isinstance(manifest, GoalDatasetManifest):
            raise StoreError(f"{store.location}/goal_datasets/{name}: another kind of manifest")
        self.store = store
        self.manifest = manifest
        self.basis = basis(store, manifest)
        rewards = self.basis.rewards
        if rewards is not None and rewards.fingerprint != manifest.rewards_fingerprint:
            raise StoreError(
                f"{store.location}/goal_datasets/{name}: its reward set {manifest.rewards!r} was "
                "made again since; build it again with `vlm-relabel build-goals … --overwrite`"
            )
        self.goals = dataset_goals(store, manifest)
        self.table = store.read(manifest.table)
        self._actions: dict[tuple[ActionLayout, ActionBounds], Actions] = {}

    @property
    def fingerprint(self) -> str:
        """sha256 of what the dataset is and of what of the source its store holds."""
        # A store that has grown has the same dataset with more trajectories.
        content = f"{self.manifest.fingerprint} {self.store.manifest.content}"
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def goal_ids(self) -> list[str]:
        """Of the goal axis."""
        return [str(i) for i in self.goals.column(fields.GOAL_ID).to_pylist()]

    @property
    def families(self) -> list[str]:
        """Of the goal axis."""
        return [str(f) for f in self.goals.column(fields.FAMILY).to_pylist()]

    def rows(self, split: Split, kinds: Sequence[str] = tuple(Kind)) -> pa.Table:
        """Trajectories of one split and some kinds, one per row."""
        named = pa.array([str(kind) for kind in kinds], pa.string())
        wanted = pc.is_in(self.table.column(KIND), value_set=named)
        return self.table.filter(pc.and_(wanted, pc.equal(self.table.column(SPLIT), split.value)))

    def commanded_success(self) -> list[tuple[int, float]]:
        """Goal and success of every commanded trajectory: how well the behaviour policy did."""
        rows = self.table.filter(pc.equal(self.table.column(KIND), Kind.COMMANDED.value))
        goals = rows.column(GOAL).to_pylist()
        return [(g, float(s)) for g, s in zip(goals, rows.column(SUCCESS).to_pylist(), strict=True)]

    def goal_table(self, encoding: GoalEncoding) -> Floats | None:
        """(G, E) float32 vectors put behind observations.

        Raises:
            StoreError: no conditioning was asked for, with several goals; goals without texts.
        """
        if encoding is GoalEncoding.TEXT:
            if fields.TEXT_EMBEDDING not in self.goals.column_names:
                raise StoreError(
                    f"--goal-encoding text: {self.store.location}/{self.manifest.table} was made "
                    "without a reward set, so its goals have no text embedding; take one-hot, or "
                    "none if there is a single goal"
                )
            return as_matrix(self.goals.column(fields.TEXT_EMBEDDING))
        if encoding is GoalEncoding.ONE_HOT:
            return np.eye(self.goals.num_rows, dtype=np.float32)
        used = set(self.table.column(GOAL).to_pylist())
        if len(used) > 1:
            raise StoreError(
                f"--goal-encoding none: expected a dataset of one goal, got {len(used)} "
                f"goals; take "
                "text or one-hot"
            )
        return None

    def widths(self, observations: Sequence[str], goals: GoalEncoding) -> list[tuple[str, int]]:
        """Name and number of values of each part of what a policy sees, goal last."""
        table = self.goal_table(goals)
        parts = [(name, column_width(self.store, name)) for name in observations]
        return parts if table is None else [*parts, ("goal", table.shape[1])]

    def frames(self, view: View, cache: str | os.PathLike[str] | None = None) -> FrameTable:
        """The observations of every frame.

        Args:
            view: names the columns.
            cache: folder of a memory-mapped copy; None keeps them in memory.
        """
        columns = FrameColumns(self.store, view.observations)
        return FrameTable(columns, self.store, None if cache is None else Path(cache))

    def action_layout(self, view: View) -> ActionLayout:
        """Columns and kind of the actions, without looking at any.

        Raises:
            StoreError: as `layout_of`.
        """
        return layout_of(self.store, view.actions, view.discrete)

    def actions(self, view: View) -> Actions:
        """The actions of every frame, within the view's bounds; kept for the next call.

        Raises:
            StoreError: as `layout_of`, `read_actions` and `Actions.within`.
        """
        key = self.action_layout(view), view.action_bounds
        if key not in self._actions:
            plain = view.action_bounds is ActionBounds.MIN_MAX
            self._actions[key] = (
                read_actions(self.store, key[0])
                if plain
                else self._stored_actions(view).cut(*self.action_bounds(view))
            )
        return self._actions[key]

    def _stored_actions(self, view: View) -> Actions:
        return self.actions(replace(view, action_bounds=ActionBounds.MIN_MAX))

    def action_bounds(self, view: View) -> tuple[Floats, Floats]:
        """(A,) bounds of the actions of the training split, as the view has them.

        Raises:
            StoreError: as `actions`.
        """
        options, stored = self.manifest.options, self._stored_actions(view)
        low, high = stored.bounds(
            lambda episode: options.takes(episode) and options.split(episode) is Split.TRAIN
        )
        if view.action_bounds is ActionBounds.MIN_MAX:
            return low, high
        return stored.within(low, high, self.manifest.statistics)

    def trajectories(self, rows: pa.Table, frames: FrameTable, view: View) -> Trajectories:
        """Trajectories as arrays over the frames."""
        start = rows.column(START).to_numpy().astype(np.int64)
        weights = {kind.value: 1.0 for kind in Kind} | dict(view.weights)
        kinds = pc.index_in(rows.column(KIND), value_set=pa.array(list(weights), pa.string()))
        rewards = rows.column(REWARDS).combine_chunks().flatten().to_numpy().astype(np.float32)
        return Trajectories(
            first=frames.starts(rows.column(fields.EPISODE_ID)) + start,
            count=rows.column(STOP).to_numpy().astype(np.int64) - start,
            goal=rows.column(GOAL).to_numpy().astype(np.int64),
            terminal=rows.column(TERMINAL).to_numpy(),
            weight=np.array(list(weights.values()), np.float64)[kinds.to_numpy()],
            rewards=rewards,
        )

    def view(
        self,
        *,
        observations: str | Sequence[str] | None = None,
        goals: GoalEncoding | str | None = None,
        weights: Mapping[str, float] | None = None,
        positive_share: float | None = None,
        actions: str | Sequence[str] = fields.ACTION,
        discrete: bool | None = None,
        action_bounds: ActionBounds | str = ActionBounds.MIN_MAX,
    ) -> View:
        """What an agent is trained on, with the defaults of `train`.

        Args:
            observations: columns such as "observation.state" or "embedding:NAME"; None: every
                observation vector that is no embedding of a text.
            goals: "text", "one-hot" or "none"; None: "text" if the goals have embeddings.
            weights: of the sampling by kind of trajectory; 1 if not given.
            positive_share: of each batch that has a positive reward; None: as it comes.
            actions: columns or groups of them, joined in this order.
            discrete: whether the action is the id of a choice; None: yes for one integer.
            action_bounds: "min-max" or "p01-p99": values of the training split that become -1
                and 1; what lies beyond the latter is cut.

        Raises:
            RelabelError: no such goal encoding or kind, or no observation to see.
        """
        if observations is None:
            observations = default_observations(self.store).names
        encoding = default_encoding(self.manifest) if goals is None else goals
        return View(
            observations=_several(observations),
            goals=choice(GoalEncoding, "--goal-encoding", encoding),
            weights=kind_weights(weights or {}),
            positive_share=positive_share,
            actions=_several(actions),
            discrete=discrete,
            action_bounds=choice(ActionBounds, "--action-bounds", action_bounds),
        )

    def replay(
        self,
        split: Split | str = Split.TRAIN,
        view: View | None = None,
        *,
        seed: int = 0,
        frames: FrameTable | None = None,
        cache: str | os.PathLike[str] | None = None,
        next_actions: bool = False,
        n_step: int = 1,
        gamma: float = 1.0,
        goal_mix: GoalMix | None = None,
        progress: ScoreProgress | None = None,
        **choices: Unpack[ViewChoices],
    ) -> GoalConditionedReplayBuffer:
        """The replay buffer of one split.

        Args:
            split: train, validation or test.
            view: observations, goals, weights; None: that of `choices`.
            seed: of the sampling.
            frames: loaded earlier; None loads them.
            cache: folder of memory-mapped frames; None keeps them in memory.
            next_actions: leaves out the transitions into a final observation that is not terminal,
                since no action was taken there; for `Algorithm.next_actions`.
            n_step: steps between an observation and the next one.
            gamma: discount of the rewards on the way, and of how far ahead goals are drawn.
            goal_mix: where goals come from; None: they are those of the trajectories.
            progress: puts weights by the progress of scores in the place of rewards, for RA-BC.
            **choices: as the method `view` takes them, instead of a view.

        Raises:
            StoreError: nothing to sample.
            RunError: no such split; a view and choices.
        """
        if view is not None and choices:
            raise RunError(f"replay: expected a view or {', '.join(choices)}, got both")
        view = self.view(**choices) if view is None else view
        split = choice(Split, "--split", split)
        frames = self.frames(view, cache) if frames is None else frames
        kinds = [k for k in Kind if view.weights.get(k, 1.0) > 0]
        rows = self.rows(split, kinds)
        if not rows.num_rows:
            raise StoreError(
                f"{self.store.location}/{self.manifest.table}: no trajectory of kind "
                f"{', '.join(kinds) or 'any (every weight is 0)'} in the {split} split; it has "
                + ", ".join(f"{count} {name}" for name, count in self.manifest.counts.items())
                + "; `vlm-relabel build-goals` says how it is cut (--validation, --test, --kind)"
            )
        actions = self.actions(view)
        trajectories = self.trajectories(rows, frames, view)
        _check_frames(frames, rows, trajectories)
        if next_actions:
            cut = self._into_filler(rows, frames)
            if (trajectories.count == cut).all():
                raise StoreError(
                    f"{self.store.location}/{self.manifest.table}: every trajectory of the {split} "
                    "split is one transition into a final observation, where no action was taken; "
                    "an algorithm that learns from next actions has nothing to learn from"
                )
            trajectories = trajectories.without_last(cut)
        positives = None
        if view.positive_share:
            positives = reached(self.store, self.manifest, trajectories)
        hindsight = self._achieved(rows, trajectories, frames, view, goal_mix, cache)
        if progress is not None:
            last = frames.ends(rows.column(fields.EPISODE_ID))
            weights = progress.weights(self.store, self.manifest, trajectories, last)
            trajectories = replace(trajectories, rewards=weights)
        return GoalConditionedReplayBuffer(
            frames.values,
            actions.values,
            trajectories,
            self.goal_table(view.goals),
            action_size=actions.size,
            seed=seed,
            positive_share=view.positive_share,
            positives=positives,
            n_step=n_step,
            gamma=gamma,
            hindsight=hindsight,
        )

    def _achieved(
        self,
        rows: pa.Table,
        trajectories: Trajectories,
        frames: FrameTable,
        view: View,
        mix: GoalMix | None,
        cache: str | os.PathLike[str] | None,
    ) -> AchievedGoals | None:
        if mix is None:
            return None
        if view.goals is not GoalEncoding.TEXT:
            raise StoreError(
                f"--goal-mix: frames become goals in the space of text embeddings, got "
                f"--goal-encoding {view.goals}; take text"
            )
        folder = None if cache is None else Path(cache)
        return achieved_goals(
            self.store, self.manifest, self.basis, rows, trajectories, frames, mix, folder
        )

    def _into_filler(self, rows: pa.Table, frames: FrameTable) -> NDArray[np.bool_]:
        """(R,) whether a row's last transition is followed by an action that means nothing."""
        if self.store.manifest.last_step is LastStep.CARRIES_ACTION:
            return np.zeros(rows.num_rows, bool)
        ids = rows.column(fields.EPISODE_ID).to_pylist()
        at_end = rows.column(STOP).to_numpy() == [frames.length(i) - 1 for i in ids]
        into: NDArray[np.bool_] = at_end & ~rows.column(TERMINAL).to_numpy()
        return into

    @property
    def reward_range(self) -> tuple[float, float]:
        """The least and greatest reward that a transition can have, or has in the data."""
        step = float(self.manifest.options.step_reward)
        if self.binary:
            return step, 1.0 + step
        if self.basis.rewards is not None:
            return self.basis.rewards.reward_range
        found = pc.min_max(self.table.column(REWARDS).combine_chunks().flatten())
        return float(found["min"].as_py()), float(found["max"].as_py())

    @property
    def binary(self) -> bool:
        """Whether a transition has one of two rewards, the greater for a success."""
        return self.basis.binary

    def best_return(self) -> float:
        """The highest undiscounted sum of rewards of a trajectory of the training split."""
        rows = self.rows(Split.TRAIN).column(REWARDS).to_pylist()
        return max((float(np.sum(rewards)) for rewards in rows), default=0.0)


def _check_frames(frames: FrameTable, rows: pa.Table, trajectories: Trajectories) -> None:
    """Refuses observations that are not finite, among those that an agent would be shown.

    A frame that could not be decoded has no embedding; its rewards are missing too, but a
    trajectory may begin with such a frame.
    """
    missing = np.append(0, np.cumsum(~frames.finite))
    stop = trajectories.first + trajectories.count + ~trajectories.terminal
    bad = np.flatnonzero(missing[stop] > missing[trajectories.first])
    if len(bad):
        ids = sorted({rows.column(fields.EPISODE_ID)[int(row)].as_py() for row in bad})
        names = " ".join(f"--episode '!{i}'" for i in ids[:3])
        raise StoreError(
            f"{', '.join(frames.columns)}: not finite, or missing since a frame could not be "
            f"decoded, in {len(bad)} trajectories of {len(ids)} episodes (such as {ids[0]}); build "
            f"the dataset again without them: {names}{' …' if len(ids) > 3 else ''}"
        )
