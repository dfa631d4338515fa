"""The quick version of all figures: records, pictures and a page whose numbers are right."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from examples.figures import encoders, page, prompts
from examples.figures.__main__ import main
from examples.figures.domains import DOMAINS, WITH_TEMPLATES, encoder_path
from examples.figures.measures import estimate
from examples.figures.runs import Records
from examples.figures.work import QUICK, Work

KINDS = ("encoders", "prompts", "page")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Everything, done once."""
    folder = tmp_path_factory.mktemp("figures")
    main(["--work", str(folder), "--quick", "--only", *KINDS])
    return Work(folder, Records(folder / "results"), QUICK)


@pytest.mark.slow
def test_every_run_has_a_record_and_is_not_done_again(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sum(len(domain.sizes) for domain in DOMAINS.values())
    assert len(work.records.of_kind(encoders.KIND)) == sizes * len(QUICK.seeds)
    assert len(work.records.of_kind("long")) == len(DOMAINS["phone"].sizes)
    assert len(work.records.of_kind(prompts.KIND)) == 2 * len(DOMAINS) * len(QUICK.seeds)
    assert len(work.records.of_kind(encoders.CONTROLS)) == 2 * len(DOMAINS) * len(QUICK.seeds)
    monkeypatch.setattr(encoders, "trained", lambda *_: pytest.fail("trained twice"))
    main(["--work", str(work.folder), "--quick", "--only", *KINDS])


@pytest.mark.slow
@pytest.mark.parametrize("name", DOMAINS)
def test_the_pages_numbers_are_scikit_learns(work: Work, name: str) -> None:
    domain = DOMAINS[name]
    told = (work.folder / "results.md").read_text(encoding="utf-8")
    trajectories = work.trajectories(domain)
    part = next(iter(domain.parts.values()))
    rows = np.flatnonzero(domain.rows(part, trajectories))
    for size in domain.sizes:
        reached = []
        for seed in QUICK.seeds:
            scores = encoders.scored(
                encoder_path(work.folder, name, size, seed), domain, trajectories
            )
            own = [
                average_precision_score(trajectories.truth[rows, goal], scores[rows, goal])
                for goal in np.flatnonzero(domain.columns(part))
                if trajectories.truth[rows, goal].any()
            ]
            reached.append(np.mean(own))
        section = told.split(f"**{domain.title}.** All sizes")[1]
        cell = re.search(rf"^\| {size} \| [\d,]+ \| 2 \| ([\d.]+) \(", section, re.MULTILINE)
        assert cell
        assert float(cell[1]) == pytest.approx(np.mean(reached), abs=6e-4)


@pytest.mark.slow
def test_the_page_says_what_is_missing_and_shows_what_is_there(work: Work) -> None:
    told = (work.folder / "results.md").read_text(encoding="utf-8")
    for picture in re.findall(r"\((images/[^)]+)\)", told):
        assert (work.folder / picture).read_bytes().startswith(b"\x89PNG")
    assert told.count("![") == 3
    empty = page.text(Records(work.folder / "nothing"), {})
    assert empty.count("Not run yet") > told.count("Not run yet")
    assert "![" not in empty


@pytest.mark.slow
def test_templates_are_in_the_captions_of_one_encoder_alone(work: Work) -> None:
    from examples.clip import model

    for name, word in (("phone", "user"), ("playroom", "done")):
        pieces = {
            variant: len(
                model.tokenizer_of(
                    encoder_path(work.folder, name, prompts.SIZE, 0, variant)
                ).encode(word)
            )
            for variant in (WITH_TEMPLATES, "")
        }
        assert pieces[WITH_TEMPLATES] == 1 < pieces[""]


@pytest.mark.slow
def test_another_encoder_is_measured_by_its_name(work: Work) -> None:
    name = "local-dir:examples/phone/encoders/middle"
    more = ["--only", "prompts", "--domain", "phone", "--encoder", name]
    main(["--work", str(work.folder), "--quick", *more])
    (found,) = [
        record for record in work.records.of_kind(prompts.KIND) if record.name.startswith("foreign")
    ]
    assert found.settings["encoder"] == name
    assert estimate([found.result["grid"]["both, A"]]).value > 0.9
