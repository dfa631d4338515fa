"""The job `calibrate`: what is known of a reward set becomes another one, of better thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.calibration import Asked, Calibration
from relabel.evaluation.calibration import calibrate as fitted
from relabel.evaluation.distribution import read_distribution
from relabel.evaluation.evidence import Evidence, of_field, of_labels, scored
from relabel.evaluation.fits import (
    DRAWN,
    PRECISE,
    PRECISION,
    PROBABLE,
    UNLABELLED,
    Fitted,
    Method,
    Settings,
)
from relabel.evaluation.folds import Folds, dealt, set_aside
from relabel.evaluation.tally import Drawn
from relabel.evaluation.truth import given_labels, no_label
from relabel.jobs.options import JobOptions
from relabel.jobs.plans import made_by
from relabel.jobs.report import JobReport
from relabel.jobs.rescore_plan import RescorePlan, plan_rescoring
from relabel.jobs.run import rescore
from relabel.jobs.work import Engine, in_this_process
from relabel.rewards.base import RewardFunction
from relabel.rewards.calibrated import Calibrated
from relabel.rewards.potential_difference import PotentialDifference
from relabel.rewards.registry import from_content
from schemas import fields
from schemas.errors import RewardError, StoreError
from schemas.extras import named_extras
from schemas.labels import Labels
from schemas.manifests import RewardManifest
from schemas.names import check_name
from schemas.store import Store

Output = Literal["thresholds", "probabilities"]
Each = Callable[[str, int, int], None]  # what is read; of slices, done and in all


def _silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class CalibrateOptions:
    """What is calibrated, by what, and how."""

    rewards: str = "v1"
    name: str = "v1-calibrated"
    labels: str | Labels | None = None  # path or URL of a label table, or its labels
    labels_field: str | None = None  # column of the steps table
    where: str | None = None  # column of flags: only these frames are known
    test_where: str | None = None  # column of flags: these frames judge, and are not fitted to
    method: Method = "platt"
    precision: float | None = None  # None: 0.95, of methods that are asked for one
    success_rate: float | None = None
    drawn: Drawn | None = None  # None: by-score
    output: Output = "thresholds"
    draws: int = 200
    seed: int = 0
    each: Each = _silent


class CalibrateReport(JobReport):
    """One run of `calibrate`."""

    rewards: str  # that were calibrated
    name: str  # of the new reward set
    output: Output
    calibration: Calibration


@named_extras("calibrate")
def calibrate(
    options: JobOptions, what: CalibrateOptions, execute: Engine = in_this_process
) -> CalibrateReport:
    """Labels and stored scores → thresholds or probabilities, and a reward set of them.

    Raises:
        RelabelError: anything the user can mend; nothing half-written looks whole.
    """
    check_name("--name", what.name)
    _check(what)
    store = Store.open(options.store, trust=options.trust)
    manifest = scored(store, what.rewards)
    inside = _inside(manifest, what)
    evidence = _evidence(store, what)
    asked = Asked(
        evidence=evidence,
        distribution=read_distribution(store, manifest, partial(what.each, "scores")),
        settings=_settings(what),
        betas=_betas(store, manifest),
        draws=what.draws,
        seed=what.seed,
    )
    made, told = fitted(asked, _folds(store, what, evidence))
    _check_evidence(store, what, evidence, told)
    function = _as_recorded(store, what, _function(inside, what, manifest, evidence, made))
    plan = plan_rescoring(
        store, what.rewards, what.name, function, made_by(options), options.command
    )
    done = rescore(options, _noted(plan, told), execute)
    return CalibrateReport(
        **{name: getattr(done, name) for name in JobReport.model_fields},
        rewards=what.rewards,
        name=what.name,
        output=what.output,
        calibration=told,
    )


# --- what is asked ------------------------------------------------------------------------------


def _check(what: CalibrateOptions) -> None:
    """Refuses options that do not go together."""
    if what.name == what.rewards:
        raise StoreError(
            f"--name {what.name}: is the reward set that is calibrated; a calibration is written "
            "beside it, under another name"
        )
    known = what.labels is not None or what.labels_field is not None
    if not known and what.method not in UNLABELLED:
        raise StoreError(
            f"--method {what.method}: expected labels, got none; give --labels FILE (`vlm-relabel "
            "label` makes one) or --labels-field COLUMN; without labels there are --method valley "
            "and --method quantile --success-rate SHARE"
        )
    if what.test_where is not None and not known:
        raise StoreError("--test-where: expected labels to test with, got none; give --labels")
    if (what.method == "quantile") != (what.success_rate is not None):
        raise StoreError(
            "--success-rate: the share of episodes that reach each goal; it goes with --method "
            f"quantile and with no other method, got --method {what.method} and "
            f"{what.success_rate}"
        )
    if what.precision is not None and what.method not in PRECISE:
        raise StoreError(
            f"--precision {what.precision:g}: --method {what.method} is asked for no precision; "
            f"those that are: {', '.join(PRECISE)}"
        )
    if what.drawn is not None and what.labels is None:
        raise StoreError(
            f"--drawn {what.drawn}: says how the frames of --labels were chosen, and there are no "
            "--labels; leave it out"
        )
    if what.output == "probabilities" and what.method not in PROBABLE:
        raise StoreError(
            f"--output probabilities: --method {what.method} gives thresholds alone; those with "
            f"probabilities are {' and '.join(PROBABLE)}"
        )


def _settings(what: CalibrateOptions) -> Settings:
    return Settings(
        method=what.method,
        precision=PRECISION if what.precision is None else what.precision,
        success_rate=what.success_rate,
        drawn=DRAWN if what.drawn is None else what.drawn,
        sampled=what.labels is not None,
    )


def _inside(manifest: RewardManifest, what: CalibrateOptions) -> RewardFunction:
    """The function whose scores are calibrated; of thresholds, without a difference around it.

    Raises:
        RewardError: it is calibrated already.
    """
    function = from_content(manifest.function, here=False)
    inside = function.of if isinstance(function, PotentialDifference) else function
    if isinstance(inside, Calibrated):
        of = inside.provenance.get("rewards", "that it was made of")
        raise RewardError(
            f"rewards/{manifest.name}: is calibrated already; calibrate the reward set {of} instead"
        )
    return function if what.output == "probabilities" else inside


def _betas(store: Store, manifest: RewardManifest) -> NDArray[np.float32] | None:
    if not manifest.binary:
        return None
    goals = store.goals(manifest.name, [fields.THRESHOLD])
    found: NDArray[np.float32] = goals.column(fields.THRESHOLD).to_numpy().astype(np.float32)
    return found


# --- what is known ------------------------------------------------------------------------------


def _evidence(store: Store, what: CalibrateOptions) -> Evidence:
    tell = partial(what.each, "labels")
    labels = given_labels(what.labels, what.labels_field, what.where)
    if what.labels_field is not None:
        return of_field(store, what.rewards, what.labels_field, where=what.where, tell=tell)
    if labels is None:
        none = Labels.of_rows([])
        return replace(of_labels(store, what.rewards, none), source={})
    return of_labels(store, what.rewards, labels, tell=tell)


def _folds(store: Store, what: CalibrateOptions, evidence: Evidence) -> Folds:
    if what.test_where is not None:
        return set_aside(store, evidence, what.test_where)
    return dealt(evidence, what.seed)


def _check_evidence(
    store: Store, what: CalibrateOptions, evidence: Evidence, told: Calibration
) -> None:
    """Refuses to fit to nothing."""
    if told.labels or what.method in UNLABELLED:
        return
    aside = "" if what.test_where is None else f", apart from those where {what.test_where} is true"
    raise no_label(store, what.rewards, f"to fit to{aside}", evidence.notes)


# --- what comes out -----------------------------------------------------------------------------


def _function(
    inside: RewardFunction,
    what: CalibrateOptions,
    manifest: RewardManifest,
    evidence: Evidence,
    made: Fitted,
) -> RewardFunction:
    """The reward function with what was fitted."""
    settings = _settings(what)
    told = {
        "rewards": manifest.name,
        "rewards_fingerprint": manifest.fingerprint,
        "method": what.method,
        "precision": settings.precision,
        "success_rate": what.success_rate,
        "drawn": settings.drawn,
        "test_where": what.test_where,
        **evidence.source,
    }
    given = {name: value for name, value in told.items() if value is not None}
    if what.output == "thresholds":
        betas = tuple(float(beta) for beta in made.betas)
        return Calibrated(of=inside, betas=betas, provenance=given)
    if isinstance(inside, PotentialDifference):
        return inside.model_copy(update={"of": _probable(inside.of, made, given)})
    return _probable(inside, made, given)


def _probable(of: RewardFunction, made: Fitted, provenance: dict[str, Any]) -> Calibrated:
    """With probabilities, on the axis of the scores themselves unless these are probabilities."""
    if made.platt is None:
        raise ValueError("a fit without probabilities")
    scale = made.distribution.scale
    slopes = made.platt.slope / scale.sd
    shifts = made.platt.shift - slopes * scale.mean
    knots = None
    if made.knots is not None:
        pairs = zip(made.knots, scale.mean, scale.sd, strict=True)
        knots = tuple(tuple((m + sd * z, p) for z, p in own) for own, m, sd in pairs)
    return Calibrated(
        of=of,
        x="log-odds" if scale.is_of_probabilities else "score",
        slopes=tuple(slopes.tolist()),
        shifts=tuple(shifts.tolist()),
        knots=knots,
        provenance=provenance,
    )


def _as_recorded(store: Store, what: CalibrateOptions, function: RewardFunction) -> RewardFunction:
    """What was fitted before to the same labels in the same way, if the table was begun with it.

    Another machine may fit other last digits; a table is continued with its own.
    """
    there = store.recorded(f"rewards/{what.name}")
    if not isinstance(there, RewardManifest):
        return function
    asked = _told(function.model_dump(mode="json"))
    return from_content(there.function, here=False) if _told(there.function) == asked else function


def _told(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """Of a reward function: its name, where a calibration comes from, and what it gives."""
    inside = content["of"] if content["name"] == PotentialDifference.name else content
    if inside["name"] != Calibrated.name:
        return (content["name"], None)
    return content["name"], inside.get("provenance"), inside.get("betas") is None


def _noted(plan: RescorePlan, told: Calibration) -> RescorePlan:
    return replace(plan, notes=told.notes)
