"""What a precision does to scores and rewards, and what it gives in speed.

    python -m benchmarks.precision [--quick] [--repeats N] [--out FILE]

Frames are embedded in float32 and in lower precisions, and scored for the same goals with the
default reward (softmax against negatives, temperature of the model). Told are the largest and the
mean change of a score, and how many rewards flip at two thresholds: 0.5, and per goal the one above
which 2 % of its float32 scores lie, as a calibration without labels sets it.

Of bfloat16 and float16 there are two forms: the blocks of the image tower alone, as the project
computes, and the whole model. `stored float16` is float32 arithmetic with embeddings rounded to
float16. float16 on a CPU is emulated for its rounding, and not timed.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import common
from relabel.encoders.open_clip import OpenClipEncoder, load_encoder
from relabel.goals.files import load_goals
from relabel.goals.prompts import resolve_prompts
from relabel.goals.readings import Readings
from relabel.rewards import Scorer, bind, parse_reward
from schemas.enums import Fusion, Timing
from schemas.goals import GoalSet

PLAYROOM = Path(__file__).parents[1] / "examples/playroom"
TOP = 0.02  # share of the scores above a calibrated threshold
BATCH = 64


@dataclass(frozen=True)
class Case:
    """One encoder with the frames and goals that it is asked for."""

    name: str
    encoder: str
    frames: Sequence[Any]  # (H, W, 3) uint8
    goals: GoalSet


def main() -> None:
    """Measures and prints."""
    parser = common.options(__doc__, repeats=3)
    parser.add_argument("--frames", type=int, default=2000, help="of the playroom")
    parser.add_argument("--photos", type=int, default=128, help="of the ViT-B-32")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    options = parser.parse_args()
    frames, photos = (64, 2) if options.quick else (options.frames, options.photos)
    rows: list[list[object]] = []
    result: dict[str, Any] = {}
    with common.folder() as directory:
        for case in cases(directory, frames, photos, options.quick):
            found = measure(case, options.device, 1 if options.quick else options.repeats)
            result[case.name] = found
            rows += [[f"{case.name}, {name}", *values.values()] for name, values in found.items()]
    columns = ["encoder, precision", "largest", "mean", "flips at 0.5", "flips at top", "of"]
    common.show(
        "Change of scores and rewards against float32", [*columns, "frames/s"], rows, result,
        options.out,
    )  # fmt: skip


def cases(directory: Path, frames: int, photos: int, quick: bool) -> list[Case]:
    """Both encoders of the playroom on frames of its own, and a ViT with random weights."""
    from examples.playroom.check_encoder import held_out_sample

    seen = list(held_out_sample(frames).frames)
    own = load_goals(str(PLAYROOM / "goals.yaml"))
    shipped = [
        Case(name, f"local-dir:{PLAYROOM / 'encoders' / name}", seen, own)
        for name in ("small", "smaller")
    ]
    if quick:
        return shipped
    invented = load_goals(str(common.goals_file(directory / "goals.yaml", 50)))
    pictures = list(common.photos(photos, 256, 256))
    return [*shipped, Case("ViT-B-32", common.random_vit(directory), pictures, invented)]


def measure(case: Case, device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Change of scores, flips and speed, by precision."""
    full = load_encoder(case.encoder, device=device, precision="float32")
    forms = {"float32": full}
    for precision in ("bfloat16", "float16"):
        forms[precision] = _lowered(full, precision, whole=False)
        forms[f"{precision}, whole model"] = _lowered(full, precision, whole=True)
    images = {name: form.encode_images(case.frames) for name, form in forms.items()}
    speeds = common.medians(
        common.interleaved(
            {
                name: _speed(form, case)
                for name, form in forms.items()
                if device != "cpu" or not name.startswith("float16")
            },
            repeats,
        )
    )
    scorers = {name: _scorer(form, case.goals) for name, form in forms.items()}
    reference = _scores(scorers["float32"], images["float32"])
    images["stored float16"] = images["float32"].astype(np.float16).astype(np.float32)
    scorers["stored float16"] = scorers["float32"]
    return {
        name: {
            **_changes(reference, _scores(scorers[name], own)),
            "frames_per_s": speeds.get(name, float("nan")),
        }
        for name, own in images.items()
    }


def _lowered(full: OpenClipEncoder, precision: str, whole: bool) -> OpenClipEncoder:
    """The same encoder in another precision."""
    spec = full.spec.model_copy(update={"precision": precision})
    model = copy.deepcopy(full._model)
    made = OpenClipEncoder(model, full._tokenizer, spec, full.device, "measured")
    if whole:
        for module in made._model.visual.modules():
            module._forward_pre_hooks.clear()
        made._model.to(made._dtype)
    return made


def _speed(encoder: OpenClipEncoder, case: Case) -> Callable[[], float]:
    batch = encoder.preprocess(list(case.frames[:BATCH]))

    def run() -> float:
        encoder.forward(batch[:1])
        work = common.seconds(lambda: encoder.forward(batch).cpu())
        return len(batch) / work

    return run


def _scorer(encoder: OpenClipEncoder, goals: GoalSet) -> Scorer:
    readings = Readings(goals, encoder.encode_texts)
    prompts = resolve_prompts(goals, readings.alike())
    vectors, _ = readings.means(prompts.texts, prompts.examples)
    function = parse_reward("softmax-threshold")
    return bind(
        function, goals, prompts, vectors, encoder.spec,
        timing=Timing.SAME_FRAME, fusion=Fusion.MEAN,
    )  # fmt: skip


def _scores(scorer: Scorer, images: Any) -> Any:
    """(N, G) float32."""
    return scorer.scores([images], np.array([len(images)]))


def _changes(reference: Any, scores: Any) -> dict[str, float]:
    moved = np.abs(scores - reference)
    top = np.quantile(reference, 1 - TOP, axis=0)
    return {
        "largest": float(moved.max()),
        "mean": float(moved.mean()),
        "flips_at_half": int(((scores > 0.5) != (reference > 0.5)).sum()),
        "flips_at_top": int(((scores > top) != (reference > top)).sum()),
        "of": reference.size,
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    sys.exit(main())
