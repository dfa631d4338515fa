"""docs/architecture.md names files and names that are there, every room, and every word it must."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from relabel.slices import embed_slice
from schemas.enums import Kind
from tests.test_ladder import MAY_IMPORT, ORDER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PLACES = re.findall(r"^\| .+ \| \[(.+)\]\(\.\./(.+)\) \| `(.+)` \|$", PAGE, re.MULTILINE)
WORDS = (
    *("shard", "slice", "chunk", "batch", "block", "row group"),
    *("score", "reward", "return", "goal", "goal set", "goal dataset", *Kind),
)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def names(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """What a module or a class defines, methods as `Class.method`."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from names(node.body, f"{node.name}.")
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def defined(path: str) -> set[str]:
    return set(names(ast.parse((ROOT / path).read_text(encoding="utf-8")).body))


@pytest.mark.parametrize(("shown", "path", "name"), PLACES, ids=[place[2] for place in PLACES])
def test_what_the_page_names_is_there(shown: str, path: str, name: str) -> None:
    assert shown == path
    assert name in defined(path)


def test_every_line_of_the_table_is_looked_at() -> None:
    assert len(PLACES) == section("Where things are").count("\n| ") - 2 > 30


def test_a_name_that_is_gone_is_noticed() -> None:
    assert "Source.close" not in defined("relabel/source/source.py")


def test_every_name_in_the_pictures_is_in_the_table_or_the_code() -> None:
    pictures = "".join(re.findall(r"```text\n(.+?)```", section("The way of the data"), re.DOTALL))
    arrows = re.findall(r"│  (\w+(?:\.\w+)?) ", pictures)
    code = set().union(*(defined(path) for _, path, _ in PLACES))
    methods = {name.rpartition(".")[2] for name in code}
    wrong = [name for name in arrows if name not in code | methods | {"reward"}]
    assert len(arrows) > 8
    assert wrong == []


def test_every_room_is_told_of() -> None:
    rooms = section("Rooms")
    assert {room for room in MAY_IMPORT if f"| `{room}` |" not in rooms} == set()
    assert " ▸ ".join(ORDER) in rooms


def test_the_glossary_has_the_words_once() -> None:
    found = re.findall(r"^\| (.+?) \|", section("Glossary"), re.MULTILINE)[2:]
    terms = [term for entry in found for term in entry.split(", ")]
    assert len(terms) == len(set(terms))
    assert set(WORDS) <= set(terms)


def test_the_size_of_a_chunk_is_the_code_s() -> None:
    assert f"| chunk | {embed_slice._CHUNK_FRAMES} frames" in PAGE
