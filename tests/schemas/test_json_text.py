from __future__ import annotations

import pytest

from schemas.json_text import parse_json


def test_json_is_read() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json(b'"\xc3\xa9"') == "é"


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_whatever_is_wrong_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011, whichever it is
        parse_json(text)
