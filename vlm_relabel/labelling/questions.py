"""`label`: chooses frames that are worth a label, and writes the page that asks for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from relabel.evaluation.candidates import (
    answers_of,
    labelled_frames,
    read_candidates,
)
from relabel.evaluation.evidence import Tell, apart, axes, of_labels
from relabel.evaluation.scales import is_probability
from relabel.evaluation.selection import Answers, Question, choose, draw
from schemas import fields
from schemas.errors import GoalError, LabelError, StoreError
from schemas.files import Folder
from schemas.labels import Labels, read_labels
from schemas.manifests import EmbeddingManifest, RewardManifest
from schemas.store import Store
from schemas.texts import brief
from vlm_relabel.keywords import STRICT, Count, Location, Seed, Show, Words, several, silent, takes
from vlm_relabel.labelling.page import PageFrame, PageGoal, check_size, make_page
from vlm_relabel.outputs import out_folder

_QUALITY: Final = 90  # of the pictures: colours decide goals
_SHOWN: Final = 5  # names that an error or a note lists


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LabelArguments:
    """Of `label`."""

    store: Location
    rewards: str = "v1"  # reward set
    budget: Count = 16  # questions per goal
    out: Location = "label.html"
    random: bool = False  # frames drawn at random
    seed: Seed = 0
    labels: Location | None = None  # label table of what is not to be asked again
    goal: Words = None  # ids; None: all
    camera: Words = None  # None: those of the reward set
    source: Location | None = None  # None: kept frames, or where the store was made from
    frame_pixels: Annotated[int, Field(ge=16, le=1024)] = 224  # height, at most
    max_mb: Annotated[float, Field(gt=0)] = 48  # of the page
    overwrite: bool = False
    dry_run: bool = False  # write nothing
    show: Show = silent


class LabelQuestion(BaseModel):
    """One frame and goal that a person is asked about."""

    model_config = ConfigDict(frozen=True)

    episode_id: str
    step: int
    goal_id: str
    score: float | None  # None: drawn at random
    stratum: int | None  # of the goal, from 0, the highest scores, to the budget less one
    share: float | None  # of the goal's frames that score as high
    gain_bits: float | None  # what the answer is expected to tell about the threshold
    why: str  # the same for people


class LabelReport(BaseModel):
    """What is asked, and the page that asks it."""

    model_config = ConfigDict(frozen=True)

    store: str
    rewards: str
    goals: int  # asked about
    budget: int  # questions per goal
    questions: tuple[LabelQuestion, ...]  # in the order in which they are asked
    frames: int  # different ones among them
    labelled: int  # frames and goals that had a label before
    out: str | None  # the page; None: nothing was written
    bytes: int  # of the page
    notes: tuple[str, ...]


@takes(LabelArguments)
def label(arguments: LabelArguments) -> LabelReport:
    """Writes a page that asks a person whether frames show goals.

    Takes the options of `vlm-relabel label`. The budget counts questions per goal: one question is
    one frame and one goal.

    Returns:
        The questions, why each is asked, and where the page is.

    Raises:
        RelabelError: anything the user can mend.

    Example:
        >>> import vlm_relabel
        >>> report = vlm_relabel.label(store="my.store", budget=4, dry_run=True)
        >>> report.goals, len(report.questions)
        (3, 12)
    """
    store, out = Store.open(os.fspath(arguments.store)), os.fspath(arguments.out)
    place = None if arguments.dry_run else _place(out, arguments.overwrite)
    asking = _Asking(store, arguments)
    questions = asking.questions()
    if not questions:
        raise LabelError(
            f"{store.location}/rewards/{arguments.rewards}: no frame is left to ask about; "
            + (" ".join(asking.notes) or "the store has no frames")
        )
    content = b""
    if place is not None:
        questions, content = asking.page(questions)
        place[0].write(place[1], content)
    told = tuple(asking.told(question) for question in questions)
    return LabelReport(
        store=store.location,
        rewards=arguments.rewards,
        goals=len({question.goal_id for question in told}),
        budget=arguments.budget,
        questions=told,
        frames=len({question.frame for question in questions}),
        labelled=asking.labelled,
        out=None if arguments.dry_run else out,
        bytes=len(content),
        notes=tuple(asking.notes),
    )


def _place(out: str, overwrite: bool) -> tuple[Folder, str]:
    """The folder and the name of the page; refuses what cannot be written, or not unasked."""
    head, separator, name = out.rpartition("/")
    if not name:
        raise LabelError(f"--out {out}: expected a file, such as label.html")
    folder = out_folder(head + separator if separator else ".")
    if folder.info(name).is_folder:
        raise LabelError(f"--out {out}: expected a file, such as {out}/label.html, got a folder")
    if not overwrite and folder.exists(name):
        raise LabelError(f"{out}: is there already; name another --out, or give --overwrite")
    return folder, name


class _Asking:
    """What is asked of one store, and the notes that come up."""

    def __init__(self, store: Store, arguments: LabelArguments) -> None:
        self._store = store
        self._options = arguments
        self._manifest = store.rewards(arguments.rewards)
        self._episode_ids, goal_ids, _ = axes(store, self._manifest)
        self._goals = _places(several(arguments.goal), goal_ids)
        self._goal_ids = [goal_ids[place] for place in self._goals]
        labels = arguments.labels
        self._labels = Labels.of_rows(()) if labels is None else read_labels(os.fspath(labels))
        self.labelled = len(self._labels)
        self.notes: list[str] = []
        self._looks_at_scores = self._manifest.scores
        if not (self._looks_at_scores or arguments.random):
            raise StoreError(
                f"{store.location}/{self._manifest.table}: expected scores to choose by, and it "
                "was stored without them (--no-scores); give --random, or score the goals again "
                "under another name"
            )

    def questions(self) -> list[Question]:
        """In the order in which they are asked."""
        options, show = self._options, self._options.show
        self._candidates = read_candidates(
            self._store,
            self._manifest,
            self._goals,
            seed=options.seed,
            scores=self._looks_at_scores,
            tell=lambda done, total: show("slices read", done, total),
        )
        number, budget, seed = len(self._goals), options.budget, options.seed
        answers = self._answers(lambda done, total: show("slices read", done, total))
        if options.random:
            pool_of = self._candidates.any_pool
            found = draw(pool_of, number, budget, seed=seed, answers=answers)
        else:
            found = choose(
                self._candidates.pool,
                number,
                len(self._candidates.keys),
                budget,
                probability=is_probability(self._manifest.score_range),
                seed=seed,
                answers=answers,
            )
        self._note_short(found)
        return _in_order(found, seed)

    def _answers(self, tell: Tell) -> list[Answers] | None:
        if self._options.labels is None:
            return None
        if not self._looks_at_scores:
            ids = (self._episode_ids, self._goal_ids)
            return labelled_frames(self._labels, *ids, self._candidates)
        evidence = of_labels(self._store, self._options.rewards, self._labels, tell=tell)
        self.notes += evidence.notes
        return answers_of(evidence, self._goals, self._candidates)

    def _note_short(self, found: Sequence[Question]) -> None:
        """Notes the goals that have fewer frames to ask about than the budget."""
        counts = np.bincount([q.goal for q in found], minlength=len(self._goals))
        short = [
            f"{brief(self._goal_ids[goal])} ({count})"
            for goal, count in enumerate(counts)
            if count < self._options.budget
        ]
        if short:
            more = ", …" if len(short) > _SHOWN else ""
            self.notes.append(
                f"{len(short)} of {len(self._goals)} goals have fewer than {self._options.budget} "
                f"frames left to ask about: {', '.join(short[:_SHOWN])}{more}"
            )

    # --- the page

    def page(self, questions: Sequence[Question]) -> tuple[list[Question], bytes]:
        """The questions whose frames can be shown, and the HTML file."""
        pictures = self._pictures([question.frame for question in questions])
        shown = [question for question in questions if question.frame in pictures]
        if len(shown) < len(questions):
            self.notes.append(
                f"{len(questions) - len(shown)} questions left out: their frames cannot be read"
            )
        if not shown:
            raise LabelError(
                f"{self._store.location}: none of the chosen frames can be read; `vlm-relabel "
                "inspect` says what is wrong with the source"
            )
        frames = list(dict.fromkeys(question.frame for question in shown))
        place = {frame: i for i, frame in enumerate(frames)}
        asked = [(place[question.frame], question.goal) for question in shown]
        content = make_page(
            [pictures[frame] for frame in frames], self._page_goals(), asked, self._options.rewards
        )
        return shown, content

    def _pictures(self, frames: Sequence[int]) -> dict[int, PageFrame]:
        """By frame; those that cannot be read are missing."""
        from vlm_relabel.pictures import open_pictures, thumbnail, webp  # Pillow

        options, source = self._options, self._options.source
        cameras = several(options.camera) or _cameras(self._store, self._manifest)
        opened = open_pictures(self._store, cameras, None if source is None else os.fspath(source))
        number_of = {self._key(frame): frame for frame in frames}
        wanted: dict[str, list[int]] = {}
        for episode_id, step in sorted(number_of):
            wanted.setdefault(episode_id, []).append(step)
        found: dict[int, PageFrame] = {}
        size = 0
        for done, (episode_id, step, picture) in enumerate(opened.each(wanted), start=1):
            options.show("frames read", done, len(number_of))
            image = thumbnail(picture, options.frame_pixels)
            if image is not None:
                content = webp(image, _QUALITY)
                size += len(content)
                check_size(size, len(frames), options.max_mb)
                found[number_of[episode_id, step]] = PageFrame(episode_id, step, content)
        return found

    def _page_goals(self) -> list[PageGoal]:
        """The goals asked about, as a person reads them."""
        table = self._store.goals(self._options.rewards, [fields.PHRASINGS])
        texts = table.column(fields.PHRASINGS).to_pylist()
        return [
            PageGoal(goal_id, tuple(texts[place] or ()) or (goal_id,))
            for goal_id, place in zip(self._goal_ids, self._goals, strict=True)
        ]

    # --- what is told

    def _key(self, frame: int) -> tuple[str, int]:
        episode, step = apart(self._candidates.keys[frame : frame + 1])
        return self._episode_ids[int(episode[0])], int(step[0])

    def told(self, question: Question) -> LabelQuestion:
        """A question as the report has it."""
        episode_id, step = self._key(question.frame)
        return LabelQuestion(
            episode_id=episode_id,
            step=step,
            goal_id=self._goal_ids[question.goal],
            score=question.score,
            stratum=question.stratum,
            share=question.share,
            gain_bits=question.gain_bits,
            why=_why(question, self._options.budget),
        )


def _why(question: Question, budget: int) -> str:
    if question.stratum is None:
        return "drawn at random"
    return (
        f"score {question.score:.4g}, which {question.share:.3%} of the frames reach; "
        f"stratum {question.stratum + 1} of {budget}; {question.gain_bits:.2f} bits expected"
    )


def _places(wanted: Sequence[str], goal_ids: Sequence[str]) -> list[int]:
    """Places of some goals on the goal axis, in its order; of all, if none is named."""
    if unknown := [goal_id for goal_id in wanted if goal_id not in goal_ids]:
        known = ", ".join(map(brief, goal_ids[:_SHOWN]))
        more = f" and {len(goal_ids) - _SHOWN} more" if len(goal_ids) > _SHOWN else ""
        raise GoalError(
            f"--goal {', '.join(map(brief, unknown))}: the reward set has no such goal; there are "
            f"{known}{more}"
        )
    return [place for place, goal_id in enumerate(goal_ids) if not wanted or goal_id in wanted]


def _cameras(store: Store, manifest: RewardManifest) -> tuple[str, ...]:
    """Cameras whose frames were scored."""
    tables = (store.table_manifest(f"embeddings/{name}") for name in manifest.embeddings)
    named = [table.camera for table in tables if isinstance(table, EmbeddingManifest)]
    return tuple(dict.fromkeys(named))


def _in_order(found: Sequence[Question], seed: int) -> list[Question]:
    """Questions of one frame together; frames that are asked about early first, else by chance."""
    first: dict[int, int] = {}
    for question in found:
        first[question.frame] = min(question.turn, first.get(question.frame, question.turn))
    frames = sorted(first)
    chance = dict(zip(frames, np.random.default_rng(seed).permutation(len(frames)), strict=True))
    return sorted(found, key=lambda q: (first[q.frame], chance[q.frame], q.goal))
