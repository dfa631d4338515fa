"""What the page says of agents and of their returns: figures 4 (part two) and 3."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from examples.figures import agents, behaviour, returns
from examples.figures.domains import DOMAINS, Domain
from examples.figures.plots import by_name
from examples.figures.runs import Record, Records
from examples.figures.work import Work
from examples.figures.writing import command, picture, prose, seeds_of, shown, sure, table
from examples.playroom.recipe import Bootstrap, Estimate, mean_of

_GOOD: Final = 0.9
_GOOD_LOW: Final = 0.8


def figure_4(records: Records, pictures: Mapping[str, Path]) -> Iterator[str]:
    """Agents by the rewards that they learned from."""
    yield "## Figure 4, part two: what agents of these rewards earn\n"
    yield prose(
        "All agents of a domain learn from the same episodes, most of which heed no command, see "
        "the same observation and the goal as one-hot, and differ by their rewards alone: those "
        "of an encoder by its size, with labels (“calibrated”, “f1”, “head”) or without, the "
        "simulator's truth (“true”), or none: cloning of what was done on command (“none”). "
        "`true@cql` learned from the truth by another algorithm. “random” acts at random. They "
        "play the same fresh rooms or phones, with goals of seen combinations, and an episode "
        "ends with success. Encoders are those of seed 0; seeds are the agents'. Intervals draw "
        "seeds, then rooms, the same rooms for all agents. An encoder's rewards are 1 above the "
        "score of 0.5, the default of `vlm-relabel relabel`; “strict” ones above 0.95, as in the "
        "demo. A calibration has a threshold for each goal, of eight labels each that "
        "`vlm-relabel label` asked for; goals without evidence for a threshold are never "
        "rewarded. “f1” has the thresholds of `vlm-relabel calibrate --method best-f1`, of "
        "sixteen labels each. A head learned from four frames that show a goal and eight that do "
        "not. GCIVL's hyper-parameters were chosen by agents of the truth: in the easy playroom, "
        "and on the phone with the same episodes but other phones. Actions are drawn at a "
        "temperature, as OGBench's evaluation can: an agent that takes the best action everywhere "
        "can go around in circles. Each algorithm has a temperature of its own, chosen in this "
        "way (GCIQL in the playroom has GCIVL's). Their other settings are GCIVL's (GCIQL, IQL), "
        "or were chosen earlier in the easy playroom (CQL, and how long cloning is trained); they "
        "had fewer trials, so that comparisons between algorithms favour GCIVL. On the phone, half "
        "of each batch of GCIVL, GCIQL and IQL are transitions that reach their goal. GCIVL and "
        "GCIQL have one critic here, where OGBench has two."
    )
    if not records.of_kind(agents.KIND):
        yield command("--only rewards agents")
        return
    yield picture(pictures, "agents", "Success of agents by the encoder of their rewards")
    for domain in DOMAINS.values():
        yield from _agents_of(records, domain)


def _agents_of(records: Records, domain: Domain) -> Iterator[str]:
    found = by_name(records, agents.KIND, domain.name)
    if not found:
        yield command(f"--only agents --domain {domain.name}", f"**{domain.title}.** Not run yet:")
        return
    played = agents.played([r for own in found.values() for r in own], domain.name)
    if silent := [name for name in found if name not in played]:
        yield prose(f"**{domain.title}.** Were given no reward: {', '.join(silent)}.")
    if not played:
        return
    bootstrap, families = Bootstrap(played), list(next(iter(played.values())))
    order = [*domain.sizes, *(name for name in played if name not in domain.sizes)]
    rows = []
    for name in (name for name in order if name in played):
        own = [name, str(len(found[name])), *(_of(bootstrap, name, f) for f in families)]
        rows.append([*own, _of(bootstrap, name, "all")] if len(families) > 1 else own)
    heads = ["rewards", "seeds", *families, *(["mean over families"] * (len(families) > 1))]
    yield prose(f"**{domain.title}.** Success, {_learned(found)}.")
    yield table(heads, rows)
    size = agents.STUDIES[domain.name].size
    told = agents.comparisons(played, size) if size in played else {}
    if told:
        yield table(
            ["comparison", "value", "its interval"],
            [[name, shown(own), _says(name, own)] for name, own in told.items()],
        )
    asked = agents.names(Work(Path(), records), domain)
    missing = [name for name in asked if name not in found]
    if missing:
        yield command(
            f"--only agents --domain {domain.name}", f"Not run yet: {', '.join(missing)}."
        )
    yield from _rewards(records, domain)


def _learned(found: Mapping[str, list[Record]]) -> str:
    """By what algorithms, and from how many episodes."""
    told = {
        r.settings["algo"]: r.settings
        for own in found.values()
        for r in own
        if "algo" in r.settings
    }
    if not told:
        return "nothing was trained yet"
    algos = ", ".join(
        f"{algo} with {own['steps']:,} updates, at temperature {own['temperature']:g}"
        for algo, own in sorted(told.items())
    )
    episodes = {own["behaviour"]["episodes"] for own in told.values()}
    return f"{algos}; {' and '.join(f'{n:,}' for n in sorted(episodes))} episodes"


def _of(bootstrap: Bootstrap, name: str, family: str) -> str:
    return shown(bootstrap(mean_of(name, family)))


def _says(name: str, found: Estimate) -> str:
    if "/" not in name:
        return sure(found)
    return "excludes 1" if found.low > 1 or found.high < 1 else "includes 1"


def _rewards(records: Records, domain: Domain) -> Iterator[str]:
    """How right the rewards were that agents learned from."""
    found = by_name(records, agents.REWARDS, domain.name)
    if not found:
        return
    keys = list(next(iter(found.values()))[0].result)
    yield prose(
        "How these rewards agree with the truth, over all transitions and goals of the episodes "
        "that the agents' trajectories are taken from; precision and recall are means over goals. "
        "Of the wrong rewards, “unseen” is the share of those given where another goal of the same "
        "family holds that is in no caption of the training; “unseen, of all” is its share in all "
        "pairs of a frame and a goal that does not hold there."
    )
    rows = [[name, *(_share(own[0].result[key]) for key in keys)] for name, own in found.items()]
    yield table(["rewards", *keys], rows)


def _share(value: float | None) -> str:
    """`.982`; a number of goals as it is."""
    if value is None:
        return "none"
    return str(value) if isinstance(value, int) else f"{value:.3f}".removeprefix("0")


def failed(records: Records) -> Iterator[str]:
    """What agents do not reach, by the records."""
    found = records.of_kind(agents.KIND)
    rewards = {(r.domain, r.name): r.result for r in records.of_kind(agents.REWARDS)}
    for domain in DOMAINS.values():
        size = agents.STUDIES[domain.name].size
        played = agents.played(found, domain.name)
        told = agents.comparisons(played, size) if size in played else {}
        share = told.get(f"{size} / true")
        if share is not None:
            reached = _is_good(share)
            yield (
                f"{domain.title}: the agent of the VLM's rewards earns {shown(share)} of what "
                f"that of the truth earns. At least {_GOOD:.1f}, and {_GOOD_LOW:.1f} at the lower "
                f"end, were hoped for: {'reached' if reached else 'not reached'}."
                f"{'' if reached else _why(rewards.get((domain.name, size), {}))}"
                f"{'' if reached else _reached_by(size, told)}"
            )
        largest = list(domain.sizes)[-1]
        gain = told.get(f"{largest} - {size}")
        if gain is not None and gain.low <= 0:
            yield (
                f"{domain.title}: agents of the {largest} encoder do not earn more than those of "
                f"the {size} one, by {shown(gain)}."
            )
        if size not in played:
            continue
        bootstrap = Bootstrap(played)
        for way in behaviour.WAYS:
            name = f"{size}-{way}"
            for family in _families(played, name, size):
                loss = bootstrap(agents.gain(name, size, family))
                if loss.high < 0:
                    of = "" if family == "all" else f"*{family}*: "
                    yield (
                        f"{domain.title}: {of}agents of “{way}” earn less than those of a "
                        f"threshold of 0.5: {shown(loss)}."
                    )
        if "true" in played and "place" in played[size]:
            own, best = (_of(bootstrap, name, "place") for name in (size, "true"))
            yield f"{domain.title}: *place* succeeds in {own}, with rewards of the truth in {best}."


def _families(played: Mapping[str, Mapping[str, Any]], *names: str) -> list[str]:
    """All, and each if there are several; none if not all of these agents have played."""
    if any(name not in played for name in names):
        return []
    own = list(played[names[0]])
    return ["all", *(own if len(own) > 1 else ())]


def _is_good(share: Estimate) -> bool:
    return share.value >= _GOOD and share.low >= _GOOD_LOW


def _reached_by(size: str, told: Mapping[str, Estimate]) -> str:
    """Which other ways from the same scores to rewards reach it, and what they add."""
    found = {way: told.get(f"{size}-{way} / true") for way in behaviour.WAYS}
    reached = [
        f"“{way}” ({shown(own)}; {shown(told[f'{size}-{way} - {size}'])} more success)"
        for way, own in found.items()
        if own and _is_good(own)
    ]
    tried = sum(own is not None for own in found.values())
    return f" Of {tried} other ways, reached by {', '.join(reached)}." if reached else ""


def _why(rewards: Mapping[str, Any]) -> str:
    """What most of the wrong rewards have in common."""
    share, of_all = rewards.get("unseen"), rewards.get("unseen, of all")
    if share is None or of_all is None or share < 2 * of_all:
        return ""
    return (
        f" Of its wrong rewards, {_share(share)} are given where another goal of the same family "
        f"holds that the encoder has not met, which is so in {_share(of_all)} of all pairs of a "
        "frame and a goal that does not hold there: it takes what it does not know for what it "
        "knows."
    )


# --- figure 3 -------------------------------------------------------------------------------------


def figure_3(records: Records, pictures: Mapping[str, Path]) -> Iterator[str]:
    """Returns by the VLM and in truth, over checkpoints."""
    yield "## Figure 3: the VLM's return beside the true one\n"
    folder = f"[{returns.KIND}]({records.folder.name}/{returns.KIND})"
    yield prose(
        "The agent of every checkpoint plays fresh rooms or phones with every seen goal. The true "
        "return of an episode is 1 if the goal was reached. The VLM's is 1 if the rewards of the "
        "encoder that the agent learned from say so, by the frames. Checkpoint 0 is a random "
        "policy. An episode that was rewarded and never succeeded has fooled the VLM; one that "
        "succeeded and was never rewarded was missed; one that was rewarded too early and "
        "succeeded later is neither. Correlations are Pearson's, over goals and checkpoints; "
        "their intervals draw goals, each with all its checkpoints and seeds. Frames that fooled "
        f"an encoder are shown of one seed; those of others lie beside their records, in {folder}."
    )
    found = records.of_kind(returns.KIND)
    if not found:
        yield command("--only returns")
        return
    yield picture(pictures, "returns", "VLM return and true return over checkpoints")
    for domain in DOMAINS.values():
        yield from _returns_of(records, domain, [r for r in found if r.domain == domain.name])


def _returns_of(records: Records, domain: Domain, found: list[Record]) -> Iterator[str]:
    if not found:
        yield command(f"--only returns --domain {domain.name}", f"**{domain.title}.** Not run yet:")
        return
    yield prose(f"**{domain.title}**, {seeds_of(found)}. Correlation by family of goals:")
    told = returns.correlations(found, domain)
    if not any(told.values()):
        yield prose("None, since one of the returns never changes.")
    named = dict.fromkeys(family for own in told.values() for family in own)
    families = sorted(named, key=lambda family: family == "all")  # in their order, "all" behind
    rows = [
        [size, *(shown(Estimate(**own[f])) if f in own else "none" for f in families)]
        for size, own in told.items()
    ]
    if families:
        yield table(["encoder", *families], rows)
    yield table(
        ["encoder", "episodes", "VLM return", "true return", "fooled the VLM", "missed"],
        [_fooled(domain, size, found) for size in domain.sizes if size in told],
    )
    for size in domain.sizes:
        yield from _gallery(records, domain, [record for record in found if record.name == size])


def _gallery(records: Records, domain: Domain, found: list[Record]) -> Iterator[str]:
    """The first seed's frames; those of others lie beside them."""
    place = records.folder / returns.KIND
    sheets = [(r, place / f"{domain.name}-{r.name}-{r.seed}.png") for r in found]
    there = [(record, path.name) for record, path in sheets if path.exists()]
    if not there:
        return
    first, sheet = there[0]
    title = f"Frames that fooled the encoder {first.name}"
    yield f"![{title}]({records.folder.name}/{returns.KIND}/{sheet})\n"
    fooled = first.result["fooled"]
    goals = ", ".join(
        f"{goal} ({count})" for goal, count in Counter(one["goal"] for one in fooled).most_common()
    )
    yield prose(
        f"*{title}, {domain.title.lower()}, in episodes of the random policy and of agents of seed "
        f"{first.seed}: one frame for each of {min(len(fooled), returns.SHOWN)} of "
        f"{len(fooled)}. Their goals: {goals}.*"
    )


def _fooled(domain: Domain, size: str, found: list[Record]) -> list[str]:
    own = [r.result for r in found if r.name == size and r.result["steps"]]
    episodes = sum(result["episodes"] for result in own)
    wrong = sum(len(result["fooled"]) for result in own)
    seen, reached = (float(np.mean([np.mean(r[key]) for r in own])) for key in ("vlm", "true"))
    missed, successes = round(episodes * (reached - seen)) + wrong, round(episodes * reached)
    means = [f"{mean:.3f}".removeprefix("0") for mean in (seen, reached)]
    return [size, f"{episodes:,}", *means, f"{wrong:,}", f"{missed:,} of {successes:,}"]
