"""How large a reward table is, and what other ways to write it would cost.

    python -m benchmarks.table_size [--quick] [--repeats N] [--out FILE]

Embeddings of made-up episodes wander over the sphere as those of a film do: neighbouring frames
have a cosine of 0.98. 100 goals are scored from them by the job `score`, so that scores and
rewards are the product's own.

The same table is then written to one file in several ways, and read back: by `SliceWriter` as the
store uses it (it hashes and syncs the file as well), and by pyarrow with other encodings in row
groups of the same length. "split" is BYTE_STREAM_SPLIT of the scores; "dictionary" is of scores
and rewards, or of rewards alone where told. Scores that are float16, or float32 rounded to as many
bits of fraction ("rounded"), hold less than the others. Sizes are scaled to a million frames, and
stand beside the scores alone as raw float32: 400 MB. Seconds of all ways are taken in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import folder, goals_file, interleaved, medians, options, seconds, show
from pipelines import jobs
from relabel.jobs.options import JobOptions, ScoreOptions
from schemas import fields
from schemas.encoders import EncoderSpec
from schemas.enums import LastStep
from schemas.files import Folder
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    SliceSpec,
    SourceSpec,
    StoreManifest,
)
from schemas.slice_writer import ROW_GROUP_ROWS, SliceWriter
from schemas.slices import Slice, TableFile, plan_slices
from schemas.store import Store
from schemas.tables import FieldSpec, embedding_schema, key_columns, matrix, vectors

GOALS = 100
DIM = 512
STEPS = 100  # frames per episode
WANDER = 0.2  # length of a step over the sphere: neighbours have a cosine of 1 - WANDER**2 / 2
CAMERA = "observation.image"
FRAMES = 1_000_000  # that sizes are scaled to
SPLIT = {"score.list.element": "BYTE_STREAM_SPLIT"}
KEYS = [fields.EPISODE_ID, fields.STEP]
OURS, BARE = "SliceWriter", "SliceWriter, no scores"


class MadeUpEncoder:
    """Texts are random directions; frames are never seen."""

    spec = EncoderSpec(
        name="made-up",
        slug="made-up",
        fingerprint="e" * 64,
        weights_sha256="e" * 64,
        preprocess={},
        precision="float32",
        dim=DIM,
        logit_scale=100.0,
    )

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, DIM) at unit norm, the same for the same number of texts."""
        return unit(np.random.default_rng(7).normal(size=(len(texts), DIM)))


def unit(directions: np.ndarray) -> np.ndarray:
    """Float32 at unit norm."""
    norms = np.linalg.norm(directions, axis=-1, keepdims=True)
    return (directions / norms).astype(np.float32)


def films(episodes: int, seed: int) -> np.ndarray:
    """(episodes * STEPS, DIM) embeddings of episodes, each a slow walk over the sphere."""
    rng = np.random.default_rng(seed)
    walk = [unit(rng.normal(size=(episodes, DIM)))]
    for _ in range(STEPS - 1):
        drift = rng.normal(scale=WANDER / DIM**0.5, size=(episodes, DIM))
        walk.append(unit(walk[-1] + drift))
    return np.stack(walk, axis=1).reshape(-1, DIM)


# --- a store without a source


def empty_store(
    location: Path, episodes: int, per_slice: int, columns: Sequence[FieldSpec] = ()
) -> Store:
    """A store of one shard, without any table yet."""
    slices = plan_slices("train", [episodes], per_slice)
    manifest = StoreManifest(
        source=SourceSpec(
            name="made-up",
            version="1.0.0",
            split="train",
            fingerprint="f" * 64,
            shard_lengths=(episodes,),
        ),
        slices=tuple(SliceSpec(shard=s.shard, start=s.start, stop=s.stop) for s in slices),
        fields=tuple(columns),
        metadata=(),
        left_out={},
        cameras=(CAMERA,),
        language_fields=(),
        last_step=LastStep.FINAL_OBSERVATION,
        last_step_reason="made up",
    )
    return Store.create(str(location), manifest)


def write_table(
    store: Store,
    manifest: AnyTableManifest,
    schema: pa.Schema,
    columns: Callable[[Slice], Sequence[pa.Array]],
) -> None:
    """Writes every slice of a table, and completes it."""
    store.begin(manifest)
    files: list[TableFile] = list(manifest.files)
    for piece in store.slices:
        with store.writer(
            manifest.table, piece, schema, fingerprint=manifest.fingerprint
        ) as writer:
            writer.write(columns(piece))
            files.append(writer.commit())
    store.finish(manifest.model_copy(update={"files": tuple(files)}))


def keys_of(piece: Slice) -> list[pa.Array]:
    """The key columns of a slice."""
    ids = [piece.episode_id(index) for index in range(piece.start, piece.stop)]
    return key_columns(ids, [STEPS] * len(ids))


def write_embeddings(store: Store, frames: Callable[[Slice], np.ndarray]) -> None:
    """Writes an embedding table of what `frames` gives for each slice."""
    manifest = EmbeddingManifest(
        source_fingerprint=store.manifest.source.fingerprint,
        encoder=MadeUpEncoder.spec,
        camera=CAMERA,
    )
    schema = embedding_schema(DIM, manifest.dtype)
    value = schema.field(fields.EMBEDDING).type.value_type

    def columns(piece: Slice) -> list[pa.Array]:
        values = vectors(frames(piece), value)
        return [*keys_of(piece), values, pa.array([False] * len(values))]

    write_table(store, manifest, schema, columns)


def score(store: Store, goals: Path, name: str, *, scores: bool) -> str:
    """Scores a store of made-up embeddings; name of the reward table."""
    what = ScoreOptions(MadeUpEncoder, str(goals), name=name, scores=scores)
    (table,) = jobs.score(JobOptions(store.location), what).tables
    return table.table


# --- ways to write it


def ways() -> dict[str, dict[str, Any]]:
    """Settings of pyarrow's writer by name; keys have a dictionary everywhere."""
    plain: dict[str, Any] = {"use_dictionary": KEYS}
    split = {**plain, "column_encoding": SPLIT}
    rewards = {"use_dictionary": [*KEYS, "reward.list.element"]}
    everything = {"use_dictionary": True}
    zstd = [{"compression": "zstd", "compression_level": level} for level in (1, 3, 9)]
    return {
        "none": {**plain, "compression": "none"},
        "none, dictionary": {**everything, "compression": "none"},
        "lz4": {**plain, "compression": "lz4"},
        "zstd 1": {**plain, **zstd[0]},
        "zstd 3": {**plain, **zstd[1]},
        "zstd 9": {**plain, **zstd[2]},
        "zstd 1, dictionary": {**everything, **zstd[0]},
        "lz4, split": {**split, "compression": "lz4"},
        "zstd 1, split": {**split, **zstd[0]},
        "zstd 3, split": {**split, **zstd[1]},
        "zstd 9, split": {**split, **zstd[2]},
        "zstd 1, split, dictionary of rewards": {**split, **rewards, **zstd[0]},
    }


def by_pyarrow(how: Mapping[str, Any], table: pa.Table, path: Path) -> None:
    """Writes a table with these settings."""
    pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, **how)


def by_slice_writer(table: pa.Table, path: Path) -> None:
    """Writes a table as the store does, in pieces as they come from the scorer."""
    piece = Slice(0, 1, "train", 0, 0, 1)
    home = Folder.at(str(path.parent))
    with SliceWriter(home, "table", piece, table.schema, "fingerprint") as writer:
        for batch in table.to_batches(max_chunksize=ROW_GROUP_ROWS):
            writer.write(batch.columns)
        writer.commit()
    (path.parent / "table" / piece.file).replace(path)


def writers(
    scored: pa.Table, bare: pa.Table
) -> Iterator[tuple[str, Callable[[pa.Table, Path], None], pa.Table]]:
    """Name of every way, what writes it, and the table that it writes."""
    known = ways()
    yield OURS, by_slice_writer, scored
    for name, how in known.items():
        yield name, partial(by_pyarrow, how), scored
    halves, rounded = with_scores(scored, np.float16), with_scores(scored, rounded_floats)
    for name in ("zstd 1", "zstd 1, split"):
        yield f"{name}, float16 scores", partial(by_pyarrow, known[name]), halves
    yield "zstd 1, split, rounded scores", partial(by_pyarrow, known["zstd 1, split"]), rounded
    yield BARE, by_slice_writer, bare
    for name in ("zstd 1", "zstd 1, dictionary"):
        yield f"{name}, no scores", partial(by_pyarrow, known[name]), bare


def with_scores(table: pa.Table, convert: Callable[[np.ndarray], np.ndarray]) -> pa.Table:
    """The same table with its scores converted."""
    place = table.schema.get_field_index(fields.SCORE)
    flat = pa.array(convert(matrix(table.column(fields.SCORE)).reshape(-1)))
    converted = pa.FixedSizeListArray.from_arrays(flat, GOALS)
    return table.set_column(place, fields.SCORE, converted)


def rounded_floats(values: np.ndarray) -> np.ndarray:
    """Float32 with the precision of float16, but not its narrow range: the last 13 bits are 0."""
    bits = np.ascontiguousarray(values).view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def compare(
    chosen: Iterable[tuple[str, Callable[[pa.Table, Path], None], pa.Table]],
    place: Path,
    repeats: int,
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """By name: bytes per frame, seconds to write, seconds to read."""
    cases: dict[str, Callable[[], float]] = {}
    paths, names = {}, []
    for number, (name, write, table) in enumerate(chosen):
        names.append(name)
        paths[name] = place / f"{number}.parquet"
        cases[f"write {name}"] = partial(seconds, partial(write, table, paths[name]))
        cases[f"read {name}"] = partial(seconds, partial(pq.read_table, paths[name]))
        rows = table.num_rows
    found = medians(interleaved(cases, repeats))
    size = {name: paths[name].stat().st_size / rows for name in names}
    write_s, read_s = ({n: found[f"{verb} {n}"] for n in names} for verb in ("write", "read"))
    return size, write_s, read_s


def main() -> None:
    """Runs and prints the comparison."""
    chosen = options(__doc__).parse_args()
    repeats = 1 if chosen.quick else chosen.repeats
    episodes = 100 if chosen.quick else 1000
    with folder() as place:
        goals = goals_file(place / "goals.yaml", GOALS)
        store = empty_store(place / "store", episodes, per_slice=200)
        write_embeddings(store, lambda piece: films(piece.stop - piece.start, piece.index))
        tables = [score(store, goals, f"scores-{kept}", scores=kept) for kept in (True, False)]
        scored, bare = (store.read(table).combine_chunks() for table in tables)
        size, write_s, read_s = compare(writers(scored, bare), place, repeats)
    rewarded = float(np.nanmean(matrix(scored.column(fields.REWARD))))
    report(
        size, write_s, read_s, f"{scored.num_rows:,} frames, {rewarded:.1%} rewarded", chosen.out
    )


def report(
    size: Mapping[str, float],
    write_s: Mapping[str, float],
    read_s: Mapping[str, float],
    of: str,
    out: Path | None,
) -> None:
    """Prints sizes, and times as multiples of what the store takes for a table with scores."""
    raw = 4 * GOALS
    rows = [
        (
            name,
            f"{bytes_:.1f}",
            f"{bytes_ * FRAMES / 1e6:.0f}",
            f"{bytes_ / raw:.2f}",
            f"{write_s[name] / write_s[OURS]:.2f}",
            f"{read_s[name] / read_s[OURS]:.2f}",
        )
        for name, bytes_ in size.items()
    ]
    show(
        f"Reward table of {GOALS} goals; {of}",
        ("", "bytes/frame", "MB per 1M", "of raw", "write", "read"),
        [("raw float32 scores", f"{raw}", f"{raw * FRAMES / 1e6:.0f}", "1.00", "", ""), *rows],
        {"bytes_per_frame": size, "write_s": write_s, "read_s": read_s, "rows": of},
        out,
    )


if __name__ == "__main__":
    main()
