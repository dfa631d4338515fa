"""Goals by example frames, through every command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from relabel import testing
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.encoders import EncoderSpec
from schemas.errors import GoalError, RewardError
from schemas.store import Store
from schemas.tables import matrix
from tests.pipelines.small_source import frame
from tests.pipelines.store_checks import hashes
from tests.vlm_relabel.cli.cli_outcomes import PIXEL_MEAN, Run, flat, refusal

GOALS = """\
goals:
  - {id: like-this, examples: [{episode_id: train/0/0, step: 1}, {episode_id: train/1/0, step: 0}]}
  - {id: blue, texts: [a blue room], examples: [{episode_id: train/0/0, step: 2}]}
  - {id: red, texts: [a red room]}
"""


@pytest.fixture
def goals(tmp_path: Path) -> Path:
    path = tmp_path / "goals.yaml"
    path.write_text(GOALS)
    return path


@pytest.fixture
def made(run: Run, words: dict[str, Any], store: Path) -> Path:
    done = run("relabel", *flat(words, reward="cosine"))
    assert done.exit_code == 0, done.output
    return store


def test_from_frames_to_a_goal_dataset(run: Run, made: Path) -> None:
    assert run("verify", made).exit_code == 0
    line = ["build-goals", made, "--rewards", "v1", "--success-above", "0.8"]
    assert run(*line).exit_code == 0
    assert run("verify", made).exit_code == 0
    store = Store.open(str(made))
    table = store.embeddings()[0].table
    frames = matrix(store.read(table, [fields.EMBEDDING]).column(0), "float64")
    scores = matrix(store.read("rewards/v1", [fields.SCORE]).column(0))
    mean = frames[1] / np.linalg.norm(frames[1]) + frames[9] / np.linalg.norm(frames[9])
    np.testing.assert_allclose(scores[:, 0], frames @ (mean / np.linalg.norm(mean)), atol=1e-6)
    told = store.goals("v1").to_pylist()
    assert told[0][fields.TEXTS] == told[0][fields.PHRASINGS] == []
    assert told[0][fields.EXAMPLES][1] == {"episode_id": "train/1/0", "step": 0}
    assert store.goal_set("v1").goals[0].examples[1].frame == ("train/1/0", 0)
    trajectories = store.read("goal_datasets/gc1").to_pylist()
    assert any(row["goal"] == 0 and row["success"] for row in trajectories)


def test_one_command_and_two_write_the_same(
    run: Run, words: dict[str, Any], made: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(made, tmp_path / "other")
    shutil.rmtree(other / "rewards")
    own = {key: words[key] for key in ("--encoder", "--goals", "--threads")}
    assert run("score", *flat({**own, "--store": other}, reward="cosine", workers=2)).exit_code == 0
    tables = [
        {p: h for p, h in hashes(store).items() if p.endswith(".parquet")}
        for store in (made, other)
    ]
    assert tables[0] == tables[1]
    assert "nothing to do" in run("relabel", *flat(words, reward="cosine")).output


def test_other_examples_are_other_goals(run: Run, words: dict[str, Any], made: Path) -> None:
    goals = Path(words["--goals"])
    goals.write_text(GOALS.replace("step: 1", "step: 0"))
    message = refusal(run("relabel", *flat(words, reward="cosine"), "--json"))
    assert "goals_hash: stored" in message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train/0/0, step: 1", "train/9/0, step: 1", "train/9/0 step 1: the store has no such"),
        ("train/0/0, step: 1", "train/0/0, step: 3", "step 3: the episode has the steps 0 to 2"),
        ("step: 2", "step: two", "goals.1.examples.0.step"),
    ],
)
def test_frames_that_are_not_there(
    run: Run, words: dict[str, Any], made: Path, old: str, new: str, said: str
) -> None:
    Path(words["--goals"]).write_text(GOALS.replace(old, new))
    own = {key: words[key] for key in ("--encoder", "--goals", "--store")}
    assert said in refusal(run("score", *flat(own, name="v2"), "--json"))


def test_examples_with_the_other_rewards(run: Run, words: dict[str, Any], made: Path) -> None:
    own = {key: words[key] for key in ("--encoder", "--goals", "--store")}
    for name, more in {
        "soft": {"reward": "softmax-threshold"},
        "window": {"reward": "window-mean/probability", "window": 2},
        "vlm": {"reward": "probability", "temperature": 0.1, "no_scores": None},
    }.items():
        options = {k: v for k, v in more.items() if v is not None}
        flags = ["--no-scores"] if "no_scores" in more else []
        assert run("score", *flat(own, name=name, **options), *flags).exit_code == 0
    assert run("verify", made).exit_code == 0


def test_frames_in_memory_are_scored_by_the_store_s_model(made: Path, goals: Path) -> None:
    model = vlm_relabel.RewardModel.of_store(made, "v1", PixelMeanEncoder())
    assert model.goal_ids == ["like-this", "blue", "red"]
    assert "cosine" in repr(model)
    frames = np.stack([frame(0, step) for step in range(3)])
    stored = matrix(Store.open(str(made)).read("rewards/v1", [fields.SCORE]).column(0))
    np.testing.assert_allclose(model(frames), stored[:3], atol=1e-3)
    assert model.rewards(frames).shape == (3, 3)
    with pytest.raises(GoalError, match=r"goal like-this: its example .* RewardModel\.of_store"):
        vlm_relabel.RewardModel(PixelMeanEncoder(), goals)


def test_a_model_of_a_store_is_of_one_camera(run: Run, words: dict[str, Any], made: Path) -> None:
    assert (
        run(
            "embed", *flat({k: v for k, v in words.items() if k != "--goals"}, camera="wrist")
        ).exit_code
        == 0
    )
    own = {key: words[key] for key in ("--encoder", "--goals", "--store")}
    assert run("score", *flat(own, name="two")).exit_code == 0
    with pytest.raises(RewardError, match="expected a reward set of one camera, got one of 2"):
        vlm_relabel.RewardModel.of_store(made, "two", PixelMeanEncoder())


def test_a_report_names_goals_without_texts(run: Run, words: dict[str, Any], made: Path) -> None:
    done = run("relabel", *flat(words, reward="cosine"), "--json")
    assert [goal["goal_id"] for goal in json.loads(done.stdout)["goals"]] == [
        "like-this",
        "blue",
        "red",
    ]


def test_an_audit_compares_frames_with_examples_too(
    run: Run, words: dict[str, Any], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = {"logit_bias": -9.997}  # few prompts fit
    monkeypatch.setattr(testing, "EncoderSpec", lambda **spec: EncoderSpec(**{**spec, **sure}))
    assert run("relabel", *flat(words, reward="cosine")).exit_code == 0
    made = Store.open(str(store))
    (camera,) = made.embeddings()
    frames = matrix(made.read(camera.table, [fields.EMBEDDING]).column(0), "float64")
    own = matrix(made.goals("v1").column(fields.TEXT_EMBEDDING), "float64")
    alone = PixelMeanEncoder().encode_texts(["a blue room", "an empty room"])
    spec = camera.encoder
    assert spec.logit_bias is not None
    border = -spec.logit_bias / spec.logit_scale
    unfit, by_texts = (
        float((np.max(frames @ prompts.T, axis=1) < border).mean())
        for prompts in (np.vstack([own, alone]), np.vstack([own[2:], alone]))
    )
    assert 0 < unfit < by_texts
    done = run("audit", store, "--json", "--encoder", PIXEL_MEAN)
    assert done.exit_code == 0, done.output
    (coverage,) = json.loads(done.stdout)["coverage"]
    assert coverage["unfit"] == pytest.approx(unfit)
