"""What a user can get wrong: exit code 2, the cure in the text, nothing that looks whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from relabel.testing import write_rlds
from schemas.store import Store
from tests.pipelines.small_source import cut_image, truncate, write_source
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, files, flat, refusal

Words = dict[str, Any]


# --- the source -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def not_rlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TFDS dataset of labelled numbers."""
    scalar = tfds.features.Scalar(dtype=np.int64)
    features = tfds.features.FeaturesDict({"label": scalar, "value": scalar})
    directory = tmp_path_factory.mktemp("tfds") / "numbers"
    return write_rlds(directory, features, [{"label": 1, "value": 2}], shard_lengths=[1])


def test_no_such_directory(run: Run, words: Words, store: Path, tmp_path: Path) -> None:
    result = run("relabel", *flat(words, source=tmp_path / "nowhere"), "--json")
    assert refusal(result).endswith("nowhere: no such directory")
    assert not store.exists()
    assert refusal(run("inspect", tmp_path / "nowhere", "--json")).endswith("no such directory")


def test_a_directory_one_level_too_high(run: Run, source: Path) -> None:
    text = refusal(run("inspect", source.parent, "--json"))
    assert f"no features.json); did you mean {source}?" in text


def test_a_dataset_that_is_not_rlds(run: Run, words: Words, store: Path, not_rlds: Path) -> None:
    for result in (
        run("relabel", *flat(words, source=not_rlds), "--json"),
        run("inspect", not_rlds, "--json"),
    ):
        text = refusal(result)
        assert "not RLDS: expected a nested dataset 'steps', got the features: label, value" in text
    assert not store.exists()


def test_an_unknown_camera_lists_the_cameras(run: Run, words: Words, store: Path) -> None:
    text = refusal(run("relabel", *flat(words, camera="hand"), "--json"))
    assert "unknown camera 'hand'; its cameras are observation/front, observation/wrist" in text
    assert not store.exists()


def test_an_unknown_split_lists_the_splits(run: Run, words: Words, store: Path) -> None:
    text = refusal(run("relabel", *flat(words, split="test"), "--json"))
    assert "no split 'test'; there are train" in text
    assert not store.exists()


def test_a_shard_that_is_missing(run: Run, words: Words, source: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(source, tmp_path / "copy"))
    max(copy.glob("*.tfrecord-*")).unlink()
    text = refusal(run("relabel", *flat(words, source=copy), "--json"))
    assert "the shard is missing; the dataset was not copied whole" in text


# --- records that cannot be read --------------------------------------------------------------


@pytest.fixture(scope="module")
def truncated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return truncate(write_source(tmp_path_factory.mktemp("truncated") / "source"))


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("cut") / "source", change=cut_image)


@pytest.mark.parametrize(
    ("damaged", "text"),
    [
        ("truncated", "episode train/0/2: small-train.tfrecord-00000-of-00002: the file ends"),
        (
            "cut",
            "episode train/0/2 step 1 observation.wrist: image: expected a whole JPEG, PNG or WebP",
        ),
    ],
)
def test_dead_letters_end_the_job_unless_accepted(
    run: Run, words: Words, store: Path, damaged: str, text: str, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(damaged)
    line = flat(words, source=source, camera="wrist")
    told = refusal(run("relabel", *line, "--json"))
    assert "more records could not be processed than --max-dead-ratio 0 accepts" in told
    assert text in told
    assert f"{store}/dead_letters" in told
    assert not [name for name in Store.open(str(store)).tables() if name.startswith("rewards")]
    assert run("verify", store).exit_code == 1
    slices = {name: c for name, c in files(store).items() if name.endswith(".parquet")}
    accepted = run("relabel", *line, "--max-dead-ratio", "0.3")
    assert accepted.exit_code == 0, accepted.output
    assert {n: c for n, c in files(store).items() if n.endswith(".parquet")} == slices
    assert run("verify", store).exit_code == 0


def test_a_ratio_below_the_share_of_dead_letters_is_not_enough(
    run: Run, words: Words, truncated: Path
) -> None:
    line = flat(words, source=truncated, max_dead_ratio=0.2)  # 1 of 4 episodes is lost
    assert "--max-dead-ratio 0.2 accepts" in refusal(run("relabel", *line, "--json"))


def test_empty_and_one_step_episodes_are_told_in_the_summary(
    run: Run, words: Words, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "source", lengths=(3, 0, 1, 2))
    result = run("relabel", *flat(words, source=source))
    assert result.exit_code == 0
    assert "1 empty episode, kept with length 0" in result.stdout
    assert "1 one-step episode, without transition" in result.stdout


# --- goals ------------------------------------------------------------------------------------

GOAL_FILES = {
    "unknown key": (
        "goals: [{id: a, texts: [x], colour: red}]",
        "goals.0.colour: unknown key; the known ones are id, texts, family",
    ),
    "duplicate id": ("goals: [{id: a, texts: [x]}, {id: a, texts: [y]}]", "duplicate goal id 'a'"),
    "empty text": ("goals: [{id: a, texts: ['  ']}]", "the text is empty"),
    "negative equal to the goal": (
        "goals: [{id: a, texts: [a cat], negatives: [A  Cat]}]",
        "goal 'a' has its own text as a negative",
    ),
    "text instead of a list": ("goals: [{id: a, texts: x}]", "write ['x']"),
    "no goal": ("goals: []", "goals: "),
    "not YAML": ("goals: [", "not YAML"),
    "temperature of 0": ("goals: [{id: a, texts: [x], temperature: 0}]", "greater than 0"),
    "threshold above 1": ("goals: [{id: a, texts: [x], threshold: 1.5}]", "less than or equal"),
}


@pytest.mark.parametrize("case", GOAL_FILES)
def test_goals_files(run: Run, words: Words, store: Path, tmp_path: Path, case: str) -> None:
    content, text = GOAL_FILES[case]
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    told = refusal(run("relabel", *flat(words, goals=path), "--json"))
    assert told.startswith(str(path))
    assert text in told
    assert not store.exists()


def test_a_goals_file_that_is_missing(run: Run, words: Words, store: Path) -> None:
    told = refusal(run("relabel", *flat(words, goals="nowhere.yaml"), "--json"))
    assert told.startswith("nowhere.yaml: cannot be read")
    assert "field:<name of a text field>" in told
    assert not store.exists()


# --- reward functions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 0}, "temperature: expected a finite number > 0, got 0"),
        ({"temperature": -1}, "temperature: expected a finite number > 0, got -1"),
        ({"threshold": 1.01}, "threshold: expected a number in [0, 1], got 1.01"),
        ({"threshold": -0.1}, "threshold: expected a number in [0, 1], got -0.1"),
        (
            {"reward": "sofmax"},
            "unknown reward function 'sofmax', the known ones are ['calibrated', ",
        ),
        ({"reward": "window-mean/cosine"}, "window: expected a whole number >= 1, got nothing"),
        ({"reward": "goal-baseline"}, "baseline"),
        ({"reward": "goal-baseline", "alpha": 2}, "alpha: expected a number in [0, 1], got 2"),
        ({"reward": "cosine", "threshold": 0.3}, "unknown parameter ['threshold']"),
    ],
)
def test_reward_functions(
    run: Run, words: Words, store: Path, change: dict[str, Any], text: str
) -> None:
    assert text in refusal(run("relabel", *flat(words, **change), "--json"))
    assert not store.exists()


# --- options ----------------------------------------------------------------------------------


def test_a_last_step_that_does_not_exist(run: Run, words: Words, store: Path) -> None:
    told = refusal(run("relabel", *flat(words, last_step="last"), "--json"))
    assert told == ("--last-step: expected auto, final-observation or carries-action, got 'last'")
    assert not store.exists()


def test_a_dtype_that_does_not_exist(run: Run, words: Words) -> None:
    told = refusal(run("embed", *flat(_without(words, "--goals"), dtype="int8"), "--json"))
    assert told == "--dtype: expected float16 or float32, got 'int8'"


def test_direct_runner_is_refused_with_the_cure(run: Run, words: Words, store: Path) -> None:
    line = [*flat(words), "--json", "--", "--runner", "DirectRunner"]
    assert "leave --runner out to run locally (see --workers)" in refusal(run("relabel", *line))
    assert not store.exists()


@pytest.mark.parametrize(
    "wrong", [["--tresholds", "1"], ["--workers", "0"], ["--max-dead-ratio", "2"]]
)
def test_options_that_do_not_exist_or_are_out_of_range(
    run: Run, words: Words, store: Path, wrong: list[str]
) -> None:
    result = run("relabel", *flat(words), *wrong)
    assert result.exit_code == 2
    assert wrong[0] in result.stderr
    assert "Traceback" not in result.output
    assert not store.exists()


def test_a_store_below_a_regular_file(run: Run, words: Words, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    told = refusal(run("relabel", *flat(words, store=tmp_path / "file" / "store"), "--json"))
    assert "cannot be written" in told
    assert "choose another --store or make its folder writable" in told
    assert (tmp_path / "file").read_text() == "mine"


def test_a_store_of_an_unknown_kind_of_url(run: Run, words: Words) -> None:
    told = refusal(run("relabel", *flat(words, store="nowhere://bucket/store"), "--json"))
    assert "nowhere://bucket/store: expected a path or file://, s3://, gs://, gcs://" in told


# --- the store --------------------------------------------------------------------------------


@pytest.fixture
def made(run: Run, words: Words, store: Path) -> Path:
    """A complete store."""
    result = run("relabel", *flat(words))
    assert result.exit_code == 0, result.output
    return store


def _without(words: Words, *names: str) -> Words:
    return {name: value for name, value in words.items() if name not in names}


def _scoring(words: Words) -> Words:
    return _without(words, "--source", "--camera")


def test_a_store_of_another_source(run: Run, words: Words, made: Path, tmp_path: Path) -> None:
    other = write_source(tmp_path / "other", (2, 2), (2,), name="other")
    before = files(made)
    told = refusal(run("relabel", *flat(words, source=other), "--json"))
    assert "belongs to another source: stored small 1.0.0 train" in told
    assert "asked for other 1.0.0 train" in told
    assert "choose another --store" in told
    assert files(made) == before


def test_a_store_without_embeddings_of_the_encoder(run: Run, words: Words, made: Path) -> None:
    other = f"{PIXEL_MEAN}(version=7)"
    before = files(made)
    told = refusal(run("score", *flat(_scoring(words), name="v2", encoder=other), "--json"))
    assert f"no embeddings of {other} at float32" in told
    assert f"{PIXEL_MEAN} at float32 of observation.front" in told
    assert "`vlm-relabel embed` adds an encoder to a store" in told
    assert files(made) == before


def test_score_where_there_is_no_store(run: Run, words: Words, tmp_path: Path) -> None:
    told = refusal(run("score", *flat(_scoring(words), store=tmp_path / "none"), "--json"))
    assert "not a store (no manifest.json)" in told
    assert refusal(run("verify", tmp_path / "none", "--json")) == told


def test_a_reward_set_of_other_goals_names_what_differs(
    run: Run, words: Words, made: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("goals: [{id: one, texts: [a red room]}]")
    before = files(made)
    line = flat(_scoring(words), goals=other)
    told = refusal(run("score", *line, "--json"))
    assert "rewards/v1: exists and was made from other inputs" in told
    assert "goals: stored" in told
    assert "goals_hash: stored" in told
    assert "choose another --name, another --store, or --overwrite to replace it" in told
    assert files(made) == before
    assert run("score", *line, "--overwrite").exit_code == 0
    assert Store.open(str(made)).goals("v1").column("goal_id").to_pylist() == ["one"]
    assert run("verify", made).exit_code == 0


# --- the encoder ------------------------------------------------------------------------------


@pytest.fixture
def true_words(source: Path, goals: Path, store: Path, tiny_model: str) -> Words:
    """As `words`, with an encoder that open_clip loads."""
    return {
        "--source": source,
        "--camera": "front",
        "--encoder": tiny_model,
        "--goals": goals,
        "--store": store,
    }


def test_an_encoder_directory_without_weights(
    run: Run, true_words: Words, store: Path, tiny_model: str, tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model.removeprefix("local-dir:"), copy)
    (copy / "open_clip_model.safetensors").unlink()
    told = refusal(run("relabel", *flat(true_words, encoder=f"local-dir:{copy}"), "--json"))
    assert f"expected one weights file in {copy}, got no weights" in told
    assert not store.exists()


def test_an_encoder_that_does_not_exist(run: Run, true_words: Words, store: Path) -> None:
    told = refusal(run("relabel", *flat(true_words, encoder="ViT-B-31:laion"), "--json"))
    assert "got unknown NAME 'ViT-B-31'; near: ViT-B-32" in told
    assert not store.exists()


def test_a_device_that_is_missing(run: Run, true_words: Words, store: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has the device")
    told = refusal(run("relabel", *flat(true_words, device="cuda"), "--json"))
    assert "cuda" in told
    assert not store.exists()


def test_sigmoid_with_a_model_that_has_no_bias(run: Run, true_words: Words, store: Path) -> None:
    told = refusal(run("relabel", *flat(true_words, reward="sigmoid"), "--json"))
    assert "has no logit_bias" in told
    assert "use a SigLIP encoder, or softmax-threshold" in told
    assert not store.exists()
