"""The image of workers, as far as it can be built without an engine for images.

Not covered: the base image, Beam's boot program, and the installation of other libraries, which is
resolved and not carried out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.install.image import ROOT, copied, instructions, kept_by_dockerignore, of_the_image
from tests.test_requirements import BY_EXTRA, PACKAGES, names_of


def _shell(text: str, programs: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a step as Docker would, in an environment of its own."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        ["/bin/sh", "-c", text],
        cwd=folder,
        env={**kept, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def _locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in found}


def _steps(name: str) -> list[str]:
    return [step.text for step in of_the_image() if step.name == name]


def test_it_copies_what_is_there_and_what_the_build_may_see() -> None:
    assert [name for name in copied() if not (ROOT / name.removeprefix("./")).exists()] == []
    assert set(copied()) == kept_by_dockerignore()
    assert set(PACKAGES) <= set(copied())


def test_it_begins_with_images_of_the_registry_that_are_named() -> None:
    version = _locked()["apache-beam"]
    assert _steps("FROM") == [f"apache/beam_python3.11_sdk:{version} AS beam", "python:3.11-slim"]
    entry = "/opt/apache/beam/boot"
    assert _steps("ENTRYPOINT") == [json.dumps([entry])]
    (boot,) = [text for text in _steps("COPY") if text.startswith("--from")]
    assert boot == "--from=beam /opt/apache/beam /opt/apache/beam"
    assert {i.name for i in of_the_image()} <= {
        *["FROM", "ARG", "WORKDIR", "COPY", "RUN", "ENTRYPOINT"]
    }


def test_steps_of_several_lines_are_read_as_one() -> None:
    found = instructions("# a\nFROM x\nRUN a \\\n    b\n\nCOPY c d\n")
    assert [(i.name, i.words) for i in found] == [
        ("FROM", ["x"]),
        ("RUN", ["a", "b"]),
        ("COPY", ["c", "d"]),
    ]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Programs of a fresh environment, and a folder with what the Dockerfile copies."""
    place = tmp_path_factory.mktemp("image")
    venv.create(place / "environment", with_pip=True)
    folder = place / "folder"
    folder.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    programs = place / "environment" / "bin"
    first, *_ = _steps("RUN")  # of pip itself
    done = _shell(first, programs, folder)
    if done.returncode:
        pytest.skip(f"no package index can be reached: {done.stderr.strip().splitlines()[-1]}")
    return programs, folder


@pytest.mark.slow
def test_its_libraries_are_resolved_at_the_versions_of_the_lock(built: tuple[Path, Path]) -> None:
    programs, folder = built
    _, install, _ = _steps("RUN")
    text = install.replace("pip install", "pip install --dry-run --report plan.json")
    done = _shell(text.replace("--no-cache-dir", ""), programs, folder)  # which saves a machine's
    assert done.returncode == 0, done.stderr
    plan: Any = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    found = {
        canonicalize_name(item["metadata"]["name"]): item["metadata"]["version"].partition("+")[0]
        for item in plan["install"]
    }
    assert found.pop("vlm-relabel")
    locked = _locked()
    differing = {
        name: version
        for name, version in found.items()
        if locked.get(name, version).partition("+")[0] != version
    }
    assert differing == {}
    extras = ("embed", "beam", "gcs", "hf", "s3", "video")
    wanted = {name for extra in extras for name in names_of(BY_EXTRA[extra])}
    assert wanted <= set(found)


@pytest.mark.slow
def test_the_project_itself_is_installed_and_answers(built: tuple[Path, Path]) -> None:
    programs, folder = built
    _, install, _ = _steps("RUN")
    alone = "python -m pip install --quiet --no-deps --no-build-isolation '.[embed,beam]'"
    assert install.startswith("python -m pip install ")
    done = _shell(alone, programs, folder)
    assert done.returncode == 0, done.stderr
    look = "import schemas.errors, sys; sys.stdout.write(schemas.errors.__file__)"
    done = _shell(f'cd / && python -c "{look}"', programs, folder)
    assert Path(done.stdout).is_relative_to(programs.parent), done.stderr
    assert (programs / "vlm-relabel").exists()
