"""A real robot dataset: inspect and relabel a BridgeData directory with its own instructions.

    python -m examples.bridge --data ../shared/data/bridge_dataset/1.0.0 --out demo/bridge.store

Without --encoder, the playroom's tiny encoder is used: it proves the path without a network, but
has never seen a robot, so its rewards mean nothing here. For rewards that do, give an open_clip
model such as ViT-B-32:laion2b_s34b_b79k (fetched from the hub on first use) or NAME:/path.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from schemas.locations import path_argument

TINY = Path(__file__).parent / "playroom" / "encoders" / "small"
WHERE = (
    "no BridgeData here. A small sample in RLDS form is in the repository octo-models/octo "
    "(tests/debug_dataset); the whole of BridgeData V2 is at "
    "https://rail.eecs.berkeley.edu/datasets/bridge_release/data/tfds/. Then: "
    "make bridge DATA=/path/to/bridge_dataset/1.0.0"
)
CONSOLE = Console(soft_wrap=True, highlight=False)


def run(*words: str) -> None:
    """Runs `vlm-relabel` as a user would, and stops at its first error."""
    CONSOLE.print(f"\n[bold]$ {shlex.join(['vlm-relabel', *words])}[/]")
    program = Path(sys.executable).with_name("vlm-relabel")
    if code := subprocess.run([str(program), *words], check=False).returncode:
        raise SystemExit(code)


def main(argv: list[str] | None = None) -> None:
    """Inspects, relabels and verifies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=path_argument, required=True, help="directory with features.json"
    )
    parser.add_argument("--out", type=path_argument, required=True, help="store to write")
    parser.add_argument("--encoder", default=f"local-dir:{TINY}", help="open_clip model")
    options = parser.parse_args(argv)
    if not (options.data / "features.json").exists():
        CONSOLE.print(f"{options.data}: {WHERE}")
        return
    data, store = str(options.data), str(options.out)
    run("inspect", data)
    run(
        *("relabel", "--source", data, "--split", "train", "--camera", "observation/image_0"),
        *("--encoder", options.encoder, "--goals", "field:language_instruction"),
        *("--null-prompt", "an empty table", "--truncate-texts", "--store", store),
    )
    run("verify", store)
    run("audit", store, "--encoder", options.encoder)
    if options.encoder == f"local-dir:{TINY}":
        CONSOLE.print(
            "\nThese scores come from the playroom's tiny encoder, which knows no robots: the path "
            "is real, the rewards mean nothing. Use --encoder ViT-B-32:laion2b_s34b_b79k for some "
            "that do (needs a network on first use)."
        )


if __name__ == "__main__":
    main()
