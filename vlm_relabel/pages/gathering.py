"""Everything that a report shows, gathered from a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.evaluation.commanded import commanded_goals
from relabel.evaluation.confusions import Confusion, confusion
from relabel.evaluation.evidence import Evidence, places_in
from relabel.evaluation.references import coverage_notes
from relabel.evaluation.truth import Truth, column_truth
from schemas import fields
from schemas.errors import StoreError
from schemas.goal_basis import TRUE_ABOVE, truth_values
from schemas.labels import Labels
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import matrix
from vlm_relabel.pages.choices import chosen_episodes
from vlm_relabel.pages.reward_sets import GatheredSet, gather_set
from vlm_relabel.pages.scans import places

Bools = NDArray[np.bool_]
Tell = Callable[[str, int, int], None]  # of what, done, in all


@dataclass(frozen=True)
class Told:
    """What the user says of the truth: labels, or a column, or nothing."""

    labels: Labels | None = None
    field: str | None = None
    where: str | None = None  # column of flags: frames that count

    def of(self, store: Store, manifests: Sequence[RewardManifest]) -> Truth:
        """The truth of some reward sets.

        Raises:
            StoreError: the column fits none of them.
        """
        if self.field is None:
            return Truth(labels=self.labels)
        ids = [store.goals(m.name, [fields.GOAL_ID]).column(0).to_pylist() for m in manifests]
        return column_truth(store, self.field, self.where, ids)


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a report is made of; E episodes."""

    store: Store
    sets: tuple[GatheredSet, ...]
    truth: Truth
    ids: tuple[str, ...]  # (E,)
    lengths: tuple[int, ...]  # (E,) frames
    languages: tuple[str | None, ...]  # (E,)
    true: Mapping[str, Bools]  # by set: (E, G) whether the column says so; {}: there is none
    known: Mapping[str, Bools]  # by set: (G,) goals of which the column tells
    commanded: Mapping[str, list[list[int]]]  # by set: of every episode, goals it was told
    confusions: Mapping[str, Confusion]  # by set
    warnings: tuple[str, ...]  # of frames that an encoder cannot tell apart
    episodes: tuple[int, ...]  # places of those that are shown
    notes: list[str] = field(default_factory=list)

    @cached_property
    def place(self) -> dict[str, int]:
        """Of every episode by id."""
        return {episode_id: place for place, episode_id in enumerate(self.ids)}

    @property
    def leading(self) -> list[GatheredSet]:
        """The sets that have the goals of the first one, in the same order."""
        return [s for s in self.sets if s.goal_ids == self.sets[0].goal_ids]

    def tags(self, place: int) -> list[dict[str, int]]:
        """How many goals an episode succeeds at, and so on, under each set."""
        found = []
        for gathered in self.sets:
            paid = gathered.scanned.rewarded[place]
            counts = {"rewarded": int(paid.sum())}
            if gathered.name in self.true:
                true, known = self.true[gathered.name][place], self.known[gathered.name]
                counts["hits"] = int((paid & true).sum())
                counts["alarms"] = int((paid & ~true & known).sum())
                counts["misses"] = int((~paid & true).sum())
            found.append(counts if gathered.manifest.binary else {})
        return found

    def disagreements(self, place: int) -> int | None:
        """Goals that some sets reward in an episode and others do not; None: there is one set."""
        paid = [s.scanned.rewarded[place] for s in self.leading if s.manifest.binary]
        if len(paid) < 2:
            return None
        return int((np.any(paid, axis=0) & ~np.all(paid, axis=0)).sum())


def gather(
    store: Store,
    names: Sequence[str],
    told: Told,
    *,
    goals: int,
    episodes: int,
    examples: int,
    tell: Tell,
) -> Gathered:
    """Reads the reward sets of a store.

    Args:
        store: to report on.
        names: of reward sets; (): all that are complete, those with scores if there are any.
        told: what is known to be true.
        goals: of a set that are shown in full, at most.
        episodes: that are shown, at most.
        examples: frames of a kind and goal.
        tell: told how far it is.

    Raises:
        StoreError: no such reward set, none at all, or the column fits none of them.
    """
    manifests, notes = _manifests(store, names)
    truth = told.of(store, manifests)
    if truth.labels is not None and not len(truth.labels):
        notes.append("The label table has no label, so nothing is known to be true.")
    about = store.read("episodes", [fields.EPISODE_ID, fields.LENGTH, fields.LANGUAGE])
    ids, lengths, languages = (column.to_pylist() for column in about.columns)
    episode_of = {episode_id: place for place, episode_id in enumerate(ids)}
    sets, confusions = [], {}
    for manifest in manifests:
        evidence = _evidence(store, manifest, truth, notes)
        how = {"goals": goals, "most": examples}
        step = _named(tell, f"slices of {manifest.name}")
        sets.append(gather_set(store, manifest, episode_of, evidence, tell=step, **how))
        step = _named(tell, f"slices of {manifest.name}, for its confusion matrix")
        confusions[manifest.name] = confusion(store, manifest.name, evidence, tell=step)
    true = _true_in(store, truth, episode_of)
    columns = {s.name: places_in(truth.goals, s.goal_ids) for s in sets}
    leading = [s for s in sets if s.goal_ids == sets[0].goal_ids and s.manifest.binary]
    of_sets = {} if true is None else {name: _columns(true, own) for name, own in columns.items()}
    shown = chosen_episodes(
        lengths,
        [s.scanned.rewarded for s in leading],
        of_sets.get(sets[0].name),
        _places_of_examples(sets),
        episodes,
    )
    return Gathered(
        store=store,
        sets=tuple(sets),
        truth=truth,
        ids=tuple(ids),
        lengths=tuple(lengths),
        languages=tuple(languages),
        true=of_sets,
        known={name: own >= 0 for name, own in columns.items()},
        commanded={s.name: _commanded(store, s.name, len(ids)) for s in sets},
        confusions=confusions,
        warnings=_warnings(store, manifests),
        episodes=tuple(shown),
        notes=notes,
    )


def _manifests(store: Store, names: Sequence[str]) -> tuple[list[RewardManifest], list[str]]:
    """The reward sets to show, and what is left out."""
    prefix = "rewards/"
    known = [name.removeprefix(prefix) for name in store.tables() if name.startswith(prefix)]
    if names:
        return [store.rewards(name) for name in dict.fromkeys(names)], []
    if not known:
        raise StoreError(
            f"{store.location}: has no complete reward set to report on; `vlm-relabel score` makes "
            "one"
        )
    all_sets = [store.rewards(name) for name in known]
    scored = [manifest for manifest in all_sets if manifest.scores]
    left = [manifest.name for manifest in all_sets if not manifest.scores] if scored else []
    notes = [
        f"Reward set {name} was stored without scores (--no-scores), and is left out; --rewards "
        "shows its rewards."
        for name in left
    ]
    return scored or all_sets, notes


def _evidence(
    store: Store, manifest: RewardManifest, truth: Truth, notes: list[str]
) -> Evidence | None:
    """What is known of a reward set."""
    if truth.is_known and not manifest.scores:
        notes.append(
            f"Reward set {manifest.name} was stored without scores, so nothing of it is measured."
        )
        return None
    return truth.evidence(store, manifest.name)


def _warnings(store: Store, manifests: Sequence[RewardManifest]) -> tuple[str, ...]:
    """Where an encoder is used on frames that it was not made for; each once."""
    notes = (note for manifest in manifests for note in coverage_notes(store, manifest))
    return tuple(dict.fromkeys(notes))


def _named(tell: Tell, what: str) -> Callable[[int, int], None]:
    return lambda done, total: tell(what, done, total)


def _true_in(store: Store, truth: Truth, episode_of: Mapping[str, int]) -> Bools | None:
    """(E, C) whether each value of the column is true at some frame of an episode."""
    if truth.field is None:
        return None
    true = np.zeros((len(episode_of), len(truth.goals)), bool)
    for piece in store.slices:
        for batch in store.batches("steps", piece, [fields.EPISODE_ID, truth.field]):
            episode = places(batch.column(fields.EPISODE_ID), episode_of)
            values = pa.chunked_array([batch.column(truth.field)])
            starts = np.flatnonzero(np.append(True, episode[1:] != episode[:-1]))
            if len(episode):
                holds = matrix(truth_values(values)) > TRUE_ABOVE
                true[episode[starts]] |= np.logical_or.reduceat(holds, starts, axis=0)
    return true


def _columns(true: Bools, column_of: NDArray[np.int64]) -> Bools:
    """(E, G) of goals, False for those of which the column says nothing."""
    return np.asarray(true[:, column_of] & (column_of >= 0))


def _commanded(store: Store, rewards: str, episodes: int) -> list[list[int]]:
    """Of every episode the goals that it was told to reach."""
    told: list[list[int]] = [[] for _ in range(episodes)]
    for episode, goal in zip(*commanded_goals(store, rewards), strict=True):
        told[int(episode)].append(int(goal))
    return told


def _places_of_examples(sets: Sequence[GatheredSet]) -> list[int]:
    """Episodes of the examples: the first of every goal and kind, then the second, …"""
    ranked: list[tuple[int, int, int]] = []
    for gathered in sets:
        for goal in gathered.shown:
            seen: dict[str, int] = {}
            for kind, example in gathered.examples(goal):
                ranked.append((seen.get(kind, 0), goal, example.episode))
                seen[kind] = seen.get(kind, 0) + 1
    return list(dict.fromkeys(episode for _, _, episode in sorted(ranked)))


# --- goals of all sets --------------------------------------------------------------------------


def all_goals(sets: Sequence[GatheredSet]) -> dict[str, dict[str, Any]]:
    """The goals of all sets by id, in the order in which they come."""
    found: dict[str, dict[str, Any]] = {}
    for gathered in sets:
        columns = (gathered.goal_ids, gathered.families, gathered.texts)
        for goal_id, family, texts in zip(*columns, strict=True):
            found.setdefault(goal_id, {"id": goal_id, "family": family, "texts": texts})
    return found
