"""Weights inside the files that training code writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relabel.encoders.open_clip import load_encoder  # noqa: E402
from relabel.encoders.open_clip_import import import_open_clip  # noqa: E402
from schemas.errors import EncoderError  # noqa: E402
from tests.relabel.tiny_encoders import config, write_model  # noqa: E402

open_clip = import_open_clip()
State = dict[str, Any]


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny architecture in open_clip's registry, and the same with QuickGELU."""
    directory = tmp_path_factory.mktemp("configs")
    settings = config(text_cfg={"vocab_size": 49408, "width": 16})["model_cfg"]
    for name, quick in (("ViT-Tiny-Files", {}), ("ViT-Tiny-Files-quickgelu", {"quick_gelu": True})):
        (directory / f"{name}.json").write_text(json.dumps(settings | quick))
    open_clip.add_model_config(directory)
    return "ViT-Tiny-Files"


@pytest.fixture(scope="module")
def model(architecture: str) -> Any:
    """Its random weights."""
    torch.manual_seed(5)
    return open_clip.create_model(architecture, load_weights=False)


@pytest.fixture(scope="module")
def plain(architecture: str, model: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Fingerprint of the weights alone."""
    path = tmp_path_factory.mktemp("plain") / "weights.pt"
    torch.save(model.state_dict(), path)
    return load_encoder(f"{architecture}:{path}", precision="float32").spec.fingerprint


def _prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def _optimiser(model: Any) -> State:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimiser.zero_grad()
    state: State = optimiser.state_dict()
    return state


FORMS = {
    "open_clip's training": lambda m, s: {
        "epoch": 3, "name": "run", "state_dict": _prefixed(s, "module."),
        "optimizer": _optimiser(m), "scaler": {"scale": 65536.0},
    },
    "the optimiser first": lambda m, s: {"optimizer": _optimiser(m), "model": s},
    "model_state_dict": lambda _, s: {"model_state_dict": s, "loss": 0.5},
    "wrapped twice": lambda _, s: {"model": {"state_dict": s, "step": 7}},
    "compiled": lambda _, s: _prefixed(s, "_orig_mod."),
    "compiled in DDP": lambda _, s: {"state_dict": _prefixed(s, "module._orig_mod.")},
    "Lightning": lambda _, s: {"state_dict": _prefixed(s, "model."), "global_step": 9},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_found_in_what_surrounds_them(
    architecture: str, model: Any, plain: str, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(FORMS[form](model, model.state_dict()), path)
    encoder = load_encoder(f"{architecture}:{path}", precision="float32")
    assert encoder.spec.fingerprint == plain
    assert encoder.spec.name.endswith("checkpoint.pt")


def test_a_directory_may_hold_such_a_file(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    expected = load_encoder(name, precision="float32").spec
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    state = open_clip.factory.load_state_dict(str(weights))
    weights.unlink()
    torch.save({"model": _prefixed(state, "module.")}, tmp_path / "model" / "weights.pth")
    assert load_encoder(name, precision="float32").spec == expected


def test_weights_of_openai_ask_for_their_activation(
    architecture: str, model: Any, tmp_path: Path
) -> None:
    """Halves, with three scalars among them, as torch.jit.load(...).state_dict() gives them."""
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    scalars = {"input_resolution": 32, "context_length": 24, "vocab_size": 49408}
    state |= {name: torch.tensor(value) for name, value in scalars.items()}
    path = tmp_path / "openai.pth"
    torch.save(state, path)
    with pytest.raises(EncoderError, match=f"QuickGELU mismatch.*use {architecture}-quickgelu"):
        load_encoder(f"{architecture}:{path}")
    encoder = load_encoder(f"{architecture}-quickgelu:{path}", precision="float32")
    weight = encoder._model.visual.proj.numpy()
    np.testing.assert_array_equal(weight, model.visual.proj.half().float().detach().numpy())


class _Marks(torch.nn.Module):  # type: ignore[misc]
    """A program whose loading could be seen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


def test_torchscript_is_named_with_the_way_to_convert_it(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ViT-B-32.pt"
    torch.jit.script(_Marks()).save(str(path))
    monkeypatch.setattr(torch.jit, "load", pytest.fail)
    monkeypatch.setattr(torch, "load", pytest.fail)
    with pytest.raises(EncoderError, match=r"is a TorchScript program, .*ViT-B-32\.pth") as caught:
        load_encoder(f"{architecture}:{path}")
    assert "torch.jit.load" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"state_dict": {}, "best": np.float64(0.5)}, r"holds objects beside tensors \(numpy"),
        ({"optimizer": {}, "epoch": 3}, "expected tensors by name.*got epoch, optimizer"),
        ([1, 2], "expected tensors by name.*got nothing"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(
    architecture: str, tmp_path: Path, content: Any, told: str
) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(EncoderError, match=told):
        load_encoder(f"{architecture}:{path}")
