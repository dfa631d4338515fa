"""The chosen episodes, frame by frame: scores, rewards, and what is known to be true."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from relabel.evaluation.truth import Truth
from schemas import fields
from schemas.goal_basis import TRUE_ABOVE, truth_values
from schemas.store import Store
from schemas.tables import matrix
from vlm_relabel.pages.reward_sets import GatheredSet

Floats = NDArray[np.float32]

_NUMBERS: Final = 30_000  # scores of one episode and reward set, at most
_GOALS: Final = 8  # of an episode that are shown, however long it is
_STEPS: Final = 1_500  # frames of an episode that are shown, at most


@dataclass(frozen=True, eq=False)
class EpisodeRows:
    """One episode of T frames under one reward set of G goals."""

    scores: Floats | None  # (T, G)
    rewards: Floats  # (T, G)


@dataclass(frozen=True, eq=False)
class ShownEpisode:
    """One episode with everything that is drawn of it."""

    id: str
    length: int
    language: str | None
    metadata: Mapping[str, Any]
    sets: Mapping[str, EpisodeRows]
    truth: NDArray[np.bool_] | None  # (T, columns of the truth)
    labels: Mapping[tuple[str, int], bool]  # by goal and step
    env: Floats | None  # (T,) the environment's own reward
    tags: Mapping[str, int] = field(default_factory=dict)


def rows_of(
    store: Store, table: str, ids: Sequence[str], columns: Sequence[str]
) -> dict[str, pa.Table]:
    """The rows of some episodes of a per-frame table, by episode."""
    wanted = pa.array(sorted(ids), pa.string())
    parts: dict[str, list[pa.RecordBatch]] = {name: [] for name in ids}
    names = [fields.EPISODE_ID, *columns]
    for piece in store.slices:
        known = store.read_slices("episodes", [piece], [fields.EPISODE_ID]).column(0)
        if not pc.any(pc.is_in(known, value_set=wanted)).as_py():
            continue
        for batch in store.batches(table, piece, names):
            own = batch.filter(pc.is_in(batch.column(fields.EPISODE_ID), value_set=wanted))
            for episode_id in pc.unique(own.column(fields.EPISODE_ID)).to_pylist():
                rows = own.filter(pc.equal(own.column(fields.EPISODE_ID), episode_id))
                parts[episode_id].append(rows)
    return {name: pa.Table.from_batches(own) for name, own in parts.items() if own}


def read_episodes(
    store: Store,
    ids: Sequence[str],
    sets: Sequence[GatheredSet],
    truth: Truth,
) -> Iterator[ShownEpisode]:
    """The episodes of some ids, in the order of the ids; those without a frame are left out."""
    scores = {s.name: _set_rows(store, s, ids) for s in sets}
    columns = [*([truth.field] if truth.field else []), *_env(store)]
    steps = rows_of(store, "steps", ids, [fields.STEP, *columns])
    episodes = store.read("episodes")
    shown = pc.is_in(episodes.column(fields.EPISODE_ID), value_set=pa.array(ids, pa.string()))
    about = {row[fields.EPISODE_ID]: row for row in episodes.filter(shown).to_pylist()}
    told: dict[str, dict[tuple[str, int], bool]] = {}
    for episode_id, step, goal_id, label in truth.labels or ():
        told.setdefault(episode_id, {})[goal_id, step] = label
    for episode_id in ids:
        if episode_id not in steps:
            continue
        row = about[episode_id]
        metadata = {
            name.removeprefix(fields.METADATA_PREFIX): value
            for name, value in row.items()
            if name.startswith(fields.METADATA_PREFIX) and _is_short(value)
        }
        yield ShownEpisode(
            episode_id,
            steps[episode_id].num_rows,
            row[fields.LANGUAGE],
            metadata,
            {name: own[episode_id] for name, own in scores.items() if episode_id in own},
            _truth(steps[episode_id], truth.field),
            told.get(episode_id, {}),
            _numbers(steps[episode_id]),
        )


def _set_rows(store: Store, gathered: GatheredSet, ids: Sequence[str]) -> dict[str, EpisodeRows]:
    has_scores = gathered.manifest.scores
    columns = [*([fields.SCORE] if has_scores else []), fields.REWARD]
    found = {}
    for name, rows in rows_of(store, gathered.manifest.table, ids, columns).items():
        scores = matrix(rows.column(fields.SCORE)) if has_scores else None
        found[name] = EpisodeRows(scores, matrix(rows.column(fields.REWARD)))
    return found


def _env(store: Store) -> list[str]:
    """The environment's reward, where the source has one number per step."""
    single = [f.name for f in store.manifest.fields if f.kind == "tensor" and not f.shape]
    return [fields.REWARD] if fields.REWARD in single else []


def _numbers(steps: pa.Table) -> Floats | None:
    if fields.REWARD not in steps.column_names:
        return None
    values = steps.column(fields.REWARD).cast(pa.float32()).to_numpy()
    return None if np.all(values == 0) else values


def _truth(steps: pa.Table, truth_field: str | None) -> NDArray[np.bool_] | None:
    if truth_field is None:
        return None
    return matrix(truth_values(steps.column(truth_field))) > TRUE_ABOVE


def _is_short(value: Any) -> bool:
    return value is not None and not isinstance(value, list | bytes) and len(str(value)) <= 500


# --- as the page has them -----------------------------------------------------------------------


def kept_steps(length: int, most: int = _STEPS) -> NDArray[np.int64]:
    """Frames that are shown of an episode: all, or some at equal distances, first and last too."""
    if length <= most:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, most).round().astype(np.int64))


def kept_goals(gathered: GatheredSet, episode: ShownEpisode, first: Sequence[int]) -> list[int]:
    """Goals whose curves are shown of an episode: all that are shown, or the telling ones.

    Args:
        gathered: the reward set.
        episode: its rows.
        first: goals that come first: those that are true or commanded in it.
    """
    shown = list(gathered.shown)
    most = max(_GOALS, _NUMBERS // max(1, len(kept_steps(episode.length))))
    if len(shown) <= most:
        return shown
    own = episode.sets[gathered.name]
    paid = np.nan_to_num(own.rewards).max(axis=0)
    best = paid if own.scores is None else np.nan_to_num(own.scores, nan=-np.inf).max(axis=0)
    others = sorted(shown, key=lambda goal: (-paid[goal], -best[goal], goal))
    return sorted(list(dict.fromkeys([*(g for g in first if g in shown), *others]))[:most])


def sparse(rewards: Floats, binary: bool) -> list[Any]:
    """Rewards of one goal: of 0 and 1 the places of the ones, else all."""
    if not binary:
        return [None if np.isnan(value) else float(value) for value in rewards]
    return [int(place) for place in np.flatnonzero(np.nan_to_num(rewards) > 0)]
