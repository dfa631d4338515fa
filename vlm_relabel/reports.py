"""`report`: a folder of static pages that show what is in a store, and whether it is right."""

from __future__ import annotations

import json
import os
import shutil
import time
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from schemas.errors import MissingExtraError, RelabelError, SourceError, StoreError
from schemas.extras import named_extras
from schemas.labels import Labels
from schemas.locations import local_path
from schemas.store import Store
from vlm_relabel.keywords import STRICT, Count, Location, Show, Words, several, silent, takes

if TYPE_CHECKING:
    from vlm_relabel.pages.gathering import Gathered, Told
    from vlm_relabel.pages.measures import SetMeasure
    from vlm_relabel.pages.site import Site
    from vlm_relabel.pictures import Pictures

MARK: Final = "report.json"  # that a folder is a report, and may be replaced by another
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportArguments:
    """Of `report`."""

    store: Location
    out: Location  # folder; an earlier report there is replaced
    rewards: Words = None  # names of reward sets; None: all that have scores
    labels: Location | Labels | None = None  # label table
    labels_field: str | None = None  # column of the steps table with the truth of every goal
    where: str | None = None  # column of flags: with labels_field, only these frames count
    source: Location | None = None  # where frames are read from; None: where the store was made
    camera: Words = None  # to show; None: those that were embedded
    no_frames: bool = False
    episodes: Count = 100
    goals: Count = 100
    examples: Count = 8
    frame_size: Annotated[int, Field(ge=16, le=1024)] = 160
    frames_per_episode: Count = 48
    max_mb: Annotated[float, Field(gt=0)] = 100.0
    no_plots: bool = False
    rerun: Location | None = None
    trust: bool = False  # of stored files, compare the sizes only
    show: Show = silent  # called now and then


class PageReport(BaseModel):
    """What was written."""

    model_config = ConfigDict(frozen=True)

    store: str
    out: str
    page: str  # to open in a browser
    reward_sets: tuple[str, ...]
    goals: int
    episodes: int  # shown
    frames: str | None  # where frames come from; None: there are none
    precision: dict[str, float | None]  # mean average precision by reward set
    notes: tuple[str, ...]  # what is left out or not known
    megabytes: float
    plots: int
    rerun: str | None
    elapsed_s: float


@takes(ReportArguments)
@named_extras("report")
def report(arguments: ReportArguments) -> PageReport:
    """Writes a folder of static pages about a store, which open from disk.

    Takes the options of `vlm-relabel report`.

    Returns:
        Where it is, and what it shows.

    Raises:
        RelabelError: anything the user can mend.

    Example:
        >>> import vlm_relabel
        >>> found = vlm_relabel.report(store="my.store", out="my.report", no_plots=True)
        >>> found.reward_sets
        ('v1',)
    """
    from vlm_relabel.pages.gathering import gather
    from vlm_relabel.pages.site import PAGE, Site, Sizes

    began = time.monotonic()
    out = local_path("--out", os.fspath(arguments.out))
    _check_out(out)
    store = Store.open(os.fspath(arguments.store), trust=arguments.trust)
    truth = _truth(arguments)
    pictures, notes = _pictures(arguments, store)
    gathered = gather(
        store,
        several(arguments.rewards),
        truth,
        goals=arguments.goals,
        episodes=arguments.episodes,
        examples=arguments.examples,
        tell=arguments.show,
    )
    gathered.notes.extend(notes)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        size = arguments.max_mb * _MEGABYTE
        sizes = Sizes(arguments.frame_size, arguments.frames_per_episode, size)
        site = Site(gathered, partial, sizes, pictures, arguments.show)
        content = site.write()
        plots = _plots(arguments, gathered, partial)
        recording = _recording(arguments, site)
        done = PageReport(
            store=store.location,
            out=str(out),
            page=str(out / PAGE),
            reward_sets=tuple(s.name for s in gathered.sets),
            goals=len(content["goals"]),
            episodes=len(content["episodes"]),
            frames=content["pictures"],
            precision={s.name: _mean(s.measured) for s in gathered.sets},
            notes=(*content["warnings"], *_of_truth(gathered), *content["notes"]),
            megabytes=round(_bytes(partial) / _MEGABYTE, 2),
            plots=plots,
            rerun=recording,
            elapsed_s=round(time.monotonic() - began, 2),
        )
        (partial / MARK).write_text(json.dumps(done.model_dump(mode="json"), indent=1))
        _replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return done


def _check_out(out: Path) -> None:
    """Refuses a folder that holds anything but an earlier report."""
    if not out.exists() or (out / MARK).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise RelabelError(
            f"--out {out}: there is something else than an earlier report; give a new folder, or "
            "empty this one"
        )


def _replace(partial: Path, out: Path) -> None:
    """Puts a whole report in the place of an earlier one."""
    earlier = partial.with_suffix(".earlier")
    if out.exists():
        out.rename(earlier)
    partial.rename(out)
    shutil.rmtree(earlier, ignore_errors=True)


def _truth(arguments: ReportArguments) -> Told:
    from relabel.evaluation.truth import given_labels
    from vlm_relabel.pages.gathering import Told

    field, where = arguments.labels_field, arguments.where
    return Told(given_labels(arguments.labels, field, where), field, where)


def _pictures(arguments: ReportArguments, store: Store) -> tuple[Pictures | None, list[str]]:
    """What gives frames; where there are none, why."""
    source = None if arguments.source is None else os.fspath(arguments.source)
    if arguments.no_frames:
        if source is not None or arguments.camera is not None:
            option = "--source" if arguments.camera is None else "--camera"
            raise RelabelError(
                f"{option} and --no-frames exclude each other: no frame is shown; give one of them"
            )
        return None, ["Frames are not shown (--no-frames)."]
    try:
        with named_extras("frames of a source"):
            from vlm_relabel.pictures import open_pictures

            return open_pictures(store, several(arguments.camera), source), []
    except (SourceError, StoreError, MissingExtraError) as error:
        if source is not None or arguments.camera is not None:
            raise
        return None, [f"Frames are not shown: {error}"]


def _plots(arguments: ReportArguments, gathered: Gathered, folder: Path) -> int:
    """Writes plots if they are wanted; the number of files."""
    if arguments.no_plots:
        return 0
    from vlm_relabel.pages.plots import write_plots

    return write_plots(gathered, folder / "plots", lambda d, n: arguments.show("plots", d, n))


def _recording(arguments: ReportArguments, site: Site) -> str | None:
    """Writes a recording if it is wanted; where it is."""
    if arguments.rerun is None:
        return None
    from vlm_relabel.pages.recording import write_recording

    path = local_path("--rerun", os.fspath(arguments.rerun))
    path.parent.mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int) -> None:
        arguments.show("episodes of the recording", done, total)

    write_recording(path, site.gathered, site.episodes, site.shelf, tell)
    return str(path)


def _of_truth(gathered: Gathered) -> list[str]:
    """What was set aside of what is known to be true, of each set."""
    measured = ((one.name, one.measured) for one in gathered.sets)
    return [f"{name}: {note}" for name, own in measured if own is not None for note in own.notes]


def _mean(measured: SetMeasure | None) -> float | None:
    return None if measured is None or isnan(measured.precision) else measured.precision


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
