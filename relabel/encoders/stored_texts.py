"""An encoder that embeds nothing: it knows the texts whose embeddings a store keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError, StoreError
from schemas.store import Store
from schemas.text_embeddings import Vector, stored_texts
from schemas.texts import brief

_LISTED: Final = 5


@dataclass(frozen=True)
class StoredTexts:
    """Which encoder of a store is meant; `--no-embed`."""

    name: str  # as the encoder was named when frames were embedded, or its name in the store
    precision: str = "auto"  # of the stored embeddings; "auto": there is one

    def open(self, store: Store) -> TextLookup:
        """The texts of that encoder.

        Raises:
            StoreError: the store has no embeddings of such an encoder, or of several.
        """
        # Unfinished ones are refused later, by their names.
        tables = store.embeddings() or store.embeddings(unfinished=True)
        known = {table.encoder.fingerprint: table.encoder for table in tables}
        own = [spec for spec in known.values() if self._is_meant(spec)]
        if not own:
            names = ", ".join(f"{s.name} at {s.precision}" for s in known.values()) or "none"
            raise StoreError(
                f"{store.location}: --no-embed --encoder {self.name}: no embeddings of such an "
                f"encoder are stored; there are {names}"
            )
        if len(own) > 1:
            ways = " and ".join(f"{spec.key} ({spec.precision})" for spec in own)
            raise StoreError(
                f"{store.location}: --no-embed --encoder {self.name} fits {ways}; give one of "
                "these names, or --precision"
            )
        return TextLookup(own[0], stored_texts(store, own[0]), store.location)

    def _is_meant(self, spec: EncoderSpec) -> bool:
        named = self.name in (spec.name, spec.slug, spec.key)
        return named and self.precision in ("auto", spec.precision)


@dataclass(frozen=True)
class TextLookup:
    """A `TextEncoder` of stored embeddings."""

    spec: EncoderSpec
    texts: Mapping[str, Vector]
    location: str  # of the store

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) as they were stored.

        Raises:
            EncoderError: names the texts that are not there.
        """
        missing = [text for text in texts if text not in self.texts]
        if missing:
            shown = ", ".join(f"“{brief(text)}”" for text in missing[:_LISTED])
            more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
            raise EncoderError(
                f"{self.location}: --no-embed: no embedding of {shown}{more} is stored for "
                f"{self.spec.name}; `score` without --no-embed embeds and keeps "
                f"{'it' if len(missing) == 1 else 'them'}"
            )
        return np.stack([self.texts[text] for text in texts])
