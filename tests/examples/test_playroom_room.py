"""The room: truths against an oracle that sees only pixels, fair starts, the expert."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from examples.playroom import goals, view
from examples.playroom.expert import expert_action
from examples.playroom.goals import GOALS, THINGS
from examples.playroom.room import DROP, FORWARD, LEFT, PICKUP, Playroom, make_env

NAMES = {thing.name: index for index, thing in enumerate(THINGS)}


def oracle(frame: np.ndarray) -> set[str]:
    """Ids of the goals that hold, read off the picture; written apart from the code."""
    tiles = view.tiles_of(frame).tolist()
    thing = {tile: THINGS[tile - 3].slug for row in tiles for tile in row if tile >= 3}
    front, own = tiles[5][3], tiles[6][3]
    held = {f"lift-{thing[own]}"} if own in thing else set()
    if front not in thing:
        return held
    holds = held | {f"find-{thing[front]}"}
    for side in (tiles[4][3], tiles[5][2], tiles[5][4]):
        if side in thing:
            low, high = sorted((front, side))
            holds.add(f"place-{thing[low]}-{thing[high]}")
    return holds


def names_of(truth: np.ndarray) -> set[str]:
    return {goal.id for goal, holds in zip(GOALS, truth, strict=True) if holds}


def test_every_goal_can_be_decided_from_one_frame() -> None:
    room = make_env(end_on_success=False, max_steps=60)
    rng, seen = np.random.default_rng(0), set()
    for seed in range(40):
        _, info = room.reset(seed=seed)
        truncated = False
        while not truncated:
            chosen = expert_action(room, room.goal) if rng.random() < 0.7 else None
            action = int(rng.integers(5)) if chosen is None else chosen
            observation, reward, _, truncated, info = room.step(action)
            holds = oracle(observation["image"])
            assert holds == names_of(info["truth"])
            assert reward == float(info["goal"] in holds) == float(info["success"])
            assert view.scene_of(room.tiles()) == room.scene()
            seen |= holds
    assert {goal.split("-")[0] for goal in seen} == {"find", "lift", "place"}


def test_the_view_is_minigrids_own() -> None:
    room = make_env()
    for seed in range(12):
        room.reset(seed=seed)
        grid, _ = room.gen_obs_grid()
        tiles = room.tiles()
        for row in range(7):
            for column in range(7):
                cell = grid.get(column, row)
                if (row, column) == (view.AGENT_ROW, view.AGENT_COLUMN):
                    assert tiles[row, column] == view.ARROW
                elif cell is None:
                    assert tiles[row, column] == view.FLOOR
                elif cell.type == "wall":
                    assert tiles[row, column] == view.WALL
                else:
                    assert tiles[row, column] == 3 + NAMES[f"{cell.color} {cell.type}"]


def test_tiles_look_different_and_drawing_is_undone_by_reading() -> None:
    tiles = np.random.default_rng(0).integers(view.TILE_COUNT, size=(5, 7, 7)).astype(np.uint8)
    frames = view.frames_of(tiles)
    assert frames.shape == (5, 84, 84, 3)
    assert all(np.array_equal(view.tiles_of(f), t) for f, t in zip(frames, tiles, strict=True))


def test_place_needs_one_of_the_pair_in_front() -> None:
    room = make_env()
    ball, box, key = NAMES["red ball"], NAMES["blue box"], NAMES["green key"]
    room.arrange({ball: (3, 3), box: (3, 2), key: (4, 3)}, agent=(3, 4), heading=3)
    assert names_of(goals.truth(room.scene())) == {
        "find-red-ball",
        "place-red-ball-blue-box",
        "place-red-ball-green-key",
    }
    room.arrange({ball: (3, 3), box: (3, 2)}, agent=(3, 4), heading=0)
    assert names_of(goals.truth(room.scene())) == set()


def test_a_thing_can_be_lifted_and_dropped() -> None:
    room = make_env(end_on_success=False)
    room.reset(seed=0)
    key = NAMES["green key"]
    room.arrange({key: (3, 3)}, agent=(3, 4), heading=3)
    *_, info = room.step(PICKUP)
    assert names_of(info["truth"]) == {"lift-green-key"}
    *_, info = room.step(DROP)
    assert names_of(info["truth"]) == {"find-green-key"}


def test_starts_are_fair() -> None:
    room = make_env(absent_probability=0.5)
    absent = 0
    for seed in range(150):
        _, info = room.reset(seed=seed)
        cells = [room.cell_of(thing) for thing in room.things()]
        apart = [abs(a - x) + abs(b - y) for a, b in cells for x, y in cells]
        assert not info["truth"].any()
        assert 1 not in apart
        assert len(cells) == 5
        absent += not set(room.goal.things) <= set(room.things())
    assert 50 < absent < 100


@pytest.mark.parametrize("family", goals.FAMILIES)
def test_the_expert_reaches_every_goal(family: str) -> None:
    room = make_env()
    for seed, goal in enumerate(goal for goal in GOALS if goal.family == family):
        room.reset(seed=seed, options={"goal": goal.id})
        terminated = truncated = False
        while not (terminated or truncated):
            action = expert_action(room, goal)
            assert action is not None, (goal.id, seed)
            _, reward, terminated, truncated, _ = room.step(action)
        assert terminated
        assert reward == 1.0
        assert room.step_count <= 25


def test_the_expert_gives_up_on_absent_things_and_blocked_ways() -> None:
    room = make_env()
    room.reset(seed=0, options={"goal": "lift-red-ball", "absent": True})
    assert NAMES["red ball"] not in room.things()
    assert expert_action(room, room.goal) is None
    corner = {NAMES["red box"]: (2, 1), NAMES["green box"]: (1, 2), NAMES["red ball"]: (5, 5)}
    room.arrange(corner, agent=(1, 1), heading=0)
    assert expert_action(room, room.goal) is None


def test_it_is_a_gymnasium_environment_and_repeatable() -> None:
    check_env(make_env(), skip_render_check=True)
    first, second = make_env(), make_env()
    for room in (first, second):
        room.reset(seed=5)
        room.step(FORWARD)
    assert first.goal == second.goal
    a, b = first.step(LEFT)[0], second.step(LEFT)[0]
    assert np.array_equal(a["image"], b["image"])
    assert np.array_equal(a["state"], b["state"])


def test_the_state_knows_things_behind_the_agent() -> None:
    room: Playroom = make_env()
    ball = NAMES["green ball"]
    room.arrange({ball: (2, 5)}, agent=(3, 3), heading=3)  # one to the left, two behind
    places = room.gen_obs()["state"][-27:].reshape(9, 3)
    assert places[ball].tolist() == pytest.approx([1, -1 / 7, -2 / 7])
    assert not np.delete(places, ball, axis=0).any()


def test_things_says_where_each_is_from_the_agent() -> None:
    room: Playroom = make_env()
    ball, box, key = (NAMES[name] for name in ("green ball", "red box", "blue key"))
    room.arrange({ball: (3, 2), box: (4, 2)}, agent=(3, 3), heading=3, carried=key)
    seen = room.gen_obs()["things"]
    rows, around = seen[:-5].reshape(9, 10), seen[-5:]
    # in the room, carried, right, ahead; right?, left?, ahead?, behind?, in front?, beside it?
    assert rows[ball].tolist() == pytest.approx([1, 0, 0, 1 / 7, 0, 0, 1, 0, 1, 0])
    assert rows[box].tolist() == pytest.approx([1, 0, 1 / 7, 1 / 7, 1, 0, 1, 0, 0, 1])
    assert rows[key].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    assert not np.delete(rows, [ball, box, key], axis=0).any()
    # Walls ahead, right, behind, left of (3, 3) facing up in 6x6 free tiles; the way is blocked.
    assert around.tolist() == pytest.approx([3 / 7, 4 / 7, 4 / 7, 3 / 7, 0])


@pytest.mark.parametrize("heading", range(4))
def test_the_way_ahead_is_free_unless_a_wall_or_a_thing_is_there(heading: int) -> None:
    room: Playroom = make_env()
    front = [(1, 0), (0, 1), (-1, 0), (0, -1)][heading]
    for agent in [(1, 1), (6, 6), (3, 4)]:
        room.arrange({}, agent=agent, heading=heading)
        x, y = agent[0] + front[0], agent[1] + front[1]
        assert room.gen_obs()["things"][-1] == (0 < x < 7 and 0 < y < 7)


def test_bad_requests_say_what_is_possible() -> None:
    room = make_env()
    with pytest.raises(ValueError, match="lift-red-ball"):
        room.reset(options={"goal": "lift-pink-ball"})
    with pytest.raises(ValueError, match="'gaol'"):
        room.reset(options={"gaol": "lift-red-ball"})
    room.reset(seed=0)
    with pytest.raises(ValueError, match="expected 0-4"):
        room.step(5)
    with pytest.raises(RuntimeError, match="larger room"):
        make_env(size=4).reset(seed=0)


def test_held_out_is_about_a_quarter_and_of_pixels_alone() -> None:
    tiles = np.random.default_rng(1).integers(view.TILE_COUNT, size=(400, 7, 7)).astype(np.uint8)
    frames = view.frames_of(tiles)
    buckets = [view.is_held_out(frame) for frame in frames]
    assert 0.15 < np.mean(buckets) < 0.35
    assert buckets == [view.is_held_out(frame.copy()) for frame in frames]
