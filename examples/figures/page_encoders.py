"""What the page says of encoders and prompts: figures 4 (part one) and 5."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from examples.figures import encoders, prompts
from examples.figures.domains import DOMAINS, LONG, Domain
from examples.figures.measures import difference, estimate
from examples.figures.plots import by_name, grid_of, of_sizes
from examples.figures.runs import Records
from examples.figures.writing import command, picture, prose, seeds_of, shown, sure, table
from examples.playroom.recipe import Estimate


def figure_4(records: Records, pictures: Mapping[str, Path]) -> Iterator[str]:
    """Encoders by size."""
    yield "## Figure 4: the size of encoders and their rewards\n"
    yield prose(
        "Scores are softmax probabilities, as `relabel` stores them. Average precision is taken "
        "goal by goal and averaged over goals."
    )
    if not records.of_kind(encoders.KIND):
        yield command("--only encoders")
        return
    yield picture(pictures, "curves", "Precision by recall of encoders of four sizes")
    yield prose(
        "Lines are means over seeds, bands reach from the lowest to the highest seed, dotted lines "
        "are base rates. Bars below are 95 % intervals."
    )
    yield picture(pictures, "sizes", "Average precision by parameters of the encoder")
    for domain in DOMAINS.values():
        yield from _domain(records, domain)


def _domain(records: Records, domain: Domain) -> Iterator[str]:
    sizes = of_sizes(records, domain)
    yield _effort(records, domain)
    if not sizes:
        yield command(f"--only encoders --domain {domain.name}")
        return
    parts = list(domain.parts)
    rows = [
        [size, f"{own[0]['parameters']:,}", str(len(own)), *(_of(own, part) for part in parts)]
        for size, own in sizes.items()
    ]
    titles = [domain.parts[part].title for part in parts]
    yield table(["encoder", "parameters", "seeds", *titles], rows)
    missing = [size for size in domain.sizes if size not in sizes]
    if missing:
        yield command("--only encoders", f"Not run yet, or not by now: {', '.join(missing)}.")
    yield _effect(domain, sizes)
    longer = of_sizes(records, domain, LONG)
    if longer:
        yield _longer(domain, longer)


def _of(own: list[Any], part: str) -> str:
    return shown(estimate([result["parts"][part] for result in own]))


def _effort(records: Records, domain: Domain) -> str:
    found = by_name(records, encoders.KIND, domain.name)
    told = next(iter(found.values()))[0].settings if found else vars(domain.learning)
    return prose(
        f"**{domain.title}.** All sizes: {told['steps']:,} steps of {told['batch']} frames, "
        f"learning rate {told['learning_rate']:g}, {told['views']:,} frames drawn anew for each "
        "seed."
    )


def _effect(domain: Domain, sizes: Mapping[str, list[Any]]) -> str:
    """What size changes, with an interval."""
    names, part = list(sizes), next(iter(domain.parts))
    title = domain.parts[part].title
    told = []
    for more, less in ((names[-1], names[0]), *([(names[-1], names[-2])] * (len(names) > 2))):
        found = difference(
            [result["parts"][part] for result in sizes[more]],
            [result["parts"][part] for result in sizes[less]],
        )
        told.append(f"{more} − {less} is {shown(found)}, which {sure(found)}")
    single = [size for size, own in sizes.items() if len(own) == 1]
    warning = f" Of {', '.join(single)} there is one seed, whose luck no interval covers."
    return prose(f"On {title}: {'; '.join(told)}." + warning * bool(single))


def _longer(domain: Domain, sizes: Mapping[str, list[Any]]) -> str:
    part = next(iter(domain.parts))
    told = ", ".join(f"{size} {_of(own, part)}" for size, own in sizes.items())
    steps = domain.longer.steps if domain.longer else 0
    values = [estimate([r["parts"][part] for r in own]).value for own in sizes.values()]
    apart = max(values) - min(values)
    easy = " Then size matters here only for how fast an encoder learns."
    return prose(
        f"With {steps:,} steps instead, one seed each, the sizes lie {apart:.4f} apart: {told}."
        + easy * (apart < _ALIKE)
    )


def controls(records: Records) -> Iterator[str]:
    """Scores that know nothing, or the wrong thing."""
    yield "## Controls\n"
    rows = []
    for domain in DOMAINS.values():
        part = next(iter(domain.parts))
        title = f"{domain.title}: {domain.parts[part].title}"
        found = by_name(records, encoders.CONTROLS, domain.name)
        for name, said in _CONTROLS.items():
            if name in found:
                own = [record.result["parts"][part] for record in found[name]]
                rows.append([title, said, shown(estimate(own)), _rate(own)])
        sizes = of_sizes(records, domain)
        for size in list(sizes)[-1:]:
            own = [result["shuffled"][part] for result in sizes[size]]
            base = [result["parts"][part] for result in sizes[size]]
            said = f"{size} encoder, goals shuffled within their families"
            rows.append([title, said, shown(estimate(own)), _rate(base)])
    if not rows:
        yield command("--only encoders")
        return
    yield table(["measured on", "score", "average precision", "base rate"], rows)
    yield prose(
        "Where a goal is true of few frames, a random score ranks some of them high by luck, which "
        "can lift its average precision above the base rate. With the wrong goals, an encoder can "
        "still tell frames that show something from frames that show nothing, which can lift "
        "shuffled goals above a random score."
    )


_ALIKE = 0.01  # average precisions that are no further apart
_CONTROLS = {"random": "random", "ramp": "step of the episode (ramp)"}


def _rate(own: list[Any]) -> str:
    return f"{np.mean([result['base_rate'] for result in own]):.4f}".removeprefix("0")


def figure_5(records: Records, pictures: Mapping[str, Path]) -> Iterator[str]:
    """Wordings and templates."""
    yield "## Figure 5: what the wording of goals does\n"
    yield prose(
        "Every goal is worded as an action (“find the red ball”), as a state (“a red ball is "
        "directly in front”), or as both, averaged. Each wording is put into four templates, and "
        "into all of them, averaged (“A to D”). Null prompts are put into the same templates."
    )
    yield table(
        ["domain", *prompts.TEMPLATES["phone"]],
        [
            [DOMAINS[name].title, *(f"“{own.replace('{}', '…')}”" for own in templates.values())]
            for name, templates in prompts.TEMPLATES.items()
        ],
    )
    yield prose(
        "The paper compares four templates, A to D; their exact texts could not be had when this "
        "was written, so these are others, from the bare text to a scene and a claim of success. "
        "An encoder trained from scratch knows only the words of its captions. Those of “photo”, "
        "“user” and “done” are in the captions of the encoder called *templates in*, and in none "
        "of the other's, to which they mean nothing. Of C it knows every word and not the colon, "
        "and C costs it as well: that a sentence is new is enough. Actions and states are equally "
        "frequent in all captions, so these encoders have no reason to prefer states, as "
        "a model that was trained on captions of the web has."
    )
    found = [(d, by_name(records, prompts.KIND, d.name)) for d in DOMAINS.values()]
    if not any(own for _, own in found):
        yield command("--only prompts")
    else:
        yield picture(pictures, "prompts", "Average precision by template and wording")
    for domain, names in found:
        for name, own in names.items():
            grid = grid_of(own)
            yield f"**{domain.title}, {name.replace('-', ' ')}**, {seeds_of(own)}.\n"
            yield table(
                ["wording", *next(iter(grid.values()))],
                [[w, *(shown(e) for e in templates.values())] for w, templates in grid.items()],
            )
        if names:
            yield from _ensemble(domain, names)
        else:
            yield f"**{domain.title}.** " + command(f"--only prompts --domain {domain.name}")
    yield prose(
        "With a model of a hub, which needs a network, the same command measures the same wordings "
        "on the same frames" + (":" if prompts.foreign(records) else "; it was not run here:")
    )
    yield command("--only prompts --encoder ViT-B-32:laion2b_s34b_b79k", lead="")


def _ensemble(domain: Domain, names: Mapping[str, list[Any]]) -> Iterator[str]:
    """What an ensemble, a state and a template change, as differences of the same frames."""
    told = []
    for name, own in names.items():
        for first, second in (
            (f"both, {prompts.ENSEMBLE}", "both, A"),
            ("state, A", "action, A"),
            ("both, A", "both, D"),
        ):
            found = _gain(own, first, second)
            told.append([name.replace("-", " "), first, second, shown(found), sure(found)])
    yield table(["encoder", "this", "less that", "difference", "its interval"], told)


def _gain(own: list[Any], first: str, second: str) -> Estimate:
    """Of two cells of one encoder: seeds are paired too."""
    return estimate(
        [
            {
                key: np.subtract(
                    record.result["grid"][first][key], record.result["grid"][second][key]
                )
                for key in ("average_precision", "draws")
            }
            for record in own
        ]
    )


def failed(records: Records) -> Iterator[str]:
    """What encoders do not do, by the records."""
    for domain in DOMAINS.values():
        sizes = of_sizes(records, domain)
        yield from _larger_and_worse(domain, sizes)
        for name, part in domain.parts.items():
            if part.goals != "unseen" or not sizes:
                continue
            size, own = list(sizes.items())[-1]
            seen, unseen = (
                [result["parts"][which] for result in own]
                for which in (next(iter(domain.parts)), name)
            )
            if difference(unseen, seen).high < 0:
                yield (
                    f"{domain.title}, {part.title}: {size} reaches {_of(own, name)}. Colours and "
                    "shapes that an encoder knows from other things, it does not put together."
                )
        names = by_name(records, prompts.KIND, domain.name)
        outside = names.get(f"{prompts.SIZE}-{prompts.OUT}")
        if outside:
            found = _gain(outside, "both, A", f"both, {prompts.ENSEMBLE}")
            if found.low > 0 and found.value > _ALIKE:
                yield (
                    f"{domain.title}: with an encoder that has not met the templates, averaging "
                    f"over all of them costs {shown(found)} of average precision, against none at "
                    "all, which excludes 0."
                )


def _larger_and_worse(domain: Domain, sizes: Mapping[str, list[Any]]) -> Iterator[str]:
    """Sizes that reach less than the next smaller one."""
    part = next(iter(domain.parts))
    for less, more in pairwise(sizes):
        own, other = ([r["parts"][part] for r in sizes[size]] for size in (more, less))
        found = difference(own, other)
        if found.high < 0:
            yield (
                f"{domain.title}, {domain.parts[part].title}: {more} reaches less than {less}, by "
                f"{shown(found)}, with the learning rate that was chosen for the middle size."
            )
