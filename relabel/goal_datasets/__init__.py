"""Rewards to trajectories: what a goal dataset holds."""

from typing import TYPE_CHECKING

from schemas.public import lazily

if TYPE_CHECKING:
    from relabel.goal_datasets.inputs import DatasetInputs as DatasetInputs
    from relabel.goal_datasets.inputs import dataset_inputs as dataset_inputs
    from relabel.goal_datasets.statistics import with_statistics as with_statistics
    from relabel.goal_datasets.trajectories import Outcomes as Outcomes
    from relabel.goal_datasets.trajectories import Trajectory as Trajectory
    from relabel.goal_datasets.trajectories import episode_trajectories as episode_trajectories
    from relabel.goal_datasets.transitions import transition_batches as transition_batches
else:  # out of sight of type checkers, which would take any name for one of these
    __getattr__, __all__ = lazily(
        __name__,
        {
            "DatasetInputs": "relabel.goal_datasets.inputs",
            "Outcomes": "relabel.goal_datasets.trajectories",
            "Trajectory": "relabel.goal_datasets.trajectories",
            "dataset_inputs": "relabel.goal_datasets.inputs",
            "episode_trajectories": "relabel.goal_datasets.trajectories",
            "transition_batches": "relabel.goal_datasets.transitions",
            "with_statistics": "relabel.goal_datasets.statistics",
        },
    )
