"""Goals and goal sets: what is rewarded, in words.

A goal set is an ordered list of goals with the prompts and negatives they are scored
against. It is read from YAML, checked as a whole, and identified by a content hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from schemas.errors import GoalError
from schemas.goal_text import parse_json, parse_yaml
from schemas.texts import brief, normalised

DEFAULT_NULL_PROMPTS: Final = ("an empty room",)

MAX_TEXT: Final = 10_000  # characters; encoders read some hundreds
_SHOWN: Final = 12  # problems in an error

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
GoalId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._\-]*$", max_length=200)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]
Frame = tuple[str, int]  # episode id and step


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Example(_Strict):
    """A frame of the store that shows a goal."""

    episode_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
    step: Annotated[int, Field(ge=0, strict=True)]

    @property
    def frame(self) -> Frame:
        """Episode id and step."""
        return self.episode_id, self.step


class Goal(_Strict):
    """One goal, in words, by frames that show it, or by both.

    `negatives` is "auto" (the other goals of the same family, plus null prompts) or the
    texts themselves. `temperature` and `threshold` left out mean those of the reward
    function.
    """

    id: GoalId
    texts: tuple[Text, ...] = ()  # phrasings; their embeddings are averaged
    family: Text = "goal"
    negatives: Literal["auto"] | Texts = "auto"
    baseline: Text | None = None  # neutral description, for the goal-baseline reward
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    threshold: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    spoken: tuple[Text, ...] = ()  # instructions of the source that name it, beside its phrasings
    examples: tuple[Example, ...] = ()  # frames of the store; their embeddings are averaged too

    @model_validator(mode="after")
    def _is_told(self) -> Goal:
        if not self.texts and not self.examples:
            raise ValueError(
                "expected texts, or examples: frames of the store such as "
                "{episode_id: train/0/3, step: 17}; got neither"
            )
        if repeated := [e.frame for e, n in Counter(self.examples).items() if n > 1]:
            episode_id, step = repeated[0]
            raise ValueError(f"the example {brief(episode_id)} step {step} is there twice")
        return self

    @property
    def title(self) -> str:
        """What people call it: its first text, or its id."""
        return self.texts[0] if self.texts else self.id


class Family(_Strict):
    """What the goals of one family share; each field replaces the goal set's own."""

    null_prompts: tuple[Text, ...] | None = None
    templates: Texts | None = None
    negatives: Texts | None = None  # of its goals without own ones, in place of automatic ones


class GoalSet(_Strict):
    """An ordered set of goals; the goal axis of every reward table has this order.

    Example:
        >>> goals = GoalSet.from_texts(["open the drawer", "close the drawer"])
        >>> [goal.id for goal in goals.goals]
        ['open-the-drawer', 'close-the-drawer']
    """

    name: Text = "goals"
    goals: Annotated[tuple[Goal, ...], Field(min_length=1)]
    templates: Texts = ("{}",)  # each phrasing is put into each template
    null_prompts: tuple[Text, ...] = DEFAULT_NULL_PROMPTS  # true of frames that show no goal
    negatives: Texts | None = None  # of goals without own ones, in place of automatic ones
    baseline: Text | None = None
    families: Mapping[str, Family] = Field(default_factory=dict)
    may_be_true_together: tuple[tuple[GoalId, ...], ...] = ()
    max_negatives: Annotated[int, Field(ge=1, strict=True)] | None = None  # sample so many others
    seed: Annotated[int, Field(strict=True)] = 0  # of that sample

    @field_validator("templates")
    @classmethod
    def _templates_have_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        return _checked_templates(templates)

    @model_validator(mode="after")
    def _is_consistent(self) -> GoalSet:
        problems = [
            *_duplicates(goal.id for goal in self.goals),
            *_unknown("may_be_true_together", self._together_ids(), {g.id for g in self.goals}),
            *_unknown("families", self.families, {g.family for g in self.goals}),
            *(p for goal in self.goals for p in _self_negatives(goal)),
        ]
        for family in self.families.values():
            _checked_templates(family.templates or ())
        if problems:
            raise ValueError("; ".join(_capped(problems)))
        return self

    def _together_ids(self) -> Iterable[str]:
        return (goal_id for group in self.may_be_true_together for goal_id in group)

    @property
    def content_hash(self) -> str:
        """sha256 of everything that can change a reward or what is commanded (not of `name`)."""
        content = self.model_dump(mode="json", exclude={"name"})
        for sharing in (content, *content["families"].values()):
            if sharing["negatives"] is None:
                del sharing["negatives"]  # as in goal sets written before it could be given
        for goal in content["goals"]:
            for name in ("spoken", "examples"):
                if not goal[name]:
                    del goal[name]  # likewise
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def family_templates(self, family: str) -> tuple[str, ...]:
        """Templates that the phrasings of `family` are put into."""
        own = self.families.get(family, Family()).templates
        return self.templates if own is None else own

    def family_null_prompts(self, family: str) -> tuple[str, ...]:
        """Null prompts of `family`: captions true of frames that show none of its goals."""
        own = self.families.get(family, Family()).null_prompts
        return self.null_prompts if own is None else own

    def negatives_of(self, goal: Goal) -> Literal["auto"] | tuple[str, ...]:
        """Texts that `goal` is scored against: its own, its family's, the set's, or "auto".

        Shared ones that say the same as one of the goal's texts are left out for that goal.
        """
        if goal.negatives != "auto":
            return goal.negatives
        family = self.families.get(goal.family, Family()).negatives
        shared = self.negatives if family is None else family
        if shared is None:
            return "auto"
        own = {normalised(text) for text in goal.texts}
        return tuple(text for text in shared if normalised(text) not in own)

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        name: str = "goals",
        null_prompts: Sequence[str] = DEFAULT_NULL_PROMPTS,
    ) -> GoalSet:
        """One goal per distinct text, in order of first appearance, of one family.

        Args:
            texts: wordings; surrounding space is dropped and empty ones are skipped.
            name: of the goal set.
            null_prompts: captions of frames that show none of them.

        Raises:
            GoalError: no text is left, or a null prompt is empty.
        """
        distinct = dict.fromkeys(text.strip() for text in texts if text.strip())
        return cls.from_phrasings([(t,) for t in distinct], name=name, null_prompts=null_prompts)

    @classmethod
    def from_phrasings(
        cls,
        phrasings: Sequence[tuple[str, ...]],
        *,
        spoken: Sequence[tuple[str, ...]] | None = None,
        name: str = "goals",
        null_prompts: Sequence[str] = DEFAULT_NULL_PROMPTS,
    ) -> GoalSet:
        """One goal per tuple of phrasings, named after its first, of one family.

        Args:
            phrasings: of each goal, none of them empty.
            spoken: further texts that name each goal; None: there are none.
            name: of the goal set.
            null_prompts: captions of frames that show none of them.

        Raises:
            GoalError: there is no goal, or a null prompt is empty.
        """
        if not phrasings:
            raise GoalError("goals: expected at least one non-empty text, got none")
        named = [()] * len(phrasings) if spoken is None else spoken
        told = zip(_slugs(phrasings), phrasings, named, strict=True)
        goals = tuple(Goal(id=i, texts=own, spoken=more) for i, own, more in told)
        used = {text for own in phrasings for text in own}
        nulls = tuple(text for text in null_prompts if text not in used)
        return cls.from_mapping({"name": name, "goals": goals, "null_prompts": nulls})

    @classmethod
    def from_yaml(cls, text: str, *, origin: str = "goals") -> GoalSet:
        """Parses and checks a goals file.

        Args:
            text: content of the file.
            origin: its path, for error texts.

        Raises:
            GoalError: not YAML, or any rule broken; every problem is listed at once.
        """
        return cls._from_file(parse_yaml(text, origin), origin)

    @classmethod
    def from_json(cls, text: str, *, origin: str = "goals") -> GoalSet:
        """As `from_yaml`, of the same content in JSON: not all JSON is YAML.

        Raises:
            GoalError: not JSON, or any rule broken; every problem is listed at once.
        """
        return cls._from_file(parse_json(text, origin), origin)

    @classmethod
    def _from_file(cls, content: object, origin: str) -> GoalSet:
        if not isinstance(content, dict):
            raise GoalError(
                f"{origin}: expected a mapping with the key 'goals', got "
                f"{type(content).__name__}; see docs/goals.md"
            )
        return cls.from_mapping(content, origin=origin)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any], *, origin: str = "goals") -> GoalSet:
        """As `from_yaml`, of already parsed content."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise GoalError(f"{origin}: {_explain(error)}") from error


def _checked_templates(templates: Sequence[str]) -> tuple[str, ...]:
    bad = [template for template in templates if template.count("{}") != 1]
    if bad:
        raise ValueError(f"templates need one '{{}}' each for the phrasing, got {brief(bad)}")
    return tuple(templates)


def _duplicates(ids: Iterable[str]) -> list[str]:
    return [f"duplicate goal id '{brief(i)}'" for i, count in Counter(ids).items() if count > 1]


def _unknown(what: str, names: Iterable[str], known: set[str]) -> list[str]:
    missing = sorted(set(names) - known)
    listed = f"{what} names {brief(missing)}, the known ones are {brief(sorted(known)[:10])}"
    return [listed] if missing else []


def _capped(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _SHOWN
    return [*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _self_negatives(goal: Goal) -> list[str]:
    if goal.negatives == "auto":
        return []
    own = {normalised(text) for text in goal.texts}
    equal = [text for text in goal.negatives if normalised(text) in own]
    return [f"goal {goal.id!r} has its own text as a negative: {brief(equal)}"] if equal else []


def _slugs(phrasings: Sequence[tuple[str, ...]]) -> list[str]:
    """A readable, unique and stable id per distinct tuple of texts."""
    firsts = [own[0].lower() for own in phrasings]
    slugs = [re.sub(r"[^a-z0-9]+", "-", text).strip("-")[:60] or "goal" for text in firsts]
    hashed = [
        f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        for slug, text in zip(slugs, map("\n".join, phrasings), strict=True)
    ]
    taken = Counter((*slugs, *hashed))
    return [slug if taken[slug] == 1 else own for slug, own in zip(slugs, hashed, strict=True)]


def _explain(error: ValidationError) -> str:
    """All problems of a goals file, each with its place and, for a wrong key, the right ones."""
    details = error.errors(include_url=False)
    # An element that failed makes pydantic call its list too short as well: one is enough.
    around = {place["loc"][:end] for place in details for end in range(1, len(place["loc"]))}
    problems = [problem for problem in details if problem["loc"] not in around]
    told = [
        f"{'.'.join(brief(str(part)) for part in problem['loc']) or 'goal set'}: {_cure(problem)}"
        for problem in problems[:_SHOWN]
    ]
    count = len(problems)
    more = [f"and {count - _SHOWN} more"] if count > _SHOWN else []
    return f"{count} problem{'s' if count > 1 else ''}\n  " + "\n  ".join([*told, *more])


def _cure(problem: Mapping[str, Any]) -> str:
    place, kind = problem["loc"], problem["type"]
    if kind == "extra_forbidden":
        models = {"goals": Example if "examples" in place else Goal, "families": Family}
        model = models.get(str(place[0]), GoalSet)
        return f"unknown key; the known ones are {', '.join(model.model_fields)}"
    if kind == "string_too_short":
        return "the text is empty; write what the camera would see when the goal is reached"
    if kind == "tuple_type" and isinstance(problem["input"], str):
        return f"expected a list of texts, got one text; write ['{brief(problem['input'])}']"
    if kind == "string_too_long":
        most = problem["ctx"]["max_length"]
        return f"expected at most {most:,} characters, got {len(problem['input']):,}"
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"{problem['msg']}, got {brief(problem['input'])}"
