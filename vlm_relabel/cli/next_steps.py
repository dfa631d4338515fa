"""What to type after a command, on to an agent that is evaluated: lines that work as they are."""

from __future__ import annotations

import math
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from relabel.rewards.calibrated import calibration_in
from schemas import fields
from schemas.manifests import EmbeddingManifest, RewardManifest
from schemas.reward_counts import RewardCounts, read_counts
from schemas.store import Store
from schemas.tables import FieldSpec

if TYPE_CHECKING:
    from relabel.jobs.report import JobReport

_PROGRAM: Final = "vlm-relabel"
_REWARDS, _DATASETS, _EMBEDDINGS = "rewards/", "goal_datasets/", "embeddings/"
_WHOLE: Final = ("int", "uint")  # beginnings of the types that ids of choices have


def after_job(report: JobReport, encoder: str | None = None) -> list[str]:
    """Lines to type after `embed`, `score`, `relabel` or `build-goals`.

    Args:
        report: of the job.
        encoder: as the user named it; None: not asked for.
    """
    if report.dry_run:
        return [_line(*_without_dry_run(sys.argv[1:]))]
    if report.part is not None:  # told with the part
        return []
    store = Store.open(report.store)
    tables = [row.table for row in report.tables if row.complete]
    datasets = _named(tables, _DATASETS)
    if datasets:
        return [_train(store, datasets[0])]
    rewards = _named(tables, _REWARDS)
    if not rewards:
        return _score(store, encoder) or _without_rewards(store)
    verify = _line("verify", report.store)
    return [verify, _after_rewards(store, rewards[-1], encoder)]


def _without_dry_run(words: Sequence[str]) -> Iterator[str]:
    price = "--price-per-hour"
    for before, word in pairwise(("", *words)):
        is_price = price in (before, word) or word.startswith(f"{price}=")
        if word != "--dry-run" and not is_price:
            yield word


def after_verify(store: Store) -> list[str]:
    """Lines to type once a store has been found whole."""
    tables = store.tables()
    datasets, rewards = _named(tables, _DATASETS), _named(tables, _REWARDS)
    if datasets:
        return [_train(store, datasets[0])]
    if rewards:
        useful = [name for name in rewards if _is_reached(*_counted(store, name))]
        return [_after_rewards(store, (useful or rewards)[0], None)]
    return _score(store, None) or _without_rewards(store)


def _named(tables: Sequence[str], prefix: str) -> list[str]:
    return [table.removeprefix(prefix) for table in tables if table.startswith(prefix)]


def _line(*words: str) -> str:
    return shlex.join([_PROGRAM, *words])


def _free(store: Store, prefix: str, stem: str) -> str:
    """The first of stem1, stem2, … that no table of the store has, not even a part of."""
    taken = set(_named(store.tables(), prefix)) | set(_named(store.unfinished(), prefix))
    return next(name for number in count(1) if (name := f"{stem}{number}") not in taken)


def _without_rewards(store: Store) -> list[str]:
    """Of a store without embeddings: the environment's own reward, if the source has it."""
    columns = {spec.name for spec in store.manifest.fields if spec.kind == "tensor"}
    if store.embeddings() or fields.REWARD not in columns or not store.is_complete("steps"):
        return []
    words = ("build-goals", store.location, "--truth", fields.REWARD, "--no-rewards")
    return [_line(*words, "--name", _free(store, _DATASETS, "gc"))]


# --- rewards ----------------------------------------------------------------------------------


def _score(store: Store, encoder: str | None) -> list[str]:
    named = encoder or _encoder_typed(store)
    if named is None:
        return []
    words = ("score", "--store", store.location, "--encoder", named, *_goals(store))
    return [_line(*words, "--name", _free(store, _REWARDS, "v"))]


def _goals(store: Store) -> list[str]:
    """The source's own instructions if it has any, else texts in the place of others."""
    spoken = store.manifest.language_fields
    if spoken and store.is_complete("episodes"):
        texts = store.read("episodes", [fields.LANGUAGE]).column(fields.LANGUAGE)
        if pc.any(pc.greater(pc.utf8_length(texts), 0)).as_py():
            return ["--goals", f"field:{spoken[0]}"]
    return ["--goals", "the drawer is open", "--goals", "the drawer is closed"]


def _encoder_typed(store: Store) -> str | None:
    """The encoder of a stored embedding table, as it was named in the command that made it."""
    for table in store.embeddings():
        if named := table.typed("--encoder"):
            return named[0]
    return None


def _counted(store: Store, name: str) -> tuple[RewardManifest, RewardCounts]:
    """A reward set, and how often each of its goals is reached."""
    manifest = store.rewards(name)
    return manifest, read_counts(store, manifest)


def _is_reached(manifest: RewardManifest, counts: RewardCounts) -> bool:
    """Whether a dataset can be made of a reward set: of rewards that are not 0 or 1, always."""
    return not manifest.binary or bool(counts.rewarded.any())


def _after_rewards(store: Store, name: str, encoder: str | None) -> str:
    manifest, counts = _counted(store, name)
    named, scores = encoder or _encoder_typed(store), counts.best[np.isfinite(counts.best)]
    if _is_reached(manifest, counts) or not scores.size:
        return _build_goals(store, name, counts)
    if calibration_in(manifest.function) is not None:
        return _label(store, manifest)
    if named is None:
        return _build_goals(store, name, counts)
    goals = manifest.typed("--goals")
    words = [word for value in goals for word in ("--goals", value)] or _goals(store)
    again = ("score", "--store", store.location, "--encoder", named, *words)
    threshold = _two_digits(0.9 * float(scores.max()))
    return _line(*again, "--name", _free(store, _REWARDS, "v"), "--threshold", threshold)


def _label(store: Store, manifest: RewardManifest) -> str:
    """More labels, where a calibration leaves every goal silent."""
    words = ["label", store.location, "--rewards", manifest.name]
    words += [word for table in manifest.typed("--labels") for word in ("--labels", table)]
    pages = ("label.html" if number == 1 else f"label-{number}.html" for number in count(1))
    page = next(name for name in pages if not Path(name).exists())
    return _line(*words, *([] if page == "label.html" else ["--out", page]))


def _build_goals(store: Store, name: str, counts: RewardCounts) -> str:
    words = ["build-goals", store.location, "--rewards", name]
    words += ["--name", _free(store, _DATASETS, "gc")]
    if counts.frames and not counts.above.any():  # rewards that are not 0 or 1, and low
        words += ["--success-above", _between(counts)]
    return _line(*words)


def _between(counts: RewardCounts) -> str:
    """Half-way from the mean score to the highest, for the goal in the middle."""
    half_way = (counts.total / counts.frames + counts.best) / 2
    return _two_digits(statistics.median_low(half_way.tolist()))


def _two_digits(value: float) -> str:
    """Rounded down to two significant digits, so that what was above it stays above it."""
    if not value:
        return "0"
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return f"{math.floor(value / step) * step:.6g}"


# --- agents -----------------------------------------------------------------------------------


def _train(store: Store, dataset: str) -> str:
    algorithm = _action(store.manifest.fields)
    words = ["train", store.location, "--dataset", dataset, *algorithm]
    return _line(*words, *_observation(store), "--out", _run_folder(store, dataset))


def _run_folder(store: Store, dataset: str) -> str:
    """A folder that is not there yet, so that no other run is taken for this one."""
    stem = f"runs/{Path(store.location).name.removesuffix('.store')}-{dataset}"
    names = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
    return next(name for name in names if not Path(name).exists())


def _action(columns: Sequence[FieldSpec]) -> list[str]:
    """An algorithm that fits the action, and which columns it is, unless it is `action`."""
    group, own = _action_columns(columns)
    named = [] if group in (None, fields.ACTION) else ["--action", str(group)]
    if len(own) == 1 and _is_choice(own[0]):
        explicit = [] if not own[0].shape and own[0].dtype.startswith(_WHOLE) else ["--discrete"]
        return ["--algo", "discrete-cql", *named, *explicit]
    return ["--algo", "iql", *named]


def _action_columns(columns: Sequence[FieldSpec]) -> tuple[str | None, list[FieldSpec]]:
    """The name of a column or of a group of columns, and the columns that it means."""
    numeric = [c for c in columns if c.kind == "tensor" and c.dtype != "object"]
    groups = dict.fromkeys(group for column in numeric for group in _groups(column.name))
    for group in sorted(groups, key=lambda g: (g != fields.ACTION, g.count("."))):
        own = [c for c in numeric if c.name == group or c.name.startswith(f"{group}.")]
        if all(None not in column.shape for column in own):
            return group, own
    return None, []


def _groups(name: str) -> list[str]:
    """The parts of a dotted name, from its start, that end in a word for an action."""
    parts = name.split(".")
    ends = (place for place, part in enumerate(parts, 1) if part.startswith(fields.ACTION))
    return [".".join(parts[:end]) for end in ends]


def _is_choice(column: FieldSpec) -> bool:
    """One whole number, or one bool."""
    single = math.prod(size or 0 for size in column.shape) == 1
    return single and column.dtype.startswith((*_WHOLE, "bool"))


def _observation(store: Store) -> list[str]:
    """An embedding, where no vector of floats is there for the agent to see."""
    if any(_is_seen(column) for column in store.manifest.fields):
        return []
    tables = [store.table_manifest(t) for t in store.tables() if t.startswith(_EMBEDDINGS)]
    names = [t.table.removeprefix(_EMBEDDINGS) for t in tables if isinstance(t, EmbeddingManifest)]
    return ["--observation", f"embedding:{names[0]}"] if names else []


def _is_seen(column: FieldSpec) -> bool:
    return (
        column.name.split(".")[0] == fields.OBSERVATION
        and column.dtype.startswith("float")
        and None not in column.shape
    )
