"""What goals cost: `relabel` for 1,000 goals against 1; `score` of 1,000 from stored embeddings.

    python -m benchmarks.goals [--encoder ViT-B-32|tiny]

Jobs in this process, once the encoder is loaded: the whole of each, which begins by embedding the
goals, and the time per frame from then on. `score` reads random embeddings, of the size that a
`relabel` of the same benchmark wrote, and writes 1,000 scores and 1,000 rewards a frame, or only
rewards.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import common
from benchmarks.relabel import job
from pipelines import jobs
from relabel.encoders.protocol import LoadEncoder
from relabel.encoders.registry import encoder_loader
from relabel.jobs.options import JobOptions, ScoreOptions
from relabel.jobs.report import JobReport
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
            keys, blank = key_columns(ids, [EPISODE] * len(ids)), pa.array([False] * len(values))
            writer.write([*keys, vectors(values, value_type), blank])
            files.append(writer.commit())
    store.finish(wanted.model_copy(update={"files": tuple(files), "rows": frames}))
    return folder


class Jobs:
    """Whole jobs in this process, timed from call to return; an encoder that is loaded already.

    Args:
        place: folder for the stores.
        load: the encoder.
        goals: goals file of each number of goals.
        source: frames to relabel.
    """

    def __init__(
        self, place: Path, load: LoadEncoder, goals: Mapping[int, Path], source: Path
    ) -> None:
        self.reports: dict[str, list[JobReport]] = {}
        self._place, self._load, self._goals, self._source = place, load, goals, source
        self._turn = itertools.count()

    def relabel(self, name: str, goals: int) -> float:
        """Seconds of one job; its report is kept."""
        store = self._place / f"store-{next(self._turn)}"
        return self._timed(name, lambda: job(self._source, store, self._load, self._goals[goals]))

    def score(self, name: str, store: Path, goals: int, scores: bool = True) -> float:
        """Likewise, from stored embeddings."""
        what = ScoreOptions(
            encoder=self._load,
            goals=str(self._goals[goals]),
            name=f"r{next(self._turn)}",
            scores=scores,
        )
        return self._timed(
            name, lambda: jobs.score(JobOptions(store=str(store), profile=True), what)
        )

    def _timed(self, name: str, work: Callable[[], JobReport]) -> float:
        began = time.perf_counter()
        self.reports.setdefault(name, []).append(work())
        return time.perf_counter() - began

    def per_frame(self) -> dict[str, list[float]]:
        """Seconds per frame from the first slice to the last, without embedding the goals."""
        return {
            name: [report.elapsed_s / report.frames_new for report in reports]
            for name, reports in self.reports.items()
        }


def main() -> None:
    """Runs and prints the comparison."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--encoder", default="ViT-B-32", help="architecture, or tiny")
    parser.add_argument("--frames", type=int, help="relabeled; default 2,048, or 12,800 for tiny")
    parser.add_argument("--score-frames", type=int, default=200_000, help="scored")
    options = parser.parse_args()
    tiny = options.encoder == "tiny"
    frames = options.frames or (12_800 if tiny else 2048)
    if options.quick:
        frames, options.repeats, options.score_frames = (1280 if tiny else 32), 1, 10_000
    with common.folder() as folder:
        encoder = common.TINY if tiny else common.random_vit(folder, options.encoder)
        load = encoder_loader(encoder, "cpu", "float32")
        source = common.jpeg_source(
            folder / "1.0.0", episodes=16, steps=frames // 16, size=(256, 256)
        )
        few = common.jpeg_source(folder / "few" / "1.0.0", episodes=1, steps=16, size=(256, 256))
        goals = {n: common.goals_file(folder / f"goals-{n}.yaml", n) for n in (1, 1000)}
        held = load()  # kept, so that no job loads it again
        first = folder / "store-first"
        job(few, first, load, goals[1])
        cache = stored_embeddings(folder / "cache", Store.open(str(first)), options.score_frames)
        done = Jobs(folder, load, goals, source)
        one, many = "relabel, 1 goal", "relabel, 1,000 goals"
        again, rewards = "score, 1,000 goals", "score --no-scores, 1,000 goals"
        cases = {
            one: lambda: done.relabel(one, 1),
            many: lambda: done.relabel(many, 1000),
            again: lambda: done.score(again, cache, 1000),
            rewards: lambda: done.score(rewards, cache, 1000, scores=False),
        }
        whole = common.interleaved(cases, options.repeats)
        del held
    found = done.per_frame()
    jobs_s, per_frame = common.medians(whole), common.medians(found)
    rows = [
        (name, jobs_s[name], 1 / s, 1e3 * s, common.paired_ratio(found, name, one))
        for name, s in per_frame.items()
    ]
    ratio = common.paired_ratio(whole, many, one)
    faster = common.paired_ratio(found, many, again)
    profile = done.reports[again][-1].profile
    common.show(
        f"{options.encoder}, 256x256 JPEG, {frames} frames relabeled, {options.score_frames:,} "
        f"scored\nwall time of relabel, 1,000 goals / 1 goal: {ratio:.3f}\n"
        f"score is {faster:,.0f} times faster than relabel, per frame",
        ("job", "whole job, s", "frames/s", "ms/frame", "ms / relabel of 1 goal"),
        rows,
        {
            "whole_s": whole,
            "s_per_frame": found,
            "goals_ratio": ratio,
            "score_faster": faster,
            "score_profile": profile.model_dump() if profile else None,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
