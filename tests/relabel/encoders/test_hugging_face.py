"""Encoders whose tokenizer is one of Hugging Face: parity, lengths, identity, no foreign code."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from relabel.encoders.open_clip import OpenClipEncoder, load_encoder  # noqa: E402
from relabel.encoders.open_clip_import import import_open_clip  # noqa: E402
from relabel.encoders.protocol import LimitsTexts  # noqa: E402
from schemas.errors import EncoderError  # noqa: E402
from tests.relabel.tiny_encoders import (  # noqa: E402
    WORDS,
    hugging_face_config,
    write_hugging_face_model,
    write_model,
    write_tokenizer,
)

open_clip = import_open_clip()

TEXTS = ["a red ball", "The door is open.", "an empty room", "the box next to the blue ball"]


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SigLIP-like model in a directory."""
    return write_hugging_face_model(tmp_path_factory.mktemp("models") / "sig")


@pytest.fixture(scope="module")
def encoder(name: str) -> OpenClipEncoder:
    """The same, loaded in float32."""
    return load_encoder(name, precision="float32")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection is an error."""
    import socket

    def refuse(*_: Any) -> None:
        raise AssertionError("connected to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_texts_are_embedded_as_open_clip_does(name: str, encoder: OpenClipEncoder) -> None:
    theirs = open_clip.create_model(name).eval()
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    with torch.inference_mode():
        expected = theirs.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-6)
    assert (encoder.spec.logit_bias, encoder.spec.dim) == (-10.0, 16)


def test_the_tokenizer_reads_what_the_files_beside_the_weights_say(
    encoder: OpenClipEncoder,
) -> None:
    ids = {word: place + 3 for place, word in enumerate(WORDS)}
    expected = [ids["the"], ids["door"], ids["is"], ids["open"], 1, *[0] * 7]
    assert encoder._tokenizer(["The door is open."]).tolist() == [expected]


def test_long_texts_are_told_together_before_anything_is_embedded(
    encoder: OpenClipEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(encoder, LimitsTexts)
    fits, long = " ".join(["red"] * 11), " ".join(["red"] * 12)  # and the end of the text
    found = encoder.long_texts([fits, long, f"{long}, blue!"])
    assert found == {1: "13 tokens, the model reads 12", 2: "14 tokens, the model reads 12"}
    assert encoder.long_texts([]) == {}
    monkeypatch.setattr(encoder, "_embed_texts", pytest.fail)
    with pytest.raises(EncoderError, match="2 of 3 texts are too long") as caught:
        encoder.encode_texts([long, fits, long])
    assert "text 0 of 3" in str(caught.value)
    assert "text 2 of 3" in str(caught.value)


def test_long_texts_can_be_cut_on_request(name: str) -> None:
    encoder = load_encoder(name, precision="float32", truncate_texts=True)
    cut, whole = encoder.encode_texts([" ".join(["red"] * 30), " ".join(["red"] * 11)])
    np.testing.assert_array_equal(cut, whole)  # the end of a text is kept


def test_a_truncation_stored_in_the_tokenizer_hides_nothing(tmp_path: Path) -> None:
    name = write_hugging_face_model(tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    path.write_text(json.dumps(content))
    encoder = load_encoder(name)
    assert encoder.long_texts(["red " * 20]) == {0: "21 tokens, the model reads 12"}


def test_the_tokenizer_is_part_of_the_identity_of_texts_not_of_images(
    name: str, encoder: OpenClipEncoder, tmp_path: Path
) -> None:
    directory = Path(name.removeprefix("local-dir:"))
    changed = tmp_path / "changed"
    shutil.copytree(directory, changed)
    same = load_encoder(f"local-dir:{changed}", precision="float32").spec
    assert same.tokenizer_sha256 == encoder.spec.tokenizer_sha256
    write_tokenizer(changed, WORDS[::-1])
    other = load_encoder(f"local-dir:{changed}", precision="float32").spec
    assert other.fingerprint == encoder.spec.fingerprint
    assert other.tokenizer_sha256 != encoder.spec.tokenizer_sha256
    assert [line.split()[0] for line in other.differences(same)] == ["tokenizer_sha256"]


def test_a_call_does_not_change_the_identity(name: str) -> None:
    from relabel.encoders.tokenizer import tokenizer_sha256

    encoder = load_encoder(name)
    settings = hugging_face_config()["text_cfg"]
    before = tokenizer_sha256(encoder._tokenizer, settings)
    encoder.encode_texts(TEXTS)
    assert tokenizer_sha256(encoder._tokenizer, settings) == before == encoder.spec.tokenizer_sha256


def test_without_the_library_the_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(EncoderError, match=r"pip install 'vlm-relabel\[hf\]'"):
        load_encoder(name)
    monkeypatch.setattr(open_clip, "download_pretrained", pytest.fail)
    for asked in ("ViT-B-16-SigLIP:webli", "xlm-roberta-base-ViT-B-32:laion5b_s13b_b90k"):
        with pytest.raises(EncoderError, match=r"pip install 'vlm-relabel\[hf\]'"):
            load_encoder(asked)


def test_a_directory_without_tokenizer_says_which_files_are_missing(tmp_path: Path) -> None:
    name = write_hugging_face_model(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"org/never-asked of Hugging Face; expected its files"):
        load_encoder(name)


def test_a_damaged_tokenizer_is_an_error(tmp_path: Path) -> None:
    name = write_hugging_face_model(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    with pytest.raises(EncoderError, match="tokenizer could not be loaded"):
        load_encoder(name)


def test_a_tokenizer_of_another_model_is_an_error(tmp_path: Path) -> None:
    name = write_hugging_face_model(tmp_path / "model")
    write_tokenizer(tmp_path / "model", (*"bcdefgh", *WORDS))
    with pytest.raises(EncoderError, match="gives token 22, the model knows 16"):
        load_encoder(name).encode_texts(["empty room next to"])


# --- code that comes with an encoder ----------------------------------------------------------

_PAYLOAD = """
from pathlib import Path
Path({mark!r}).touch()
from transformers import PreTrainedTokenizerFast
class Evil(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once the code of the directory has run."""
    return tmp_path / "code has run"


def _with_code(directory: Path, mark: Path, **settings: Any) -> str:
    name = write_hugging_face_model(directory)
    (directory / "evil.py").write_text(_PAYLOAD.format(mark=str(mark)))
    path = directory / "tokenizer_config.json"
    content = json.loads(path.read_text()) | settings
    path.write_text(json.dumps(content))
    return name


def test_the_payload_would_run(tmp_path: Path, mark: Path) -> None:
    """The tests below can fail: transformers runs the code if it is trusted."""
    from transformers import AutoTokenizer

    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    directory = tmp_path / "model"
    _with_code(directory, mark, tokenizer_class="Evil", auto_map=auto_map)
    AutoTokenizer.from_pretrained(str(directory), trust_remote_code=True)
    assert mark.exists()


def test_code_of_a_tokenizer_is_never_run(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # who is asked says yes
    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    name = _with_code(tmp_path / "model", mark, tokenizer_class="Evil", auto_map=auto_map)
    with pytest.raises(EncoderError, match=r"config.json asks for code .*auto_map.*never"):
        load_encoder(name)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text_cfg",
    [
        {"tokenizer_kwargs": {"trust_remote_code": True}},
        {"tokenizer_kwargs": {"clean": "lower", "code_revision": "main"}},
        {"hf_tokenizer_kwargs": {"trust_remote_code": True}},
        {"trust_remote_code": True},
    ],
)
def test_a_configuration_that_asks_for_code_is_refused_by_name(
    tmp_path: Path, mark: Path, text_cfg: dict[str, Any]
) -> None:
    auto_map = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    name = _with_code(tmp_path / "model", mark, tokenizer_class="Evil", auto_map=auto_map)
    path = tmp_path / "model" / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"] |= text_cfg
    path.write_text(json.dumps(content))
    with pytest.raises(EncoderError, match=r"trust_remote_code|code_revision"):
        load_encoder(name)
    assert not mark.exists()


def test_code_of_a_text_tower_is_never_run(
    tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    name = write_hugging_face_model(tmp_path / "model")
    tower = tmp_path / "tower"
    tower.mkdir()
    (tower / "evil.py").write_text(_PAYLOAD.format(mark=str(mark)))
    auto_map = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    (tower / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto_map}))
    path = tmp_path / "model" / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["text_cfg"] |= {"hf_model_name": str(tower)}
    path.write_text(json.dumps(content))
    with pytest.raises(EncoderError):
        load_encoder(name)
    assert not mark.exists()


# --- from frames to rewards -------------------------------------------------------------------


def test_sigmoid_rewards_are_those_of_the_formula(encoder: OpenClipEncoder) -> None:
    """sigmoid(scale * cosine + bias), as SigLIP was trained (arXiv 2303.15343, eq. 1)."""
    from relabel.goals.prompts import resolve_prompts
    from relabel.goals.readings import Readings
    from relabel.rewards import bind, parse_reward
    from schemas.enums import Fusion, Timing
    from schemas.goals import Goal, GoalSet

    goals = GoalSet(
        name="g", goals=[Goal(id=f"g{i}", texts=(text,)) for i, text in enumerate(TEXTS)]
    )
    readings = Readings(goals, encoder.encode_texts)
    prompts = resolve_prompts(goals)
    vectors, _ = readings.means(prompts.texts)
    scorer = bind(
        parse_reward("sigmoid"), goals, prompts, vectors,
        encoder.spec, timing=Timing.NEXT_FRAME, fusion=Fusion.MEAN,
    )  # fmt: skip
    frames = [np.full((9, 12, 3), level, np.uint8) for level in (0, 90, 200)]
    images = encoder.encode_images(frames)
    scores = scorer.scores([images], np.array([3]))
    cosine = images.astype(np.float64) @ encoder.encode_texts(TEXTS).astype(np.float64).T
    expected = 1 / (1 + np.exp(-(np.exp(2.5) * cosine - 10)))
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_plain_tokens_need_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write_model(tmp_path / "plain")
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert load_encoder(name).encode_texts(["a red ball"]).shape == (1, 16)
