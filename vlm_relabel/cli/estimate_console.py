"""What a job will take, for people: shown by `plan` and by a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from vlm_relabel.cli import console

if TYPE_CHECKING:
    from relabel.jobs.estimates import Estimate


def show_estimate(found: Estimate) -> None:
    """Shows an estimate, with what was measured for it and what is assumed."""
    out = console.OUT
    out.print(f"[bold]{escape(found.source)}[/]")
    counted = console.counted
    out.print(
        f"  {counted(found.slices, 'slice')}, {counted(found.episodes, 'episode')}, "
        f"about {found.frames:,} frames, {found.read_bytes / 1e6:,.1f} MB to read and about "
        f"{found.store_bytes / 1e6:,.1f} MB to write"
    )
    out.print(
        f"  measured: {counted(found.sample_slices, 'slice')} of {found.sample_frames:,} "
        f"frames in {found.sample_s:.1f} s with {counted(found.threads, 'thread')}, after "
        f"{found.load_s:.1f} s of loading; done in a temporary folder"
    )
    priced = any(engine.cost is not None for engine in found.engines)
    columns = ("engine", "workers", "starts after, s", "hours", *(("cost",) if priced else ()))
    table = console.table_of(columns, left=("engine",))
    for engine in found.engines:
        cost = () if engine.cost is None else (f"{engine.cost:,.2f}",)
        start = f"{engine.start_s:,.0f}"
        table.add_row(engine.engine, str(engine.workers), start, f"{engine.hours:,.2f}", *cost)
    out.print(table)
    for note in found.notes:
        out.print(f"  [yellow]note[/]: {escape(note)}")
    out.print("assumed: every worker is as fast as this machine; other figures follow the sample")
