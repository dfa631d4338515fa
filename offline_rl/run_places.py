"""Where a run may be written: not among a store's tables, nor between files of something else."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from offline_rl.run_config import CONFIG
from schemas.errors import RunError
from schemas.json_text import parse_json
from schemas.store import STORE_MANIFEST

_BEGUN: Final = ("algorithm.json", "logs")  # of a run that ended before its configuration stood


def check_places(out: Path, cache: Path | None) -> None:
    """Refuses folders in which a run or its cache would lie among other things.

    Args:
        out: run folder; one that holds a run, or what a begun one left, is taken up again.
        cache: folder of memory-mapped frames, which may lie in `out`.

    Raises:
        RunError: one of them is a store or lies in one, or `out` is no folder for a run.
    """
    _check_outside("--out", out)
    if cache is not None:
        _check_outside("--cache", cache)
    try:
        _check_free(out, cache)
    except OSError as error:
        raise RunError(
            f"--out {out}: cannot be read: {error.strerror}; give another one"
        ) from error


def _check_outside(option: str, path: Path) -> None:
    whole = path.resolve()
    store = next((place for place in (whole, *whole.parents) if _is_store(place)), None)
    if store is None:
        return
    what = "is a store" if store == whole else f"lies in the store {store}"
    there = " (a run that is there already can be moved)" if (path / CONFIG).exists() else ""
    raise RunError(
        f"{option} {path}: {what}, which holds tables alone; give a folder outside of it, such as "
        f"runs/{path.name or 'NAME'}{there}"
    )


def _is_store(folder: Path) -> bool:
    """Whether its `manifest.json`, which others have too, is that of a store."""
    try:
        content = parse_json((folder / STORE_MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"source", "slices"} <= content.keys()


def _check_free(out: Path, cache: Path | None) -> None:
    if out.exists() and not out.is_dir():
        raise RunError(f"--out {out}: expected a folder, got a file; give another one")
    if not out.exists() or (out / CONFIG).exists():
        return
    own = {*_BEGUN, *_first_below(out, cache)}
    other = sorted(
        path.name
        for path in out.iterdir()
        if path.name not in own and not path.name.startswith(".")
    )
    if other:
        raise RunError(
            f"--out {out}: expected a new folder or one with a run, got one that holds "
            f"{other[0]!r} and no {CONFIG}; give another folder, or empty this one"
        )


def _first_below(out: Path, cache: Path | None) -> tuple[str, ...]:
    """The name in `out` under which the cache lies, if it does."""
    if cache is None or not cache.resolve().is_relative_to(out.resolve()):
        return ()
    return cache.resolve().relative_to(out.resolve()).parts[:1]
