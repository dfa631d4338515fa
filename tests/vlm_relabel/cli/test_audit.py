"""`audit` as people and machines see it, and the note that jobs end with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relabel.evaluation.coverage import Reference, identity, write_reference
from relabel.evaluation.references import coverage_notes
from schemas.store import Store
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal


@pytest.fixture
def made(run: Run, source: Path, goals: Path, store: Path, tiny_model: str) -> Path:
    """A store with the reward set `v1`, of two cameras."""
    words: dict[str, Any] = {"--source": source, "--encoder": tiny_model, "--goals": goals}
    cameras = ["--camera", "front", "--camera", "wrist"]
    done = run("relabel", *flat({**words, "--store": store, "--threads": 1}), *cameras)
    assert done.exit_code == 0, done.output
    return store


def reference(made: Path, path: Path, *, far: bool) -> str:
    """A file of a reference that knows the store's frames, or knows only what is far from them."""
    table = Store.open(str(made)).embeddings()[0]
    prototypes = np.eye(table.encoder.dim, dtype=np.float32)
    bound = -1.0 if far else 2.0
    told = Reference(prototypes, bound, 300, identity(table.encoder), "frames of a test")
    write_reference(told, str(path))
    return str(path)


def test_people_see_what_machines_read(run: Run, made: Path, tmp_path: Path) -> None:
    words = ["audit", made, "--reference", reference(made, tmp_path / "r.parquet", far=True)]
    told = run(*words)
    assert told.exit_code == 0, told.output
    found = json.loads(run(*words, "--json", "--out", tmp_path / "out").stdout)
    assert [goal["goal_id"] for goal in found["goals"]] == ["red", "green", "blue"]
    assert len(found["coverage"]) == 2
    assert [one["outside"] for one in found["coverage"]] == [1, 1]
    for text in (*found["warnings"], *found["notes"], found["claims_are"]):
        assert text in told.stdout
    assert all(goal["goal_id"] in told.stdout for goal in found["goals"])
    assert "lie outside of what the encoder can tell apart" in found["warnings"][0]
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == found


def test_the_encoder_embeds_what_the_store_does_not_keep(
    run: Run, made: Path, tiny_model: str
) -> None:
    alone = json.loads(run("audit", made, "--json").stdout)
    helped = json.loads(run("audit", made, "--json", "--encoder", tiny_model).stdout)
    assert alone["swaps_from"]["missing"] == helped["swaps_from"]["encoder"] > 0
    assert helped["swaps_from"]["missing"] == 0
    assert any("--encoder embeds them" in note for note in alone["notes"])


def test_what_is_wrong_is_said_in_one_sentence(run: Run, made: Path, tmp_path: Path) -> None:
    assert "no table 'rewards/v7'" in refusal(run("audit", made, "--rewards", "v7", "--json"))
    assert "no such file" in refusal(run("audit", made, "--labels", tmp_path / "l.csv", "--json"))
    assert "truth column" in refusal(run("audit", made, "--labels-field", "reward", "--json"))
    none = refusal(run("audit", made, "--reference", tmp_path / "no.store", "--json"))
    assert "not a store" in none
    assert "at least 100 frames" in refusal(run("audit", made, "--reference", made, "--json"))
    several = ["--reference", reference(made, tmp_path / "r.parquet", far=False)]
    saved = refusal(run("audit", made, *several, "--save-reference", tmp_path / "s", "--json"))
    assert "rewards of one camera" in saved


def test_jobs_say_when_frames_lie_outside(
    run: Run, made: Path, goals: Path, tiny_model: str
) -> None:
    place = Path(tiny_model.removeprefix("local-dir:")) / "coverage.parquet"
    words = {"--store": made, "--goals": goals, "--encoder": tiny_model, "--threads": 1}
    try:
        for name, far in (("v2", True), ("v3", False)):
            reference(made, place, far=far)
            done = run("score", *flat({**words, "--name": name}))
            assert done.exit_code == 0, done.output
            assert ("lie outside of what the encoder can tell apart" in done.output) == far
        store = Store.open(str(made))
        assert coverage_notes(store, store.rewards("v3")) == ()
        place.write_text("nothing")  # what cannot be read is told, and fails no job
        (note,) = coverage_notes(store, store.rewards("v3"))
        assert "expected a reference" in note
    finally:
        place.unlink(missing_ok=True)
