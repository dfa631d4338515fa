"""Makes the paper's figures in two simulated worlds, with numbers, seeds and intervals.

    python -m examples.figures --work /tmp/figures             # hours on two cores
    python -m examples.figures --work /tmp/quick --quick       # minutes, of no meaning

Every run leaves a record below --records; one whose record exists is not done again, so that
interrupted work goes on. The page and the pictures are drawn of the records.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from examples.figures import agents, encoders, page, prompts, returns
from examples.figures.domains import DOMAINS
from examples.figures.runs import Records, command_of
from examples.figures.work import FULL, QUICK, Work
from schemas.errors import RelabelError
from schemas.locations import path_argument

STAGES: Final[dict[str, Callable[[Work, int], None]]] = {
    encoders.KIND: encoders.run,
    prompts.KIND: prompts.run,
    agents.REWARDS: agents.run_rewards,
    agents.KIND: agents.run,
    returns.KIND: returns.run,
}
"""What is done for every seed, by the kind of its records, in this order."""
PAGE: Final = "page"


def main(argv: list[str] | None = None) -> None:
    """Parses the command line and does what has no record yet."""
    words = sys.argv[1:] if argv is None else argv
    options = _parser().parse_args(words)
    work = Work(
        folder=options.work,
        records=Records(_records(options), command_of(words)),
        effort=QUICK if options.quick else FULL,
        domains=tuple(options.domain or DOMAINS),
        sizes=tuple(options.sizes or ()),
        encoder=options.encoder,
        agents=tuple(options.agents or ()),
        threads=options.threads,
    )
    try:
        _check(work)
        for seed in options.seeds or work.effort.agent_seeds:
            for kind in options.only or STAGES:
                if kind != PAGE and (options.seeds or seed in work.effort.seeds_of(kind)):
                    STAGES[kind](work, seed)
        if options.only is None or PAGE in options.only:
            page.run(work)
    except RelabelError as error:
        raise SystemExit(f"figures: {error}") from error


def _check(work: Work) -> None:
    """Refuses names that no domain asked for has."""
    domains = [DOMAINS[name] for name in work.domains]
    sizes = {size for domain in domains for size in domain.sizes}
    known = {name for domain in domains for name in agents.known(domain)}
    for option, given, names in (("--sizes", work.sizes, sizes), ("--agents", work.agents, known)):
        if wrong := sorted(set(given) - names):
            told = f"{', '.join(wrong)}: unknown; the known ones are {', '.join(sorted(names))}"
            raise RelabelError(f"{option} {told}")


def _records(options: argparse.Namespace) -> Path:
    if options.records is not None:
        return Path(options.records)
    return Path(options.work) / "results" if options.quick else Path("docs/results")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=path_argument, required=True, help="folder of heavy files")
    parser.add_argument(
        "--records", type=path_argument,
        help="folder of records (default: docs/results; with --quick WORK/results)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny, to see that everything runs")
    parser.add_argument("--only", nargs="+", choices=[*STAGES, PAGE], help="kinds (default: all)")
    parser.add_argument("--domain", nargs="+", choices=list(DOMAINS), help="default: all")
    parser.add_argument("--sizes", nargs="+", help="of encoders (default: all)")
    parser.add_argument(
        "--encoder",
        help="in place of those trained here, such as ViT-B-32:laion2b_s34b_b79k; prompts only",
    )
    parser.add_argument("--agents", nargs="+", help="names of agents (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2, of agents also 3 4")
    parser.add_argument("--threads", type=int, default=1, help="of trainings (default: 1)")
    return parser


if __name__ == "__main__":
    main()
