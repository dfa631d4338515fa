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

_FAMILIES: Final = {"open": "#6a3d9a", "find": "#08519c", "lift": "#238b45", "place": "#d94801"}


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
    """Both returns over checkpoints, by encoder and family; mean over its goals and over seeds."""
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
            own = [r.result for r in found if (r.domain, r.name) == (domain.name, size)]
            _curves(axis, own, domain)
            labelled(axis, f"{domain.title}: {size}", "updates (0: random policy)", "mean return")
    told = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        told.update(zip(labels, handles, strict=True))
    figure.legend(
        list(told.values()), list(told), fontsize=8, loc="outside lower center", ncols=len(told),
        frameon=False,
    )  # fmt: skip
    return figure


def _curves(axis: Axes, results: list[Any], domain: Domain) -> None:
    family_of = {goal.id: goal.family for goal in domain.goals.goals}
    families = np.array([family_of[goal] for goal in results[0]["goals"]])
    for family in dict.fromkeys(families.tolist()):
        colour = _FAMILIES[family]
        for key, label, style in (
            ("vlm", f"{family}, by the VLM", {"lw": 5, "alpha": 0.35}),
            ("true", f"{family}, true", {"lw": 1.5, "marker": "o", "ms": 3}),
        ):
            goals = np.array([result[key] for result in results])[:, :, families == family]
            curve = goals.mean(axis=(0, 2))
            axis.plot(results[0]["steps"], curve, color=colour, label=label, **style)
    axis.set_ylim(0, 1.02)


PICTURES: Final[dict[str, Make]] = {"agents": _agents, "returns": _returns}
