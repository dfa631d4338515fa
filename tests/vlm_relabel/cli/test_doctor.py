"""`doctor` on this machine, and on machines where something is broken."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from relabel.encoders import hardware
from relabel.encoders.device import choose_precision, resolve_device
from tests.vlm_relabel.cli.cli_outcomes import Run
from vlm_relabel.cli import doctor
from vlm_relabel.cli.doctor import Finding


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions of packages; what is put here counts instead of the truth, None for missing."""
    changed: dict[str, str | None] = {}

    def told(name: str) -> str:
        found = changed.get(name, version(name))
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(doctor, "version", told)
    return changed


def finding(name: str) -> Finding:
    (found,) = [finding for finding in doctor.examine().findings if finding.name == name]
    return found


def test_this_machine_can_do_the_work(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert "all well" in result.stdout
    told = json.loads(run("doctor", "--json").stdout)
    assert told["ok"] is True
    found = {finding["name"]: finding["value"] for finding in told["findings"]}
    assert found["torch"] == version("torch")
    assert found["pyarrow"]
    device = resolve_device("auto")
    precision, reason = choose_precision(device)
    assert found["auto picks"] == f"device {device}, precision {precision}: {reason}"
    assert {finding["section"] for finding in told["findings"]} == {
        *("python", "packages", "imports", "hardware", "extras", "paths"),
    }


def test_a_missing_package_is_a_problem(run: Run, installed: dict[str, str | None]) -> None:
    installed["PyYAML"] = None
    result = run("doctor")
    assert result.exit_code == 1
    assert "1 problem" in result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("✗"))
    assert "missing; pip install 'PyYAML" in line


def test_a_package_that_is_too_old_is_a_problem(installed: dict[str, str | None]) -> None:
    installed["pyarrow"] = "3.0.0"
    (found,) = [f for f in doctor.examine().findings if f.name == "pyarrow" and not f.ok]
    assert found.value == "3.0.0"
    assert found.cure == "pip install 'pyarrow>=17'"


def test_a_library_that_does_not_load_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError("operator torchvision::nms does not exist\nmore of it")

    monkeypatch.setattr(hardware, "open_clip_pairing", broken)
    found = finding("torch and torchvision")
    assert not found.ok
    assert found.value == "RuntimeError: operator torchvision::nms does not exist"
    assert "same release" in str(found.cure)


def test_an_absent_extra_is_none() -> None:
    marked = Requirement('no-such-package>=1; extra == "far"')
    assert doctor._belongs(marked, "far")
    assert not doctor._belongs(marked, "near")
    assert not doctor._belongs(Requirement("numpy>=1; python_version >= '3'"), "far")


def test_an_extra_tells_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [Requirement('no-such-package>=1; extra == "far"'), Requirement("numpy")]
    monkeypatch.setattr(doctor, "_requirements", lambda *_: own)
    found = doctor._extra("far")
    assert found.ok
    assert found.value == "absent: no-such-package"
    assert found.cure == "if you need it: pip install 'vlm-relabel[far]'"
    assert doctor._extra("near").value == "present"


@pytest.mark.parametrize(("needed", "ok"), [(True, False), (False, True)])
def test_a_path_that_cannot_be_written(tmp_path: Path, needed: bool, ok: bool) -> None:
    found = doctor._path("here", tmp_path / "nowhere", needed=needed, cure="make it")
    assert (found.ok, found.cure) == (ok, "make it")
    assert "is not writable: No such file or directory" in found.value
    assert doctor._path("here", tmp_path, cure="").ok
    assert list(tmp_path.iterdir()) == []


def test_weights_go_where_the_hub_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert doctor._weights() == tmp_path
    (tmp_path / "home" / "hub").mkdir(parents=True)
    assert doctor._weights() == tmp_path / "home" / "hub"


def test_devices_and_features_are_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = hardware.torch
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"GPU {place}")
    assert hardware.devices()[:3] == ["cpu", "cuda:0 (GPU 0)", "cuda:1 (GPU 1)"]
    known = {"avx512_bf16": True, "avx2": True, "amx_bf16": False, "sse": True, "l2_cache_size": 9}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert hardware.cpu_features() == ["avx2", "avx512_bf16"]
