"""Lower precisions: the blocks of the image tower alone are computed in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relabel.encoders.open_clip import OpenClipEncoder, load_encoder  # noqa: E402
from tests.relabel.tiny_encoders import config, write_model  # noqa: E402

TEXTS = ["a red ball", "an empty room", "the box is next to a ball"]


def _frames(count: int = 8) -> list[Any]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(count)]


def _timm(name: str, **settings: Any) -> dict[str, Any]:
    return {"timm_model_name": name, "timm_model_pretrained": False, "image_size": 32, **settings}


PRECISIONS = ("float32", "bfloat16", "float16")
TOWERS: dict[str, dict[str, Any]] = {
    "class token": {},
    "average": {"pool_type": "avg"},
    "normalised behind the pool": {"final_ln_after_pool": True},
    "attentional pool": {"attentional_pool": True, "attn_pooler_heads": 2},
    "resnet": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "timm, attention": _timm("test_vit", timm_pool="map", timm_proj="none"),
    "timm, projection": _timm("test_vit", timm_pool="avg", timm_proj="linear"),
    "timm, perceptron": _timm("test_vit", timm_pool="token", timm_proj="mlp"),
    "timm, its own head": _timm("test_vit", timm_pool="avg", timm_proj=""),
    "timm, convolutions": _timm("test_convnext", timm_pool="avg", timm_proj="linear"),
}
EMBED_DIMS = {"timm, attention": 64}  # of a tower without projection


def _write(directory: Path, tower: str) -> str:
    vision = TOWERS[tower]
    if "timm_model_name" in vision:  # timm makes its towers for 160 px
        vision = vision | {"image_size": 160}
    return write_model(directory, vision_cfg=vision, model={"embed_dim": EMBED_DIMS.get(tower, 16)})


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("tower", TOWERS)
def test_the_last_steps_of_every_kind_of_tower_stay_in_float32(
    tmp_path: Path, tower: str, precision: str
) -> None:
    name = _write(tmp_path / "model", tower)
    low, full = (load_encoder(name, precision=p) for p in (precision, "float32"))
    images, expected = (encoder.encode_images(_frames()) for encoder in (low, full))
    assert (images * expected).sum(axis=1).min() > 0.999
    assert not np.array_equal(images, expected)
    raw = low._model.encode_image(low.preprocess(_frames()))
    assert raw.dtype == torch.float32, "the projection is computed in float32"
    lowered = {n for n, p in low._model.named_parameters() if p.dtype != torch.float32}
    assert lowered and all(n.startswith("visual.") for n in lowered)
    kept = dict(full._model.named_parameters())
    for key, parameter in low._model.named_parameters():
        if key not in lowered:
            assert torch.equal(parameter, kept[key]), f"{key} was rounded on the way"


def test_the_projection_is_that_of_the_formula(tmp_path: Path) -> None:
    """What leaves the blocks in bfloat16, normalised and projected by hand in float64."""
    encoder = load_encoder(write_model(tmp_path / "model"), precision="bfloat16")
    visual, seen = encoder._model.visual, []
    visual.ln_post.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = encoder.encode_images(_frames())
    assert seen[0].dtype == torch.float32, "raised before the last normalisation"
    x = seen[0][:, 0].double().numpy()
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    x = x * visual.ln_post.weight.double().numpy() + visual.ln_post.bias.double().numpy()
    x = x @ visual.proj.double().numpy()
    np.testing.assert_allclose(images, x / np.linalg.norm(x, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("model", [{}, {"custom_text": True}])
def test_texts_are_the_same_in_every_precision(tmp_path: Path, model: dict[str, Any]) -> None:
    name = write_model(tmp_path / "model", model=model)
    texts = [load_encoder(name, precision=p).encode_texts(TEXTS) for p in PRECISIONS]
    np.testing.assert_array_equal(texts[0], texts[1])
    np.testing.assert_array_equal(texts[0], texts[2])


def test_float32_is_what_it_was(tmp_path: Path) -> None:
    """No hook, no cast: the bits of the model itself."""
    name = write_model(tmp_path / "model")
    encoder: OpenClipEncoder = load_encoder(name, precision="float32")
    from relabel.encoders.open_clip_import import import_open_clip

    model = import_open_clip().create_model(name).eval()
    with torch.inference_mode():
        raw = model.encode_image(encoder.preprocess(_frames()), normalize=True).numpy()
    np.testing.assert_array_equal(encoder.encode_images(_frames()), raw)
    assert config()["model_cfg"]["embed_dim"] == encoder.spec.dim
