"""What an audit found, for people and for machines."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GoalAudit(_Model):
    """One goal."""

    goal_id: str
    family: str
    above: float | None  # what it claims a frame above; None: it has no score
    frames: int  # that have a score
    claimed: float | None  # share of these
    state: str = ""  # "never on", "always on"
    # Where the truth is known:
    known: int | None = None  # frames
    precision: float | None = None
    recall: float | None = None
    false_positives: dict[str, int] | None = None  # frames, by kind
    # Of claimed frames, the share at which a counterfactual fits better:
    counterfactual: float | None = None


class KindAudit(_Model):
    """False positives of one kind: of goals that are absent, before the success, or after it."""

    kind: str
    frames: int  # at which a goal does not hold, over all goals
    claimed: int  # false positives
    rate: float | None
    episodes: int  # pairs of an episode and a goal
    fooled: int  # of these, with a false positive


class SwapAudit(_Model):
    """What one kind of exchanged word does: colour, object or relation."""

    kind: str
    texts: int  # counterfactuals whose embeddings could be had
    alike: int  # of these, those that the encoder does not tell from the goal's own texts
    frames: int  # claimed ones that were looked at
    preferred: int  # of these, those at which a counterfactual fits better than the goal
    rate: float | None
    # Where the truth is known: frames at which the other goal holds, and this one does not
    shown: int | None = None
    claimed: int | None = None  # of these, claimed all the same
    false_rate: float | None = None


class PairAudit(_Model):
    """A goal in the episodes of another."""

    goal: str
    episodes_of: str
    episodes: int
    share: float  # of the episodes in which the goal claims a frame
    rise: float  # likewise, but not the first one


class ConfusionAudit(_Model):
    """The confusion matrix in short."""

    basis: str  # "truth", "commands" or "claims"
    own: float | None  # mean share of goals in their own episodes
    others: float | None  # mean share in those of other goals
    worst: tuple[PairAudit, ...]


class RivalsAudit(_Model):
    """Two exclusive goals that claim frames at once."""

    goals: tuple[str, str]
    frames: int


class ClaimsAudit(_Model):
    """How many goals claim a frame."""

    frames: int  # that have a score
    mean_goals: float | None
    none: float | None  # share of frames that no goal claims
    exclusive_pairs: int  # of goals
    at_once: float | None  # share of frames that two or more exclusive goals claim
    rivals: tuple[RivalsAudit, ...]


class InstructionAudit(_Model):
    """Whether scores follow the instructions of the episodes."""

    lift: float  # 0.5 is chance
    p: float
    instructions: int
    episodes: int


class CoverageAudit(_Model):
    """Whether the encoder knows frames like those of one camera."""

    embeddings: str
    frames: int  # that have an embedding
    reference: str | None  # what they are compared with; None: nothing
    outside: float | None = None  # share of the frames that lie outside
    expected: float | None = None  # of frames of the reference's own kind
    unfit: float | None = None  # share of the frames that no prompt fits; of sigmoid models alone


class AuditReport(_Model):
    """One audit of one reward set."""

    store: str
    rewards: str
    encoder: str
    claims_are: str  # what a goal claims a frame above
    truth: dict[str, Any] | None  # where the truth comes from
    goals: tuple[GoalAudit, ...]
    claims: ClaimsAudit
    kinds: tuple[KindAudit, ...] = ()
    swaps: tuple[SwapAudit, ...] = ()
    swaps_from: dict[str, int] = {}  # counterfactuals by where their embeddings come from
    swaps_elsewhere: float | None = None  # rate of claims where neither goal holds
    confusion: ConfusionAudit
    instructions: InstructionAudit | None
    coverage: tuple[CoverageAudit, ...]
    warnings: tuple[str, ...]  # what speaks against the rewards
    notes: tuple[str, ...]  # what was set aside, and what cannot be told
