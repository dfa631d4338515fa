"""Names of encoders, and what is asked of one that comes from outside."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relabel.encoders.factory import FactoryLoader
from relabel.encoders.open_clip_loader import OpenClipLoader, architectures
from relabel.encoders.registry import encoder_loader
from schemas.encoders import EncoderSpec
from schemas.errors import EncoderError, FrameError

ROOT = Path(__file__).parents[3]
HERE = __name__
SHA = hashlib.sha256(b"x").hexdigest()


def spec(**changes: Any) -> EncoderSpec:
    known: dict[str, Any] = {
        "name": "inner",
        "slug": "own",
        "fingerprint": SHA,
        "weights_sha256": SHA,
        "preprocess": {"sizes": (1, 2)},
        "precision": "float32",
        "dim": 3,
        "logit_scale": 1.0,
    }
    return EncoderSpec.model_construct(**{**known, **changes})


class Mean:
    """The mean colour; notes the shapes that it was given."""

    def __init__(self, width: int = 1, name: str = "", device: str = "none") -> None:
        self.told, self.device = (width, name), device
        self.spec: Any = spec()
        self.shapes: list[tuple[int, ...]] = []

    def encode_images(self, frames: Any) -> Any:
        assert frames.dtype == np.uint8
        self.shapes.append(frames.shape)
        means = frames.mean(axis=(1, 2)) + 1
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Any:
        return np.tile(np.float32([1, 0, 0]), (len(texts), 1))


class Exact(Mean):
    """Takes a precision, and has the one that it is given."""

    def __init__(self, precision: str, device: str) -> None:
        super().__init__(device="cuda:3" if device == "auto" else device)
        self.spec = spec(precision="float16" if precision == "auto" else precision)


def made(name: str) -> Any:
    """The encoder inside the one that jobs use."""
    return encoder_loader(f"{HERE}:{name}")()._encoder  # type: ignore[attr-defined]


def refused(name: str, **options: Any) -> str:
    with pytest.raises(EncoderError) as error:
        encoder_loader(name, **options)()
    return str(error.value)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This module, under its own name."""
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])


# --- names


@pytest.mark.parametrize(
    "name",
    [
        "local-dir:/models/small",
        "local-dir:small",
        "hf-hub:timm/model",
        "ViT-B-32:openai",
        "ViT-B/32:openai",
        "RN50:openai",  # as good a name for a module, but open_clip's
        "RN50:weights.pt",
        "convnext_base:laion400m_s13b_b51k",
        "RN50",
        "C:\\models\\small",
        "C:/models/small.pt",
        "",
        ":",
        "module:",
        "my module:factory",
    ],
)
def test_names_with_a_colon_keep_their_meaning(name: str) -> None:
    assert encoder_loader(name) == OpenClipLoader(name)


@pytest.mark.parametrize(
    "name", ["m:f", "my.deep_module:Class.make", "m:f()", "m:f(x=1)", "m:f (x='a:b(c)')", "größe:f"]
)
def test_names_of_python_are_factories(name: str) -> None:
    assert encoder_loader(name, "cuda", "float16") == FactoryLoader(name, "cuda", "float16")


@pytest.mark.slow
def test_open_clip_is_known_without_being_imported() -> None:
    code = (
        "import sys; from relabel.encoders.open_clip_loader import architectures\n"
        "before = architectures(); assert 'open_clip' not in sys.modules and 'RN50' in before\n"
        "from relabel.encoders.open_clip_import import import_open_clip\n"
        "print(set(before) == set(import_open_clip().list_models()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_an_architecture_that_a_program_added_is_open_clip_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = types.SimpleNamespace(list_models=lambda: ["my_architecture"])
    monkeypatch.setitem(sys.modules, "open_clip", loaded)  # type: ignore[arg-type]
    assert architectures() == ("my_architecture",)
    assert type(encoder_loader("my_architecture:v1")) is OpenClipLoader


def test_a_misspelled_architecture_is_told() -> None:
    told = refused("RN5:openai")
    assert "there is no module 'RN5'" in told
    assert "architectures of open_clip with a name like that: RN50" in told


def test_the_loader_travels_as_a_name() -> None:
    loader = encoder_loader(f"{HERE}:Mean(width=2)")
    arrived = pickle.loads(pickle.dumps(loader))
    assert arrived == loader
    assert HERE.encode() in pickle.dumps(loader)
    assert arrived().spec == loader().spec


# --- arguments


def test_arguments_are_literals() -> None:
    assert made("Mean").told == (1, "")
    assert made("Mean()").told == (1, "")
    assert made("Mean(width=-4, name='x(y=1), \"z\"')").told == (-4, 'x(y=1), "z"')
    assert made("Mean( name = 'a' 'b', width = [1, {'k': None}] )").told == ([1, {"k": None}], "ab")


@pytest.mark.parametrize(
    "call",
    [
        *("(4)", "(*[1])", "(width)", "(**{'width': 1})", "(width=1, width=2)", "(width=f())"),
        *("(", "(width=1", "()()", "(width=1).spec", "(width=1) + 1", "(\n#"),
        "(width=__import__('os').getpid())",
    ],
)
def test_nothing_else_is_taken_for_arguments(call: str) -> None:
    told = refused(f"{HERE}:Mean{call}")
    assert "expected 'module:factory(width=4, name=\"x\")', with names and plain values" in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Mean(depth=1)", "got an unexpected keyword argument 'depth'; its factory is Mean(width"),
        ("need", "missing a required argument: 'size'; its factory is need(size: "),
        ("Nothing", "has no 'Nothing'"),
        ("SHA", "expected a function or class that makes an encoder, got str"),
        ("fail", "the factory failed: ZeroDivisionError: "),
        ("nothing", "expected an object with spec, encode_images and encode_texts, got None with"),
        ("half", "without encode_images and encode_texts"),
    ],
)
def test_a_factory_that_cannot_be_called(name: str, told: str) -> None:
    assert told in refused(f"{HERE}:{name}")


def need(size: int) -> Mean:
    return Mean(size)


def fail() -> Mean:
    return Mean(1 // 0)


def nothing() -> None:
    pass


def half() -> Any:
    return type("Half", (), {"spec": spec()})()


def test_no_such_module() -> None:
    assert "there is no module 'no_such_module'" in refused("no_such_module:f")


# --- options


def test_options_that_the_factory_takes_are_passed() -> None:
    encoder = encoder_loader(f"{HERE}:Mean", "cuda:1")()
    assert encoder.device == "cuda:1"  # type: ignore[attr-defined]
    exact = encoder_loader(f"{HERE}:Exact", "mps", "bfloat16")
    assert exact().spec.precision == "bfloat16"
    assert exact.for_texts(()).spec == exact().spec


def test_what_auto_became_is_shipped() -> None:
    loader = encoder_loader(f"{HERE}:Exact", "auto")
    shipped = loader.as_loaded(loader())
    assert (shipped.device, shipped.precision) == ("cuda:3", "float16")
    assert shipped().spec == loader().spec
    mean = encoder_loader(f"{HERE}:Mean(width=2)")
    assert mean.as_loaded(mean()) == mean


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"precision": "float16"}, "--precision means nothing to it"),
        ({"truncate_texts": True}, "--truncate-texts means nothing to it"),
        ({"preprocess": "openai"}, "--preprocess means nothing to it"),
    ],
)
def test_options_that_it_does_not_take_are_refused(options: dict[str, Any], told: str) -> None:
    message = refused(f"{HERE}:Mean", **options)
    assert told in message
    assert "since its factory Mean(width: " in message


def test_an_option_given_twice() -> None:
    told = refused(f"{HERE}:Mean(device='cpu')", device="cuda")
    assert "device is given twice, also by --device" in told
    assert made("Mean(device='x')").device == "x"


def test_rollouts_have_a_device_that_is_the_agent_s_too() -> None:
    stored = encoder_loader(f"{HERE}:need(size=1)", "cuda").as_stored(spec(precision="float16"))
    assert stored.spec.precision == "float32"  # the caller compares
    exact = encoder_loader(f"{HERE}:Exact", "cuda").as_stored(spec(precision="float16"))
    assert (exact.spec.precision, exact.device) == ("float16", "cuda")  # type: ignore[attr-defined]


# --- what it is, and what it gives


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "expected a schemas.encoders.EncoderSpec, got None"),
        ({"dim": 3}, "got an object of builtins.dict"),
        (spec(fingerprint=""), "fingerprint is '', expected the 64 digits of a sha256"),
        (spec(fingerprint="../" * 20), "fingerprint is '../../"),
        (spec(weights_sha256="v1"), "weights_sha256 is 'v1'"),
        (spec(slug="a/b"), "slug 'a/b' is no file name"),
        (spec(dim=0), "dim is 0, expected at least 1"),
        (spec(dim="3"), "expected values that JSON can hold"),
        (spec(preprocess={"mean": np.zeros(3)}), "expected values that JSON can hold"),
        (spec(logit_scale=float("nan")), "expected values that JSON can hold"),
    ],
)
def test_a_spec_that_could_not_stand_in_a_manifest(
    value: Any, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Mean):
        def __init__(self) -> None:
            super().__init__()
            self.spec = value

    monkeypatch.setattr(sys.modules[HERE], "Odd", Odd, raising=False)
    assert told in refused(f"{HERE}:Odd")


def test_the_spec_is_as_it_will_be_read_back() -> None:
    found = encoder_loader(f"{HERE}:Mean(width=2)")().spec
    assert found == EncoderSpec.model_validate_json(found.model_dump_json())
    assert found.preprocess == {"sizes": [1, 2]}
    assert found.name == f"{HERE}:Mean(width=2)", "as the user gave it"
    assert found.key == f"own-{SHA[:8]}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda e: e.tolist(), "got an object of builtins.list, which is no NumPy array"),
        (lambda e: None, "got None, which is no NumPy array"),
        (lambda e: e.astype(np.float64), "got float64[2, 3]"),
        (lambda e: e[:1], "got float32[1, 3]"),
        (lambda e: e[:, :2], "got float32[2, 2]"),
        (lambda e: e[0], "got float32[3]"),
        (lambda e: e * np.float32(2), "got norm 2 in row 0 (2 of 2 rows are wrong)"),
        (lambda e: e * np.float32([[1], [0]]), "got norm 0 in row 1 (1 of 2 rows are wrong)"),
        (lambda e: e / np.float32([[1], [0]]), "not finite in row 1 (1 of 2 rows are wrong)"),
        (lambda e: e * np.float32(np.nan), "numbers that are not finite in row 0 (2 of 2 rows"),
        (lambda e: 1 // 0, "failed: ZeroDivisionError"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_embeddings_that_are_none(
    change: Callable[[Any], Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Odd(Mean):
        def encode_images(self, frames: Any) -> Any:
            return change(super().encode_images(frames))

        def encode_texts(self, texts: Sequence[str]) -> Any:
            return change(super().encode_texts(texts))

    monkeypatch.setattr(sys.modules[HERE], "Odd", Odd, raising=False)
    message = refused(f"{HERE}:Odd")
    assert "encode_images of uint8[2, 64, 64, 3]" in message
    assert told in message
    with pytest.raises(EncoderError, match="encode_texts of 2 texts") as error:
        encoder_loader(f"{HERE}:Odd").for_texts(()).encode_texts(["a", "b"])
    assert told in str(error.value)


def test_frames_of_one_size_come_together_and_go_back_to_their_places() -> None:
    encoder: Any = encoder_loader(f"{HERE}:Mean")()
    inner = encoder._encoder
    random = np.random.default_rng(0)
    sizes = [(2, 3), (4, 4), (2, 3), (1, 1), (4, 4)]
    frames = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    inner.shapes.clear()
    found = encoder.embed([encoder.prepare(frames[:2]), encoder.prepare(frames[2:])])
    assert inner.shapes == [(2, 2, 3, 3), (2, 4, 4, 3), (1, 1, 1, 3)]
    for frame, row in zip(frames, found, strict=True):
        mean = frame.reshape(-1, 3).mean(axis=0) + 1
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=1e-6)
    assert encoder.encode_images([]).shape == (0, 3)
    assert encoder.encode_texts([]).shape == (0, 3)
    with pytest.raises(FrameError, match="frame 1 of 2: expected"):
        encoder.prepare([frames[0], frames[1].astype(np.float32)])


def test_many_are_given_in_lots() -> None:
    encoder: Any = encoder_loader(f"{HERE}:Mean")()
    encoder._encoder.shapes.clear()
    assert encoder.encode_images(np.zeros((300, 1, 1, 3), np.uint8)).shape == (300, 3)
    assert encoder._encoder.shapes == [(256, 1, 1, 3), (44, 1, 1, 3)]
    assert encoder.encode_texts(["a"] * 300).shape == (300, 3)


def test_texts_that_are_too_long_are_told_if_the_encoder_tells() -> None:
    encoder: Any = encoder_loader(f"{HERE}:Mean")()
    assert encoder.long_texts(["a", "b"]) == {}
    encoder._encoder.long_texts = lambda texts: {1: "2 words, of 1"}
    assert encoder.long_texts(["a", "b c"]) == {1: "2 words, of 1"}


def test_neither_torch_nor_open_clip_is_needed() -> None:
    code = (
        "import sys; from relabel.encoders.registry import encoder_loader; "
        "encoder_loader('examples.own_encoder:Colours')().encode_texts(['red']); "
        "print({'torch', 'open_clip', 'tensorflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
