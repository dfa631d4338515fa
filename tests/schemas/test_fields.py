"""Names that other systems own must be theirs."""

from __future__ import annotations

import pytest
from rlds import rlds_types

from schemas import fields


@pytest.mark.parametrize(
    "name",
    ["STEPS", "OBSERVATION", "ACTION", "REWARD", "DISCOUNT", "IS_FIRST", "IS_LAST", "IS_TERMINAL"],
)
def test_rlds_names_are_those_of_the_rlds_package(name: str) -> None:
    assert getattr(fields, name) == getattr(rlds_types, name)


def test_no_name_is_used_twice() -> None:
    names = [value for key, value in vars(fields).items() if key.isupper()]
    assert len(names) > 20
    assert len(set(names)) == len(names)
