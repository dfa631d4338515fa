"""The vectorised replay against d3rlpy's own, transition by transition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from d3rlpy.dataset import (
    BasicTrajectorySlicer,
    BasicTransitionPicker,
    MultiStepTransitionPicker,
    TransitionMiniBatch,
    create_infinite_replay_buffer,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_rl.outcomes import Trajectories, returns_to_go
from offline_rl.replay import GoalConditionedReplayBuffer
from schemas.errors import StoreError


def make(
    counts: list[int],
    terminals: list[bool],
    *,
    discrete: bool = False,
    goals: int = 3,
    weights: list[float] | None = None,
    **options: object,
) -> GoalConditionedReplayBuffer:
    """Trajectories that overlap and share frames, as those of several goals do."""
    rng = np.random.default_rng(sum(counts))
    frames = rng.normal(size=(sum(counts) + len(counts) + 3, 4)).astype(np.float32)
    actions = (
        rng.integers(5, size=(len(frames), 1))
        if discrete
        else rng.normal(size=(len(frames), 2)).astype(np.float32)
    )
    # A non-terminal row needs the frame behind it; the first may end at the very last frame.
    spare = [
        len(frames) - count - (0 if end else 1)
        for count, end in zip(counts, terminals, strict=True)
    ]
    rows = Trajectories(
        first=np.array([spare[0], *(int(rng.integers(s + 1)) for s in spare[1:])]),
        count=np.array(counts),
        goal=rng.integers(goals, size=len(counts)),
        terminal=np.array(terminals),
        weight=np.array(weights or [1.0] * len(counts)),
        rewards=rng.integers(2, size=sum(counts)).astype(np.float32),
    )
    table = rng.normal(size=(goals, 3)).astype(np.float32)
    size = 5 if discrete else 2
    return GoalConditionedReplayBuffer(frames, actions, rows, table, action_size=size, **options)  # type: ignore[arg-type]


rows_of = st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=6)


@given(rows_of, st.booleans())
@settings(max_examples=60)
def test_every_transition_is_d3rlpys(rows: list[tuple[int, bool]], discrete: bool) -> None:
    counts, terminals = [r[0] for r in rows], [r[1] for r in rows]
    replay = make(counts, terminals, discrete=discrete)
    row = np.repeat(np.arange(len(counts)), counts)
    step = np.concatenate([np.arange(n) for n in counts])
    batch = replay.transition_batch(row, step)
    picker = BasicTransitionPicker()
    expected = TransitionMiniBatch.from_transitions(
        [picker(replay.episodes[r], s) for r, s in zip(row, step, strict=True)]
    )
    for name in (
        *("observations", "actions", "rewards", "next_observations", "next_actions"),
        *("terminals", "intervals"),
    ):
        np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name), err_msg=name)
    for ours, theirs in zip(batch.transitions, expected.transitions, strict=True):
        np.testing.assert_array_equal(ours.rewards_to_go, theirs.rewards_to_go)
    assert replay.transition_count == sum(e.transition_count for e in replay.episodes)


@given(rows_of, st.integers(1, 7), st.sampled_from([0.0, 0.9, 1.0]), st.booleans())
@settings(max_examples=80)
def test_several_steps_ahead_are_d3rlpys(
    rows: list[tuple[int, bool]], n_step: int, gamma: float, discrete: bool
) -> None:
    counts, terminals = [r[0] for r in rows], [r[1] for r in rows]
    replay = make(counts, terminals, discrete=discrete, n_step=n_step, gamma=gamma)
    row = np.repeat(np.arange(len(counts)), counts)
    step = np.concatenate([np.arange(n) for n in counts])
    batch = replay.transition_batch(row, step)
    picker = MultiStepTransitionPicker(n_step, gamma)
    expected = TransitionMiniBatch.from_transitions(
        [picker(replay.episodes[r], s) for r, s in zip(row, step, strict=True)]
    )
    for name in (
        *("observations", "actions", "next_observations", "next_actions"),
        *("terminals", "intervals"),
    ):
        np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(batch.rewards, expected.rewards, rtol=1e-6)
    assert replay.transition_picker(replay.episodes[0], 0).interval == batch.intervals[0, 0]


@given(rows_of, st.integers(1, 7))
@settings(max_examples=60)
def test_every_window_is_d3rlpys(rows: list[tuple[int, bool]], length: int) -> None:
    counts, terminals = [r[0] for r in rows], [r[1] for r in rows]
    replay = make(counts, terminals)
    row = np.repeat(np.arange(len(counts)), counts)
    end = np.concatenate([np.arange(n) for n in counts])
    batch = replay.trajectory_batch(row, end, length)
    slicer = BasicTrajectorySlicer()
    for place, (r, e) in enumerate(zip(row, end, strict=True)):
        window = slicer(replay.episodes[r], int(e), length)
        for name in ("observations", "actions", "rewards", "terminals", "timesteps", "masks"):
            got, want = getattr(batch, name)[place], getattr(window, name)
            np.testing.assert_array_equal(got, want, err_msg=name)
        np.testing.assert_allclose(batch.returns_to_go[place], window.returns_to_go, atol=1e-6)


def test_returns_to_go_do_not_cross_rows() -> None:
    rows = Trajectories(
        first=np.array([0, 9]),
        count=np.array([3, 2]),
        goal=np.array([0, 0]),
        terminal=np.array([True, False]),
        weight=np.ones(2),
        rewards=np.array([1, 0, 2, 5, -1], np.float32),
    )
    assert returns_to_go(rows).tolist() == [3, 2, 2, 4, -1]


def test_transitions_are_drawn_by_weight() -> None:
    replay = make([1, 4, 5], [True, False, True], weights=[6.0, 1.0, 0.0])
    row, step = replay._draw(40_000)
    share = np.bincount(row, minlength=3) / len(row)
    assert share[2] == 0
    np.testing.assert_allclose(share[:2], [0.6, 0.4], atol=0.01)
    within = np.bincount(step[row == 1], minlength=4) / (row == 1).sum()
    np.testing.assert_allclose(within, 0.25, atol=0.02)


def with_positives(
    replay: GoalConditionedReplayBuffer, positives: Sequence[int], share: float
) -> GoalConditionedReplayBuffer:
    """The same buffer with some transitions said to be positive, whatever their reward."""
    marked = np.isin(np.arange(replay.transition_count), list(positives))
    rows = replay.trajectories
    return GoalConditionedReplayBuffer(
        replay._frames, replay._actions, rows, None,
        action_size=2, positive_share=share, positives=marked,
    )  # fmt: skip


def test_positives_get_their_share() -> None:
    plain = make([50, 50], [True, True])
    with pytest.raises(StoreError, match="no transition has a positive reward"):
        with_positives(plain, [], 0.5)
    replay = with_positives(plain, [7, 60], 0.25)
    drawn = [np.stack(replay._draw(64)) for _ in range(50)]
    row, step = np.concatenate(drawn, axis=1)
    share = np.isin(50 * row + step, [7, 60]).mean()
    assert 0.25 <= share < 0.30


def test_positives_are_drawn_by_the_weight_of_their_trajectory() -> None:
    plain = make([4, 2, 3], [True, True, False], weights=[0.5, 3.0, 0.0])
    replay = with_positives(plain, [0, 1, 3, 4, 6, 8], 1.0)
    row, step = replay._draw(40_000)
    drawn = np.bincount(np.array([0, 4, 6])[row] + step, minlength=9) / len(row)
    # Three positives of weight 0.5, one of weight 3, and two that are never drawn.
    expected = np.array([0.5, 0.5, 0, 0.5, 3.0, 0, 0, 0, 0]) / 4.5
    np.testing.assert_allclose(drawn, expected, atol=0.01)
    assert not drawn[expected == 0].any()
    with pytest.raises(StoreError, match="among those that can be drawn"):
        with_positives(plain, [6, 8], 1.0)


def test_the_same_seed_draws_the_same_batches() -> None:
    first, second = make([3, 4], [True, False], seed=5), make([3, 4], [True, False], seed=5)
    for _ in range(3):
        one, two = first.sample_transition_batch(8), second.sample_transition_batch(8)
        np.testing.assert_array_equal(one.observations, two.observations)


def test_a_batch_that_is_held_is_never_written_again() -> None:
    replay = make([5, 6], [True, False])
    held = [replay.sample_transition_batch(4) for _ in range(9)]
    copies = [(b.observations.copy(), b.next_observations.copy()) for b in held]
    views = [replay.sample_transition_batch(4).next_observations[1] for _ in range(9)]
    seen = [view.copy() for view in views]
    for _ in range(20):
        replay.sample_transition_batch(4)
    for batch, (now, following) in zip(held, copies, strict=True):
        np.testing.assert_array_equal(batch.observations, now)
        np.testing.assert_array_equal(batch.next_observations, following)
    np.testing.assert_array_equal(views, seen)


def test_nothing_to_sample_is_an_error() -> None:
    with pytest.raises(StoreError, match="weight 0"):
        make([2], [True], weights=[0.0])


def test_d3rlpys_own_buffer_holds_as_many_transitions() -> None:
    replay = make([3, 4, 1], [True, False, False])
    own = create_infinite_replay_buffer(episodes=list(replay.episodes))
    assert own.transition_count == replay.transition_count
    assert own.dataset_info.action_size == replay.dataset_info.action_size


def test_it_cannot_be_written() -> None:
    replay = make([2], [True])
    with pytest.raises(NotImplementedError, match="build-goals"):
        replay.append(None, None, None)
