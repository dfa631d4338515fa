"""What is tortured. A command that comes later joins by a line in `COMMANDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.pipelines.small_source import GOALS, write_source

Target = Literal["job", "worker", "parent"]

LENGTHS: Final = (3, 2, 4, 2, 3, 1, 4, 3, 2, 3, 4, 2, 3, 3, 2, 4)  # steps per episode
SHARDS: Final = (9, 7)

_ENCODER: Final = "--encoder relabel.testing:PixelMeanEncoder"  # takes no time
_SOURCE: Final = f"--source ../source --camera front --episodes-per-slice 1 {_ENCODER}"
_GOALS: Final = "--goals ../goals.yaml"
_STORE: Final = "--store store --threads 1"


@dataclass(frozen=True)
class Command:
    """A command of the program, in a folder with `store` and `run`."""

    name: str
    words: str
    given: str | None = None  # the command whose result it starts from; None: an empty folder
    workers: bool = True  # whether it takes --workers
    prepare: Callable[[Path], object] | None = None  # damages the folder before it starts

    @property
    def targets(self) -> tuple[Target, ...]:
        """What can be killed: every process at once, one worker, or the parent of the workers."""
        return ("job", "worker", "parent") if self.workers else ("job",)


def _damage(folder: Path) -> None:
    """One slice of each table of a relabeling is gone, another has a flipped bit."""
    for table in ("steps", "embeddings/*", "rewards/v1"):
        changed, gone, *_ = sorted((folder / "store").glob(f"{table}/slice-*.parquet"))
        content = bytearray(changed.read_bytes())
        content[len(content) // 2] ^= 1
        changed.write_bytes(content)
        gone.unlink()


COMMANDS: Final = (
    Command("embed", f"embed {_SOURCE} {_STORE}"),
    Command("score", f"score {_GOALS} {_ENCODER} {_STORE}", given="embed"),
    Command("relabel", f"relabel {_SOURCE} {_GOALS} {_STORE}"),
    Command("build-goals", "build-goals store --threads 1 --materialize", given="relabel"),
    Command(
        "train",
        "train store --dataset gc1 --algo iql --out run --steps 60 --checkpoint-every 5 "
        "--log-every 4 --keep 3 --set hidden_units=[16] --set batch_size=8",
        given="build-goals",
        workers=False,
    ),
    Command(
        "repair",
        "repair store --yes --allow-code",
        given="relabel",
        workers=False,
        prepare=_damage,
    ),
)


def write_inputs(folder: Path) -> None:
    """The source and the goals that the commands name."""
    write_source(folder / "source", LENGTHS, SHARDS)
    (folder / "goals.yaml").write_text(GOALS)
