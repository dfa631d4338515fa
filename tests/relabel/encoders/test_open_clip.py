"""The encoder against open_clip itself, on tiny checkpoints made here."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from relabel.encoders.device import (  # noqa: E402
    check_precision,
    choose_precision,
    native_bfloat16,
    resolve_device,
)
from relabel.encoders.open_clip import OpenClipEncoder, load_encoder, load_stored  # noqa: E402
from relabel.encoders.open_clip_import import import_open_clip  # noqa: E402
from relabel.frames.decoding import decode_frame  # noqa: E402
from schemas.encoders import EncoderSpec  # noqa: E402
from schemas.errors import EncoderError, FrameError  # noqa: E402
from tests.relabel.tiny_encoders import config, write_model  # noqa: E402

open_clip = import_open_clip()
safetensors = pytest.importorskip("safetensors.torch")

ROOT = Path(__file__).parents[3]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
TEXTS = ["a red ball", "carrying the blue key", "an empty room", "the box is next to a ball"]
# Larger and smaller than the model's 32 px, both orientations, one exact.
SIZES = [(256, 256), (480, 640), (64, 48), (20, 30), (17, 17), (32, 32), (33, 120)]


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model in a directory."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def encoder(name: str) -> OpenClipEncoder:
    """The tiny model, loaded in float32."""
    return load_encoder(name, precision="float32")


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny architecture in open_clip's registry, with open_clip's whole vocabulary."""
    path = tmp_path_factory.mktemp("configs") / "ViT-Tiny-Test.json"
    settings = config(text_cfg={"vocab_size": 49408, "width": 16})["model_cfg"]
    path.write_text(json.dumps(settings))
    open_clip.add_model_config(path)
    return path.stem


def _jpeg(size: tuple[int, int], seed: int = 0) -> bytes:
    """A JPEG with broad shapes, fine texture and hard edges, as a camera's has."""
    height, width = size
    random = np.random.default_rng([seed, height, width])
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).copy()
    pixels[height // 3 : height // 2, width // 4 : width // 2] = random.integers(0, 256, 3)
    noisy = np.clip(pixels + random.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _frames(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Any]:
    return [decode_frame(_jpeg(size, seed)) for seed, size in enumerate(sizes)]


def _open_clip_pixels(name: str, encoded: Sequence[bytes]) -> Any:
    """What open_clip's own transform makes of the same files."""
    _, transform = open_clip.create_model_from_pretrained(name)
    return torch.stack([transform(Image.open(io.BytesIO(data))) for data in encoded])


def _open_clip_images(name: str, encoded: Sequence[bytes]) -> Any:
    """open_clip's own embeddings of the same files."""
    model = open_clip.create_model_from_pretrained(name, return_transform=False).eval()
    with torch.inference_mode():
        return model.encode_image(_open_clip_pixels(name, encoded), normalize=True).numpy()


# --- parity with open_clip --------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_images_are_embedded_as_open_clip_does(
    tmp_path: Path, resize_mode: str, interpolation: str
) -> None:
    changes: dict[str, Any] = {
        "resize_mode": resize_mode,
        "interpolation": interpolation,
        "fill_color": 90,
    }
    name = write_model(tmp_path / "model", **changes)
    encoded = [_jpeg(size, seed) for seed, size in enumerate(SIZES)]
    frames = [decode_frame(data) for data in encoded]
    encoder = load_encoder(name, precision="float32")

    theirs = _open_clip_pixels(name, encoded)
    levels = (encoder.preprocess(frames) - theirs).abs() * 255 * torch.tensor(0.28)
    # Usually one level at most; both round twice, so two are possible where both differ.
    assert float(levels.max()) < 2.2
    assert float((levels > 1.1).float().mean()) < 0.001

    cosines = (encoder.encode_images(frames) * _open_clip_images(name, encoded)).sum(axis=1)
    assert cosines.min() >= 0.9999


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_inputs_that_are_not_square(tmp_path: Path, resize_mode: str) -> None:
    name = write_model(
        tmp_path / "model",
        vision_cfg={"image_size": [24, 40]},
        resize_mode=resize_mode,
        interpolation="bilinear",  # open_clip itself falls back to bicubic when it fills these
    )
    encoded = [_jpeg(size, seed) for seed, size in enumerate(SIZES)]
    ours = load_encoder(name).encode_images([decode_frame(data) for data in encoded])
    assert (ours * _open_clip_images(name, encoded)).sum(axis=1).min() >= 0.9999


def test_a_model_with_a_sigmoid_loss_keeps_its_bias(tmp_path: Path) -> None:
    """SigLIP style: squashed, other mean and deviation, bias, text tower of its own."""
    name = write_model(
        tmp_path / "sig",
        model={"init_logit_bias": -10.0, "init_logit_scale": 2.5, "custom_text": True},
        mean=[0.5] * 3,
        std=[0.5] * 3,
        resize_mode="squash",
    )
    encoded = [_jpeg(size) for size in SIZES]
    encoder = load_encoder(name, precision="float32")
    ours = encoder.encode_images([decode_frame(data) for data in encoded])
    assert (ours * _open_clip_images(name, encoded)).sum(axis=1).min() >= 0.9999
    assert encoder.spec.logit_bias == -10.0
    assert encoder.spec.logit_scale == pytest.approx(np.exp(2.5), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "text", "tokens"),
    [  # the longest of TEXTS has 13 tokens between its two ends
        ({}, {}, 15),
        ({"custom_text": True}, {}, 15),
        ({}, {"no_causal_mask": True}, 24),  # what is behind the end is seen from before it
        ({"custom_text": True}, {"no_causal_mask": True}, 24),
        ({"custom_text": True}, {"pool_type": "last"}, 24),
        ({"custom_text": True}, {"embed_cls": True, "pad_id": 0}, 24),
    ],
)
def test_texts_are_embedded_as_open_clip_does(
    tmp_path: Path, model: dict[str, Any], text: dict[str, Any], tokens: int
) -> None:
    name = write_model(tmp_path / "model", model=model, text_cfg=text)
    encoder = load_encoder(name, precision="float32")
    theirs = open_clip.create_model(name).eval()
    vocabulary = str(tmp_path / "model" / "bpe_vocab.txt.gz")
    tokenizer = open_clip.SimpleTokenizer(vocabulary, context_length=24)
    with torch.inference_mode():
        expected = theirs.encode_text(tokenizer(TEXTS), normalize=True).numpy()
    read: list[int] = []
    embedding = encoder._model.get_submodule("text" if model else "").token_embedding
    embedding.register_forward_hook(lambda *call: read.append(call[1][0].shape[1]))
    for _ in range(2):  # the model is as it was after the first time
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-6)
    assert read == [tokens] * 2


def test_thousands_of_texts_fit(encoder: OpenClipEncoder) -> None:
    texts = [f"goal {i}" for i in range(1000)]
    embeddings = encoder.encode_texts(texts)
    assert embeddings.shape == (1000, 16)
    np.testing.assert_allclose(embeddings[[0, 700]], encoder.encode_texts(["goal 0", "goal 700"]),
                               atol=1e-6)  # fmt: skip


def test_the_gpu_resize_equals_pillow_too() -> None:
    """The float path is what a GPU runs; it needs no GPU to be checked."""
    from relabel.encoders.pixels import resize_in_float

    frame = _frames([(256, 256)])[0]
    filters = Image.Resampling
    for interpolation, filter_ in (("bicubic", filters.BICUBIC), ("bilinear", filters.BILINEAR)):
        expected = np.asarray(Image.fromarray(frame).resize((90, 48), filter_)).astype(int)
        pixels = torch.from_numpy(frame.copy())[None].permute(0, 3, 1, 2)
        ours = resize_in_float(pixels, (48, 90), interpolation)[0].permute(1, 2, 0).numpy()
        difference = np.abs(ours - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.01


# --- behaviour --------------------------------------------------------------------------------


def test_embeddings_are_unit_float32(encoder: OpenClipEncoder) -> None:
    for embeddings in (encoder.encode_images(_frames()), encoder.encode_texts(TEXTS)):
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_a_row_does_not_depend_on_its_batch(encoder: OpenClipEncoder) -> None:
    frames = _frames([*SIZES, *SIZES[::-1]])
    together = encoder.encode_images(frames)
    alone = np.concatenate([encoder.encode_images([frame]) for frame in frames])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_array_equal(together, encoder.encode_images(frames))


def test_more_frames_than_a_batch_keep_their_order(encoder: OpenClipEncoder) -> None:
    frames = _frames([(8, 8), (9, 12), (8, 8)]) * 100
    embeddings = encoder.encode_images(frames)
    np.testing.assert_allclose(embeddings, np.tile(embeddings[:3], (100, 1)), atol=2e-6)


def test_stages_compose_to_encode_images(encoder: OpenClipEncoder) -> None:
    frames = _frames()
    pixels = encoder.preprocess(frames)
    assert tuple(pixels.shape) == (len(frames), 3, 32, 32)
    np.testing.assert_array_equal(encoder.forward(pixels).numpy(), encoder.encode_images(frames))


def test_nothing_in_nothing_out(encoder: OpenClipEncoder) -> None:
    assert encoder.encode_images([]).shape == (0, 16)
    assert encoder.encode_texts([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32\[4, 4, 3\]"),
        (np.zeros((4, 4), np.uint8), r"uint8\[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8\[4, 4, 4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"uint8\[0, 4, 3\]"),
    ],
)
def test_a_frame_of_another_shape_is_an_error(
    encoder: OpenClipEncoder, frame: Any, got: str
) -> None:
    with pytest.raises(FrameError, match=f"frame 1 of 2: .*got {got}"):
        encoder.encode_images([np.zeros((4, 4, 3), np.uint8), frame])


def test_a_text_that_would_be_cut_is_an_error(encoder: OpenClipEncoder) -> None:
    encoder.encode_texts(["a " * 22])
    texts = ["a " * 23, "short", "a " * 40, "a " * 22]
    assert encoder.long_texts(texts) == {
        0: "23 tokens, the model reads 22",
        2: "40 tokens, the model reads 22",
    }
    with pytest.raises(EncoderError, match="2 of 4 texts are too long") as caught:
        encoder.encode_texts(texts)
    assert "text 0 of 4: 23 tokens" in str(caught.value)
    assert "text 2 of 4: 40 tokens" in str(caught.value)


def test_a_text_can_be_cut_on_request(tmp_path: Path) -> None:
    encoder = load_encoder(write_model(tmp_path / "model"), truncate_texts=True)
    # open_clip keeps the beginning and puts the end-of-text token in the last place.
    assert encoder.long_texts(["a " * 30]) == {}
    cut, whole = encoder.encode_texts(["a " * 30, "a " * 22])
    np.testing.assert_array_equal(cut, whole)


def test_embeddings_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    encoder = load_encoder(name)
    with torch.no_grad():
        encoder._model.visual.proj.fill_(float("nan"))
    with pytest.raises(EncoderError, match="1 of 1 embeddings are not finite"):
        encoder.encode_images(_frames()[:1])


def test_bfloat16_is_close_and_says_so(name: str, encoder: OpenClipEncoder) -> None:
    low = load_encoder(name, precision="bfloat16")
    assert low.spec.precision == "bfloat16"
    cosines = (low.encode_images(_frames()) * encoder.encode_images(_frames())).sum(axis=1)
    assert cosines.min() > 0.999
    assert (low.encode_texts(TEXTS) * encoder.encode_texts(TEXTS)).sum(axis=1).min() > 0.999


# --- identity ---------------------------------------------------------------------------------


def test_the_spec_tells_what_the_embeddings_depend_on(name: str, encoder: OpenClipEncoder) -> None:
    spec = encoder.spec
    assert (spec.name, spec.slug, spec.dim, spec.precision) == (name, "tiny", 16, "float32")
    assert spec.preprocess["size"] in (32, [32, 32])
    assert spec.preprocess["resize_mode"] == "shortest"
    assert spec.logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert spec.logit_bias is None
    assert EncoderSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_fingerprint_is_the_same_in_another_process(
    name: str, encoder: OpenClipEncoder
) -> None:
    code = (
        "import sys; from relabel.encoders.open_clip import load_encoder; "
        "print(load_encoder(sys.argv[1], precision='float32').spec.fingerprint)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split()[-1] == encoder.spec.fingerprint


def test_the_fingerprint_follows_content_not_place(
    tmp_path: Path, name: str, encoder: OpenClipEncoder
) -> None:
    def fingerprint(directory: str, **changes: Any) -> str:
        return load_encoder(write_model(tmp_path / directory, **changes)).spec.fingerprint

    same = load_encoder(write_model(tmp_path / "elsewhere"), precision="float32").spec
    assert (same.fingerprint, same.slug) == (encoder.spec.fingerprint, "elsewhere")
    others = [
        fingerprint("weights", seed=1),
        fingerprint("preprocessing", resize_mode="squash"),
        fingerprint("activation", model={"quick_gelu": True}),
        load_encoder(name, precision="bfloat16").spec.fingerprint,
    ]
    assert len({*others, same.fingerprint}) == 5


def test_the_weights_hash_does_not_depend_on_precision_or_format(tmp_path: Path) -> None:
    half = write_model(tmp_path / "half", half=True)
    expected = load_encoder(half, precision="float32").spec.weights_sha256
    assert load_encoder(half, precision="bfloat16").spec.weights_sha256 == expected
    weights = tmp_path / "half" / "open_clip_model.safetensors"
    full = {k: v.float() for k, v in safetensors.load_file(weights).items()}
    torch.save(full, tmp_path / "half" / "weights.pth")
    weights.unlink()
    assert load_encoder(half).spec.weights_sha256 == expected


# --- names ------------------------------------------------------------------------------------


def test_a_checkpoint_of_a_registered_architecture(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = open_clip.create_model(architecture, load_weights=False).eval()
    path = tmp_path / "my weights.pt"
    torch.save({"state_dict": model.state_dict()}, path)
    encoder = load_encoder(f"{architecture}:{path}", precision="float32")
    with torch.inference_mode():
        tokens = open_clip.get_tokenizer(architecture)(TEXTS)
        expected = model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-6)
    assert encoder.spec.slug == "ViT-Tiny-Test-my-weights"


def test_a_file_takes_the_preprocessing_its_family_agrees_on(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {
        "one": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash", "url": "x/one.pt"},
        "two": {"mean": (0.5,) * 3, "std": (0.5,) * 3, "resize_mode": "squash", "quick_gelu": True,
                "hf_hub": "org/two/"},
    }  # fmt: skip
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, tags)
    model = open_clip.create_model(architecture, load_weights=False)
    path = tmp_path / "mine.pt"
    torch.save(model.state_dict(), path)
    spec = load_encoder(f"{architecture}:{path}").spec
    assert (spec.preprocess["mean"], spec.preprocess["resize_mode"]) == ([0.5] * 3, "squash")
    cached = tmp_path / "models--org--two" / "snapshots" / "weights.pt"
    cached.parent.mkdir(parents=True)
    path.rename(cached)
    with pytest.raises(EncoderError, match="QuickGELU mismatch: two"):
        load_encoder(f"{architecture}:{cached}")


@pytest.fixture
def undecided(architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint file of an architecture whose registered weights disagree."""
    tags = {
        "one": {"mean": (0.1,) * 3, "std": (0.2,) * 3, "resize_mode": "squash", "url": "x/one.pt"},
        "two": {"mean": (0.3,) * 3, "std": (0.2,) * 3, "resize_mode": "squash", "url": "x/two.pt"},
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, tags)
    path = tmp_path / "mine.pt"
    torch.save(open_clip.create_model(architecture, load_weights=False).state_dict(), path)
    return f"{architecture}:{path}"


def test_a_file_whose_family_disagrees_asks_for_the_preprocessing(undecided: str) -> None:
    with pytest.raises(EncoderError, match="trained with different preprocessing") as caught:
        load_encoder(undecided)
    for part in ("one: {", "two: {", "--preprocess TAG, or one of openai, imagenet, siglip"):
        assert part in str(caught.value)
    # A file that is one of them by its name needs not be asked.
    path = Path(undecided.partition(":")[2])
    known = path.rename(path.with_name("two.pt"))
    name = undecided.replace(str(path), str(known))
    assert load_encoder(name).spec.preprocess["mean"] == [0.3] * 3


@pytest.mark.parametrize(
    ("asked", "mean", "resize_mode"),
    [
        ("two", 0.3, "squash"),
        ("openai", 0.48145466, "shortest"),
        ("imagenet", 0.485, "shortest"),
        ("siglip", 0.5, "squash"),
    ],
)
def test_the_preprocessing_that_was_asked_for_is_part_of_the_spec(
    undecided: str, asked: str, mean: float, resize_mode: str
) -> None:
    spec = load_encoder(undecided, preprocess=asked, precision="float32").spec
    assert (spec.preprocess["mean"][0], spec.preprocess["resize_mode"]) == (mean, resize_mode)
    other = load_encoder(undecided, preprocess="one", precision="float32").spec
    assert spec.differences(other)[0].startswith("preprocess")
    assert spec.fingerprint != other.fingerprint
    stored = load_stored(undecided, EncoderSpec.model_validate_json(spec.model_dump_json()))
    assert stored.spec == spec


def test_a_preprocessing_that_is_unknown_or_decided_already_is_an_error(
    name: str, undecided: str
) -> None:
    with pytest.raises(EncoderError, match=r"--preprocess three: expected openai.*\(one, two\)"):
        load_encoder(undecided, preprocess="three")
    for given, decides in ((name, "preprocess_cfg"), (undecided.partition(":")[0] + ":one", "tag")):
        with pytest.raises(EncoderError, match=f"--preprocess openai is for .*{decides}"):
            load_encoder(given, preprocess="openai")


def test_settings_by_name_are_those_of_open_clip() -> None:
    from relabel.encoders.weights import PREPROCESSING

    constants = open_clip.constants
    for name, mean, std in (
        ("openai", constants.OPENAI_DATASET_MEAN, constants.OPENAI_DATASET_STD),
        ("imagenet", constants.IMAGENET_MEAN, constants.IMAGENET_STD),
        ("siglip", constants.INCEPTION_MEAN, constants.INCEPTION_STD),
    ):
        assert PREPROCESSING[name]["mean"] == list(mean)
        assert PREPROCESSING[name]["std"] == list(std)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("ViT-B-32:openai", "use ViT-B-32-quickgelu:openai"),
        ("ViT-B/32:OpenAI", "use ViT-B-32-quickgelu:OpenAI"),
        ("RN50:yfcc15m", "use RN50-quickgelu:yfcc15m"),
    ],
)
def test_a_quickgelu_mismatch_is_an_error_before_any_download(
    name: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_clip, "download_pretrained", pytest.fail)
    with pytest.raises(EncoderError, match="QuickGELU mismatch") as caught:
        load_encoder(name)
    assert cure in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ViT-B-23:openai", ["unknown NAME 'ViT-B-23'", "near: ", "ViT-B-32"]),
        ("", ["unknown NAME ''", "NAME:PRETRAINED_TAG"]),
        ("hf-hub:org/model", ["unknown NAME 'hf-hub'", "local-dir:/path"]),
        ("ViT-B-32", ["nothing after NAME", "laion2b_s34b_b79k"]),
        ("ViT-B-32:laion2b", ["no tag and no file 'laion2b'", "laion2b_e16"]),
        ("ViT-B-32:/no/such.safetensors", ["no tag and no file '/no/such.safetensors'"]),
        ("ViT-S-32:x", ["ViT-S-32 has no tags"]),
        ("local-dir:/no/such", ["expected a directory with open_clip_config.json", "no such dir"]),
    ],
)
def test_an_unknown_name_says_what_was_looked_for(name: str, parts: list[str]) -> None:
    with pytest.raises(EncoderError) as caught:
        load_encoder(name)
    assert [part for part in parts if part not in str(caught.value)] == []


@pytest.mark.parametrize(
    "file", ["open_clip_model.safetensors", "open_clip_config.json", "bpe_vocab.txt.gz"]
)
def test_a_git_lfs_pointer_in_a_directory_is_named(tmp_path: Path, file: str) -> None:
    name = write_model(tmp_path / "cloned")
    (tmp_path / "cloned" / file).write_text(POINTER)
    with pytest.raises(EncoderError, match=rf"cloned/{file}: is a Git LFS pointer.*git lfs pull"):
        load_encoder(name)


def test_a_checkpoint_that_is_a_git_lfs_pointer_is_named(tmp_path: Path, architecture: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text(POINTER)
    with pytest.raises(EncoderError, match=r"weights.safetensors: is a Git LFS pointer"):
        load_encoder(f"{architecture}:{path}", preprocess="openai")


def test_a_tag_without_network_says_where_to_put_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(*_: Any, **options: Any) -> None:
        assert options["timeout"] <= 10
        raise OSError("network is unreachable")

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub.HfApi, "model_info", unreachable)
    with pytest.raises(EncoderError, match="network is unreachable") as caught:
        load_encoder("ViT-B-32:laion2b_s34b_b79k")
    assert "ViT-B-32:/path/to/checkpoint.safetensors" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_tag_in_the_hubs_cache_needs_no_network(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "open_clip_model.safetensors"
    safetensors.save_file(open_clip.create_model(architecture).state_dict(), path)
    entry = {"hf_hub": "org/tiny/", "mean": (0.5,) * 3, "resize_mode": "longest"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, {"v1": entry})
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda _, file: str(tmp_path / file))
    monkeypatch.setattr(hub.HfApi, "model_info", pytest.fail)
    spec = load_encoder(f"{architecture}:v1").spec
    assert spec.slug == "ViT-Tiny-Test-v1"
    assert (spec.preprocess["mean"], spec.preprocess["resize_mode"]) == ([0.5] * 3, "longest")


# --- damaged and missing weights ----------------------------------------------------------------


def test_a_directory_without_weights_is_an_error(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    (tmp_path / "model" / "open_clip_model.safetensors").unlink()
    with pytest.raises(EncoderError, match=r"got no weights; put the weights at .*safetensors"):
        load_encoder(name)


def test_two_weights_files_are_an_error(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    weights.with_name("b.safetensors").write_bytes(weights.read_bytes())
    load_encoder(name)  # the name open_clip prefers wins
    weights.rename(weights.with_name("a.safetensors"))
    with pytest.raises(EncoderError, match=r"several: \['a.safetensors', 'b.safetensors'\]"):
        load_encoder(name)


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_truncated_safetensors_are_an_error(tmp_path: Path, kept: float) -> None:
    name = write_model(tmp_path / "model")
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(kept * len(data)) if kept < 1 else int(kept)])
    with pytest.raises(EncoderError, match="could not be loaded: it is damaged") as caught:
        load_encoder(name)
    assert caught.value.__cause__ is not None


def _rewrite(directory: Path, change: Any) -> None:
    path = directory / "open_clip_model.safetensors"
    state = safetensors.load_file(path)
    change(state)
    safetensors.save_file(state, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(text_projection=torch.zeros(32, 8)), "size mismatch"),
        (lambda s: s.pop("text_projection"), "Missing key"),
        (lambda s: s.update(surplus=torch.zeros(1)), "Unexpected key"),
    ],
)
def test_weights_of_another_architecture_are_an_error(
    tmp_path: Path, change: Any, message: str
) -> None:
    name = write_model(tmp_path / "model")
    _rewrite(tmp_path / "model", change)
    with pytest.raises(EncoderError, match=f"holds another architecture .*{message}"):
        load_encoder(name)


def test_weights_of_another_image_size_are_an_error(tmp_path: Path) -> None:
    """open_clip resamples the position embedding and says nothing."""
    name = write_model(tmp_path / "model")
    path = tmp_path / "model" / "open_clip_config.json"
    path.write_text(json.dumps(config(vision_cfg={"image_size": 64})))
    with pytest.raises(EncoderError, match=r"expected \(65, 32\), got \(17, 32\): trained at"):
        load_encoder(name)


def test_an_invented_bias_is_an_error(tmp_path: Path) -> None:
    """open_clip sets it to 0 and says nothing."""
    name = write_model(tmp_path / "model", model={"init_logit_bias": -10.0})
    _rewrite(tmp_path / "model", lambda state: state.pop("logit_bias"))
    with pytest.raises(EncoderError, match=r"logit_bias: .* the checkpoint has none"):
        load_encoder(name)


def test_a_pickle_is_not_executed(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": Path("code that would be imported")}, path)
    with pytest.raises(EncoderError, match="could not be loaded"):
        load_encoder(f"{architecture}:{path}")


def test_a_checkpoint_of_unknown_kind_is_an_error(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.touch()
    with pytest.raises(EncoderError, match=r"expected a checkpoint ending in \.safetensors"):
        load_encoder(f"{architecture}:{path}")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_cfg": {"embed_dim": 4}}'])
def test_a_directory_with_a_broken_config_is_an_error(tmp_path: Path, text: str) -> None:
    name = write_model(tmp_path / "model")
    (tmp_path / "model" / "open_clip_config.json").write_text(text)
    with pytest.raises(EncoderError, match="model_cfg"):
        load_encoder(name)


def test_a_vocabulary_larger_than_the_model_is_an_error(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    (tmp_path / "model" / "bpe_vocab.txt.gz").unlink()
    with pytest.raises(EncoderError, match=r"49408 tokens, the model knows 614; .*bpe_vocab"):
        load_encoder(name)


def test_a_damaged_vocabulary_is_an_error(tmp_path: Path) -> None:
    name = write_model(tmp_path / "model")
    (tmp_path / "model" / "bpe_vocab.txt.gz").write_bytes(b"\x1f\x8b damaged")
    with pytest.raises(EncoderError, match="tokenizer could not be loaded"):
        load_encoder(name)


def test_a_configured_vocabulary_is_looked_for_in_the_directory(tmp_path: Path) -> None:
    kwargs = {"tokenizer_kwargs": {"bpe_path": "words.gz"}}
    plain = write_model(tmp_path / "plain")
    name = write_model(tmp_path / "model", text_cfg=kwargs)
    vocabulary = tmp_path / "model" / "bpe_vocab.txt.gz"
    vocabulary.rename(vocabulary.with_name("words.gz"))
    embeddings = load_encoder(name).encode_texts(TEXTS)
    np.testing.assert_array_equal(embeddings, load_encoder(plain).encode_texts(TEXTS))


# --- device and precision -----------------------------------------------------------------------


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cpu:0", "meta"])
def test_an_unknown_device_is_an_error(device: str) -> None:
    with pytest.raises(EncoderError, match="expected auto, cpu, cuda, cuda:N or mps"):
        resolve_device(device)


def test_a_missing_device_is_an_error_not_a_fallback(name: str) -> None:
    missing = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(EncoderError, match=f"device '{missing}': .*--device cpu"):
        load_encoder(name, device=missing)
    if not torch.backends.mps.is_available():
        with pytest.raises(EncoderError, match="no Apple GPU"):
            load_encoder(name, device="mps")


def test_auto_takes_what_there_is_and_says_so(name: str) -> None:
    encoder = load_encoder(name, device="auto")
    assert encoder.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert encoder.precision_reason.startswith("auto: ")


@pytest.mark.parametrize(
    ("cpu", "native"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "amx_bf16"),
        ({"avx512_bf16": True, "amx_bf16": False}, "avx512_bf16"),
        ({"avx512_f": True, "avx2": True}, None),
        ({}, None),
    ],
)
def test_auto_on_a_cpu_flips_no_reward_and_says_what_it_leaves(
    cpu: dict[str, bool], native: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert native_bfloat16(cpu) == native
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    precision, reason = choose_precision(torch.device("cpu"))
    assert precision == "float32"
    assert (native or "without native bfloat16") in reason


@pytest.mark.parametrize("native", [True, False])
def test_auto_on_a_gpu_is_float16(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: native)
    assert choose_precision(torch.device("cuda"))[0] == "float16"
    assert check_precision(torch.device("cuda"), "float16") == "float16"
    assert choose_precision(torch.device("mps"))[0] == "float32"


def test_a_precision_that_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EncoderError, match="expected one of auto, float32, bfloat16, float16"):
        check_precision(torch.device("cpu"), "fp32")
    for precision in ("bfloat16", "float16"):  # slow, and the same as elsewhere
        assert check_precision(torch.device("cpu"), precision) == precision
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(EncoderError, match="this GPU has none"):
        check_precision(torch.device("cuda"), "bfloat16")


def test_a_gpu_agrees_with_the_cpu(name: str, encoder: OpenClipEncoder) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    gpu = load_encoder(name, device="cuda", precision="float32")
    cosines = (gpu.encode_images(_frames()) * encoder.encode_images(_frames())).sum(axis=1)
    assert cosines.min() >= 0.9999
    assert gpu.spec.fingerprint == encoder.spec.fingerprint


# --- imports ------------------------------------------------------------------------------------


def _run(code: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


_IMPORTED = """
import sys, torch
disable = torch.compiler.disable
from relabel.encoders.open_clip_import import import_open_clip
open_clip = import_open_clip()
assert import_open_clip() is open_clip
print(sorted(name for name in sys.modules if name.startswith("torch._dynamo")))
assert torch.compiler.disable is disable
assert hasattr(torch.ops.torchvision, "nms")
assert open_clip.timm_model.timm is not None
"""


def test_open_clip_is_whole_in_a_fresh_process_and_brings_no_compiler() -> None:
    assert _run(_IMPORTED) == "[]"


def test_the_compiler_can_be_used_afterwards() -> None:
    code = """
compiled = torch.compile(lambda x: 2 * x, backend="eager")
print(compiled(torch.ones(())).item(), "torch._dynamo.utils" in sys.modules)
from torchvision.ops.roi_align import is_compile_supported
import torch._dynamo.utils as utils
assert is_compile_supported("cpu") == utils.is_compile_supported("cpu")
"""
    assert _run(_IMPORTED + code) == "[]\n2.0 True"


def test_a_compiler_that_is_asked_for_during_the_import_is_there() -> None:
    code = """
import sys, torch
from relabel.encoders import open_clip_import as ours

with ours._compiler_left_out():
    from torch._dynamo.utils import counters
    once = torch.compiler.disable(lambda: torch._dynamo.is_compiling())
assert counters is sys.modules["torch._dynamo.utils"].counters
print(torch.compile(lambda: once(), backend="eager")())
"""
    assert _run(code) == "False"


def test_an_encoder_of_timm_gives_the_same_with_and_without_the_compiler_imported() -> None:
    code = """
import torch
{first}
from relabel.encoders.open_clip_import import import_open_clip
open_clip = import_open_clip()
torch.manual_seed(0)
vision = {{"timm_model_name": "vit_tiny_patch16_224", "image_size": 224, "timm_pool": "avg"}}
text = {{"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}}
model = open_clip.model.CLIP(16, vision, text).eval()
with torch.inference_mode():
    print(model.encode_image(torch.ones(1, 3, 224, 224)).tolist())
"""
    without, with_it = (_run(code.format(first=x)) for x in ("", "import torch._dynamo"))
    assert without == with_it != ""


def test_frames_need_no_torch_and_the_encoder_no_open_clip_until_loaded() -> None:
    code = "import relabel.frames.decoding, sys; print('torch' in sys.modules)"
    assert _run(code) == "False"
    code = "import relabel.encoders.open_clip, sys; print('open_clip' in sys.modules)"
    assert _run(code) == "False"
