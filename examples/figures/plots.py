"""Pictures of the records: figures 4 and 5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.figures import encoders, prompts
from examples.figures.domains import DOMAINS, LONG, Domain
from examples.figures.measures import estimate
from examples.figures.runs import Record, Records
from examples.playroom.recipe import Estimate

_WIDTH: Final = 2.9  # inches of an axis
_DPI: Final = 110
COLOURS: Final = ("#9ecae1", "#4292c6", "#08519c", "#08204b", "#b2182b", "#ef8a62")

Make = Callable[[Records], Figure | None]  # None: nothing to draw yet


def by_name(records: Records, kind: str, domain: str) -> dict[str, list[Record]]:
    """Records of a kind and a domain by name, each with its seeds in order."""
    found: dict[str, list[Record]] = {}
    for record in records.of_kind(kind):
        if record.domain == domain:
            found.setdefault(record.name, []).append(record)
    return found


def of_sizes(records: Records, domain: Domain, kind: str = encoders.KIND) -> dict[str, list[Any]]:
    """Size → results by seed, smallest size first; only sizes that have been run."""
    found = by_name(records, kind, domain.name)
    return {size: [r.result for r in found[size]] for size in domain.sizes if size in found}


def draw(records: Records, folder: Path, pictures: Mapping[str, Make]) -> dict[str, Path]:
    """Draws what there are records of, as PNG.

    Args:
        records: of what was run.
        folder: of the pictures.
        pictures: by name, such as `PICTURES`.

    Returns:
        Name of the picture → its path; a picture without records is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, make in pictures.items():
        figure = make(records)
        if figure is not None:
            found[name] = folder / f"results-{name}.png"
            figure.savefig(found[name], dpi=_DPI, metadata={"Software": None})
            plt.close(figure)
    return found


def axes_of(
    rows: int, columns: int, height: float = 2.6, width: float = _WIDTH
) -> tuple[Figure, Any]:
    """A figure of axes, which come as an array of rows and columns."""
    return plt.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained",
        squeeze=False,
    )  # fmt: skip


def _panels(records: Records) -> list[tuple[Domain, str]]:
    return [
        (domain, part)
        for domain in DOMAINS.values()
        if of_sizes(records, domain)
        for part in domain.parts
    ]


# --- figure 4 -------------------------------------------------------------------------------------


def _curves(records: Records) -> Figure | None:
    """Precision by recall, for each size, in every part of every domain."""
    panels = _panels(records)
    if not panels:
        return None
    figure, axes = axes_of(1, len(panels))
    for axis, (domain, part) in zip(axes[0], panels, strict=True):
        for (size, results), colour in zip(of_sizes(records, domain).items(), COLOURS):  # noqa: B905
            curves = np.array([result["parts"][part]["curve"] for result in results])
            recall = np.linspace(0, 1, curves.shape[1])
            axis.plot(recall, curves.mean(axis=0), color=colour, label=size)
            axis.fill_between(
                recall, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.2, lw=0
            )
        base = next(iter(of_sizes(records, domain).values()))[0]["parts"][part]["base_rate"]
        axis.axhline(base, color="grey", lw=0.8, ls=":")
        labelled(axis, f"{domain.title}\n{domain.parts[part].title}", "recall", "precision")
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=8, loc="outside lower center", ncols=len(labels), frameon=False
    )
    return figure


def _sizes(records: Records) -> Figure | None:
    """Average precision by number of parameters."""
    domains = [domain for domain in DOMAINS.values() if of_sizes(records, domain)]
    if not domains:
        return None
    figure, axes = axes_of(1, len(domains), height=4.0, width=3.8)
    for axis, domain in zip(axes[0], domains, strict=True):
        sizes = of_sizes(records, domain)
        counts = [results[0]["parameters"] for results in sizes.values()]
        for place, (part, told) in enumerate(domain.parts.items()):
            own = [estimate([r["parts"][part] for r in results]) for results in sizes.values()]
            _line(axis, counts, own, COLOURS[(place + 1) % len(COLOURS)], told.title)
        longer = of_sizes(records, domain, LONG)
        if longer:
            part = next(iter(domain.parts))
            own = [estimate([r["parts"][part] for r in results]) for results in longer.values()]
            many = [results[0]["parameters"] for results in longer.values()]
            _line(axis, many, own, "#999999", f"the same, {domain.longer.steps} steps")  # type: ignore[union-attr]
        axis.set_xscale("log")
        axis.set_xticks(
            counts,
            [f"{count / 1000:.0f} k\n{size}" for count, size in zip(counts, sizes, strict=True)],
        )
        axis.minorticks_off()
        axis.set_ylim(0, 1.02)
        labelled(axis, domain.title, "parameters of the encoder", "average precision")
        axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.28), frameon=False)
    return figure


def _line(axis: Axes, x: list[int], own: list[Estimate], colour: str, label: str) -> None:
    values = np.array([e.value for e in own])
    errors = np.array([[e.value - e.low for e in own], [e.high - e.value for e in own]])
    axis.errorbar(
        x, values, errors.clip(0), color=colour, marker="o", ms=4, lw=1.2, capsize=3, label=label
    )


def labelled(axis: Axes, title: str, x: str, y: str) -> None:
    """In small letters."""
    axis.set_title(title, fontsize=8)
    axis.set_xlabel(x, fontsize=8)
    axis.set_ylabel(y, fontsize=8)
    axis.tick_params(labelsize=7)


# --- figure 5 -------------------------------------------------------------------------------------


def _prompts(records: Records) -> Figure | None:
    """Average precision of every wording in every template, by what the captions had."""
    panels = [
        (domain, name, grid_of(found))
        for domain in DOMAINS.values()
        for name, found in by_name(records, prompts.KIND, domain.name).items()
    ]
    if not panels:
        return None
    rows = [domain for domain in DOMAINS.values() if any(own is domain for own, _, _ in panels)]
    columns = max(sum(own is domain for own, _, _ in panels) for domain in rows)
    figure, axes = axes_of(len(rows), columns, height=2.8)
    for axis in axes.flat:
        axis.set_visible(False)
    for row, domain in zip(axes, rows, strict=True):
        own = [(name, grid) for owner, name, grid in panels if owner is domain]
        for axis, (name, grid) in zip(row, own):  # noqa: B905
            axis.set_visible(True)
            _bars(axis, grid, f"{domain.title}: {name.replace('-', ' ')}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=7, loc="outside lower center", ncols=len(labels),
        title="wording of the goals", title_fontsize=7, frameon=False,
    )  # fmt: skip
    return figure


def grid_of(found: list[Record]) -> dict[str, dict[str, Estimate]]:
    """Wording → template → average precision over seeds."""
    grid: dict[str, dict[str, Estimate]] = {}
    for key in found[0].result["grid"]:
        wording, template = key.split(", ", 1)
        own = estimate([record.result["grid"][key] for record in found])
        grid.setdefault(wording, {})[template] = own
    return grid


def _bars(axis: Axes, grid: Mapping[str, Mapping[str, Estimate]], title: str) -> None:
    width = 0.8 / len(grid)
    for place, (wording, templates) in enumerate(grid.items()):
        own = list(templates.values())
        at = np.arange(len(own)) + (place - (len(grid) - 1) / 2) * width
        errors = np.array([[e.value - e.low for e in own], [e.high - e.value for e in own]])
        axis.bar(
            at, [e.value for e in own], width, yerr=errors.clip(0), color=COLOURS[place],
            error_kw={"lw": 0.8}, label=wording,
        )  # fmt: skip
    axis.set_xticks(np.arange(len(own)), list(templates))
    axis.set_ylim(0, 1.02)
    labelled(axis, title, "template", "average precision")


PICTURES: Final[Mapping[str, Make]] = {
    "curves": _curves,
    "sizes": _sizes,
    "prompts": _prompts,
}
