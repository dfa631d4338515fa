"""Runs over time: older versions, added encoders, other directories, kept checkpoints, reports."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from offline_rl import checkpoints
from offline_rl.dataset import GoalDataset
from offline_rl.run_config import CONFIG, load_config
from relabel.testing import PixelMeanEncoder
from schemas.enums import LastStep, Timing
from schemas.store import Store
from tests.offline_rl import playground
from tests.vlm_relabel.cli.cli_outcomes import Run, refusal

ROOM = "tests.offline_rl.rooms:Colours"


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    source = playground.write_source(folder / "playground" / "1.0.0")
    playground.embed(source, folder / "store", LastStep.FINAL_OBSERVATION)
    playground.score(folder / "store", "v1", timing=Timing.NEXT_FRAME)
    playground.goal_dataset(folder / "store", "gc1", "v1", playground.SPLITS)
    return folder


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Path:
    """A store with `gc1`, and its source; to add to."""
    return Path(shutil.copytree(_made, tmp_path / "made"))


def words(store: Path | str, out: Path | str, *more: Any, steps: int = 4) -> list[Any]:
    return [
        *("train", store, "--dataset", "gc1", "--algo", "discrete-cql", "--action", "choice"),
        *("--out", out, "--steps", steps, "--log-every", 2, "--checkpoint-every", 2),
        *("--set", "hidden_units=[8]", "--set", "batch_size=4", *more),
    ]


def fine(run: Run, *line: Any) -> Any:
    result = run(*line)
    assert result.exit_code == 0, result.output
    return result


def second_encoder(made: Path) -> None:
    playground.embed(
        made / "playground" / "1.0.0",
        made / "store",
        LastStep.FINAL_OBSERVATION,
        encoder=lambda *_, **__: PixelMeanEncoder(version=1),
    )


# --- what is added or moved later


def test_added_encoder_breaks_no_run(run: Run, made: Path, tmp_path: Path) -> None:
    store, out = made / "store", tmp_path / "run"
    see = ("--observation", "embedding:pixel")
    fine(run, *words(store, out, *see))
    second_encoder(made)
    told = json.loads(fine(run, "evaluate", out, "--fqe-steps", 0, "--json").stdout)
    assert told["step"] == 4
    longer = fine(run, *words(store, out, *see, steps=6))  # the same command, with more steps
    assert "goes on from its checkpoint after 4 steps" in longer.stderr
    message = refusal(run(*words(store, tmp_path / "new", *see), "--json"))
    assert "embedding:pixel fits several tables" in message


def test_run_is_evaluated_from_another_directory(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    fine(run, *words("store", tmp_path / "run"))
    assert load_config(tmp_path / "run").store == str(made / "store")
    monkeypatch.chdir(tmp_path)
    fine(run, "evaluate", "run", "--fqe-steps", 0)


# --- runs of earlier versions


def as_of_0_1(run_folder: Path, **changes: Any) -> None:
    """Rewrites the configuration with the keys that runs had before joined actions."""
    path = run_folder / CONFIG
    content = json.loads(path.read_text())
    for name in ("layout", "discrete", "keep"):
        del content[name]
    (content["action"],) = content.pop("actions")
    content["goals"] = content.pop("goal_encoding")
    content["rewards"] = content.pop("learn_from")
    path.write_text(json.dumps({**content, **changes}))


def test_earlier_run_is_evaluated_rolled_out_and_resumed(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "relabel.encoders.open_clip.load_encoder", lambda *_, **__: PixelMeanEncoder()
    )
    store, out = made / "store", tmp_path / "run"
    see = ("--observation", "embedding:pixel", "--goal-encoding", "one-hot")
    fine(run, *words(store, out, *see))
    as_of_0_1(out, observations=["embedding:pixel"])
    rollout = ("--env", ROOM, "--episodes", 2, "--encoder", "fake", "--fqe-steps", 2)
    told = json.loads(fine(run, "evaluate", out, *rollout, "--json").stdout)
    assert {o["policy"] for o in told["outcomes"]} == {"agent", "random"}
    assert len(told["values"][0]["fqe_fits"]) == 3
    fine(run, *words(store, out, *see, steps=6))
    assert load_config(out).observations[0].startswith("embedding:pixel-mean-")
    as_of_0_1(out, observations=["embedding:pixel"])
    second_encoder(made)
    assert "fits several tables" in refusal(run("evaluate", out, "--fqe-steps", 0, "--json"))


def test_run_of_another_scale_is_evaluated_and_not_resumed(
    run: Run, made: Path, tmp_path: Path
) -> None:
    """Actions of integers had no scaler once; an agent without one is another agent."""
    store, out = made / "store", tmp_path / "run"
    line = [*words(store, out), "--algo", "bc", "--action", "action"]
    for option, value in (("--algo", "bc"), ("--action", "action")):
        place = line.index(option)
        line[place + 1] = value
    line = line[:-4]
    fine(run, *line)
    path = out / "algorithm.json"
    content = json.loads(path.read_text())
    content["action_scaler"] = {"type": "none", "params": {}}
    path.write_text(json.dumps(content))
    message = refusal(run(*line, "--json"))
    assert "holds another run" in message and "action_scaler: that of the run differs" in message
    assert "can be evaluated" in message
    fine(run, "evaluate", out, "--fqe-steps", 0)


def test_run_of_a_later_version_is_refused(run: Run, made: Path, tmp_path: Path) -> None:
    fine(run, *words(made / "store", tmp_path / "run"))
    path = tmp_path / "run" / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "smell": 3}))
    message = refusal(run("evaluate", tmp_path / "run", "--json"))
    assert "or of a later version" in message and "smell" in message


# --- checkpoints that stay


def test_newest_checkpoints_stay(run: Run, made: Path, tmp_path: Path) -> None:
    store, out = made / "store", tmp_path / "run"
    fine(run, *words(store, out, "--keep", 2, steps=9))
    kept = [path.name for path in checkpoints.checkpoints(out)]
    assert kept == ["step-00000008", "step-00000009"]
    assert {path.name for path in (out / "checkpoints").iterdir()} == set(kept)
    message = refusal(run("evaluate", out, "--step", 2, "--json"))
    assert "no checkpoint of step 2; there are those of 8, 9" in message
    fine(run, "evaluate", out, "--step", 8, "--fqe-steps", 0)
    told = json.loads(fine(run, *words(store, out, "--keep", 1, steps=11), "--json").stdout)
    assert told["resumed_from"] == 9
    assert [path.name for path in checkpoints.checkpoints(out)] == ["step-00000011"]
    refusal_of_none = run(*words(store, out, "--keep", 0, steps=11))
    assert refusal_of_none.exit_code == 2


def test_keeping_fewer_trains_the_same_agent(run: Run, made: Path, tmp_path: Path) -> None:
    from tests.offline_rl.runs import assert_same_weights

    store = made / "store"
    for keep in (1, 9):
        fine(run, *words(store, tmp_path / str(keep), "--keep", keep, steps=8))
    one, nine = (checkpoints.checkpoints(tmp_path / str(keep)) for keep in (1, 9))
    assert (len(one), len(nine)) == (1, 4)
    assert_same_weights(one[-1], nine[-1])


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (9, 99_999_999, 100_000_000, 1_234_567_890):
        checkpoints.checkpoint_folder(tmp_path, step).mkdir(parents=True)
    found = [path.name for path in checkpoints.checkpoints(tmp_path)]
    assert found == [
        "step-00000009",
        "step-99999999",
        "step-100000000",
        "step-1234567890",
    ]


# --- reports


def test_reports_are_kept_and_repeat(run: Run, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    fine(run, *words(made / "store", out))
    line = ("evaluate", out, "--fqe-steps", 2, "--fqe-fits", 2, "--seed", 5, "--json")
    first, second = (json.loads(fine(run, *line).stdout) for _ in range(2))
    assert first["values"] == second["values"]
    assert all(len(set(v["fqe_fits"])) == 2 for v in first["values"])
    assert [Path(told["saved"]).name for told in (first, second)] == [
        f"step-00000004-validation-{number}.json" for number in (1, 2)
    ]
    for told in (first, second):
        assert json.loads(Path(told["saved"]).read_text()) == told
        options = told["options"]
        assert (options["fqe_steps"], options["fqe_fits"], options["seed"]) == (2, 2, 5)
        assert told["versions"].keys() == {"vlm-relabel", "d3rlpy", "torch"}
    other = json.loads(fine(run, *line[:-3], "--seed", 6, "--json").stdout)
    assert other["values"] != first["values"]


def test_empty_split_names_those_that_are_not(run: Run, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run of mine"
    everything = playground.SPLITS.model_copy(update={"validation": 0})
    playground.goal_dataset(made / "store", "all", "v1", everything)
    line = words(made / "store", out)
    line[line.index("gc1")] = "all"
    result = fine(run, *line)
    assert f"next:\n  vlm-relabel evaluate '{out}' --split train" in result.stdout
    message = refusal(run("evaluate", out, "--json"))
    assert "in the validation split; give --split train, or build" in message
    fine(run, "evaluate", out, "--split", "train", "--fqe-steps", 0)


def test_split_without_success_is_evaluated_all_the_same(
    run: Run, made: Path, tmp_path: Path
) -> None:
    """`--positive-share` is how to train; the validation split here has failures only."""
    store, out = made / "store", tmp_path / "run"
    playground.goal_dataset(store, "mixed", "v1", playground.SPLITS)
    line = words(store, out, "--positive-share", 0.5)
    line[line.index("gc1")] = "mixed"
    fine(run, *line)
    told = json.loads(fine(run, "evaluate", out, "--fqe-steps", 2, "--json").stdout)
    rows = GoalDataset(Store.open(str(store)), "mixed").table.to_pylist()
    held_out = [row for row in rows if row["split"] == "validation"]
    assert sum(v["trajectories"] for v in told["values"]) == len(held_out)
    of_train = ("--split", "train", "--fqe-steps", 2, "--json")
    train = json.loads(fine(run, "evaluate", out, *of_train).stdout)
    assert "train split: the agent was trained on these very trajectories" in train["notes"]


# --- encoders


class Other(PixelMeanEncoder):
    """Another fingerprint."""

    def __init__(self) -> None:
        super().__init__(version=7)


def test_encoder_is_loaded_as_the_store_says(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(name: str, **options: Any) -> PixelMeanEncoder:
        asked.append((name, options))
        return PixelMeanEncoder()

    monkeypatch.setattr("relabel.encoders.open_clip.load_encoder", load)
    out = tmp_path / "run"
    fine(run, *words(made / "store", out, "--observation", "observation.state"))
    rollout = ("--fqe-steps", 0, "--env", ROOM, "--episodes", 1, "--encoder", "fake")
    fine(run, "evaluate", out, *rollout)
    assert asked == [("fake", {"device": "cpu", "precision": "float32", "preprocess": {}})]
    monkeypatch.setattr("relabel.encoders.open_clip.load_encoder", lambda *_, **__: Other())
    message = refusal(run("evaluate", out, *rollout, "--json"))
    assert "--encoder fake: the rewards were made with pixel-mean:0 at float32" in message
    assert "this is pixel-mean:7 at float32" in message


def test_agent_may_see_another_encoder_than_the_rewards(
    run: Run, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second_encoder(made)
    table = next(p.name for p in (made / "store" / "embeddings").iterdir() if p.is_dir()
                 and PixelMeanEncoder(version=1).spec.fingerprint[:8] in p.name)  # fmt: skip
    out = tmp_path / "run"
    fine(run, *words(made / "store", out, "--observation", f"embedding:{table}"))
    rollout = ("--fqe-steps", 0, "--env", ROOM, "--episodes", 1, "--encoder", "fake")
    monkeypatch.setattr(
        "relabel.encoders.open_clip.load_encoder", lambda *_, **__: PixelMeanEncoder(version=1)
    )
    told = json.loads(fine(run, "evaluate", out, *rollout, "--json").stdout)
    assert all(outcome["vlm_return"] is None for outcome in told["outcomes"])
    assert any("no return by the VLM: the rewards were made with" in n for n in told["notes"])
    monkeypatch.setattr(
        "relabel.encoders.open_clip.load_encoder", lambda *_, **__: PixelMeanEncoder()
    )
    message = refusal(run("evaluate", out, *rollout, "--json"))
    assert "what the agent sees was embedded with pixel-mean:1" in message


# --- spellings of earlier versions


@pytest.mark.parametrize(
    ("old", "text"),
    [
        (("--goals", "one-hot"), "--goals names a goal set; for `train` give --goal-encoding one-"),
        (("--rewards", "none"), "--rewards names a reward set; for `train` give --learn-from none"),
    ],
)
def test_old_spellings_name_the_new(
    run: Run, made: Path, tmp_path: Path, old: tuple[str, str], text: str
) -> None:
    message = refusal(run(*words(made / "store", tmp_path / "run", *old), "--json"))
    assert text in message
    assert not (tmp_path / "run").exists()
