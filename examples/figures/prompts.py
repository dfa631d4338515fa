"""Figure 5: what the wording of goals does to the ranking of frames.

Every goal is worded as an action ("find the red ball"), as a state ("a red ball is directly in
front"), or as both, averaged; and put into each of four templates, and into all of them, averaged.
Null prompts are put into the same templates.

Two encoders of one size are measured: one with the templates in its captions, and that of figure
4, which has none. Or one from a hub, by `--encoder NAME`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from examples.clip.training import Captioned
from examples.figures import encoders
from examples.figures.domains import DOMAINS, WITH_TEMPLATES, Domain, encoder_path
from examples.figures.measures import measured
from examples.figures.runs import Record, Records, Run
from examples.figures.work import Work
from schemas.goals import GoalSet
from vlm_relabel.reward_model import RewardModel

KIND: Final = "prompts"
_FOREIGN: Final = "foreign-"
SIZE: Final = "middle"
IN, OUT = "templates-in", "templates-out"

TEMPLATES: Final[Mapping[str, Mapping[str, str]]] = {
    "phone": {
        "A": "{}",
        "B": "a photo of {}",
        "C": "a phone screen: {}",
        "D": "the user is done: {}",
    },
    "playroom": {
        "A": "{}",
        "B": "a photo of {}",
        "C": "an agent in a room: {}",
        "D": "the agent is done: {}",
    },
}
"""From the bare text to a scene and a claim of success; short, since encoders read 20 tokens."""

ENSEMBLE: Final = "A to D"
WORDINGS: Final[Mapping[str, slice]] = {
    "action": slice(0, 1),
    "state": slice(1, 2),
    "both": slice(0, 2),
}
"""Which of a goal's texts: its first one commands it, its second one describes it."""


def run(work: Work, seed: int) -> None:
    """Measures the wordings with encoders of one seed, or with one from a hub."""
    for name in work.domains:
        domain = DOMAINS[name]
        if work.encoder is not None:
            _run_foreign(work, domain, work.encoder)
            continue
        for captions, suffix in ((IN, WITH_TEMPLATES), (OUT, "")):
            told = {**encoders.settings(work, domain), "templates": list(TEMPLATES[name].values())}
            asked = Run(KIND, name, f"{SIZE}-{captions}", seed, told)
            work.records.once(asked, lambda d=domain, s=suffix: _own(work, d, seed, s))


def foreign(records: Records) -> list[Record]:
    """Those of encoders that were not trained here."""
    return [record for record in records.of_kind(KIND) if record.name.startswith(_FOREIGN)]


def _run_foreign(work: Work, domain: Domain, encoder: str) -> None:
    told = {"encoder": encoder, "episodes": work.effort.episodes, "draws": work.effort.draws}
    name = re.sub(r"\W+", "-", encoder).strip("-").lower()
    asked = Run(KIND, domain.name, _FOREIGN + name, 0, told)
    work.records.once(asked, lambda: {"grid": grid(work, domain, encoder)})


def _own(work: Work, domain: Domain, seed: int, variant: str) -> dict[str, Any]:
    count = work.effort.learning(domain).views
    views = (lambda: with_templates(domain, count, seed)) if variant else None
    told = encoders.trained(work, domain, SIZE, seed, variant, views)
    folder = encoder_path(work.folder, domain.name, SIZE, seed, variant)
    return {**told, "grid": grid(work, domain, f"local-dir:{folder}")}


def with_templates(domain: Domain, views: int, seed: int) -> Captioned:
    """The domain's views, with the goals' texts and null prompts also in each template."""
    own = encoders.drawn(domain.name, views, seed)
    texts = {text for goal in domain.goals.goals for text in goal.texts}
    texts |= {text for family in set(domain.families) for text in _nulls(domain, family)}
    templates = [template for template in TEMPLATES[domain.name].values() if template != "{}"]
    return replace(
        own,
        texts=[
            [
                *wordings,
                *(t.replace("{}", text) for text in wordings if text in texts for t in templates),
            ]
            for wordings in own.texts
        ],
    )


def _nulls(domain: Domain, family: str) -> tuple[str, ...]:
    return domain.goals.family_null_prompts(family)


def grid(work: Work, domain: Domain, encoder: str) -> dict[str, dict[str, Any]]:
    """`<wording>, <template>` → average precision and its draws, on the domain's first part.

    Args:
        work: how much is measured.
        domain: whose held-out trajectories, goals and templates.
        encoder: its name, as `--encoder` of `vlm-relabel relabel` takes it.
    """
    trajectories, part = work.trajectories(domain), next(iter(domain.parts))
    first = RewardModel(encoder, domain.goals, precision="float32", batch_size=256)
    embedded = first.embed(trajectories.pixels)
    found = {}
    for name, goals in worded(domain):
        scorer = RewardModel(first.encoder, goals, precision="float32").scorer
        scores = scorer.scores([embedded], trajectories.lengths)
        own = measured(domain, trajectories, scores, work.effort.draws, parts=(part,))[part]
        found[name] = {"average_precision": own["average_precision"], "draws": own["draws"]}
    return found


def worded(domain: Domain) -> Iterator[tuple[str, GoalSet]]:
    """The domain's goals in every wording and template, and in all templates together."""
    templates = TEMPLATES[domain.name]
    choices = {
        **{name: (own,) for name, own in templates.items()},
        ENSEMBLE: (*templates.values(),),
    }
    for wording, texts in WORDINGS.items():
        goals = tuple(g.model_copy(update={"texts": g.texts[texts]}) for g in domain.goals.goals)
        for name, chosen in choices.items():
            update = {"goals": goals, "templates": chosen}
            yield f"{wording}, {name}", domain.goals.model_copy(update=update)
