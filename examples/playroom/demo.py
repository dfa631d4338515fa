"""The whole path on the playroom: collect, relabel, check the rewards, train an agent, look.

    python -m examples.playroom.demo --out demo

Episodes come from seeds that no encoder was trained on, and only frames whose pixels no encoder was
trained on are counted. Goals over things that are absent from a room are scored like all others.
The agent learns for some two minutes, from other episodes: most of them play that heeds no command,
so that all that it knows of the goals is what the rewards say. `recipe` is the long version.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from examples.playroom.collect import collect
from examples.playroom.evaluate import Result, evaluate
from examples.playroom.goals import FAMILIES
from examples.playroom.room import make_env
from schemas import fields
from schemas.locations import path_argument
from schemas.store import Store
from schemas.tables import matrix

HERE = Path(__file__).parent
GOALS = HERE / "goals.yaml"
DATASET = "goals"
THRESHOLD = "0.95"  # of the probability that a goal is true
PER_FAMILY = 108  # evaluation rooms
DEMO_SEED = 20_260_101  # the encoders' training scenes and this seed's episodes never meet


def command(*words: str) -> dict[str, object]:
    """Runs `vlm-relabel` as a user would; what it reports as JSON."""
    sys.stdout.write(f"$ {shlex.join(('vlm-relabel', *words))}\n")
    sys.stdout.flush()
    program = Path(sys.executable).with_name("vlm-relabel")
    done = subprocess.run(
        [str(program), *words, "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout))


def episodes(source: Path, count: int, mixture: str) -> Path:
    """Collects a dataset anew, of one mixture of behaviour policies; where it lies."""
    shutil.rmtree(source, ignore_errors=True)
    sys.stdout.write(f"collecting {count} playroom episodes ({mixture}) into {source}\n")
    sys.stdout.flush()  # before the progress on standard error
    collect(source, count=count, seed=DEMO_SEED, split="train", shards=2, mixture=mixture)
    return source


def relabel(source: Path, store: Path, encoder: Path, name: str) -> dict[str, object]:
    """Rewards of one encoder; 0 or 1, so that an agent can be trained on them."""
    return command(
        *("relabel", "--source", str(source), "--split", "train"),
        *("--camera", "observation/image", "--encoder", f"local-dir:{encoder}"),
        *("--goals", str(GOALS), "--store", str(store), "--name", name),
        *("--threshold", THRESHOLD),
    )


def learn(store: Path, rewards: str, out: Path, steps: int) -> None:
    """Builds a goal dataset, trains an agent on it and shows its success by family."""
    command("build-goals", str(store), "--rewards", rewards, "--name", DATASET)
    from examples.playroom import recipe  # d3rlpy takes seconds to import
    from offline_rl import checkpoints, policies, training

    config = recipe.config_of(store, "vlm", 0, steps, DATASET, values=recipe.FAST)
    recipe.train(config, out)
    dataset, rooms = training.open_dataset(config), recipe.Rooms(PER_FAMILY)
    observer = recipe.observer_of(dataset, config)
    luck = policies.RandomPolicy(make_env().action_space, 0)
    agent = recipe.policy_of(checkpoints.load_agent(out), recipe.FAST)
    played = {name: rooms.play(p, observer) for name, p in (("agent", agent), ("random", luck))}
    commanded = [(dataset.families[goal], success) for goal, success in dataset.commanded_success()]
    table = Table(title=f"Success after {steps:,} updates, in fresh rooms", title_justify="left")
    for column in ("policy", *FAMILIES):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, success in played.items():
        table.add_row(name, *(f"{success[family].mean():.2f}" for family in FAMILIES))
    shares = [float(np.mean([s for f, s in commanded if f == family])) for family in FAMILIES]
    table.add_row("commanded, in the data", *(f"{share:.2f}" for share in shares))
    Console(soft_wrap=True, highlight=False).print(table)


def measure(location: Path, name: str) -> Result:
    """Scores of a store's reward set against the truth, on held-out frames only."""
    store = Store.open(str(location))
    steps = store.read("steps", ["truth", "held_out"])
    held_out = steps.column("held_out").to_numpy()
    truth = matrix(steps.column("truth")).astype(np.uint8)[held_out]
    scores = matrix(store.read(f"rewards/{name}", [fields.SCORE]).column(fields.SCORE))[held_out]
    families = store.goals(name, [fields.FAMILY]).column(fields.FAMILY).to_pylist()
    return evaluate(truth, scores, families)


def show(results: dict[str, Result], reports: dict[str, dict[str, object]]) -> None:
    """Prints one row per encoder and family."""
    table = Table(title="Rewards against the truth, on held-out frames", title_justify="left")
    for column in ("encoder", "family", "average precision", "base rate", "goals", "frames"):
        table.add_column(column, justify="left" if column in ("encoder", "family") else "right")
    for encoder, result in results.items():
        rows = [(f.family, f.average_precision, f.base_rate, f.goals) for f in result.families]
        goals = sum(family.goals for family in result.families)
        rows.append(("all goals", result.macro_average_precision, result.base_rate, goals))
        for family, precision, base, count in rows:
            last = family == "all goals"
            table.add_row(
                encoder,
                family,
                f"{precision:.3f}",
                f"{base:.3f}",
                str(count),
                f"{result.frames:,}",
                style="bold" if last else "",
                end_section=last,
            )
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for encoder, report in reports.items():
        console.print(
            f"{encoder}: {report['frames_new']:,} frames relabeled at "
            f"{report['frames_per_s']:,.0f} frames/s for {len(list(report['goals']))} goals"  # type: ignore[call-overload]
        )


def look(store: Path, out: Path) -> None:
    """Writes the pages about the store, and prints where they are."""
    words = ("--labels-field", "truth", "--where", "held_out", "--no-plots")
    found = command("report", str(store), "--out", str(out), *words)
    Console(soft_wrap=True, highlight=False).print(f"open {found['page']} in a browser")


def show_next(store: Path) -> None:
    """Prints what can be tried on the demo's store."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"\nthe store is {store}; next:")
    console.print(f"  vlm-relabel verify {store}")
    console.print(
        f"  vlm-relabel score --store {store} --encoder local-dir:{HERE}/encoders/small "
        "--goals my_goals.yaml --name mine",
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=path_argument, default=Path("demo"), help="folder; made anew")
    parser.add_argument("--episodes", type=int, default=600, help="to collect")
    parser.add_argument("--play", type=int, default=800, help="more of them, for the agent")
    parser.add_argument("--encoders", nargs="+", default=["small", "smaller"], help="shipped ones")
    parser.add_argument("--steps", type=int, default=8000, help="updates of the agent")
    options = parser.parse_args(argv)
    store, play, run = (options.out / f"{n}" for n in ("playroom.store", "play.store", "play.run"))
    for folder in (store, play, run):
        shutil.rmtree(folder, ignore_errors=True)
    source = episodes(options.out / "playroom" / "1.0.0", options.episodes, "mixed")
    reports = {
        name: relabel(source, store, HERE / "encoders" / name, name) for name in options.encoders
    }
    show({name: measure(store, name) for name in options.encoders}, reports)
    name = options.encoders[0]
    source = episodes(options.out / "play" / "1.0.0", options.play, "free-play")
    relabel(source, play, HERE / "encoders" / name, name)
    learn(play, name, run, options.steps)
    show_next(store)
    look(store, options.out / "playroom.report")


if __name__ == "__main__":
    main()
