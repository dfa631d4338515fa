"""Figure 3: VLM return beside true return, over the checkpoints of agents.

The agent of every checkpoint plays fresh rooms or phones, after each of which two returns are
known: the true one is 1 if the goal was reached, the VLM's is 1 if the rewards of the encoder that
the agent learned from say so, by the frames of the episode. Checkpoint 0 is a random policy.

An episode in which the VLM sees the goal reached, and the truth does not, has fooled it. The frames
that did are kept as a picture beside the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from examples.figures import agents
from examples.figures.agents import Agent
from examples.figures.domains import DOMAINS, Domain, encoder_path
from examples.figures.runs import Record, Run
from examples.figures.work import Work
from examples.playroom.figure3 import Floats, Saw, correlation, scorer_of
from examples.playroom.recipe import observer_of
from offline_rl import checkpoints, policies, rollouts, training

KIND: Final = "returns"
ROOM_SEED: Final = 60_000_000
EPISODES: Final = {"playroom": 2, "phone": 4}  # per goal and checkpoint
SHOWN: Final = 12  # frames of the gallery
_COLUMNS: Final = 6


@dataclass(frozen=True)
class Fooled:
    """A frame in which the VLM saw a goal that was never reached."""

    goal: str
    checkpoint: int
    frame: int  # of the episode
    pixels: Any  # (S, S, 3) uint8


def run(work: Work, seed: int) -> None:
    """Figure 3 of the agents of one seed, of every domain and size of encoder."""
    for name in work.domains:
        domain = DOMAINS[name]
        main = agents.STUDIES[name].size
        for size in [main] if work.effort.is_quick else work.sizes_of(domain):
            asked = Run(KIND, name, size, seed, settings(work, domain, size))
            work.records.once(asked, partial(_returns, work, domain, size, seed, asked))


def settings(work: Work, domain: Domain, size: str) -> dict[str, Any]:
    """What decides a record, beside the encoder and the seed."""
    own = agents.settings(work, domain, Agent(size))
    return {**own, "episodes": _episodes(work, domain), "rooms_from": ROOM_SEED}


def _episodes(work: Work, domain: Domain) -> int:
    return 1 if work.effort.is_quick else EPISODES[domain.name]


def _returns(work: Work, domain: Domain, size: str, seed: int, asked: Run) -> dict[str, Any]:
    agent = Agent(size)
    out = agents.trained(work, domain, agent, seed)
    if out is None:
        return {"steps": []}
    config = agents.config_of(work, domain, agent, seed)
    dataset = training.open_dataset(config)
    location = encoder_path(work.folder, domain.name, size, 0)
    observer, saw = observer_of(dataset, config), scorer_of(dataset, location)
    goals = [goal for own in agents.goals_by_family(domain).values() for goal in own]
    steps = [0, *(int(path.name.removeprefix("step-")) for path in checkpoints.checkpoints(out))]
    tables, fooled = [], []
    for step in steps:
        results = rollouts.roll_out(
            _policy(work, domain, agent, out, step, seed),
            domain.make_env,
            observer,
            goals,
            episodes=_episodes(work, domain),
            seed=ROOM_SEED,
            parallel=32,
            keep_frames=len(goals) * _episodes(work, domain),
        )
        table, new = _compared(results, saw, len(goals), step)
        tables.append(table)
        fooled += new
    gallery(fooled, work.records.path(asked).with_suffix(".png"))
    return {
        "steps": steps,
        "goals": goals,
        "vlm": [table[:, 0] for table in tables],
        "true": [table[:, 1] for table in tables],
        "fooled": [_told(one) for one in fooled],
        "episodes": len(goals) * _episodes(work, domain) * len(steps),
    }


def _told(fooled: Fooled) -> dict[str, Any]:
    return {"goal": fooled.goal, "checkpoint": fooled.checkpoint, "frame": fooled.frame}


def _policy(
    work: Work, domain: Domain, agent: Agent, out: Path, step: int, seed: int
) -> policies.Policy:
    if step:
        return agents.policy(work, domain, agent, checkpoints.load_agent(out, step))
    return policies.RandomPolicy(domain.make_env().action_space, seed)


def _compared(
    results: Sequence[rollouts.EpisodeResult], saw: Saw, goals: int, step: int
) -> tuple[Floats, list[Fooled]]:
    """``(goals, 2)`` mean VLM and true return, and what fooled the VLM."""
    pairs, fooled = [], []
    for result in results:
        place = saw(result.frames, result.goal)
        pairs.append((place is not None, result.success))
        if place is not None and not result.success:
            fooled.append(Fooled(result.goal, step, place, result.frames[place]))
    found = np.array(pairs, np.float64).reshape(goals, -1, 2)
    return found.mean(axis=1), fooled


def gallery(fooled: Sequence[Fooled], path: Path) -> None:
    """Some of the frames, of different goals first, side by side; no picture if there are none."""
    order = sorted(range(len(fooled)), key=lambda i: _rank(fooled, i))[:SHOWN]
    if not order:
        return
    size = fooled[0].pixels.shape[0]
    rows = -(-len(order) // _COLUMNS)
    sheet = Image.new("RGB", (size * min(len(order), _COLUMNS), size * rows))
    for place, which in enumerate(order):
        frame = Image.fromarray(fooled[which].pixels)
        sheet.paste(frame, (size * (place % _COLUMNS), size * (place // _COLUMNS)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


def _rank(fooled: Sequence[Fooled], place: int) -> int:
    """How many frames of the same goal come before this one."""
    return sum(one.goal == fooled[place].goal for one in fooled[:place])


# --- what the records say -------------------------------------------------------------------------


def correlations(
    records: Sequence[Record], domain: Domain
) -> dict[str, dict[str, dict[str, float]]]:
    """Encoder → family, and "all" → Pearson's correlation over goals and checkpoints.

    Intervals draw goals with replacement, each with all its checkpoints and seeds. A family in
    which either return never changes has none.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for size in domain.sizes:
        own = [r for r in records if (r.domain, r.name) == (domain.name, size)]
        own = [r for r in own if r.result["steps"]]  # others were given no reward
        if own:
            found[size] = _correlations(own, domain)
    return found


def _correlations(records: Sequence[Record], domain: Domain) -> dict[str, dict[str, float]]:
    ids = records[0].result["goals"]
    vlm = np.concatenate([r.result["vlm"] for r in records])  # (checkpoints, goals)
    true = np.concatenate([r.result["true"] for r in records])
    family_of = {goal.id: goal.family for goal in domain.goals.goals}
    families = np.array([family_of[goal] for goal in ids])
    goals = np.broadcast_to(np.arange(len(ids)), vlm.shape)
    found = {}
    for family in (*dict.fromkeys(families.tolist()), "all"):
        columns = np.ones(len(ids), bool) if family == "all" else families == family
        points = np.stack([vlm[:, columns].ravel(), true[:, columns].ravel()], axis=1)
        if (points.std(axis=0) > 0).all():
            found[family] = correlation(points, goals[:, columns].ravel())
    return found
