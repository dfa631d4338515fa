"""`score_slice`: stored embeddings of one slice become scores and rewards. No frame is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from relabel.goals.prompts import Prompts, negatives_of
from relabel.goals.readings import read_prompts
from relabel.rewards.head import has_head
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.registry import from_content
from relabel.rewards.scorer import Scorer, bind
from relabel.slices.profile import Profile
from relabel.slices.stored_frames import example_frames, slice_embeddings
from relabel.slices.streams import prefetch
from schemas import fields
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.manifests import RewardManifest
from schemas.reward_counts import RewardCounts
from schemas.slices import Slice
from schemas.store import HEAD, Store
from schemas.tables import Array, reward_schema, vectors
from schemas.texts import brief

_BLOCK_ROWS = (512, 4096)  # least and most frames scored at once, rounded to whole episodes
_BLOCK_SCORES = 1 << 19  # aimed at, so that memory hardly grows with the goals
_BLOCKS_AHEAD = 1  # scored while the last one is written


def score_slice(
    piece: Slice,
    *,
    store: Store,
    rewards: RewardManifest,
    scorer: Scorer,
    profile: Profile | None = None,
) -> Slice:
    """Writes one slice of a reward set, unless it is committed already.

    Args:
        piece: the slice; its embeddings must be committed.
        store: read from and written to.
        rewards: what the table is to be.
        scorer: the reward function bound to the goals; pure arithmetic.
        profile: told where the time goes.

    Returns:
        The slice with the file of its rewards.

    Raises:
        StoreError: embeddings are missing, or those of two cameras do not have the same rows.
    """
    if done := store.committed(rewards, piece):
        return piece.with_files(*done)
    profile = Profile() if profile is None else profile
    with profile.stage("other"):
        return _score(piece, store, rewards, scorer, profile)


def _score(
    piece: Slice, store: Store, rewards: RewardManifest, scorer: Scorer, profile: Profile
) -> Slice:
    with profile.stage("read embeddings"):
        skip = rewards.skip_blank_cameras
        keys, cameras = slice_embeddings(store, piece, rewards.embeddings, skip_blank=skip)
    return write_rewards(piece, store, rewards, _scored(keys, cameras, scorer, profile), profile)


Block = tuple[pa.Table, Array, Array]  # keys, scores (n, G), rewards (n, G) of whole episodes


def write_rewards(
    piece: Slice, store: Store, rewards: RewardManifest, blocks: Iterator[Block], profile: Profile
) -> Slice:
    """Writes and counts the rewards of one slice, block after block, and commits them."""
    schema = reward_schema(rewards.goals, binary=rewards.binary, scores=rewards.scores)
    counts = RewardCounts.none(rewards.goals, dense=not rewards.binary)
    scored = prefetch(_columns(blocks, rewards, counts), _BLOCKS_AHEAD)
    with (
        closing(scored),
        store.writer(rewards.table, piece, schema, fingerprint=rewards.fingerprint) as writer,
    ):
        for columns in profile.each("wait for scores", scored):
            with profile.stage("write rewards"):
                writer.write(columns)
        with profile.stage("commit"):
            told = counts.metadata()
            file = writer.commit(told, figures=told[fields.COUNTS])
            store.record(rewards.table, piece, [file])
            return piece.with_files(file)


def _columns(
    blocks: Iterator[Block], rewards: RewardManifest, counts: RewardCounts
) -> Iterator[list[pa.Array]]:
    """The columns of block after block, which are counted."""
    value = pa.uint8() if rewards.binary else pa.float32()
    for keys, scores, reward in blocks:
        counts.add(scores, reward)
        named = [keys.column(key).combine_chunks() for key in keys.column_names]
        columns = [vectors(scores, pa.float32())] if rewards.scores else []
        yield [*named, *columns, vectors(reward, value)]


def _scored(
    keys: pa.Table,
    cameras: Sequence[Array],
    scorer: Scorer,
    profile: Profile,
) -> Iterator[Block]:
    for start, lengths in episode_blocks(keys, block_rows(scorer.goals)):
        with profile.stage("score"):
            rows = slice(start, start + int(lengths.sum()))
            scores = scorer.scores([camera[rows] for camera in cameras], lengths)
            reward = scorer.rewards(scores, lengths)
        yield keys.slice(start, len(scores)), scores, reward


def block_rows(goals: int) -> int:
    """Frames that are scored at once."""
    least, most = _BLOCK_ROWS
    return min(most, max(least, _BLOCK_SCORES // goals))


def load_scorer(
    store: Store, name: str, encode_texts: Callable[[Sequence[str]], Array], spec: EncoderSpec
) -> Scorer:
    """The scorer that made a reward set, for frames that are not in the store.

    Args:
        store: holds the reward set.
        name: of the reward set.
        encode_texts: of the encoder that made it.
        spec: of the same encoder.

    Raises:
        RewardError: a reward function of someone's own, whose module is not there.
        StoreError: no such reward set, another encoder, or other negatives than were used.
    """
    manifest = store.rewards(name)
    if differing := manifest.encoder.differences(spec):
        raise StoreError(
            f"rewards/{name}: made with {manifest.encoder.name} at {manifest.encoder.precision} "
            f"({manifest.encoder.fingerprint[:8]}), not with {spec.name} at {spec.precision} "
            f"({spec.fingerprint[:8]}): {'; '.join(differing)}"
        )
    goals = store.goal_set(name)
    function = from_content(manifest.function, here=False)  # a store's word runs no file here
    frames = example_frames(store, manifest.embeddings, goals)
    prompts, vectors, norms = read_prompts(goals, encode_texts, frames)
    _check_negatives(store, name, goals, prompts)
    head = read_head(store, name) if has_head(function) else None
    how: dict[str, Any] = {"timing": manifest.timing, "fusion": manifest.fusion, "norms": norms}
    how["head"] = head
    scorer = bind(function, goals, prompts, vectors, spec, **how)
    return replace(scorer, skip_missing=manifest.skip_blank_cameras)


def read_head(store: Store, name: str) -> HeadWeights:
    """The weights of a reward set's head.

    Raises:
        StoreError: no such reward set, or it has no head.
    """
    return HeadWeights.of_table(
        store.beside_rewards(name, HEAD), f"{store.location}/rewards/{name}"
    )


def _check_negatives(store: Store, name: str, goals: GoalSet, prompts: Prompts) -> None:
    """Refuses negatives that are not those that the reward set was made with."""
    told = [negatives_of(prompts, place) for place in range(len(goals.goals))]
    stored = store.goals(name, [fields.NEGATIVES]).column(fields.NEGATIVES).to_pylist()
    for goal, now, then in zip(goals.goals, told, stored, strict=True):
        if sorted(now) != sorted(then):
            raise StoreError(
                f"rewards/{name}: goal {goal.id} was scored against {brief(then)}, and would now "
                f"be against {brief(now)}; score again with --overwrite"
            )


def episode_blocks(keys: pa.Table, rows: int) -> Iterator[tuple[int, Array]]:
    """Cuts a slice into blocks of whole episodes.

    Args:
        keys: `episode_id` and `step` of every frame, episode after episode.
        rows: a block is closed as soon as it has this many.

    Yields:
        First row of the block, and the lengths of its episodes.
    """
    steps = keys.column(fields.STEP).to_numpy()
    starts = np.flatnonzero(steps == 0)
    lengths = np.diff(np.append(starts, len(steps)))
    first = 0
    for last in range(len(lengths)):
        if last + 1 == len(lengths) or starts[last] + lengths[last] - starts[first] >= rows:
            yield int(starts[first]), lengths[first : last + 1]
            first = last + 1
