"""Agents of the figures: what they learn from, what they are compared with, what fools a VLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples.figures import agents, behaviour, returns
from examples.figures.__main__ import main
from examples.figures.agents import STUDIES, Agent
from examples.figures.domains import DOMAINS, PHONE, PLAYROOM
from examples.figures.runs import Record, Records
from examples.figures.work import QUICK, Work
from offline_rl import rollouts


def record(kind: str, name: str, seed: int, result: dict[str, object]) -> Record:
    return Record(kind, "phone", name, seed, {}, "", {}, {}, 1.0, result)


def success(name: str, seed: int, rooms: str) -> Record:
    return record("agents", name, seed, {"success": {"open": rooms}})


@pytest.mark.parametrize(
    ("name", "learn_from", "dataset"),
    [
        ("middle", "vlm", "middle"),
        ("small-calibrated", "vlm", "small-calibrated"),
        ("true", "true", "middle"),
        ("none", "none", "middle"),
    ],
)
def test_an_agent_is_known_by_its_rewards(name: str, learn_from: str, dataset: str) -> None:
    agent, study = Agent(name), STUDIES["phone"]
    assert (agent.learn_from, agent.dataset(study)) == (learn_from, dataset)
    assert agent.learner(study) is (study.cloning if name == "none" else study.learners["gcivl"])


def test_an_algorithm_may_be_named() -> None:
    study = STUDIES["playroom"]
    assert Agent("true@cql").learner(study) is study.learners["cql"]
    assert Agent("true@cql").learn_from == "true"


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_each_size_and_each_algorithm_is_compared(domain: agents.Domain) -> None:
    found = agents.names(Work(Path(), Records(Path())), domain)
    study = STUDIES[domain.name]
    assert found[:4] == ["random", study.size, "true", "none"]
    assert {
        *domain.sizes,
        *(f"{study.size}-{way}" for way in ("strict", "calibrated", "f1", "head")),
    } <= set(found)
    assert {f"true@{name}" for name in list(study.learners)[1:]} <= set(found)
    assert len(agents.names(Work(Path(), Records(Path()), QUICK), domain)) == 4


def test_agents_are_given_the_goals_that_encoders_know() -> None:
    by_family = agents.goals_by_family(PLAYROOM)
    assert {family: len(goals) for family, goals in by_family.items()} == {
        "find": 16,
        "lift": 16,
        "place": 22,
    }
    assert not any("red-cone" in goal for goals in by_family.values() for goal in goals)


def test_records_of_all_seeds_are_compared_room_by_room() -> None:
    found = [
        success("middle", 0, "1110"),
        success("middle", 1, "1100"),
        success("true", 0, "1111"),
        success("random", 0, "1000"),
        success("none", 0, "0000"),
        success("small", 0, "1000"),
        record("agents", "tiny", 0, {"success": {}}),  # it was given no reward
    ]
    played = agents.played(found, "phone")
    assert played["middle"]["open"].tolist() == [[1, 1, 1, 0], [1, 1, 0, 0]]
    told = agents.comparisons(played, "middle")
    assert told["middle / true"].value == pytest.approx(0.625)
    assert told["middle / random"].value == pytest.approx(2.5)
    assert told["none - middle"].value == pytest.approx(-0.625)
    assert told["small / true"].value == pytest.approx(0.25)
    assert told["small - middle"].value == pytest.approx(-0.375)
    assert list(told)[:2] == ["middle / true", "small / true"]
    assert set(told) == {
        *("middle / true", "small / true", "middle / random"),
        *("none - middle", "small - middle"),
    }


def test_rewards_are_held_against_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = np.flatnonzero(PLAYROOM.seen)
    hidden = next(i for i in np.flatnonzero(~PLAYROOM.seen) if PLAYROOM.families[i] == "find")
    held = np.zeros((4, len(PLAYROOM.seen)), bool)
    held[[0, 1], seen[0]] = True
    held[2, hidden] = True
    given = np.zeros((4, len(seen)), bool)
    given[[0, 2, 3], 0] = True
    monkeypatch.setattr(behaviour, "_given", lambda *_: (given, held))
    told = behaviour.agreement(Work(Path(), Records(Path())), PLAYROOM, "middle")
    assert PLAYROOM.families[seen[0]] == "find"
    finds = sum(s and f == "find" for s, f in zip(PLAYROOM.seen, PLAYROOM.families, strict=True))
    assert told == {
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "goals": 1,
        "unseen": 0.5,  # one of two wrong rewards is given where the hidden goal holds
        "unseen, of all": pytest.approx(finds / (4 * len(seen) - 2)),
    }


def episode(goal: str, *, reached: bool, shade: int) -> rollouts.EpisodeResult:
    frames = tuple(np.full((8, 8, 3), shade + step, np.uint8) for step in range(3))
    return rollouts.EpisodeResult(goal, 0, reached, float(reached), None, 2, frames)


def test_what_the_vlm_sees_and_the_truth_does_not_has_fooled_it() -> None:
    results = [
        episode("open-maps", reached=True, shade=10),
        episode("open-maps", reached=False, shade=20),
        episode("open-mail", reached=False, shade=30),
        episode("open-mail", reached=False, shade=40),
    ]
    places = {10: 2, 20: None, 30: None, 40: 1}
    table, fooled = returns._compared(results, lambda frames, _: places[frames[0][0, 0, 0]], 2, 5)
    assert table.tolist() == [[0.5, 0.5], [0.5, 0.0]]  # (VLM, true) of each goal
    assert [(one.goal, one.checkpoint, one.frame) for one in fooled] == [("open-mail", 5, 1)]
    assert (fooled[0].pixels == 41).all()


def test_the_gallery_shows_different_goals_first(tmp_path: Path) -> None:
    shades = [("a", 10), ("a", 20), ("b", 30)]
    fooled = [returns.Fooled(g, 0, 1, np.full((8, 8, 3), s, np.uint8)) for g, s in shades]
    returns.gallery(fooled, tmp_path / "new" / "fooled.png")
    with Image.open(tmp_path / "new" / "fooled.png") as sheet:
        row = np.asarray(sheet)[0, ::8, 0]
    assert row.tolist() == [10, 30, 20]
    returns.gallery([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_correlations_are_pearsons_over_goals_and_checkpoints() -> None:
    rng = np.random.default_rng(0)
    goals = [goal.id for goal in PHONE.goals.goals[:4]]
    vlm, true = rng.random((2, 3, 4))
    result = {"steps": [0, 5, 10], "goals": goals, "vlm": vlm.tolist(), "true": true.tolist()}
    silent = record("returns", "tiny", 0, {"steps": []})
    told = returns.correlations([record("returns", "small", 0, result), silent], PHONE)
    assert set(told) == {"small"}
    expected = np.corrcoef(vlm.ravel(), true.ravel())[0, 1]
    assert told["small"]["open"]["value"] == pytest.approx(expected)
    assert told["small"]["all"]["low"] <= expected <= told["small"]["all"]["high"]


@pytest.mark.slow
def test_the_quick_version_leaves_a_record_of_every_agent(tmp_path: Path) -> None:
    only = ["--only", "agents", "rewards", "returns", "page", "--seeds", "0"]
    main(["--work", str(tmp_path), "--quick", "--domain", "phone", *only])
    found = {own.name: own for own in Records(tmp_path / "results").of_kind(agents.KIND)}
    assert set(found) == {"random", "middle", "true", "none"}
    assert all(
        len(own.result["success"]["open"]) == len(PHONE.goals.goals) for own in found.values()
    )
    (own,) = Records(tmp_path / "results").of_kind(returns.KIND)
    assert np.shape(own.result["vlm"]) == (len(own.result["steps"]), len(PHONE.goals.goals))
    told = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "middle / true" in told


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_a_world_without_a_camera_is_the_same_world(domain: agents.Domain) -> None:
    seen, blind = domain.make_env(), domain.make_env(camera=False)
    key = domain.observation.partition(".")[2]
    first, second = (env.reset(seed=3)[0] for env in (seen, blind))
    assert "image" in first and "image" not in second
    seen.action_space.seed(0)
    for _ in range(10):
        assert np.array_equal(first[key], second[key])
        action = seen.action_space.sample()
        (first, *rest), (second, *others) = seen.step(action), blind.step(action)
        assert rest[:3] == others[:3]


@pytest.mark.parametrize(("option", "name"), [("--sizes", "midle"), ("--agents", "tru")])
def test_a_name_that_no_domain_has_is_refused(tmp_path: Path, option: str, name: str) -> None:
    with pytest.raises(SystemExit, match=f"{option} {name}: unknown; the known ones are "):
        main(["--work", str(tmp_path), option, name])
    assert not list(tmp_path.iterdir())
