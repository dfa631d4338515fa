"""What goals cost: `relabel` for 1,000 goals against 1; `score` of 1,000 from stored embeddings.

    python -m benchmarks.goals [--encoder ViT-B-32|tiny]

Wall time of whole jobs in this process, from the moment the encoder is loaded. `score` reads the
embeddings that a `relabel` of the same benchmark wrote, repeated until there are enough frames for
its rate to mean something, and writes 1,000 scores and 1,000 rewards a frame, or only rewards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.relabel import job
from pipelines import jobs
from pipelines.options import JobOptions, LoadEncoder, ScoreOptions, encoder_loader
from pipelines.report import JobReport
from schemas.manifests import EmbeddingManifest, SliceSpec, StoreManifest
from schemas.store import Store
from schemas.tables import embedding_schema, key_columns, vectors

EPISODE = 100  # frames


def stored_embeddings(folder: Path, made: Store, frames: int) -> Path:
    """A store of `frames` random unit embeddings, otherwise as the job made it."""
    (table,) = made.embeddings()
    per_slice = min(frames, 20_000)
    count = frames // per_slice
    source = made.manifest.source.model_copy(
        update={"shard_lengths": (per_slice // EPISODE,) * count}
    )
    slices = tuple(SliceSpec(shard=i, start=0, stop=per_slice // EPISODE) for i in range(count))
    manifest: StoreManifest = made.manifest.model_copy(update={"source": source, "slices": slices})
    store = Store.create(str(folder), manifest)
    wanted = EmbeddingManifest(
        encoder=table.encoder,
        camera=table.camera,
        dtype=table.dtype,
        source_fingerprint=source.fingerprint,
        made_by=table.made_by,
        command=None,
    )
    store.begin(wanted)
    schema, rng, files = (
        embedding_schema(table.encoder.dim, table.dtype),
        np.random.default_rng(0),
        [],
    )
    for piece in store.slices:
        values = rng.normal(size=(per_slice, table.encoder.dim)).astype(np.float32)
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        ids = [piece.episode_id(index) for index in range(piece.start, piece.stop)]
        value_type = schema.field(2).type.value_type
        with store.writer(wanted.table, piece, schema, fingerprint=wanted.fingerprint) as writer:
            writer.write([*key_columns(ids, [EPISODE] * len(ids)), vectors(values, value_type)])
            files.append(writer.commit())
    store.finish(wanted.model_copy(update={"files": tuple(files), "rows": frames}))
    return folder


def score(store: Path, load: LoadEncoder, goals: Path, name: str, scores: bool) -> JobReport:
    """One scoring job in this process."""
    return jobs.score(
        JobOptions(store=str(store), profile=True),
        ScoreOptions(encoder=load, goals=str(goals), name=name, scores=scores),
    )


def main() -> None:
    """Runs and prints the comparison."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--encoder", default="ViT-B-32", help="architecture, or tiny")
    parser.add_argument("--frames", type=int, help="relabeled; default 512, or 12,800 for tiny")
    parser.add_argument("--score-frames", type=int, default=100_000, help="scored")
    options = parser.parse_args()
    tiny = options.encoder == "tiny"
    frames = options.frames or (12_800 if tiny else 512)
    if options.quick:
        frames, options.repeats, options.score_frames = (1280 if tiny else 32), 1, 10_000
    with common.folder() as folder:
        encoder = common.TINY if tiny else common.random_vit(folder, options.encoder)
        load = encoder_loader(encoder, "cpu", "float32")
        source = common.jpeg_source(
            folder / "1.0.0", episodes=16, steps=frames // 16, size=(256, 256)
        )
        goals = {n: common.goals_file(folder / f"goals-{n}.yaml", n) for n in (1, 1000)}
        turn = iter(range(1000))
        held = load()  # kept, so that no job loads it again

        def relabel(count: int) -> float:
            done = job(source, folder / f"store-{next(turn)}", load, goals[count])
            return done.elapsed_s / done.frames_new

        first = folder / "store-first"
        job(source, first, load, goals[1])
        cache = stored_embeddings(folder / "cache", Store.open(str(first)), options.score_frames)
        profiles = []

        def rescore(scores: bool = True) -> float:
            done = score(cache, load, goals[1000], f"r{next(turn)}", scores)
            if scores:
                profiles.append(done.profile)
            return done.elapsed_s / done.frames_new

        cases = {
            "relabel, 1 goal": lambda: relabel(1),
            "relabel, 1,000 goals": lambda: relabel(1000),
            "score, 1,000 goals": rescore,
            "score --no-scores, 1,000 goals": lambda: rescore(scores=False),
        }
        found = common.interleaved(cases, options.repeats)
        del held
    per_frame = common.medians(found)
    rows = [
        (name, 1 / s, 1e3 * s, common.paired_ratio(found, name, "relabel, 1 goal"))
        for name, s in per_frame.items()
    ]
    faster = common.paired_ratio(found, "relabel, 1,000 goals", "score, 1,000 goals")
    common.show(
        f"{options.encoder}, 256x256 JPEG, {frames} frames relabeled, "
        f"{options.score_frames:,} scored; score is {faster:,.0f} times faster than relabel",
        ("job", "frames/s", "ms/frame", "time / relabel of 1 goal"),
        rows,
        {
            "s_per_frame": found,
            "goals_ratio": rows[1][3],
            "score_faster": faster,
            "score_profile": profiles[-1].model_dump() if profiles[-1] else None,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
