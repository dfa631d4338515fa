"""One table of what each trick does to average precision, on the frames whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from relabel.encoders.stored_texts import TextLookup
from relabel.evaluation.comparison import Measuring, OpenedSet
from relabel.evaluation.comparison_report import Trick, number
from relabel.evaluation.evidence import Floats, GoalFrames, Ints, places_in
from relabel.evaluation.measured import Measured, mean_of
from relabel.evaluation.ranking import Ranking
from relabel.evaluation.score_blocks import score_blocks
from relabel.evaluation.tricks import (
    FUSIONS,
    Embedded,
    Tried,
    embedding_tricks,
    potential,
    shares_of_rank,
)
from relabel.goals.readings import read_prompts
from relabel.slices.stored_frames import example_frames, stored_episodes
from schemas.errors import EncoderError, GoalError, RewardError
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.text_embeddings import stored_texts

CELLS: Final = 20_000_000  # scores of all goals, and values of embeddings, held at once
SAME: Final = 1e-3  # of the range of scores, that scores computed again may be off by
NOTABLE: Final = 0.01  # of a goal's average precision, to count as better or worse


@dataclass(frozen=True, eq=False)
class _Known:
    """Frames of one goal whose truth is known."""

    rows: Ints  # (n,) of the loaded frames
    frames: GoalFrames


@dataclass(frozen=True, eq=False)
class _Episodes:
    """Whole episodes that are scored again, in the order of the store."""

    places: Ints  # (e,)
    lengths: Ints  # (e,)

    def rows(self, episode: Ints, step: Ints) -> Ints:
        """Rows of frames among those of all these episodes."""
        starts = np.cumsum(self.lengths) - self.lengths
        return starts[np.searchsorted(self.places, episode)] + step


def tricks_of(
    work: Measuring, sets: Sequence[OpenedSet], common: Sequence[str]
) -> tuple[list[Trick], list[str]]:
    """Every trick on every reward set.

    Args:
        work: how it is measured; with labels or a column.
        sets: the reward sets.
        common: goals that all of them have; means are over these.

    Returns:
        The table's rows, and notes.
    """
    episodes, notes = _chosen(work, sets)
    stored = [_stored_scores(work, one, episodes, common) for one in sets]
    found: list[Trick] = []
    for place, one in enumerate(sets):
        known = _known(work, one, episodes, common)
        tell = work.tell(f"{one.name}: tricks")
        tried, missing = _tried(one, episodes, work, common, stored[place])
        notes += missing
        others = [(sets[i], stored[i]) for i in range(len(sets)) if i != place]
        tried += _of_scores(one, stored[place], episodes, others)
        table = _Table(work, one.name, known, _measured(work, known, stored[place]))
        for done, each in enumerate(tried):
            found.append(table.row(each))
            tell(done + 1, len(tried))
    notes.append(
        f"tricks: of {len(found)} intervals of 95 %, about one in twenty leaves 0 out by chance "
        "alone; try what helps on other episodes too"
    )
    return found, list(dict.fromkeys(notes))


class _Table:
    """Rows of one reward set."""

    def __init__(
        self, work: Measuring, rewards: str, known: Sequence[_Known], base: Measured
    ) -> None:
        self._work, self._rewards, self._known, self._base = work, rewards, known, base

    def row(self, tried: Tried) -> Trick:
        """Of one trick."""
        own = {"rewards": self._rewards, "trick": tried.trick, "what": tried.what}
        nothing = {"average_precision": None, "change": None, "low": None, "high": None}
        if tried.scores is None:
            return Trick(**own, **nothing, verdict=f"does not apply: {tried.why_not}")
        measured = _measured(self._work, self._known, tried.scores())
        gap = measured.minus(self._base)
        goals = np.arange(len(gap.values))
        value, low, high, count = mean_of(gap, goals)
        if not count:
            return Trick(**own, **nothing, verdict="no goal has a frame that is known to be true")
        return Trick(
            **own,
            average_precision=number(float(np.nanmean(measured.values))),
            change=value,
            low=low,
            high=high,
            goals_better=int((gap.values > NOTABLE).sum()),
            goals_worse=int((gap.values < -NOTABLE).sum()),
            verdict=_verdict(low, high),
        )


def _verdict(low: float | None, high: float | None) -> str:
    if low is not None and low > 0:
        return "helps"
    if high is not None and high < 0:
        return "hurts"
    return "no clear change"


def _measured(work: Measuring, known: Sequence[_Known], scores: Floats) -> Measured:
    values, draws = np.empty(len(known)), np.empty((work.draws, len(known)))
    for goal, one in enumerate(known):
        own = scores[one.rows, goal]
        there = np.isfinite(own)
        ranking = Ranking.of(one.frames.select(there), own[there], work.seed)
        values[goal] = ranking.average_precision
        draws[:, goal] = ranking.precision_draws(work.weights)
    return Measured(values, draws, (0, 1))


# --- frames -----------------------------------------------------------------------------------


def _chosen(work: Measuring, sets: Sequence[OpenedSet]) -> tuple[_Episodes, list[str]]:
    """The episodes that are scored again: those of labels, or all; a sample where they are many."""
    able = work.lengths > 0
    if work.truth.labels is not None:
        able &= places_in(sorted(set(work.truth.labels.episode_id)), work.episode_ids) >= 0
    width = max(max(len(one.goal_ids), one.manifest.encoder.dim) for one in sets)
    order = np.random.default_rng(work.seed).permutation(np.flatnonzero(able))
    fits = np.cumsum(work.lengths[order]) * width <= CELLS
    fits[:1] = True
    places = np.sort(order[fits])
    notes = []
    if not fits.all():
        notes.append(
            f"tricks are tried on {len(places):,} of {len(order):,} episodes, drawn by the seed, "
            "which fit in memory"
        )
    return _Episodes(places, work.lengths[places]), notes


def _known(
    work: Measuring, one: OpenedSet, episodes: _Episodes, common: Sequence[str]
) -> list[_Known]:
    """Per common goal the frames whose truth is known."""
    ids = [work.episode_ids[place] for place in episodes.places]
    evidence = work.truth.evidence(
        work.store, one.name, episodes=ids, tell=work.tell(f"{one.name}: truth of tricks")
    )
    found: dict[str, _Known] = {}
    wanted = set(common)
    for frames in evidence or ():
        if frames.goal_id in wanted:
            own = frames.select(np.isin(frames.episode, episodes.places))
            found[frames.goal_id] = _Known(episodes.rows(own.episode, own.step), own)
    return [found[goal_id] for goal_id in common]


def _stored_scores(
    work: Measuring, one: OpenedSet, episodes: _Episodes, common: Sequence[str]
) -> Floats:
    """(T, common goals) scores as they are stored."""
    goals, parts = places_in(one.goal_ids, common), []
    tell = work.tell(f"{one.name}: stored scores")
    for block in score_blocks(work.store, one.name, tell=tell):
        rows = np.repeat(np.isin(block.episode, episodes.places), block.length)
        parts.append(block.scores[rows][:, goals])
    return np.concatenate(parts)


# --- tricks -----------------------------------------------------------------------------------


def _tried(
    one: OpenedSet, episodes: _Episodes, work: Measuring, common: Sequence[str], stored: Floats
) -> tuple[list[Tried], list[str]]:
    """Tricks of embeddings; and why there are none."""
    goals = places_in(one.goal_ids, common)
    try:
        embedded = _embedded(work.store, one.manifest, episodes, work)
        again = embedded.scores()[:, goals]
    except EncoderError as error:
        return [], [f"{one.name}: no trick with embeddings, whose texts are not stored: {error}"]
    except (GoalError, RewardError) as error:
        return [], [f"{one.name}: no trick with embeddings: {error}"]
    low, high = one.manifest.score_range
    if not np.allclose(again, stored, rtol=0, atol=SAME * (high - low), equal_nan=True):
        return [], [
            f"{one.name}: no trick with embeddings, since its scores are not those that its "
            "embeddings give"
        ]

    def of_common(scores: Callable[[], Floats]) -> Callable[[], Floats]:
        return lambda: scores()[:, goals]

    return [
        each if each.scores is None else Tried(each.trick, each.what, of_common(each.scores))
        for each in embedding_tricks(embedded)
    ], []


def _embedded(
    store: Store, manifest: RewardManifest, episodes: _Episodes, work: Measuring
) -> Embedded:
    lookup = TextLookup(manifest.encoder, stored_texts(store, manifest.encoder), store.location)
    goals = store.goal_set(manifest.name)
    frames = example_frames(store, manifest.embeddings, goals)
    prompts, texts, norms = read_prompts(goals, lookup.encode_texts, frames)
    others = (
        table.table.removeprefix("embeddings/")
        for table in store.embeddings()
        if table.encoder.fingerprint == manifest.encoder.fingerprint
    )
    names = tuple(dict.fromkeys([*manifest.embeddings, *others]))
    ids = [work.episode_ids[place] for place in episodes.places]
    cameras: list[list[Floats]] = [[] for _ in names]
    tell = work.tell(f"{manifest.name}: embeddings")
    found = stored_episodes(store, names, ids, skip_blank=manifest.skip_blank_cameras)
    for done, part in enumerate(found):
        for parts, camera in zip(cameras, part.cameras, strict=True):
            parts.append(camera.astype(np.float32))
        tell(done + 1, len(store.slices))
    return Embedded(
        manifest.function,
        goals,
        prompts,
        texts,
        norms,
        manifest.encoder,
        manifest.fusion,
        manifest.skip_blank_cameras,
        {name: np.concatenate(parts) for name, parts in zip(names, cameras, strict=True)},
        len(manifest.embeddings),
        episodes.lengths,
    )


def _of_scores(
    one: OpenedSet,
    scores: Floats,
    episodes: _Episodes,
    others: Sequence[tuple[OpenedSet, Floats]],
) -> list[Tried]:
    """Tricks of stored scores alone."""
    found = [
        Tried(
            "potential",
            "what each frame adds to the score",
            lambda: potential(scores, episodes.lengths),
        )
    ]
    groups = [[other] for other in others]
    if len(others) > 1:
        groups.append(list(others))
    for group in groups:
        found += _ensembles(one, scores, group)
    return found


def _ensembles(
    one: OpenedSet, scores: Floats, group: Sequence[tuple[OpenedSet, Floats]]
) -> Iterator[Tried]:
    ranges = {tuple(each.manifest.score_range) for each in (one, *(own for own, _ in group))}
    ranked = len(ranges) > 1
    names = " and ".join(other.name for other, _ in group)

    def fused(how: str) -> Callable[[], Floats]:
        def run() -> Floats:
            all_scores = [scores, *(own for _, own in group)]
            return FUSIONS[how]([shares_of_rank(s) for s in all_scores] if ranked else all_scores)

        return run

    for how in ("mean", "min"):
        of = "shares of rank, since the ranges of their scores differ" if ranked else "scores"
        yield Tried(f"{how} with {names}", f"{how} of the {of}", fused(how))
