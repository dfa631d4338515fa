"""Parsers of ours under inputs that were damaged, at random and with intent."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.fuzz.targets import ROOT, TARGETS
from tests.relabel.source.test_fuzzed_records import bounded

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "\ud800", "../../x", "\0", "a" * 5000, [], {}, [[]], {"": {}}, [None] * 3),
)
HOSTILE = (
    *(b"[" * 100_000, b'{"a":' * 100_000, b"\xff" * 50, b"\0" * 9, b"9" * 5000, b'"', b"-" * 4000),
    *(b"\xef\xbb\xbf{}", b"&a [*a]", b"!!python/object:os.system x", b"{" * 4000, b"\n" * 9000),
)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read_and_hostile_texts_are_refused_in_a_sentence(name: str) -> None:
    for content in (*TARGETS[name].seeds(), *HOSTILE):
        with bounded():
            TARGETS[name].run(content)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=60)
def test_any_damage_is_refused_in_a_sentence(name: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(TARGETS[name].seeds()))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content)))
        gone = data.draw(st.integers(0, 4))
        content = content[:at] + data.draw(st.binary(max_size=6)) + content[at + gone :]
    TARGETS[name].run(content)


JSONS = (
    *("goals-json", "manifest", "resealed-manifest", "store-manifest", "receipt", "run-config"),
    *("features", "dataset-info"),
)


@pytest.mark.parametrize("name", JSONS)
@given(data=st.data())
@settings(max_examples=150)
def test_json_with_an_odd_value_anywhere_is_refused_in_a_sentence(
    name: str, data: st.DataObject
) -> None:
    content = json.loads(data.draw(st.sampled_from(TARGETS[name].seeds())))
    for _ in range(data.draw(st.integers(1, 2))):
        content = _with_odd(content, data)
    TARGETS[name].run(json.dumps(content).encode("utf-8", "surrogatepass"))


def _with_odd(value: Any, data: st.DataObject) -> Any:
    """The same with something odd in the place of a value, or with one key more or less."""
    keys: list[Any] = []
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys or data.draw(st.integers(0, 5)) == 0:
        return data.draw(st.sampled_from(ODD))
    key = data.draw(st.sampled_from(keys))
    changed = value.copy()
    changed[key] = _with_odd(value[key], data)
    if isinstance(changed, dict) and data.draw(st.integers(0, 5)) == 0:
        del changed[key]
    return changed


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this machine"
)
@pytest.mark.parametrize("name", TARGETS)
def test_atheris_finds_nothing_in_some_thousand_runs(name: str, tmp_path: Path) -> None:
    # From a shell: Linux counts the memory of the starting process, here all that tests before this
    # one left, as the peak of the started one, and the fuzzer holds that against its bound.
    fuzz = [sys.executable, "-m", "tests.fuzz", name, "--runs", "5000", "--seconds", "20"]
    done = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", *fuzz],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},  # of its corpus
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.glob("crash-*")) == []
