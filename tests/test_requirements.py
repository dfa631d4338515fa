"""What the code imports is what setup.py asks for, in the extra that brings it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from schemas.extras import EXTRAS
from tests.test_ladder import imports

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "relabel", "pipelines", "offline_rl", "vlm_relabel")
OURS = {*PACKAGES, "tests", "examples", "benchmarks"}
WRITTEN = {"sound_rewards", "rewards_of_old"}  # by the tests and benchmarks that import them
# What comes with a library in any version that we take, and is a part of what that offers.
WITH = {
    "pydantic_core": "pydantic",
    "tokenizers": "transformers",
    "cloudpickle": "dask",
    "requests": "moto",
    "click": "d3rlpy",
    "botocore": "s3fs",
    "huggingface_hub": "open-clip-torch",
    "google": "tensorflow-datasets",  # google.protobuf
    "tensorflow": "tensorflow-cpu",
}


def asked_for() -> tuple[list[str], Mapping[str, list[str]]]:
    """Requirements of setup.py: of the base, and by extra."""
    calls: list[dict[str, Any]] = []
    needed = "from setuptools import find_packages, setup"
    code = (ROOT / "setup.py").read_text().replace(needed, "")
    names = {
        "find_packages": lambda **_: [],
        "setup": lambda **options: calls.append(options),
        "__file__": str(ROOT / "setup.py"),
    }
    exec(compile(code, "setup.py", "exec"), names)
    return calls[0]["install_requires"], calls[0]["extras_require"]


def names_of(requirements: list[str]) -> set[str]:
    """Their distributions."""
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def third_party(folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """File and top-level module of every import that is not ours or Python's."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for item in imports(path.read_text()):
                if item.top not in OURS | WRITTEN and item.top not in sys.stdlib_module_names:
                    yield path.relative_to(ROOT).as_posix(), item.top


BASE, BY_EXTRA = asked_for()
DISTRIBUTIONS = packages_distributions()


def brought_by(module: str) -> set[str]:
    """Distributions that ship a module, or that it is known to come with."""
    if module in WITH:
        return {WITH[module]}
    return {canonicalize_name(name) for name in DISTRIBUTIONS.get(module, ())}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_asked_for_where_it_is_said_to_be(package: str) -> None:
    problems = []
    for path, module in sorted(set(third_party((package,)))):
        extra = EXTRAS.get(module)
        wanted = names_of(BASE) if extra is None else names_of(BY_EXTRA[extra])
        if not brought_by(module) & wanted:
            problems.append(f"{path}: {module} is not among {extra or 'the base'}")
    assert problems == []


def test_tests_and_examples_have_what_they_import() -> None:
    wanted = names_of([*BASE, *BY_EXTRA["test"]])
    found = set(third_party(("tests", "examples", "benchmarks")))
    lacking = {(path, module) for path, module in found if not brought_by(module) & wanted}
    assert lacking == set()


def test_every_requirement_of_ours_is_imported() -> None:
    used = {name for _, module in third_party(PACKAGES) for name in brought_by(module)}
    # Of other libraries: torch's other half, whose release has to fit, and d3rlpy's environments.
    others = {"torchvision", "gymnasium"}
    asked = names_of([*BASE, *(r for e in ("embed", "beam", "agents") for r in BY_EXTRA[e])])
    assert asked - used - others == set()


def test_all_is_every_extra_but_those_of_developers() -> None:
    own = {name for extra in set(EXTRAS.values()) for name in names_of(BY_EXTRA[extra])}
    assert names_of(BY_EXTRA["all"]) == own
    assert set(BY_EXTRA) == {*EXTRAS.values(), "all", "demo", "test"}
    assert names_of(BY_EXTRA["all"]) | names_of(BY_EXTRA["demo"]) <= names_of(BY_EXTRA["test"])


def test_libraries_of_extras_are_those_of_setup() -> None:
    for module, extra in EXTRAS.items():
        brought = brought_by(module)
        assert brought & names_of(BY_EXTRA[extra]) or module in ("timm",), module


def test_the_lock_has_a_version_of_each() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    texts = [line for line in lines if line and not line.startswith("#")]
    locked = {canonicalize_name(Requirement(text).name): Requirement(text) for text in texts}
    for text in [*BASE, *BY_EXTRA["test"]]:
        wanted = Requirement(text)
        found = locked[canonicalize_name(wanted.name)]
        (version,) = [spec.version for spec in found.specifier]
        assert wanted.specifier.contains(version, prereleases=True), text


def test_it_can_fail() -> None:
    assert brought_by("numpy") == {"numpy"}
    assert not brought_by("no_such_module")
    assert [i.top for i in imports("import structlog\nfrom gym_notices import notices")] == [
        "structlog",
        "gym_notices",
    ]
