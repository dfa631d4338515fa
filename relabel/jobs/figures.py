"""What the slices of a table tell of it, added up once, so that no report asks each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Final, Protocol

from relabel.slices.short_episodes import ShortEpisodes, slice_short_episodes
from relabel.source.oddities import Oddities, slice_oddities
from schemas.commits import at_once
from schemas.errors import StoreError
from schemas.manifests import AnyTableManifest, EmbeddingManifest, RewardManifest
from schemas.reward_counts import RewardCounts, slice_counts
from schemas.slices import Slice, TableFile
from schemas.store import MANIFEST, Store


class _Figures(Protocol):
    def merge(self, other: Any) -> None:
        """Adds those of other slices."""
        ...


# Libraries that the readers of some figures need, by kind of table.
_NEEDED: Final = {"embeddings": "PIL"}

_Parts = tuple[
    Callable[[], _Figures],  # of nothing
    Callable[[str], _Figures | None],  # of what the writer of a slice told; None: not enough
    Callable[[Slice], _Figures],  # of a committed slice
]


def with_figures(store: Store, manifest: AnyTableManifest) -> AnyTableManifest:
    """The manifest of a table with the figures of all its slices; without, if it has none.

    Args:
        store: holds its slices.
        manifest: lists them, with what their writers told of them.
    """
    parts = _parts(store, manifest)
    if parts is None:
        return manifest
    nothing, parse, read = parts
    own = {file.file: file for file in manifest.slice_files}
    pieces = [piece for piece in store.slices if piece.file in own]
    total = nothing()
    for figures in _in_order(store, pieces, own, parse, read):
        total.merge(figures)
    return manifest.model_copy(update={"figures": _content(total)})


def figure_problems(store: Store, manifest: AnyTableManifest) -> Iterator[str]:
    """Where the figures in the manifest of a complete table are not those of its slices.

    What the figures of embeddings mean is known to readers of images: these are compared where the
    extra `embed` is installed.
    """
    needed = _NEEDED.get(manifest.kind)
    if manifest.figures is None or (needed is not None and find_spec(needed) is None):
        return
    try:
        found = with_figures(store, manifest).figures or {}
    except StoreError as error:
        yield str(error)
        return
    known = sorted(found.keys() & manifest.figures.keys())  # another version may have others
    if wrong := [name for name in known if not _is_same(found[name], manifest.figures[name])]:
        yield (
            f"the figures in its manifest ({', '.join(wrong)}) are not those of its slices; delete "
            f"{manifest.table}/{MANIFEST} and run the command that made the table, which then adds "
            "them up again and makes no slice anew"
        )


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)  # a sum depends on its order
    return bool(one == other)


def _in_order(
    store: Store,
    pieces: Sequence[Slice],
    files: dict[str, TableFile],
    parse: Callable[[str], _Figures | None],
    read: Callable[[Slice], _Figures],
) -> Iterator[_Figures]:
    told = [files[piece.file].figures for piece in pieces]
    known = [None if text is None else parse(text) for text in told]
    silent = [piece for piece, figures in zip(pieces, known, strict=True) if figures is None]
    asked = at_once(store.folder, read, silent)
    for figures in known:
        yield next(asked) if figures is None else figures


def _content(total: _Figures) -> dict[str, Any]:
    if isinstance(total, RewardCounts):
        return total.content()
    found: dict[str, Any] = total.model_dump(mode="json")  # type: ignore[attr-defined]
    return found


def _parts(store: Store, manifest: AnyTableManifest) -> _Parts | None:
    if isinstance(manifest, RewardManifest):
        return _reward_parts(store, manifest)
    if isinstance(manifest, EmbeddingManifest):
        return _embedding_parts(store, manifest)
    maker = {"steps": _steps_parts, "episodes": _episode_parts}.get(manifest.kind)
    return None if maker is None else maker(store)


def _reward_parts(store: Store, manifest: RewardManifest) -> _Parts:
    return (
        lambda: RewardCounts.none(manifest.goals, dense=not manifest.binary),
        lambda text: RewardCounts.of_text(manifest, text),
        lambda piece: slice_counts(store, manifest, piece),
    )


def _episode_parts(store: Store) -> _Parts:
    return (
        ShortEpisodes,
        ShortEpisodes.model_validate_json,
        lambda piece: slice_short_episodes(store, piece),
    )


def _steps_parts(store: Store) -> _Parts:
    return Oddities, Oddities.model_validate_json, lambda piece: slice_oddities(store, piece)


def _embedding_parts(store: Store, manifest: EmbeddingManifest) -> _Parts:
    from relabel.frames.blank_cameras import Blanks, slice_blanks  # Pillow

    def read(piece: Slice) -> Blanks:
        return slice_blanks(store, manifest, piece)

    return Blanks, Blanks.model_validate_json, read
