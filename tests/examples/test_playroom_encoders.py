"""The shipped encoders rank fresh held-out frames; training never sees what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.clip import model, vocabulary
from examples.playroom import captions, check_encoder, train_encoder, view
from examples.playroom.encoder_sizes import SIZES, tile_pixels
from examples.playroom.goals import truth
from examples.playroom.scenes import training_views
from relabel.encoders.open_clip_import import import_open_clip

ENCODERS = Path(check_encoder.__file__).with_name("encoders")
LEAST = {"small": 0.98, "smaller": 0.80}  # measured on 10,000 frames: see each README
LEAST_HELD_OUT = {"small": 0.95, "smaller": 0.40}


@pytest.fixture(scope="module")
def sample() -> check_encoder.Sample:
    return check_encoder.held_out_sample(2000, seed=11)


@pytest.mark.parametrize("name", ["small", "smaller"])
def test_shipped_encoders_rank_held_out_frames(name: str, sample: check_encoder.Sample) -> None:
    network, tokenizer = model.load_model(ENCODERS / name)
    images = model.embed_frames(network, sample.frames)
    known = check_encoder.score(network, tokenizer, images, sample, captions.goal_texts)
    new = check_encoder.score(network, tokenizer, images, sample, captions.held_out_texts)
    assert known.macro_average_precision > LEAST[name]
    assert new.macro_average_precision > LEAST_HELD_OUT[name]
    assert known.macro_average_precision > 20 * known.base_rate


def test_shuffled_frames_rank_no_better_than_chance(sample: check_encoder.Sample) -> None:
    network, tokenizer = model.load_model(ENCODERS / "small")
    images = model.embed_frames(network, sample.frames)
    shuffled = np.random.default_rng(0).permutation(images)
    result = check_encoder.score(network, tokenizer, shuffled, sample, captions.goal_texts)
    assert result.macro_average_precision < 3 * result.base_rate


def test_shipped_encoders_are_small_and_complete() -> None:
    files = [path for path in ENCODERS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4_000_000
    wanted = {model.CONFIG_FILE, model.WEIGHTS_FILE, vocabulary.BPE_FILE, "README.md"}
    wanted |= {"coverage.parquet"}
    for name in SIZES:
        assert {path.name for path in (ENCODERS / name).iterdir()} == wanted


def test_the_sample_is_held_out_and_training_is_not(sample: check_encoder.Sample) -> None:
    assert all(view.is_held_out(frame) for frame in sample.frames[::10])
    views = training_views(500, seed=3)
    frames = view.frames_of(views.tiles)
    assert not any(view.is_held_out(frame) for frame in frames)
    assert len({tiles.tobytes() for tiles in views.tiles[:400]}) == 400
    scenes = [view.scene_of(tiles) for tiles in views.tiles]
    assert np.array_equal(views.truth, np.stack([truth(scene) for scene in scenes]))


def test_training_repeats_itself_and_writes_a_model(tmp_path: Path) -> None:
    for name in ("a", "b"):
        train_encoder.train(
            train_encoder.Options(
                "smaller", tmp_path / name, steps=3, views=60, batch=8, checked_frames=300
            )
        )
    weights = [(tmp_path / name / model.WEIGHTS_FILE).read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
    assert "--size smaller --steps 3" in (tmp_path / "a" / "README.md").read_text(encoding="utf-8")


def test_tile_pixels_are_the_pixels_of_the_frames() -> None:
    tiles = np.random.default_rng(0).integers(view.TILE_COUNT, size=(4, 7, 7)).astype(np.uint8)
    assert tile_pixels(tiles).equal(model.pixels(view.frames_of(tiles)))


def test_the_vocabulary_cuts_captions_as_the_full_one_does(tmp_path: Path) -> None:
    texts = [text for wordings in captions.training_texts() for text in wordings]
    vocabulary.write_vocabulary(tmp_path / "bpe.txt.gz", texts)
    own = vocabulary.tokenizer_with(tmp_path / "bpe.txt.gz", model.CONTEXT_LENGTH)
    full = import_open_clip().tokenizer.SimpleTokenizer()
    for text in [*texts, "the agent is facing the red ball"]:
        pieces = [own.decoder[token] for token in own.encode(text)]
        assert pieces == [full.decoder[token] for token in full.encode(text)]
    assert max(len(own.encode(text)) for text in texts) + 2 <= model.CONTEXT_LENGTH
