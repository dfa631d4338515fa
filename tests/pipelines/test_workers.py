"""What a worker process holds: the encoder that was planned, or none."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines import jobs
from relabel.encoders.open_clip_loader import OpenClipLoader
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.workers import SharedEncoder
from relabel.testing import PixelMeanEncoder
from schemas.errors import EncoderError, StoreError
from schemas.store import Store
from tests.pipelines import counted_encoders
from tests.pipelines.job_options import Embedding, Scoring


def _elsewhere(encoder: SharedEncoder) -> SharedEncoder:
    """As it arrives in another process, where nothing is loaded yet."""
    arrived: SharedEncoder = pickle.loads(pickle.dumps(encoder))
    return SharedEncoder(arrived.load, arrived.planned)


@pytest.mark.parametrize("machine", ["float32", "bfloat16"])
def test_auto_is_decided_once_and_shipped(
    tiny_model: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from relabel.encoders import open_clip as module

    monkeypatch.setattr(module, "choose_precision", lambda _: (machine, "of the submitter"))
    shared = SharedEncoder(OpenClipLoader(tiny_model, "auto", "auto", True))
    loaded = shared.acquire()
    pinned = shared.pinned(loaded)
    assert pinned.acquire() is loaded, "nothing is loaded twice in one process"
    other = {"float32": "bfloat16", "bfloat16": "float32"}[machine]
    monkeypatch.setattr(module, "choose_precision", lambda _: (other, "of the worker"))
    arrived = _elsewhere(pinned)
    device = str(module.resolve_device("auto"))
    assert arrived.load == OpenClipLoader(tiny_model, device, machine, True)
    assert arrived.acquire().spec == loaded.spec


def test_a_device_that_was_asked_for_stays(tiny_model: str) -> None:
    loaded = OpenClipLoader(tiny_model).__call__()
    asked = OpenClipLoader(tiny_model, "cuda", "float32")
    assert asked.as_loaded(loaded).device == "cuda"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights_sha256": "b" * 64}, "weights_sha256 bbbbbbbb, not"),
        ({"precision": "bfloat16"}, "precision bfloat16, not float32"),
        ({"tokenizer_sha256": "c" * 64}, "tokenizer_sha256 cccccccc, not"),
        ({"preprocess": {"size": 7}}, "preprocess"),
        ({"fingerprint": "d" * 64}, "fingerprint dddddddd, not"),
        ({"logit_scale": 3.0}, "logit_scale 3.0, not"),
    ],
)
def test_a_worker_that_loads_another_encoder_refuses(
    tiny_model: str, change: dict[str, Any], told: str
) -> None:
    load = OpenClipLoader(tiny_model, "cpu", "float32")
    planned = load().spec.model_copy(update=change)
    with pytest.raises(EncoderError, match="a worker loaded another one than was planned") as error:
        SharedEncoder(load, planned).acquire()
    assert told in str(error.value)


def test_a_moved_encoder_is_the_planned_one() -> None:
    planned = PixelMeanEncoder().spec.model_copy(update={"name": "elsewhere", "slug": "other"})
    assert SharedEncoder(PixelMeanEncoder, planned).acquire().spec.name == "pixel-mean:0"


@pytest.mark.usefixtures("workers_import_tests")
def test_a_table_never_holds_what_its_manifest_does_not_say(
    store: Path, embedding: Embedding
) -> None:
    job = JobOptions(str(store), run=RunOptions(workers=2), threads=1)
    with pytest.raises(EncoderError, match=r"pixel-mean:1: a worker loaded another .*weights"):
        jobs.embed(job, embedding(encoder=counted_encoders.load_other_in_workers))
    opened = Store.open(str(store))
    assert opened.embeddings() == []
    assert list(store.glob("embeddings/*/slice-*")) == []


# --- goals of stored embeddings -----------------------------------------------------------------


def test_auto_of_score_is_the_precision_of_the_stored_embeddings(
    tiny_model: str,
    job: JobOptions,
    embedding: Embedding,
    scoring: Scoring,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from relabel.encoders import open_clip as module

    made = OpenClipLoader(tiny_model, "cpu", "bfloat16")
    done = jobs.embed(job, embedding(encoder=made))
    assert done.encoder == f"{tiny_model}, bfloat16 on cpu (asked for)"
    monkeypatch.setattr(module, "choose_precision", lambda _: ("float32", "of another machine"))
    auto = OpenClipLoader(tiny_model)
    done = jobs.score(job, scoring(encoder=auto, name="auto"))
    assert done.encoder == f"{tiny_model}, bfloat16 on cpu (that of the stored embeddings)"
    assert Store.open(job.store).rewards("auto").encoder.precision == "bfloat16"
    with pytest.raises(StoreError, match=r"no embeddings of .* at float16"):
        jobs.score(job, scoring(encoder=OpenClipLoader(tiny_model, "cpu", "float16"), name="x"))
    jobs.embed(job, embedding(encoder=auto))
    with pytest.raises(
        EncoderError, match="at float32 and at bfloat16; say which with --precision"
    ):
        jobs.score(job, scoring(encoder=auto, name="x"))
    for precision in ("float32", "bfloat16"):
        asked = OpenClipLoader(tiny_model, "cpu", precision)
        jobs.score(job, scoring(encoder=asked, name=precision))
        assert Store.open(job.store).rewards(precision).encoder.precision == precision


def test_goals_of_frames_embedded_elsewhere(tiny_model: str) -> None:
    """Of a GPU's float16, which a CPU does not compute in."""
    encoder = OpenClipLoader(tiny_model, "cpu", "float32")()
    other = OpenClipLoader(tiny_model, "cpu", "float16").for_texts(())
    assert other.spec == encoder.specs["float16"]
    np.testing.assert_array_equal(other.encode_texts(["a ball"]), encoder.encode_texts(["a ball"]))
    with pytest.raises(EncoderError, match="was loaded for texts, got frames"):
        other.encode_images([np.zeros((8, 8, 3), np.uint8)])
    assert encoder.encode_images([np.zeros((8, 8, 3), np.uint8)]).shape == (1, 16)
    with pytest.raises(EncoderError, match="expected one of auto, float32, bfloat16, float16"):
        encoder.for_texts("fp16")
