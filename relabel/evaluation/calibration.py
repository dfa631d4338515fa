"""A calibration: a method fitted to what is known of a reward set, and how good it is.

evidence ─▸ folds ─▸ tallies ─┬─▸ a fit to all folds: what is written
scores of the store ──────────┴─▸ a fit without each fold: judges that fold
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from relabel.evaluation.assessment import Assessment, Figures, Judge, Judged, Summary, assess
from relabel.evaluation.distribution import Distribution, from_top
from relabel.evaluation.evidence import Evidence, GoalFrames
from relabel.evaluation.fits import UNLABELLED, Fitted, Settings, fit, standing_for
from relabel.evaluation.folds import FITTED, Folds
from relabel.evaluation.tally import Tallies, Tally

Doubles = NDArray[np.float64]

FEW: Final = 10  # labels that say yes, or no, below which figures tell little


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoalCalibration(_Model):
    """What one goal gets."""

    goal_id: str
    family: str
    labels: int  # that it is fitted to
    positives: int  # of these
    basis: str  # whose labels tell of it: goal, family, all or none
    beta: float  # of the scores that were calibrated
    beta_before: float | None  # of the reward set that was calibrated; None: it has none
    rewarded: float  # share of the store's frames with a score above beta
    rewarded_before: float | None
    silent: bool  # not one of them has
    reached: bool  # the wanted precision is expected to be reached
    expected_precision: float | None = None  # mean probability of the frames above beta
    expected_recall: float | None = None  # their share of the sum of all probabilities
    after: Figures | None = None  # of labels that were not fitted to
    before: Figures | None = None  # of the same labels


class Verdict(_Model):
    """How good the thresholds are, after and before, on the same labels."""

    how: str  # the labels were kept apart from the fit
    after: Summary
    before: Summary | None  # None: the reward set had no thresholds
    families_after: dict[str, Summary]
    families_before: dict[str, Summary] | None


class Calibration(_Model):
    """A fitted calibration, for people and for machines."""

    method: str
    precision: float | None  # wanted
    labels: int
    positives: int
    slope: float | None = None  # of platt, per log-odds or standard deviation of the score
    goals: tuple[GoalCalibration, ...]
    verdict: Verdict | None  # None: no label was kept apart
    notes: tuple[str, ...] = ()

    @property
    def silent(self) -> tuple[str, ...]:
        """Goals that no frame of the store is rewarded for."""
        return tuple(goal.goal_id for goal in self.goals if goal.silent)

    @property
    def short(self) -> tuple[str, ...]:
        """Goals that cannot reach the wanted precision."""
        return tuple(goal.goal_id for goal in self.goals if not goal.reached)

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Goals without a label of their own."""
        return tuple(goal.goal_id for goal in self.goals if not goal.labels)


@dataclass(frozen=True, eq=False)
class Asked:
    """A reward set that is to be calibrated."""

    evidence: Evidence
    distribution: Distribution
    settings: Settings
    betas: NDArray[np.float32] | None  # (G,) that it has; None: its rewards are dense
    draws: int  # of episodes, for intervals
    seed: int = 0


def calibrate(asked: Asked, folds: Folds) -> tuple[Fitted, Calibration]:
    """Fits to all labels, and judges by fits that did not see what they are judged by.

    Args:
        asked: what is to be calibrated, and how.
        folds: which labels are kept apart.
    """
    evidence, distribution, settings = (
        asked.evidence,
        asked.distribution,
        asked.settings,
    )
    tallies = Tallies.of(evidence, folds, distribution)
    whole = tallies.within(folds.final)
    made = fit(settings, whole, distribution, evidence.families)
    after, before = _assessed(asked, folds, tallies, made)
    told = Calibration(
        method=settings.method,
        precision=None if settings.method in ("best-f1", *UNLABELLED) else settings.precision,
        labels=int(whole.labels.sum()),
        positives=int(whole.positives.sum()),
        slope=None if made.platt is None else made.platt.slope,
        goals=tuple(_goals(asked, made, whole, after, before)),
        verdict=_verdict(settings, folds, after, before),
        notes=(*evidence.notes, *_notes(settings, whole, made)),
    )
    return made, told


# --- how good -----------------------------------------------------------------------------------


def _assessed(
    asked: Asked, folds: Folds, tallies: Tallies, made: Fitted
) -> tuple[Assessment | None, Assessment | None]:
    """After and before; of labels that nothing was fitted to."""
    if not folds.count:
        return None, None
    evidence, distribution, settings = (
        asked.evidence,
        asked.distribution,
        asked.settings,
    )
    judged = tallies.within(range(folds.count))
    if settings.method in UNLABELLED:
        fits = [made] * folds.count
    else:
        parts = [tallies.within(folds.fitted(fold)) for fold in range(folds.count)]
        fits = [fit(settings, part, distribution, evidence.families) for part in parts]
    standing = standing_for(settings, judged, distribution, evidence.families)
    weigh = _Weigher(distribution, standing)
    old = None if asked.betas is None else _old(folds, weigh, asked.betas)
    judges = [_new(folds, weigh, fits), old]
    after, before = assess(evidence, judges, draws=asked.draws, seed=asked.seed)
    return after, before


@dataclass(frozen=True, eq=False)
class _Weigher:
    """How many frames of the store a label stands for."""

    distribution: Distribution
    standing: tuple[Doubles, Doubles]

    def z(self, frames: GoalFrames) -> Doubles:
        """(n,) of the frames."""
        return self.distribution.scale.z(frames.score, frames.goal)

    def __call__(self, frames: GoalFrames) -> Doubles:
        """(n,) weights."""
        places = self.distribution.bins(self.z(frames))
        yes, no = (
            np.broadcast_to(w, (1, self.distribution.frames.shape[1]))[0] for w in self.standing
        )
        return np.asarray(np.where(frames.label, yes[places], no[places]))


def _new(folds: Folds, weigh: _Weigher, fits: Sequence[Fitted]) -> Judge:
    """Every frame is judged by the fit that did not see its fold."""

    def judge(frames: GoalFrames) -> Judged:
        fold = folds.of(frames)
        frames, fold = frames.select(fold != FITTED), fold[fold != FITTED]
        z = weigh.z(frames)
        reward, probability = np.zeros(len(frames), bool), np.zeros(len(frames))
        said = False
        for at, own in enumerate(fits):
            rows = fold == at
            reward[rows] = frames.score[rows] > own.betas[frames.goal]
            p = own.probability(z[rows], frames.goal)
            if p is not None:
                said, probability[rows] = True, p
        return Judged(frames, reward, probability if said else None, weigh(frames))

    return judge


def _old(folds: Folds, weigh: _Weigher, betas: NDArray[np.float32]) -> Judge:
    """As the reward set is; its score is its probability, if it is one."""
    scale = weigh.distribution.scale

    def judge(frames: GoalFrames) -> Judged:
        frames = frames.select(folds.of(frames) != FITTED)
        reward = frames.score > betas[frames.goal]
        p = frames.score.astype(np.float64) if scale.is_of_probabilities else None
        return Judged(frames, reward, p, weigh(frames))

    return judge


def _verdict(
    settings: Settings, folds: Folds, after: Assessment | None, before: Assessment | None
) -> Verdict | None:
    if after is None or not after.all.pooled.labels:
        return None
    how = "labels that no method without labels looks at"
    return Verdict(
        how=how if settings.method in UNLABELLED else folds.how,
        after=after.all,
        before=None if before is None else before.all,
        families_after=after.families,
        families_before=None if before is None else before.families,
    )


# --- goal by goal -------------------------------------------------------------------------------


def _goals(
    asked: Asked,
    made: Fitted,
    whole: Tally,
    after: Assessment | None,
    before: Assessment | None,
) -> list[GoalCalibration]:
    shares = _shares(asked, made)
    betas, places = made.betas, np.arange(len(made.place))
    return [
        GoalCalibration(
            goal_id=asked.evidence.goal_ids[goal],
            family=asked.evidence.families[goal],
            labels=int(whole.labels[goal]),
            positives=int(whole.positives[goal]),
            basis=made.basis[goal],
            beta=float(betas[goal]),
            beta_before=None if asked.betas is None else float(asked.betas[goal]),
            silent=not shares["rewarded"][goal],
            reached=bool(made.reached[goal]),
            after=None if after is None else after.goals[goal],
            before=None if before is None else before.goals[goal],
            **{name: _number(values[goal]) for name, values in shares.items()},
        )
        for goal in places.tolist()
    ]


def _shares(asked: Asked, made: Fitted) -> Mapping[str, Doubles]:
    """(G,) shares of the store's frames; NaN where there is none."""
    distribution = asked.distribution
    above, rows = distribution.above(), np.arange(len(made.place))
    total = above[:, 0].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {"rewarded": np.nan_to_num(above[rows, made.place] / total)}
        if asked.betas is None:
            found["rewarded_before"] = np.full(len(rows), np.nan)
        else:
            z = distribution.scale.z(asked.betas, rows)
            old = np.clip(np.searchsorted(distribution.edges, z), 0, above.shape[1] - 1)
            found["rewarded_before"] = np.nan_to_num(above[rows, old] / total)
        p = made.probabilities
        if p is not None:
            hits = from_top(distribution.frames * p)
            found["expected_precision"] = hits[rows, made.place] / above[rows, made.place]
            found["expected_recall"] = hits[rows, made.place] / hits[:, 0]
    return found


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


# --- notes --------------------------------------------------------------------------------------


def _notes(settings: Settings, whole: Tally, made: Fitted) -> list[str]:
    """What a reader of the figures has to know."""
    notes = []
    labels, positives = int(whole.labels.sum()), int(whole.positives.sum())
    if settings.method in UNLABELLED:
        notes.append(_WEAKNESS[settings.method])
        return notes
    if positives in (0, labels):
        said = "no" if not positives else "yes"
        notes.append(
            f"all {labels} labels say {said}: they tell little of where the threshold is; label "
            f"frames with {'high' if said == 'no' else 'low'} scores too"
        )
    elif min(positives, labels - positives) < FEW:
        rare, said = (positives, "yes") if positives < FEW else (labels - positives, "no")
        notes.append(
            f"{rare} of {labels} labels say {said}: every figure and interval rests on so few"
        )
    if made.platt is not None and made.platt.slope == 0:
        notes.append(
            "among the labels a higher score makes success no likelier: no threshold of these "
            "scores means anything"
        )
    if settings.sampled and settings.drawn == "by-answer":
        notes.append(
            "labels were chosen by their answer: how often a goal holds is estimated from all "
            "scores of the store, and figures rest on that"
        )
    return notes


_WEAKNESS = {
    "quantile": (
        "without labels: the same share of episodes is taken to succeed at every goal, whether it "
        "does or not; a goal that is never reached is rewarded all the same"
    ),
    "valley": (
        "without labels: frames above the valley of the scores are taken for successes; an encoder "
        "that errs with confidence has a valley too, and a rare goal may have none of its own"
    ),
}
