"""One small source per form of language, action, flag and other feature.

A form is the first cell of a row of `docs/sources.md`; the values below are what a reader must
find, written down by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from relabel.testing import encoded_image, serialize_episode, write_rlds, write_shard

kinds = tfds.features
Value = Callable[[int, int], Any]  # of an episode's step

LENGTHS = (3, 2)
FILE = "odd-train.tfrecord-00000-of-00001"
OPEN, PULL = "open the drawer", "pull the drawer"
IMAGE = encoded_image(np.full((4, 4, 3), 90, np.uint8))


@dataclass(frozen=True)
class Odd:
    """A source: step and episode features with their values, and what is read of them."""

    steps: Mapping[str, tuple[Any, Value]] = field(default_factory=dict)
    episode: Mapping[str, tuple[Any, Callable[[int], Any]]] = field(default_factory=dict)
    columns: Mapping[str, list[Any]] = field(default_factory=dict)  # of the steps table
    metadata: Mapping[str, list[Any]] = field(default_factory=dict)  # of the episodes table
    language: list[str | None] | None = None  # of the episodes table
    ids: tuple[str, ...] = ("train/0/0", "train/0/1")
    without: tuple[str, ...] = ()  # usual step features that it lacks
    exclude: tuple[str, ...] = ()
    keep_merged: bool = False
    mine: str | None = None  # a field to mine
    goals: list[tuple[str, ...]] | None = None  # phrasings of the goals mined from it
    change: Callable[[Any], None] | None = None  # of every stored record

    def write(self, directory: Path) -> Path:
        """Writes the dataset, one episode of 3 steps and one of 2."""
        features = {key: kind for key, (kind, _) in self._steps().items()}
        all_features = kinds.FeaturesDict(
            {"steps": kinds.Dataset(features), "episode_metadata": self._kinds_of_episode()}
            if self.episode
            else {"steps": kinds.Dataset(features)}
        )
        episodes = [self._episode(index, length) for index, length in enumerate(LENGTHS)]
        write_rlds(directory, all_features, episodes, shard_lengths=[2], name="odd")
        if self.change is not None:
            records = [serialize_episode(all_features, episode) for episode in episodes]
            write_shard(directory / FILE, [self._changed(r) for r in records], "tfrecord")
        return directory

    def _changed(self, record: bytes) -> bytes:
        example = tf_example_pb2.Example.FromString(record)
        if self.change is not None:
            self.change(example.features.feature)
        return bytes(example.SerializeToString())

    def _steps(self) -> dict[str, tuple[Any, Value]]:
        usual: dict[str, tuple[Any, Value]] = {
            "image": (kinds.Image(shape=(None, None, 3)), lambda e, t: IMAGE),
            "action": (vector(np.float32, 2), lambda e, t: np.array([1, t], np.float32)),
            "is_first": (np.bool_, lambda e, t: t == 0),
            "is_last": (np.bool_, lambda e, t: t == LENGTHS[e] - 1),
            "is_terminal": (np.bool_, lambda e, t: t == LENGTHS[e] - 1),
        }
        kept = {key: pair for key, pair in usual.items() if key not in self.without}
        return {**kept, **self.steps}

    def _kinds_of_episode(self) -> dict[str, Any]:
        return {key: kind for key, (kind, _) in self.episode.items()}

    def _episode(self, index: int, length: int) -> dict[str, Any]:
        steps = [
            {key: value(index, step) for key, (_, value) in self._steps().items()}
            for step in range(length)
        ]
        metadata = {key: value(index) for key, (_, value) in self.episode.items()}
        return {"steps": steps, **({"episode_metadata": metadata} if metadata else {})}


def vector(dtype: Any, *shape: int | None) -> Any:
    return kinds.Tensor(shape=shape, dtype=dtype)


def codes(text: str, length: int) -> Any:
    return np.frombuffer(text.encode().ljust(length, b"\0"), np.uint8).astype(np.int32)


def said(kind: Any, value: Value, **more: Any) -> Odd:
    """An instruction at every step, the same for all: `OPEN`."""
    expected: dict[str, Any] = {
        "columns": {"instruction": [OPEN] * 5},
        "language": [OPEN, OPEN],
        "mine": "instruction",
        "goals": [(OPEN,)],
    }
    return Odd({"instruction": (kind, value)}, **{**expected, **more})


def acted(kind: Any, value: Value, columns: Mapping[str, list[Any]]) -> Odd:
    return Odd({"action": (kind, value)}, columns=columns)


def flagged(name: str, kind: Any, value: Value, **more: Any) -> Odd:
    return Odd({name: (kind, value)}, **more)


def ends(e: int, t: int) -> bool:
    """Terminal at the end of the first episode only."""
    return (e, t) == (0, 2)


TERMINAL = {"is_terminal": [False, False, True, False, False]}
PHRASINGS = {
    "columns": {"instruction": [[OPEN, PULL]] * 5},
    "goals": [(OPEN, PULL)],
}


def spoil(feature: Any) -> None:
    feature["steps/instruction"].bytes_list.value[1] = b"caf\xe9"


def add(feature: Any) -> None:
    feature["steps/observation/force"].float_list.value.extend([0.5])


def drop(feature: Any) -> None:
    del feature["steps/gripper"]


def left_out(kind: Any, value: Any) -> Odd:
    return Odd({"odd": (kind, lambda e, t: value)}, columns={"action": ACTIONS})


STEPS = [0, 1, 2, 0, 1]
ACTIONS = [[1, t] for t in STEPS]
MERGED = {"is_first": (np.bool_, lambda e, t: t in (0, 2)),
          "is_last": (np.bool_, lambda e, t: t in (1, LENGTHS[e] - 1))}  # fmt: skip

FORMS: Mapping[str, Odd] = {
    # language
    "`Text`": said(kinds.Text(), lambda e, t: OPEN),
    "string `Tensor` of one value": said(np.str_, lambda e, t: OPEN),
    "string `Tensor` whose values are no texts": said(
        np.str_,
        lambda e, t: b"\x80\x04\xff",
        columns={"instruction": [b"\x80\x04\xff"] * 5},
        language=[None, None],
        mine=None,
    ),
    "text filled up with zeros": said(
        np.str_,
        lambda e, t: OPEN.encode().ljust(40, b"\0"),
        columns={"instruction": [OPEN] * 5},
    ),
    "list of texts": said(kinds.Sequence(kinds.Text()), lambda e, t: [OPEN, PULL], **PHRASINGS),
    "fixed array of strings": said(vector(np.str_, 2), lambda e, t: [OPEN, PULL], **PHRASINGS),
    "list of texts of a fixed length": said(
        kinds.Sequence(kinds.Text(), length=2), lambda e, t: [OPEN, PULL], **PHRASINGS
    ),
    "integers, codes of UTF-8, padded with zeros or negatives": said(
        vector(np.int32, 64),
        lambda e, t: codes("öffne die Schublade", 64) - (np.arange(64) > 32),
        columns={"instruction": ["öffne die Schublade"] * 5},
        language=["öffne die Schublade"] * 2,
        goals=[("öffne die Schublade",)],
    ),
    "list of such integers, or packed by zlib": Odd(
        {
            "task": (kinds.Sequence(np.uint8), lambda e, t: [*OPEN.encode()]),
            "words": (
                kinds.Tensor(shape=(32,), dtype=np.int64, encoding="zlib"),
                lambda e, t: codes(PULL, 32).astype(np.int64),
            ),
            "tokens": (vector(np.int32, 4), lambda e, t: np.array([101, 2053, 300, 102], np.int32)),
        },
        columns={"task": [OPEN] * 5, "words": [PULL] * 5, "tokens": [[101, 2053, 300, 102]] * 5},
        language=[OPEN, OPEN],
        mine="words",
        goals=[(PULL,)],
    ),
    "several columns": Odd(
        {
            "language_instruction": (kinds.Text(), lambda e, t: ""),
            "language_instruction_2": (kinds.Text(), lambda e, t: PULL if e else ""),
            "language_instruction_3": (kinds.Text(), lambda e, t: OPEN),
        },
        columns={"language_instruction_2": ["", "", "", PULL, PULL]},
        language=[OPEN, PULL],
        mine="language_instruction_2",
        goals=[(PULL,)],
    ),
    "text of the episode": Odd(
        episode={
            "instruction": (kinds.Text(), lambda e: (OPEN, PULL)[e]),
            "file": (kinds.Text(), lambda e: f"/raw/{e}"),
        },
        metadata={"episode_metadata.file": ["/raw/0", "/raw/1"]},
        language=[OPEN, PULL],
        mine="episode_metadata.instruction",
        goals=[(OPEN,), (PULL,)],
    ),
    "texts of paths or identifiers (`/data/7.h5`, `T0012`)": Odd(
        {
            "file": (kinds.Text(), lambda e, t: f"/data/{e}.h5"),
            "sentence": (kinds.Text(), lambda e, t: (OPEN, PULL)[e]),
        },
        columns={"file": ["/data/0.h5"] * 3 + ["/data/1.h5"] * 2},
        language=[OPEN, PULL],
        mine="sentence",
        goals=[(OPEN,), (PULL,)],
    ),
    "text at some steps only": said(
        kinds.Text(),
        lambda e, t: OPEN if t == 1 else "",
        columns={"instruction": ["", OPEN, "", "", OPEN]},
    ),
    "no text at any step": said(
        kinds.Text(),
        lambda e, t: " ",
        columns={"instruction": [" "] * 5},
        language=[None, None],
        mine=None,
    ),
    "a text that is not UTF-8": said(
        kinds.Text(),
        lambda e, t: OPEN,
        columns={"instruction": [OPEN, None, OPEN, OPEN, None]},
        change=spoil,
    ),
    "a field that is no text, mined": said(
        kinds.Text(), lambda e, t: OPEN, mine="action", goals=None
    ),
    # actions
    "vector": acted(
        vector(np.float32, 2),
        lambda e, t: np.array([e, t / 4], np.float32),
        {"action": [[0, 0], [0, 0.25], [0, 0.5], [1, 0], [1, 0.25]]},
    ),
    "integer": acted(np.int64, lambda e, t: t + e, {"action": [0, 1, 2, 1, 2]}),
    "list of one integer": acted(
        vector(np.int64, 1), lambda e, t: np.array([t]), {"action": [[t] for t in STEPS]}
    ),
    "bool": acted(np.bool_, lambda e, t: t == 1, {"action": [t == 1 for t in STEPS]}),
    "one-hot integers": acted(
        vector(np.int32, 3),
        lambda e, t: np.eye(3, dtype=np.int32)[t],
        {"action": [np.eye(3)[t].tolist() for t in STEPS]},
    ),
    "list of numbers of a fixed length": acted(
        kinds.Sequence(np.float32, length=2),
        lambda e, t: [t, e / 2],
        {"action": [[0, 0], [1, 0], [2, 0], [0, 0.5], [1, 0.5]]},
    ),
    "nested dictionary": acted(
        {"arm": {"move": vector(np.float32, 2)}, "gripper": np.bool_},
        lambda e, t: {"arm": {"move": np.array([t, e], np.float32)}, "gripper": t > 0},
        {
            "action.arm.move": [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1]],
            "action.gripper": [t > 0 for t in STEPS],
        },
    ),
    "no action": Odd(without=("action",)),
    # flags
    "bool flag": flagged("is_terminal", np.bool_, ends, columns=TERMINAL),
    "integer flag": flagged(
        "is_terminal", np.int32, lambda e, t: int(ends(e, t)), columns=TERMINAL
    ),
    "float flag": flagged(
        "is_terminal", np.float32, lambda e, t: np.float32(ends(e, t)), columns=TERMINAL
    ),
    "flag in a list of one": flagged(
        "is_terminal", vector(np.bool_, 1), lambda e, t: np.array([ends(e, t)]), columns=TERMINAL
    ),
    "flag of several values": flagged(
        "is_terminal", vector(np.float32, 2), lambda e, t: np.zeros(2, np.float32)
    ),
    "flag that is a dictionary": flagged(
        "is_terminal", {"done": np.bool_}, lambda e, t: {"done": True}
    ),
    "flag that is a nested dataset": flagged(
        "is_terminal", kinds.Dataset(np.bool_), lambda e, t: [True]
    ),
    "flag that is a text": flagged("is_terminal", kinds.Text(), lambda e, t: "no"),
    "flag that is neither 0 nor 1": flagged(
        "is_terminal", np.int32, lambda e, t: 2 * e, ids=("train/0/0",)
    ),
    "no `is_last`": Odd(without=("is_last",)),
    "no step marked `is_last`": flagged("is_last", np.bool_, lambda e, t: False),
    "no `is_terminal`": Odd(without=("is_terminal",)),
    "`is_terminal` before the last step": flagged(
        "is_terminal",
        np.bool_,
        lambda e, t: t == 0,
        columns={"is_terminal": [True, False, False, True, False]},
    ),
    "flag below `observation`": Odd(
        {"observation": ({"is_terminal": np.bool_}, lambda e, t: {"is_terminal": ends(e, t)})},
        without=("is_terminal",),
        columns={"observation.is_terminal": TERMINAL["is_terminal"]},
    ),
    "several episodes in a record": Odd(
        MERGED,
        columns={"is_first": [True, False, True, True, False], "action": ACTIONS},
        ids=("train/0/0.0", "train/0/0.1", "train/0/1"),
    ),
    "several episodes in a record, `--keep-merged`": Odd(
        MERGED, columns={"is_first": [True, False, True, True, False]}, keep_merged=True
    ),
    # other features
    "list of images, fixed length": left_out(
        kinds.Sequence(kinds.Image(shape=(4, 4, 3)), length=2), [IMAGE, IMAGE]
    ),
    "list of images, open length": left_out(kinds.Sequence(kinds.Image(shape=(4, 4, 3))), [IMAGE]),
    "list of lists": left_out(kinds.Sequence(kinds.Sequence(np.int64)), [[1], [2, 3]]),
    "tensor of an open length at a step": left_out(
        vector(np.float32, None, 3), np.ones((2, 3), np.float32)
    ),
    "sound": left_out(kinds.Audio(), np.zeros(4, np.int64)),
    "nested dataset": left_out(kinds.Dataset({"k": np.int64}), [{"k": 1}]),
    "feature excluded by `--exclude`": Odd(
        {"odd": (np.float32, lambda e, t: 0.0)},
        exclude=("o*",),
        columns={"is_last": [False, False, True, False, True]},
    ),
    "`--exclude` that matches nothing": Odd(exclude=("depth",)),
    "feature that only the records tell of": Odd(change=add, columns={"action": ACTIONS}),
    "feature that records lack": Odd(
        {"gripper": (np.float32, lambda e, t: 0.0)}, change=drop, ids=()
    ),
}
