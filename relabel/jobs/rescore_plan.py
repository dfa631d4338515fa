"""A reward set that is made of another one's scores, decided before any slice is touched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from relabel.jobs.plans import write_goals
from relabel.rewards.base import RewardFunction
from relabel.rewards.head import has_head
from relabel.rewards.scorer import Rewarder
from schemas import fields
from schemas.goals import GoalSet
from schemas.manifests import FORMAT_VERSION, RewardManifest
from schemas.store import GOALS, HEAD, HEAD_LABELS, Store


@dataclass(frozen=True)
class RescorePlan:
    """What is to be written, and the arithmetic that writes it."""

    manifest: RewardManifest
    of: str  # reward set whose scores are taken
    rewarder: Rewarder
    goals: pa.Table  # as resolved, with the thresholds that are used
    goal_set: GoalSet
    notes: tuple[str, ...] = ()  # for people

    def write_goals(self, store: Store) -> RewardManifest:
        """Writes the goals, and the head if there is one; the manifest that lists them."""
        tables = {GOALS: self.goals}
        if has_head(self.rewarder.function):
            tables |= {file: store.beside_rewards(self.of, file) for file in (HEAD, HEAD_LABELS)}
        return write_goals(store, self.manifest, tables, self.goal_set)


def plan_rescoring(
    store: Store,
    of: str,
    name: str,
    function: RewardFunction,
    made_by: dict[str, str],
    command: str | None,
) -> RescorePlan:
    """The plan of a reward set of the same goals, embeddings and frames as another one.

    Args:
        store: holds that one.
        of: its name; complete, and with scores.
        name: of the new one.
        function: from its scores to others, and to rewards.
        made_by: versions and machine.
        command: that makes it.
    """
    base, goal_set = store.rewards(of), store.goal_set(of)
    threshold = function.thresholds(goal_set)
    rewarder = Rewarder(function, base.timing, threshold, base.goals)
    manifest = base.model_copy(
        update={
            "format_version": FORMAT_VERSION,
            "name": name,
            "function": function.model_dump(mode="json"),
            "binary": rewarder.binary,
            "score_range": rewarder.score_range,
            "reward_range": rewarder.reward_range,
            "made_by": made_by,
            "command": command,
            "files": (),
            "dead_letters": 0,
            "figures": None,
        }
    )
    return RescorePlan(manifest, of, rewarder, _goals(store.goals(of), threshold), goal_set)


def _goals(goals: pa.Table, threshold: np.ndarray | None) -> pa.Table:
    """The goals of a reward set, with other thresholds."""
    count = goals.num_rows
    column = (
        pa.nulls(count, pa.float64()) if threshold is None else pa.array(threshold, pa.float64())
    )
    place = goals.column_names.index(fields.THRESHOLD)
    return goals.set_column(place, fields.THRESHOLD, column)
