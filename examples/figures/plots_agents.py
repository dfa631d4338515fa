"""Pictures of agents: figures 3 and 4 (part two)."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.figures import agents, returns
from examples.figures.domains import DOMAINS, Domain
from examples.figures.plots import COLOURS, Make, axes_of, by_name, labelled
from examples.figures.runs import Record, Records
from examples.playroom.recipe import Bootstrap, mean_of


def _agents(records: Records) -> Figure | None:
    """Mean success of every agent, with its interval and its seeds."""
    found = {d: by_name(records, agents.KIND, d.name) for d in DOMAINS.values()}
    found = {domain: own for domain, own in found.items() if own}
    if not found:
        return None
    figure, axes = axes_of(1, len(found), height=3.2, width=4.6)
    for axis, (domain, own) in zip(axes[0], found.items(), strict=True):
        _bars(axis, domain, own)
    return figure


def _bars(axis: Axes, domain: Domain, found: dict[str, list[Record]]) -> None:
    played = agents.played([r for own in found.values() for r in own], domain.name)
    labelled(axis, f"{domain.title}: agents by their rewards", "", "success in truth")
    axis.set_xticks([])
    axis.set_ylim(0, 1.02)
    if not played:
        return
    bootstrap = Bootstrap(played)
    order = [*domain.sizes, *(name for name in played if name not in domain.sizes)]
    for place, name in enumerate(own for own in order if own in played):
        told = bootstrap(mean_of(name))
        seeds = np.mean([rows.mean(axis=1) for rows in played[name].values()], axis=0)
        colour = COLOURS[1] if name in domain.sizes else "#bbbbbb"
        errors = np.array([[told.value - told.low], [told.high - told.value]]).clip(0)
        axis.bar(place, told.value, 0.7, yerr=errors, color=colour, error_kw={"lw": 1})
        axis.plot([place] * len(seeds), seeds, "k.", ms=3)
        axis.text(place, -0.03, name, rotation=40, ha="right", va="top", fontsize=7)


def _returns(records: Records) -> Figure | None:
    """Both returns over checkpoints, mean over goals and seeds, by encoder."""
    found = [r for r in records.of_kind(returns.KIND) if r.result["steps"]]
    panels = list(dict.fromkeys((r.domain, r.name) for r in found))
    if not panels:
        return None
    domains = [d for d in DOMAINS.values() if any(name == d.name for name, _ in panels)]
    columns = max(sum(name == d.name for name, _ in panels) for d in domains)
    figure, axes = axes_of(len(domains), columns)
    for axis in axes.flat:
        axis.set_visible(False)
    for row, domain in zip(axes, domains, strict=True):
        sizes = [size for size in domain.sizes if (domain.name, size) in panels]
        for axis, size in zip(row, sizes):  # noqa: B905
            axis.set_visible(True)
            _curves(axis, [r.result for r in found if (r.domain, r.name) == (domain.name, size)])
            labelled(axis, f"{domain.title}: {size}", "updates (0: random policy)", "mean return")
    handles, labels = next(a for a in axes.flat if a.get_visible()).get_legend_handles_labels()
    figure.legend(
        handles, labels, fontsize=8, loc="outside lower center", ncols=len(labels), frameon=False
    )
    return figure


def _curves(axis: Axes, results: list[Any]) -> None:
    for key, label, colour, width in (
        ("vlm", "VLM", "#ef8a62", 4),
        ("true", "true", "#08519c", 1.5),
    ):
        curves = np.array([np.mean(result[key], axis=1) for result in results])
        axis.plot(results[0]["steps"], curves.T, color=colour, lw=0.6, alpha=0.6)
        mean = curves.mean(axis=0)
        axis.plot(results[0]["steps"], mean, color=colour, marker="o", ms=3, lw=width, label=label)
    axis.set_ylim(0, 1.02)


PICTURES: Final[dict[str, Make]] = {"agents": _agents, "returns": _returns}
