"""The stores that each format version wrote must stay readable, verify, and mean the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_rl.dataset import GoalDataset, View
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.dead_letters import read_dead_letters
from schemas.enums import Fusion, LastStep, Split, Timing
from schemas.goal_datasets import GoalDatasetManifest
from schemas.manifests import FORMAT_VERSION
from schemas.store import Store
from schemas.tables import matrix
from schemas.verify import verify_store
from tests import small
from tests.golden import make

GOLDEN = {version: Path(__file__).parent / f"store-{version}" for version in ("1.0", "2.0")}
ENCODER = "pixel-mean-cdc3c196"
LAST_FRAMES = [2, 3, 8, 10]


@pytest.fixture(scope="module", params=GOLDEN)
def store(request: pytest.FixtureRequest) -> Store:
    return Store.open(str(GOLDEN[request.param]))


def test_the_format_of_today_has_one() -> None:
    assert list(GOLDEN)[-1] == FORMAT_VERSION


def test_it_verifies(store: Store) -> None:
    assert [(table, problems) for table, problems in verify_store(store)] == [
        (f"embeddings/{ENCODER}.front", []),
        (f"embeddings/{ENCODER}.wrist", []),
        ("episodes", []),
        ("goal_datasets/gc1", []),
        ("rewards/binary", []),
        ("rewards/probability", []),
        ("steps", []),
    ]


def test_it_is_small(store: Store) -> None:
    assert sum(map(len, small.tree(Path(store.location)).values())) < 85_000


def test_its_identity(store: Store) -> None:
    manifest = store.manifest
    assert f"store-{manifest.format_version}" == Path(store.location).name
    assert (manifest.source.name, manifest.source.shard_lengths) == ("small", (3, 2))
    assert manifest.last_step is LastStep.FINAL_OBSERVATION
    assert [(s.shard, s.start, s.stop) for s in store.slices] == [(0, 0, 2), (0, 2, 3), (1, 0, 2)]
    assert manifest.cameras == (small.FRONT, small.WRIST)


def test_its_steps_and_episodes(store: Store) -> None:
    steps, episodes = store.read("steps"), store.read("episodes")
    assert episodes.column("length").to_pylist() == [3, 1, 0, 5, 2]
    assert episodes.column("episode_metadata.file").to_pylist()[1] == "/raw/é1.h5"
    assert steps.column("step").to_pylist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 0, 1]
    assert matrix(steps.column("action")).tolist()[4:9] == [
        [1, -3],
        [2, -3],
        [3, -3],
        [4, -3],
        [0, 0],
    ]
    assert steps.column("observation.state").to_pylist()[5] == [30.25 + i for i in range(6)]
    assert steps.column("language_instruction").to_pylist()[3:5] == ["fermé", "fermé"]


def test_its_embeddings(store: Store) -> None:
    encoder = PixelMeanEncoder()
    frames = [small.frame(e, t, 0) for e, n in enumerate(small.LENGTHS) for t in range(n)]
    stored = matrix(store.read(f"embeddings/{ENCODER}.front").column(fields.EMBEDDING))
    np.testing.assert_allclose(stored, encoder.encode_images(frames), atol=1e-3)
    wrist = store.read(f"embeddings/{ENCODER}.wrist").column(fields.EMBEDDING)
    assert wrist.to_pylist()[6] == [None] * 4


def test_its_dead_letter(store: Store) -> None:
    manifest = store.table_manifest(f"embeddings/{ENCODER}.wrist")
    (letter,) = read_dead_letters(store, manifest.table, manifest.files).to_pylist()
    assert (letter["episode_id"], letter["step"]) == ("train/1/0", 2)
    assert "expected a whole JPEG" in letter["reason"]


def test_its_rewards(store: Store) -> None:
    binary, probability = store.rewards("binary"), store.rewards("probability")
    assert (binary.timing, binary.fusion, binary.binary) == (Timing.NEXT_FRAME, Fusion.MAX, True)
    assert (probability.timing, probability.scores) == (Timing.SAME_FRAME, False)
    table = store.read("rewards/binary")
    scores, rewards = (matrix(table.column(name)) for name in (fields.SCORE, fields.REWARD))
    np.testing.assert_allclose(scores[[2, 3]], GOLDEN_SCORES, atol=1e-6)
    assert np.isnan(scores[6]).all()
    # No reward where the next frame was lost (of action 5), nor at an episode's end.
    assert np.flatnonzero(np.isnan(rewards).all(axis=1)).tolist() == sorted([5, *LAST_FRAMES])
    known = ~np.isnan(rewards[:-1])
    np.testing.assert_array_equal(rewards[:-1][known], (scores[1:] > 0.4)[known])
    mean = matrix(store.read("rewards/probability").column(fields.REWARD))
    assert np.isnan(mean).all(axis=1).tolist() == [row == 6 for row in range(11)]


GOLDEN_SCORES = [
    [0.89033014, 0.01413817, 0.00185664],
    [0.00010665, 0.97849602, 0.00030852],
]


def test_its_goals(store: Store) -> None:
    goals = store.goals("binary").to_pylist()
    assert [goal["goal_id"] for goal in goals] == ["a-red-room", "a-green-room", "a-blue-room"]
    assert goals[0]["negatives"] == ["a green room", "a blue room", "an empty room"]
    assert goals[0]["temperature"] == pytest.approx(0.1)
    assert goals[0]["threshold"] == pytest.approx(0.4)
    assert store.goal_set("binary") == small.COLOURS
    assert store.rewards("binary").goals_hash == small.COLOURS.content_hash


DATASET = "goal_datasets/gc1"
COUNTS = {
    **{"train/achieved": 3, "train/failed": 1, "train/left_out": 3},
    **{"validation/achieved": 1, "validation/failed": 1},
}


def test_its_goal_dataset(store: Store) -> None:
    manifest = store.table_manifest(DATASET)
    assert isinstance(manifest, GoalDatasetManifest)
    assert (manifest.rewards, manifest.materialized, manifest.counts) == ("binary", True, COUNTS)
    assert manifest.statistics["action"].max == (4, 0)
    assert manifest.statistics["observation.state"].frames == 9
    rows = [list(row.values()) for row in store.read(DATASET).to_pylist()]
    assert rows == [
        ["train/0/0", 0, 0, 1, "achieved", True, 0, 1, [1], True, "train"],
        ["train/0/0", 1, 0, 2, "failed", False, None, 0, [0, 0], True, "train"],
        ["train/1/0", 0, 0, 1, "achieved", True, 0, 1, [1], True, "train"],
        ["train/1/0", 1, 0, 1, "achieved", True, 0, 1, [1], True, "train"],
        ["train/1/1", 1, 0, 1, "achieved", True, 0, 1, [1], True, "validation"],
        ["train/1/1", 2, 0, 1, "failed", False, None, 0, [0], False, "validation"],
    ]
    left_out = store.read_slices(manifest.left_out, store.slices[2:])
    assert list(left_out.to_pylist()[0].values()) == ["train/1/0", 0, 1, 3, "hindsight", "train"]
    flat = store.read_slices(manifest.transitions, store.slices[:1])
    assert flat.column("goal").to_pylist() == [0, 1, 1]
    assert flat.column("next.observation.state").to_pylist()[1] == [0.25 + i for i in range(6)]


def test_its_replay(store: Store) -> None:
    view = View(("observation.state",))
    train = GoalDataset(store, "gc1").replay(Split.TRAIN, view)
    batch = train.transition_batch(np.array([0, 1, 1, 2, 3]), np.array([0, 0, 1, 0, 0]))
    state, red, green = np.arange(6), [0.995037, 0, 0, 0.0995037], [0, 0.995037, 0, 0.0995037]
    seen = [[0, red], [0, green], [0.25, green], [30, red], [30, green]]
    wanted = [np.append(state + first, goal) for first, goal in seen]
    np.testing.assert_allclose(batch.observations, wanted, atol=1e-6)
    ahead = np.zeros((5, 10))
    ahead[1] = wanted[2]  # all others are terminal
    np.testing.assert_allclose(batch.next_observations, ahead, atol=1e-6)
    assert batch.actions.tolist() == [[1, 0], [1, 0], [2, 0], [1, -3], [1, -3]]
    assert batch.next_actions.tolist() == [[0, 0], [2, 0], [0, 0], [0, 0], [0, 0]]
    assert batch.rewards.ravel().tolist() == [1, 0, 0, 1, 1]
    assert batch.terminals.ravel().tolist() == [1, 0, 1, 1, 1]
    assert train.transition_count == 5


def test_todays_code_makes_the_same_dataset_of_its_tables(store: Store, tmp_path: Path) -> None:
    golden = Path(store.location)
    copy = Path(shutil.copytree(golden, tmp_path / "copy"))
    then = store.table_manifest(DATASET)
    assert isinstance(then, GoalDatasetManifest)
    for folder in then.folders:
        shutil.rmtree(copy / folder, ignore_errors=True)
    today = make.goal_dataset(Store.open(str(copy)))
    pairs = zip((then.table, *then.folders[2:]), (today.table, *today.folders[2:]), strict=True)
    for old, new in pairs:
        names = sorted(path.name for path in (golden / old).glob("slice-*"))
        assert names == sorted(path.name for path in (copy / new).glob("slice-*"))
        for name in names:
            assert pq.read_table(copy / new / name).equals(pq.read_table(golden / old / name)), name


def test_todays_code_writes_the_same_tables(store: Store, tmp_path: Path) -> None:
    """Not the bytes, which are pyarrow's, but every value."""
    today = make.make(tmp_path / "today")
    assert today.tables() == store.tables()
    for table in store.tables():
        old, new = store.read(table), today.read(table)
        for name in old.column_names:
            check_equal(old.column(name), new.column(name), f"{table} {name}")
        if store.manifest.format_version == FORMAT_VERSION:
            assert new.schema.equals(old.schema), table
            assert told(today, table) == told(store, table)


def told(store: Store, table: str) -> dict[str, Any]:
    """What a manifest says of its table; fingerprints of a source have TFDS's features.json."""
    identity = store.table_manifest(table).identity()
    unstable = ("source_fingerprint", "embedding_fingerprints", "rewards_fingerprint")
    return {key: value for key, value in identity.items() if key not in unstable}


def check_equal(old: pa.ChunkedArray, new: pa.ChunkedArray, where: str) -> None:
    if pa.types.is_fixed_size_list(old.type):
        # float16 embeddings may round the other way on another machine.
        np.testing.assert_allclose(matrix(new), matrix(old), atol=2e-3, err_msg=where)
    else:
        assert new.equals(old), where


def test_reading_changes_nothing(store: Store, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(store.location, tmp_path / "copy"))
    opened = Store.open(str(copy))
    for table in opened.tables():
        opened.read(table)
    list(verify_store(opened))
    assert small.tree(copy) == small.tree(Path(store.location))


def test_it_is_never_rewritten(store: Store) -> None:
    with pytest.raises(FileExistsError, match="never rewritten"):
        make.make(Path(store.location))


def test_a_new_table_lies_beside_the_old_ones(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN["1.0"], tmp_path / "old.store")
    old = Store.open(str(tmp_path / "old.store"))
    before = small.tree(tmp_path / "old.store")
    small.score(old, "later", threshold=0.4)
    manifest = old.rewards("later")
    assert (manifest.format_version, old.goals("later").num_rows) == ("2.0", 3)
    assert "rewards/later" in old.tables()
    assert "rewards/binary" in old.tables()
    assert [problems for _, problems in verify_store(old)] == [[]] * 8
    assert before.items() <= small.tree(tmp_path / "old.store").items()
