"""The whole path on the playroom: collect, relabel, measure the rewards against the truth.

    python -m examples.playroom.demo --out demo

Episodes come from seeds that no encoder was trained on, and only frames whose pixels no encoder was
trained on are counted. Goals over things that are absent from a room are scored like all others.
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
from schemas import fields
from schemas.store import Store
from schemas.tables import matrix

HERE = Path(__file__).parent
GOALS = HERE / "goals.yaml"
DEMO_SEED = 20_260_101  # the encoders' training scenes and this seed's episodes never meet


def relabel(source: Path, store: Path, encoder: Path, name: str) -> dict[str, object]:
    """Runs the command line as a user would; what it reports as JSON."""
    command = [
        *("vlm-relabel", "relabel", "--source", str(source), "--split", "train"),
        *("--camera", "observation/image", "--encoder", f"local-dir:{encoder}"),
        *("--goals", str(GOALS), "--store", str(store), "--name", name),
    ]
    sys.stdout.write(f"$ {shlex.join(command)}\n")
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run(
        [str(program), *command[1:], "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout))


def measure(location: Path, name: str) -> Result:
    """Scores of a store's reward set against the truth, on held-out frames only."""
    store = Store.open(str(location))
    steps = store.read("steps", ["truth", "held_out"])
    held_out = steps.column("held_out").to_numpy()
    truth = matrix(steps.column("truth")).astype(np.uint8)[held_out]
    scores = matrix(store.read(f"rewards/{name}", [fields.SCORE]).column(fields.SCORE))[held_out]
    families = store.goals(name, [fields.FAMILY]).column(fields.FAMILY).to_pylist()
    return evaluate(truth, scores, families)


def show(results: dict[str, Result], reports: dict[str, dict[str, object]], store: Path) -> None:
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
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder; made anew")
    parser.add_argument("--episodes", type=int, default=150, help="to collect")
    parser.add_argument("--encoders", nargs="+", default=["small", "smaller"], help="shipped ones")
    options = parser.parse_args(argv)
    source, store = options.out / "playroom" / "1.0.0", options.out / "playroom.store"
    for folder in (source, store):
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"collecting {options.episodes} playroom episodes into {source}\n")
    collect(source, count=options.episodes, seed=DEMO_SEED, split="train", shards=2)
    reports = {
        name: relabel(source, store, HERE / "encoders" / name, name) for name in options.encoders
    }
    show({name: measure(store, name) for name in options.encoders}, reports, store)


if __name__ == "__main__":
    main()
