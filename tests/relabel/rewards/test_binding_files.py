"""What workers score with, read back from the store: the scorer that was planned, to the bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from relabel.goals.prompts import Prompts
from relabel.goals.readings import read_prompts
from relabel.rewards.base import Binding
from relabel.rewards.binding_files import read_binding, stored_scorer, write_binding
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import bind
from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.store import BINDING, Store
from tests import small

TABLE = "rewards/v1"
ODD = GoalSet.from_yaml(
    """
    name: odd
    goals:
      - {id: red, texts: [a “red” room, rot], negatives: [ein grüner Raum], baseline: a room}
      - {id: green, texts: [a green room], negatives: [a desert, the sea], baseline: a room}
      - {id: blue, texts: [a blue room], temperature: 0.25, threshold: 0.125, baseline: a room}
    """,
    origin="test",
)


def _binding(goals: GoalSet, **more: Any) -> Binding:
    encoder = PixelMeanEncoder()
    prompts, vectors, norms = read_prompts(goals, encoder.encode_texts)
    return Binding(goals, prompts, vectors, encoder.spec, norms, **more)


def _plain(value: Any) -> Any:
    """For comparison: arrays with their type and bytes."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, Prompts | HeadWeights | Binding):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.name != "notes"}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value


HEAD = HeadWeights(
    np.array([0, 0, 2], np.int32),
    np.array([0.5, 0.5, 1], np.float32),
    np.array([True, False, True]),
    np.zeros(3, np.float32),
    np.eye(3, 4, dtype=np.float32),
)
BOUND = {
    "plain": _binding(small.COLOURS),
    "odd": _binding(ODD),
    "with a head": _binding(small.COLOURS, head=HEAD),
}


@pytest.mark.parametrize("case", BOUND)
def test_what_is_read_is_what_was_written(case: str, empty_store: Store) -> None:
    write_binding(empty_store, TABLE, BOUND[case])
    assert _plain(read_binding(empty_store, TABLE)) == _plain(BOUND[case])


def test_goals_of_example_frames_are_kept(empty_store: Store) -> None:
    bound = BOUND["plain"]
    examples = ((("train/0/1", 3),), *((),) * (len(bound.prompts.texts) - 1))
    prompts = Prompts(
        *(getattr(bound.prompts, name) for name in ("texts", "goal", "negatives", "baseline")),
        examples=examples,
    )
    write_binding(empty_store, TABLE, Binding(bound.goals, prompts, bound.embeddings, bound.spec))
    found = read_binding(empty_store, TABLE)
    assert found.prompts.examples == examples
    assert found.norms is None


@pytest.mark.parametrize("reward", ["softmax-threshold", "cosine", "vlm-rm", "goal-baseline"])
def test_a_stored_scorer_scores_as_the_planned_one(reward: str, store: Store) -> None:
    planned = bind(parse_reward(reward), *_told(_binding(BASED)), norms=_binding(BASED).norms)
    manifest = small.reward_manifest(store, planned, (small.FRONT,), goals=BASED)
    write_binding(store, manifest.table, _binding(BASED))
    frames = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    frames /= np.linalg.norm(frames, axis=1, keepdims=True)
    found = stored_scorer(store, manifest)
    scores = planned.scores([frames], [40])
    assert found.scores([frames], [40]).tobytes() == scores.tobytes()
    assert found.rewards(scores, [40]).tobytes() == planned.rewards(scores, [40]).tobytes()
    assert _plain(found.threshold) == _plain(planned.threshold)


BASED = GoalSet.from_yaml(
    """
    name: based
    baseline: a room
    goals:
      - {id: red, texts: [a red room]}
      - {id: green, texts: [a green room]}
    """,
    origin="test",
)


def _told(bound: Binding) -> tuple[Any, ...]:
    return bound.goals, bound.prompts, bound.embeddings, bound.spec


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive"])
def test_a_file_that_is_not_whole_is_refused(content: bytes, empty_store: Store) -> None:
    empty_store.folder.write(f"{TABLE}/{BINDING}", content)
    with pytest.raises(StoreError, match=r"binding\.npz: cannot be read"):
        read_binding(empty_store, TABLE)


def test_pickled_arrays_are_refused(empty_store: Store, tmp_path: Any) -> None:
    path = tmp_path / "odd.npz"
    np.savez(path, texts=np.array([{"a": 1}], dtype=object))
    empty_store.folder.write(f"{TABLE}/{BINDING}", path.read_bytes())
    with pytest.raises(StoreError, match="cannot be read"):
        read_binding(empty_store, TABLE)
