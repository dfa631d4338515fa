"""What the figures of an audit mean: warnings, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from relabel.evaluation.audit_report import AuditReport, CoverageAudit, GoalAudit
from schemas.manifests import RewardManifest

OUTSIDE: Final = 0.1  # share of a camera's frames from which on it is a warning
UNFIT: Final = 0.5  # likewise
FOLLOWS: Final = 0.01  # scores follow instructions if p is no higher
_FEWEST: Final = 5  # instructions, that p can be so low: 1 / 5! < 0.01
PRECISE: Final = 0.9  # precision of a goal below which it is named
AT_ONCE: Final = 0.01  # share of frames that exclusive goals claim at once
PREFERRED: Final = 0.25  # share of claimed frames at which a counterfactual fits better
_NAMED: Final = 5


def warnings(report: AuditReport) -> tuple[str, ...]:
    """What speaks against the rewards, the gravest first."""
    return (*_of_coverage(report), *_of_instructions(report), *_of_goals(report))


def coverage_warning(coverage: CoverageAudit) -> str | None:
    """One sentence, if frames lie outside of what the encoder can tell apart; else None."""
    if coverage.outside is not None and coverage.outside > OUTSIDE:
        return (
            f"{coverage.outside:.0%} of the frames of {coverage.embeddings} lie outside of what "
            f"the encoder can tell apart ({coverage.expected:.0%} would be expected); their scores "
            "mean little, however sure they look"
        )
    if coverage.unfit is not None and coverage.unfit > UNFIT:
        return (
            f"no prompt fits {coverage.unfit:.0%} of the frames of {coverage.embeddings}, neither "
            "of a goal nor of nothing, as the encoder itself counts; it may not know such frames "
            "or such words"
        )
    return None


def _of_coverage(report: AuditReport) -> Iterator[str]:
    found = (coverage_warning(coverage) for coverage in report.coverage)
    yield from (warning for warning in found if warning is not None)


def _of_instructions(report: AuditReport) -> Iterator[str]:
    found = report.instructions
    if found is not None and found.instructions >= _FEWEST and found.p > FOLLOWS:
        yield (
            f"scores do not follow the instructions: an episode scores higher for what it is told "
            f"than {found.lift:.0%} of the others, where 50% is chance (p = {found.p:.2g})"
        )


def _of_goals(report: AuditReport) -> Iterator[str]:
    never = [goal.goal_id for goal in report.goals if goal.state == "never on"]
    always = [goal.goal_id for goal in report.goals if goal.state == "always on"]
    if always:
        yield f"{_of(always, report)} always on: {_named(always)}"
    if never:
        yield f"{_of(never, report)} never on: {_named(never)}"
    false = [goal for goal in report.goals if goal.precision is not None]
    false = sorted((g for g in false if _precision(g) < PRECISE), key=_precision)
    if false:
        yield (
            f"{len(false)} of {len(report.goals)} goals have a precision below {PRECISE:g}, the "
            f"lowest first: {_named([goal.goal_id for goal in false])}; `vlm-relabel calibrate` "
            "finds thresholds"
        )
    if report.claims.at_once is not None and report.claims.at_once > AT_ONCE:
        yield f"{report.claims.at_once:.1%} of the frames are claimed by exclusive goals at once"
    for swap in report.swaps:
        if swap.rate is not None and swap.rate > PREFERRED:
            yield (
                f"at {swap.rate:.0%} of the claimed frames a text with another {swap.kind} fits "
                "better than the goal's own"
            )
        if swap.alike:
            yield (
                f"the encoder does not tell {swap.alike} of {swap.texts} texts with another "
                f"{swap.kind} from the goal's own"
            )


def _of(ids: Sequence[str], report: AuditReport) -> str:
    return f"{len(ids)} of {len(report.goals)} goals {'is' if len(ids) == 1 else 'are'}"


def _precision(goal: GoalAudit) -> float:
    return 1.0 if goal.precision is None else goal.precision


def notes(report: AuditReport, manifest: RewardManifest) -> tuple[str, ...]:
    """What could not be told, and what would tell it."""
    return tuple(_notes(report, manifest))


def _notes(report: AuditReport, manifest: RewardManifest) -> Iterator[str]:
    if report.truth is None:
        yield (
            "without labels, false positives cannot be told from successes: --labels or "
            "--labels-field tells"
        )
    if not manifest.scores:
        yield "the reward set has no scores (--no-scores): its rewards tell what goals claim"
    missing = report.swaps_from.get("missing", 0)
    if missing:
        yield (
            f"{missing} counterfactual texts are embedded nowhere in the store and were left out; "
            "--encoder embeds them"
        )
    if not report.coverage:
        yield "the embeddings of these rewards are not in the store: coverage cannot be told"
    elif all(coverage.reference is None for coverage in report.coverage):
        yield (
            "nothing tells what frames the encoder knows: --reference takes a store of such "
            "frames, or what --save-reference wrote of one"
        )
    if report.instructions is None:
        yield "no two instructions name goals of the set: scores cannot be held against them"
    elif report.instructions.instructions < _FEWEST:
        yield (
            f"{report.instructions.instructions} instructions are too few to tell whether scores "
            "follow them"
        )


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
