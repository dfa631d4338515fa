"""Loads open_clip encoders by name, and torch with them: only when one is needed."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from relabel.encoders.protocol import EncoderLoader, StagedEncoder
from relabel.encoders.weights import LOCAL_DIR
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError

if TYPE_CHECKING:
    from relabel.encoders.open_clip import OpenClipEncoder


@dataclass(frozen=True)
class OpenClipLoader(EncoderLoader):
    """Loads `NAME:PRETRAINED_TAG`, `NAME:/path/to/checkpoint` or `local-dir:/path`."""

    @classmethod
    def takes(cls, name: str) -> bool:
        """Every name; what open_clip does not know is refused with what it does know."""
        return True

    def __call__(self) -> OpenClipEncoder:
        """The encoder; see `relabel.encoders.open_clip.load_encoder`."""
        return self._load(self.precision)

    def for_texts(self, stored: Collection[EncoderSpec]) -> OpenClipEncoder:
        """As the protocol says; embeds no frame, so that a given precision need not be had here.

        With `auto` it is the one of the stored embeddings, whatever this machine would choose.
        """
        if self.precision != "auto":
            return self._load("float32").for_texts(self.precision)
        encoder = self._load("auto")
        fingerprints = {spec.fingerprint for spec in stored}
        found = [p for p, spec in encoder.specs.items() if spec.fingerprint in fingerprints]
        if len(found) > 1:
            raise EncoderError(
                f"encoder {self.name}: the store has embeddings of it at {' and at '.join(found)}; "
                "say which with --precision"
            )
        return encoder.for_texts(found[0]) if found else encoder

    def as_stored(self, spec: EncoderSpec) -> OpenClipEncoder:
        """See `relabel.encoders.open_clip.load_stored`."""
        _spare_the_decoders()
        from relabel.encoders.open_clip import load_stored

        return load_stored(self.name, spec, device=self.device)

    def as_loaded(self, encoder: StagedEncoder) -> Self:
        """As the protocol says."""
        return replace(self.on_device_of(encoder), precision=encoder.spec.precision)

    @property
    def path(self) -> str | None:
        """As the protocol says."""
        kind, _, rest = self.name.partition(":")
        named = f"{kind}:" == LOCAL_DIR or "/" in rest or Path(rest).expanduser().is_file()
        return rest if rest and named else None

    def absolute(self) -> Self:
        """As the protocol says."""
        if self.path is None:
            return self
        place = Path(self.path).expanduser().absolute()
        return replace(self, name=f"{self.name.partition(':')[0]}:{place}")

    def without_device(self) -> Self:
        """As the protocol says, in the precision that the device would compute in."""
        if self.precision != "auto":
            return super().without_device()
        from relabel.encoders.device import choose_precision, named_device

        chosen, _ = choose_precision(named_device(self.device))
        return replace(self, device="cpu", precision=chosen)

    def _load(self, precision: str) -> OpenClipEncoder:
        _spare_the_decoders()
        from relabel.encoders.open_clip import load_encoder

        return load_encoder(
            self.name,
            device=self.device,
            precision=precision,
            preprocess=self.preprocess,
            truncate_texts=self.truncate_texts,
        )


def _spare_the_decoders() -> None:
    """Threads of the forward pass that spin while they wait would take the decoders' cores.

    OpenMP reads this once, when torch is loaded.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def architectures() -> tuple[str, ...]:
    """What `open_clip.list_models()` lists, without importing open_clip; () if there is none."""
    loaded = sys.modules.get("open_clip")
    # A program may have added its own to one that is loaded.
    return _shipped() if loaded is None else tuple(loaded.list_models())


@functools.cache
def _shipped() -> tuple[str, ...]:
    found = importlib.util.find_spec("open_clip")
    if found is None or found.origin is None:
        return ()
    configurations = Path(found.origin).parent.glob("model_configs/*.json")
    return tuple(sorted(path.stem for path in configurations))
