"""`score_slice` against the float64 oracle, on stored embeddings."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from relabel.slices.score_slice import episode_blocks, load_scorer, score_slice
from relabel.testing import PixelMeanEncoder
from schemas import fields
from schemas.enums import Fusion, Timing
from schemas.errors import StoreError
from schemas.manifests import RewardManifest
from schemas.store import Store
from schemas.tables import embedding_schema, key_columns, matrix, vectors
from tests import small
from tests.relabel import oracle
from tests.small import FRONT, WRIST

LENGTHS = [3, 1, 5, 2]  # of the episodes that have frames
KEYS = [fields.EPISODE_ID, fields.STEP]
TAU = 1 / PixelMeanEncoder().spec.logit_scale


def by_hand(store: Store, cameras: list[str], mean: bool) -> np.ndarray:
    """(T, G) probabilities from the stored embeddings and the texts, in float64."""
    texts = [*(goal.texts[0] for goal in small.COLOURS.goals), "an empty room"]
    prompts = PixelMeanEncoder().encode_texts(texts).astype(np.float64)

    def one(frame: np.ndarray, goal: int) -> float:
        negatives = [prompt for i, prompt in enumerate(prompts) if i != goal]
        return oracle.probability(frame, prompts[goal], negatives, TAU)

    stored = {
        e.camera: matrix(store.read(e.table).column(fields.EMBEDDING), "float64")
        for e in store.embeddings()
    }
    return oracle.scores([stored[c] for c in cameras], LENGTHS, 3, one, 1, mean)


def shifted(scores: np.ndarray) -> np.ndarray:
    """Score of the next frame of the same episode."""
    parts = np.split(scores, np.cumsum(LENGTHS)[:-1])
    nothing = np.full((1, scores.shape[1]), np.nan)
    return np.concatenate([np.vstack([part[1:], nothing]) for part in parts])


@pytest.mark.parametrize("fusion", list(Fusion))
def test_scores_and_rewards_follow_from_the_stored_embeddings(store: Store, fusion: Fusion) -> None:
    small.score(store, "two", fusion=fusion, threshold=0.4)
    table = store.read("rewards/two")
    expected = by_hand(store, [FRONT, WRIST], fusion is Fusion.MEAN)
    np.testing.assert_allclose(matrix(table.column(fields.SCORE)), expected, atol=2e-6)
    next_score = shifted(expected)
    assert np.nanmin(np.abs(next_score - 0.4)) > 1e-4, "too near the threshold to decide"
    reward = np.where(np.isnan(next_score), math.nan, next_score > 0.4)
    assert 0 < np.nansum(reward) < np.isfinite(reward).sum()
    np.testing.assert_array_equal(matrix(table.column(fields.REWARD)), reward)
    assert table.schema.field(fields.REWARD).type == pa.list_(pa.uint8(), 3)


def test_same_frame_rewards_exist_on_the_last_frame_too(store: Store) -> None:
    how = {"reward": "probability", "timing": Timing.SAME_FRAME}
    small.score(store, "same", cameras=[FRONT], **how)
    table = store.read("rewards/same")
    score, reward = (matrix(table.column(name)) for name in (fields.SCORE, fields.REWARD))
    np.testing.assert_array_equal(reward, score)
    np.testing.assert_allclose(score, by_hand(store, [FRONT], True), atol=2e-6)


def test_a_float_reward_looks_at_the_next_frame(store: Store) -> None:
    small.score(store, "p", cameras=[FRONT], reward="probability")
    reward = store.read("rewards/p").column(fields.REWARD)
    assert reward.type == pa.list_(pa.float32(), 3)
    expected = shifted(by_hand(store, [FRONT], True))
    np.testing.assert_allclose(matrix(reward), expected, atol=2e-6)


def test_scores_may_be_left_out(store: Store) -> None:
    small.score(store, "lean", scores=False)
    lean, full = store.read("rewards/lean"), store.read("rewards/v1")
    assert lean.column_names == [*KEYS, fields.REWARD]
    assert lean.column(fields.REWARD).equals(full.column(fields.REWARD))


def test_blocks_do_not_change_a_reward(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relabel.slices.score_slice._BLOCK_ROWS", (2, 2))
    small.score(store, "blocks")
    whole, blocks = (store.read(f"rewards/{name}") for name in ("v1", "blocks"))
    assert blocks.select([*KEYS, fields.REWARD]).equals(whole.select([*KEYS, fields.REWARD]))
    np.testing.assert_allclose(
        matrix(blocks.column(fields.SCORE)), matrix(whole.column(fields.SCORE)), atol=1e-6
    )


def test_scoring_reads_no_frame(source_dir: Path, tmp_path: Path) -> None:
    directory = tmp_path / "src"
    source = small.write_source(directory)
    store = Store.create(str(tmp_path / "store"), small.store_manifest(source))
    small.embed(store, source, small.source_tables(store))
    shutil.rmtree(directory)
    assert small.score(Store.open(store.location)).rows == 11


def rewrite_embeddings(store: Store, camera: str, rows: np.ndarray, steps: list[int]) -> None:
    """Puts other embeddings in place of slice 0's, with these steps of one episode."""
    table = next(e for e in store.embeddings() if e.camera == camera)
    schema = embedding_schema(4, "float16")
    piece = store.slices[0]
    with store.writer(table.table, piece, schema, fingerprint=table.fingerprint) as writer:
        ids = pa.array(["train/0/0"] * len(steps))
        keys = [ids, pa.array(steps, pa.int32())]
        writer.write([*keys, vectors(rows, pa.float16()), pa.array([False] * len(rows))])
        writer.commit()
    small.relist(store, store.table_manifest(table.table))


def scored(store: Store, cameras: list[str], name: str) -> RewardManifest:
    return small.score(store, name, cameras=cameras)


def test_a_missing_embedding_is_a_missing_score_and_reward(store: Store) -> None:
    unit = np.array([[0.6, 0, 0, 0.8]] * 3)
    unit[1] = np.nan
    rewrite_embeddings(store, FRONT, unit, [0, 1, 2])
    piece = store.slices[0]
    scorer, _ = small.bind_goals()
    manifest = small.reward_manifest(store, scorer, [FRONT], "gap")
    score_slice(piece, store=store, rewards=manifest, scorer=scorer)
    table = store.read_slices("rewards/gap", [piece])
    missing = {
        name: np.isnan(matrix(table.column(name))).all(axis=1).tolist()
        for name in (fields.SCORE, fields.REWARD)
    }
    # The reward of action 0 looks at frame 1; action 2 has no next frame.
    assert missing == {fields.SCORE: [False, True, False], fields.REWARD: [True, False, True]}


def test_cameras_of_different_rows_are_refused(store: Store) -> None:
    rewrite_embeddings(store, WRIST, np.array([[1.0, 0, 0, 0]] * 4), [0, 1, 2, 3])
    scorer, _ = small.bind_goals()
    manifest = small.reward_manifest(store, scorer, [FRONT, WRIST], "two")
    with pytest.raises(
        StoreError, match=r"embeddings pixel-mean\S+ and pixel-mean.*slice-train-00000"
    ):
        score_slice(store.slices[0], store=store, rewards=manifest, scorer=scorer)
    assert not store.has(manifest.table, store.slices[0])


def test_embeddings_that_are_not_there_are_named(store: Store) -> None:
    table = next(e for e in store.embeddings() if e.camera == FRONT)
    store.folder.delete(f"{table.table}/{store.slices[0].file}")
    scorer, _ = small.bind_goals()
    manifest = small.reward_manifest(store, scorer, [FRONT], "late")
    with pytest.raises(StoreError, match=r"slice-train-00000-000000-000002.parquet: missing"):
        score_slice(store.slices[0], store=store, rewards=manifest, scorer=scorer)


def test_a_committed_slice_is_not_scored_again(store: Store) -> None:
    class Forbidden:
        def __getattr__(self, name: str) -> None:
            raise AssertionError(f"{name} was used")

    manifest = store.rewards("v1")
    piece = store.slices[2]
    result = score_slice(piece, store=store, rewards=manifest, scorer=Forbidden())
    assert result == replace(piece, files=result.files)
    assert result.files[0] in manifest.files


@pytest.mark.parametrize(
    "how",
    [
        {"threshold": 0.4, "fusion": Fusion.MAX},
        {"reward": "window-mean/probability", "window": 2, "timing": Timing.SAME_FRAME},
    ],
)
def test_a_stored_reward_set_scores_new_frames_as_before(store: Store, how: dict[str, Any]) -> None:
    small.score(store, "old", **how)
    encoder = PixelMeanEncoder()
    scorer = load_scorer(Store.open(store.location), "old", encoder.encode_texts, encoder.spec)
    frames = [matrix(store.read(e.table).column(fields.EMBEDDING)) for e in store.embeddings()]
    scores = scorer.scores(frames, LENGTHS)
    table = store.read("rewards/old")
    # One call instead of one per slice, so the last bits may differ.
    np.testing.assert_allclose(scores, matrix(table.column(fields.SCORE)), atol=1e-6)
    stored = matrix(table.column(fields.REWARD))
    np.testing.assert_allclose(scorer.rewards(scores, LENGTHS), stored, atol=1e-6)


def test_a_reward_set_is_of_one_encoder(store: Store) -> None:
    other = PixelMeanEncoder(1)
    with pytest.raises(StoreError, match=r"rewards/v1: made with pixel-mean:0 .*not with pixel-m"):
        load_scorer(store, "v1", other.encode_texts, other.spec)


@given(
    lengths=st.lists(st.integers(1, 7), max_size=20),
    rows=st.integers(1, 12),
)
def test_blocks_are_whole_episodes_in_order(lengths: list[int], rows: int) -> None:
    ids = [f"train/0/{i}" for i in range(len(lengths))]
    keys = pa.table(key_columns(ids, lengths), names=KEYS)
    blocks = list(episode_blocks(keys, rows))
    assert [int(n) for _, own in blocks for n in own] == lengths
    starts = np.cumsum([0, *(own.sum() for _, own in blocks)])
    assert [start for start, _ in blocks] == starts[:-1].tolist()
    for _, own in blocks[:-1]:
        assert own.sum() >= rows, "closed too early"
    for _, own in blocks:
        assert own[:-1].sum() < rows, "closed too late"
