"""Statistics of observations and actions over the training split, for normalisation.

One pass over the slices in their order, in float64: means and variances by Chan's update of
(count, mean, sum of squared deviations), which loses no digits to a large mean. Percentiles
are exact up to a number of frames, and taken of evenly spaced frames beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from relabel.goal_datasets.columns import components
from relabel.goal_datasets.transitions import is_action, is_observation
from schemas import fields
from schemas.enums import LastStep, Split
from schemas.goal_datasets import KIND, SPLIT, ColumnStatistics, GoalDatasetManifest
from schemas.store import Store
from schemas.tables import Array, FieldSpec

Values = NDArray[np.float64]

PERCENTILE_FRAMES: Final = 1_000_000  # more are sampled
_PERCENTILE_VALUES: Final = 1 << 27  # of all columns, held at once: 512 MB as float32
_WITHIN_FLOAT32: Final = ("float16", "float32", "bool", "int8", "uint8", "int16", "uint16")
_LISTED: Final = 8  # components in a warning


def with_statistics(store: Store, dataset: GoalDatasetManifest) -> GoalDatasetManifest:
    """The manifest of a dataset whose slices are all there, with its counts and statistics.

    Args:
        store: holds the slices.
        dataset: lists them.
    """
    statistics = column_statistics(store, dataset)
    return dataset.model_copy(
        update={"statistics": statistics, "counts": row_counts(store, dataset)}
    )


def row_counts(store: Store, dataset: GoalDatasetManifest) -> dict[str, int]:
    """Rows by "<split>/<kind>" that there are, and "<split>/left_out"."""
    counts: dict[str, int] = {}
    for file in dataset.files:
        piece = next(piece for piece in store.slices if piece.file == file.file)
        if file.table == dataset.table:
            _count(counts, store.read_slices(file.table, [piece], [SPLIT, KIND]))
        elif file.table == dataset.left_out:
            _count(counts, store.read_slices(file.table, [piece], [SPLIT]), "left_out")
    return dict(sorted(counts.items()))


def _count(counts: dict[str, int], rows: pa.Table, kind: str | None = None) -> None:
    grouped = rows.group_by(rows.column_names).aggregate([([], "count_all")])
    for row in grouped.to_pylist():
        name = f"{row[SPLIT]}/{row[KIND] if kind is None else kind}"
        counts[name] = counts.get(name, 0) + row["count_all"]


def column_statistics(
    store: Store, dataset: GoalDatasetManifest, percentile_frames: int = PERCENTILE_FRAMES
) -> dict[str, ColumnStatistics]:
    """Statistics of every observation of floats and every action of numbers, by its name.

    Frames of the training split's episodes count; of actions, a last step's filler does not.

    Args:
        store: with complete steps and episodes.
        dataset: says which episodes are of the training split.
        percentile_frames: percentiles are exact up to this many frames.
    """
    columns = [spec for spec in store.manifest.fields if _is_counted(spec)]
    if not columns:
        return {}
    frames, actions = _training_frames(store, dataset)
    most = max(1, min(percentile_frames, _PERCENTILE_VALUES // sum(map(_width, columns))))
    totals = {}
    for spec in columns:
        number = actions if _lacks_last(store, spec.name) else frames
        kept_as = "float32" if spec.dtype in _WITHIN_FLOAT32 else "float64"
        totals[spec.name] = _Total(_width(spec), max(1, -(-number // most)), kept_as)
    for rows, is_last in _training_rows(store, dataset, [spec.name for spec in columns]):
        for name, total in totals.items():
            values = components(rows.column(name))
            total.add(values[~is_last] if _lacks_last(store, name) else values)
    return {name: total.statistics() for name, total in totals.items()}


def _is_counted(spec: FieldSpec) -> bool:
    if spec.kind != "tensor" or spec.dtype == "object" or None in spec.shape:
        return False
    # Observations of integers are counts, ids, flags or pixels, not to be scaled unasked.
    is_float = spec.dtype.startswith("float")
    return is_action(spec.name) or (is_float and is_observation(spec.name))


def _width(spec: FieldSpec) -> int:
    return int(np.prod([n for n in spec.shape if n is not None], dtype=int))


def _lacks_last(store: Store, name: str) -> bool:
    """Whether a column's value at the last step is a filler."""
    return is_action(name) and store.manifest.last_step is LastStep.FINAL_OBSERVATION


def _training_frames(store: Store, dataset: GoalDatasetManifest) -> tuple[int, int]:
    """Frames of the training split, with and without each episode's last."""
    episodes = store.read("episodes", [fields.EPISODE_ID, fields.LENGTH]).to_pylist()
    lengths = [e[fields.LENGTH] for e in episodes if _is_training(dataset, e[fields.EPISODE_ID])]
    return sum(lengths), sum(lengths) - sum(length > 0 for length in lengths)


def _is_training(dataset: GoalDatasetManifest, episode_id: str) -> bool:
    options = dataset.options
    return options.takes(episode_id) and options.split(episode_id) is Split.TRAIN


def _training_rows(
    store: Store, dataset: GoalDatasetManifest, columns: Sequence[str]
) -> Iterator[tuple[pa.Table, NDArray[np.bool_]]]:
    """Per slice: frames of the training split, and whether each is its episode's last."""
    for piece in store.slices:
        steps = store.read_slices("steps", [piece], [fields.EPISODE_ID, fields.STEP, *columns])
        firsts = steps.column(fields.STEP).to_numpy() == 0
        is_last = np.append(firsts[1:], True)[: len(firsts)]
        ids = steps.column(fields.EPISODE_ID).filter(pa.array(firsts)).to_pylist()
        wanted = np.array([_is_training(dataset, i) for i in ids], bool)
        own = wanted[np.cumsum(firsts) - 1] if len(firsts) else firsts
        if own.any():
            yield steps.filter(pa.array(own)), is_last[own]


@dataclass
class _Total:
    """What is known of one column after the frames seen so far."""

    width: int  # D
    stride: int  # every stride-th frame is kept for the percentiles
    kept_as: str  # NumPy name of the type that holds the stored values exactly
    frames: int = 0
    count: Values = field(init=False)  # (D,) finite values
    mean: Values = field(init=False)
    squares: Values = field(init=False)  # (D,) sum of squared deviations from the mean
    low: Values = field(init=False)
    high: Values = field(init=False)
    kept: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.count, self.mean, self.squares = (np.zeros(self.width) for _ in range(3))
        self.low, self.high = np.full(self.width, np.inf), np.full(self.width, -np.inf)

    def add(self, values: Values) -> None:
        """Counts (T, D) values of the next frames."""
        self.kept.append(values[(-self.frames) % self.stride :: self.stride].astype(self.kept_as))
        self.frames += len(values)
        finite = np.isfinite(values)
        count = finite.sum(axis=0).astype(np.float64)
        known = np.maximum(count, 1)
        mean = np.where(finite, values, 0).sum(axis=0) / known
        squares = np.square(np.where(finite, values - mean, 0)).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        delta = mean - self.mean
        self.squares += squares + np.square(delta) * self.count * count / total
        self.mean += np.where(count > 0, delta * count / total, 0)
        self.count += count
        low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        self.low = np.minimum(self.low, low.min(axis=0, initial=np.inf))
        self.high = np.maximum(self.high, high.max(axis=0, initial=-np.inf))

    def statistics(self) -> ColumnStatistics:
        """As a manifest has them."""
        nothing, constant = self.count == 0, self.low == self.high
        std = np.sqrt(self.squares / np.maximum(self.count, 1))
        kept = np.concatenate(self.kept) if self.kept else np.zeros((0, self.width))
        low, high = _percentiles(kept)
        parts: Mapping[str, Values] = {
            "mean": np.where(constant, self.low, self.mean),
            "std": np.where(constant, 0, std),  # not what rounding left of it
            "min": self.low,
            "max": self.high,
            "p01": low,
            "p99": high,
        }
        return ColumnStatistics(
            **{name: tuple(np.where(nothing, np.nan, v).tolist()) for name, v in parts.items()},
            frames=self.frames,
            percentile_frames=len(kept),
            missing=tuple(int(n) for n in self.frames - self.count),
        )


def _percentiles(kept: Array) -> tuple[Values, Values]:
    """(D,) 1st and 99th percentile of the finite values, interpolated between neighbours."""
    found = np.full((2, kept.shape[1]), np.nan)
    for component in range(kept.shape[1]):
        values = kept[:, component]
        values = values[np.isfinite(values)].astype(np.float64)
        if len(values):
            found[:, component] = np.percentile(values, [1, 99])
    return found[0], found[1]


def statistics_warnings(statistics: Mapping[str, ColumnStatistics]) -> list[str]:
    """What a learner should know of the columns: values that are missing or never change."""
    warnings = []
    for name, column in statistics.items():
        if not column.frames:
            warnings.append(f"{name}: no frame in the training split")
            continue
        constant = np.flatnonzero(np.equal(column.min, column.max)).tolist()
        if constant:
            warnings.append(f"{name}: constant in the training split{_of(constant, column)}")
        missing = [i for i, count in enumerate(column.missing) if count]
        if missing:
            most = max(column.missing)
            warnings.append(
                f"{name}: NaN or infinite in {most} of {column.frames} training frames"
                f"{_of(missing, column)}"
            )
    return warnings


def _of(components: Sequence[int], column: ColumnStatistics) -> str:
    if len(components) == len(column.mean):
        return ""
    listed = ", ".join(map(str, components[:_LISTED]))
    return f" (components {listed}{', …' if len(components) > _LISTED else ''})"
