"""Findings of several reward sets become the figures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import numpy as np

from relabel.evaluation.agreement import agreement, disagreements
from relabel.evaluation.comparison import Findings, Measuring
from relabel.evaluation.comparison_report import (
    Comparison,
    Curve,
    DisputedFrame,
    RankAgreement,
    RewardSet,
    number,
)
from relabel.evaluation.evidence import Ints, places_in
from relabel.evaluation.measured import Difference, Figure, Measured, differences, figures, scopes
from relabel.evaluation.measures import CONTROL_FRAMES
from relabel.evaluation.ranking import MOST, Doubles
from relabel.evaluation.whole_episodes import PER_GOAL

_NAMED = 5


def report(
    work: Measuring, found: Sequence[Findings], common: tuple[str, ...], listed: int
) -> Comparison:
    """Everything that there is to say.

    Args:
        work: how it was measured.
        found: of every reward set and control.
        common: goals that all sets have.
        listed: number of frames to list that the sets disagree on most.
    """
    own = [one for one in found if not one.is_control]
    ordered = [*own, *(one for one in found if one.is_control)]
    told = _Figures(ordered, common)
    first = own[0]
    return Comparison(
        store=work.store.location,
        truth=work.truth.source,
        episodes=len(work.episode_ids),
        frames=int(work.lengths.sum()),
        frames_ranked=len(work.rows),
        draws=work.draws,
        seed=work.seed,
        goals=common,
        sets=tuple(_reward_set(one, common) for one in ordered),
        base_rates=_base_rates(first),
        average_precision=told.figures("precision"),
        precision_differences=told.differences("precision"),
        episode_auc=told.figures("auc"),
        auc_differences=told.differences("auc"),
        time_order=told.figures("order"),
        order_differences=told.differences("order"),
        rank_agreement=tuple(_agreements(work, own, common)),
        disputed=_disputed(work, own, common, listed),
        curves=told.curves(),
        notes=tuple(dict.fromkeys(_notes(work, own, common))),
    )


class _Figures:
    """Of the goals that all sets have."""

    def __init__(self, found: Sequence[Findings], common: tuple[str, ...]) -> None:
        self._found, self._common = found, common
        of = dict(zip(found[0].of.goal_ids, found[0].of.families, strict=True))
        self._families = tuple(of[goal_id] for goal_id in common)

    def figures(self, measure: str) -> tuple[Figure, ...]:
        """Of one measure, of each reward set and control."""
        return tuple(
            figure
            for one in self._found
            if (measured := self._measured(one, measure)) is not None
            for figure in figures(one.name, measured, self._common, self._families)
        )

    def differences(self, measure: str) -> tuple[Difference, ...]:
        """Of every two reward sets: the later one against the earlier one."""
        known = [one for one in self._found if not one.is_control]
        pairs = [(one, self._measured(one, measure)) for one in known]
        return tuple(
            difference
            for (one, low), (other, high) in combinations(pairs, 2)
            if low is not None and high is not None
            for difference in differences(
                (other.name, one.name), (high, low), self._common, self._families
            )
        )

    def curves(self) -> tuple[Curve, ...]:
        """Of all goals and of each family."""
        return tuple(
            curve
            for one in self._found
            if one.precision is not None
            for curve in self._curves(one.name, one.precision.curves[self._places(one)])
        )

    def _curves(self, name: str, curves: Doubles) -> Iterator[Curve]:
        recall = np.linspace(0, 1, curves.shape[1]).round(6)
        for scope, of, goals in scopes(self._common, self._families):
            known = curves[goals][np.isfinite(curves[goals, 0])]
            if scope == "goal" or not len(known):
                continue
            precision = known.mean(axis=0).round(6)
            yield Curve(
                rewards=name,
                scope=scope,
                name=of,
                recall=tuple(recall.tolist()),
                precision=tuple(precision.tolist()),
                goals=len(known),
            )

    def _measured(self, one: Findings, measure: str) -> Measured | None:
        found = getattr(one, measure)
        if found is None:
            return None
        whole: Measured = found.measured if measure == "precision" else found
        return whole.take(self._places(one))

    def _places(self, one: Findings) -> Ints:
        return places_in(one.of.goal_ids, self._common)


def _reward_set(one: Findings, common: tuple[str, ...]) -> RewardSet:
    places = places_in(one.of.goal_ids, common)
    known = one.precision
    counts = {
        "control": one.is_control,
        "goals": len(one.of.goal_ids),
        "frames_known": 0 if known is None else int(known.frames[places].sum()),
        "positives": 0 if known is None else int(known.positives[places].sum()),
        "goals_sampled": 0 if known is None else known.sampled,
        "orders": one.orders,
        "successes_by": one.by,
    }
    if one.is_control:
        return RewardSet(name=one.name, **counts)
    manifest = one.of.manifest
    return RewardSet(
        name=one.name,
        encoder=manifest.encoder.name,
        cameras=manifest.embeddings,
        function=manifest.function,
        fusion=str(manifest.fusion),
        only_here=tuple(goal for goal in one.of.goal_ids if goal not in set(common)),
        **counts,
    )


def _base_rates(one: Findings) -> dict[str, float]:
    if one.precision is None:
        return {}
    counts = zip(one.precision.positives, one.precision.frames, strict=True)
    rates = [float(true / known) if known else float("nan") for true, known in counts]
    pairs = zip(one.of.goal_ids, rates, strict=True)
    return {goal: rate for goal, rate in pairs if np.isfinite(rate)}


def _agreements(
    work: Measuring, own: Sequence[Findings], common: tuple[str, ...]
) -> Iterator[RankAgreement]:
    of = dict(zip(own[0].of.goal_ids, own[0].of.families, strict=True))
    families = [of[goal_id] for goal_id in common]
    for one, other in combinations(own, 2):
        left, right = (each.sample[:, places_in(each.of.goal_ids, common)] for each in (one, other))
        tell = work.tell(f"{one.name} and {other.name}: rank agreement")
        found = agreement(left, right, tell)
        for scope, name, goals in scopes(common, families):
            known = goals[np.isfinite(found.spearman[goals])]
            yield RankAgreement(
                rewards=one.name,
                other=other.name,
                scope=scope,
                name=name,
                spearman=number(found.spearman[known].mean()) if len(known) else None,
                kendall=number(found.kendall[known].mean()) if len(known) else None,
                goals=len(known),
            )


def _disputed(
    work: Measuring, own: Sequence[Findings], common: tuple[str, ...], listed: int
) -> tuple[DisputedFrame, ...]:
    samples = [one.sample[:, places_in(one.of.goal_ids, common)] for one in own]
    found = disagreements(samples, work.episodes_at(work.rows), listed)
    places = work.frames_at(np.array([one.row for one in found], np.int64))
    frames = [(*place, common[one.goal]) for place, one in zip(places, found, strict=True)]
    names = [one.name for one in own]
    return tuple(
        DisputedFrame(
            episode_id=episode_id,
            step=step,
            goal_id=goal_id,
            scores=dict(zip(names, one.scores, strict=True)),
            ranks=dict(zip(names, one.ranks, strict=True)),
            factor=one.factor,
            truth=truth,
        )
        for (episode_id, step, goal_id), one, truth in zip(
            frames, found, work.truth.at(work.store, frames), strict=True
        )
    )


# --- notes ------------------------------------------------------------------------------------


def _notes(work: Measuring, own: Sequence[Findings], common: tuple[str, ...]) -> Iterator[str]:
    for one in own:
        yield from (f"{one.name}: {note}" for note in one.notes)
        yield from _own_goals(one, set(common))
    yield from _of_truth(work, own, common)
    yield from _of_order(work, own)
    yield from _of_frames(own, common)
    yield from _of_samples(work, own)


def _own_goals(one: Findings, common: set[str]) -> Iterator[str]:
    others = [goal for goal in one.of.goal_ids if goal not in common]
    if others:
        yield (
            f"{one.name}: {_count(len(others), 'goal')} that not every set has, left out: "
            f"{_listed(others)}"
        )


def _of_truth(work: Measuring, own: Sequence[Findings], common: tuple[str, ...]) -> Iterator[str]:
    known = own[0].precision
    if known is None:
        yield (
            "nothing is known to be true, so there is no average precision, no curve and no AUC; "
            "give labels or a column of the source that tells"
        )
        return
    if work.truth.field is not None and any(one.of.goal_ids != own[0].of.goal_ids for one in own):
        yield (
            f"column {work.truth.field} is taken to be in the order of {_whose(work, own)}; "
            "other sets find their goals by id"
        )
    places = places_in(own[0].of.goal_ids, common)
    ids = own[0].of.goal_ids
    for text, none in (
        ("nothing is known", known.frames[places] == 0),
        (
            "no frame is known to be true",
            (known.frames[places] > 0) & (known.positives[places] == 0),
        ),
        (
            "every known frame is true, so that any score is right",
            (known.frames[places] > 0) & (known.positives[places] == known.frames[places]),
        ),
    ):
        if none.any():
            names = [ids[place] for place in places[none]]
            yield f"{_count(len(names), 'goal')} of which {text}: {_listed(names)}"


def _whose(work: Measuring, own: Sequence[Findings]) -> str:
    return next(one.name for one in own if one.of.goal_ids == work.truth.goals)


def _of_order(work: Measuring, own: Sequence[Findings]) -> Iterator[str]:
    if work.truth.is_known:
        if work.truth.labels is not None:
            yield (
                "an episode counts as failed only if every frame of it is labelled no; episodes "
                "of which less is known are left out of the AUC"
            )
        return
    for one in own:
        if one.order is None:
            yield (
                f"{one.name}: has no threshold, so nothing says which episodes succeed, and there "
                "is no order of time"
            )
        else:
            yield (
                f"{one.name}: an episode succeeds where the set itself says so, a score above its "
                "goal's threshold; its order of time flatters it"
            )


def _of_frames(own: Sequence[Findings], common: tuple[str, ...]) -> Iterator[str]:
    """That sets have different frames."""
    counts = {
        one.name: int(one.precision.frames[places_in(one.of.goal_ids, common)].sum())
        for one in own
        if one.precision is not None
    }
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        yield (
            f"the sets do not score the same frames ({told}, summed over goals), so that a "
            "difference is partly one of frames"
        )


def _of_samples(work: Measuring, own: Sequence[Findings]) -> Iterator[str]:
    frames = int(work.lengths.sum())
    if len(work.rows) < frames and len(own) > 1:
        yield (
            f"rank agreement and disputed frames are of {len(work.rows):,} frames, drawn from "
            f"{frames:,}"
        )
    known = [one.precision for one in own if one.precision is not None]
    if any(one.sampled for one in known):
        yield (
            f"intervals of goals with many frames come from {MOST:,} true and {MOST:,} other "
            "frames, drawn by the seed; the values themselves are exact"
        )
    if any((one.frames > CONTROL_FRAMES).any() for one in known):
        yield f"controls are ranked on {CONTROL_FRAMES:,} frames of a goal, drawn by the seed"
    if any(one.order is not None for one in own):
        yield (
            f"order of time: up to {PER_GOAL} successful episodes of a goal, each up to its first "
            "success; an episode that succeeds at once has no order"
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _listed(names: Iterable[str]) -> str:
    own = list(names)
    more = f" and {len(own) - _NAMED} more" if len(own) > _NAMED else ""
    return ", ".join(own[:_NAMED]) + more
