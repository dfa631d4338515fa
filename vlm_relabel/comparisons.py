"""`compare`: reward sets of one store side by side."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field
from pydantic.dataclasses import dataclass

from schemas.errors import RelabelError, StoreError
from schemas.extras import named_extras
from schemas.files import Folder
from schemas.labels import Labels
from schemas.store import Store
from vlm_relabel.keywords import STRICT, Location, Seed, Show, Words, several, silent, takes
from vlm_relabel.outputs import out_folder

if TYPE_CHECKING:
    from relabel.evaluation.comparison import OpenedSet
    from relabel.evaluation.comparison_report import Comparison
    from relabel.evaluation.truth import Truth

JSON_FILE: Final = "comparison.json"
MOST_DRAWS: Final = 10_000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CompareArguments:
    """What is compared, by what, and where it is written."""

    store: Location
    rewards: Words = None  # names of reward sets; None: all that are complete and have scores
    labels: Location | Labels | None = None  # label table
    labels_field: str | None = None  # column of the steps table that tells what is true
    where: str | None = None  # column of flags: frames that count
    tricks: bool = False
    out: Location | None = None  # folder or URL
    listed: Annotated[int, Field(ge=0)] = 10  # frames that the sets disagree on
    draws: Annotated[int, Field(ge=2, le=MOST_DRAWS)] = 200  # of episodes
    seed: Seed = 0
    trust: bool = False
    show: Show = silent  # called now and then


@takes(CompareArguments)
@named_extras("compare")
def compare(arguments: CompareArguments) -> Comparison:
    """Compares reward sets by labels, by a column of the source, or among themselves.

    Takes the options of `vlm-relabel compare`; `labels` may be `schemas.labels.Labels`.

    Returns:
        Every number, with its interval.

    Raises:
        RelabelError: no such reward set, or one without scores; labels that cannot be read; a
            column that does not fit.

    Example:
        >>> import vlm_relabel
        >>> found = vlm_relabel.compare(store="my.store", rewards="v1", labels_field="truth")
        >>> [one.name for one in found.sets]
        ['v1', 'ramp', 'random']
    """
    from relabel.evaluation.comparison import compare_rewards, opened

    store = Store.open(os.fspath(arguments.store), trust=arguments.trust)
    folder = None if arguments.out is None else out_folder(arguments.out)
    names, notes = _names(store, arguments.rewards)
    sets = [opened(store, name) for name in names]
    truth = _truth(store, arguments, sets)
    if arguments.tricks and not truth.is_known:
        raise RelabelError(
            "--tricks: expected --labels or --labels-field, since what a trick does to average "
            "precision cannot be told without either"
        )
    found = compare_rewards(
        store,
        names,
        truth,
        draws=arguments.draws,
        seed=arguments.seed,
        listed=arguments.listed,
        tricks=arguments.tricks,
        tell=lambda what: partial(arguments.show, what),
    )
    found = found.model_copy(update={"notes": (*notes, *found.notes)})
    if folder is not None:
        _write(found, folder)
    return found


def _names(store: Store, rewards: Words) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The reward sets to compare; and notes, of those that are left out."""
    names = several(rewards)
    if not names:
        return _scored(store)
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise RelabelError(f"--rewards: {twice[0]} is given twice; name each reward set once")
    return names, ()


def _scored(store: Store) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All reward sets that have scores, and a note of each other; if none has, all."""
    known = tuple(t.partition("/")[2] for t in store.tables() if t.startswith("rewards/"))
    if not known:
        raise StoreError(
            f"{store.location}: expected a reward set to compare, and it has none; `vlm-relabel "
            "score` makes one"
        )
    names = tuple(name for name in known if store.rewards(name).scores)
    if not names:
        return known, ()
    left = (name for name in known if name not in names)
    return names, tuple(
        f"reward set {name} was stored without scores (--no-scores), and is left out"
        for name in left
    )


def _truth(store: Store, arguments: CompareArguments, sets: list[OpenedSet]) -> Truth:
    from relabel.evaluation.truth import Truth, column_truth, given_labels

    field, where = arguments.labels_field, arguments.where
    labels = given_labels(arguments.labels, field, where)
    if field is not None:
        return column_truth(store, field, where, [one.goal_ids for one in sets])
    return Truth(labels=labels)


def _write(found: Comparison, folder: Folder) -> None:
    """The numbers and the pictures; files of the same name are replaced."""
    from relabel.evaluation.pictures import pictures

    folder.write(JSON_FILE, found.model_dump_json(indent=1).encode())
    for name, content in pictures(found):
        folder.write(name, content)
