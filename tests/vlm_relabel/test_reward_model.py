"""A reward model in memory gives the numbers of a store that the command's job has made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from relabel.testing import PixelMeanEncoder, load_pixel_mean_encoder
from schemas.errors import EncoderError, FrameError, GoalError, RelabelError, RewardError
from schemas.goals import GoalSet
from tests.pipelines import small_source

LENGTHS = (3, 2, 4, 2)
TEXTS = ["a red room", "a blue room"]
FRAMES = np.stack([small_source.frame(e, t) for e, n in enumerate(LENGTHS) for t in range(n)])
# On this machine both are equal to the last bit, at any batch size. A forward pass may round a
# frame by its place in the batch: 1e-6 of an embedding, which float16 makes 5e-4 at a border.
SCORE, EMBEDDING = 2e-2, 1e-3


def goals_file(folder: Path) -> Path:
    path = folder / "goals.yaml"
    path.write_text(small_source.GOALS)
    return path


@pytest.mark.parametrize(
    ("reward", "parameters"),
    [
        ("softmax-threshold", {"threshold": 0.3}),
        ("cosine", {}),
        ("potential-difference/window-mean/probability", {"window": 2}),
    ],
)
@pytest.mark.parametrize("kind", ["file", "texts"])
def test_it_gives_the_numbers_of_a_store(
    source: Path, tiny_model: str, tmp_path: Path, reward: str, parameters: Any, kind: str
) -> None:
    goals = goals_file(tmp_path) if kind == "file" else TEXTS
    vlm_relabel.relabel(
        source=source,
        camera="front",
        encoder=tiny_model,
        goals=goals,
        store=tmp_path / "store",
        reward=reward,
        batch_size=2,  # so that batches run across episodes
        threads=1,
        **parameters,
    )
    store = vlm_relabel.open_store(tmp_path / "store")
    model = vlm_relabel.RewardModel(tiny_model, goals, reward=reward, batch_size=4, **parameters)
    stored = store.embeddings(store.embedding_tables[0])
    assert model.embed(FRAMES).dtype == stored.dtype
    np.testing.assert_allclose(model.embed(FRAMES), stored, atol=EMBEDDING)
    scores = model(FRAMES, LENGTHS)
    assert (scores.dtype, scores.shape) == (np.float32, (len(FRAMES), len(model.goal_ids)))
    np.testing.assert_allclose(scores, store.scores("v1"), atol=SCORE)
    assert model.goal_ids == store.goals("v1").column("goal_id").to_pylist()
    rewards = model.rewards(FRAMES, LENGTHS)
    if model.scorer.binary:
        clear = np.abs(np.roll(scores, -1, axis=0) - 0.3) > SCORE  # of the next frame
        assert clear.mean() > 0.5
        np.testing.assert_array_equal(rewards[clear], store.rewards("v1")[clear])
    else:
        np.testing.assert_allclose(rewards, store.rewards("v1"), atol=2 * SCORE)


def test_the_numbers_are_those_of_the_formula() -> None:
    encoder = PixelMeanEncoder()
    goals = GoalSet.from_texts(TEXTS, null_prompts=["nothing"])
    model = vlm_relabel.RewardModel(encoder, goals, reward="probability", batch_size=2)
    images = encoder.encode_images(list(FRAMES)).astype(np.float16).astype(np.float64)
    texts = encoder.encode_texts([*TEXTS, "nothing"]).astype(np.float64)
    logits = np.exp(10 * images @ texts.T)
    expected = logits[:, :2] / logits.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(FRAMES), expected, atol=1e-6)
    shifted = np.vstack([expected[1:], [[np.nan, np.nan]]])
    np.testing.assert_allclose(model.rewards(FRAMES), shifted, atol=1e-6)
    same = vlm_relabel.RewardModel(
        load_pixel_mean_encoder, goals, reward="probability", timing="same-frame", dtype="float32"
    )
    np.testing.assert_allclose(same.rewards(FRAMES), expected, atol=1e-3)


def test_episodes_are_told_apart_by_their_lengths() -> None:
    model = vlm_relabel.RewardModel(
        PixelMeanEncoder(), TEXTS, reward="window-mean/cosine", window=2
    )
    apart = model(FRAMES, LENGTHS)
    ends = np.cumsum(LENGTHS)
    for start, stop in zip([0, *ends[:-1]], ends, strict=True):
        np.testing.assert_allclose(model(FRAMES[start:stop]), apart[start:stop], atol=1e-6)
    assert np.abs(model(FRAMES) - apart).max() > 0.1
    last = np.isnan(model.rewards(FRAMES, LENGTHS)).all(axis=1)
    assert np.flatnonzero(last).tolist() == (ends - 1).tolist()


def test_no_frames_have_no_scores() -> None:
    model = vlm_relabel.RewardModel(PixelMeanEncoder(), "a red room")
    none = np.zeros((0, 8, 8, 3), np.uint8)
    assert model(none).shape == model.rewards(none).shape == (0, 1)
    assert repr(model) == "<reward model softmax-threshold of pixel-mean:0 for 1 goal>"


@pytest.mark.parametrize(
    ("frames", "got"),
    [
        (FRAMES / 255, r"\(11, 8, 8, 3\) float64"),
        (FRAMES[0], r"\(8, 8, 3\) uint8"),
        (FRAMES.transpose(0, 3, 1, 2), r"\(11, 3, 8, 8\) uint8"),
        (FRAMES.astype(np.int64), "int64"),
        ([], r"\(0\) float64"),
    ],
)
def test_frames_of_another_kind_are_refused(frames: Any, got: str) -> None:
    model = vlm_relabel.RewardModel(PixelMeanEncoder(), TEXTS)
    with pytest.raises(FrameError, match=rf"expected \(T, H, W, 3\) uint8, got .*{got}"):
        model(frames)


def test_lengths_are_those_of_the_frames() -> None:
    model = vlm_relabel.RewardModel(PixelMeanEncoder(), TEXTS)
    with pytest.raises(RewardError, match="expected the frames of each episode, 11 in all"):
        model(FRAMES, [3, 2])


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ({"reward": "softmax"}, RewardError, "unknown reward function 'softmax'"),
        ({"treshold": 0.3}, RewardError, "unknown parameter .*treshold"),
        ({"goals": "field:language"}, GoalError, "expected a file, texts or a goal set"),
        ({"goals": []}, GoalError, "got none"),
        ({"goals": "gaols.yaml"}, GoalError, "gaols.yaml"),
        ({"batch_size": 0}, RelabelError, "--batch-size: expected greater than or equal to 1"),
        ({"dtype": "int8"}, RelabelError, "--dtype: expected float16 or float32"),
        ({"timing": "later"}, RelabelError, "--timing: expected next-frame or same-frame"),
        ({"encoder": "no-such-model"}, EncoderError, "no-such-model"),
    ],
)
def test_what_cannot_be_is_said(how: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        vlm_relabel.RewardModel(**{"encoder": PixelMeanEncoder(), "goals": TEXTS, **how})
