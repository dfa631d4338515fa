"""Methods of `calibrate` on simulated stores: against brute force, scikit-learn, and the truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve

from relabel.evaluation import distribution as distributions
from relabel.evaluation.assessment import (
    Assessment,
    Judged,
    assess,
    random_average_precision,
)
from relabel.evaluation.calibration import Asked, Calibration, calibrate
from relabel.evaluation.distribution import BINS, Distribution, from_top, read_distribution
from relabel.evaluation.evidence import Evidence, GoalFrames, of_field, of_labels
from relabel.evaluation.fits import Fitted, Method, Settings, fit
from relabel.evaluation.folds import FITTED, Folds, dealt, set_aside
from relabel.evaluation.metrics import calibration_error, episode_weights, interval
from relabel.evaluation.scales import Scale
from relabel.evaluation.tally import Drawn, Tallies, weights
from relabel.evaluation.thresholds import by_expectation, by_success_rate, by_valley
from relabel.rewards.curves import log_odds, sigmoid
from schemas.errors import StoreError
from schemas.labels import Labels
from schemas.store import Store
from tests.relabel.goal_dataset_stores import How, Told, make_store

Array = NDArray[np.float64]
Say = tuple[list[tuple[int, int, int]], bool]  # frames (episode, step, goal), and the answer
OF_PROBABILITIES = How(score_range=(0.0, 1.0))
METHODS: tuple[Method, ...] = ("platt", "isotonic", "best-f1", "precision", "quantile", "valley")


def simulated(
    goals: int = 4, episodes: int = 60, seed: int = 0, slope: float = 0.5, rate: float = -3.0
) -> list[Told]:
    """Scores whose log-odds tell the odds of the truth after a slope and a shift per goal."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(rate, 0.5, goals)
    told = []
    for _ in range(episodes):
        length = int(rng.integers(1, 12))
        z = rng.normal(0, 5, (length, goals))
        truth = rng.random((length, goals)) < sigmoid(slope * z + shift)
        scores = sigmoid(z).astype(np.float32)
        told.append(Told(scores > 0.5, scores=scores, truth=truth.astype(int)))
    return told


@pytest.fixture(name="told", scope="module")
def _told() -> list[Told]:
    return simulated()


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory, told: list[Told]) -> Store:
    return make_store(tmp_path_factory.mktemp("simulated") / "store", told, OF_PROBABILITIES)


def stacked(told: list[Told]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    scores = np.concatenate([t.scores for t in told if t.scores is not None])
    return scores, np.concatenate([t.truth for t in told if t.truth is not None]) > 0


def asked(
    store: Store,
    evidence: Evidence,
    *,
    method: Method = "platt",
    drawn: Drawn = "by-score",
    **how: float,
) -> Asked:
    settings = Settings(
        method=method,
        drawn=drawn,
        sampled="field" not in evidence.source,
        success_rate=0.3 if method == "quantile" else None,
        **how,  # type: ignore[arg-type]
    )
    found = read_distribution(store, store.rewards("v1"))
    betas = np.full(len(evidence.goal_ids), 0.5, np.float32)
    return Asked(evidence, found, settings, betas, draws=20)


def run(store: Store, evidence: Evidence, **how: object) -> tuple[Fitted, Calibration]:
    return calibrate(asked(store, evidence, **how), dealt(evidence))  # type: ignore[arg-type]


def ids_of(store: Store) -> list[str]:
    column = store.read("episodes", ["episode_id"]).column(0)
    return [str(one) for one in column.to_pylist()]


def labelled(store: Store, told: list[Told], places: list[tuple[int, int, int]]) -> Labels:
    """Labels of frames (episode, step, goal), answered by the truth."""
    ids, rows = ids_of(store), []
    for episode, step, goal in places:
        truth = told[episode].truth
        assert truth is not None
        rows.append((ids[episode], step, f"g{goal}", bool(truth[step, goal])))
    return Labels.of_rows(rows)


def some_frames(told: list[Told], count: int, seed: int = 0) -> list[tuple[int, int, int]]:
    """Frames of every goal at random."""
    rng = np.random.default_rng(seed)
    every = [(e, s) for e, t in enumerate(told) for s in range(len(t.rewards))]
    goals = told[0].rewards.shape[1]
    return [(*every[i], g) for g in range(goals) for i in rng.permutation(len(every))[:count]]


# --- distributions ----------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False])
def test_frames_and_episodes_are_counted_by_score(
    tmp_path: Path, binary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = simulated(goals=3, episodes=9)
    told[4].scores[0] = np.nan  # type: ignore[index]
    told[5].scores[:, 1] = np.nan  # type: ignore[index]
    told[6] = Told(np.zeros((0, 3)), scores=np.zeros((0, 3), np.float32), truth=np.zeros((0, 3)))
    how = replace(OF_PROBABILITIES, binary=binary)
    store = make_store(tmp_path / "store", told, how)
    monkeypatch.setattr(distributions, "_BATCH_SCORES", 3 * 4)  # four frames at a time
    found = read_distribution(store, store.rewards("v1"))
    expected = np.zeros((2, 3, BINS), int)
    for one in told:
        z = log_odds(one.scores) if one.scores is not None else None
        for goal in range(3):
            own = z[~np.isnan(z[:, goal]), goal]
            for value in own:
                expected[0, goal, found.bins(np.array(value))] += 1
            if len(own):
                expected[1, goal, found.bins(np.array(own.max()))] += 1
    np.testing.assert_array_equal(found.frames, expected[0])
    np.testing.assert_array_equal(found.episodes, expected[1])


def test_other_scores_are_standardised(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    told = []
    for length in (3, 5, 2):
        cosines = rng.normal([0.2, 0.3], 0.01, (length, 2)).astype(np.float32)
        told.append(Told(cosines, scores=cosines, truth=np.zeros((length, 2))))
    function = {"name": "cosine"}
    store = make_store(tmp_path / "store", told, How(binary=False, function=function))
    manifest = store.rewards("v1")
    scores = np.concatenate([t.scores for t in told if t.scores is not None]).astype(float)
    found = read_distribution(store, manifest)
    np.testing.assert_allclose(found.scale.mean, scores.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.scale.sd, scores.std(axis=0), rtol=1e-3)
    z = found.scale.z(scores, slice(None))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
    back = found.scale.scores(z[3])
    np.testing.assert_allclose(back, scores[3], rtol=1e-5)
    assert found.frames.sum() == 20


def test_a_score_that_never_differs_is_no_danger() -> None:
    scale = Scale.standard(np.array([0.5]), np.array([0.0]))
    assert scale.z(np.array([0.5, 0.7]), 0).tolist() == pytest.approx([0, 0.2])


# --- thresholds -------------------------------------------------------------------------------


def test_the_expected_precision_of_a_place_is_the_mean_probability_above(store: Store) -> None:
    found = read_distribution(store, store.rewards("v1"))
    p = sigmoid(0.4 * found.centres + np.array([[-3.0], [-1.0], [1.0], [-30.0]]))
    place, reached = by_expectation(p, found, 0.8)
    for goal in range(4):
        fitting = []
        for k in range(BINS):
            frames = found.frames[goal, k:]
            mean = (frames * p[goal, k:]).sum() / max(frames.sum(), 1)
            if frames.sum() and mean >= 0.8 and p[goal, k] > 0.5:
                fitting.append(k)
        assert bool(reached[goal]) == bool(fitting)
        if fitting:
            assert place[goal] == fitting[0]
    assert place[3] == BINS  # never rewarded: its probability is nowhere high enough


def test_a_success_rate_is_a_quantile_of_the_episodes(store: Store, told: list[Told]) -> None:
    found = read_distribution(store, store.rewards("v1"))
    best = np.array([t.scores.max(axis=0) for t in told if t.scores is not None])
    for rate in (0.05, 0.3, 0.9):
        betas = found.betas(by_success_rate(found, rate))
        shares = (best > betas).mean(axis=0)
        np.testing.assert_allclose(shares, rate, atol=2 / len(told))


def test_a_valley_lies_between_two_hills() -> None:
    rng = np.random.default_rng(0)
    low, high = rng.normal(-6, 1, 5000), rng.normal(7, 1, 60)
    scale = Scale.of_probabilities(3)
    frames = np.zeros((3, BINS), np.int64)
    two = np.concatenate([low, high])
    for goal, z in enumerate((two, low, two + 3)):
        frames[goal] = np.bincount(distributions.bins_of(scale, z), minlength=BINS)
    found = Distribution(scale, frames, frames)
    place, own = by_valley(found)
    assert own.tolist() == [True, False, True]
    assert -2 < found.edges[place[0]] < 4
    assert 1 < found.edges[place[2]] < 7
    assert -2 < found.edges[place[1]] < 7  # that of all goals together


def test_best_f1_and_precision_are_those_of_the_curve(store: Store, told: list[Told]) -> None:
    evidence = of_field(store, "v1", "truth")
    scores, truth = stacked(told)
    everything = {m: run(store, evidence, method=m, precision=0.6)[0] for m in METHODS[2:4]}
    for goal in range(4):
        precision, recall, _ = precision_recall_curve(truth[:, goal], scores[:, goal])
        best = (2 * precision * recall / np.maximum(precision + recall, 1e-9)).max()
        claimed = scores[:, goal] > everything["best-f1"].betas[goal]
        hits = (claimed & truth[:, goal]).sum()
        assert 2 * hits / (claimed.sum() + truth[:, goal].sum()) == pytest.approx(best, abs=0.01)
        enough = recall[:-1][precision[:-1] >= 0.6].max()
        claimed = scores[:, goal] > everything["precision"].betas[goal]
        hits = (claimed & truth[:, goal]).sum()
        assert hits / claimed.sum() >= 0.6
        assert hits / truth[:, goal].sum() == pytest.approx(enough, abs=0.02)


def test_isotonic_is_that_of_scikit_learn(store: Store, told: list[Told]) -> None:
    made, _ = run(store, of_field(store, "v1", "truth"), method="isotonic")
    scores, truth = stacked(told)
    assert made.knots is not None
    curved = [goal for goal in range(4) if made.knots[goal]]
    assert curved
    for goal in curved:
        centres = made.distribution.centres
        z = centres[made.distribution.bins(log_odds(scores[:, goal]))]
        theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(z, truth[:, goal])
        ours = made.probability(z, goal)
        np.testing.assert_allclose(ours, theirs.predict(z), atol=1e-9)


# --- figures ----------------------------------------------------------------------------------


def frames_of(
    score: Array, label: NDArray[np.bool_], episode: NDArray[np.int64], goal: int = 0
) -> GoalFrames:
    steps = np.arange(len(label))
    return GoalFrames(goal, f"g{goal}", "family", episode, steps, score.astype(np.float32), label)


def evidence_of(goals: list[GoalFrames], episodes: int) -> Evidence:
    ids = tuple(f"train/0/{i}" for i in range(episodes))
    named = tuple(one.goal_id for one in goals)
    families = tuple(one.family for one in goals)
    return Evidence("v1", named, families, ids, (), {}, lambda: iter(goals))


def assessed(goals: list[GoalFrames], episodes: int, beta: float, draws: int = 0) -> Assessment:
    def judge(frames: GoalFrames) -> Judged:
        p = frames.score.astype(float)
        return Judged(frames, frames.score > np.float32(beta), p, np.ones(len(frames)))

    found = assess(evidence_of(goals, episodes), [judge], draws=draws)[0]
    assert found is not None
    return found


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(300).round(2)
    label = rng.random(300) < score**2
    found = assessed([frames_of(score, label, np.arange(300) % 40)], 40, 0.7)
    one = found.goals[0]
    claimed = score.astype(np.float32) > np.float32(0.7)
    hits = (claimed & label).sum()
    assert one.precision == pytest.approx(hits / claimed.sum())
    assert one.recall == pytest.approx(hits / label.sum())
    assert one.f1 == pytest.approx(2 * hits / (claimed.sum() + label.sum()))
    assert one.average_precision == pytest.approx(average_precision_score(label, score))
    assert one.brier == pytest.approx(brier_score_loss(label, score), abs=1e-6)
    expected = calibration_error(label, score.astype(np.float32).astype(float))
    assert one.calibration_error == pytest.approx(expected, abs=1e-6)
    assert one.base_rate == pytest.approx(label.mean())
    assert found.all.macro.precision == found.all.pooled.precision == one.precision


@pytest.mark.parametrize("weighted", [False, True])
def test_draws_of_average_precision_have_its_mean(weighted: bool) -> None:
    """Four true frames among many: draws as they are lie higher, as in `compare`."""
    rng = np.random.default_rng(3)
    score, episode = rng.random(200).round(2), np.arange(200) // 5
    label = np.isin(np.arange(200), [7, 60, 61, 150])
    weight = np.where(score > 0.5, 3.0, 1.0) if weighted else np.ones(200)
    one = frames_of(score, label, episode)

    def judge(frames: GoalFrames) -> Judged:
        return Judged(frames, frames.score > 0.5, None, weight)

    (found,) = assess(evidence_of([one], 40), [judge], draws=100)
    assert found is not None
    own = found.goals[0]
    value = average_precision_score(label, score, sample_weight=weight)
    drawn = [weight * times[episode] for times in episode_weights(40, 100)]
    known = [w for w in drawn if (w * label).any()]
    draws = np.array([average_precision_score(label, score, sample_weight=w) for w in known])
    assert draws.mean() > 1.1 * value
    moved = np.clip(draws + value - draws.mean(), 0, 1)
    assert own.average_precision == pytest.approx(value)
    assert own.intervals["average_precision"] == pytest.approx(interval(moved))
    (without,) = assess(evidence_of([one], 40), [judge], draws=0)
    assert without is not None
    assert without.goals[0].average_precision == own.average_precision
    assert without.goals[0].intervals == {}


def test_means_over_goals_that_many_draws_have_not_are_around_their_value() -> None:
    """Five goals are true of one episode each and ranked badly: a third of the draws lacks each."""
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(60), 5)
    goals = []
    for goal in range(10):
        label = np.isin(episode, [goal] if goal < 5 else np.arange(10, 40)) & (
            rng.random(300) < 0.9
        )
        score = (rng.random(300) + (0.2 if goal < 5 else 2.0) * label) / 3.5
        goals.append(frames_of(score, label, episode, goal))
    macro = assessed(goals, 60, 0.25, draws=200).all.macro
    for name in ("precision", "recall", "f1", "average_precision"):
        low, high = macro.intervals[name]
        assert low < getattr(macro, name) < high


def test_figures_without_a_meaning_are_none() -> None:
    nothing = frames_of(np.zeros(0), np.zeros(0, bool), np.zeros(0, int))
    no = frames_of(np.array([0.1, 0.2]), np.zeros(2, bool), np.zeros(2, int), 1)
    found = assessed([nothing, no], 1, 0.5, draws=5)
    assert found.goals[0].base_rate is None
    assert found.goals[0].brier is None
    assert found.goals[1].precision is None
    assert found.goals[1].recall is None
    assert found.goals[1].average_precision is None
    assert found.goals[1].random_average_precision is None
    assert found.goals[1].brier == pytest.approx(0.025)
    assert found.all.pooled.labels == 2


def test_means_are_over_goals_and_pooled_figures_over_frames() -> None:
    label = np.array([True, False, False, False])
    good = frames_of(np.array([0.9, 0.1, 0.1, 0.1]), label, np.arange(4))
    bad = frames_of(np.array([0.9, 0.9, 0.9, 0.1]), label, np.arange(4), 1)
    found = assessed([good, bad], 4, 0.5)
    assert found.all.macro.precision == pytest.approx((1 + 1 / 3) / 2)
    assert found.all.pooled.precision == pytest.approx(2 / 4)
    assert found.all.goals == 2


def test_a_random_score_is_as_good_as_is_said() -> None:
    rng = np.random.default_rng(0)
    for labels, positives in ((5, 1), (8, 3), (20, 20), (30, 2)):
        label = np.arange(labels) < positives
        draws = [
            average_precision_score(rng.permutation(label), np.arange(labels)) for _ in range(400)
        ]
        expected = random_average_precision(labels, positives)
        assert expected == pytest.approx(np.mean(draws), abs=0.05)
    assert random_average_precision(4, 0) is None


def test_intervals_of_resampled_episodes_cover_the_truth_where_those_of_frames_do_not() -> None:
    """Episodes whose frames are alike: the precision of a reward that is true in 70 % of them."""
    rng = np.random.default_rng(0)
    hit = {"episodes": 0, "frames": 0}
    runs = 120
    for _ in range(runs):
        right = rng.random(40) < 0.7
        label, episode = np.repeat(right, 10), np.repeat(np.arange(40), 10)
        for how, unit in (("episodes", episode), ("frames", np.arange(400))):
            one = frames_of(np.ones(400), label, unit)
            low, high = (
                assessed([one], int(unit.max()) + 1, 0.5, draws=200).goals[0].intervals["precision"]
            )
            hit[how] += low <= 0.7 <= high
    assert 0.88 <= hit["episodes"] / runs <= 0.99
    assert hit["frames"] / runs < 0.6


# --- folds ------------------------------------------------------------------------------------


def test_an_episode_is_on_one_side_only(store: Store, told: list[Told]) -> None:
    evidence = of_labels(store, "v1", labelled(store, told, some_frames(told, 8)))
    folds = dealt(evidence)
    seen: dict[int, set[int]] = {}
    for frames in evidence:
        for episode, fold in zip(frames.episode, folds.of(frames), strict=True):
            seen.setdefault(int(episode), set()).add(int(fold))
    assert all(len(own) == 1 for own in seen.values())
    assert {fold for own in seen.values() for fold in own} == set(range(5))
    assert FITTED not in folds.fitted(0)[1:]


def test_what_is_judged_is_not_fitted_to(store: Store, told: list[Told]) -> None:
    """Random answers: a fit that saw them would look better than chance."""
    rng = np.random.default_rng(0)
    ids, rows = ids_of(store), []
    for episode, step, goal in some_frames(told, 100):
        rows.append((ids[episode], step, f"g{goal}", bool(rng.random() < 0.3)))
    evidence = of_labels(store, "v1", Labels.of_rows(rows))
    _, found = run(store, evidence, method="best-f1")
    assert found.verdict is not None
    after = found.verdict.after.pooled
    assert after.precision == pytest.approx(0.3, abs=0.08)


def test_frames_of_a_column_are_set_aside(tmp_path: Path, told: list[Told]) -> None:
    ended = [Told(t.rewards, True, scores=t.scores, truth=t.truth) for t in told]
    store = make_store(tmp_path / "store", ended, OF_PROBABILITIES)
    evidence = of_field(store, "v1", "truth")
    folds = set_aside(store, evidence, "is_terminal")
    _, found = calibrate(asked(store, evidence), folds)
    last, frames = len(told), sum(len(t.rewards) for t in told)
    assert found.verdict is not None
    assert found.verdict.after.pooled.labels == 4 * last
    assert found.labels == 4 * (frames - last)
    assert "is_terminal" in found.verdict.how
    with pytest.raises(StoreError, match="column"):
        set_aside(store, evidence, "is_terminus")


# --- whole calibrations -----------------------------------------------------------------------


def test_the_truth_finds_slope_and_shifts(tmp_path: Path) -> None:
    told = simulated(episodes=400, slope=0.5)
    store = make_store(tmp_path / "store", told, replace(OF_PROBABILITIES, per_slice=150))
    made, found = run(store, of_field(store, "v1", "truth"))
    assert made.platt is not None
    assert made.platt.slope == pytest.approx(0.5, abs=0.06)
    shift = np.random.default_rng(0).normal(-3.0, 0.5, 4)
    np.testing.assert_allclose(made.platt.shift, shift, atol=0.4)
    assert found.verdict is not None
    after, before = found.verdict.after.macro, found.verdict.before.macro  # type: ignore[union-attr]
    assert after.calibration_error is not None
    assert before.calibration_error is not None
    assert after.calibration_error < 0.05 < before.calibration_error
    assert after.precision is not None
    assert after.precision > 0.85


@pytest.mark.parametrize("draw", ["random", "high", "by-answer"])
def test_labels_however_chosen_give_nearly_the_same_calibration(tmp_path: Path, draw: str) -> None:
    told = simulated(goals=6, episodes=400)
    store = make_store(tmp_path / "store", told, replace(OF_PROBABILITIES, per_slice=150))
    rng = np.random.default_rng(1)
    scores, truth = stacked(told)
    where = [(e, s) for e, t in enumerate(told) for s in range(len(t.rewards))]
    places = []
    for goal in range(6):
        if draw == "random":
            own = rng.permutation(len(where))[:120]
        elif draw == "high":
            high = rng.permutation(np.argsort(-scores[:, goal])[: len(where) // 3])[:90]
            own = np.union1d(high, rng.permutation(len(where))[:30])
        else:
            yes, no = (np.flatnonzero(truth[:, goal] == wanted) for wanted in (True, False))
            own = np.concatenate([rng.permutation(yes)[:60], rng.permutation(no)[:60]])
        places += [(*where[i], goal) for i in own]
    evidence = of_labels(store, "v1", labelled(store, told, places))
    drawn: Drawn = "by-answer" if draw == "by-answer" else "by-score"
    made, found = run(store, evidence, drawn=drawn)
    assert made.platt is not None
    assert made.platt.slope == pytest.approx(0.5, abs=0.15)
    rates = made.platt.probability(log_odds(scores), np.arange(6)).mean(axis=0)
    np.testing.assert_allclose(rates, truth.mean(axis=0), atol=0.08)
    assert found.verdict is not None
    base = found.verdict.after.pooled.base_rate  # of the frames, though labels are others
    assert base == pytest.approx(truth.mean(), abs=0.08)


def test_labels_of_a_stratum_stand_for_its_frames(store: Store, told: list[Told]) -> None:
    scores, _ = stacked(told)
    where = [(e, s) for e, t in enumerate(told) for s in range(len(t.rewards))]
    top = [(*where[i], g) for g in range(4) for i in np.argsort(-scores[:, g])[:30]]
    rest = some_frames(told, 10)
    evidence = of_labels(store, "v1", labelled(store, told, [*top, *rest]))
    found = read_distribution(store, store.rewards("v1"))
    none = Folds("", 0, np.full(len(told), FITTED))
    tally = Tallies.of(evidence, none, found).within([FITTED])
    weight = weights(tally, found)[0][0]
    total = (tally.all.sum(axis=0) * weight).sum()
    assert total == pytest.approx(tally.all.sum(), rel=0.02)
    above = found.bins(np.array(0.0))
    share = (tally.all.sum(axis=0) * weight)[above:].sum() / total
    assert share == pytest.approx(found.frames[:, above:].sum() / found.frames.sum(), abs=0.12)
    assert weight[-1] < 0.5 < weight[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_on_the_oddest_labels(store: Store, told: list[Told], method: Method) -> None:
    places = some_frames(told, 4)
    rows = list(labelled(store, told, places))
    all_yes = Labels.of_rows([(e, s, g, True) for e, s, g, _ in rows])
    all_no = Labels.of_rows([(e, s, g, False) for e, s, g, _ in rows])
    one_goal = Labels.of_rows([row for row in rows if row[2] == "g1"])
    strange = Labels.of_rows(
        [
            *rows,
            ("train/0/999", 0, "g0", True),
            ("train/0/0", 0, "gone", True),
            *[(*r[:3], not r[3]) for r in rows[:2]],
        ]
    )
    one = Labels.of_rows(rows[:1])
    for labels in (all_yes, all_no, one_goal, strange, one, Labels.of_rows([])):
        made, found = run(store, of_labels(store, "v1", labels), method=method)
        assert len(found.goals) == 4
        assert np.isfinite(made.betas).all()
        assert all(0 <= goal.rewarded <= 1 for goal in found.goals)
    assert found.verdict is None
    _, found = run(store, of_labels(store, "v1", one_goal), method=method)
    assert found.unlabelled == ("g0", "g2", "g3")


def test_notes_say_what_is_odd(store: Store, told: list[Told]) -> None:
    rows = list(labelled(store, told, some_frames(told, 4)))
    none = Labels.of_rows([(e, s, g, False) for e, s, g, _ in rows])
    _, found = run(store, of_labels(store, "v1", none))
    assert any("all 16 labels say no" in note for note in found.notes)
    strange = Labels.of_rows(
        [*rows, ("train/0/999", 0, "g0", True), (*rows[0][:3], not rows[0][3])]
    )
    _, found = run(store, of_labels(store, "v1", strange))
    assert any("episodes that the store does not have" in note for note in found.notes)
    assert any("labelled both yes and no" in note for note in found.notes)
    assert any("labels say yes: every figure" in note for note in found.notes)
    scores, _ = stacked(told)
    where = [(e, s) for e, t in enumerate(told) for s in range(len(t.rewards))]
    ids = ids_of(store)
    wrong = [
        (ids[where[i][0]], where[i][1], f"g{g}", bool(scores[i, g] < 0.5))
        for g in range(4)
        for i in range(0, len(where), 3)
    ]
    _, found = run(store, of_labels(store, "v1", Labels.of_rows(wrong)))
    assert any("no threshold of these scores means anything" in note for note in found.notes)
    assert found.silent == ("g0", "g1", "g2", "g3") == found.short


def test_goals_that_cannot_be_precise_are_named(store: Store, told: list[Told]) -> None:
    evidence = of_field(store, "v1", "truth")
    _, easy = run(store, evidence, precision=0.6)
    _, hard = run(store, evidence, precision=0.999)
    assert not easy.short
    assert hard.short
    assert set(hard.short) <= set(hard.silent)
    for goal in easy.goals:
        assert goal.expected_precision is not None
        assert goal.expected_precision >= 0.6


def test_a_thousand_goals_of_one_frame_episodes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    told = []
    for _ in range(12):
        scores = rng.random((1, 1000)).astype(np.float32)
        told.append(Told(scores > 0.5, scores=scores, truth=(scores > 0.7).astype(int)))
    store = make_store(tmp_path / "store", told, OF_PROBABILITIES)
    _, found = run(store, of_field(store, "v1", "truth"), precision=0.9)
    assert len(found.goals) == 1000
    assert found.verdict is not None
    assert found.verdict.after.macro.precision is not None
    assert found.verdict.after.macro.precision > 0.8


def test_counts_from_the_top_have_one_more_place() -> None:
    assert from_top(np.array([[1, 2, 3]])).tolist() == [[6, 5, 3, 0]]


def test_fits_without_labels_look_at_none(store: Store, told: list[Told]) -> None:
    evidence = of_field(store, "v1", "truth")
    found = read_distribution(store, store.rewards("v1"))
    none = Tallies.of(evidence, dealt(evidence), found).within([FITTED])
    assert none.labels.sum() == 0
    made = fit(Settings(method="valley"), none, found, evidence.families)
    _, judged = run(store, evidence, method="valley")
    assert [goal.beta for goal in judged.goals] == made.betas.tolist()
    assert judged.verdict is not None
    assert "without labels" in judged.verdict.how
