"""Batches per second and memory of the goal-conditioned replay, beside d3rlpy's own.

    python -m benchmarks.replay [--frames 20200] [--repeats 9]

Both buffers hold the same trajectories of the same frames. d3rlpy's keeps the goal inside every
observation, since it has no other place for one.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from d3rlpy.dataset import Episode, create_infinite_replay_buffer

from benchmarks import common
from offline_rl.hindsight import AchievedGoals, GoalMix
from offline_rl.replay import GoalConditionedReplayBuffer, Trajectories

LENGTH = 100  # transitions per episode
GOAL_WIDTH = 64


def ours(
    frames: np.ndarray, actions: np.ndarray, goals: int, *, achieved: bool = False
) -> GoalConditionedReplayBuffer:
    """Every episode once per goal that it has a trajectory for: two of them, whatever `goals`.

    Half of the goals are frames, and batches look three steps ahead, where they are achieved.
    """
    episodes = len(frames) // (LENGTH + 1)
    first = np.arange(episodes) * (LENGTH + 1)
    per_episode = min(goals, 2)
    rng = np.random.default_rng(0)
    count = np.full(episodes * per_episode, LENGTH)
    rows = Trajectories(
        first=np.repeat(first, per_episode),
        count=count,
        goal=rng.integers(goals, size=len(count)),
        terminal=np.zeros(len(count), bool),
        weight=np.ones(len(count)),
        rewards=np.zeros(int(count.sum()), np.float32),
    )
    table = rng.normal(size=(goals, GOAL_WIDTH)).astype(np.float32)
    options = {}
    if achieved:
        embeddings = rng.normal(size=(len(frames), GOAL_WIDTH)).astype(np.float32)
        mix = GoalMix(language=0.5, trajectory=0.4, random=0.1)
        goals_seen = AchievedGoals(embeddings, rows.first + LENGTH, 1, 1.0, 0.0, mix)
        options = {"hindsight": goals_seen, "n_step": 3, "gamma": 0.99}
    return GoalConditionedReplayBuffer(
        frames, actions, rows, table, action_size=actions.shape[1], **options
    )


def theirs(buffer: GoalConditionedReplayBuffer) -> object:
    """d3rlpy's buffer with the same episodes."""
    episodes = [
        Episode(e.observations, e.actions, e.rewards, e.terminated) for e in buffer.episodes
    ]
    return create_infinite_replay_buffer(episodes=episodes)


def batches_per_s(sample: Callable[[], object], seconds: float) -> float:
    """Rate of one repeat."""
    done, began = 0, time.perf_counter()
    while (now := time.perf_counter()) - began < seconds:
        sample()
        done += 1
    return done / (now - began)


def held_bytes(buffer: GoalConditionedReplayBuffer) -> int:
    """Bytes of every array that the buffer holds."""
    rows = buffer.trajectories
    arrays = [buffer._frames, buffer._actions, buffer._goals, buffer._mass, buffer._offset]
    arrays += [rows.first, rows.count, rows.goal, rows.terminal, rows.weight, rows.rewards]
    return sum(array.nbytes for array in arrays if array is not None)


def main() -> None:
    """Runs and prints the comparison."""
    parser = common.options(__doc__, repeats=9)
    parser.add_argument("--frames", type=int, default=20_200)
    parser.add_argument("--width", type=int, default=1024, help="values per observation")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.5, help="per repeat and buffer")
    options = parser.parse_args()
    if options.quick:
        options.frames, options.repeats = 2020, 1
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(options.frames, options.width - GOAL_WIDTH)).astype(np.float32)
    actions = rng.normal(size=(options.frames, 7)).astype(np.float32)
    few, many = ours(frames, actions, 1), ours(frames, actions, 1000)
    hindsight = ours(frames, actions, 1000, achieved=True)
    rival = theirs(few)
    cases = {
        name: lambda b=buffer: batches_per_s(
            lambda: b.sample_transition_batch(options.batch), options.seconds
        )
        for name, buffer in (
            ("ours, 1 goal", few),
            ("ours, 1,000 goals", many),
            ("ours, in hindsight", hindsight),
            ("d3rlpy", rival),
        )
    }
    found = common.interleaved(cases, options.repeats)
    growth = held_bytes(many) / held_bytes(ours(frames, actions, 2))
    rows = [
        (name, rate, common.paired_ratio(found, name, "d3rlpy"))
        for name, rate in common.medians(found).items()
    ]
    common.show(
        f"batch {options.batch}, observations of {options.width} float32; memory, 1,000 goals / "
        f"2 goals with as many trajectories: {growth:.3f}",
        ("buffer", "batches/s", "ratio to d3rlpy"),
        rows,
        {"batches_per_s": found, "memory_growth": growth},
        options.out,
    )


if __name__ == "__main__":
    main()
