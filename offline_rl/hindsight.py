"""Goals that were achieved: a frame's embedding in the place of a text's, as in OGBench.

    frame       o_t ──a_t──▶ o_{t+1} … o_h … o_last          h: the frame that is the goal
    looked at   o_{t+lag} decides whether a_t reaches: lag 1 for NEXT_FRAME, 0 for SAME_FRAME
    reached     by a_{h-lag}, which ends the task; what a recorded episode was for does not matter

Texts and frames are embedded by one encoder, so both kinds of goal lie in one space
(Park et al. 2024, arXiv 2410.20092, Section 4.3; Andrychowicz et al. 2017, arXiv 1707.01495).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from offline_rl.outcomes import Floats, Ints, StepsAhead
from schemas.errors import AlgorithmError

_LANGUAGE: Final = -1  # in the place of a frame
_SLACK: Final = 1e-6  # by which shares may miss 1


@dataclass(frozen=True)
class GoalMix:
    """Shares of a batch by where its goals come from; together 1."""

    language: float = 0.0  # the goal of the trajectory, with its rewards
    current: float = 0.0  # the frame that the transition's reward looks at
    trajectory: float = 0.0  # a later frame of the same episode
    random: float = 0.0  # a frame of any trajectory

    @property
    def achieved(self) -> float:
        """Share of goals that are frames."""
        return self.current + self.trajectory + self.random

    @property
    def for_policy(self) -> GoalMix:
        """For cloning with weights: to where a trajectory leads, never to where it does not."""
        return GoalMix(language=self.language, trajectory=self.achieved)


def goal_mix(given: Mapping[str, Any]) -> GoalMix | None:
    """Shares as asked for; what is left is language. None: nothing but language.

    Raises:
        AlgorithmError: no such source of goals, or no shares.
    """
    known = [f.name for f in fields(GoalMix)]
    if unknown := sorted(set(given) - set(known)):
        raise AlgorithmError(
            f"--goal-mix: unknown {', '.join(unknown)}; the known ones are {', '.join(known)}"
        )
    wrong = [f"{name}={share!r}" for name, share in given.items() if not _is_share(share)]
    if wrong:
        raise AlgorithmError(f"--goal-mix {', '.join(wrong)}: expected a share in [0, 1]")
    shares = {name: float(share) for name, share in given.items()}
    total = sum(shares.values())
    if total > 1 + _SLACK or ("language" in shares and total < 1 - _SLACK):
        told = ", ".join(f"{name}={share:g}" for name, share in shares.items())
        raise AlgorithmError(
            f"--goal-mix {told}: expected shares that are 1 together, got {total:g}; without "
            "language, it is what the others leave"
        )
    mix = GoalMix(**{"language": max(0.0, 1 - total), **shares})
    return mix if mix.achieved else None


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


@dataclass(frozen=True)
class AchievedGoals:
    """The frames of R trajectories as goals."""

    embeddings: Floats  # (F, E) as texts are embedded
    last: Ints  # (R,) last frame of the episode of each trajectory
    lag: int  # 1 or 0, see above
    reached: float  # reward of the transition that reaches
    missed: float  # of any other
    mix: GoalMix

    def draw(
        self,
        rng: np.random.Generator,
        mix: GoalMix,
        row: Ints,
        frame: Ints,
        others: tuple[Ints, Ints],
        gamma: float | None,
    ) -> Ints:
        """(B,) frames that are goals; -1 where the goal stays language.

        Args:
            rng: draws them.
            mix: where they come from.
            row: (B,) trajectories.
            frame: (B,) frames of their transitions.
            others: (B,) any trajectories, and (B,) frames of their transitions.
            gamma: later frames are geometric with it, t + 1 + k by γ^k, but not beyond the last;
                None draws every later one alike.
        """
        bounds = np.cumsum([mix.language, mix.current, mix.trajectory])
        source = np.searchsorted(bounds, rng.random(len(row)), "right")
        goal = np.full_like(frame, _LANGUAGE)
        last = self.last.take(row)
        current = np.minimum(frame + self.lag, last)
        anywhere = np.minimum(others[1] + self.lag, self.last.take(others[0]))
        later = _later(rng, frame, last, gamma)
        drawn: Ints = np.choose(source, [goal, current, later, anywhere])
        return drawn

    def outcomes(self, row: Ints, frame: Ints, goal: Ints, n_step: int, gamma: float) -> StepsAhead:
        """Of transitions under goals that are frames.

        Args:
            row: (B,) trajectories.
            frame: (B,) frames of their transitions.
            goal: (B,) frames that are the goals.
            n_step: steps ahead, fewer where the goal is reached or the episode ends.
            gamma: discount on the way.
        """
        left = self.last.take(row) - frame  # 0: nothing is recorded behind the transition
        before = goal - frame - self.lag  # transitions before the one that reaches
        # A frame of another episode is never reached: it lies before, or behind the last.
        reached = (before >= 0) & (before < n_step) & (goal <= frame + left)
        interval = np.where(reached, before + 1, np.clip(left, 1, n_step))
        discounts = gamma ** np.arange(int(interval.max()))
        reward = self.missed * np.cumsum(discounts)[interval - 1]
        reward += reached * (self.reached - self.missed) * discounts[interval - 1]
        return StepsAhead(reward.astype(np.float32), interval, reached | (left == 0))


def _later(rng: np.random.Generator, frame: Ints, last: Ints, gamma: float | None) -> Ints:
    """(n,) frames behind `frame`, or the last one itself where there is none behind it."""
    left = last - frame
    if gamma is None:
        ahead = 1 + (rng.random(len(frame)) * left).astype(np.int64)
    elif gamma < 1:
        ahead = rng.geometric(1 - gamma, len(frame))
    else:
        ahead = left  # the limit: however far, it is beyond the last
    later: Ints = frame + np.minimum(ahead, left)
    return later
