"""The source distribution that Beam makes of `--setup_file ./setup.py`, and what comes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.install.image import ROOT, copied
from tests.test_requirements import BASE, BY_EXTRA, PACKAGES, names_of

pytestmark = pytest.mark.slow
OTHERS = {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"}
MADE = {"PKG-INFO", "setup.cfg"}  # by setuptools


def _run(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VLM_RELABEL_EXTRAS")}
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, some of its tests included."""
    folder = tmp_path_factory.mktemp("sdist") / "source"
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=kept)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "tests" / "schemas", folder / "tests" / "schemas", ignore=kept)
    shutil.copy(ROOT / "tests" / "test_ladder.py", folder / "tests")
    return folder


def _sdist(source: Path, folder: Path, **variables: str) -> Path:
    """As Beam makes one."""
    done = _run("setup.py", "-q", "sdist", "--dist-dir", str(folder), cwd=source, **variables)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.tar.gz")
    return path


def _files(path: Path) -> set[str]:
    """In it, below its one folder."""
    with tarfile.open(path) as archive:
        names = [member.name for member in archive if member.isfile()]
    return {name.partition("/")[2] for name in names}


def test_every_file_of_the_packages_is_in_it_and_no_test(source: Path, tmp_path: Path) -> None:
    found = {name for name in _files(_sdist(source, tmp_path)) if ".egg-info/" not in name}
    packages = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in packages} >= {".py", ".html", ".css", ".js", ".typed"}
    assert found == packages | OTHERS | MADE


@pytest.mark.parametrize("extras", ["", "embed,beam", "s3"])
def test_it_asks_for_the_libraries_of_the_extras_that_were_named(
    extras: str, source: Path, tmp_path: Path
) -> None:
    path = _sdist(source, tmp_path / "made", VLM_RELABEL_EXTRAS=extras)
    assert ("worker_extras.txt" in _files(path)) == bool(extras)
    # A worker does not have the variable.
    folder = tmp_path / "installed"
    words = ("install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder))
    done = _run("-m", "pip", *words, str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (metadata,) = folder.glob("*.dist-info/METADATA")
    asked = Parser().parsestr(metadata.read_text(encoding="utf-8")).get_all("Requires-Dist") or []
    always = [text for text in asked if "extra ==" not in text]
    wanted = [*BASE, *(text for name in filter(None, extras.split(",")) for text in BY_EXTRA[name])]
    assert {Requirement(text).name.lower() for text in always} == {
        Requirement(text).name.lower() for text in wanted
    }
    assert names_of(always) == names_of(wanted)
    for name in ("vlm_relabel/pages/assets", "vlm_relabel/labelling"):
        here = {p.name for p in (ROOT / name).iterdir() if p.is_file() and p.suffix != ".pyc"}
        assert here <= {p.name for p in (folder / name).iterdir()}
    done = _run(
        "-P",
        "-c",
        "import pipelines.jobs, vlm_relabel.pages, sys; sys.stdout.write(pipelines.__file__)",
        cwd=tmp_path,
        PYTHONPATH=str(folder),
    )
    assert Path(done.stdout).is_relative_to(folder), done.stderr
    assert not (folder / "tests").exists()


def test_an_extra_that_is_not_there_is_named(source: Path, tmp_path: Path) -> None:
    done = _run("setup.py", "-q", "sdist", cwd=source, VLM_RELABEL_EXTRAS="embed,bean")
    assert done.returncode != 0
    assert "VLM_RELABEL_EXTRAS: no extra bean; there are embed, evaluation, beam" in done.stderr
