"""Rewards for any goal in words, on stored trajectories: what people do, in one place.

Importing this loads next to nothing else. Each name is imported when it is first used.

Example:
    >>> import vlm_relabel
    >>> store = vlm_relabel.open_store("my.store")
    >>> store.rewards("v1").shape
    (90, 3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vlm_relabel.rooms import pin

if TYPE_CHECKING:
    from offline_rl.dataset import GoalDataset
    from vlm_relabel.agents import TrainReport, evaluate, export_agent, train
    from vlm_relabel.audits import audit
    from vlm_relabel.calibration import calibrate
    from vlm_relabel.checks import VerifyReport, inspect, verify
    from vlm_relabel.comparisons import compare
    from vlm_relabel.jobs import build_goals, embed, finish, relabel, score
    from vlm_relabel.labelling.questions import LabelReport, label
    from vlm_relabel.planning import plan
    from vlm_relabel.reports import PageReport, report
    from vlm_relabel.reward_model import RewardModel
    from vlm_relabel.stores import EpisodeRewards, OpenedStore, open_store

    __version__: str

_ROOMS: Final = {  # where each name is
    "EpisodeRewards": "vlm_relabel.stores",
    "GoalDataset": "offline_rl.dataset",
    "LabelReport": "vlm_relabel.labelling.questions",
    "OpenedStore": "vlm_relabel.stores",
    "PageReport": "vlm_relabel.reports",
    "RewardModel": "vlm_relabel.reward_model",
    "TrainReport": "vlm_relabel.agents",
    "VerifyReport": "vlm_relabel.checks",
    "audit": "vlm_relabel.audits",
    "build_goals": "vlm_relabel.jobs",
    "calibrate": "vlm_relabel.calibration",
    "compare": "vlm_relabel.comparisons",
    "embed": "vlm_relabel.jobs",
    "evaluate": "vlm_relabel.agents",
    "export_agent": "vlm_relabel.agents",
    "finish": "vlm_relabel.jobs",
    "inspect": "vlm_relabel.checks",
    "label": "vlm_relabel.labelling.questions",
    "open_store": "vlm_relabel.stores",
    "plan": "vlm_relabel.planning",
    "relabel": "vlm_relabel.jobs",
    "report": "vlm_relabel.reports",
    "score": "vlm_relabel.jobs",
    "train": "vlm_relabel.agents",
    "verify": "vlm_relabel.checks",
}

_AGENT_ROOMS: Final = ("vlm_relabel.agents", "offline_rl.dataset")

PROBLEM: Final = pin()  # why the packages beside this one cannot be had; None: they can

__all__ = [
    "EpisodeRewards",
    "GoalDataset",
    "LabelReport",
    "OpenedStore",
    "PageReport",
    "RewardModel",
    "TrainReport",
    "VerifyReport",
    "__version__",
    "audit",
    "build_goals",
    "calibrate",
    "compare",
    "embed",
    "evaluate",
    "export_agent",
    "finish",
    "inspect",
    "label",
    "open_store",
    "plan",
    "relabel",
    "report",
    "score",
    "train",
    "verify",
]


if not TYPE_CHECKING:  # so that a name that is not there is found before it runs

    def __getattr__(name: str) -> Any:
        """Imports a name of the front door."""
        if name == "__version__":
            from importlib.metadata import version

            return version("vlm-relabel")
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if PROBLEM is not None:
            raise ImportError(PROBLEM)
        from importlib import import_module

        from schemas.extras import AGENTS, named_extras

        extra = AGENTS if _ROOMS[name] in _AGENT_ROOMS else None
        with named_extras(f"vlm_relabel.{name}", extra):
            found = globals()[name] = getattr(import_module(_ROOMS[name]), name)
        return found


def __dir__() -> list[str]:
    """The names of the front door, before and after they are imported."""
    return sorted({*globals(), *__all__})
