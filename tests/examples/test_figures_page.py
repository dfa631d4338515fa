"""The page says what the records say, and of what is missing that it is missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from examples.figures import agents, page, plots, plots_agents, returns
from examples.figures.domains import PLAYROOM
from examples.figures.runs import Records, Run

ROOMS = 12
SETTINGS = {
    "algo": "discrete-gcivl",
    "steps": 10,
    "temperature": 0.6,
    "behaviour": {"episodes": 1200},
}


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Agents of two rewards and a random one, and the returns of one of them."""
    found = Records(tmp_path / "results")
    rng = np.random.default_rng(0)
    goals = agents.goals_by_family(PLAYROOM)
    for name, chance in (("random", 0.1), ("middle", 0.7), ("true", 0.8)):
        for seed in range(2):
            told = {
                f: "".join(str(int(rng.random() < chance)) for _ in range(ROOMS)) for f in goals
            }
            settings = {} if name == "random" else SETTINGS
            run = Run(agents.KIND, "playroom", name, seed, settings)
            found.once(run, lambda own=told: {"success": own})
    ids = [goal for own in goals.values() for goal in own]
    vlm = (rng.random((3, len(ids))) < 0.5).astype(float)
    true = vlm * (rng.random(vlm.shape) < 0.9)
    result = {
        "steps": [0, 1, 2],
        "goals": ids,
        "vlm": vlm,
        "true": true,
        "fooled": [{"goal": "find-red-ball"}] * 2,
    }
    found.once(Run(returns.KIND, "playroom", "middle", 0), lambda: {**result, "episodes": 30})
    return found


def _cells(text: str, first: str) -> list[str]:
    (line,) = re.findall(rf"^\| {first} \| (.+) \|$", text, re.MULTILINE)
    return [cell.split(" (")[0] for cell in line.split(" | ")]


def _section(text: str, title: str) -> str:
    return text.split(title)[1].split("\n## ")[0]


def test_success_is_the_mean_over_rooms_and_seeds(records: Records) -> None:
    told = _section(page.text(records, {}), "part two")
    for name in ("random", "middle", "true"):
        own = [r.result["success"] for r in records.of_kind(agents.KIND) if r.name == name]
        means = [np.mean([int(room) for one in own for room in one[f]]) for f in own[0]]
        cells = _cells(told, name)
        assert cells[0] == "2"
        assert [float(cell) for cell in cells[1:]] == pytest.approx(
            [*means, np.mean(means)], abs=6e-4
        )
    assert "1,200 episodes" in told
    assert "tiny" in told.split("Not run yet")[-1]


def test_correlations_and_what_fooled_the_vlm_are_told(records: Records) -> None:
    told = _section(page.text(records, {}), "## Figure 3")
    (result,) = [r.result for r in records.of_kind(returns.KIND)]
    expected = np.corrcoef(np.ravel(result["vlm"]), np.ravel(result["true"]))[0, 1]
    assert f"{expected:.3f}".removeprefix("0") in told
    episodes, seen, reached = result["episodes"], np.mean(result["vlm"]), np.mean(result["true"])
    missed, successes = round(episodes * (reached - seen)) + 2, round(episodes * reached)
    assert f"| 2 | {missed:,} of {successes:,} |" in told
    assert f"{np.mean(result['true']):.3f}".removeprefix("0") in told


def test_pictures_are_drawn_of_what_is_there(records: Records, tmp_path: Path) -> None:
    drawn = plots.draw(records, tmp_path, {**plots.PICTURES, **plots_agents.PICTURES})
    assert set(drawn) == {"agents", "returns"}
    assert all(path.stat().st_size > 5000 for path in drawn.values())


def test_an_empty_folder_gives_a_page_of_commands(tmp_path: Path) -> None:
    told = page.text(Records(tmp_path), {})
    kinds = re.findall(r"--only ([a-z ]+)", told)
    assert {"encoders", "prompts", "returns"} <= {kind.strip() for kind in kinds}
    assert "nan" not in told


def test_an_agent_that_was_given_no_reward_was_run(records: Records) -> None:
    own = Run(agents.KIND, "playroom", "tiny", 0, SETTINGS)
    records.once(own, lambda: {"success": {}})
    told = _section(page.text(records, {}), "part two")
    assert "Were given no reward: tiny." in told
    (missing,) = re.findall(r"^Not run yet: (.*small.*)\.$", told, re.MULTILINE)
    assert "tiny" not in missing.split(", ")


def test_a_domain_whose_agents_were_all_given_no_reward(tmp_path: Path) -> None:
    found = Records(tmp_path / "results")
    found.once(Run(agents.KIND, "playroom", "tiny", 0, SETTINGS), lambda: {"success": {}})
    assert "Were given no reward: tiny." in page.text(found, {})
    plots.draw(found, tmp_path / "images", plots_agents.PICTURES)


def _played(records: Records, **rooms: str) -> Records:
    families = agents.goals_by_family(PLAYROOM)
    for name, own in rooms.items():
        run = Run(agents.KIND, "playroom", name.replace("_", "-"), 0, SETTINGS)
        records.once(run, lambda own=own: {"success": dict.fromkeys(families, own)})
    return records


def test_what_falls_short_is_told_with_its_reason_and_what_does_not(tmp_path: Path) -> None:
    """In 100 rooms: true 80, middle 60, f1 76, strict 40."""
    rooms = {"true": 80, "middle": 60, "middle_f1": 76, "middle_strict": 40}
    found = {name: "1" * won + "0" * (100 - won) for name, won in rooms.items()}
    records = _played(Records(tmp_path / "results"), **found)
    rates = {"precision": 0.8, "recall": 0.9, "goals": 54, "unseen": 0.9, "unseen, of all": 0.1}
    records.once(Run(agents.REWARDS, "playroom", "middle", 0), lambda: rates)
    told = re.sub(r"\s+", " ", _section(page.text(records, {}), "## What failed"))
    assert re.search(r"earns \.750 \([^)]*\) of what .* hoped for: not reached\.", told)
    assert ".900 are given where another goal" in told
    assert "which is so in .100 of all pairs of a frame and a goal" in told
    assert re.search(r"Of 2 other ways, reached by “f1” \(\.950 .*; \.160 .* more success\)", told)
    assert re.search(r"agents of “strict” earn less than .*: −\.200", told)
    assert "*place*: agents of “strict” earn less" in told  # as in every family
    assert "agents of “f1” earn less" not in told


def test_what_is_reached_needs_no_reason(tmp_path: Path) -> None:
    found = {name: "1" * won + "0" * (100 - won) for name, won in (("true", 80), ("middle", 78))}
    told = _section(
        page.text(_played(Records(tmp_path / "results"), **found), {}), "## What failed"
    )
    assert "hoped for: reached." in re.sub(r"\s+", " ", told)
    assert "other ways" not in told
