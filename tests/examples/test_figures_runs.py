"""Runs leave records, and are not done twice; domains give whole held-out trajectories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.figures.domains import DOMAINS, WITH_TEMPLATES, encoder_path
from examples.figures.runs import RecordError, Records, Run, command_of, read

RUN = Run("encoders", "phone", "tiny", 0, {"steps": 3, "sizes": (1, 2)})


def _told() -> Mapping[str, Any]:
    return {"ap": np.float64(0.25), "curve": np.array([1.0, np.nan]), "which": ("a",)}


def test_a_run_is_done_once_and_its_record_says_how(tmp_path: Path) -> None:
    records = Records(tmp_path, "python -m examples.figures --work DIR")
    first = records.once(RUN, _told)
    again = records.once(RUN, lambda: pytest.fail("done twice"))
    assert again == read(records.path(RUN)) == records.of_kind("encoders")[0]
    assert again.result == {"ap": 0.25, "curve": [1.0, None], "which": ["a"]}
    assert (again.command, again.seed, again.settings["sizes"]) == (first.command, 0, [1, 2])
    assert set(again.machine) >= {"processor", "cores"}
    assert set(again.versions) >= {"torch", "numpy"}
    assert [path.name for path in (tmp_path / "encoders").iterdir()] == ["phone-tiny-0.json"]
    json.loads(records.path(RUN).read_text())


def test_a_record_of_other_settings_is_no_answer(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.once(RUN, _told)
    other = Run("encoders", "phone", "tiny", 0, {"steps": 4})
    with pytest.raises(RecordError, match=r"expected the record of a run with .*4.*got one with"):
        records.once(other, _told)


def test_a_run_that_fails_leaves_no_record(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with pytest.raises(ZeroDivisionError):
        records.once(RUN, lambda: {"a": 1 / 0})
    assert records.of_kind("encoders") == []


def test_a_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders/odd.json").write_text("{}")
    with pytest.raises(RecordError, match="expected a record"):
        Records(tmp_path).of_kind("encoders")


def test_the_command_names_no_folder_of_this_machine() -> None:
    told = command_of(["--work", "/tmp/figures", "--only", "encoders"])
    assert told == "python -m examples.figures --work DIR --only encoders"


def test_encoders_have_one_place(tmp_path: Path) -> None:
    assert encoder_path(tmp_path, "phone", "tiny", 2) == tmp_path / "encoders/phone-tiny-2"
    own = encoder_path(tmp_path, "phone", "tiny", 2, WITH_TEMPLATES)
    assert own.name == "phone-tiny-2-templates"


@pytest.mark.parametrize("name", DOMAINS)
def test_trajectories_are_whole_episodes_of_each_look(name: str) -> None:
    domain = DOMAINS[name]
    found = domain.trajectories(4, seed=1)
    again = domain.trajectories(4, seed=1)
    assert (found.pixels == again.pixels).all()
    assert len(found.lengths) == 4
    assert found.lengths.sum() == len(found.pixels) == len(found.truth) == len(found.episode)
    assert (found.step[np.cumsum(found.lengths) - 1] == found.lengths - 1).all()
    assert found.truth.shape[1] == len(domain.goals.goals) == len(domain.seen)
    for part in domain.parts.values():
        rows = domain.rows(part, found)
        assert rows.any()
        assert domain.columns(part).any()
        assert len(set(found.episode[rows])) in (2, 4)
    assert max(found.lengths) > 5


def test_the_sizes_of_encoders_differ_by_a_factor_of_16(tmp_path: Path) -> None:
    from examples.clip import model

    for domain in DOMAINS.values():
        counts = [
            model.parameter_count(model.new_model(tmp_path, size, 600))
            for size in domain.sizes.values()
        ]
        assert len(counts) >= 4
        assert counts == sorted(counts)
        assert counts[-1] >= 16 * counts[0]
