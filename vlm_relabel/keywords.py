"""Functions that take the fields of one options object as keywords.

So that an option has one name, one type and one default, whoever asks: the command line or Python.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, ParamSpec, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from schemas.errors import RelabelError

P = ParamSpec("P")
Options = TypeVar("Options")
Result = TypeVar("Result")

STRICT: Final = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
Location = str | os.PathLike[str]  # path or URL
Show = Callable[[str, int, int], None]  # told what is being done, how far, of how much
Words = str | Sequence[str] | None  # one, or several
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as NumPy takes it


def silent(what: str, done: int, total: int) -> None:
    """Shows nothing."""


def takes(
    options: Callable[P, Options],
) -> Callable[[Callable[[Options], Result]], Callable[P, Result]]:
    """Makes a function of an options object one of the object's fields, as keywords.

    Args:
        options: class of the object, a dataclass of pydantic.

    Returns:
        The decorator. What it makes raises RelabelError if a field has another type or range.
    """

    def decorate(run: Callable[[Options], Result]) -> Callable[P, Result]:
        @functools.wraps(run)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            return run(checked(options, *args, **kwargs))

        call.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]
        return call

    return decorate


def checked(options: Callable[P, Options], *args: P.args, **kwargs: P.kwargs) -> Options:
    """An options object of a class of pydantic.

    Raises:
        RelabelError: names every option that is wrong, as the command line spells it.
    """
    if args:
        raise RelabelError(f"expected options by keyword, such as store=…; got {args[0]!r} alone")
    try:
        return options(*args, **kwargs)
    except ValidationError as error:
        raise RelabelError(option_problems(error)) from error


def option_problems(error: ValidationError, spelled: Mapping[str, str] | None = None) -> str:
    """What is wrong with some options, in one line.

    Args:
        error: of a class whose fields are options.
        spelled: options by field, where a field has another name.
    """
    told: dict[str, str] = {}
    for problem in error.errors():
        name = str(problem["loc"][0]) if problem["loc"] else ""
        option = (spelled or {}).get(name, name).replace("_", "-")
        told.setdefault(option, _problem(problem))  # the first of a union's
    return "; ".join(f"--{option}: {text}" if option else text for option, text in told.items())


def _problem(problem: Any) -> str:
    if problem["type"] == "value_error":  # of a check of ours
        return str(problem["ctx"]["error"])
    if problem["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return "is missing"
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return "no such option"
    text = str(problem["msg"]).replace("Input should be", "expected")
    if problem["type"] in ("literal_error", "enum"):
        text = text.replace("'", "")
    return f"{text}, got {problem['input']!r}"


def several(words: Words) -> tuple[str, ...]:
    """One or several values of an option, or none, as a tuple."""
    return (words,) if isinstance(words, str) else tuple(words or ())
