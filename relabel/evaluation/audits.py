"""An audit: where the rewards of a set fool themselves. One pass over scores and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from relabel.evaluation import conclusions
from relabel.evaluation.audit_report import (
    AuditReport,
    ClaimsAudit,
    ConfusionAudit,
    CoverageAudit,
    GoalAudit,
    InstructionAudit,
    KindAudit,
    PairAudit,
    RivalsAudit,
    SwapAudit,
)
from relabel.evaluation.claims import (
    Bounds,
    ClaimBlock,
    RowReader,
    bounds_of,
    claim_blocks,
    places_with_frames,
)
from relabel.evaluation.commanded import commanded_goals
from relabel.evaluation.confusions import ClaimsConfusion, Confusion, TruthConfusion
from relabel.evaluation.counterfactual_counts import (
    EmbeddedTexts,
    EncodeTexts,
    Preferences,
    embedded,
    mean_text,
)
from relabel.evaluation.counterfactuals import KINDS as SWAPS
from relabel.evaluation.counterfactuals import counterfactuals, neighbours
from relabel.evaluation.coverage import EXPECTED, Reference
from relabel.evaluation.evidence import Evidence, Floats, Tell
from relabel.evaluation.exclusive import ClaimCounts, exclusive_goals
from relabel.evaluation.false_positives import (
    KINDS,
    FalsePositives,
    NearMisses,
    TruthBits,
)
from relabel.evaluation.instructed import BestScores, Instructed
from relabel.goals.prompts import goal_prompts, whole_prompt
from schemas import fields
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import matrix
from schemas.text_embeddings import stored_texts

LISTED: Final = 50  # pairs of goals in a report
ALWAYS: Final = 0.9  # share of its frames from which on a goal is always on
_EPISODES: Final = 5  # of a pair of goals that is listed, unless all have fewer
_SAMPLED: Final = 1 << 16  # frames that are compared with counterfactuals


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found: in figures, and as a matrix."""

    report: AuditReport
    confusion: Confusion


@dataclass(frozen=True, eq=False)
class AuditMeans:
    """What an audit may look at, beside the reward set."""

    evidence: Evidence | None = None
    above: float | None = None  # what goals claim frames above; None: their thresholds
    references: Mapping[str, Reference] = field(default_factory=dict)  # by embedding table
    encode_texts: EncodeTexts | None = None  # of the encoder; None: it is not at hand
    notes: tuple[str, ...] = ()  # said beside its own


Telling = Callable[[str], Tell]  # what is being done


def _silent(what: str) -> Tell:
    return lambda done, total: None


def audit(
    store: Store, rewards: str, asked: AuditMeans | None = None, tell: Telling = _silent
) -> Audit:
    """Audits a reward set.

    Args:
        store: holds it.
        rewards: its name.
        asked: what else is known, and what with.
        tell: told what is being done, and how far it is.

    Raises:
        StoreError: no such reward set, or it is unfinished or damaged.
    """
    asked = AuditMeans() if asked is None else asked
    manifest, bounds = store.rewards(rewards), bounds_of(store, rewards, asked.above)
    found = _Pass.of(store, manifest, bounds, asked)
    for block in claim_blocks(store, rewards, bounds, tell("reading scores")):
        found.add(block)
    known = None if asked.evidence is None else _Known.of(store, rewards, asked.evidence, bounds)
    pairs = found.confusion.result() if known is None else known.confusion.result()
    report = _Reporter(store, manifest, bounds, asked, found, pairs, known).report()
    return Audit(report, pairs)


@dataclass(frozen=True, eq=False)
class _Known:
    """What the truth tells: evidence is gone through once."""

    wrong: FalsePositives
    near: NearMisses
    confusion: TruthConfusion

    @classmethod
    def of(cls, store: Store, rewards: str, evidence: Evidence, bounds: Bounds) -> _Known:
        lengths = store.read("episodes", [fields.LENGTH]).column(fields.LENGTH).to_numpy()
        wrong, confused = FalsePositives(bounds), TruthConfusion(evidence, bounds)
        bits = TruthBits(bounds, lengths.astype(np.int64))
        for frames in evidence:
            wrong.add(frames)
            bits.add(frames)
            confused.add(frames)
        apart = neighbours(store.goal_set(rewards))
        return cls(wrong, bits.near_misses([apart[kind] for kind in SWAPS]), confused)


# --- one pass ---------------------------------------------------------------------------------


@dataclass(eq=False)
class _Camera:
    """The embeddings of one camera, beside the claims."""

    table: str
    reference: Reference | None
    prompts: Floats | None  # (P, D) of a sigmoid model, for which 0 is the border
    border: float
    frames: int = 0
    outside: int = 0
    unfit: int = 0

    def add(self, embeddings: Floats) -> None:
        """Looks at some frames (n, D)."""
        there = embeddings[np.isfinite(embeddings).all(axis=1)]
        self.frames += len(there)
        if self.reference is not None:
            self.outside += int((self.reference.distances(there) > self.reference.bound).sum())
        if self.prompts is not None and len(there):
            self.unfit += int(((there @ self.prompts.T).max(axis=1) < self.border).sum())

    def audit(self) -> CoverageAudit:
        """As reported."""
        share = None if self.reference is None else _share(self.outside, self.frames)
        return CoverageAudit(
            embeddings=self.table.partition("/")[2],
            frames=self.frames,
            reference=None if self.reference is None else self.reference.origin,
            outside=share,
            expected=None if self.reference is None else EXPECTED,
            unfit=None if self.prompts is None else _share(self.unfit, self.frames),
        )


@dataclass(eq=False)
class _Pass:
    """What is counted while the scores are read once."""

    store: Store
    counts: ClaimCounts
    best: BestScores
    confusion: ClaimsConfusion
    texts: EmbeddedTexts | None
    preferences: Preferences | None
    cameras: list[_Camera]
    readers: list[RowReader] = field(default_factory=list)
    piece: int = -1

    @classmethod
    def of(cls, store: Store, manifest: RewardManifest, bounds: Bounds, asked: AuditMeans) -> _Pass:
        goals = store.goals(manifest.name)
        told = commanded_goals(store, manifest.name)
        cameras = _cameras(store, manifest, asked)
        texts = _texts(store, manifest, asked) if cameras else None
        frames = sum(f.rows for f in manifest.files if f.table == manifest.table)
        stride = max(1, frames // _SAMPLED)
        return cls(
            store,
            ClaimCounts(exclusive_goals(goals)),
            BestScores(told, places_with_frames(store)),
            ClaimsConfusion(store, manifest.name, bounds, told),
            texts,
            None if texts is None or not texts.items else Preferences(texts, stride),
            cameras,
        )

    def add(self, block: ClaimBlock) -> None:
        """Looks at the frames of a block."""
        self.counts.add(block)
        self.best.add(block)
        self.confusion.add(block)
        if self.cameras:
            self._open(block)
            embeddings = [reader.take(len(block.claimed)) for reader in self.readers]
            for camera, own in zip(self.cameras, embeddings, strict=True):
                camera.add(own)
            if self.preferences is not None:
                self.preferences.add(block, embeddings)

    def _open(self, block: ClaimBlock) -> None:
        """Goes on to the slice of a block."""
        if block.slice != self.piece:
            self.piece, piece = block.slice, self.store.slices[block.slice]
            self.readers = [
                RowReader(self.store, camera.table, piece, fields.EMBEDDING, 1 << 12)
                for camera in self.cameras
            ]


def _cameras(store: Store, manifest: RewardManifest, asked: AuditMeans) -> list[_Camera]:
    """Those whose embeddings are there, with what they are compared with."""
    there = {table.table for table in store.embeddings()}
    tables = [t for name in manifest.embeddings if (t := f"embeddings/{name}") in there]
    spec, prompts, border = manifest.encoder, None, 0.0
    if spec.logit_bias is not None and tables:
        prompts, border = (
            _prompts(store, manifest, asked.encode_texts),
            -spec.logit_bias / spec.logit_scale,
        )
    return [_Camera(t, asked.references.get(t), prompts, border) for t in tables]


def _prompts(
    store: Store, manifest: RewardManifest, encode_texts: EncodeTexts | None
) -> Floats | None:
    """(P, D) everything that a frame is compared with; None: not all of it can be had."""
    goals = store.goal_set(manifest.name)
    whole = [whole_prompt(goals, goal) for goal in goals.goals]
    own = dict(zip(whole, _own(store, manifest), strict=True))
    others = [prompt for prompt in goal_prompts(goals) if prompt not in own]  # of texts alone
    known = dict(stored_texts(store, manifest.encoder))
    missing = list(dict.fromkeys(t for prompt in others for t in prompt.texts if t not in known))
    if missing and encode_texts is None:
        return None
    if missing and encode_texts is not None:
        known.update(zip(missing, encode_texts(missing), strict=True))
    made = (mean_text([known[text] for text in prompt.texts]) for prompt in others)
    return np.stack([*own.values(), *made])


def _own(store: Store, manifest: RewardManifest) -> Floats:
    """(G, D) of the goals, each of its texts and its examples together."""
    return matrix(store.goals(manifest.name, [fields.TEXT_EMBEDDING]).column(0))


def _texts(store: Store, manifest: RewardManifest, asked: AuditMeans) -> EmbeddedTexts:
    items = [one for one in counterfactuals(store.goal_set(manifest.name)) if not one.may_hold]
    own = _own(store, manifest)
    return embedded(items, own, stored_texts(store, manifest.encoder), asked.encode_texts)


# --- report -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Reporter:
    store: Store
    manifest: RewardManifest
    bounds: Bounds
    asked: AuditMeans
    found: _Pass
    confusion: Confusion
    known: _Known | None

    def report(self) -> AuditReport:
        """All of it."""
        evidence = self.asked.evidence
        report = AuditReport(
            store=self.store.location,
            rewards=self.manifest.name,
            encoder=self.manifest.encoder.name,
            claims_are=self.bounds.how,
            truth=None if evidence is None else dict(evidence.source),
            goals=tuple(self._goal(goal) for goal in range(self.manifest.goals)),
            claims=self._claims(),
            kinds=self._kinds(),
            swaps=self._swaps(),
            swaps_from=self._sources(),
            swaps_elsewhere=self._elsewhere(),
            confusion=self._confusion(),
            instructions=_instructions(self.found.best.result()),
            coverage=tuple(camera.audit() for camera in self.found.cameras),
            warnings=(),
            notes=(*(evidence.notes if evidence is not None else ()), *self.asked.notes),
        )
        found: dict[str, Any] = {
            "warnings": conclusions.warnings(report),
            "notes": (*report.notes, *conclusions.notes(report, self.manifest)),
        }
        return report.model_copy(update=found)

    def _goal(self, goal: int) -> GoalAudit:
        counts, above = self.found.counts, float(self.bounds.above[goal])
        known, claimed = int(counts.known[goal]), int(counts.claimed[goal])
        share = _share(claimed, known)
        state = (
            "" if share is None or 0 < share < ALWAYS else "never on" if not share else "always on"
        )
        more: dict[str, Any] = {}
        if self.known is not None:
            wrong = self.known.wrong
            false = wrong.claimed[goal]
            hits, positives = int(wrong.hits[goal]), int(wrong.positives[goal])
            more = {
                "known": int(wrong.known[goal]),
                "precision": _share(hits, hits + int(false.sum())),
                "recall": _share(hits, positives),
                "false_positives": dict(zip(KINDS, false.tolist(), strict=True)),
            }
        preferences = self.found.preferences
        if preferences is not None:
            looked_at = int(preferences.looked_at[:, goal].max())
            more["counterfactual"] = _share(int(preferences.preferred[:, goal].max()), looked_at)
        return GoalAudit(
            goal_id=self.confusion.goal_ids[goal],
            family=self.confusion.families[goal],
            above=above if np.isfinite(above) else None,
            frames=known,
            claimed=share,
            state=state,
            **more,
        )

    def _claims(self) -> ClaimsAudit:
        counts, ids = self.found.counts, self.confusion.goal_ids
        rivals = counts.rivals()[:LISTED]
        return ClaimsAudit(
            frames=counts.frames,
            mean_goals=_known(counts.mean_goals),
            none=_share(int(counts.goals_per_frame[0]), counts.frames),
            exclusive_pairs=int(counts.exclusive.sum()) // 2,
            at_once=_share(counts.at_once, counts.frames),
            rivals=tuple(RivalsAudit(goals=(ids[i], ids[j]), frames=n) for i, j, n in rivals),
        )

    def _kinds(self) -> tuple[KindAudit, ...]:
        if self.known is None:
            return ()
        wrong = self.known.wrong
        tables = (wrong.frames, wrong.claimed, wrong.episodes, wrong.fooled)
        sums = np.stack([table.sum(axis=0) for table in tables]).T.tolist()
        return tuple(
            KindAudit(
                kind=kind,
                frames=frames,
                claimed=claimed,
                rate=_share(claimed, frames),
                episodes=episodes,
                fooled=fooled,
            )
            for kind, (frames, claimed, episodes, fooled) in zip(KINDS, sums, strict=True)
        )

    def _swaps(self) -> tuple[SwapAudit, ...]:
        return tuple(
            audit
            for place, kind in enumerate(SWAPS)
            if (audit := self._swap(place, kind)).texts or audit.shown
        )

    def _swap(self, place: int, kind: str) -> SwapAudit:
        preferences = self.found.preferences
        texts = alike = frames = preferred = 0
        if preferences is not None:
            own = [one.kind == kind for one in preferences.texts.items]
            texts, alike = sum(own), int(preferences.texts.alike[own].sum())
            frames = int(preferences.looked_at[place].sum())
            preferred = int(preferences.preferred[place].sum())
        more: dict[str, Any] = {}
        if self.known is not None:
            near = self.known.near
            shown, claimed = int(near.frames[place]), int(near.claimed[place])
            more = {"shown": shown, "claimed": claimed, "false_rate": _share(claimed, shown)}
        return SwapAudit(
            kind=kind,
            texts=texts,
            alike=alike,
            frames=frames,
            preferred=preferred,
            rate=_share(preferred, frames),
            **more,
        )

    def _sources(self) -> dict[str, int]:
        texts = self.found.texts
        return {} if texts is None else dict(texts.sources)

    def _elsewhere(self) -> float | None:
        near = None if self.known is None else self.known.near
        return None if near is None else _share(near.others_claimed, near.others)

    def _confusion(self) -> ConfusionAudit:
        found, ids = self.confusion, self.confusion.goal_ids
        own = np.eye(len(ids), dtype=bool)
        worst = (found.worst(_EPISODES) or found.worst())[:LISTED]
        return ConfusionAudit(
            basis=found.basis,
            own=_mean(found.share[own]),
            others=_mean(found.share[~own]),
            worst=tuple(
                PairAudit(
                    goal=ids[i],
                    episodes_of=ids[j],
                    episodes=int(found.episodes[i, j]),
                    share=float(found.share[i, j]),
                    rise=float(found.rise[i, j]),
                )
                for i, j in worst
            ),
        )


def _instructions(found: Instructed | None) -> InstructionAudit | None:
    if found is None:
        return None
    return InstructionAudit(
        lift=found.lift, p=found.p, instructions=found.instructions, episodes=found.episodes
    )


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if len(known) else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
