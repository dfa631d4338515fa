"""What an encoder cannot tell apart is never each other's negative; and prompts' embeddings."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from relabel.goals.prompts import Prompts, negatives_of, resolve_prompts
from relabel.goals.readings import SAME_DISTANCE, Readings, check_lengths, close_pairs, read_prompts
from relabel.rewards.registry import parse_reward
from relabel.rewards.scorer import bind
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError, GoalError
from schemas.goals import Goal, GoalSet

ENCODERS = Path(__file__).parents[3] / "examples/playroom/encoders"
BALL, BOX = "lift the ball", "lift the box"
Encode = Callable[[Sequence[str]], np.ndarray]


def by_hash(strings: Sequence[str]) -> np.ndarray:
    """A vector per string that depends on nothing else, of any norm."""
    seeds = [int.from_bytes(hashlib.sha256(s.encode()).digest()[:8]) for s in strings]
    return np.stack([np.random.default_rng(seed).normal(size=8) * 3 for seed in seeds])


def reading(canonical: Callable[[str], str]) -> Encode:
    """An encoder whose tokenizer reads `canonical(text)`."""
    return lambda strings: by_hash([canonical(text) for text in strings])


def goal_set(*texts: str | tuple[str, ...], **fields: Any) -> GoalSet:
    own = [(t,) if isinstance(t, str) else t for t in texts]
    return GoalSet(goals=tuple(Goal(id=f"g{i}", texts=t) for i, t in enumerate(own)), **fields)


def told(prompts: Prompts) -> list[list[str]]:
    return [sorted(negatives_of(prompts, goal)) for goal in range(len(prompts.goal))]


# --- embeddings of prompts


def test_embeddings_are_normalised_averaged_and_normalised_again() -> None:
    vectors = {"a": [3.0, 0.0], "b": [0.0, 0.5]}
    encode = lambda strings: np.array([vectors[s] for s in strings])  # noqa: E731
    readings = Readings(goal_set(("a", "b"), null_prompts=()), encode)
    embedded, norms = readings.means([("a", "b"), ("b",)])
    half = np.sqrt(0.5)  # the long vector of "a" counts no more than the short one of "b"
    np.testing.assert_allclose(embedded, [[half, half], [0, 1]], rtol=1e-7)
    np.testing.assert_allclose(norms, [half, 1], rtol=1e-7)
    assert embedded.dtype == norms.dtype == np.float32


def test_each_distinct_string_is_encoded_once_in_one_call() -> None:
    calls: list[list[str]] = []

    def encode(strings: Sequence[str]) -> np.ndarray:
        calls.append(list(strings))
        return by_hash(strings)

    _, embedded, _ = read_prompts(goal_set((BALL, "raise it"), (BOX, "raise it")), encode)
    assert calls == [[BALL, "raise it", BOX, "an empty room"]]
    assert embedded.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, rtol=1e-6)


def test_a_text_encoder_that_misbehaves_is_refused() -> None:
    goals = goal_set(BALL, BOX)
    with pytest.raises(EncoderError, match=r"expected embeddings of shape \(3, D\), got \(2, 4\)"):
        read_prompts(goals, lambda strings: np.ones((2, 4)))
    with pytest.raises(EncoderError, match=r"got norm 0\.0 for “lift the ball” \(1 of 3"):
        read_prompts(goals, lambda strings: np.array([[0.0], [1.0], [1.0]]))
    with pytest.raises(EncoderError, match="norm nan"):
        read_prompts(goals, lambda strings: np.full((3, 4), np.nan))


# --- who is whose negative


def test_goals_that_the_encoder_reads_alike_are_not_negatives() -> None:
    goals = goal_set("lift_the_ball", BALL, BOX)
    prompts, *_ = read_prompts(goals, reading(lambda text: text.replace("_", " ")))
    assert told(prompts)[:2] == [["an empty room", BOX]] * 2
    assert len(prompts.negatives[2]) == 2, "of the two that are alike, one, and the null prompt"
    (note,) = prompts.notes
    assert "g0 (“lift_the_ball”), g1 (“lift the ball”) say the same" in note
    # Told apart, they compete as any two goals.
    assert len(read_prompts(goals, by_hash)[0].negatives[0]) == 3


def test_one_phrasing_that_is_read_alike_suffices() -> None:
    goals = goal_set((BALL, "raise it"), (BOX, "raise_it"))
    prompts, *_ = read_prompts(goals, reading(lambda text: text.replace("_", " ")))
    assert told(prompts) == [["an empty room"]] * 2


def test_goals_whose_averages_are_alike_are_not_negatives() -> None:
    vectors = {"n": [1.0, 0, 0], "s": [0, 1.0, 0], "m": [1.0, 1.0, 0], "null": [0, 0, 1.0]}
    goals = goal_set(("n", "s"), "m", null_prompts=("null",))
    prompts, *_ = read_prompts(goals, lambda strings: np.array([vectors[s] for s in strings]))
    assert told(prompts) == [["null"]] * 2


@pytest.mark.parametrize("where", ["own", "family", "set", "null"])
def test_a_given_negative_that_is_read_as_the_goal_is_left_out_and_noted(where: str) -> None:
    content: dict[str, Any] = {"goals": [{"id": "a", "texts": [BALL]}]}
    texts = ["lift_the_ball", "a wall", "a_wall"]
    if where == "own":
        content["goals"][0]["negatives"] = texts
    elif where == "family":
        content["families"] = {"goal": {"negatives": texts}}
    else:
        content["negatives" if where == "set" else "null_prompts"] = texts
    goals = GoalSet.from_mapping(content)
    prompts, *_ = read_prompts(goals, reading(lambda text: text.replace("_", " ")))
    assert told(prompts) == [["a wall"]], "one of two negatives that are alike"
    (note,) = prompts.notes
    assert note == (
        "goal a: its negative “lift_the_ball” is left out, because the encoder cannot tell it from "
        "“lift the ball”"
    )


def test_goals_that_may_be_true_together_need_no_note() -> None:
    goals = goal_set(BALL, BALL, may_be_true_together=(("g0", "g1"),))
    assert read_prompts(goals, by_hash)[0].notes == ()


def test_notes_are_few_and_short() -> None:
    goals = goal_set(*(f"{'long ' * 50}{i}" for i in range(60)), null_prompts=())
    (note,) = read_prompts(goals, lambda strings: np.ones((len(strings), 2)))[0].notes
    assert "and 55 more" in note
    assert len(note) < 700
    pairs = goal_set(*(f"goal {i // 2}{'.' * (i % 2)}" for i in range(60)))
    notes = read_prompts(pairs, by_hash)[0].notes
    assert len(notes) == 11
    assert notes[-1] == "20 more notes of this kind"


@st.composite
def worded_goals(draw: st.DrawFn) -> GoalSet:
    """Goals of few words in few spellings, so that many say the same."""
    text = st.builds(
        lambda word, form: form.format(word),
        st.sampled_from(["cup", "key", "box"]),
        st.sampled_from(["{}", "{}.", " {}", "_{}", "{}_", "«{}»"]),
    )
    texts = st.lists(text, min_size=1, max_size=3).map(tuple)
    goals = [
        Goal(id=f"g{i}", texts=draw(texts), family=draw(st.sampled_from("ab")))
        for i in range(draw(st.integers(1, 6)))
    ]
    return GoalSet(
        goals=tuple(goals),
        templates=draw(st.sampled_from([("{}",), ("{}", "a {} here")])),
        null_prompts=draw(st.sampled_from([("nothing",), ("nothing", "cup_", "no.")])),
        max_negatives=draw(st.none() | st.integers(1, 3)),
    )


@settings(max_examples=150)
@given(goals=worded_goals())
def test_negatives_equal_those_of_a_brute_force(goals: GoalSet) -> None:
    """Every pair by itself, by how often each word is left in a goal's texts."""
    bare = str.maketrans("", "", "_«».")
    prompts, vectors, _ = read_prompts(goals, reading(lambda text: text.translate(bare)))
    words = [Counter(text.translate(bare) for text in goal.texts) for goal in goals.goals]
    for i, goal in enumerate(goals.goals):
        rivals = {
            frozenset((word, n / words[j].total()) for word, n in words[j].items())
            for j, other in enumerate(goals.goals)
            if other.family == goal.family and not words[i].keys() & words[j].keys()
        }
        nulls = {frozenset([(text.translate(bare), 1.0)]) for text in goals.null_prompts}
        nulls = {null for null in nulls if not {word for word, _ in null} & words[i].keys()}
        got = prompts.negatives[i]
        most = len(rivals) if goals.max_negatives is None else goals.max_negatives
        drawn = min(most, len(rivals))
        assert len(nulls | rivals) - (len(rivals) - drawn) <= len(got) <= drawn + len(nulls)
        if drawn == len(rivals):
            assert len(got) == len(nulls | rivals)
        own = vectors[[prompts.goal[i], *got]]
        apart = np.linalg.norm(own[:, None] - own[None], axis=-1) > SAME_DISTANCE
        assert (apart | np.eye(len(own), dtype=bool)).all(), "none alike to it or to another"


# --- which vectors are close


@settings(max_examples=100)
@given(
    count=st.integers(1, 25),
    centres=st.integers(1, 6),
    spread=st.sampled_from([0.0, 2e-4, 9e-4]),
    seed=st.integers(0, 2**16),
)
def test_close_pairs_connect_what_is_close(
    count: int, centres: int, spread: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(centres, 5))
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    vectors = middle[rng.integers(centres, size=count)] + rng.normal(size=(count, 5)) * spread
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relabel.goals.readings._ROWS", 3)
        patch.setattr("relabel.goals.readings._PAIRS", 2)
        one, other = np.concatenate(list(close_pairs(vectors))).T
    linked = np.eye(count, dtype=bool)
    linked[one, other] = linked[other, one] = True
    near = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1) <= SAME_DISTANCE
    assert not (linked & ~near).any()
    np.testing.assert_array_equal(closure(linked), closure(near))


def closure(linked: np.ndarray) -> np.ndarray:
    """(n, n) whether a path of links leads from one to the other."""
    reached = linked
    for _ in range(len(linked)):
        reached = (reached.astype(int) @ linked.astype(int)) > 0
    return reached


# --- a tokenizer that canonicalises: the shipped encoders', which is CLIP's

SPELLINGS = [
    "the robot's café",
    "the robot\N{RIGHT SINGLE QUOTATION MARK}s café",
    "the robot&#39;s café",
    "the robot&amp;rsquo;s café",
    "The ROBOT's  Café",
    unicodedata.normalize("NFD", "the robot's café"),
    "the robot's café.",  # that tokenizer reads it; people do not
]


@pytest.fixture(scope="module", params=["small", "smaller"])
def playroom(request: pytest.FixtureRequest) -> Any:
    """A shipped encoder."""
    pytest.importorskip("torch")
    from relabel.encoders.open_clip import load_encoder

    return load_encoder(f"local-dir:{ENCODERS / request.param}", precision="float32")


@pytest.mark.slow
def test_spellings_of_one_goal_do_not_compete(playroom: Any) -> None:
    goals = goal_set(*SPELLINGS, "a red ball")
    prompts, vectors, _ = read_prompts(goals, playroom.encode_texts)
    assert told(prompts)[:-1] == [["a red ball", "an empty room"]] * len(SPELLINGS)
    assert len(prompts.negatives[-1]) == 2
    scorer = bind(parse_reward("probability"), goals, prompts, vectors, spec_of(playroom))
    scores = scorer.scores([vectors[prompts.goal]], [len(goals.goals)])
    assert (np.diag(scores) > 0.9).all(), "a frame that is the goal passes 0.5"


def spec_of(encoder: Any) -> EncoderSpec:
    spec: EncoderSpec = encoder.spec
    return spec


@pytest.mark.slow
def test_goals_of_the_playroom_are_all_told_apart(playroom: Any) -> None:
    goals = GoalSet.from_yaml((ENCODERS.parent / "goals.yaml").read_text())
    prompts, *_ = read_prompts(goals, playroom.encode_texts)
    plain = resolve_prompts(goals)
    assert prompts.notes == plain.notes == ()
    assert prompts.texts == plain.texts
    assert [n.tolist() for n in prompts.negatives] == [n.tolist() for n in plain.negatives]


# --- texts that are too long


def test_texts_that_are_too_long_are_named_together() -> None:
    goals = GoalSet.from_yaml(
        """
        templates: ["{}", "a photo of {}"]
        null_prompts: [nothing at all that is short]
        goals:
          - {id: a, texts: [short, this one is too long], baseline: a very long base line}
          - {id: b, texts: [b], negatives: [a negative of many words]}
          - {id: c, texts: [just about as long]}
        """
    )

    def long_texts(texts: Sequence[str]) -> dict[int, str]:
        counts = [len(text.split()) for text in texts]
        return {i: f"{n} words, 4 are read" for i, n in enumerate(counts) if n > 4}

    with pytest.raises(GoalError) as caught:
        check_lengths(goals, long_texts)
    assert str(caught.value).splitlines() == [
        "5 texts are longer than the encoder reads:",
        "  goal a: “this one is too long”: 5 words, 4 are read",
        "  goal c: “just about as long”: 7 words, 4 are read",
        "  null prompt: “nothing at all that is short”: 6 words, 4 are read",
        "  goal a, baseline: “a very long base line”: 5 words, 4 are read",
        "  goal b, negative: “a negative of many words”: 5 words, 4 are read",
        "shorten them, or cut such texts with --truncate-texts",
    ]
    check_lengths(goals, lambda texts: {})
    huge = goal_set(*(f"{i} " * 2000 for i in range(300)))
    with pytest.raises(GoalError, match=r"300 texts are longer(?s:.*)and 200 more") as caught:
        check_lengths(huge, long_texts)
    assert len(str(caught.value)) < 20_000
