"""`repair`: only what is damaged is made anew, and then every byte is what it was."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from relabel.testing import load_pixel_mean_encoder
from schemas.manifests import manifest_bytes, sealed, unsealed
from schemas.store import GOAL_SET, GOALS, MANIFEST, PLAN, Store
from schemas.verify import verify_store
from tests import small
from tests.schemas.test_seals import flip
from tests.vlm_relabel.cli.cli_outcomes import flat
from vlm_relabel import arguments
from vlm_relabel.cli.main import app


def run(*words: Any, answer: str | None = None) -> Result:
    """Runs a command as if it had been typed."""
    line = [str(word) for word in words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vlm-relabel", *line])
        patch.setattr(arguments, "encoder_loader", lambda *_: load_pixel_mean_encoder)
        environment = {"COLUMNS": "400", "TERM": "dumb"}
        return CliRunner().invoke(app, line, env=environment, input=answer)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repair")


@pytest.fixture(scope="module")
def pristine(place: Path, source: Path, goals: Path) -> Path:
    """A copy of a store with a table of every kind."""
    store = place / "store"
    common = {"--encoder": "fake", "--goals": goals, "--threads": 1}
    of_source = {"--source": source, "--camera": "front", "--episodes-per-slice": 1}
    lines = [
        ["relabel", *flat({**common, **of_source}, store=store)],
        ["score", *flat(common, store=store), "--name", "v2", "--threshold", "0.7"],
        ["build-goals", store, "--name", "gc", "--rewards", "v2", "--materialize"],
    ]
    for line in lines:
        done = run(*line)
        assert done.exit_code == 0, done.output
    shutil.copytree(store, place / "pristine")
    return place / "pristine"


@pytest.fixture
def store(place: Path, pristine: Path) -> Iterator[Store]:
    """The store, whole, to be damaged where it is: its commands name the place."""
    yield Store.open(str(place / "store"))
    shutil.rmtree(place / "store")
    shutil.copytree(pristine, place / "store")


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: list[Callable[[Path], None]] = [remove, halve, lambda path: flip(path, 0.5)]
KINDS = [
    "steps",
    "episodes",
    "embeddings",
    "rewards/v1",
    "rewards/v2",
    "goal_datasets",
    "transitions",
]


def table_of(store: Store, kind: str) -> str:
    if kind == "transitions":
        return "transitions/gc"
    return next(table for table in store.tables() if table.startswith(kind))


def check_repaired(store: Store, pristine: Path) -> None:
    assert small.tree(Path(store.location)) == small.tree(pristine)
    found = [p for _, problems in verify_store(Store.open(store.location)) for p in problems]
    assert found == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_slice_is_made_anew(
    store: Store, pristine: Path, kind: str, damage: Callable[[Path], None]
) -> None:
    table = table_of(store, kind)
    files = [Path(store.location, table, piece.file) for piece in store.slices]
    damage(files[1])
    untouched = {path: path.stat().st_ino for path in Path(store.location).rglob("slice-*.parquet")}
    untouched.pop(files[1], None)
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 0, done.output
    assert f"{table}/{files[1].name}: " in done.output
    assert "all well" in done.output
    check_repaired(store, pristine)
    kept = {path: path.stat().st_ino for path in untouched}
    beside = "/gc/"  # a goal dataset and its transitions are made together
    assert {p for p, inode in kept.items() if inode != untouched[p]} <= {
        path for path in kept if beside in str(path) and path.name == files[1].name
    }


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [GOALS, GOAL_SET])
def test_damaged_goals_are_written_anew(
    store: Store, pristine: Path, file: str, damage: Callable[[Path], None]
) -> None:
    damage(Path(store.location, "rewards/v1", file))
    assert run("repair", store.location, "--yes").exit_code == 0
    check_repaired(store, pristine)


def test_several_tables_damaged_at_once(store: Store, pristine: Path) -> None:
    for kind in KINDS:
        for piece in store.slices[::2]:
            flip(Path(store.location, table_of(store, kind), piece.file), 0.3)
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 0, done.output
    check_repaired(store, pristine)


def test_a_slice_that_the_manifest_does_not_list(store: Store, pristine: Path) -> None:
    manifest = store.table_manifest("rewards/v1")
    content = manifest_bytes(manifest.model_copy(update={"files": ()}))
    store.folder.write(f"rewards/v1/{MANIFEST}", content)
    assert run("repair", store.location, "--yes").exit_code == 0
    check_repaired(store, pristine)


@pytest.mark.parametrize("kind", KINDS[:-1])
@pytest.mark.parametrize("wrong", [{"crc32c": 5}, {"sha256": "5" * 64}])
def test_checksums_that_no_file_has(
    store: Store, pristine: Path, kind: str, wrong: dict[str, Any]
) -> None:
    table = table_of(store, kind)
    store.read(table)
    manifest = store.table_manifest(table)
    files = tuple(replace(file, **wrong) for file in manifest.files)
    small.rewrite_manifest(store, manifest.model_copy(update={"files": files}))
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 0, done.output
    check_repaired(store, pristine)


def change(store: Store, table: str, **changes: Any) -> None:
    """Changes keys of a manifest, and not its checksum."""
    name = f"{table}/{MANIFEST}"
    whole = json.loads(store.folder.read(name))
    store.folder.write(name, json.dumps({**whole, **changes}, indent=1).encode())


def test_a_manifest_that_was_changed_is_written_anew(store: Store, pristine: Path) -> None:
    statistics = json.loads(store.folder.read(f"goal_datasets/gc/{MANIFEST}"))["statistics"]
    statistics["action"]["mean"][0] += 1
    change(store, "goal_datasets/gc", statistics=statistics)
    change(store, "steps", files=[])
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 0, done.output
    check_repaired(store, pristine)


def test_what_a_changed_manifest_says_is_not_believed(store: Store) -> None:
    change(store, "rewards/v1", goals_hash="0" * 64)
    before = (Path(store.location) / "rewards/v1" / GOALS).read_bytes()
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 1
    assert "goals_hash: stored" in done.output
    assert (Path(store.location) / "rewards/v1" / GOALS).read_bytes() == before


@pytest.mark.parametrize("table", ["steps", "episodes"])
def test_a_table_of_the_source_that_is_gone(store: Store, pristine: Path, table: str) -> None:
    shutil.rmtree(Path(store.location, table))
    assert run("repair", store.location, "--yes").exit_code == 0
    check_repaired(store, pristine)


def test_a_manifest_that_is_gone_is_told(store: Store) -> None:
    Path(store.location, "rewards/v2", MANIFEST).unlink()
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 1
    assert "which command made rewards/v2 is not known" in done.output


def test_an_unfinished_table_is_finished(store: Store, pristine: Path) -> None:
    path = Path(store.location, "rewards/v1")
    (path / MANIFEST).rename(path / PLAN)
    (path / store.slices[2].file).unlink()
    assert run("repair", store.location, "--yes").exit_code == 0
    check_repaired(store, pristine)


# --- asked first


def test_nothing_is_changed_without_consent(store: Store) -> None:
    flip(Path(store.location, "steps", store.slices[1].file), 0.5)
    before = small.tree(Path(store.location))
    for words, answer in (
        (["--dry-run"], None),
        ([], "n\n"),
        ([], None),
        (["--dry-run", "--json"], None),
    ):
        done = run("repair", store.location, *words, answer=answer)
        assert small.tree(Path(store.location)) == before
        assert done.exit_code == (0 if "--dry-run" in words else 1)
        assert "vlm-relabel embed " in done.output
        assert "steps/slice-" in done.output
    assert run("repair", store.location, answer="y\n").exit_code == 0


def test_a_whole_store_needs_nothing(store: Store, pristine: Path) -> None:
    done = run("repair", store.location)
    assert (done.exit_code, "all well" in done.output) == (0, True)
    told = json.loads(run("repair", store.location, "--json", "--yes").stdout)
    assert (told["ok"], told["damaged"], told["commands"]) == (True, {}, [])
    check_repaired(store, pristine)


def test_json_is_one_object_and_needs_consent(store: Store, pristine: Path) -> None:
    done = run("repair", store.location, "--json")
    assert json.loads(done.stdout)["message"].startswith("repair --json: expected --yes or")
    flip(Path(store.location, "rewards/v1", store.slices[0].file), 0.5)
    told = json.loads(run("repair", store.location, "--json", "--yes").stdout)
    assert told["ok"]
    assert list(told["damaged"]) == ["rewards/v1"]
    assert told["failed"] == {}
    check_repaired(store, pristine)


def test_a_repair_that_cannot_be_done_loses_nothing(store: Store, source: Path) -> None:
    path = Path(store.location, "steps", store.slices[1].file)
    flip(path, 0.5)
    damaged = path.read_bytes()
    source.rename(source.with_name("moved"))
    try:
        done = run("repair", store.location, "--yes")
        assert done.exit_code == 1
        assert "no such directory" in done.output
        assert path.read_bytes() == damaged
    finally:
        source.with_name("moved").rename(source)
    assert run("repair", store.location, "--yes").exit_code == 0


# --- what a store recorded is not believed

HOSTILE = [
    "rm -rf {store}",
    "vlm-relabel train --store {store} --dataset gc --out {store}/run --algorithm gciql",
    "vlm-relabel repair {store}",
    "vlm-relabel; touch {store}/mark",
    "vlm-relabel score '",
    "vlm-relabel score --no-such-option",
    "vlm-relabel score --store {store} --encoder \"os:system(command='touch x')\" --goals g.yaml",
    "vlm-relabel score --store {store} --encoder fake --goals g.yaml --reward evil:Reward",
]


@pytest.mark.parametrize("command", HOSTILE)
def test_only_our_commands_on_this_store_are_run(store: Store, command: str) -> None:
    name = f"rewards/v1/{MANIFEST}"
    content = unsealed(store.folder.read(name), origin=name)
    recorded = command.format(store=store.location)
    store.folder.write(name, sealed({**content, "command": recorded}))
    flip(Path(store.location, "rewards/v1", store.slices[0].file), 0.5)
    before = small.tree(Path(store.location))
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 2
    assert "type it yourself" in done.output
    shown = done.output.rstrip().splitlines()[-1].strip()  # in the order of the options, if parsed
    assert shown == recorded or {*shlex.split(recorded)} <= {*shlex.split(shown)}
    assert small.tree(Path(store.location)) == before


def test_what_has_beam_options_is_for_people_to_type(store: Store, pristine: Path) -> None:
    """What it makes is open again, so that the command finds something to do."""
    name = f"steps/{MANIFEST}"
    content = unsealed(store.folder.read(name), origin=name)
    recorded = f"{content['command']} -- --setup_file ./evil.py"
    store.folder.write(name, sealed({**content, "command": recorded}))
    for table in ("steps", "rewards/v2"):
        flip(Path(store.location, table, store.slices[0].file), 0.5)
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 1
    assert "has Beam options: type it yourself, then repair again" in done.output
    assert store.unfinished() == ["rewards/v2", "steps"]
    line = next(
        line for line in done.output.splitlines() if line.endswith("--setup_file ./evil.py")
    )
    program, *typed = shlex.split(line)
    assert program == "vlm-relabel"
    assert run(*typed[: typed.index("--")]).exit_code == 0
    assert run("repair", store.location, "--yes").exit_code == 0
    for table in ("steps", "rewards/v2"):
        file = Path(table, store.slices[0].file)
        assert Path(store.location, file).read_bytes() == (pristine / file).read_bytes()


def test_a_copied_store_is_repaired_where_it_is(store: Store, place: Path, pristine: Path) -> None:
    copy = place / "a copy"
    shutil.copytree(store.location, copy)
    try:
        for table in ("steps", table_of(store, "embeddings"), "rewards/v2", "transitions/gc"):
            flip(copy / table / store.slices[0].file, 0.5)
        done = run("repair", copy, "--yes")
        assert done.exit_code == 0, done.output
        check_repaired(Store.open(str(copy)), pristine)
    finally:
        shutil.rmtree(copy)
    check_repaired(store, pristine)


def test_overwrite_is_not_repeated(store: Store, pristine: Path) -> None:
    """The rewards that `relabel` made were replaced since."""
    name = f"steps/{MANIFEST}"
    content = unsealed(store.folder.read(name), origin=name)
    words = shlex.split(content["command"])
    content["command"] = shlex.join([*words, "--overwrite", "--threshold", "0.1"])
    store.folder.write(name, sealed(content))
    piece = store.slices[1]
    flip(Path(store.location, "steps", piece.file), 0.5)
    done = run("repair", store.location, "--yes")
    assert done.exit_code == 0, done.output
    assert "--overwrite" not in done.output.partition("to run")[2].partition("✓")[0]
    path = Path("rewards/v1", MANIFEST)
    assert Path(store.location, path).read_bytes() == (pristine / path).read_bytes()
