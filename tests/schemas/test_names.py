"""Nothing that a user, a manifest or a source names leads out of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from schemas.files import Folder
from schemas.manifests import embedding_name, parse_manifest, sealed
from schemas.names import check_name, folder_name
from schemas.store import MANIFEST, Store

LEADING_OUT = [
    "../steps",
    "..",
    ".",
    "",
    "/tmp/x",
    "v1/inner",
    "a/../../b",
    "a\\b",
    "a\0b",
    "-v",
    "é",
]


@pytest.mark.parametrize("name", [*LEADING_OUT, "-v", "é", " v1", "v1\n", "x" * 101])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(StoreError, match="--name: expected up to 100 letters"):
        check_name("--name", name)


@pytest.mark.parametrize("name", ["v1", "gc1.true", "A_b-c.2", "x" * 100, "0"])
def test_what_is_a_name(name: str) -> None:
    assert check_name("--name", name) == folder_name(name) == name


@given(st.text())
def test_a_folder_name_is_a_name(text: str) -> None:
    assert check_name("", folder_name(text)) == folder_name(folder_name(text))


@given(st.text(), st.text())
def test_folder_names_of_two_texts_differ(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)


@pytest.mark.parametrize(
    "name", ["../x", "a/../x", "/etc/passwd", "a//b", "a/./b", "..", "a\\..\\b"]
)
def test_a_folder_joins_nothing_outside(tmp_path: Path, name: str) -> None:
    folder = Folder.at(str(tmp_path / "s"))
    for act in (folder.join, folder.exists, folder.read, folder.delete, folder.delete_folder):
        with pytest.raises(StoreError, match="is no path below the store"):
            act(name)
    with pytest.raises(StoreError, match="is no path below the store"):
        folder.write(name, b"")


def manifest(store: Store, table: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(store.folder.read(f"{table}/{MANIFEST}"))
    content.pop("checksum")
    return content


@pytest.mark.parametrize("path", ["../../x", "/etc/passwd", ".."])
@pytest.mark.parametrize("key", ["name", "file", "table", "embeddings"])
def test_a_manifest_names_nothing_outside(store: Store, key: str, path: str) -> None:
    content = manifest(store, "rewards/v1")
    if key == "embeddings":
        content["embeddings"][0] = path
    else:
        (content if key == "name" else content["files"][0])[key] = path
    with pytest.raises(StoreError, match=f"not a valid manifest: .*{key}.*is no "):
        parse_manifest(sealed(content), origin="x")


def test_a_camera_may_have_any_name() -> None:
    spec = PixelMeanEncoder().spec
    name = embedding_name(spec, "observation.../../wrist cam")
    assert name == check_name("", name)
    assert embedding_name(spec, "observation.image_0") == f"{spec.key}.image_0"


@pytest.mark.parametrize("position", range(0, 2000, 37))
def test_a_flipped_bit_in_a_manifest_is_found(store: Store, position: int) -> None:
    content = bytearray(store.folder.read(f"rewards/v1/{MANIFEST}"))
    place = position * len(content) // 2000
    content[place] ^= 1 << position % 7
    whitespace = bytes(content).split() == store.folder.read(f"rewards/v1/{MANIFEST}").split()
    if whitespace:
        pytest.skip("only white space differs")
    with pytest.raises(StoreError):
        parse_manifest(bytes(content), origin="x")
