"""Rewards of frames in memory, by the same numbers as those of a store."""

from __future__ import annotations

import os
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic.dataclasses import dataclass

from relabel.encoders.foreign import ForeignEncoder
from relabel.encoders.protocol import Encoder, LimitsTexts, LoadEncoder, StagedEncoder
from relabel.goals.files import FIELD_PREFIX, given_goals
from relabel.goals.readings import check_lengths, read_prompts
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import bind
from relabel.slices.score_slice import load_scorer
from schemas.enums import Timing
from schemas.errors import FrameError, GoalError, RewardError
from schemas.extras import named_extras
from schemas.goals import GoalSet
from schemas.store import Store
from vlm_relabel.arguments import EncoderArguments
from vlm_relabel.goal_words import Goals, read_goals
from vlm_relabel.keywords import STRICT, Count, Location, Words, checked, several

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ModelArguments(EncoderArguments):
    """Of a `RewardModel`, beside encoder, goals and reward function."""

    timing: Timing = Timing.NEXT_FRAME
    truncate_texts: bool = False
    batch_size: Count = 64
    dtype: Literal["float16", "float32"] = "float16"


class RewardModel:
    """Scores frames for goals in words.

    Encoder, goals and reward function are those of `vlm-relabel relabel`, with the same defaults,
    for one camera. The encoder is loaded, and the goals are embedded, once.

    Args:
        encoder: name, as `--encoder` takes it, a function that loads an encoder, or an encoder.
        goals: path of a goals file, one or several texts, or a goal set.
        reward: name of the reward function, as `--reward` takes it.
        timing: which frame the reward of an action looks at.
        null_prompt: captions of a frame that shows none of the goals; for texts.
        device: where the encoder runs, as `--device` takes it.
        precision: what it computes in, as `--precision` takes it.
        preprocess: of a checkpoint file, as `--preprocess` takes it.
        truncate_texts: cut texts that are longer than the model reads, instead of refusing them.
        batch_size: frames embedded at once.
        dtype: what embeddings are rounded to before they are scored, as a store rounds them.
        **parameters: of the reward function: `temperature`, `threshold`, `alpha`, `window`.

    Raises:
        RelabelError: an encoder, goals or a reward function that cannot be had, or do not fit.

    Example:
        >>> import numpy as np
        >>> from relabel.testing import PixelMeanEncoder
        >>> model = RewardModel(PixelMeanEncoder(), ["a red room", "a blue room"], reward="cosine")
        >>> frames = np.zeros((5, 8, 8, 3), np.uint8)
        >>> frames[..., 0] = 255  # red
        >>> model(frames).shape
        (5, 2)
        >>> (model(frames)[0] > 0.5).tolist()
        [True, False]
    """

    @named_extras("RewardModel")
    def __init__(
        self,
        encoder: str | LoadEncoder | Encoder | StagedEncoder,
        goals: Goals,
        *,
        reward: str = "softmax-threshold",
        timing: Timing | Literal["next-frame", "same-frame"] = Timing.NEXT_FRAME,
        null_prompt: Words = None,
        device: str = "cpu",
        precision: str = "auto",
        preprocess: str | None = None,
        truncate_texts: bool = False,
        batch_size: int = 64,
        dtype: Literal["float16", "float32"] = "float16",
        **parameters: Any,
    ) -> None:
        function = parse_reward(reward, **parameters)
        how = checked(
            ModelArguments,
            timing=timing,  # type: ignore[arg-type]  # a text becomes a Timing
            device=device,
            precision=precision,
            preprocess=preprocess,
            truncate_texts=truncate_texts,
            batch_size=batch_size,
            dtype=dtype,
        )
        self.goals = _goal_set(goals, null_prompt)
        self.encoder = _loaded(encoder, how)
        if isinstance(self.encoder, LimitsTexts):
            check_lengths(self.goals, self.encoder.long_texts)
        prompts, vectors, norms = read_prompts(self.goals, self.encoder.encode_texts)
        told = (function, self.goals, prompts, vectors, self.encoder.spec)
        self.scorer = bind(*told, timing=how.timing, norms=norms)
        self._batch_size, self._dtype = how.batch_size, np.dtype(how.dtype)

    @classmethod
    def of_store(
        cls,
        location: Location,
        rewards: str,
        encoder: str | LoadEncoder | Encoder | StagedEncoder,
        *,
        device: str = "cpu",
        precision: str = "auto",
        preprocess: str | None = None,
        truncate_texts: bool = False,
        batch_size: int = 64,
    ) -> RewardModel:
        """The model that made a reward set, with its head and its goals' example frames.

        Args:
            location: of the store.
            rewards: name of the reward set, of one camera.
            encoder: that made it, as of `RewardModel`; likewise all others.

        Raises:
            RelabelError: no such reward set, one of several cameras, or another encoder.
        """
        store = Store.open(os.fspath(location))
        manifest = store.rewards(rewards)
        if len(manifest.embeddings) != 1:
            raise RewardError(
                f"{store.location}/{manifest.table}: expected a reward set of one camera, got one "
                f"of {len(manifest.embeddings)}; relabel.slices.score_slice.load_scorer scores "
                "embeddings of several"
            )
        table = store.table_manifest(f"embeddings/{manifest.embeddings[0]}")
        how = checked(
            ModelArguments,
            device=device,
            precision=precision,
            preprocess=preprocess,
            truncate_texts=truncate_texts,
            batch_size=batch_size,
            dtype=getattr(table, "dtype", "float16"),
        )
        model = cls.__new__(cls)
        model.encoder = _loaded(encoder, how)
        model.goals = store.goal_set(rewards)
        told = model.encoder.encode_texts, model.encoder.spec
        model.scorer = load_scorer(store, rewards, *told)
        model._batch_size, model._dtype = how.batch_size, np.dtype(how.dtype)
        return model

    @property
    def goal_ids(self) -> list[str]:
        """Of the columns."""
        return [goal.id for goal in self.goals.goals]

    def __repr__(self) -> str:
        goals = len(self.goals.goals)
        return (
            f"<reward model {self.scorer.function.path} of {self.encoder.spec.name} for "
            f"{goals} goal{'s' * (goals != 1)}>"
        )

    def __call__(self, frames: ArrayLike, lengths: ArrayLike | None = None) -> Floats:
        """Scores of frames.

        Args:
            frames: (T, H, W, 3) uint8, one episode, or several one after the other.
            lengths: (E,) frames of each episode; None: all are of one. It matters for rewards that
                look at other frames than their own.

        Returns:
            (T, G) float32: how well frame t shows goal g.

        Raises:
            FrameError: frames of another shape or type.
            RewardError: lengths that are not those of the frames.
        """
        return self._scored(frames, lengths)[0]

    def rewards(self, frames: ArrayLike, lengths: ArrayLike | None = None) -> Floats:
        """Rewards of the actions between frames; arguments and errors as of a call.

        Returns:
            (T, G) float32: the reward of the action at frame t, for goal g. With the timing
            next-frame it looks at frame t + 1, and is NaN at the last frame of an episode.
        """
        return self.scorer.rewards(*self._scored(frames, lengths))

    def embed(self, frames: ArrayLike) -> NDArray[np.floating]:
        """(T, D) unit-norm embeddings of (T, H, W, 3) uint8 frames, rounded as a store has them.

        Raises:
            FrameError: frames of another shape or type.
        """
        images, size = _checked(frames), self._batch_size
        found = np.empty((len(images), self.encoder.spec.dim), self._dtype)
        for first in range(0, len(images), size):
            batch = slice(first, first + size)
            found[batch] = self.encoder.encode_images(list(images[batch]))
        return found

    def _scored(self, frames: ArrayLike, lengths: ArrayLike | None) -> tuple[Floats, Any]:
        """Scores, and the lengths of the episodes."""
        images = _checked(frames)
        own = [len(images)] * bool(len(images)) if lengths is None else np.asarray(lengths)
        if np.sum(own) != len(images):
            raise RewardError(
                f"lengths: expected the frames of each episode, {len(images)} in all, got {own}"
            )
        return self.scorer.scores([self.embed(images)], own), own


def _goal_set(goals: Goals, null_prompt: Words) -> GoalSet:
    nulls = None if null_prompt is None else several(null_prompt)
    given = read_goals(goals, nulls)
    if isinstance(given, str) and given.startswith(FIELD_PREFIX):
        raise GoalError(
            f"goals {given}: expected a file, texts or a goal set; goals of a field are known to a "
            "store that was scored with them: open_store(…).goal_set(NAME)"
        )
    return given_goals(given, nulls)


def _loaded(
    encoder: str | LoadEncoder | Encoder | StagedEncoder, how: ModelArguments
) -> StagedEncoder:
    if isinstance(encoder, str | type) or not hasattr(encoder, "encode_images"):
        return how.loader(cast(str | LoadEncoder, encoder), how.truncate_texts)()
    if hasattr(encoder, "embed"):
        return cast(StagedEncoder, encoder)
    own = cast(Encoder, encoder)
    return ForeignEncoder(own.spec.name, own)


def _checked(frames: ArrayLike) -> NDArray[np.uint8]:
    """Frames as they must be."""
    images = np.asarray(frames)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        shape = ", ".join(map(str, images.shape))
        raise FrameError(
            f"frames: expected (T, H, W, 3) uint8, got ({shape}) {images.dtype}; channels are red, "
            "green and blue, the last axis, and values go from 0 to 255"
        )
    return images
