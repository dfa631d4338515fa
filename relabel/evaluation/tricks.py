"""Known tricks with embeddings: what can be tried on a reward set without embedding anything again.

    of embeddings   f' = (f - m) W, of unit length again; texts likewise, with a mean of their own
                    centred        W = 1
                    standardised   W = 1 / deviation of each dimension
                    whitened       W = C^(-1/2) of the frames' covariance
    of texts        prompt bias: from each prompt's cosine its mean over the frames is taken away
    of the reward   temperature, window over frames, potential difference
    of several      the mean, the lowest or the highest score of cameras, or of reward sets

Mean, deviation and covariance are those of the frames that are scored; no label is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from relabel.evaluation.evidence import Floats, Ints
from relabel.goals.prompts import Prompts
from relabel.rewards.base import Formula
from relabel.rewards.registry import from_content
from relabel.rewards.scorer import Scorer, bind
from schemas.encoders import EncoderSpec
from schemas.enums import Fusion, Timing
from schemas.goals import GoalSet

TEMPERATURES: Final = (0.25, 0.5, 2.0, 4.0)  # factors
WINDOWS: Final = (3, 5, 9)  # frames
RIDGE: Final = 0.01  # of the mean variance, added to every direction before whitening

Doubles = NDArray[np.float64]
Mixed = Callable[[Floats], Floats]  # (n, D) -> (n, D)


@dataclass(frozen=True, eq=False)
class Embedded:
    """What a reward set was scored with: T frames of whole episodes, and P prompts."""

    content: Mapping[str, Any]  # the reward function, as in the manifest
    goals: GoalSet
    prompts: Prompts
    texts: Floats  # (P, D) of unit norm
    norms: Floats  # (P,) of the averages that the texts are made of
    spec: EncoderSpec
    fusion: Fusion
    skip_missing: bool
    cameras: Mapping[str, Floats]  # (T, D) each; NaN: missing. Those of the reward set first
    own: int  # cameras that the reward set uses
    lengths: Ints  # (e,) frames of each episode

    def scores(self, names: Sequence[str] | None = None, formula: Mixed | None = None) -> Floats:
        """(T, G) of the set's own cameras, or of some.

        Args:
            names: of cameras.
            formula: changes the cosines (n, C) before the reward function sees them.
        """
        used = list(self.cameras)[: self.own] if names is None else names
        scorer = self.scorer()
        if formula is not None:
            scorer = replace(scorer, formula=_Changed(scorer.formula, formula))
        return scorer.scores([self.cameras[name] for name in used], self.lengths)

    def scorer(self) -> Scorer:
        """The reward function, bound."""
        bound = bind(
            from_content(self.content, here=False),
            self.goals,
            self.prompts,
            self.texts,
            self.spec,
            timing=Timing.SAME_FRAME,  # of rewards, which nobody asks for
            fusion=self.fusion,
            norms=self.norms,
        )
        return replace(bound, skip_missing=self.skip_missing)

    @property
    def frames(self) -> Floats:
        """(n, D) embeddings of the set's own cameras, those that are there."""
        stacked = np.concatenate(list(self.cameras.values())[: self.own])
        return stacked[np.isfinite(stacked).all(axis=1)]

    def mixed(self, images: Mixed, texts: Mixed) -> Embedded:
        """Frames and texts in other coordinates, of unit length again."""
        cameras = {name: _unit(images(own)) for name, own in self.cameras.items()}
        return replace(self, cameras=cameras, texts=_unit(texts(self.texts)))


@dataclass(frozen=True, eq=False)
class Tried:
    """The scores of one trick, or why it does not apply."""

    trick: str
    what: str
    scores: Callable[[], Floats] | None  # (T, G)
    why_not: str = ""


@dataclass(frozen=True, eq=False)
class _Changed:
    """A formula whose cosines are changed first."""

    inner: Formula
    change: Mixed

    @property
    def prompts(self) -> Floats:
        """As inside."""
        return self.inner.prompts

    def __call__(self, cosines: Floats, out: Floats) -> None:
        """As `Formula`."""
        self.inner(self.change(cosines), out)


def embedding_tricks(embedded: Embedded) -> Iterator[Tried]:
    """Tricks that change embeddings, texts or the reward function of one reward set."""
    frames, texts = embedded.frames, embedded.texts
    if len(frames) < 2:
        yield Tried("centred", "nothing to centre", None, "fewer than two frames are embedded")
        return
    mean, text_mean = frames.mean(axis=0), texts.mean(axis=0)

    def mixed(by: Floats) -> Callable[[], Floats]:
        return lambda: embedded.mixed(
            lambda own: (own - mean) @ by, lambda own: (own - text_mean) @ by
        ).scores()

    unchanged = np.eye(len(mean), dtype=np.float32)
    yield Tried("centred", "minus the mean of frames, and of texts", mixed(unchanged))
    spread = np.diag(1 / np.maximum(frames.std(axis=0), 1e-6)).astype(np.float32)
    yield Tried("standardised", "centred, each dimension by its deviation", mixed(spread))
    yield Tried("whitened", "centred, every direction as wide", mixed(whitening(frames)))
    yield Tried(
        "prompt bias",
        "minus each prompt's mean cosine",
        lambda: embedded.scores(formula=_without_bias(embedded, mean)),
    )
    yield from _temperatures(embedded)
    yield from _windows(embedded)
    yield from _cameras(embedded)


def whitening(frames: Floats) -> Floats:
    """(D, D) C^(-1/2) of the frames' covariance C, widened by `RIDGE` of its mean variance."""
    covariance = np.cov(frames.T.astype(np.float64)).reshape(frames.shape[1], -1)
    values, vectors = np.linalg.eigh(covariance)
    widened = np.maximum(values, 0) + RIDGE * max(values.mean(), np.finfo(np.float32).tiny)
    return np.asarray((vectors / np.sqrt(widened)) @ vectors.T, np.float32)


def _without_bias(embedded: Embedded, mean: Floats) -> Mixed:
    bias = embedded.scorer().formula.prompts @ mean
    return lambda cosines: np.asarray(cosines - bias, np.float32)


def _temperatures(embedded: Embedded) -> Iterator[Tried]:
    content = embedded.content
    known = [goal.temperature is not None for goal in embedded.goals.goals]
    for factor in TEMPERATURES:
        name, what = f"temperature × {factor:g}", "other temperature, of every goal"
        changed = _with_temperature(content, factor)
        if changed is None:
            why = f"{content.get('name')} has no temperature"
            yield Tried("temperature", what, None, why)
            return
        goals = _warmer(embedded.goals, factor) if any(known) else embedded.goals
        yield Tried(name, what, replace(embedded, content=changed, goals=goals).scores)


def _with_temperature(content: Mapping[str, Any], factor: float) -> dict[str, Any] | None:
    """The reward function at another temperature; None: it has none."""
    if isinstance(content.get("temperature"), float):
        return {**content, "temperature": content["temperature"] * factor}
    inner = content.get("of")
    changed = None if inner is None else _with_temperature(inner, factor)
    return None if changed is None else {**content, "of": changed}


def _warmer(goals: GoalSet, factor: float) -> GoalSet:
    changed = tuple(
        goal
        if goal.temperature is None
        else goal.model_copy(update={"temperature": goal.temperature * factor})
        for goal in goals.goals
    )
    return goals.model_copy(update={"goals": changed})


def _windows(embedded: Embedded) -> Iterator[Tried]:
    base = embedded.content
    while "of" in base:  # wrappers keep the order of scores, or smooth them already
        base = base["of"]
    for window in WINDOWS:
        content = {"name": "window-mean", "window": window, "of": base}
        what = "mean embedding of the last frames"
        yield Tried(f"window {window}", what, replace(embedded, content=content).scores)


def _cameras(embedded: Embedded) -> Iterator[Tried]:
    names = list(embedded.cameras)
    if len(names) < 2:
        return

    def alone(name: str) -> Callable[[], Floats]:
        return lambda: embedded.scores([name])

    for name in names:
        yield Tried(f"camera {name}", "this camera alone", alone(name))
    for how, fused in FUSIONS.items():
        yield Tried(
            f"cameras, {how}",
            f"{how} score of all cameras",
            lambda fused=fused: fused([embedded.scores([name]) for name in names]),  # type: ignore[misc]
        )


# --- of scores --------------------------------------------------------------------------------

FUSIONS: Final[Mapping[str, Callable[[Sequence[Floats]], Floats]]] = {
    "mean": lambda scores: np.mean(scores, axis=0, dtype=np.float32),
    "min": lambda scores: np.min(scores, axis=0),
    "max": lambda scores: np.max(scores, axis=0),
}


def potential(scores: Floats, lengths: Ints) -> Floats:
    """(T, G) what each frame adds to the score of the one before it; 0 at an episode's first."""
    change = np.zeros_like(scores)
    change[1:] = scores[1:] - scores[:-1]
    change[np.cumsum(lengths) - lengths] = 0
    return change


def shares_of_rank(scores: Floats) -> Floats:
    """(T, G) place of each score among those of its goal, from 0 to 1; equal ones share a mean."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0, nan_policy="omit")
    return np.asarray(ranks / np.maximum(np.isfinite(scores).sum(axis=0), 1), np.float32)


def _unit(values: Floats) -> Floats:
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    found = np.divide(values, norms, out=np.full_like(values, np.nan), where=norms > 0)
    return np.asarray(found, np.float32)
