"""The hard playroom: its truth is the easy one's, what is held out is never trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from examples.clip.training import Recipe
from examples.playroom import captions, hard, view
from examples.playroom.collect import episode_seeds, episodes
from examples.playroom.goals import FAMILIES, HARD, PLAYROOM
from examples.playroom.goals_file import HARD_GOALS_YAML, goals_yaml
from examples.playroom.room import make_env, things_in
from examples.playroom.surroundings import PATTERNS, is_held_out_room, surroundings
from schemas.goals import GoalSet


def test_the_goals_file_is_what_the_code_says_and_in_the_order_of_the_truth() -> None:
    assert HARD_GOALS_YAML.read_text() == goals_yaml(HARD)
    found = GoalSet.from_yaml(HARD_GOALS_YAML.read_text())
    assert [goal.id for goal in found.goals] == [goal.id for goal in HARD.goals]
    assert [sum(g.family == family for g in HARD.goals) for family in FAMILIES] == [20, 20, 40]


def test_looks_change_pixels_and_nothing_else() -> None:
    room = make_env(world=HARD, things=things_in(HARD))
    room.reset(seed=4)
    frames, truths, states = [], [], []
    for seed in range(6):
        room.surround(seed)
        seen = room.gen_obs()
        frames.append(seen["image"].tobytes())
        states.append(seen["things"].tobytes())
        truths.append(room.info()["truth"].tobytes())
    assert (len(set(frames)), len(set(truths)), len(set(states))) == (6, 1, 1)


def test_held_out_rooms_look_like_no_other() -> None:
    for seed in range(60):
        look = surroundings(seed)
        assert look.held_out == is_held_out_room(seed) == (look.pattern == PATTERNS[-1])


def test_training_meets_nothing_that_is_held_out() -> None:
    frames = hard.training_frames(300, seed=1)
    assert not frames.held_out.any()
    unseen = np.array([not hard.is_seen(goal) for goal in HARD.goals])
    assert unseen.any()
    assert not frames.truth[:, unseen].any()
    assert frames.truth[:, ~unseen].any()
    trained = {text for texts in hard.captioned(5, 0).texts for text in texts}
    for place, goal in enumerate(HARD.goals):
        assert (set(captions.goal_texts(goal)) <= trained) == hard.is_seen(goal)
        assert unseen[place] == bool(set(goal.things) & hard.UNSEEN)


def test_played_frames_are_of_all_kinds() -> None:
    frames = hard.played_frames(400, seed=2)
    assert 0 < frames.held_out.mean() < 1
    assert frames.truth.any()


def test_episodes_say_which_rooms_are_held_out() -> None:
    seen = set()
    for episode in episodes(episode_seeds(3, "train", 12), world=HARD):
        flags = {bool(step["held_out"]) for step in episode["steps"]}
        assert len(flags) == 1
        seen |= flags
        step = episode["steps"][0]
        assert step["truth"].shape == (len(HARD.goals),)
        assert step["observation"]["things"].shape == (view.things_size(HARD),)
        assert step["observation"]["state"].shape == (view.state_size(HARD),)
    assert seen == {True, False}


def test_the_easy_playroom_has_no_looks() -> None:
    room = make_env()
    room.reset(seed=0)
    assert room.world is PLAYROOM
    assert not room.held_out
    assert (room.frame(room.tiles()) == view.frames_of(room.tiles())).all()


def test_an_encoder_is_trained_and_checked(tmp_path: Path) -> None:
    told = hard.train(tmp_path / "tiny", "tiny", Recipe(steps=3, batch=8), views=40, frames=600)
    assert told["parameters"] > 1000
    assert set(told["average_precision"]) == {
        "held-out rooms, seen combinations",
        "known kinds of rooms, seen combinations",
        "held-out rooms, unseen combinations",
    }
    assert (tmp_path / "tiny/figures.json").exists()
