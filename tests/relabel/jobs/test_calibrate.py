"""The job `calibrate`: the reward set that it writes is one like any other."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import relabel.jobs.calibrate as job
from relabel.goal_datasets.inputs import dataset_inputs
from relabel.jobs.calibrate import CalibrateOptions, CalibrateReport, calibrate
from relabel.jobs.options import JobOptions
from relabel.jobs.work import Engine
from relabel.slices.score_slice import load_scorer
from relabel.testing import PixelMeanEncoder
from schemas.errors import RelabelError
from schemas.goals import Goal, GoalSet
from schemas.labels import Labels
from schemas.manifests import GoalDatasetManifest
from schemas.store import MANIFEST, Store
from schemas.tables import matrix
from schemas.verify import verify_store
from tests import small
from tests.relabel.goal_dataset_stores import build

ODD = ('a <script>alert("x")</script> room', 'a, "quoted"\nroom', "🟥🤖 a room", "غرفة حمراء")


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    store = small.build_store(folder / "store", small.write_source(folder / "source"))
    small.score(store, "cosine", reward="cosine")
    small.score(store, "difference", reward="potential-difference/probability")
    small.score(store, "bare", scores=False)
    return folder / "store"


@pytest.fixture(name="place")
def _place(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store"))


def labels_of(location: Path, rewards: str = "v1", level: float = 0.5) -> Labels:
    """Every frame, answered by whether its score is among the goal's higher ones."""
    store = Store.open(str(location))
    table = store.read(f"rewards/{rewards}", ["episode_id", "step", "score"])
    scores = matrix(table.column("score"))
    bound = np.nanquantile(scores, level, axis=0)
    ids = store.goals(rewards).column("goal_id").to_pylist()
    rows = zip(table.column(0).to_pylist(), table.column(1).to_pylist(), scores, strict=True)
    return Labels.of_rows(
        (episode, step, goal, bool(score[g] > bound[g]))
        for episode, step, score in rows
        for g, goal in enumerate(ids)
        if not np.isnan(score[g])
    )


def run(
    location: Path, labels: Labels | None = None, how: dict[str, Any] | None = None, **what: Any
) -> CalibrateReport:
    base = what.setdefault("rewards", "v1")
    known = labels_of(location, base) if labels is None and base != "bare" else labels
    options = CalibrateOptions(**{"labels": known, "draws": 5, **what})
    return calibrate(JobOptions(store=str(location), command="again", **(how or {})), options)


def problems(location: Path) -> list[str]:
    found = verify_store(Store.open(str(location)))
    return [problem.text for _, own in found for problem in own]


@pytest.mark.parametrize("method", ["platt", "best-f1", "precision"])
def test_thresholds_leave_scores_and_make_rewards(place: Path, method: str) -> None:
    report = run(place, method=method)
    assert problems(place) == []
    store = Store.open(str(place))
    before, after = (store.read(f"rewards/{name}") for name in ("v1", "v1-calibrated"))
    assert after.column("score").equals(before.column("score"))
    betas = store.goals("v1-calibrated").column("threshold").to_numpy()
    assert betas.tolist() == [goal.beta for goal in report.calibration.goals]
    manifest = store.rewards("v1-calibrated")
    assert manifest.binary
    assert manifest.function["of"] == store.rewards("v1").function
    told = manifest.function["provenance"]
    assert told["labels"] == labels_of(place).sha256
    assert told["rewards_fingerprint"] == store.rewards("v1").fingerprint
    assert told["method"] == method


@pytest.mark.parametrize("rewards", ["v1", "cosine", "difference"])
@pytest.mark.parametrize("output", ["thresholds", "probabilities"])
def test_the_scorer_of_the_new_set_gives_its_scores_and_rewards(
    place: Path, rewards: str, output: str
) -> None:
    run(place, rewards=rewards, output=output, name="new")
    assert problems(place) == []
    store, encoder = Store.open(str(place)), PixelMeanEncoder()
    scorer = load_scorer(store, "new", encoder.encode_texts, encoder.spec)
    embeddings = [
        matrix(store.read(f"embeddings/{name}", ["embedding"]).column(0))
        for name in store.rewards("new").embeddings
    ]
    steps = store.read("rewards/new", ["step"]).column(0).to_numpy()
    lengths = np.diff(np.append(np.flatnonzero(steps == 0), len(steps)))
    scores = scorer.scores(embeddings, lengths)
    stored = store.read("rewards/new")
    np.testing.assert_allclose(scores, matrix(stored.column("score")), atol=1e-5)
    own = scorer.rewards(matrix(stored.column("score")), lengths)
    np.testing.assert_allclose(own, matrix(stored.column("reward")), atol=1e-6)
    manifest = store.rewards("new")
    assert manifest.binary == (output == "thresholds")
    if output == "probabilities":
        assert manifest.score_range == (0, 1)
        differs = manifest.function["name"] == "potential-difference"
        assert differs == (rewards == "difference")


def test_a_goal_dataset_is_built_on_it(place: Path) -> None:
    run(place)
    store = Store.open(str(place))
    dataset = build(store, rewards="v1-calibrated")
    assert isinstance(dataset, GoalDatasetManifest)
    assert dataset_inputs(store, dataset) is not None


def test_a_rerun_does_nothing_and_other_labels_are_refused(place: Path) -> None:
    first = run(place)
    assert first.slices_new == 3
    before = small.tree(place)
    assert run(place).slices_new == 0
    assert small.tree(place) == before
    with pytest.raises(RelabelError, match=r"made from other inputs(.|\n)*provenance"):
        run(place, labels_of(place, level=0.8))
    again = run(place, labels_of(place, level=0.8), {"overwrite": True})
    assert again.slices_new == 3
    assert problems(place) == []


def test_a_table_is_continued_with_the_numbers_that_it_was_begun_with(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    store = Store.open(str(place))
    whole = small.tree(place)
    manifest = store.rewards("v1-calibrated")
    (place / manifest.table / MANIFEST).unlink()
    store = Store.open(str(place))
    store.begin(manifest.model_copy(update={"files": ()}))
    store.discard(manifest.table, store.slices[2])
    real = job._function

    def elsewhere(*told: Any) -> Any:  # on another machine the last digits differ
        made = real(*told)
        return made.model_copy(update={"betas": tuple(b + 1e-7 for b in made.betas)})

    monkeypatch.setattr(job, "_function", elsewhere)
    assert run(place).slices_new == 1
    found = small.tree(place)
    changed = {name for name in whole if found.get(name) != whole[name]}
    assert all("calibrated" not in name or name.endswith(".json") for name in changed)


def test_a_dry_run_writes_nothing(place: Path) -> None:
    before = small.tree(place)
    report = run(place, how={"dry_run": True})
    assert report.dry_run
    assert len(report.calibration.goals) == 3
    assert small.tree(place) == before


def test_beam_writes_the_same_bytes(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("apache_beam")
    from pipelines.jobs import with_beam

    other = Path(shutil.copytree(place, tmp_path / "beam"))
    run(place)
    engine: Engine = with_beam
    options = CalibrateOptions(labels=labels_of(other), draws=5)
    done = calibrate(JobOptions(store=str(other), command="again"), options, engine)
    assert done.engine == "Beam"
    files = [f.file for f in Store.open(str(place)).rewards("v1-calibrated").slice_files]
    for file in files:
        one, two = (folder / "rewards/v1-calibrated" / file for folder in (place, other))
        assert one.read_bytes() == two.read_bytes()


def test_odd_texts_of_goals_and_one_goal(place: Path) -> None:
    store = Store.open(str(place))
    goals = tuple(Goal(id=f"odd{i}", texts=(text,), family=text) for i, text in enumerate(ODD))
    small.score(store, "odd", goals=GoalSet(goals=goals), reward="cosine")
    small.score(store, "one", goals=GoalSet(goals=goals[:1]), reward="cosine")
    for name, count in (("odd", 4), ("one", 1)):
        report = run(place, rewards=name, name=f"{name}-calibrated")
        assert len(report.calibration.goals) == count
    assert [goal.family for goal in report.calibration.goals] == [ODD[0]]
    assert problems(place) == []


def test_frames_without_a_score_have_no_reward(place: Path) -> None:
    """The small source has none that is missing; rewards of the last frames are."""
    run(place, output="probabilities")
    rewards = matrix(Store.open(str(place)).read("rewards/v1-calibrated", ["reward"]).column(0))
    last = [2, 3, 8, 10]
    assert np.isnan(rewards[last]).all()
    assert not np.isnan(np.delete(rewards, last, axis=0)).any()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"name": "v1"}, "is the reward set that is calibrated"),
        ({"rewards": "v9"}, "no table 'rewards/v9'"),
        (
            {"rewards": "bare", "labels": Labels.of_rows([])},
            "expected scores, and it was stored without",
        ),
        ({"labels_field": "truth"}, "--labels and --labels-field exclude each other"),
        ({"where": "is_last"}, "--where: expected --labels-field, whose"),
        ({"success_rate": 0.5}, "--success-rate: .* goes with --method quantile"),
        ({"method": "quantile"}, "--success-rate: the share of episodes"),
        ({"method": "best-f1", "output": "probabilities"}, "best-f1 gives thresholds alone"),
        (
            {"method": "best-f1", "precision": 0.8},
            "--method best-f1 is asked for no prec",
        ),
        ({"method": "valley", "precision": 0.95}, "those that are: platt, isotonic, precision"),
        ({"method": "valley", "labels": None, "drawn": "by-answer"}, "--drawn by-answer: says how"),
        ({"labels": None, "labels_field": "t", "drawn": "by-score"}, "there are no --labels"),
        ({"labels": Labels.of_rows([])}, "no label to fit to: there is none"),
        (
            {"labels": Labels.of_rows([("x", 0, "y", True)])},
            "no label to fit to: 1 labels of",
        ),
        ({"labels": "gone.csv"}, "gone.csv: there is no such file"),
        ({"test_where": "gone"}, "gone"),
        ({"name": "a/b"}, "--name"),
    ],
)
def test_what_cannot_be(made: Path, what: dict[str, Any], said: str) -> None:
    options = CalibrateOptions(labels=labels_of(made))
    with pytest.raises(RelabelError, match=said):
        calibrate(JobOptions(store=str(made)), replace(options, **what))


def test_labels_are_needed_or_a_method_without(made: Path) -> None:
    with pytest.raises(RelabelError, match=r"expected labels, got none; give --labels FILE"):
        calibrate(JobOptions(store=str(made)), CalibrateOptions())
    with pytest.raises(RelabelError, match="--test-where: expected labels"):
        calibrate(
            JobOptions(store=str(made)), CalibrateOptions(method="valley", test_where="is_last")
        )


def test_what_is_calibrated_is_not_calibrated_again(place: Path) -> None:
    run(place)
    with pytest.raises(RelabelError, match="is calibrated already; calibrate the reward set v1"):
        run(place, rewards="v1-calibrated", name="twice")
