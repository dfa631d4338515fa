"""Behaviour data of a domain, its store, and goal datasets made of rewards of many kinds.

Below the folder `--work`::

    sources/<domain>/1.0.0       episodes as RLDS
    stores/<domain>.store        their rewards, by encoder, and goal datasets of the same names
    runs/<domain>/<agent>-<seed> what `vlm-relabel train` writes

Scores of an encoder become rewards in five ways:

- `middle`: above 0.5, which `vlm-relabel relabel` takes unless it is told another threshold;
- `middle-strict`: above 0.95, which the demo takes;
- `middle-calibrated`: by a threshold for each goal, which `vlm-relabel calibrate` finds of few
  labels; what `vlm-relabel label` asks for each goal, answered by the truth;
- `middle-f1`: by the threshold of the best F1 over labels, more of each goal;
- `middle-head`: above 0.5, when a head has corrected them that learned from few labels as well:
  frames of both answers, as `examples.playroom.trust_heads` draws them.

A goal dataset has the goals that encoders were trained on, and beside it lies NAME.true, of the
truth. Both are cut by the same rule: a trajectory ends with its first success.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import vlm_relabel
from examples.figures import encoders
from examples.figures.domains import PHONE, PLAYROOM, Bools, Domain, encoder_path
from examples.figures.runs import say
from examples.figures.work import Work
from examples.playroom.trust_heads import NO, YES, add_head, head_labels, score_again
from schemas import fields
from schemas.labels import Labels
from schemas.store import Store
from schemas.tables import matrix

TRUTH: Final = "truth"  # column of the steps table
STRICT, CALIBRATED, BEST_F1, HEADED = "strict", "calibrated", "f1", "head"
WAYS: Final[Mapping[str, Mapping[str, Any]]] = {  # labels are of each goal
    STRICT: {"threshold": 0.95},
    CALIBRATED: {"method": "platt", "labels": 8},
    BEST_F1: {"method": "best-f1", "labels": 16},
    HEADED: {"head": "auto", "yes": YES, "no": NO},
}
LABEL_SEED: Final = 3
_CALIBRATION_DRAWS: Final = 20  # for intervals that nobody looks at here


@dataclass(frozen=True)
class Behaviour:
    """Episodes that are collected for the agents of a domain."""

    episodes: int
    seed: int
    discount: float


BEHAVIOUR: Final = {
    PLAYROOM.name: Behaviour(episodes=1200, seed=21, discount=0.9),
    PHONE.name: Behaviour(episodes=3000, seed=11, discount=0.9),
}
_QUICK_EPISODES: Final = 12
_QUICK_THRESHOLD: Final = 0.01  # an encoder of a few steps is sure of nothing


def behaviour_of(work: Work, domain: Domain) -> Behaviour:
    """What is collected; a few episodes where everything is quick."""
    full = BEHAVIOUR[domain.name]
    if not work.effort.is_quick:
        return full
    return Behaviour(_QUICK_EPISODES, full.seed, full.discount)


def store_of(work: Work, domain: Domain) -> Path:
    """Where a domain's store lies."""
    return work.folder / "stores" / f"{domain.name}.store"


def way_of(work: Work, rewards: str) -> dict[str, Mapping[str, Any]]:
    """How scores become rewards, for records; nothing where the default does."""
    way = rewards.partition("-")[2]
    if way == STRICT and work.effort.is_quick:
        return {"way": {"threshold": _QUICK_THRESHOLD}}
    return {"way": WAYS[way]} if way else {}


def dataset(work: Work, domain: Domain, rewards: str) -> bool:
    """Makes a goal dataset and all that it needs, unless it is there.

    Args:
        work: where, and how much.
        domain: whose episodes.
        rewards: a size of encoder, and how its scores become rewards if not as always:
            `middle-calibrated`.

    Returns:
        Whether there is one: without any reward there is nothing to learn from.
    """
    with _locked(work, domain):
        _reward_set(work, domain, rewards)
        if not _given(work, domain, rewards)[0].any():
            return False
        store = Store.open(str(store_of(work, domain)), trust=True)
        if not store.is_complete(f"goal_datasets/{rewards}"):
            goals = zip(domain.goals.goals, domain.seen, strict=True)
            vlm_relabel.build_goals(
                store=store_of(work, domain),
                rewards=rewards,
                name=rewards,
                goal=[goal.id for goal, seen in goals if seen],
                truth=TRUTH,
                discount=behaviour_of(work, domain).discount,
            )
    return True


def _reward_set(work: Work, domain: Domain, rewards: str) -> None:
    location = store_of(work, domain)
    if location.exists() and Store.open(str(location), trust=True).is_complete(
        f"rewards/{rewards}"
    ):
        return
    size, _, way = rewards.partition("-")
    if not way:
        _relabel(work, domain, size)
        return
    _reward_set(work, domain, size)
    if way == STRICT:
        score_again(str(location), size, rewards, **way_of(work, rewards)["way"])
    elif way in (CALIBRATED, BEST_F1):
        vlm_relabel.calibrate(
            store=location,
            rewards=size,
            name=rewards,
            labels=_asked_labels(location, size, WAYS[way]["labels"]),
            method=WAYS[way]["method"],
            draws=_CALIBRATION_DRAWS,
        )
    else:
        labels = _drawn_labels(Store.open(str(location), trust=True), size)
        add_head(str(location), size, rewards, labels)


def _relabel(work: Work, domain: Domain, size: str) -> None:
    asked = behaviour_of(work, domain)
    source = work.folder / "sources" / domain.name / "1.0.0"
    if not (source / "dataset_info.json").exists():
        say(f"collecting {asked.episodes} episodes of {domain.name}")
        domain.collect(source, asked.episodes, asked.seed)
    encoders.trained(work, domain, size, seed=0)
    say(f"relabeling {domain.name} with {size}")
    vlm_relabel.relabel(
        source=source,
        camera="image",
        encoder=f"local-dir:{encoder_path(work.folder, domain.name, size, 0)}",
        goals=str(domain.goals_file),
        store=store_of(work, domain),
        name=size,
        threshold=_QUICK_THRESHOLD if work.effort.is_quick else None,
        threads=work.threads,
    )


def _asked_labels(location: Path, rewards: str, budget: int) -> Labels:
    """What `vlm-relabel label` asks for each goal, answered by the truth."""
    store = Store.open(str(location), trust=True)
    steps = store.read("steps", [fields.EPISODE_ID, fields.STEP, TRUTH])
    ids, numbers = (steps.column(name).to_pylist() for name in (fields.EPISODE_ID, fields.STEP))
    row_of = {frame: row for row, frame in enumerate(zip(ids, numbers, strict=True))}
    truth = matrix(steps.column(TRUTH)).astype(bool)
    goals = store.goals(rewards, [fields.GOAL_ID]).column(fields.GOAL_ID).to_pylist()
    asked = vlm_relabel.label(
        store=location, rewards=rewards, budget=budget, seed=LABEL_SEED, dry_run=True
    )
    found = [truth[row_of[one.episode_id, one.step]] for one in asked.questions]
    return Labels.of_rows(
        (one.episode_id, one.step, one.goal_id, bool(holds[goals.index(one.goal_id)]))
        for one, holds in zip(asked.questions, found, strict=True)
    )


def _drawn_labels(store: Store, rewards: str) -> Labels:
    """Four frames of each goal that show it, and eight that do not."""
    episodes = store.read("episodes", [fields.EPISODE_ID]).column(fields.EPISODE_ID)
    return head_labels(store, rewards, episodes.to_pylist(), LABEL_SEED)


@contextmanager
def _locked(work: Work, domain: Domain) -> Iterator[None]:
    """One process at a time makes a domain's tables."""
    import fcntl

    path = work.folder / "stores" / f".{domain.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def agreement(work: Work, domain: Domain, rewards: str) -> dict[str, float]:
    """How the rewards of a set agree with the truth, over transitions and seen goals.

    Returns:
        precision: share of the rewarded transitions of a goal after which it holds, mean over
            goals with any reward; recall: share of the transitions after which it holds that are
            rewarded; goals: how many have any reward; unseen: of the wrong rewards, the share
            after which a goal of the same family holds that encoders were not trained on, beside
            its share in what could be rewarded wrongly (NaN if they were trained on all).
    """
    given, held = _given(work, domain, rewards)
    wrong, unseen = given & ~held[:, domain.seen], held & ~domain.seen
    families = np.array(domain.families)
    beside = np.stack([unseen[:, families == own].any(axis=1) for own in families[domain.seen]], 1)
    held = held[:, domain.seen]
    both = (given & held).sum(axis=0)
    with np.errstate(invalid="ignore"):
        precision, recall = both / given.sum(axis=0), both / held.sum(axis=0)
    return {
        "precision": float(np.nanmean(precision)) if given.any() else float("nan"),
        "recall": float(np.nanmean(recall)),
        "goals": int(given.any(axis=0).sum()),
        "unseen": _share(beside, wrong) if unseen.any() else float("nan"),
        "unseen, of all": _share(beside, ~held) if unseen.any() else float("nan"),
    }


def _share(some: Bools, those: Bools) -> float:
    return float((some & those).sum() / those.sum()) if those.any() else float("nan")


def _given(work: Work, domain: Domain, rewards: str) -> tuple[Bools, Bools]:
    """Whether each transition is rewarded, by seen goal, and which of all goals then hold."""
    store = Store.open(str(store_of(work, domain)), trust=True)
    truth = matrix(store.read("steps", [TRUTH]).column(TRUTH)).astype(bool)
    column = store.read(f"rewards/{rewards}", [fields.REWARD]).column(fields.REWARD)
    last = store.read("steps", [fields.IS_LAST]).column(fields.IS_LAST).to_numpy()
    # The reward of an action looks at the frame that follows it.
    return matrix(column)[:, domain.seen][~last] > 0.5, truth[1:][~last[:-1]]
