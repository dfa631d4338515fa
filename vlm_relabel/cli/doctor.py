"""`doctor`: whether this machine and its packages can do the work, and what to mend."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from pydantic import BaseModel, ConfigDict

from schemas.extras import DISTRIBUTION, is_installed
from vlm_relabel.rooms import CURE, clashes

_PACKAGE: Final = DISTRIBUTION
_PYTHON: Final = (3, 11)
_LISTED: Final = 8  # absent packages of an extra
_HEAVY: Final = {  # what is imported, if it is installed, to see whether it can be → what it is for
    "pyarrow": "stores",
    "tensorflow_datasets": "reading sources",
    "apache_beam": "jobs of several workers",
    "d3rlpy": "train and evaluate",
}


class Finding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True)

    section: str
    name: str
    value: str
    ok: bool = True  # False: something does not work
    cure: str | None = None  # what to do, where there is something


class DoctorReport(BaseModel):
    """Everything that was looked at."""

    model_config = ConfigDict(frozen=True)

    ok: bool
    findings: tuple[Finding, ...]


def examine() -> DoctorReport:
    """Looks at Python, packages, hardware and paths; writes and deletes one small file per path."""
    parts = (_python, _packages, _clashes, _imports, _hardware, _extras, _paths)
    findings = tuple(finding for part in parts for finding in part())
    return DoctorReport(ok=all(finding.ok for finding in findings), findings=findings)


def _python() -> Iterator[Finding]:
    yield Finding(
        section="python",
        name="Python",
        value=f"{platform.python_version()} at {sys.executable}",
        ok=sys.version_info >= _PYTHON,
        cure=None if sys.version_info >= _PYTHON else "use Python 3.11 or later",
    )
    yield Finding(section="python", name="system", value=f"{platform.platform()}, {_cores()}")


def _cores() -> str:
    return f"{os.cpu_count() or 1} CPU cores"


# --- packages ---------------------------------------------------------------------------------


def _packages() -> Iterator[Finding]:
    try:
        own = version(_PACKAGE)
    except PackageNotFoundError:
        yield Finding(
            section="packages",
            name=_PACKAGE,
            value="not installed: what it needs is not known",
            ok=False,
            cure="install it: `make test`, or pip install --editable . in the repository",
        )
        return
    yield Finding(section="packages", name=_PACKAGE, value=own)
    for requirement in _needed():
        yield _package(requirement)


def _needed() -> list[Requirement]:
    """Requirements of the base, and those of the extras whose packages are there, each once."""
    known: dict[str, Requirement] = {}
    for requirement in _requirements():
        base = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if base or _installed(requirement) is not None:
            known.setdefault(requirement.name, requirement)
    return list(known.values())


def _requirements(package: str = _PACKAGE) -> list[Requirement]:
    try:
        return [Requirement(text) for text in distribution(package).requires or ()]
    except PackageNotFoundError:
        return []


def _package(requirement: Requirement) -> Finding:
    found, wanted = _installed(requirement), str(requirement).partition(";")[0].strip()
    ok = found is not None and requirement.specifier.contains(found, prereleases=True)
    return Finding(
        section="packages",
        name=requirement.name,
        value="missing" if found is None else found,
        ok=ok,
        cure=None if ok else f"pip install '{wanted}'",
    )


def _installed(requirement: Requirement) -> str | None:
    try:
        return version(requirement.name)
    except PackageNotFoundError:
        return None


def _clashes() -> Iterator[Finding]:
    for other, shared in clashes().items():
        names = ", ".join(map(repr, shared))
        value = f"ships {names} too"
        yield Finding(section="packages", name=other, value=value, ok=False, cure=CURE)


def _imports() -> Iterator[Finding]:
    for module, use in _HEAVY.items():
        if is_installed(module):
            yield _tried("imports", module, partial(_import, module), use)
    if _embeds():
        yield _tried("imports", "torch and torchvision", _pairing, "encoders")


def _embeds() -> bool:
    """Whether the extra of encoders is there; if not, `_extras` says so."""
    return all(map(is_installed, ("torch", "torchvision", "open_clip")))


def _import(module: str) -> str:
    if module == "d3rlpy":
        from vlm_relabel.cli.quiet import quiet

        quiet()
    importlib.import_module(module)
    return "loads"


def _pairing() -> str:
    from relabel.encoders.hardware import open_clip_pairing

    loaded = open_clip_pairing()
    wanted = [r for r in _requirements("torchvision") if r.name == "torch"]
    apart = [r for r in wanted if not r.specifier.contains(version("torch"), prereleases=True)]
    return f"{loaded}; this torchvision is made for {apart[0]}" if apart else loaded


def _tried(section: str, name: str, work: Callable[[], str], use: str) -> Finding:
    """A finding of something that may raise anything: a broken library's import does."""
    try:
        return Finding(section=section, name=name, value=work())
    except Exception as error:
        first = str(error).strip().splitlines() or [""]
        return Finding(
            section=section,
            name=name,
            value=f"{type(error).__name__}: {first[0]}",
            ok=False,
            cure=f"needed for {use}; {_TORCH_CURE if 'torch' in name else _PACKAGE_CURE}",
        )


_PACKAGE_CURE: Final = "install the versions of requirements.lock"
_TORCH_CURE: Final = "torch and torchvision must be of the same release (see requirements.lock)"


# --- hardware ---------------------------------------------------------------------------------


def _hardware() -> Iterator[Finding]:
    if not _embeds():
        return  # torch is what knows of it
    yield _tried("hardware", "devices", _devices, "encoders")
    yield _tried("hardware", "CPU features", _cpu_features, "the choice of precision")
    yield _tried("hardware", "auto picks", _automatic, "--device auto and --precision auto")


def _devices() -> str:
    from relabel.encoders.hardware import devices

    return ", ".join(devices())


def _cpu_features() -> str:
    from relabel.encoders.hardware import cpu_features

    return ", ".join(cpu_features()) or "none that matters"


def _automatic() -> str:
    from relabel.encoders.hardware import automatic

    device, precision, reason = automatic()
    return f"device {device}, precision {precision}: {reason}"


# --- extras and paths -------------------------------------------------------------------------


def _extras() -> Iterator[Finding]:
    try:
        names = distribution(_PACKAGE).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return
    for extra in names:
        yield _extra(extra)


def _extra(extra: str) -> Finding:
    """An absent extra is no fault: it is asked for by what needs it."""
    own = [r for r in _requirements() if r.marker and _belongs(r, extra)]
    found = [_package(requirement) for requirement in own]
    absent = list(dict.fromkeys(finding.name for finding in found if not finding.ok))
    more = [f"and {len(absent) - _LISTED} more"] if len(absent) > _LISTED else []
    return Finding(
        section="extras",
        name=extra,
        value=f"absent: {', '.join([*absent[:_LISTED], *more])}" if absent else "present",
        cure=f"if you need it: pip install '{_PACKAGE}[{extra}]'" if absent else None,
    )


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return (
        marker is not None
        and marker.evaluate({"extra": extra})
        and not marker.evaluate({"extra": ""})
    )


def _paths() -> Iterator[Finding]:
    temporary = Path(tempfile.gettempdir())
    yield _path("temporary files", temporary, needed=True, cure="set TMPDIR to a writable folder")
    yield _path("working directory", Path.cwd(), cure="give --store and --out in another folder")
    yield _path("downloaded weights", _weights(), cure="set HF_HOME to a writable folder")


def _weights() -> Path:
    """Where open_clip keeps what it downloads, or the nearest folder above that exists."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    path = Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()
    return next((folder for folder in (path, *path.parents) if folder.exists()), path)


def _path(name: str, path: Path, *, needed: bool = False, cure: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=path) as stream:
            stream.write(b"written")
        free = f"{path}, {shutil.disk_usage(path).free / 1e9:,.0f} GB free"
        return Finding(section="paths", name=name, value=free)
    except OSError as error:
        told = f"{path} is not writable: {error.strerror}"
        return Finding(section="paths", name=name, value=told, ok=not needed, cure=cure)
