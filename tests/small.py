"""A small source, and a store made of it without Beam, for the tests of schemas and relabel.

    source    shard 0: episodes of 3, 1 and 0 frames    shard 1: episodes of 5 and 2 frames
    slices    0: 3 + 1 frames    1: 0 frames             2: 5 + 2 frames   (two episodes each)

Both cameras show one plain colour that differs from frame to frame: `front` as PNG, which
keeps it, `wrist` as JPEG, which nearly does.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_datasets as tfds

from relabel.goals.files import goals_table
from relabel.goals.readings import read_prompts
from relabel.jobs import plans
from relabel.jobs.finish import with_files
from relabel.jobs.plans import ScorePlan
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import Scorer, bind
from relabel.slices.embed_slice import SourceTable, embed_slice
from relabel.slices.score_slice import score_slice
from relabel.source.source import Source
from relabel.testing import FileFormat, PixelMeanEncoder, encoded_image, write_rlds
from schemas.enums import CameraForm, Fusion, LastStep, Timing
from schemas.files import Folder
from schemas.goals import GoalSet
from schemas.manifests import (
    AnyTableManifest,
    EmbeddingManifest,
    RewardManifest,
    SliceSpec,
    StoreManifest,
    embedding_name,
    manifest_bytes,
)
from schemas.slices import Slice, plan_slices
from schemas.store import MANIFEST, Store

ROOT = Path(__file__).parent.parent
LENGTHS = (3, 1, 0, 5, 2)
SHARDS = (3, 2)
FRONT, WRIST = "observation.front", "observation.wrist"
COLOURS = GoalSet.from_texts(["a red room", "a green room", "a blue room"])


def features() -> tfds.features.FeaturesDict:
    """Of the small source."""
    kinds = tfds.features
    step = {
        "observation": {
            "front": kinds.Image(shape=(None, None, 3)),
            "wrist": kinds.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "state": kinds.Tensor(shape=(2, 3), dtype=np.float32),
            "touching": np.bool_,
        },
        "action": kinds.Tensor(shape=(2,), dtype=np.float32),
        "reward": np.float32,
        "discount": np.float32,
        "is_first": np.bool_,
        "is_last": np.bool_,
        "is_terminal": np.bool_,
        "language_instruction": kinds.Text(),
    }
    metadata = {"file": kinds.Text(), "seed": np.int64}
    return kinds.FeaturesDict({"steps": kinds.Dataset(step), "episode_metadata": metadata})


def frame(episode: int, step: int, camera: int) -> np.ndarray:
    """(4, 6, 3) uint8 of one colour."""
    colour = np.array([70 * step % 256, (60 * episode + 90 * camera) % 256, 20 * step + 7])
    return np.broadcast_to(colour, (4, 6, 3)).astype(np.uint8)


def one_episode(index: int, length: int) -> dict[str, Any]:
    """An episode whose last action is zero, as RLDS has it."""
    return {
        "steps": [_step(index, step, length) for step in range(length)],
        "episode_metadata": {"file": f"/raw/é{index}.h5", "seed": 100 + index},
    }


def _step(episode: int, step: int, length: int) -> dict[str, Any]:
    last = step == length - 1
    return {
        "observation": {
            "front": encoded_image(frame(episode, step, 0), "PNG"),
            "wrist": encoded_image(frame(episode, step, 1), "JPEG"),
            "state": np.arange(6, dtype=np.float32).reshape(2, 3) + 10 * episode + step / 4,
            "touching": step % 2 == 1,
        },
        "action": np.zeros(2, np.float32) if last else np.array([step + 1, -episode], np.float32),
        "reward": np.float32(last),
        "discount": np.float32(1),
        "is_first": step == 0,
        "is_last": last,
        "is_terminal": last and episode == 0,
        "language_instruction": ("open the drawer", "fermé")[episode % 2],
    }


def episodes(lengths: Sequence[int] = LENGTHS) -> list[dict[str, Any]]:
    """All episodes, in order."""
    return [one_episode(index, length) for index, length in enumerate(lengths)]


def write_source(
    directory: Path,
    items: Iterable[dict[str, Any]] | None = None,
    file_format: FileFormat = "tfrecord",
) -> Source:
    """Writes and opens the small source, or one of other episodes in the same shards."""
    content = episodes() if items is None else items
    write_rlds(directory, features(), content, shard_lengths=SHARDS, file_format=file_format)
    return Source.open(str(directory), "train")


def store_manifest(source: Source, *, per_slice: int = 2, keep: bool = False) -> StoreManifest:
    """Plan of a store over a source."""
    slices = plan_slices("train", source.spec.shard_lengths, per_slice)
    columns = tuple(leaf.spec for leaf in source.columns)
    return StoreManifest(
        source=source.spec,
        slices=tuple(SliceSpec(shard=s.shard, start=s.start, stop=s.stop) for s in slices),
        fields=source.kept_fields() if keep else columns,
        metadata=tuple(leaf.spec for leaf in source.features.metadata),
        left_out=dict(source.features.left_out),
        cameras=source.cameras,
        camera_forms=dict(source.found.forms),
        language_fields=source.features.language_fields,
        last_step=LastStep.FINAL_OBSERVATION,
        last_step_reason="the tests say so",
    )


def source_tables(
    store: Store, cameras: Sequence[str] = (FRONT, WRIST), version: int = 0, **more: Any
) -> tuple[SourceTable, ...]:
    """Manifests of steps, episodes and one embedding table per camera."""
    forms = dict.fromkeys(cameras, CameraForm.IMAGE)
    tables = plans.source_tables(store, PixelMeanEncoder(version).spec, forms, **more)
    return tuple(table.model_copy(update={"command": "embed again"}) for table in tables)


def embed(
    store: Store,
    source: Source,
    tables: Sequence[SourceTable],
    *,
    encoder: PixelMeanEncoder | None = None,
    batch_size: int = 2,
    decode_threads: int = 1,
) -> list[Slice]:
    """Embeds every slice and finishes the tables."""
    for table in tables:
        store.begin(table)
    model = PixelMeanEncoder() if encoder is None else encoder
    pieces = [
        embed_one(store, source, tables, piece, model, batch_size, decode_threads)
        for piece in store.slices
    ]
    finish(store, tables, pieces)
    return pieces


def embed_one(
    store: Store,
    source: Source,
    tables: Sequence[SourceTable],
    piece: Slice,
    encoder: PixelMeanEncoder | None,
    batch_size: int = 2,
    decode_threads: int = 1,
) -> Slice:
    """`embed_slice`, in one line."""
    return embed_slice(
        piece,
        source=source,
        store=store,
        tables=tables,
        encoder=encoder,
        batch_size=batch_size,
        decode_threads=decode_threads,
    )


def finish(
    store: Store,
    tables: Sequence[AnyTableManifest],
    pieces: Sequence[Slice],
) -> None:
    """Writes the tables' manifests from the files that their slices brought along."""
    files = [file for piece in pieces for file in piece.files]
    for table in tables:
        store.finish(with_files(table, files))


def bind_goals(
    goals: GoalSet = COLOURS,
    reward: str = "softmax-threshold",
    timing: Timing = Timing.NEXT_FRAME,
    fusion: Fusion = Fusion.MEAN,
    **parameters: Any,
) -> tuple[Scorer, pa.Table]:
    """A scorer under `PixelMeanEncoder`, and its goals table."""
    encoder = PixelMeanEncoder()
    prompts, vectors, norms = read_prompts(goals, encoder.encode_texts)
    function = parse_reward(reward, **parameters)
    how: dict[str, Any] = {"timing": timing, "fusion": fusion, "norms": norms}
    scorer = bind(function, goals, prompts, vectors, encoder.spec, **how)
    return scorer, goals_table(goals, prompts, vectors, scorer.temperature, scorer.threshold)


def reward_manifest(
    store: Store,
    scorer: Scorer,
    cameras: Sequence[str],
    name: str = "v1",
    scores: bool = True,
    goals: GoalSet = COLOURS,
) -> RewardManifest:
    """Of a reward set over some cameras."""
    spec = PixelMeanEncoder().spec
    tables = (store.table_manifest(f"embeddings/{embedding_name(spec, c)}") for c in cameras)
    embeddings = [table for table in tables if isinstance(table, EmbeddingManifest)]
    planned = plans.reward_manifest(name, store, goals, scorer, embeddings, scores=scores)
    return planned.model_copy(update={"command": "score again"})


def score(
    store: Store,
    name: str = "v1",
    cameras: Sequence[str] = (FRONT, WRIST),
    scores: bool = True,
    **how: Any,
) -> RewardManifest:
    """Scores every slice and finishes the reward set."""
    scorer, table = bind_goals(**how)
    goals = how.get("goals", COLOURS)
    manifest = reward_manifest(store, scorer, cameras, name, scores, goals)
    store.begin(manifest)
    plan = ScorePlan(manifest, scorer, table, goals)
    whole = plan.write_goals(store)
    pieces = [
        score_slice(piece, store=store, rewards=manifest, scorer=scorer) for piece in store.slices
    ]
    finish(store, [whole], pieces)
    return store.rewards(name)


def relist(store: Store, manifest: AnyTableManifest) -> None:
    """Makes the manifest agree with the files again, so that only their content is wrong."""
    files = tuple(
        replace(
            f,
            bytes=store.folder.size(f"{f.table}/{f.file}"),
            **asdict(store.folder.checksums(f"{f.table}/{f.file}")),
            rows=store.rows(f.table, f.file) if f.file.endswith("parquet") else f.rows,
        )
        for f in manifest.files
    )
    rewrite_manifest(store, manifest.model_copy(update={"files": files}))


def hashed(monkeypatch: pytest.MonkeyPatch, *methods: str) -> list[str]:
    """Names of the files whose content is checked from now on: by some checksums, or by any."""
    names: list[str] = []

    def noting(real: Any) -> Any:
        return lambda self, name: names.append(name) or real(self, name)

    for checksum in methods or ("sha256", "crc32c", "checksums"):
        monkeypatch.setattr(Folder, checksum, noting(getattr(Folder, checksum)))
    return names


def rewrite_manifest(store: Store, manifest: AnyTableManifest) -> None:
    store.folder.write(f"{manifest.table}/{MANIFEST}", manifest_bytes(manifest))


def build_store(location: Path, source: Source, **how: Any) -> Store:
    """A finished store: steps, episodes, both cameras' embeddings, reward set `v1`."""
    store = Store.create(str(location), store_manifest(source, **how))
    embed(store, source, source_tables(store))
    score(store)
    return store


def tree(location: Path, *, manifests: bool = True) -> dict[str, bytes]:
    """Content of every file below a folder, by relative name."""
    return {
        str(path.relative_to(location)): path.read_bytes()
        for path in sorted(location.rglob("*"))
        if path.is_file() and (manifests or path.suffix == ".parquet")
    }


def memory_folder(path: str) -> Folder:
    """A folder that is not on a local disk: files are uploaded, nothing can be renamed."""
    from fsspec.implementations.memory import MemoryFileSystem

    class Memory(MemoryFileSystem):
        """Its readers have a place of their own: those of fsspec share one per file."""

        def _open(self, path: str, mode: str = "rb", **more: Any) -> Any:
            opened = super()._open(path, mode, **more)
            return io.BytesIO(opened.getvalue()) if mode == "rb" else opened

    filesystem = Memory(skip_instance_cache=True)
    filesystem.rm(f"/{path}", recursive=True) if filesystem.exists(f"/{path}") else None
    return Folder.on(filesystem, path)


def stage_and_die(folder: Folder, name: str) -> Path:
    """What a writer leaves that is killed before it commits."""
    code = (
        "import os, sys\nfrom schemas.files import Folder\n"
        "print(Folder.at(sys.argv[1]).stage(sys.argv[2]).path, flush=True)\nos._exit(9)"
    )
    words = [sys.executable, "-c", code, folder.path, name]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    return Path(done.stdout.strip())


def no_links(*_: Any) -> None:
    """`os.link` of a disk that knows none, such as FAT."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))
