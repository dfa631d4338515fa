"""`examples/own_encoder.py` as a file of the user's own: every command that takes an encoder."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vlm_relabel
from examples import own_encoder
from schemas.store import Store
from tests.pipelines.small_source import COLOURS, colour
from tests.schemas.test_seals import flip
from tests.vlm_relabel.cli.cli_outcomes import Run, files, flat, refusal

NAME = "typed_colours:Colours(sharpness=2.0)"
LENGTHS = (3, 2, 4, 2)


@pytest.fixture
def words(
    source: Path, goals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Options of `relabel`, typed where the example lies under a name of its own."""
    room = tmp_path / "room"
    room.mkdir()
    shutil.copy(own_encoder.__file__, room / "typed_colours.py")
    monkeypatch.chdir(room)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))  # of workers
    yield {
        **{"--source": source, "--camera": "front", "--encoder": NAME, "--goals": goals},
        **{"--store": tmp_path / "store", "--threads": 1, "--episodes-per-slice": 1},
    }
    sys.modules.pop("typed_colours", None)


def typed(run: Run, monkeypatch: pytest.MonkeyPatch, *line: Any) -> Any:
    """Runs a command that tables record as it was typed; its JSON."""
    monkeypatch.setattr(sys, "argv", ["vlm-relabel", *map(str, line)])
    done = run(*line, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_is_40_lines_long() -> None:
    assert len(Path(own_encoder.__file__).read_text().splitlines()) <= 40


def test_it_embeds_what_it_says() -> None:
    encoder = own_encoder.Colours(sharpness=2.0)
    frame = np.zeros((2, 2, 3), np.uint8)
    frame[0, 0], frame[0, 1] = (250, 10, 0), (255, 255, 255)
    (found,) = encoder.encode_images(frame[None])
    np.testing.assert_allclose(found, np.array([4, 1, 0, 0, 1]) / np.sqrt(18), rtol=1e-6)
    assert own_encoder.Colours(1.0).spec.fingerprint != encoder.spec.fingerprint


def test_every_command_takes_it(
    run: Run, words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = words["--store"]
    done = typed(run, monkeypatch, "relabel", *flat(words, workers=2))
    assert done["encoder"] == f"{NAME}, float32"
    truth = [
        [np.array_equal(colour(episode, step + 1), COLOURS[goal]) for goal in range(3)]
        for episode, length in enumerate(LENGTHS)
        for step in range(length - 1)
    ]
    found = vlm_relabel.open_store(store).rewards("v1")
    np.testing.assert_array_equal(found[~np.isnan(found[:, 0])], truth)
    assert run("verify", store).exit_code == 0

    # one process and another folder: the same bytes; resumed: nothing is done again
    alone = typed(run, monkeypatch, "relabel", *flat(words, store=tmp_path / "alone"))
    assert alone["slices_new"] == 4
    tables = files(tmp_path / "alone")
    for name, content in files(store).items():
        assert not name.endswith(".parquet") or tables[name] == content, name
    before = files(store)
    resumed = typed(run, monkeypatch, "relabel", *flat(words, workers=2))
    assert resumed["slices_new"] == 0
    assert files(store) == before

    # stored embeddings are this encoder's, and not one of other settings
    scoring = {key: words[key] for key in ("--encoder", "--goals", "--store", "--threads")}
    typed(run, monkeypatch, "score", *flat(scoring, name="v2", reward="cosine"))
    other = run("score", *flat(scoring, encoder="typed_colours:Colours", name="v3"), "--json")
    assert "no embeddings of typed_colours:Colours at float32" in refusal(other)
    assert NAME in refusal(other)

    typed(run, monkeypatch, "build-goals", store, "--name", "gc", "--rewards", "v1")
    assert run("verify", store).exit_code == 0


def test_a_repair_runs_code_only_if_told_to(
    run: Run, words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(run, monkeypatch, "relabel", *flat(words))
    store = Store.open(str(words["--store"]))
    whole = files(words["--store"])
    table = store.embeddings()[0].table
    flip(words["--store"] / table / store.slices[1].file, 0.5)
    told = run("repair", words["--store"], "--dry-run", "--json")
    assert "typed_colours" in json.loads(told.stdout)["commands"][0]
    del sys.modules["typed_colours"]
    told = refusal(run("repair", words["--store"], "--yes", "--json"))
    assert f"its command imports and runs {NAME}, which the store names" in told
    assert "--allow-code" in told
    assert "typed_colours" not in sys.modules
    done = run("repair", words["--store"], "--yes", "--allow-code")
    assert done.exit_code == 0, done.output
    assert files(words["--store"]) == whole


def test_a_refusal_names_the_option(run: Run, words: dict[str, Any]) -> None:
    told = refusal(run("relabel", *flat(words, precision="float16"), "--json"))
    assert "--precision means nothing to it, since its factory Colours(sharpness=1.0)" in told
    assert not words["--store"].exists()
