"""VLM return beside true return over the checkpoints of a run: figure 3 of the paper, offline.

    python -m examples.playroom.figure3 --runs RUN [RUN ...] --encoder DIR --out figure3.png

Rollouts of Baumli et al. 2023 (arXiv 2312.09187, figure 3). The agent of every checkpoint plays the
same fresh rooms. The true return of an episode is 1 if the truth says that the goal was reached;
the VLM return is 1 if the VLM's rewards of the same frames say so, the rule by which the agent's
dataset was cut. Checkpoint 0 is a random policy. Beside the picture lies a JSON file.

The shipped encoders learned from this very room, so a correlation near 1 says that rollouts stay in
what they know, not that a general VLM would agree with the truth.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt

from examples.playroom.goals import FAMILIES, GOALS
from examples.playroom.recipe import ROOM_SEED, learner_named, observer_of, policy_of
from examples.playroom.room import make_env
from offline_rl import checkpoints, policies, rollouts, run_config, training
from offline_rl.dataset import GoalDataset
from relabel.encoders.open_clip import load_encoder
from relabel.slices.score_slice import load_scorer
from schemas.locations import path_argument

Floats = npt.NDArray[np.float64]

_RESAMPLES: Final = 4000
_SUCCESS_ABOVE: Final = 0.5


Saw = Callable[[Sequence[Any], str], int | None]  # frames, goal → first frame with a reward


def scorer_of(dataset: GoalDataset, encoder_folder: Path) -> Saw:
    """Says of an episode's frames and a goal id in which frame the VLM first saw it reached."""
    name = dataset.manifest.rewards
    precision = dataset.store.rewards(name).encoder.precision
    encoder = load_encoder(f"local-dir:{encoder_folder}", device="cpu", precision=precision)
    scorer = load_scorer(dataset.store, name, encoder.encode_texts, encoder.spec)
    places = {goal: place for place, goal in enumerate(dataset.goal_ids)}

    def saw(frames: Sequence[Any], goal: str) -> int | None:
        lengths = np.array([len(frames)])
        scores = scorer.scores([encoder.encode_images(frames)], lengths)
        rewards = scorer.rewards(scores, lengths)[:, places[goal]]
        found = np.flatnonzero(rewards > _SUCCESS_ABOVE)
        # The reward of an action is that of the frame behind it.
        return int(found[0]) + 1 if len(found) else None

    return saw


def returns(run: Path, encoder: Path, episodes: int) -> dict[int, Floats]:
    """Mean VLM and true return by checkpoint: step → ``(goals, 2)``."""
    config = run_config.load_config(run)
    dataset = training.open_dataset(config)
    observer, saw = observer_of(dataset, config), scorer_of(dataset, encoder)
    steps = [int(path.name.removeprefix("step-")) for path in checkpoints.checkpoints(run)]
    found = {}
    for step in [0, *steps]:
        policy = (
            policy_of(checkpoints.load_agent(run, step), learner_named(config.algo))
            if step
            else policies.RandomPolicy(make_env().action_space, config.seed)
        )
        results = rollouts.roll_out(
            policy,
            make_env,
            observer,
            [goal.id for goal in GOALS],
            episodes=episodes,
            seed=ROOM_SEED,
            score=lambda frames, goal: float(saw(frames, goal) is not None),
        )
        pairs = np.array([[r.vlm_return, r.success] for r in results], np.float64)
        found[step] = pairs.reshape(len(GOALS), episodes, 2).mean(axis=1)
    return found


def correlation(points: Floats, groups: npt.NDArray[np.int64], seed: int = 0) -> dict[str, float]:
    """Pearson's correlation of two columns; its interval draws whole groups of points.

    Args:
        points: ``(N, 2)``.
        groups: ``(N,)``, the points that belong together (a goal's at all checkpoints).
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        if (points[chosen].std(axis=0) > 0).all():
            drawn.append(_pearson(points[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return {"value": _pearson(points), "low": float(low), "high": float(high)}


def _pearson(points: Floats) -> float:
    matrix: Floats = np.asarray(np.corrcoef(points.T))
    return float(matrix[0, 1])


def report(found: dict[str, dict[int, Floats]]) -> dict[str, Any]:
    """Curves by family, and the correlations over (run, checkpoint, goal) and by family's means."""
    families = np.array([FAMILIES.index(goal.family) for goal in GOALS])
    tables = [table for curves in found.values() for table in curves.values()]
    goals = np.tile(np.arange(len(GOALS)), len(tables))
    means = np.concatenate([_by_family(table, families) for table in tables])
    steps = np.repeat(np.arange(len(tables)), len(FAMILIES))  # a checkpoint's families together
    return {
        "curves": {
            run: {
                step: dict(zip(FAMILIES, _by_family(table, families).tolist(), strict=True))
                for step, table in curves.items()
            }
            for run, curves in found.items()
        },
        "correlation_checkpoints_goals": correlation(np.concatenate(tables), goals),
        "correlation_checkpoints_families": correlation(means, steps),
        "points": {"checkpoints": len(tables), "goals": len(GOALS)},
    }


def _by_family(table: Floats, families: npt.NDArray[np.int64]) -> Floats:
    means: Floats = np.stack(
        [np.mean(table[families == place], axis=0) for place in range(len(FAMILIES))]
    )
    return means


def plot(found: dict[str, dict[int, Floats]], told: dict[str, Any], path: Path) -> None:
    """Curves per family, mean over runs with every run thin, then all points against each other."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = np.array([FAMILIES.index(goal.family) for goal in GOALS])
    figure, axes = pyplot.subplots(1, len(FAMILIES) + 1, figsize=(15, 3.6), layout="constrained")
    common = sorted(set.intersection(*(set(curves) for curves in found.values())))
    for place, family in enumerate(FAMILIES):
        axis = axes[place]
        curves = np.stack(
            [[_by_family(run[step], families)[place] for step in common] for run in found.values()]
        )  # (runs, checkpoints, 2)
        styles = [("VLM return", "C1", 6), ("true return", "C0", 1.5)]  # equal curves: both seen
        for column, (name, colour, width) in enumerate(styles):
            axis.plot(common, curves[:, :, column].T, color=colour, linewidth=0.7, alpha=0.5)
            mean = curves[:, :, column].mean(axis=0)
            axis.plot(common, mean, color=colour, marker="o", linewidth=width, label=name)
        axis.set(title=family, xlabel="updates (0: random policy)", ylim=(-0.02, 1.02))
    axes[0].set_ylabel("mean return")
    axes[0].legend(frameon=False)
    for place, family in enumerate(FAMILIES):
        rows = [
            _by_family(t, families)[place] for curves in found.values() for t in curves.values()
        ]
        axes[-1].scatter(*np.array(rows).T, s=18, label=family)
    value = told["correlation_checkpoints_families"]
    axes[-1].axline((0, 0), slope=1, color="0.7", linewidth=1)
    axes[-1].set(
        xlabel="VLM return",
        ylabel="true return",
        title=f"r = {value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]",
    )
    axes[-1].legend(frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(argv: list[str] | None = None) -> None:
    """Parses the command line, rolls out, and writes the picture and its JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=path_argument, nargs="+", required=True, help="folders of `train`"
    )
    parser.add_argument(
        "--encoder", type=path_argument, default=Path(__file__).parent / "encoders/small"
    )
    parser.add_argument("--episodes", type=int, default=4, help="per goal and checkpoint")
    parser.add_argument("--out", type=path_argument, default=Path("figure3.png"))
    options = parser.parse_args(argv)
    found = {run.name: returns(run, options.encoder, options.episodes) for run in options.runs}
    told = report(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    plot(found, told, options.out)


if __name__ == "__main__":
    main()
