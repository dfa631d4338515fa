"""An encoder from outside, as jobs use it: whatever it gives is checked before it is believed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from relabel.encoders.batches import batches, check_frames, rows_by_shape
from relabel.encoders.protocol import Encoder, LimitsTexts
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError, RelabelError
from schemas.names import folder_name

if TYPE_CHECKING:
    from relabel.frames.decoding import Frame

_BATCH: Final = 256  # bounds the memory of one call, whatever the number of frames or texts
_METHODS: Final = ("encode_images", "encode_texts")
_NORM_TOLERANCE: Final = 1e-3
_HEX: Final = frozenset("0123456789abcdef")
_SHA256_DIGITS: Final = 64


class ForeignEncoder:
    """A `StagedEncoder` made of an `Encoder`: calls it one thread at a time, checks its results.

    Attributes:
        spec: that of the encoder, under the name that the user gave.
        device: where it runs, if it says so.
    """

    def __init__(self, name: str, encoder: Encoder) -> None:
        """Takes over an encoder that a factory made.

        Raises:
            EncoderError: it lacks a method, or its spec could not stand in a manifest.
        """
        missing = [m for m in _METHODS if not callable(getattr(encoder, m, None))]
        if missing:
            raise EncoderError(
                f"encoder {name}: expected an object with spec, encode_images and encode_texts, "
                f"got {_kind(encoder)} without {' and '.join(missing)}"
            )
        self.spec = _checked_spec(name, encoder)
        self.device: str | None = (
            None if (d := getattr(encoder, "device", None)) is None else str(d)
        )
        self._encoder = encoder
        self._one_at_a_time = threading.Lock()

    def probe(self) -> None:
        """Embeds two small frames, so that what does not fit is known before any is stored.

        Raises:
            EncoderError: as `encode_images`.
        """
        ramp = np.arange(2 * 64 * 64 * 3, dtype=np.int64) * 7 % 256
        self.encode_images(list(ramp.astype(np.uint8).reshape(2, 64, 64, 3)))

    def prepare(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames themselves.

        Raises:
            FrameError: If a frame has another shape or type; the text names its index.
        """
        check_frames(frames)
        return frames

    def embed(self, parts: Sequence[Sequence[Frame]]) -> NDArray[np.float32]:
        """Unit-norm (N, D) embeddings of what `prepare` made, together one batch."""
        return self.encode_images([frame for part in parts for frame in part])

    def encode_images(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """Embeds frames (H, W, 3) uint8, those of one size together.

        Raises:
            FrameError: If a frame has another shape or type.
            EncoderError: The encoder failed, or gave anything but finite float32 of unit norm.
        """
        check_frames(frames)
        embeddings = np.empty((len(frames), self.spec.dim), np.float32)
        for rows in rows_by_shape(frames):
            for some in batches(rows, _BATCH):
                together = np.stack([frames[row] for row in some])
                embeddings[some] = self._called("encode_images", together)
        return embeddings

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds texts; (N, D).

        Raises:
            EncoderError: as `encode_images`.
        """
        parts = [self._called("encode_texts", list(some)) for some in batches(texts, _BATCH)]
        return np.concatenate(parts) if parts else np.empty((0, self.spec.dim), np.float32)

    def long_texts(self, texts: Sequence[str]) -> dict[int, str]:
        """As the encoder says; none where it does not."""
        return self._encoder.long_texts(texts) if isinstance(self._encoder, LimitsTexts) else {}

    def _called(self, method: str, given: Any) -> NDArray[np.float32]:
        """What one method gives for N frames or texts, checked."""
        name, call = self.spec.name, getattr(self._encoder, method)
        told = (
            f"uint8{list(given.shape)}" if isinstance(given, np.ndarray) else f"{len(given)} texts"
        )
        with self._one_at_a_time:
            found = called(f"encoder {name}: {method} of {told}", lambda: call(given))
        expected = (len(given), self.spec.dim)
        if problem := _problem(found, expected):
            raise EncoderError(
                f"encoder {name}: {method} of {told}: expected float32{list(expected)} of unit "
                f"norm, got {problem}"
            )
        return found  # type: ignore[no-any-return]


def called(subject: str, call: Callable[[], Any]) -> Any:
    """The result of code from outside; what it raises is told in one sentence.

    Raises:
        EncoderError: it raised something that is none of our errors.
    """
    try:
        return call()
    except RelabelError:
        raise
    except (Exception, SystemExit) as error:  # code from outside may raise anything
        raise EncoderError(f"{subject} failed: {type(error).__name__}: {error}") from error


def _problem(found: Any, expected: tuple[int, int]) -> str | None:
    """What is wrong with embeddings; None: nothing."""
    if not isinstance(found, np.ndarray):
        return f"{_kind(found)}, which is no NumPy array"
    if found.dtype != np.float32 or found.shape != expected:
        return f"{found.dtype}{list(found.shape)}"
    norms = np.linalg.norm(found.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= _NORM_TOLERANCE))  # NaN is no number near 1
    if not len(wrong):
        return None
    first = wrong[0]
    finite = np.isfinite(found[first]).all()
    what = f"norm {norms[first]:.4g}" if finite else "numbers that are not finite"
    return f"{what} in row {first} ({len(wrong)} of {len(found)} rows are wrong)"


def _checked_spec(name: str, encoder: Any) -> EncoderSpec:
    """The spec as it will be read back from a manifest, under the name that the user gave."""
    spec = called(f"encoder {name}: spec", lambda: getattr(encoder, "spec", None))
    if not isinstance(spec, EncoderSpec):
        raise EncoderError(
            f"encoder {name}: spec: expected a schemas.encoders.EncoderSpec, got {_kind(spec)}"
        )
    try:
        stored = EncoderSpec.model_validate_json(spec.model_dump_json())
    except ValueError as error:  # pydantic's errors, of writing and of reading
        raise EncoderError(
            f"encoder {name}: spec: expected values that JSON can hold, since they stand in "
            f"manifests; {error}"
        ) from error
    problems = [
        *(_no_hash(key, getattr(stored, key)) for key in ("fingerprint", "weights_sha256")),
        "" if folder_name(stored.slug) == stored.slug else f"slug {stored.slug!r} is no file name",
        "" if stored.dim > 0 else f"dim is {stored.dim}, expected at least 1",
    ]
    if found := "; ".join(filter(None, problems)):
        raise EncoderError(f"encoder {name}: spec: {found}")
    return stored.model_copy(update={"name": name})


def _no_hash(key: str, value: str) -> str:
    if len(value) == _SHA256_DIGITS and set(value) <= _HEX:
        return ""
    return (
        f"{key} is {value[:100]!r}, expected the {_SHA256_DIGITS} digits of a sha256 over all that "
        "embeddings depend on, such as hashlib.sha256(weights + settings).hexdigest()"
    )


def _kind(value: Any) -> str:
    return (
        "None"
        if value is None
        else f"an object of {type(value).__module__}.{type(value).__qualname__}"
    )
