"""Rollouts in rooms whose outcome is known beforehand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from PIL import Image

from offline_rl import checkpoints
from offline_rl.policies import RandomPolicy, TransformerPolicy
from offline_rl.rollouts import EpisodeResult, Observer, check_gif, roll_out, write_gif
from schemas.errors import RunError
from tests.offline_rl.rooms import LIMIT, Colours, Endless, Line
from tests.offline_rl.runs import config_of, run

PLACES = {"at:7": 7, "at:-2": -2, "at:40": 40}
OBSERVER = Observer(
    ("observation.state",), {name: np.array([p], np.float32) for name, p in PLACES.items()}
)


class Walker:
    """Steps towards the goal; notes how many rooms it was asked about at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict(self, x: Any) -> Any:
        assert x.dtype == np.float32
        self.batches.append(len(x))
        return (x[:, 1] > x[:, 0]).astype(np.int64)


def walk(**options: Any) -> list[EpisodeResult]:
    chosen = {"episodes": 6, "seed": 100, "parallel": 4, **options}
    return roll_out(Walker(), Line, OBSERVER, list(PLACES), **chosen)


def test_success_return_length_and_seed_are_those_of_the_room() -> None:
    results = walk()
    assert [r.goal for r in results] == [g for g in PLACES for _ in range(6)]
    for result in results:
        distance = abs(PLACES[result.goal] - result.seed % 5)
        assert result.success == (distance <= LIMIT)
        assert result.true_return == float(result.success)
        assert result.length == min(distance, LIMIT)
        assert result.vlm_return is None
        assert result.frames == ()
    seeds = [r.seed for r in results]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) == 100


def test_rooms_side_by_side_change_nothing() -> None:
    one = walk(parallel=1)
    assert one == walk(parallel=4) == walk(parallel=100)
    walker = Walker()
    roll_out(walker, Line, OBSERVER, list(PLACES), episodes=6, seed=100, parallel=4)
    assert max(walker.batches) == 4


def test_every_task_is_reset_once_and_every_room_closed() -> None:
    Line.opened.clear()
    results = walk()
    assert len(Line.opened) == 4
    assert all(room.closed for room in Line.opened)
    resets = sorted(reset for room in Line.opened for reset in room.resets)
    assert resets == sorted((r.seed, r.goal) for r in results)


def test_rooms_are_closed_when_the_policy_fails() -> None:
    class Broken:
        def predict(self, x: Any) -> Any:
            raise ZeroDivisionError

    Line.opened.clear()
    with pytest.raises(ZeroDivisionError):
        roll_out(Broken(), Line, OBSERVER, ["at:7"], episodes=3, seed=0)
    assert [room.closed for room in Line.opened] == [True] * 3


def test_endless_room_is_left_after_so_many_steps() -> None:
    results = roll_out(Walker(), Endless, OBSERVER, ["at:40"], episodes=3, seed=0, max_steps=6)
    assert [r.length for r in results] == [6, 6, 6]
    # Started at 0, 1 and 2, it walks right: half of the places pay, and that is a success.
    assert [r.true_return for r in results] == [3, 3, 3]
    assert all(r.success for r in results)


def test_circles_are_seen() -> None:
    """Left and right in turn: all but the first two steps show nothing new."""

    class Turner:
        def predict(self, x: Any) -> Any:
            return 1 - x[:, 0].astype(np.int64) % 2

    results = roll_out(Turner(), Line, OBSERVER, ["at:40"], episodes=2, seed=0)
    assert [r.stale for r in results] == [LIMIT - 2] * 2
    assert [r.stale for r in walk()] == [0] * 18


def test_vlm_return_is_of_the_episodes_own_frames() -> None:
    def places(frames: Any, goal: str) -> float:
        shades = [(int(frame[0, 0, 0]) - 128) / 8 for frame in frames]
        return 1000 * PLACES[goal] + 10 * len(frames) + shades[0] + shades[-1] / 100

    for result in walk(score=places, keep_frames=2):
        start, goal = result.seed % 5, PLACES[result.goal]
        end = start + int(np.sign(goal - start)) * result.length
        wanted = 1000 * goal + 10 * (result.length + 1) + start + end / 100
        assert result.vlm_return == pytest.approx(wanted)


def test_frames_are_kept_of_the_first_episodes() -> None:
    results = walk(keep_frames=2)
    assert [len(r.frames) for r in results[:2]] == [r.length + 1 for r in results[:2]]
    assert all(r.frames == () for r in results[2:])


@pytest.mark.parametrize("episodes", [3, 999, 1000, 1001, 2500])
def test_no_two_rooms_are_the_same(episodes: int) -> None:
    results = roll_out(
        Walker(), Line, OBSERVER, list(PLACES), episodes=episodes, seed=100, max_steps=1
    )
    assert len({r.seed for r in results}) == 3 * episodes
    assert min(r.seed for r in results) == 100


# --- the random policy


def drawn(seed: int, room: int, count: int = 50) -> list[int]:
    mind = RandomPolicy(Line().action_space, seed).begin(room)
    return [int(mind.predict(np.zeros(2, np.float32), None)) for _ in range(count)]


def test_random_policy_is_the_rooms_and_repeats_itself() -> None:
    assert drawn(1, 7) == drawn(1, 7)
    assert drawn(1, 7) != drawn(2, 7)
    assert drawn(1, 7) != drawn(1, 8)
    assert set(drawn(1, 7)) == {0, 1}
    # Fair in every room, and not what the room itself was made of.
    firsts = [drawn(1, room, 1)[0] for room in range(1000)]
    assert np.mean(firsts) == pytest.approx(0.5, abs=0.05)
    space = Line().action_space
    space.seed(7)
    assert drawn(7, 7) != [int(space.sample()) for _ in range(50)]


class Tape(Line):
    """The return spells the actions, as a binary number; some episodes are shorter."""

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        seen, _, reached, over, info = super().step(action)
        return seen, float(int(action) << self.left), reached, over, info


def test_random_actions_depend_on_seed_goal_and_episode_only() -> None:
    def tapes(seed: int, parallel: int, episodes: int = 6) -> dict[int, float]:
        policy, goals = RandomPolicy(Line().action_space, seed), ["at:2", "at:3", "at:40"]
        found = roll_out(
            policy, Tape, WHEREVER, goals, episodes=episodes, seed=100, parallel=parallel
        )
        return {r.seed: r.true_return for r in found}

    alone = tapes(1, parallel=1)
    assert alone == tapes(1, parallel=4) == tapes(1, parallel=100)
    assert alone.items() <= tapes(1, parallel=5, episodes=9).items()
    assert len(set(alone.values())) > 9
    assert alone != tapes(2, parallel=1)


WHEREVER = Observer(("observation.state",), None)


# --- pictures


def test_gif_shows_the_kept_frames(tmp_path: Path) -> None:
    results = walk(keep_frames=2)
    path = tmp_path / "new" / "rollouts.gif"
    write_gif(results, path, frame_ms=120)
    with Image.open(path) as image:
        assert image.format == "GIF"
        assert image.n_frames == sum(len(r.frames) for r in results[:2])
        assert image.info["duration"] == 120
        assert np.asarray(image.convert("RGB"))[0, 0, 0] == results[0].frames[0][0, 0, 0]


def test_gif_without_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no rollout kept its frames"):
        write_gif(walk(), tmp_path / "none.gif")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("noext", "expected a file name that ends in .gif"),
        ("x.png", "expected a file name that ends in .gif"),
        ("x.mp4", "expected a file name that ends in .gif"),
        ("x.gif.tar", "expected a file name that ends in .gif"),
        (".gif", "expected a file name that ends in .gif"),
        ("folder.gif", "expected a file, got a folder"),
        ("file/x.gif", "file is a file, not a folder"),
        ("file/new/x.gif", "file is a file, not a folder"),
    ],
)
def test_what_can_be_no_gif_is_refused(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "folder.gif").mkdir()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(RunError, match=rf"^--gif {re.escape(str(tmp_path / name))}: .*{said}"):
        check_gif(tmp_path / name, "--gif ")
    with pytest.raises(RunError, match=said):
        write_gif(walk(keep_frames=1), tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder.gif"]
    assert (tmp_path / "file").read_text() == "kept"


def test_gif_may_be_new_there_already_or_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "new" / "X.GIF"
    check_gif(path)
    assert not path.parent.exists()
    for _ in range(2):
        write_gif(walk(keep_frames=1), path)
        assert path.read_bytes()[:6] == b"GIF89a"
        check_gif(path)


# --- what it takes


def test_observer_puts_columns_and_goal_side_by_side() -> None:
    observer = Observer(
        ("observation.arm.joints", "embedding:clip", "observation.grip"),
        {"a": np.array([7, 8], np.float32)},
        camera="wrist",
        embed=lambda frames: np.array([[f.sum()] for f in frames], np.float32),
    )
    seen = {
        "arm": {"joints": np.array([[1, 2], [3, 4]])},
        "grip": 5,
        "wrist": np.ones((2, 3, 3), np.uint8),
    }
    assert observer([seen, seen], ["a", "a"]).tolist() == [[1, 2, 3, 4, 18, 5, 7, 8]] * 2


def test_observer_says_what_is_missing() -> None:
    with pytest.raises(RunError, match=r"have no 'observation.grip', only state, image$"):
        Observer(("observation.grip",), None)([{"state": 1, "image": 2}], ["a"])
    with pytest.raises(RunError, match=r"have no 'observation.state.x', only ndarray$"):
        Observer(("observation.state.x",), None)([{"state": np.zeros(2)}], ["a"])
    with pytest.raises(RunError, match="embedding:clip: give its encoder with --encoder"):
        Observer(("embedding:clip",), None)([{"state": 1}], ["a"])


# --- transformers have a memory


class Remembering:
    """Stands for a d3rlpy transformer: it steps towards the goal and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[list[float]] = []

    def get_action_type(self) -> Any:
        return ActionSpace.DISCRETE

    def as_stateful_wrapper(self, target_return: float, sampler: Any) -> Any:
        told: list[float] = [target_return]
        self.told.append(told)

        class Mind:
            def predict(self, x: Any, reward: float) -> int:
                assert x.shape == (2,)
                told.append(reward)
                return int(x[1] > x[0])

        return Mind()


def test_every_episode_of_a_transformer_has_a_memory_of_its_own() -> None:
    agent = Remembering()
    policy = TransformerPolicy(agent, target_return=-3.0, step_reward=-1)
    results = roll_out(policy, Line, OBSERVER, list(PLACES), episodes=2, seed=100, parallel=2)
    assert results == walk(episodes=2)
    lengths = sorted(r.length for r in results)
    assert sorted(len(told) - 1 for told in agent.told) == lengths
    # The target, nothing before the first action, then -1 at every step.
    assert all(told[:2] == [-3.0, 0.0] for told in agent.told)
    assert {reward for told in agent.told for reward in told[2:]} == {-1.0}


def test_real_transformer_rolls_out_the_same_alone_and_with_others(
    playground_store: Path, tmp_path: Path
) -> None:
    config = config_of(playground_store, "discrete-decision-transformer", 5)
    run(config, tmp_path)
    policy = TransformerPolicy(checkpoints.load_agent(tmp_path), target_return=1.0)
    goals = {name: np.eye(4, dtype=np.float32)[n] for n, name in enumerate(("red", "green"))}
    observer = Observer(config.observations, goals)
    one, many = (
        roll_out(policy, Colours, observer, list(goals), episodes=3, seed=0, parallel=n)
        for n in (1, 4)
    )
    assert one == many
    assert {r.length for r in one} <= {1, 2, 3}
