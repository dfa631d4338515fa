"""Rollouts of an agent in a Gymnasium environment, goal by goal, against the truth.

The environment is goal-conditioned by its reset options and speaks of its own truth:

    observation, info = env.reset(seed=…, options={"goal": "lift-red-ball"})
    observation       dict; `observation.state` of the store is its key "state"; or one vector,
                      if the store has it as `observation`
    reward            true reward of the commanded goal; above 0 means reached
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_rl.policies import DrawingPolicy, EpisodePolicy, Floats, Mind, Policy
from offline_rl.run_files import writing
from schemas import fields
from schemas.disks import unwritable
from schemas.errors import RunError

Frame = NDArray[np.uint8]
ScoreEpisode = Callable[[Sequence[Frame], str], float]  # frames and goal id → return by the VLM
EmbedFrames = Callable[[Sequence[Frame]], Floats]  # frames → (N, D)


@dataclass(frozen=True)
class EpisodeResult:
    """One rollout."""

    goal: str
    seed: int
    success: bool  # by the environment's truth
    true_return: float
    vlm_return: float | None  # None: no encoder was given
    length: int
    frames: tuple[Frame, ...] = field(default=(), repr=False, compare=False)
    # Last steps in which the policy saw nothing that it had not seen before in the episode, to the
    # bit: it goes around in circles. Noise, and an encoder's rounding, hide them.
    stale: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Observer:
    """Turns an environment's observations into what the agent was trained on."""

    columns: tuple[str, ...]  # "observation.state", "embedding:…"
    goals: dict[str, Floats] | None  # vector by goal id; None: no goal conditioning
    camera: str = "image"  # key of the frame in the observation
    embed: EmbedFrames | None = None  # for embedding columns

    def __call__(self, observations: Sequence[dict[str, Any]], goals: Sequence[str]) -> Floats:
        """(N, D) float32."""
        parts = [self._column(name, observations) for name in self.columns]
        if self.goals is not None:
            parts.append(np.stack([self.goals[goal] for goal in goals]))
        return np.concatenate(parts, axis=1).astype(np.float32)

    def frame(self, observation: dict[str, Any]) -> Frame:
        """What the camera shows."""
        shown: Frame = _lookup(observation, self.camera)
        return shown

    def _column(self, name: str, observations: Sequence[dict[str, Any]]) -> Floats:
        if name.startswith("embedding:"):
            if self.embed is None:
                raise RunError(f"the agent sees {name}: give its encoder with --encoder")
            return self.embed([self.frame(observation) for observation in observations])
        values = [np.ravel(_lookup(observation, name)) for observation in observations]
        return np.stack(values).astype(np.float32)


def _lookup(observation: Any, name: str) -> Any:
    value = observation
    if name == fields.OBSERVATION and not isinstance(observation, Mapping):
        return value  # one vector, as the source has it
    for key in name.removeprefix("observation.").split("."):
        if not isinstance(value, Mapping) or key not in value:
            found = ", ".join(value) if isinstance(value, Mapping) else type(value).__name__
            raise RunError(f"the environment's observations have no {name!r}, only {found}")
        value = value[key]
    return value


_ROOMS_PER_GOAL: Final = 1000  # seeds between the first rooms of two goals, unless more are needed


def roll_out(
    policy: Policy,
    make_env: Callable[[], Any],
    observer: Observer,
    goals: Sequence[str],
    *,
    episodes: int,
    seed: int,
    parallel: int = 16,
    score: ScoreEpisode | None = None,
    keep_frames: int = 0,
    max_steps: int = 1000,
) -> list[EpisodeResult]:
    """Rolls out `episodes` episodes per goal, each in a room of its own.

    Args:
        policy: a `BatchPolicy` or `DrawingPolicy` is asked for the actions of all live episodes
            at once.
        make_env: makes an environment.
        observer: of the policy.
        goals: ids.
        episodes: per goal.
        seed: of the first room. The room of an episode depends on this, on the place of its goal
            among `goals` and on its number; not on the policy.
        parallel: environments stepped together, for larger batches.
        score: return by the VLM of an episode's frames; None leaves it out.
        keep_frames: of the first so many episodes, for pictures.
        max_steps: an episode is cut there if the environment does not end it.
    """
    apart = max(episodes, _ROOMS_PER_GOAL)
    tasks = [
        (goal, seed + apart * place + number)
        for place, goal in enumerate(goals)
        for number in range(episodes)
    ]
    envs = [make_env() for _ in range(min(parallel, len(tasks)))]
    runner = _Runner(policy, observer, score, max_steps, keep_frames)
    waiting = list(enumerate(tasks))[::-1]
    try:
        live = [runner.start(env, *waiting.pop()) for env in envs]
        while live:
            runner.step(live)
            ended = [episode.env for episode in live if episode.done]
            live = [episode for episode in live if not episode.done]
            live += [runner.start(env, *waiting.pop()) for env in ended[: len(waiting)]]
    finally:
        for env in envs:
            env.close()
    return [runner.results[place] for place in range(len(tasks))]


@dataclass
class _Live:
    env: Any
    place: int
    goal: str
    seed: int
    observation: dict[str, Any]
    frames: list[Frame]
    mind: Mind | None  # of an `EpisodePolicy`
    chance: np.random.Generator | None  # of a `DrawingPolicy`
    reward: float | None = None  # of the last step
    total: float = 0.0
    success: bool = False
    length: int = 0
    done: bool = False
    seen: set[bytes] = field(default_factory=set)
    stale: int = 0


class _Runner:
    """Steps several environments together and finishes episodes as they end."""

    def __init__(
        self,
        policy: Policy,
        observer: Observer,
        score: ScoreEpisode | None,
        max_steps: int,
        keep_frames: int,
    ) -> None:
        self._policy = policy
        self._observer = observer
        self._score = score
        self._max_steps = max_steps
        self._keep_frames = keep_frames
        self.results: dict[int, EpisodeResult] = {}

    def start(self, env: Any, place: int, task: tuple[str, int]) -> _Live:
        goal, seed = task
        observation, _ = env.reset(seed=seed, options={"goal": goal})
        frames = [self._observer.frame(observation)] if self._wants_frames(place) else []
        mind = self._policy.begin(seed) if isinstance(self._policy, EpisodePolicy) else None
        chance = self._policy.chance(seed) if isinstance(self._policy, DrawingPolicy) else None
        return _Live(env, place, goal, seed, observation, frames, mind, chance)

    def _wants_frames(self, place: int) -> bool:
        return self._score is not None or place < self._keep_frames

    def step(self, live: Sequence[_Live]) -> None:
        batch = self._observer([e.observation for e in live], [e.goal for e in live])
        for episode, x, action in zip(live, batch, self._actions(live, batch), strict=True):
            sight = hashlib.blake2b(x.tobytes(), digest_size=16).digest()
            episode.stale = episode.stale + 1 if sight in episode.seen else 0
            episode.seen.add(sight)
            episode.observation, reward, terminated, truncated, _ = episode.env.step(action)
            episode.reward = float(reward)
            episode.total += float(reward)
            episode.success |= reward > 0
            episode.length += 1
            if self._wants_frames(episode.place):
                episode.frames.append(self._observer.frame(episode.observation))
            if terminated or truncated or episode.length >= self._max_steps:
                self._finish(episode)

    def _actions(self, live: Sequence[_Live], batch: Floats) -> Iterable[Any]:
        if isinstance(self._policy, EpisodePolicy):
            known = ((e.mind, e.reward) for e in live if e.mind is not None)
            return [mind.predict(x, r) for x, (mind, r) in zip(batch, known, strict=True)]
        if isinstance(self._policy, DrawingPolicy):
            return self._policy.draw(batch, [e.chance for e in live if e.chance is not None])
        acts: Iterable[Any] = self._policy.predict(batch)
        return acts

    def _finish(self, episode: _Live) -> None:
        episode.done = True
        kept = episode.frames if episode.place < self._keep_frames else []
        self.results[episode.place] = EpisodeResult(
            goal=episode.goal,
            seed=episode.seed,
            success=episode.success,
            true_return=episode.total,
            vlm_return=self._score(episode.frames, episode.goal) if self._score else None,
            length=episode.length,
            frames=tuple(kept),
            stale=episode.stale,
        )


def write_gif(results: Sequence[EpisodeResult], path: Path, *, frame_ms: int = 150) -> None:
    """The kept frames of some rollouts, one episode after the other, as an animation.

    Raises:
        RunError: no rollout kept its frames, or there can be no GIF at `path`.
    """
    check_gif(path)
    frames = [Image.fromarray(frame) for result in results for frame in result.frames]
    if not frames:
        raise RunError("no rollout kept its frames; roll out with keep_frames")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            path,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=frame_ms,
            loop=0,
        )


def check_gif(path: Path, name: str = "") -> None:
    """Refuses a file that no GIF can be written to; writes nothing.

    Args:
        path: of the file; its folder need not be there.
        name: option it was given by, for error texts, such as `--gif `.

    Raises:
        RunError: says why.
    """
    if path.suffix.lower() != ".gif":
        raise RunError(f"{name}{path}: expected a file name that ends in .gif")
    if path.is_dir():
        raise RunError(f"{name}{path}: expected a file, got a folder; name a file in it")
    if path.exists() and os.access(path, os.W_OK):
        return
    if (why := unwritable(path.parent)) is not None or path.exists():
        raise RunError(f"{name}{path}: {why or 'it cannot be written to'}; name another place")
