"""Few-label heads where no label was given: rows of `examples.playroom.trust`.

Per goal four frames that show it and eight that do not, from the labelled half of the episodes: the
eight are the four highest-scored ones, of different episodes, and four at random. Labels may be of
frames that the encoder was trained on; what is measured may not.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import vlm_relabel
from relabel.evaluation.evidence import GoalFrames, of_field
from schemas import fields
from schemas.labels import Labels
from schemas.store import Store

YES: Final = 4  # labels per goal
NO: Final = 8
TRUTH: Final = "truth"  # column of the steps table


@dataclass(frozen=True)
class Headed:
    """A reward set with a head, and the labels that it learned from."""

    name: str
    labels: Labels
    takes: int  # goals that take the head


@contextmanager
def copied(store: Store) -> Iterator[str]:
    """A copy of a local store, to write reward sets into."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(shutil.copytree(store.location, Path(folder) / "copy.store"))


def head_labels(store: Store, rewards: str, episodes: Sequence[str], seed: int) -> Labels:
    """Labels of some episodes, four frames that show each goal and eight that do not."""
    known = of_field(store, rewards, TRUTH, episodes=episodes)
    rows = []
    for frames in known:
        for place in drawn(frames, seed).tolist():
            episode = known.episode_ids[frames.episode[place]]
            step, label = int(frames.step[place]), bool(frames.label[place])
            rows.append((episode, step, frames.goal_id, label))
    return Labels.of_rows(rows)


def drawn(frames: GoalFrames, seed: int) -> NDArray[np.int64]:
    """Places of a goal's labels, as far as there are frames of both kinds."""
    rng = np.random.default_rng((seed, frames.goal))
    order = rng.permutation(len(frames))
    yes, no = (order[frames.label[order] == wanted] for wanted in (True, False))
    highest = no[np.argsort(-frames.score[no], kind="stable")]
    top = _of_different_episodes(frames, highest)[: NO // 2]
    rest = no[~np.isin(no, top)][: NO - len(top)]
    return np.concatenate([_of_different_episodes(frames, yes)[:YES], top, rest])


def _of_different_episodes(frames: GoalFrames, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first place of each episode, and then the others."""
    _, first = np.unique(frames.episode[places], return_index=True)
    first = np.sort(first)
    return np.concatenate([places[first], np.delete(places, first)])


def with_head(location: str, rewards: str, episodes: Sequence[str], seed: int) -> Headed:
    """Scores a reward set once more, with a head.

    Args:
        location: of a store that may be written to.
        rewards: name of the reward set.
        episodes: ids, that labels may be of.
        seed: of the draw.
    """
    name = f"{rewards}-head-{seed}"
    labels = head_labels(Store.open(location), rewards, episodes, seed)
    add_head(location, rewards, name, labels)
    blends = Store.open(location).goals(name, [fields.HEAD_BLEND]).column(0).to_numpy()
    return Headed(name, labels, int((blends > 0).sum()))


def add_head(location: str, rewards: str, name: str, labels: Labels) -> None:
    """Writes a reward set of the same goals and embeddings, whose scores a head corrects.

    Args:
        location: of a store.
        rewards: name of the reward set that has none.
        name: of the new one.
        labels: that the head learns from.
    """
    score_again(location, rewards, name, head="auto", labels=labels)


def score_again(location: str, rewards: str, name: str, **otherwise: Any) -> None:
    """Writes a reward set of the same goals and embeddings, with other options of `score`.

    Args:
        location: of a store.
        rewards: name of the reward set that is there.
        name: of the new one.
        otherwise: options of `vlm_relabel.score`.
    """
    store = Store.open(location)
    vlm_relabel.score(
        store=location,
        encoder=store.rewards(rewards).encoder.key,
        no_embed=True,
        goals=store.goal_set(rewards),
        name=name,
        **otherwise,
    )
