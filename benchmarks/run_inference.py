"""`relabel` against the Beam job one would write first: a frame per element, `RunInference`.

    python -m benchmarks.run_inference [--encoder ViT-B-32|tiny]

The job reads episodes with TFDS, makes an element of every frame (JPEG bytes), preprocesses it by
open_clip's own transform in a DoFn, embeds it with `RunInference`, computes the same softmax reward
against the same goals and writes Parquet with `WriteToParquet`. Same encoder, precision, threads
and runner. Once with RunInference's own batching, and once tuned: batches of one fixed size, as
`relabel` makes them. Frames per second of the whole job, loading of the model included in all,
imports, of TensorFlow by this job alone, in none.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import torch
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference
from PIL import Image
from torch import nn

from benchmarks import common
from benchmarks.relabel import job
from pipelines.runners import run_pipeline
from relabel.encoders.open_clip_import import import_open_clip
from relabel.encoders.registry import encoder_loader
from relabel.goals.files import load_goals
from relabel.goals.readings import read_prompts
from relabel.jobs.options import RunOptions

ROWS = pa.schema(
    [("episode", pa.int64()), ("step", pa.int64()), ("reward", pa.list_(pa.float32()))]
)


class ClipHandler(ModelHandler[Any, PredictionResult, nn.Module]):
    """An open_clip image tower; elements are (key, preprocessed frame)."""

    def __init__(self, encoder: str, batch: int | None) -> None:
        self._encoder = encoder
        self._batch = batch

    def load_model(self) -> nn.Module:
        """The model that `relabel` uses, loaded the same way."""
        return encoder_loader(self._encoder, "cpu", "float32")()._model  # type: ignore[attr-defined]

    def run_inference(
        self, batch: Sequence[Any], model: nn.Module, inference_args: Any = None
    ) -> Iterable[PredictionResult]:
        """Unit-norm embeddings."""
        with torch.inference_mode():
            features = model.encode_image(torch.stack([pixels for _, pixels in batch]))
            unit = nn.functional.normalize(features.float(), dim=-1).numpy()
        return [PredictionResult(key, row) for (key, _), row in zip(batch, unit, strict=True)]

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """RunInference's own batching, or one fixed size."""
        if self._batch is None:
            return {}
        return {"min_batch_size": self._batch, "max_batch_size": self._batch}


class ReadFrames(beam.DoFn):  # type: ignore[misc]
    """One shard in, its frames out."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def process(self, shard: int) -> Iterator[tuple[tuple[int, int], bytes]]:
        """((episode, step), JPEG bytes)."""
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(self._directory)
        decoders = {"steps": {"observation": {"image": tfds.decode.SkipDecoding()}}}
        episodes = builder.as_dataset(
            split=tfds.core.ReadInstruction("train", from_=shard, to=shard + 1, unit="shard"),
            decoders=decoders,
        )
        for number, episode in enumerate(episodes):
            for step, values in enumerate(episode["steps"]):
                image = values["observation"]["image"].numpy()
                yield (shard * 100_000 + number, step), image


class Preprocess(beam.DoFn):  # type: ignore[misc]
    """open_clip's inference transform, frame by frame."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings

    def setup(self) -> None:
        """Makes the transform."""
        transform = import_open_clip().transform
        settings = transform.PreprocessCfg(**self._settings)
        self._transform = transform.image_transform_v2(settings, is_train=False)

    def process(self, frame: tuple[Any, bytes]) -> Iterator[tuple[Any, torch.Tensor]]:
        """(key, (3, height, width))."""
        key, encoded = frame
        with Image.open(io.BytesIO(encoded)) as image:
            yield key, self._transform(image)


class Reward(beam.DoFn):  # type: ignore[misc]
    """Softmax of each goal against its negatives."""

    def __init__(self, prompts: np.ndarray, candidates: list[np.ndarray], scale: float) -> None:
        self._prompts, self._candidates, self._scale = prompts, candidates, scale

    def process(self, result: PredictionResult) -> Iterator[dict[str, Any]]:
        """One row."""
        cosines = self._prompts @ result.inference * self._scale
        reward = []
        for own in self._candidates:
            weights = np.exp(cosines[own] - cosines[own].max())
            reward.append(float(weights[0] / weights.sum() > 0.5))
        episode, step = result.example
        yield {"episode": episode, "step": step, "reward": reward}


def baseline(source: Path, out: Path, encoder: str, goals: Path, batch: int | None) -> None:
    """The whole job."""
    model = encoder_loader(encoder, "cpu", "float32")()
    prompts, vectors, _ = read_prompts(load_goals(str(goals)), model.encode_texts)
    candidates = [
        np.array([goal, *negatives])
        for goal, negatives in zip(prompts.goal, prompts.negatives, strict=True)
    ]
    shards = len(list(source.glob("*tfrecord*")))

    def build(pipeline: beam.Pipeline) -> None:
        (
            pipeline
            | beam.Create(range(shards))
            | beam.Reshuffle()
            | beam.ParDo(ReadFrames(str(source)))
            | beam.ParDo(Preprocess(model.spec.preprocess))
            | RunInference(ClipHandler(encoder, batch))
            | beam.ParDo(Reward(vectors, candidates, model.spec.logit_scale))
            | beam.io.WriteToParquet(str(out / "rewards"), ROWS)
        )

    run_pipeline(build, RunOptions())


def main() -> None:
    """Runs and prints the comparison."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--encoder", default="ViT-B-32", help="architecture, or tiny")
    parser.add_argument("--frames", type=int, help="default: 512, or 6,400 for tiny")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    tiny = options.encoder == "tiny"
    frames = options.frames or (6400 if tiny else 512)
    if options.quick:
        frames, options.repeats, options.batch = (640 if tiny else 32), 1, 16
    with common.folder() as folder:
        encoder = common.TINY if tiny else common.random_vit(folder, options.encoder)
        source = common.jpeg_source(
            folder / "1.0.0", episodes=16, steps=frames // 16, size=(256, 256)
        )
        goals = common.goals_file(folder / "goals.yaml", 10)
        load, turn = encoder_loader(encoder, "cpu", "float32"), iter(range(1000))

        few = common.jpeg_source(folder / "few" / "1.0.0", episodes=1, steps=4, size=(256, 256))

        def ours(source: Path = source) -> None:
            job(source, folder / f"store-{next(turn)}", load, goals, options.batch)

        def theirs(batch: int | None, source: Path = source) -> None:
            out = folder / f"theirs-{next(turn)}"
            baseline(source, out, encoder, goals, batch)

        ours(few)  # imports are no part of either
        theirs(None, few)
        cases = {
            "relabel": lambda: frames / common.seconds(ours),
            "RunInference, tuned": lambda: frames / common.seconds(lambda: theirs(options.batch)),
            "RunInference, defaults": lambda: frames / common.seconds(lambda: theirs(None)),
        }
        found = common.interleaved(cases, options.repeats)
    rates = common.medians(found)
    rows = [
        (name, rate, common.paired_ratio(found, "relabel", name)) for name, rate in rates.items()
    ]
    common.show(
        f"{options.encoder}, 256x256 JPEG, {frames} frames, 10 goals",
        ("job", "frames/s", "relabel / it"),
        rows,
        {"frames_per_s": found, "ratios": {name: ratio for name, _, ratio in rows}},
        options.out,
    )


if __name__ == "__main__":
    main()
