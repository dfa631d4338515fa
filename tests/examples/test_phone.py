"""The phone: touches do what they should, the truth is the simulator's, episodes are RLDS."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from gymnasium.utils.env_checker import check_env

from examples.clip import model
from examples.phone import captions, train_encoder
from examples.phone.apps import APPS, NAMES
from examples.phone.collect import collect
from examples.phone.episodes import collect_episode, expert_touch, random_touch
from examples.phone.goals_file import GOALS_YAML, goals_yaml
from examples.phone.phone import GOALS, PAGES, Phone, make_env, touch_at
from examples.phone.screens import draw, icon_centre
from examples.phone.train_encoder import probabilities, screens
from examples.playroom.evaluate import evaluate

ENCODER = Path(train_encoder.__file__).with_name("encoders") / "middle"
HOME, BACK = touch_at(48, 91), touch_at(29, 91)


@pytest.fixture(name="phone")
def _phone() -> Phone:
    phone = make_env(max_steps=1000, end_on_success=False)
    phone.reset(seed=3, options={"goal": "open-maps"})
    return phone


def tap(phone: Phone, x: float, y: float) -> dict[str, object]:
    return phone.step(np.array([x, y, 0, 0], np.float32))[4]


def test_it_is_a_gymnasium_environment() -> None:
    check_env(make_env(), skip_render_check=True)


def test_every_icon_opens_its_app_and_home_and_back_leave_it(phone: Phone) -> None:
    for page in range(PAGES):
        for place, app in enumerate(phone.shown.layout[page]):
            tap(phone, *HOME)
            assert (phone.shown.app, phone.shown.page) == (None, 0)
            for _ in range(page):
                phone.step(np.array([0.0, 0.0, -0.9, 0.1], np.float32))
            assert phone.shown.page == page
            while phone.shown.banner is not None:  # it may cover the icon
                phone.step(np.array([0.0, 0.0, 0.0, -0.9], np.float32))
            info = tap(phone, *touch_at(*icon_centre(place)))
            assert phone.shown.app == app
            truth = np.zeros(len(APPS)) if app is None else np.eye(len(APPS))[app]
            assert (info["truth"] == truth).all()
            assert info["success"] == (app is not None and GOALS[app] == "open-maps")
            if app is not None:
                tap(phone, *BACK)
                assert (phone.shown.app, phone.shown.page) == (None, page)


def test_pages_end_and_gaps_open_nothing(phone: Phone) -> None:
    tap(phone, *HOME)
    for move, page in ((0.9, 0), (-0.9, 1), (-0.9, 1), (0.9, 0)):
        phone.step(np.array([0.0, 0.0, move, 0.0], np.float32))
        assert phone.shown.page == page
    place = phone.shown.layout[0].index(None) if None in phone.shown.layout[0] else None
    if place is not None:
        tap(phone, *touch_at(*icon_centre(place)))
        assert phone.shown.app is None


def test_a_swipe_up_from_the_buttons_is_home(phone: Phone) -> None:
    phone.reset(seed=5)
    phone.show(7)
    phone.step(np.array([0.9, 0.95, 0.0, -0.9], np.float32))
    assert phone.shown.app is None


def test_a_notification_opens_its_app() -> None:
    phone = make_env(max_steps=1000, end_on_success=False)
    phone.reset(seed=0)
    while phone.shown.banner is None:
        phone.step(np.array([0.0, 0.95, 0.9, 0.0], np.float32))  # does nothing
    wanted = phone.shown.banner
    tap(phone, *touch_at(48, 17))
    assert phone.shown.app == wanted


def test_the_same_seed_is_the_same_phone() -> None:
    first, second = (collect_episode(make_env(), 11) for _ in range(2))
    assert len(first["steps"]) == len(second["steps"])
    for one, other in zip(first["steps"], second["steps"], strict=True):
        assert one["observation"]["image"] == other["observation"]["image"]
        assert (one["action"] == other["action"]).all()


def test_every_app_looks_different_on_the_same_phone(phone: Phone) -> None:
    frames = []
    for app in range(len(APPS)):
        phone.show(app)
        frames.append(draw(phone.shown).tobytes())
    assert len(set(frames)) == len(APPS)
    assert len({app.colour for app in APPS}) < len(APPS)
    assert len({app.kind for app in APPS}) < len(APPS)


def test_the_expert_opens_every_app_and_chance_seldom_does() -> None:
    rng = np.random.default_rng(0)
    opened = {"expert": 0, "random": 0}
    for name in opened:
        phone = make_env()
        for app in range(len(APPS)):
            phone.reset(seed=app, options={"goal": GOALS[app]})
            done = False
            while not done:
                touch = expert_touch(phone, app, rng) if name == "expert" else random_touch(rng)
                _, reward, terminated, truncated, _ = phone.step(touch)
                done = terminated or truncated
            opened[name] += reward == 1
    assert opened["expert"] == len(APPS)
    assert opened["random"] < len(APPS) / 3


def test_what_cannot_be_an_action_or_a_goal_is_refused(phone: Phone) -> None:
    with pytest.raises(ValueError, match="4 finite numbers"):
        phone.step(np.array([0, 0, np.nan, 0]))
    with pytest.raises(ValueError, match="unknown goal 'open-sesame'"):
        phone.reset(options={"goal": "open-sesame"})
    with pytest.raises(ValueError, match="unknown reset options"):
        phone.reset(options={"goals": 1})


def test_goals_yaml_is_what_the_code_says() -> None:
    assert GOALS_YAML.read_text() == goals_yaml()


def test_phrasings_held_out_are_not_trained_on() -> None:
    trained = {text for texts in captions.training_texts() for text in texts}
    for app in range(len(NAMES)):
        assert not trained & set(captions.held_out_texts(app))
        assert set(captions.goal_texts(app)) <= trained


def test_collected_episodes_are_rlds(tmp_path: Path) -> None:
    collect(tmp_path / "phone/1.0.0", count=6, seed=1, shards=2)
    found = list(tfds.builder_from_directory(str(tmp_path / "phone/1.0.0")).as_dataset("train"))
    assert len(found) == 6
    for episode in found:
        steps = list(episode["steps"].as_numpy_iterator())
        goal = GOALS.index(episode["episode_metadata"]["goal_id"].numpy().decode())
        for step, following in pairwise(steps):
            assert step["reward"] == following["truth"][goal]
        assert [step["is_last"] for step in steps] == [False] * (len(steps) - 1) + [True]
        assert steps[-1]["is_terminal"] == (steps[-2]["discount"] == 0)


def test_the_shipped_encoder_ranks_screens_of_fresh_phones() -> None:
    frames, truth = screens(600, seed=5)
    network, tokenizer = model.load_model(ENCODER)
    images = model.embed_frames(network, frames)
    said = [*(captions.held_out_texts(app) for app in range(len(APPS))), [captions.NULLS[0]]]
    means = [model.embed_texts(network, tokenizer, texts).mean(axis=0) for texts in said]
    texts = np.stack([mean / np.linalg.norm(mean) for mean in means])
    scores = probabilities(images, texts, 1 / network.logit_scale.exp().item())
    found = evaluate(truth, scores, ["open"] * len(APPS))
    assert found.macro_average_precision > 0.95
    shuffled = evaluate(truth, np.random.default_rng(0).permutation(scores), ["open"] * len(APPS))
    assert shuffled.macro_average_precision < 3 * found.base_rate
    files = [path for path in ENCODER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
