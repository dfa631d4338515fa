"""What a domain gives to the figures: encoders' sizes, what they learn from, and trajectories.

Below the folder `--work` lies what is too heavy for records::

    encoders/<domain>-<size>-<seed>              a local-dir: model
    encoders/<domain>-<size>-<seed>-templates    with the templates of figure 5 in its captions
    encoders/<domain>-<size>-<seed>-long         of more steps, where those of figure 4 are few

`encoder_path` names them. Nothing else may write there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from PIL import Image

from examples.clip.model import Size
from examples.clip.training import Captioned
from examples.phone import train_encoder as phone_encoder
from examples.phone.goals_file import GOALS_YAML
from examples.phone.phone import make_env as make_phone
from examples.playroom import hard
from examples.playroom.collect import collect as collect_rooms
from examples.playroom.collect import episode_seeds
from examples.playroom.collect import episodes as play_rooms
from examples.playroom.goals import HARD
from examples.playroom.goals_file import HARD_GOALS_YAML
from examples.playroom.room import make_env as make_room
from schemas.goals import GoalSet

Bools = npt.NDArray[np.bool_]
Episode = dict[str, Any]  # in RLDS form

HELD_OUT_SPLIT: Final = "held-out"  # its episodes are no other split's
WITH_TEMPLATES: Final = "templates"
LONG: Final = "long"


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N frames of E whole episodes, one after the other, and what is true of each."""

    pixels: npt.NDArray[np.uint8]  # (N, S, S, 3)
    truth: npt.NDArray[np.uint8]  # (N, G)
    lengths: npt.NDArray[np.int64]  # (E,)
    known_look: Bools  # (E,) the kind of room is one that encoders are trained on

    @cached_property
    def episode(self) -> npt.NDArray[np.int64]:
        """(N,) place of each frame's episode."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def step(self) -> npt.NDArray[np.int64]:
        """(N,) from the start of the episode."""
        return np.concatenate([np.arange(length) for length in self.lengths])


@dataclass(frozen=True)
class Learning:
    """How every encoder of a domain learns, whatever its size."""

    steps: int
    views: int  # frames drawn, once for all sizes of a seed
    learning_rate: float
    batch: int = 128


@dataclass(frozen=True)
class Part:
    """A part of what encoders are measured on."""

    title: str
    looks: Literal["known", "new", "all"]  # of rooms
    goals: Literal["seen", "unseen", "all"]  # combinations that are in the captions, or not


@dataclass(frozen=True, eq=False)
class Domain:
    """A simulated world in which the truth of every goal is known."""

    name: str
    title: str
    sizes: Mapping[str, Size]  # of encoders, smallest first
    learning: Learning
    longer: Learning | None  # also, to see whether size still matters; of the first seed only
    goals_file: Path
    seen: Bools  # (G,) encoders are trained on captions of the goal
    parts: Mapping[str, Part]  # what figures tell apart; the first is what encoders are judged by
    captioned: Callable[[int, int], Captioned]  # views, seed
    play: Callable[[int], Iterator[tuple[Episode, bool]]]  # seed → held-out episodes, known look?
    collect: Callable[[Path, int, int], None]  # folder, episodes, seed: writes an RLDS dataset
    make_env: Callable[..., gymnasium.Env[Any, Any]]  # for rollouts
    observation: str  # column of a store that agents see

    @cached_property
    def goals(self) -> GoalSet:
        """In the order of every (G,) array."""
        return GoalSet.from_yaml(self.goals_file.read_text(encoding="utf-8"))

    @property
    def families(self) -> tuple[str, ...]:
        """(G,)."""
        return tuple(goal.family for goal in self.goals.goals)

    def trajectories(self, episodes: int, seed: int = 0) -> Trajectories:
        """Plays held-out episodes with the mixed behaviour policy; of each look equally many.

        Args:
            episodes: E, of all looks together.
            seed: of the episodes; none of them is in any collected dataset.
        """
        looks = {part.looks for part in self.parts.values()} - {"all"}
        each = episodes // len(looks)
        kept: dict[bool, list[Episode]] = {look == "known": [] for look in looks}
        for episode, known in self.play(seed):
            if len(kept[known]) < each:
                kept[known].append(episode)
            if all(len(own) == each for own in kept.values()):
                return _joined(kept)
        raise AssertionError("episodes never end")

    def rows(self, part: Part, trajectories: Trajectories) -> Bools:
        """(N,) which frames a part is measured on."""
        known = trajectories.known_look[trajectories.episode]
        return {"known": known, "new": ~known, "all": np.ones_like(known)}[part.looks]

    def columns(self, part: Part) -> Bools:
        """(G,) which goals a part is measured on."""
        own = {"seen": self.seen, "unseen": ~self.seen, "all": np.ones_like(self.seen)}
        return own[part.goals]


def encoder_path(work: Path, domain: str, size: str, seed: int, variant: str = "") -> Path:
    """Where an encoder lies, or will lie.

    Args:
        work: the folder `--work`.
        domain: its name.
        size: one of the domain's.
        seed: of the training.
        variant: `WITH_TEMPLATES`, `LONG`, or none: of figure 4.
    """
    return work / "encoders" / "-".join([domain, size, str(seed), *([variant] * bool(variant))])


def _joined(kept: Mapping[bool, list[Episode]]) -> Trajectories:
    episodes = [(episode, known) for known, own in kept.items() for episode in own]
    steps = [step for episode, _ in episodes for step in episode["steps"]]
    return Trajectories(
        np.stack([_decoded(step["observation"]["image"]) for step in steps]),
        np.stack([step["truth"] for step in steps]),
        np.array([len(episode["steps"]) for episode, _ in episodes], np.int64),
        np.array([known for _, known in episodes]),
    )


def _decoded(png: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(png)).convert("RGB"))


# --- the hard playroom ----------------------------------------------------------------------------

_MANY: Final = 1 << 20  # episodes, more than anybody asks for


def _play_rooms(seed: int) -> Iterator[tuple[Episode, bool]]:
    for episode in play_rooms(episode_seeds(seed, HELD_OUT_SPLIT, _MANY), world=HARD):
        yield episode, not episode["steps"][0]["held_out"]


def _collect_rooms(out: Path, episodes: int, seed: int) -> None:
    collect_rooms(
        out, count=episodes, seed=seed, split="train", shards=min(2, episodes),
        mixture="free-play", world=HARD,
    )  # fmt: skip


def _make_room(**settings: Any) -> gymnasium.Env[Any, Any]:
    return make_room(**{"world": HARD, "things": 7, **settings})


PLAYROOM: Final = Domain(
    name="playroom",
    title="Hard playroom",
    sizes=hard.SIZES,
    learning=Learning(steps=1500, views=30_000, learning_rate=2e-3),
    longer=None,
    goals_file=HARD_GOALS_YAML,
    seen=np.array([hard.is_seen(goal) for goal in HARD.goals]),
    parts={
        "new-rooms": Part("held-out rooms, seen combinations", "new", "seen"),
        "known-rooms": Part("known kinds of rooms, seen combinations", "known", "seen"),
        "unseen": Part("held-out rooms, unseen combinations", "new", "unseen"),
        "held-out": Part("held-out rooms, all goals", "new", "all"),
    },
    captioned=hard.captioned,
    play=_play_rooms,
    collect=_collect_rooms,
    make_env=_make_room,
    observation="observation.things",
)


# --- the phone ------------------------------------------------------------------------------------


def _play_phones(seed: int) -> Iterator[tuple[Episode, bool]]:
    from examples.phone.collect import episodes  # brings TensorFlow, which nothing else here needs

    for episode in episodes(_MANY, seed, HELD_OUT_SPLIT):
        yield episode, False


def _collect_phones(out: Path, episodes: int, seed: int) -> None:
    from examples.phone.collect import collect

    collect(out, count=episodes, seed=seed, shards=min(4, episodes))


PHONE: Final = Domain(
    name="phone",
    title="Phone",
    sizes=phone_encoder.SIZES,
    learning=Learning(steps=100, views=10_000, learning_rate=3e-3),
    longer=Learning(steps=500, views=20_000, learning_rate=3e-3),
    goals_file=GOALS_YAML,
    seen=np.ones(20, bool),
    parts={"new-phones": Part("other phones than those of the training", "new", "all")},
    captioned=phone_encoder.captioned,
    play=_play_phones,
    collect=_collect_phones,
    make_env=make_phone,
    observation="observation.state",
)

DOMAINS: Final = {domain.name: domain for domain in (PHONE, PLAYROOM)}
"""By name, the quicker one first."""
