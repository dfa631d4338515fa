"""Writes the page of results from the records, with its pictures; trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from examples.figures import encoders, page_agents, page_encoders, plots, plots_agents, prompts
from examples.figures.domains import DOMAINS, Domain
from examples.figures.runs import Records, say
from examples.figures.work import Work
from examples.figures.writing import item, prose, table

_INTRODUCTION = (
    "Baumli et al. 2023 (arXiv 2312.09187) show with reinforcement learning in two domains that "
    "the return by a vision-language model tracks the true return (their Figure 3), that larger "
    "models give better rewards and better agents (Figure 4), and that the wording of goals "
    "matters (Figure 5). This page repeats the three offline, in two worlds in which the truth of "
    "every goal is known: a [phone](../examples/phone/README.md), for their AndroidEnv, and the "
    "[hard playroom](../examples/playroom/README.md#the-hard-playroom), for their Playhouse.",
    "Encoders are trained from scratch on captions of the same simulators, in minutes: they are "
    "small, and know nothing else. So this page shows what the pipeline does with rewards of "
    "several qualities. It does not show how good a CLIP from a hub is in any world.",
    "The page is written from records, one small JSON for each run, with its command, seed, "
    "settings, machine, versions and seconds, in [docs/results](results). `make figures` does what "
    "has no record yet, which takes hours, and writes the page anew; interrupted, it goes on where "
    "it was. `make figures-quick` does all of it in minutes with encoders that have learned next "
    "to nothing, in a folder of its own.",
)

_FAR = 0.1  # of an average precision from the mean over seeds
_LIMITS = (
    "Two simulators, both of this project, and encoders that learned from the same simulators: "
    "rooms, phones and combinations are held out, the renderer is not.",
    "Few seeds: an interval over three or five is a rough one, and too narrow rather than too "
    "wide: three seeds of the same sign nearly always exclude 0. Where there is one seed, it "
    "covers episodes alone.",
    "Learning rates were chosen for the middle size and are the same for all; a rate for each "
    "size was not sought, for any of them.",
    "The number of steps on the phone was chosen after seeing what more of them leave of the "
    "difference (above).",
    "Drawing actions, and “strict” and “f1”, were tried when results of the best actions and of a "
    "threshold of 0.5 in some of these rooms were known.",
)


def run(work: Work) -> Path:
    """Draws the pictures and writes `results.md` beside the folder of records."""
    folder = work.records.folder.parent
    asked = {**plots.PICTURES, **plots_agents.PICTURES}
    pictures = plots.draw(work.records, folder / "images", asked)
    page = folder / "results.md"
    page.write_text(text(work.records, pictures), encoding="utf-8")
    say(f"wrote {page}")
    return page


def text(records: Records, pictures: Mapping[str, Path]) -> str:
    """The page."""
    sections = (
        _protocol(records),
        page_encoders.controls(records),
        page_encoders.figure_4(records, pictures),
        page_agents.figure_4(records, pictures),
        page_encoders.figure_5(records, pictures),
        page_agents.figure_3(records, pictures),
        _times(records),
    )
    head = ["# Results: the paper's figures in two simulated worlds\n", *map(prose, _INTRODUCTION)]
    pieces = [*head, *(piece for section in sections for piece in section if piece)]
    failed = [*page_encoders.failed(records), *page_agents.failed(records)]
    if failed:
        pieces += ["## What failed, or is less than hoped for\n", *map(item, failed)]
    limits = [*_LIMITS, *_one_encoder(records), *_not_run(records), *_how_large(records)]
    return "\n".join([*pieces, "## Limits\n", *(item(limit) for limit in limits)])


def _not_run(records: Records) -> Iterator[str]:
    if not prompts.foreign(records):
        yield "Nothing on this page was run with a model of a hub."


def _one_encoder(records: Records) -> Iterator[str]:
    told = []
    for domain in DOMAINS.values():
        part = next(iter(domain.parts))
        for size, own in plots.of_sizes(records, domain).items():
            found = [result["parts"][part]["average_precision"] for result in own]
            if abs(found[0] - np.mean(found)) > _FAR:
                told.append(f"{domain.title.lower()}, {size}: {found[0]:.2f}, {np.mean(found):.2f}")
    far = f" Average precision of seed 0, mean of all: {'; '.join(told)}." if told else ""
    yield (
        "Agents learn from one encoder of each size, that of seed 0: their intervals do not tell "
        f"how encoders of a size differ.{far}"
    )


def _how_large(records: Records) -> Iterator[str]:
    for domain in DOMAINS.values():
        sizes = [own[0]["parameters"] for own in plots.of_sizes(records, domain).values()]
        if len(sizes) > 1:
            yield (
                f"{domain.title}: the sizes differ by a factor of {max(sizes) / min(sizes):.0f}, "
                f"and the largest has {max(sizes):,} parameters, by what one core of a CPU trains. "
                "The paper's encoders are far larger, and learned from the web."
            )


def _protocol(records: Records) -> Iterator[str]:
    yield "## Protocol\n"
    yield table(
        ["domain", "goals", "of seen combinations", "held-out trajectories", "frames"],
        [_measured_on(records, domain) for domain in DOMAINS.values()],
    )
    yield prose(
        "Held-out trajectories are whole episodes of the mixed behaviour policy (random, noisy, "
        "expert, play), on phones and in rooms of their own. In the hard playroom half of them are "
        "in rooms that look like none of the training. Scores are computed by the same code, with "
        "the same goals files and negatives, as those of a store."
    )
    yield prose(
        "Intervals, in brackets, are 95 %: seeds of the training are drawn with replacement, then "
        f"whole episodes ({_draws(records)} draws). All encoders share the draws of episodes, so "
        "differences between them are paired. A draw that repeats episodes raises the average "
        "precision of goals that are true of few frames; draws are moved by their mean difference "
        f"to the value. Goals that are true of no frame are left out{_goals_with(records)}."
    )


def _goals_with(records: Records) -> str:
    """How many goals have an average precision, in the part that comes first."""
    told = []
    for domain in DOMAINS.values():
        found = plots.by_name(records, encoders.CONTROLS, domain.name)
        name, part = next(iter(domain.parts.items()))
        for own in [r.result["parts"][name] for rows in found.values() for r in rows][:1]:
            told.append(
                f"{own['goals']} on {part.title}, in {own['episodes']:,} trajectories of "
                f"{own['frames']:,} frames"
            )
    return f"; there are {', and '.join(told)}" if told else ""


def _draws(records: Records) -> str:
    """Of episodes, as the records have them."""
    found = {record.settings["draws"] for record in records.of_kind(encoders.KIND)}
    return " or ".join(map(str, sorted(found))) if found else "no"


def _measured_on(records: Records, domain: Domain) -> list[str]:
    found = plots.by_name(records, encoders.CONTROLS, domain.name)
    parts = next(iter(found.values()))[0].result["parts"] if found else {}
    unique = {domain.parts[name].looks: own for name, own in parts.items()}
    return [
        domain.title,
        str(len(domain.seen)),
        str(int(domain.seen.sum())),
        f"{sum(own['episodes'] for own in unique.values()):,}" if unique else "none yet",
        f"{sum(own['frames'] for own in unique.values()):,}" if unique else "none yet",
    ]


def _times(records: Records) -> Iterator[str]:
    """What it took."""
    yield "## Times\n"
    rows = []
    for domain in DOMAINS.values():
        for size, own in plots.of_sizes(records, domain).items():
            seconds = [result["training_seconds"] for result in own]
            told = [domain.title, size, str(len(own)), f"{np.mean(seconds):.0f}"]
            rows.append([*told, f"{min(seconds):.0f}–{max(seconds):.0f}"])
    if rows:
        yield table(["domain", "encoder", "seeds", "seconds of training, mean", "range"], rows)
    loads: dict[tuple[str, int], list[float]] = {}
    for record in (record for kind in _kinds(records) for record in records.of_kind(kind)):
        told = record.machine
        loads.setdefault((told["processor"], told["cores"]), []).append(told["load"])
    for (processor, cores), own in sorted(loads.items(), key=str):
        yield prose(
            f"Machine: {processor}, {cores} cores, at a load of {min(own):.0f} to {max(own):.0f}. "
            "Drawing the frames is in the time of the first size that a command trained."
        )


def _kinds(records: Records) -> list[str]:
    folders = sorted(records.folder.iterdir()) if records.folder.exists() else []
    return [folder.name for folder in folders if folder.is_dir()]
