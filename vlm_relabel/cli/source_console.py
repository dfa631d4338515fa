"""What `inspect` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from rich.markup import escape

from vlm_relabel.cli.console import ERR, OUT, counted, print_json, show_next

if TYPE_CHECKING:
    from relabel.inspection.content import CameraReport, LengthReport, MetadataReport, RangeReport
    from relabel.inspection.inspection import SourceReport
    from relabel.source.notes import LanguageReport

_SHOWN: Final = 5  # records that cannot be read
_MOST_RANGES: Final = 8  # values of an action whose ranges are shown one by one


def show_source(report: SourceReport, as_json: bool) -> None:
    """Outcome of `inspect`."""
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if report.error is not None:
        ERR.print(f"[bold red]error[/]: {escape(report.error)}")
    elif not as_json:
        show_next([] if report.next_command is None else [report.next_command])


def _show(report: SourceReport) -> None:
    OUT.print(f"[bold]{escape(report.name)} {report.version}[/]  {report.file_format}")
    for split in report.splits:
        OUT.print(
            f"  split {escape(split.name)}: {counted(split.episodes, 'episode')} in "
            f"{counted(split.shards, 'shard')}, {split.bytes / 1e6:.1f} MB, "
            f"{counted(split.slices, 'slice')}"
        )
    _show_sample(report)
    _show_list("cameras", map(_camera, report.frames), "none")
    _show_list("no cameras", [f"{name} ({why})" for name, why in report.no_cameras.items()])
    _show_each("actions", map(_range, report.actions), "none")
    _show_list("other columns", map(_spec, report.columns))
    _show_list("metadata", map(_metadata, report.metadata))
    _show_each("language", map(_language, report.language), "none")
    _show_list("left out", [f"{name}: {why}" for name, why in report.left_out.items()])
    OUT.print(f"  last step: [bold]{report.last_step}[/], because {report.last_step_reason}")
    for note in report.notes:
        OUT.print(f"  [yellow]note[/]: {escape(note)}")
    for advice in report.advice:
        OUT.print(f"  [yellow]{escape(advice)}[/]")


def _show_sample(report: SourceReport) -> None:
    """How much was looked at, how long it is, and what could not be read."""
    split = report.sampled_split
    whole = report.sampled in {own.episodes for own in report.splits if own.name == split}
    which = "all" if whole else "the first"
    of = f"of {which} {report.sampled} episodes of split {split}, as all below"
    if report.lengths is not None:
        OUT.print(f"  lengths: {_lengths(report.lengths)}, {escape(of)}")
    lost = _grouped(report.unreadable)
    if len(lost) > 1:  # a note tells of the first
        OUT.print(f"  [red]cannot be read[/]: {len(report.unreadable)} {escape(of)}")
        for line in lost[:_SHOWN]:
            OUT.print(f"    {escape(line)}")


def _grouped(unreadable: Iterable[str]) -> list[str]:
    """One line per reason, with the first episode that it is of."""
    first: dict[str, str] = {}
    count: Counter[str] = Counter()
    for text in unreadable:
        episode, _, reason = text.partition(": ")
        first.setdefault(reason, episode)
        count[reason] += 1
    others = {reason: f" and {n - 1} more" if n > 1 else "" for reason, n in count.items()}
    return [f"{episode}{others[reason]}: {reason}" for reason, episode in first.items()]


def _lengths(lengths: LengthReport) -> str:
    if lengths.min == lengths.max:
        return "1 step each" if lengths.max == 1 else f"{lengths.max} steps each"
    return f"{lengths.min} to {lengths.max} steps, median {lengths.median:g}"


def _show_list(title: str, items: Iterable[str], nothing: str = "") -> None:
    text = ", ".join(items) or nothing
    if text:
        OUT.print(f"  {title}: {escape(text)}")


def _show_each(title: str, items: Iterable[str], nothing: str) -> None:
    """One line per item, since each holds commas."""
    lines = list(items)
    OUT.print(f"  {title}:" + ("" if lines else f" {nothing}"))
    for line in lines:
        OUT.print(f"    {escape(line)}")


def _camera(camera: CameraReport) -> str:
    sizes = " or ".join(f"{height}×{width}" for height, width in camera.sizes[:3])
    more = " or others" if len(camera.sizes) > 3 else ""
    unknown = "not decodable" if camera.problem else str(camera.form)
    return f"{camera.name} {sizes or unknown}{more}"


def _range(column: RangeReport) -> str:
    if column.low is None or column.high is None:
        return _spec(column)
    told = f"{_spec(column)} from {column.low:.4g} to {column.high:.4g}"
    if column.distinct is not None:
        return f"{told}, {column.distinct} different"
    if not 1 < len(column.lows) <= _MOST_RANGES:
        return told
    own = zip(column.lows, column.highs, strict=True)
    return f"{told} (by value: {'; '.join(f'{low:.3g} to {high:.3g}' for low, high in own)})"


def _metadata(value: MetadataReport) -> str:
    such = f" such as {value.examples[0]}" if value.examples else ""
    return f"{_spec(value)}{such}"


def _language(text: LanguageReport) -> str:
    """One text of a source in a line."""
    lost = f", {text.unreadable} not UTF-8" if text.unreadable else ""
    such = ", ".join(f"“{example}”" for example in text.examples)
    empty = f"{text.empty} of {text.values} sampled {text.per}s empty{lost}"
    return f"{text.name}: {text.form} per {text.per}, {empty}" + (
        f"; such as {such}" if such else ""
    )


def _spec(spec: Any) -> str:
    shape = "×".join("?" if n is None else str(n) for n in spec.shape)
    return f"{spec.name} {spec.dtype if spec.kind == 'tensor' else spec.kind}" + (
        f"[{shape}]" if shape else ""
    )
