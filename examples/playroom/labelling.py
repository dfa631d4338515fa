"""How many labels a calibration needs: frames chosen by `vlm-relabel label` against random ones.

    python -m examples.playroom.labelling --store demo/playroom.store --out labels.png

Episodes are halved at random, anew for every seed. Labels come from one half and are answered from
the truth; the calibration that is fitted to them, one slope and a shift per goal, is measured on
the other half. Of both halves only frames count whose pixels no encoder was trained on. `rounds`
chooses four frames per goal at a time, each time with the earlier answers (`label --labels`).

A goal is claimed where its probability is above a half. Macro precision is the mean over goals that
claim a frame, macro recall and F1 over goals that are true of one; the calibration error is that of
all frames and goals together. Beside the picture lies a JSON file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from scipy import stats

from relabel.evaluation.evidence import of_field
from relabel.evaluation.metrics import calibration_error
from relabel.evaluation.platt import Platt, fit_platt
from relabel.evaluation.scales import log_odds
from relabel.evaluation.selection import Answers, Pool, choose, draw
from schemas.locations import path_argument
from schemas.store import Store

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

BUDGETS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # labels per goal
CHOSEN_MOST: Final = 32
PER_ROUND: Final = 4
METRICS: Final = ("precision", "recall", "F1", "calibration error")
_PICTURED: Final = ("F1", "calibration error")
_BETTER: Final = {**dict.fromkeys(METRICS[:3], 1), METRICS[3]: -1}  # 1: higher is better


@dataclass(frozen=True, eq=False)
class Frames:
    """N frames with the scores and truths of G goals."""

    episode: npt.NDArray[np.int64]  # (N,)
    score: Doubles  # (N, G)
    truth: Bools  # (N, G)
    families: tuple[str, ...]  # (G,)

    @classmethod
    def read(cls, store: Store, rewards: str) -> Frames:
        """Those of a reward set that no encoder was trained on."""
        evidence = of_field(store, rewards, "truth", where="held_out")
        goals = list(evidence)
        score = np.stack([goal.score for goal in goals], axis=1).astype(float)
        truth = np.stack([goal.label for goal in goals], axis=1)
        return cls(goals[0].episode, score, truth, evidence.families)

    def select(self, rows: Bools) -> Frames:
        """Some of them."""
        return Frames(self.episode[rows], self.score[rows], self.truth[rows], self.families)

    def pool(self, goal: int) -> Pool:
        """What may be asked of one goal."""
        order = np.argsort(-self.score[:, goal], kind="stable")
        rank = np.arange(1, len(order) + 1, dtype=float)
        return Pool(order, self.episode[order], self.score[order, goal], rank, len(order))


Labels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # frames and goals


def at_random(frames: Frames, budget: int, seed: int) -> Labels:
    """Uniform over frames."""
    return _as_labels(draw(frames.pool, len(frames.families), budget, seed=seed))


def chosen(frames: Frames, budget: int, seed: int) -> Labels:
    """On one page."""
    return _chosen(frames, budget, seed, None)


def in_rounds(frames: Frames, budget: int, seed: int) -> Labels:
    """On pages of a few questions, each made when the ones before were answered."""
    frame, goal = _chosen(frames, min(budget, PER_ROUND), seed, None)
    for asked in range(PER_ROUND, budget, PER_ROUND):
        answers = [_answers(frames, frame[goal == g], g) for g in range(len(frames.families))]
        new = _chosen(frames, min(PER_ROUND, budget - asked), seed, answers)
        frame, goal = np.append(frame, new[0]), np.append(goal, new[1])
    return frame, goal


def _chosen(frames: Frames, budget: int, seed: int, answers: Sequence[Answers] | None) -> Labels:
    how: dict[str, Any] = {"probability": True, "seed": seed, "answers": answers}
    goals = len(frames.families)
    return _as_labels(choose(frames.pool, goals, len(frames.episode), budget, **how))


def _answers(frames: Frames, rows: npt.NDArray[np.int64], goal: int) -> Answers:
    return Answers(rows, frames.score[rows, goal], frames.truth[rows, goal])


def _as_labels(questions: Sequence[Any]) -> Labels:
    return np.array([q.frame for q in questions]), np.array([q.goal for q in questions])


WAYS: Final[Mapping[str, Callable[[Frames, int, int], Labels]]] = {
    "random": at_random,
    "chosen": chosen,
    "rounds": in_rounds,
}


# --- quality ------------------------------------------------------------------------------------


def quality(frames: Frames, platt: Platt) -> dict[str, float]:
    """Each of METRICS."""
    p = platt.probability(log_odds(frames.score), np.arange(len(frames.families)))
    claimed, true = (p > 0.5).sum(axis=0), frames.truth.sum(axis=0)
    hits = ((p > 0.5) & frames.truth).sum(axis=0)
    there = true > 0
    precision = hits[claimed > 0] / claimed[claimed > 0]
    return {
        "precision": float(precision.mean()) if len(precision) else float("nan"),
        "recall": float((hits[there] / true[there]).mean()),
        "F1": float((2 * hits[there] / (claimed + true)[there]).mean()),
        "calibration error": calibration_error(frames.truth.ravel(), p.ravel()),
    }


def measure(frames: Frames, way: str, budget: int, seed: int) -> dict[str, float]:
    """Quality on one half of the episodes with labels of the other."""
    episodes = np.unique(frames.episode)
    half = np.random.default_rng(seed).permutation(episodes)[: len(episodes) // 2]
    own = np.isin(frames.episode, half)
    asked, others = frames.select(own), frames.select(~own)
    frame, goal = WAYS[way](asked, budget, seed)
    z = log_odds(asked.score[frame, goal])
    platt = fit_platt(z, asked.truth[frame, goal], goal, frames.families)
    return quality(others, platt)


# --- the curve ----------------------------------------------------------------------------------

Curve = dict[int, dict[str, tuple[float, float]]]  # by labels per goal: metric → mean, half width


def curve(frames: Frames, way: str, seeds: int) -> Curve:
    """Means over seeds, with the half width of their 95 % interval (Student's t)."""
    found: Curve = {}
    for budget in BUDGETS:
        if way == "random" or budget <= CHOSEN_MOST:
            runs = [measure(frames, way, budget, seed) for seed in range(seeds)]
            values = {metric: np.array([run[metric] for run in runs]) for metric in METRICS}
            found[budget] = {metric: _interval(own) for metric, own in values.items()}
    return found


def _interval(values: Doubles) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return (float(known.mean()) if len(known) else float("nan")), float("nan")
    wide = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean()), float(wide)


def needed(curves: Mapping[str, Curve], way: str, metric: str) -> dict[int, int | None]:
    """Labels per goal from which on a way is as good as random ones; None: not within the curve.

    The mean counts, and it must stay as good with every larger number.
    """
    sign = _BETTER[metric]
    found: dict[int, int | None] = {}
    for budget, told in curves["random"].items():
        wanted = sign * told[metric][0]
        worse = [b for b, own in curves[way].items() if sign * own[metric][0] < wanted]
        good = [b for b in curves[way] if b > max(worse, default=0)]
        found[budget] = min(good, default=None)
    return found


def show(curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """Prints one table per encoder, and how many labels do the work of random ones."""
    console = Console(soft_wrap=True, highlight=False, width=160)
    for encoder, ways in curves.items():
        table = Table(title=f"{encoder}: quality by labels per goal", title_justify="left")
        for column in ("frames", "labels", *METRICS):
            table.add_column(column, justify="left" if column == "frames" else "right")
        for way, own in ways.items():
            for budget, told in own.items():
                figures = (_figure(metric, *told[metric]) for metric in METRICS)
                last = budget == max(own)
                table.add_row(way, str(budget), *figures, end_section=last)
        console.print(table)
        for way in ("chosen", "rounds"):
            for metric in METRICS:
                pairs = needed(ways, way, metric).items()
                told_as = ", ".join(f"{b} → {'never' if n is None else n}" for b, n in pairs)
                console.print(f"{encoder}, {metric}, random → {way}: {told_as}")


def _figure(metric: str, mean: float, half: float) -> str:
    form = ".5f" if metric == "calibration error" else ".3f"
    return f"{mean:{form}} ± {half:{form}}"


def picture(curves: Mapping[str, Mapping[str, Curve]], out: Path) -> None:
    """Draws the curves: a row of plots per encoder."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(
        len(curves), len(_PICTURED), figsize=(9, 3.2 * len(curves)), squeeze=False
    )
    for row, (encoder, ways) in zip(axes, curves.items(), strict=True):
        for plot, metric in zip(row, _PICTURED, strict=True):
            for way, own in ways.items():
                mean, half = np.array([told[metric] for told in own.values()]).T
                plot.plot(list(own), mean, marker="o", markersize=3, label=way)
                plot.fill_between(list(own), mean - half, mean + half, alpha=0.2)
            plot.set_xscale("log", base=2)
            plot.xaxis.set_major_formatter(ticker.ScalarFormatter())
            plot.set_yscale("log" if metric == "calibration error" else "linear")
            plot.set_title(f"{encoder}: {metric}", fontsize=10)
            plot.set_xlabel("labels per goal")
            plot.grid(alpha=0.3)
    axes[0, 0].legend(title="frames")
    figure.tight_layout()
    figure.savefig(out, dpi=90)
    plt.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Draws the curve."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", required=True, help="of the demo: demo/playroom.store")
    parser.add_argument("--rewards", nargs="+", default=["small", "smaller"], help="reward sets")
    parser.add_argument("--seeds", type=int, default=10, help="halves of the episodes")
    parser.add_argument("--out", type=path_argument, default=Path("labels.png"), help="picture")
    options = parser.parse_args(argv)
    store = Store.open(options.store)
    curves = {}
    for name in options.rewards:
        frames = Frames.read(store, name)
        curves[name] = {way: curve(frames, way, options.seeds) for way in WAYS}
    show(curves)
    picture(curves, options.out)
    options.out.with_suffix(".json").write_text(json.dumps(curves, indent=1))
    print(f"{options.out} and {options.out.with_suffix('.json').name}")


if __name__ == "__main__":
    main()
