"""NAME=VALUE on the command line: values as YAML has them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from schemas.errors import RelabelError, RunError
from schemas.pairs import parse_pairs


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("a=3", {"a": 3}),
        ("a=0.5", {"a": 0.5}),
        ("a=1e-4", {"a": 1e-4}),
        (" a = -2E3 ", {"a": -2000.0}),
        ("a=[1, 0.5]", {"a": [1, 0.5]}),
        ("a=true", {"a": True}),
        ("a=null", {"a": None}),
        ("a=", {"a": None}),
        ("a=x=y", {"a": "x=y"}),
        ("a='3'", {"a": 3.0}),
        ("a=!!python/object:os.system x", None),
    ],
)
def test_values(pair: str, expected: dict[str, Any] | None) -> None:
    if expected is None:
        with pytest.raises(RelabelError, match=r"^--set .*the value is not YAML: could not"):
            parse_pairs("--set", [pair])
        return
    assert parse_pairs("--set", [pair]) == expected


@pytest.mark.parametrize("again", ["a=3", " a =3", "a=1", "a="])
def test_a_name_is_given_once(again: str) -> None:
    told = f"--set: a takes one value, got 2: 'a=1', {again!r}; leave out all but one"
    with pytest.raises(RunError, match=f"^{re.escape(told)}$"):
        parse_pairs("--set", ["a=1", "b=2", again], RunError)
    assert parse_pairs("--set", ["a=1", "A=2"]) == {"a": 1, "A": 2}


@pytest.mark.parametrize(("pair", "said"), [("a", "expected key=value"), ("a=[1", "is not YAML")])
def test_what_is_no_pair(pair: str, said: str) -> None:
    with pytest.raises(RunError, match=said):
        parse_pairs("--set", [pair], RunError)
