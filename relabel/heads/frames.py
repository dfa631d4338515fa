"""What a head learns from: embeddings and zero-shot scores of the labelled frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from relabel.rewards.base import Floats
from relabel.rewards.scorer import Scorer, ages_of
from relabel.rewards.window_mean import windowed
from relabel.slices.stored_frames import StoredEpisodes, stored_episodes
from schemas.enums import Fusion
from schemas.goals import Frame
from schemas.store import Store


@dataclass(frozen=True, eq=False)
class KnownFrames:
    """F frames of C cameras, as a scorer sees them."""

    place: dict[Frame, int]  # of each frame
    embeddings: Floats  # (C, F, D), of windows where the reward has them; NaN: missing
    scores: Floats  # (C, F, G) of each camera by itself, without a head; NaN: missing
    scorer: Scorer  # that they are of

    def fused(self, scores: Floats) -> Floats:
        """(…) scores of the C cameras (C, …) as one; NaN where there is none."""
        scorer = self.scorer
        if not scorer.skip_missing:
            mean = scorer.fusion is Fusion.MEAN
            return np.asarray(scores.mean(axis=0) if mean else scores.max(axis=0))
        if scorer.fusion is Fusion.MAX:
            return np.asarray(np.fmax.reduce(scores, axis=0))
        there = (~np.isnan(scores)).sum(axis=0)
        total = np.nansum(scores, axis=0)
        nothing = np.full_like(total, np.nan)
        return np.asarray(np.divide(total, there, out=nothing, where=there > 0))


def known_frames(
    store: Store, tables: Sequence[str], scorer: Scorer, frames: Iterable[Frame]
) -> KnownFrames:
    """Those of some frames that the store has.

    Only slices that hold one of them are read.

    Args:
        store: holds their embeddings.
        tables: names of the embedding tables, one per camera.
        scorer: without a head.
        frames: to be looked up.

    Raises:
        StoreError: embeddings that are unfinished or damaged.
    """
    wanted = set(frames)
    episodes = {episode for episode, _ in wanted}
    blank = scorer.skip_missing
    found: list[tuple[list[Frame], Floats, Floats]] = []
    for part in stored_episodes(store, tables, episodes, skip_blank=blank):
        found.append(_of_part(part, scorer, wanted))
    place: dict[Frame, int] = {}
    for names, _, _ in found:
        place |= {name: len(place) + at for at, name in enumerate(names)}
    cameras, dim = len(tables), scorer.formula.prompts.shape[1]
    nothing = (
        np.zeros((cameras, 0, dim), np.float32),
        np.zeros((cameras, 0, scorer.goals), np.float32),
    )
    embeddings = np.concatenate([nothing[0], *(own for _, own, _ in found)], axis=1)
    scores = np.concatenate([nothing[1], *(own for _, _, own in found)], axis=1)
    return KnownFrames(place, embeddings, scores, scorer)


def _of_part(
    part: StoredEpisodes, scorer: Scorer, wanted: set[Frame]
) -> tuple[list[Frame], Floats, Floats]:
    """The wanted frames of some episodes, their embeddings (C, n, D) and scores (C, n, G)."""
    frames = part.frames
    rows = [row for row, frame in enumerate(frames) if frame in wanted]
    ages, every = ages_of(part.lengths), slice(0, len(frames))
    alone = replace(scorer, skip_missing=False)  # one camera, whose missing frames are NaN
    seen = scorer.function.frames_seen
    embeddings = [windowed(camera, ages, every, seen)[rows] for camera in part.cameras]
    scores = [alone.scores([camera], part.lengths)[rows] for camera in part.cameras]
    return [frames[row] for row in rows], np.stack(embeddings), np.stack(scores)
