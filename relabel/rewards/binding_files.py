"""What a reward function is bound to, as a file: how embedded goals reach the workers of a job.

It lies beside an unfinished reward set and is removed when that is complete. So a job's graph holds
no embedding: those of ten thousand goals are 39 MB at 768 numbers each.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from relabel.goals.prompts import Prompts
from relabel.rewards.base import Binding
from relabel.rewards.head_weights import HeadWeights
from relabel.rewards.registry import from_content
from relabel.rewards.scorer import Rewarder, Scorer, bind
from schemas.encoders import EncoderSpec
from schemas.errors import StoreError
from schemas.goals import GoalSet
from schemas.manifests import RewardManifest
from schemas.store import BINDING, Store

_TEXTS: Final = "texts"  # of the file's arrays, the JSON of all that is no array
_HEAD: Final = "head."  # before the names of a head's own


def write_binding(store: Store, table: str, binding: Binding) -> None:
    """Writes what a reward function is bound to beside a reward set that is to be written.

    Args:
        store: of the reward set.
        table: its name.
        binding: what the plan has bound the reward function to.
    """
    prompts = binding.prompts
    texts = {
        "goals": binding.goals.model_dump(mode="json"),
        "prompts": prompts.texts,
        "examples": prompts.examples,
        "spec": binding.spec.model_dump(mode="json"),
    }
    optional = {"baseline": prompts.baseline, "norms": binding.norms}
    arrays: dict[str, Any] = {
        _TEXTS: np.frombuffer(json.dumps(texts).encode(), np.uint8),
        "goal": prompts.goal,
        "negatives": np.concatenate([*prompts.negatives, np.zeros(0, np.int64)]).astype(np.int32),
        "counts": np.array([len(own) for own in prompts.negatives], np.int64),
        "embeddings": binding.embeddings,
        **{name: array for name, array in optional.items() if array is not None},
        **({} if binding.head is None else _of_head(binding.head)),
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    store.folder.write(f"{table}/{BINDING}", content.getvalue())


def read_binding(store: Store, table: str) -> Binding:
    """What `write_binding` has written.

    Raises:
        StoreError: there is none, or not a whole one.
    """
    name = f"{table}/{BINDING}"
    origin = store.folder.join(name)
    try:
        with np.load(io.BytesIO(store.folder.read(name)), allow_pickle=False) as found:
            arrays = dict(found)
        texts = json.loads(arrays[_TEXTS].tobytes())
        spec = EncoderSpec.model_validate(texts["spec"])
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise StoreError(f"{origin}: cannot be read: {error}; type the command again") from error
    borders = np.cumsum(arrays["counts"])[:-1]
    prompts = Prompts(
        texts=tuple(map(tuple, texts["prompts"])),
        goal=arrays["goal"],
        negatives=tuple(np.split(arrays["negatives"].astype(np.int64), borders)),
        baseline=arrays.get("baseline"),
        examples=tuple(
            tuple((str(episode), int(step)) for episode, step in own) for own in texts["examples"]
        ),
    )
    goals = GoalSet.from_mapping(texts["goals"], origin=origin)
    head = HeadWeights(**own) if (own := _head_of(arrays)) else None
    return Binding(goals, prompts, arrays["embeddings"], spec, arrays.get("norms"), head)


def _of_head(head: HeadWeights) -> dict[str, Any]:
    return {f"{_HEAD}{field.name}": getattr(head, field.name) for field in fields(head)}


def _head_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
    return {n.removeprefix(_HEAD): own for n, own in arrays.items() if n.startswith(_HEAD)}


def stored_rewarder(store: Store, rewards: RewardManifest, of: str) -> Rewarder:
    """What makes other rewards of a reward set's scores, the same as was planned.

    Args:
        store: of both.
        rewards: that are being written.
        of: name of the complete reward set whose scores are taken.

    Raises:
        RewardError: a reward function of someone's own, whose module is not there.
        StoreError: that reward set cannot be read.
    """
    function = from_content(rewards.function, here=False)  # as its plan was made
    threshold = function.thresholds(store.goal_set(of))
    return Rewarder(function, rewards.timing, threshold, rewards.goals)


def stored_scorer(store: Store, rewards: RewardManifest) -> Scorer:
    """The scorer of a reward set that is being written, the same as was planned.

    Raises:
        RewardError: a reward function of someone's own, whose module is not there.
        StoreError: as `read_binding`.
    """
    binding = read_binding(store, rewards.table)
    scorer = bind(
        from_content(rewards.function),
        binding.goals,
        binding.prompts,
        binding.embeddings,
        binding.spec,
        timing=rewards.timing,
        fusion=rewards.fusion,
        norms=binding.norms,
        head=binding.head,
    )
    return replace(scorer, skip_missing=rewards.skip_blank_cameras)
