"""README and docs say what is true: their blocks run, their links, options and names exist."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline_rl.algorithms import ALGORITHMS
from offline_rl.dataset import GoalEncoding
from offline_rl.training import LOGGERS
from relabel.rewards.registry import REWARD_FUNCTIONS
from schemas import fields, goal_datasets, manifests
from schemas.encoders import EncoderSpec
from schemas.enums import Fusion, LastStep, Timing
from schemas.goals import Family, Goal, GoalSet
from schemas.slices import TableFile
from tests.docs.docs_blocks import (
    BlockError,
    blocks,
    broken_links,
    check_command,
    cli_options,
    make_targets,
    mentioned_options,
    run_page,
)
from tests.docs.docs_workspace import make_store

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("**/*.md"))
MORE = ("CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
PAGES = [ROOT / "README.md", *(ROOT / name for name in MORE), *DOCS]
RUN = [page for page in PAGES if any(b.language in ("python", "console") for b in blocks(page))]
BEAM_OPTIONS = {"--runner", "--flink_master", "--setup_file"}  # that the docs name
BEAM_OPTIONS |= {"--dask_client_address", "--dask_npartitions", "--dask_partition_size"}
BEAM_OPTIONS |= {"--resource_hint", "--embed_resource_hint", "--experiments"}
BEAM_OPTIONS |= {"--sdk_worker_parallelism", "--sdk_container_image", "--machine_type"}
BEAM_OPTIONS |= {"--environment_type", "--environment_config", "--job_endpoint"}
BEAM_OPTIONS |= {"--project", "--region", "--temp_location", "--spark_master_url"}
WITHOUT_STORE = ("README", "running")  # pages whose blocks make `my.store` themselves


def _name(page: Path) -> str:
    return page.stem if page.parent.name != "examples" else "examples"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=_name)
def test_blocks_run(page: Path, here: Path) -> None:
    if page.stem not in WITHOUT_STORE:
        make_store(here)
    assert run_page(page) > 0


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist(page: Path) -> None:
    targets = make_targets(ROOT / "Makefile")
    for block in blocks(page):
        for command, _ in block.commands():
            check_command(block, command, targets)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_goals_files_are_valid(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml" and "goals:" in block.text:
            GoalSet.from_yaml(block.text, origin=block.place)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_marks_give_a_reason(page: Path) -> None:
    comments = re.findall(r"<!--.*?-->", re.sub(r"`<!--.*?-->`", "", page.read_text("utf-8")))
    marked = [block for block in blocks(page) if block.mark]
    assert len(comments) == len(marked), "a comment that marks no block"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_options_exist(page: Path) -> None:
    known = {option for options in cli_options().values() for option in options}
    others = BEAM_OPTIONS | {"--nthreads", "--nworkers", "--dask_adress"}  # Dask's, and a mistake
    others |= {"--tag", "--build-arg", "--worker_pool", "--publish"}  # of Docker and Beam's images
    assert mentioned_options(page) - known - others == set()


def test_beam_options_exist() -> None:
    pytest.importorskip("apache_beam")
    pytest.importorskip("dask")
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dask import dask_runner

    from pipelines import hints

    assert dask_runner.DaskOptions  # known once it is imported
    assert hints.HintOptions
    for option in sorted(BEAM_OPTIONS):
        known = PipelineOptions([option, "1"]).get_all_options(drop_default=True)
        (value,) = known.values()
        assert str(value[0] if isinstance(value, list) else value) == "1", option
    assert (ROOT / "setup.py").exists()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_in_the_text_exist(page: Path) -> None:
    named = set(re.findall(r"`make ([a-z]+)", page.read_text("utf-8")))
    assert named <= make_targets(ROOT / "Makefile")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_error_texts_are_those_of_the_code(page: Path) -> None:
    """The texts in the table of errors stand somewhere in the code."""
    rows = re.findall(r"^\| (`.+`) \| ", _section(page, "Errors you may meet"), re.MULTILINE)
    code = " ".join(_strings(ROOT / "relabel"))
    for text in re.findall(r"`([^`]+)`", " ".join(rows)):
        parts = re.split(r"\b[NM]\b|'cuda'", text)
        assert all(part.strip() in code for part in parts), text


def _section(page: Path, heading: str) -> str:
    found = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.M | re.S)
    return found[1] if found else ""


def _strings(folder: Path) -> Iterator[str]:
    """The literal parts of all strings of a package; adjacent ones are joined by the parser."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


# --- nothing is left out -----------------------------------------------------------------------


def _documented(page: str, names: set[str]) -> set[str]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return {name for name in names if f"`{name}`" not in text}


def test_every_goal_key_is_documented() -> None:
    keys = {key for model in (Goal, GoalSet, Family) for key in model.model_fields}
    assert _documented("goals.md", keys) == set()


def test_every_reward_function_is_documented() -> None:
    text = (ROOT / "docs" / "rewards.md").read_text("utf-8")
    assert [name for name in REWARD_FUNCTIONS if f"`{name}" not in text] == []


def test_every_manifest_key_is_documented() -> None:
    models = [
        *(manifests.StoreManifest, manifests.SourceSpec),
        *(manifests.StepsManifest, manifests.EpisodesManifest, manifests.EmbeddingManifest),
        *(manifests.RewardManifest, EncoderSpec),
        *(goal_datasets.GoalDatasetManifest, goal_datasets.DatasetOptions),
        goal_datasets.ColumnStatistics,
    ]
    keys = {key for model in models for key in model.model_fields}
    for record in (TableFile, manifests.SliceSpec):
        keys |= {field.name for field in dataclasses.fields(record)}
    assert _documented("format.md", keys) == set()
    assert f"format version {manifests.FORMAT_VERSION}" in (ROOT / "docs/format.md").read_text()


def test_every_column_and_enum_is_documented() -> None:
    columns = {
        *(fields.EPISODE_ID, fields.STEP, fields.LENGTH, fields.LANGUAGE, fields.EMBEDDING),
        *(fields.SCORE, fields.REWARD, fields.GOAL_ID, fields.FAMILY, fields.TEXTS),
        *(fields.PHRASINGS, fields.SPOKEN),
        *(fields.NEGATIVES, fields.TEMPERATURE, fields.THRESHOLD, fields.TEXT_EMBEDDING),
        *(fields.SLICE, fields.STAGE, fields.CAMERA, fields.REASON),
        *(fields.SHAPE.decode(), fields.DTYPE.decode(), fields.FINGERPRINT.decode()),
        *goal_datasets.GOAL_DATASET_SCHEMA.names,
        *(value.value for enum in (Timing, LastStep) for value in enum),
        *(value.value for enum in (goal_datasets.Kind, goal_datasets.Split) for value in enum),
    }
    assert _documented("format.md", columns) == set()
    text = (ROOT / "docs/rewards.md").read_text("utf-8")
    assert all(f"--fuse {value}" in text for value in Fusion)


def test_every_option_is_documented() -> None:
    text = " ".join(page.read_text("utf-8") for page in PAGES)
    options = {option for known in cli_options().values() for option in known}
    assert sorted(o for o in options if not re.search(rf"{o}(?![\w-])", text)) == []


@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("audit", "auditing.md"),
        ("build-goals", "goal_datasets.md"),
        ("compare", "comparing.md"),
        ("label", "labels.md"),
        ("train", "agents.md"),
        ("evaluate", "agents.md"),
        ("calibrate", "calibration.md"),
        ("report", "report.md"),
    ],
)
def test_every_option_of_a_command_is_on_its_page(command: str, page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    options = cli_options()[command] - {"--help"}
    assert sorted(o for o in options if not re.search(rf"{o}(?![\w-])", text)) == []


def test_every_algorithm_and_choice_of_train_is_documented() -> None:
    assert _documented("agents.md", {*ALGORITHMS, *GoalEncoding, *LOGGERS}) == set()
    assert _documented("goal_datasets.md", set(goal_datasets.Kind)) == set()


def test_changelog_has_the_fixed_headings() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= {"Added", "Changed", "Fixed", "Breaking"}
    assert re.search(r"^## 0\.1\.0", text, re.M)


# --- these tests can fail ----------------------------------------------------------------------


def _page(directory: Path, text: str) -> Path:
    page = directory / "page.md"
    page.write_text(text.replace("'''", "```"))
    return page


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'''python\nx = 1\n'''\n'''python\nassert x == 2\n'''", "page.md:4: AssertionError"),
        ("'''python\nimport no_such_module\n'''", "ModuleNotFoundError"),
        ("'''console\n$ vlm-relabel verify nowhere\n'''", "expected exit code 0, got 2"),
        ("'''sh\nvlm-relabel verify nowhere\n'''", "expected exit code 0, got 2"),
        ("<!-- fails: full moon -->\n'''sh\nvlm-relabel verify nowhere\n'''", "'full moon', got 2"),
        ("<!-- fails: x -->\n'''sh\nvlm-relabel verify --help\n'''", "expected exit code 2"),
        ("'''console\n$ vlm-relabel verify --help\nfull moon\n'''", "does not print"),
        ("'''python\nx = 1", "is not closed"),
    ],
)
def test_a_broken_block_is_noticed(
    text: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlockError, match=re.escape(expected)):
        run_page(_page(tmp_path, text))


def test_a_block_with_a_file_name_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(_page(tmp_path, "'''python\n# own_module.py\nx = 1\n'''"))
    assert (tmp_path / "own_module.py").read_text() == "# own_module.py\nx = 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "'''python\nx = 1\n'''\n'''python\nassert x == 1\n'''",
        "<!-- fails: not a store -->\n'''sh\nvlm-relabel verify nowhere\n'''",
        "<!-- not run: never -->\n'''python\nraise ValueError\n'''",
        "'''console\n$ vlm-relabel verify --help\nUsage: vlm-relabel verify\n'''",
    ],
)
def test_a_sound_block_passes(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(_page(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'''sh\nmake coffee\n'''", "no make target"),
        ("'''console\n$ vlm-relabel verify --loudly s\n'''", "no option ['--loudly']"),
        ("'''sh\nvlm-relabel brew\n'''", "no subcommand"),
        ("'''sh\nrm -r x\n'''", "rm is not run here"),
        ("<!-- not run: x -->\n'''sh\nvlm-relabel score --nmae v2\n'''", "no option ['--nmae']"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(text: str, expected: str, tmp_path: Path) -> None:
    (block,) = blocks(_page(tmp_path, text))
    ((command, _),) = block.commands()
    with pytest.raises(BlockError, match=re.escape(expected)):
        check_command(block, command, make_targets(ROOT / "Makefile"))


def test_a_broken_link_and_an_unknown_option_are_noticed(tmp_path: Path) -> None:
    page = _page(tmp_path, "# Top\n[a](gone.md) [b](#top) [c](#gone) [d](page.md#top) `--gone`")
    assert broken_links(page) == ["gone.md", "#gone"]
    assert mentioned_options(page) == {"--gone"}
