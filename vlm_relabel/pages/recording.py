"""The shown episodes as a recording for the Rerun viewer (https://rerun.io)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import rerun as rr

from vlm_relabel.pages.episode_rows import ShownEpisode
from vlm_relabel.pages.gathering import Gathered
from vlm_relabel.pages.reward_sets import GatheredSet
from vlm_relabel.pages.sheets import Shelf

TIMELINE: Final = "step"
_APPLICATION: Final = "vlm-relabel"
_GOALS: Final = 4  # of an episode and reward set, beside those that are rewarded or true
Tell = Callable[[int, int], None]


def write_recording(
    path: Path, gathered: Gathered, episodes: Sequence[ShownEpisode], shelf: Shelf, tell: Tell
) -> None:
    """Writes frames, scores, rewards and truths of episodes, as time series over steps.

    An entity is `EPISODE/frame`, `EPISODE/score/REWARD SET/GOAL`, `EPISODE/reward/REWARD SET/GOAL`
    or `EPISODE/true/GOAL`.

    Args:
        path: of the file, .rrd.
        gathered: what the report shows.
        episodes: to write.
        shelf: has their frames.
        tell: told of every episode.
    """
    recording = rr.RecordingStream(_APPLICATION, recording_id=gathered.store.location)
    recording.save(path)
    for done, episode in enumerate(episodes):
        _frames(recording, episode, shelf)
        for own in gathered.sets:
            _curves(recording, episode, own, gathered)
        _truths(recording, episode, gathered)
        tell(done + 1, len(episodes))
    recording.flush()
    recording.disconnect()


def _frames(recording: Any, episode: ShownEpisode, shelf: Shelf) -> None:
    steps = [step for step in range(episode.length) if (episode.id, step) in shelf.small]
    if steps:
        blobs = [shelf.small[episode.id, step] for step in steps]
        columns = rr.EncodedImage.columns(blob=blobs, media_type=["image/jpeg"] * len(blobs))
        _send(recording, (episode.id, "frame"), steps, columns)


def _telling(own: GatheredSet, episode: ShownEpisode, columns: Sequence[str]) -> list[int]:
    """Shown goals of which something is rewarded or true; those with the highest scores first."""
    rows = episode.sets[own.name]
    paid = np.nan_to_num(rows.rewards).max(axis=0)
    best = paid if rows.scores is None else np.nan_to_num(rows.scores, nan=-np.inf).max(axis=0)
    order = sorted(own.shown, key=lambda goal: (-paid[goal], -best[goal], goal))
    known = episode.truth
    true = np.flatnonzero([] if known is None else known.any(axis=0))
    names = {columns[int(column)] for column in true}
    holding = [goal for goal in own.shown if own.goal_ids[goal] in names]
    rewarded = [goal for goal in order if paid[goal] > 0] if own.manifest.binary else []
    first = [*holding, *rewarded]
    return list(dict.fromkeys([*first, *order[:_GOALS]]))[: max(_GOALS, len(first))]


def _curves(recording: Any, episode: ShownEpisode, own: GatheredSet, gathered: Gathered) -> None:
    rows = episode.sets.get(own.name)
    if rows is None:
        return
    for goal in _telling(own, episode, gathered.truth.goals):
        name = own.goal_ids[goal]
        if rows.scores is not None:
            _series(recording, (episode.id, "score", own.name, name), rows.scores[:, goal])
        _series(recording, (episode.id, "reward", own.name, name), rows.rewards[:, goal])


def _truths(recording: Any, episode: ShownEpisode, gathered: Gathered) -> None:
    if episode.truth is None:
        return
    for column in np.flatnonzero(episode.truth.any(axis=0)):
        values = episode.truth[:, column].astype(np.float32)
        _series(recording, (episode.id, "true", gathered.truth.goals[column]), values)


def _series(recording: Any, parts: Sequence[str], values: np.ndarray[Any, Any]) -> None:
    """Sends the values (T,) that are there."""
    steps = np.flatnonzero(np.isfinite(values))
    if len(steps):
        known = values[steps].astype(np.float64)
        _send(recording, parts, steps, rr.Scalars.columns(scalars=known))


def _send(recording: Any, parts: Sequence[str], steps: Any, columns: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        rr.send_columns(
            rr.new_entity_path(list(parts)),
            indexes=[rr.TimeColumn(TIMELINE, sequence=np.asarray(steps, np.int64))],
            columns=columns,
            recording=recording,
        )
