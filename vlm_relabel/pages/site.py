"""The folder of a report: pages, their scripts and styles, data, and small frames."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlm_relabel.pages.episode_rows import (
    ShownEpisode,
    kept_goals,
    kept_steps,
    read_episodes,
    sparse,
)
from vlm_relabel.pages.gathering import Gathered, Tell, all_goals
from vlm_relabel.pages.overview import overview
from vlm_relabel.pages.reward_sets import GatheredSet
from vlm_relabel.pages.scripts import script
from vlm_relabel.pages.sheets import Budget, Shelf
from vlm_relabel.pictures import Pictures

PAGE: Final = "index.html"
_PAIRS: Final = 30  # of confused goals that are listed
_LEAST: Final = 3  # episodes that such a pair must have
_ASSETS: Final = importlib.resources.files("vlm_relabel.pages") / "assets"


@dataclass(frozen=True)
class Sizes:
    """How much is shown."""

    frame: int  # height of a frame, in pixels
    frames: int  # of an episode
    bytes: float  # of the folder's data and frames, at most


@dataclass
class Site:
    """Writes a report into an empty folder."""

    gathered: Gathered
    folder: Path
    sizes: Sizes
    pictures: Pictures | None  # None: frames are not shown
    tell: Tell

    def write(self) -> dict[str, Any]:
        """Writes everything; returns the content of the first script, for machines too."""
        self._copy_assets()
        self.budget = Budget(self.sizes.bytes)
        self.union = all_goals(self.gathered.sets)
        self.place = {goal_id: place for place, goal_id in enumerate(self.union)}
        store, ids = self.gathered.store, self.gathered.ids
        wanted = [ids[place] for place in self.gathered.episodes]
        truth = self.gathered.truth
        episodes = list(read_episodes(store, wanted, self.gathered.sets, truth))
        self.episodes = episodes
        self.shelf = Shelf(self.sizes.frame)
        if self.pictures is not None:
            tell = self.tell
            self.shelf.fill(
                self.pictures, self._wanted(episodes), lambda d, n: tell("frames", d, n)
            )
        tables = [self._set(place) for place in range(len(self.gathered.sets))]
        listed = [self._episode(number, episode) for number, episode in enumerate(episodes)]
        content = self._content(listed)
        self._data("site", content)
        for place, table in enumerate(tables):
            self._data(f"sets/{place}", table)
            self._data(f"confusion/{place}", self._confusion(place))
        return content

    # --- files

    def _copy_assets(self) -> None:
        for asset in _ASSETS.iterdir():
            if asset.name == PAGE:
                (self.folder / PAGE).write_bytes(asset.read_bytes())
            elif asset.is_file():
                target = self.folder / "assets" / asset.name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(asset.read_bytes())

    def _data(self, name: str, content: Any, *, optional: bool = False) -> bool:
        """Writes a script of data; an optional one only if there is room for it."""
        text = script(name, content).encode("ascii")
        if not self.budget.take(len(text)) and optional:
            return False
        path = self.folder / "data" / f"{name}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        return True

    # --- frames

    def _strip(self, episode: ShownEpisode) -> list[int]:
        """Steps whose frames are shown of an episode."""
        return [int(step) for step in kept_steps(episode.length, self.sizes.frames)]

    def _wanted(self, episodes: Sequence[ShownEpisode]) -> dict[str, list[int]]:
        steps = {episode.id: set(self._strip(episode)) for episode in episodes}
        for gathered in self.gathered.sets:
            for goal in gathered.shown:
                for _, example in gathered.examples(goal):
                    steps.setdefault(self.gathered.ids[example.episode], set()).add(example.step)
        return {episode_id: sorted(own) for episode_id, own in steps.items()}

    # --- reward sets

    def _set(self, number: int) -> dict[str, Any]:
        """Writes the goals of a reward set; the content of its table."""
        gathered = self.gathered.sets[number]
        first: list[tuple[str, int] | None] = []
        for goal in range(len(gathered.goal_ids)):
            examples = gathered.examples(goal) if goal in gathered.shown else []
            places = [(self.gathered.ids[e.episode], e.step) for _, e in examples]
            first.append(places[0] if places else None)
            if goal in gathered.shown:
                sheet = self.shelf.sheet(
                    places, self.folder, f"set-{number}-goal-{goal}", self.budget
                )
                shown = [
                    {"kind": kind, "episode": place[0], "step": e.step, "score": e.score}
                    | ({} if e.label is None else {"label": e.label})
                    for (kind, e), place in zip(examples, places, strict=True)
                ]
                content = {**gathered.detail(goal), "examples": shown, "sheet": sheet}
                self._data(f"goals/{number}-{goal}", content)
        there = [place for place in first if place is not None]
        sheet = self.shelf.sheet(there, self.folder, f"set-{number}", self.budget)
        table = gathered.table()
        table["sheet"] = sheet
        tiles = iter(sheet["tiles"] if sheet else ())
        for row, place in zip(table["rows"], first, strict=True):
            row["tile"] = next(tiles, None) if place is not None else None
        table["order"] = [self.place[goal_id] for goal_id in gathered.goal_ids]
        return table

    def _confusion(self, number: int) -> dict[str, Any]:
        """The matrix of a reward set, of its shown goals, and its worst pairs of all goals."""
        gathered = self.gathered.sets[number]
        found = self.gathered.confusions[gathered.name]
        pairs = [
            {"i": i, "j": j, "share": found.share[i, j], "episodes": found.episodes[i, j]}
            for i, j in found.worst(_LEAST)[:_PAIRS]
        ]
        shown = np.ix_(gathered.shown, gathered.shown)
        return {
            "basis": found.basis,
            "bounds": found.bounds.how,
            "goals": gathered.shown,
            "share": [[_four(value) for value in row] for row in found.share[shown].tolist()],
            "episodes": found.episodes[shown],
            "worst": pairs,
        }

    # --- episodes

    def _episode(self, number: int, episode: ShownEpisode) -> dict[str, Any]:
        """Writes an episode; what the list of episodes says of it."""
        steps = kept_steps(episode.length)
        strip = self._strip(episode)
        places = [(episode.id, step) for step in strip]
        sheet = self.shelf.sheet(places, self.folder, f"episode-{number}", self.budget)
        content = {
            "steps": None if len(steps) == episode.length else steps,
            "metadata": dict(episode.metadata),
            "env": None if episode.env is None else episode.env[steps],
            "frameSteps": strip,
            "sheet": sheet,
            "sets": [self._curves(s, episode, steps) for s in self.gathered.sets],
            "truth": self._truth(episode, steps),
            "labels": [
                [self.place[goal_id], step, label]
                for (goal_id, step), label in episode.labels.items()
                if goal_id in self.place
            ],
        }
        place = self.gathered.place[episode.id]
        there = self._data(f"episodes/{number}", content, optional=True)
        told = [self.gathered.commanded[s.name][place] for s in self.gathered.sets]
        goals = [
            s.goal_ids[g] for s, own in zip(self.gathered.sets, told, strict=True) for g in own
        ]
        return {
            "id": episode.id,
            "length": episode.length,
            "language": episode.language,
            "commanded": [self.place[goal_id] for goal_id in dict.fromkeys(goals)],
            "tags": self.gathered.tags(place),
            "disagreements": self.gathered.disagreements(place),
            "sheet": sheet,
            "there": there,
        }

    def _curves(
        self, gathered: GatheredSet, episode: ShownEpisode, steps: np.ndarray[Any, Any]
    ) -> dict[str, Any]:
        rows = episode.sets.get(gathered.name)
        if rows is None:
            return {"goals": [], "scores": None, "rewards": []}
        place = self.gathered.place[episode.id]
        first = list(self.gathered.commanded[gathered.name][place])
        if gathered.name in self.gathered.true:
            first += np.flatnonzero(self.gathered.true[gathered.name][place]).tolist()
        goals = kept_goals(gathered, episode, first)
        scores = None
        if rows.scores is not None:
            scores = [[_four(v) for v in rows.scores[steps, goal].tolist()] for goal in goals]
        binary = gathered.manifest.binary
        return {
            "goals": [self.place[gathered.goal_ids[goal]] for goal in goals],
            "scores": scores,
            "rewards": [sparse(rows.rewards[steps, goal], binary) for goal in goals],
        }

    def _truth(
        self, episode: ShownEpisode, steps: np.ndarray[Any, Any]
    ) -> Mapping[int, list[int]] | None:
        """Places of the shown frames at which each goal is true, of goals that are."""
        if episode.truth is None:
            return None
        found = {}
        for column, goal_id in enumerate(self.gathered.truth.goals):
            true = np.flatnonzero(episode.truth[steps, column])
            if goal_id in self.place and len(true):
                found[self.place[goal_id]] = [int(step) for step in true]
        return found

    # --- the first script

    def _content(self, episodes: list[dict[str, Any]]) -> dict[str, Any]:
        gathered = self.gathered
        sets = [s.summary() for s in gathered.sets]
        known = [s.measured for s in gathered.sets if s.measured is not None]
        truth = dict(known[0].source) if known else None
        return {
            **overview(gathered.store),
            "goals": list(self.union.values()),
            "sets": sets,
            "truth": truth,
            "episodes": episodes,
            "episodesInAll": len(gathered.ids),
            "pictures": None if self.pictures is None else self.pictures.origin,
            "cameras": () if self.pictures is None else self.pictures.cameras,
            "warnings": gathered.warnings,
            "notes": [*gathered.notes, *self._left_out(episodes)],
        }

    def _left_out(self, episodes: list[dict[str, Any]]) -> list[str]:
        """What is not on the page, in whole sentences."""
        gathered, notes = self.gathered, []
        total = sum(length > 0 for length in gathered.lengths)
        if len(episodes) < total:
            notes.append(
                f"{len(episodes)} of {total:,} episodes are shown, chosen so that there are "
                "successes, false alarms, misses and disagreements among them (--episodes)."
            )
        for s in gathered.sets:
            if len(s.shown) < len(s.goal_ids):
                notes.append(
                    f"{len(s.shown)} of the {len(s.goal_ids):,} goals of {s.name} are shown in "
                    "full: the worst and the most rewarded of every family (--goals)."
                )
        if any(episode["length"] > self.sizes.frames for episode in episodes):
            notes.append(
                f"Of longer episodes {self.sizes.frames} frames are shown, at equal distances "
                "(--frames-per-episode)."
            )
        lost = sum(not episode["there"] for episode in episodes)
        bare = sum(e["sheet"] is None for e in episodes) if self.pictures is not None else 0
        if self.budget.left == 0.0 and (lost or bare):
            notes.append(
                f"{bare} episodes are shown without frames, and {lost} without curves: the report "
                "would be larger than --max-mb allows."
            )
        return notes


def _four(value: float) -> float | None:
    """Four significant digits: a curve shows no more."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
