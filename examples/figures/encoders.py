"""Figure 4, part one: how well encoders of four sizes rank frames of held-out trajectories.

All sizes of a domain learn from the same views with the same steps, batches and learning rate.
Controls have no encoder, or the wrong goals:

- `random`: a score that knows nothing;
- `ramp`: a score that rises along the episode, the same for every goal;
- shuffled goals: the encoder's scores, each given to another goal of its family.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from examples.clip import model, training
from examples.clip.training import Captioned
from examples.figures.domains import DOMAINS, LONG, Domain, Trajectories, encoder_path
from examples.figures.measures import Floats, measured
from examples.figures.runs import RecordError, Run
from examples.figures.work import Work
from vlm_relabel.reward_model import RewardModel

KIND: Final = "encoders"
CONTROLS: Final = "controls"
TRAINING_FILE: Final = "training.json"


def run(work: Work, seed: int) -> None:
    """Trains and measures the encoders of one seed, of every domain and size."""
    for name in work.domains:
        domain = DOMAINS[name]
        _run_controls(work, domain, seed)
        _run_sizes(work, domain, seed)
        if domain.longer is not None and seed == work.effort.seeds[0]:
            _run_sizes(work, domain, seed, LONG)


def _run_sizes(work: Work, domain: Domain, seed: int, variant: str = "") -> None:
    for size in work.sizes_of(domain):
        asked = Run(variant or KIND, domain.name, size, seed, settings(work, domain, variant))
        work.records.once(asked, lambda own=size: _measure(work, domain, own, seed, variant))


def settings(work: Work, domain: Domain, variant: str = "") -> dict[str, Any]:
    """What decides the record of an encoder, beside its size and seed."""
    effort = work.effort
    return {
        **asdict(effort.learning(domain, variant)),
        "threads": work.threads,
        "episodes": effort.episodes,
        "draws": effort.draws,
    }


def _measure(work: Work, domain: Domain, size: str, seed: int, variant: str) -> dict[str, Any]:
    told = trained(work, domain, size, seed, variant)
    trajectories = work.trajectories(domain)
    path = encoder_path(work.folder, domain.name, size, seed, variant)
    scores = scored(path, domain, trajectories)
    wrong = scores[:, strangers(domain.families, seed)]
    return {
        **told,
        "parts": measured(domain, trajectories, scores, work.effort.draws),
        "shuffled": {
            part: {"average_precision": own["average_precision"], "draws": own["draws"]}
            for part, own in measured(domain, trajectories, wrong, work.effort.draws).items()
        },
    }


def trained(
    work: Work,
    domain: Domain,
    size: str,
    seed: int,
    variant: str = "",
    views: Callable[[], Captioned] | None = None,
) -> Mapping[str, Any]:
    """Trains an encoder, unless it lies there already; how many parameters, in how many seconds.

    Args:
        work: where, and how much.
        domain: whose.
        size: one of the domain's.
        seed: of weights, batches and views.
        variant: of `encoder_path`.
        views: draws what it learns from; None: the domain's own, with its captions.

    Raises:
        RecordError: an encoder of another recipe lies there.
    """
    out = encoder_path(work.folder, domain.name, size, seed, variant)
    recipe = work.recipe(domain, seed, variant)
    count = work.effort.learning(domain, variant).views
    asked = {**vars(recipe), "views": count, "variant": variant}
    if (out / TRAINING_FILE).exists():
        return _found(out, asked)
    captioned = (lambda: drawn(domain.name, count, seed)) if views is None else views
    start = time.monotonic()
    network = training.train(out, domain.sizes[size], recipe, captioned)
    told = {
        "parameters": model.parameter_count(network),
        "training_seconds": round(time.monotonic() - start, 1),
        "trained_by": work.records.command,
    }
    (out / TRAINING_FILE).write_text(json.dumps({"asked": asked, "told": told}), encoding="utf-8")
    return told


def _found(out: Path, asked: Mapping[str, Any]) -> Mapping[str, Any]:
    known = json.loads((out / TRAINING_FILE).read_text(encoding="utf-8"))
    if known["asked"] != asked:
        raise RecordError(
            f"{out}: expected an encoder of {dict(asked)}, got one of {known['asked']}; remove it, "
            "or take another --work"
        )
    told: Mapping[str, Any] = known["told"]
    return told


@lru_cache(maxsize=1)
def drawn(domain: str, views: int, seed: int) -> Captioned:
    """What the encoders of a seed learn from: drawn once for all sizes, which come in turn."""
    return DOMAINS[domain].captioned(views, seed)


def scored(encoder: Path, domain: Domain, trajectories: Trajectories) -> Floats:
    """(N, G) softmax scores, as `vlm-relabel relabel` gives them with the domain's goals file."""
    rate = RewardModel(f"local-dir:{encoder}", domain.goals, precision="float32", batch_size=256)
    return rate(trajectories.pixels, trajectories.lengths)


def strangers(families: tuple[str, ...], seed: int) -> npt.NDArray[np.int64]:
    """(G,) for each goal another one of its family, no goal twice."""
    rng = np.random.default_rng([seed, 13])
    found = np.arange(len(families))
    for family in dict.fromkeys(families):
        own = rng.permutation(np.flatnonzero(np.array(families) == family))
        found[own] = np.roll(own, 1)
    return found


# --- controls without an encoder ------------------------------------------------------------------


def _run_controls(work: Work, domain: Domain, seed: int) -> None:
    told = {"episodes": work.effort.episodes, "draws": work.effort.draws}
    for name in ("random", "ramp"):
        asked = Run(CONTROLS, domain.name, name, seed, told)
        work.records.once(asked, lambda own=name: _control(work, domain, own, seed))


def _control(work: Work, domain: Domain, name: str, seed: int) -> dict[str, Any]:
    trajectories = work.trajectories(domain)
    shape = trajectories.truth.shape
    if name == "random":
        scores: Floats = np.random.default_rng([seed, 17]).random(shape)
    else:
        scores = np.broadcast_to(trajectories.step[:, None], shape).astype(np.float64)
    return {"parts": measured(domain, trajectories, scores, work.effort.draws)}
