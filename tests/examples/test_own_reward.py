"""examples/own_reward.py in the working directory: relabel, workers, verify, resume and reading."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relabel.encoders.open_clip import load_encoder
from relabel.slices.score_slice import load_scorer
from schemas.errors import RewardError
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import matrix
from schemas.verify import verify_store
from tests import small
from tests.pipelines.small_source import GOALS, write_source
from tests.pipelines.tiny_model import write_tiny_model

ROOT = Path(__file__).parents[2]
REWARD = ("--reward", "own_reward:Margin", "--set", "scale=4")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the example, a source, a model, goals, and a store made of them."""
    place = tmp_path_factory.mktemp("own")
    shutil.copy(ROOT / "examples" / "own_reward.py", place)
    write_source(place / "source")
    write_tiny_model(place / "model")
    (place / "goals.yaml").write_text(GOALS)
    typed(place, "relabel", *words("my.store"), *REWARD)
    return place


def words(store: str) -> list[str]:
    made = ("--encoder", "local-dir:model", "--goals", "goals.yaml", "--threads", "1")
    of_source = ("--source", "source", "--camera", "front", "--episodes-per-slice", "1")
    return [*of_source, *made, "--store", store]


def scoring(store: str, *more: str) -> list[str]:
    made = ("--encoder", "local-dir:model", "--goals", "goals.yaml", "--threads", "1")
    return ["score", *made, "--store", store, *more]


def typed(place: Path, *line: str, code: int = 0) -> str:
    """What `vlm-relabel` prints when it is started in a directory that is not on Python's path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb"}
    start = "import sys; from vlm_relabel.cli.main import main; sys.argv[0] = 'x'; main()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", start, *line], cwd=place, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def scores_of(store: Store, name: str = "v1") -> np.ndarray:
    return matrix(store.read(f"rewards/{name}", ["score"])["score"])


def whole(store: Store) -> bool:
    return not [problem for _, problems in verify_store(store) for problem in problems]


def test_the_manifest_tells_it_and_the_scores_are_the_margins(place: Path) -> None:
    store = Store.open(str(place / "my.store"))
    manifest = store.rewards("v1")
    assert manifest.function == {"name": "own_reward:Margin", "scale": 4.0}
    assert manifest.score_range == manifest.reward_range == (-1, 1)
    assert not manifest.binary
    encoder = load_encoder(f"local-dir:{place / 'model'}")
    expected = _margins(store, manifest, encoder.encode_texts)
    np.testing.assert_allclose(scores_of(store), expected, atol=2e-5)
    assert np.ptp(expected) > 1e-3, "the scores tell frames and goals apart"


def _margins(store: Store, manifest: RewardManifest, encode: Any) -> np.ndarray:
    """(T, G), one frame and one goal at a time, in float64."""
    frames = matrix(store.read(f"embeddings/{manifest.embeddings[0]}", ["embedding"])["embedding"])
    goals = store.goals("v1", ["texts", "negatives"]).to_pylist()

    def point(captions: Sequence[str]) -> np.ndarray:
        units = np.stack([v / np.linalg.norm(v) for v in encode(captions).astype(np.float64)])
        mean = units.mean(axis=0)
        return mean / np.linalg.norm(mean)

    own = [point(goal["texts"]) for goal in goals]
    others = [[point(text.split(" | ")) for text in goal["negatives"]] for goal in goals]
    return np.array(
        [
            [
                np.tanh(4 * (f @ g - max(f @ n for n in ns)))
                for g, ns in zip(own, others, strict=True)
            ]
            for f in frames.astype(np.float64)
        ]
    )


def test_the_store_is_whole_and_becomes_a_goal_dataset(place: Path) -> None:
    assert "all well" in typed(place, "verify", "my.store")
    typed(place, "build-goals", "my.store", "--name", "own", "--success-above", "0.1")
    store = Store.open(str(place / "my.store"))
    assert whole(store)
    assert store.table_manifest("goal_datasets/own").rows > 0


@pytest.mark.slow
def test_worker_processes_find_the_class_and_write_the_same_bytes(place: Path) -> None:
    typed(place, "relabel", *words("two.store"), *REWARD, "--workers", "2")
    one, two = (small.tree(place / name / "rewards") for name in ("my.store", "two.store"))
    slices = [name for name in one if name.endswith(".parquet")]
    assert len(slices) > 2
    assert {name: two[name] for name in slices} == {name: one[name] for name in slices}


def test_it_resumes_and_other_parameters_are_another_reward_set(place: Path) -> None:
    typed(place, *scoring("my.store", "--name", "again"), *REWARD)
    store = Store.open(str(place / "my.store"))
    before = small.tree(place / "my.store")
    piece = store.slices[1]
    for path in (place / "my.store/rewards/again").rglob("*"):
        if path.name in ("manifest.json", piece.file):
            path.unlink()
    assert not Store.open(store.location).is_complete("rewards/again")
    typed(place, *scoring("my.store", "--name", "again"), *REWARD)
    assert small.tree(place / "my.store") == before
    other = [*scoring("my.store", "--name", "again"), *REWARD[:3], "scale=5"]
    assert "scale" in typed(place, *other, code=2)


def test_repair_makes_a_slice_anew_when_it_may_import_the_module(place: Path) -> None:
    before = small.tree(place / "my.store")
    (place / "my.store/rewards/v1" / Store.open(str(place / "my.store")).slices[2].file).unlink()
    told = typed(place, "repair", "my.store", "--yes", code=2)
    assert "imports and runs own_reward:Margin, which the store names" in told
    typed(place, "repair", "my.store", "--yes", "--allow-code")
    assert small.tree(place / "my.store") == before


def test_without_the_module_the_store_is_read_and_only_scoring_says_what_is_missing(
    place: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("my.store", "model", "goals.yaml"):
        (elsewhere / name).symlink_to(place / name)
    assert "all well" in typed(elsewhere, "verify", "my.store")
    store = Store.open(str(place / "my.store"))
    assert scores_of(store).shape[1] == 3
    told = typed(elsewhere, *scoring("my.store", "--name", "v7"), *REWARD, code=2)
    assert "reward 'own_reward:Margin': there is no module 'own_reward' on Python's path" in told
    encoder = load_encoder(f"local-dir:{place / 'model'}")
    with pytest.raises(RewardError, match=r"no module 'own_reward'.*put its folder into PYTHONPA"):
        load_scorer(store, "v1", encoder.encode_texts, encoder.spec)


def test_the_scorer_of_the_store_scores_new_frames(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(str(place / "my.store"))
    encoder = load_encoder(f"local-dir:{place / 'model'}")
    monkeypatch.syspath_prepend(str(place))
    scorer = load_scorer(store, "v1", encoder.encode_texts, encoder.spec)
    manifest = store.rewards("v1")
    frames = matrix(store.read(f"embeddings/{manifest.embeddings[0]}", ["embedding"])["embedding"])
    scores = scorer.scores([frames], [len(frames)])
    np.testing.assert_allclose(scores, scores_of(store), atol=1e-6)
    del sys.modules["own_reward"]
