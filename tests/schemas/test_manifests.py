"""Manifests: round trip, versions, identity, differences."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relabel.testing import PixelMeanEncoder
from schemas.enums import Fusion, Timing
from schemas.errors import StoreError
from schemas.manifests import (
    FORMAT_VERSION,
    AnyTableManifest,
    EmbeddingManifest,
    EpisodesManifest,
    RewardManifest,
    SliceSpec,
    StepsManifest,
    embedding_name,
    manifest_bytes,
    parse_manifest,
    parse_store_manifest,
    sealed,
)
from schemas.slices import TableFile, plan_slices
from schemas.store import Store

SPEC = PixelMeanEncoder().spec
FILE = TableFile(
    table="steps", file="slice-train-00000-000000-000001.parquet", rows=3, bytes=9, sha256="ab"
)
SHARED: dict[str, Any] = {
    "source_fingerprint": "s" * 64,
    "made_by": {"numpy": "2.4"},
    "command": "vlm-relabel embed",
    "files": (FILE,),
    "dead_letters": 2,
}
STEPS = StepsManifest(frames=("observation.front",), **SHARED)
EPISODES = EpisodesManifest(**SHARED)
EMBEDDING = EmbeddingManifest(encoder=SPEC, camera="observation.front", dtype="float32", **SHARED)
REWARD = RewardManifest(
    name="v1",
    goals_name="kitchen",
    goals_hash="g" * 64,
    goals=3,
    encoder=SPEC,
    embeddings=("pixel.front",),
    embedding_fingerprints=("e" * 64,),
    function={"name": "softmax-threshold", "threshold": 0.5, "temperature": 0.1},
    timing=Timing.NEXT_FRAME,
    fusion=Fusion.MAX,
    binary=True,
    scores=True,
    score_range=(0.0, 1.0),
    reward_range=(0.0, 1.0),
    **SHARED,
)
MANIFESTS = [STEPS, EPISODES, EMBEDDING, REWARD]
every_kind = pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda m: m.kind)


@every_kind
def test_json_comes_back_whole(manifest: AnyTableManifest) -> None:
    assert parse_manifest(manifest_bytes(manifest), origin="x") == manifest


@every_kind
def test_identity_leaves_out_how_the_run_went(manifest: AnyTableManifest) -> None:
    changes = {"made_by": {}, "command": None, "files": (), "dead_letters": 0}
    other = manifest.model_copy(update=changes)
    assert other.fingerprint == manifest.fingerprint
    assert manifest.differences(other) == []


@every_kind
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # "changed" is no tuple
def test_every_other_field_is_part_of_the_identity(manifest: AnyTableManifest) -> None:
    circumstances = {"made_by", "command", "files", "dead_letters", "figures"}
    circumstances |= {"kind", "goals_name"}
    for field in set(type(manifest).model_fields) - circumstances:
        value = SPEC.model_copy(update={"fingerprint": "0"}) if field == "encoder" else "changed"
        other = manifest.model_copy(update={field: value})
        assert other.fingerprint != manifest.fingerprint, field


def test_a_tokenizer_matters_to_rewards_and_not_to_embeddings() -> None:
    told = [SPEC.model_copy(update={"tokenizer_sha256": digit * 64}) for digit in "ab"]
    for manifest, tables in ((EMBEDDING, 1), (REWARD, 3)):
        encoders = (SPEC, *told)  # the first does not tell
        known = {manifest.model_copy(update={"encoder": e}).fingerprint for e in encoders}
        assert len(known) == tables
    one, two = (REWARD.model_copy(update={"encoder": encoder}) for encoder in told)
    (line,) = one.differences(two)
    assert line.startswith("encoder.tokenizer_sha256: stored")


def test_an_encoder_tells_what_differs() -> None:
    other = SPEC.model_copy(
        update={
            "name": "elsewhere", "slug": "other", "fingerprint": "b" * 64,
            "precision": "bfloat16", "tokenizer_sha256": "c" * 64,
        }
    )  # fmt: skip
    assert SPEC.differences(SPEC.model_copy(update={"name": "elsewhere", "slug": "other"})) == []
    assert SPEC.differences(other) == ["precision float32, not bfloat16"]
    named = SPEC.model_copy(update={"tokenizer_sha256": "d" * 64})
    assert named.differences(other) == [
        "tokenizer_sha256 dddddddd, not cccccccc",
        "precision float32, not bfloat16",
    ]
    unexplained = SPEC.model_copy(update={"fingerprint": "b" * 64})
    assert [line.split()[0] for line in SPEC.differences(unexplained)] == ["fingerprint"]


def test_names_of_encoder_and_goals_do_not_matter() -> None:
    moved = SPEC.model_copy(update={"name": "local-dir:/elsewhere/pixel-mean"})
    for manifest in (EMBEDDING, REWARD):
        assert manifest.model_copy(update={"encoder": moved}).fingerprint == manifest.fingerprint
    assert REWARD.model_copy(update={"goals_name": "x"}).fingerprint == REWARD.fingerprint


def test_fingerprints_of_format_1_never_change() -> None:
    # Every file of a store carries them: another value would orphan all stores of that format.
    steps = {**FORMAT_1, "kind": "steps", "frames": ["observation.front"]}
    assert fingerprint(steps)[:16] == "da4104f14fd2d359"
    encoder = SPEC.model_dump(mode="json", include=ENCODER_OF_FORMAT_1)
    embedding = {**FORMAT_1, "kind": "embeddings", "encoder": encoder, "dtype": "float32"}
    embedding["camera"] = "observation.front"
    expected = "f850cca58b7dfcace7937cb1e33d13f73eb5dfcfce5ab414f974ec4961e04c78"
    assert fingerprint(embedding) == expected


FORMAT_1: dict[str, Any] = {"format_version": "1.0", "source_fingerprint": "s" * 64, "files": []}
ENCODER_OF_FORMAT_1 = {
    *("name", "slug", "fingerprint", "weights_sha256", "preprocess", "precision", "dim"),
    *("logit_scale", "logit_bias"),
}


def fingerprint(content: dict[str, Any]) -> str:
    return parse_manifest(json.dumps(content), origin="x").fingerprint


def test_tables() -> None:
    assert [m.table for m in MANIFESTS] == [
        "steps",
        "episodes",
        f"embeddings/pixel-mean-{SPEC.fingerprint[:8]}.front",
        "rewards/v1",
    ]
    assert embedding_name(SPEC, "left.rgb").endswith(".left.rgb")


def test_differences_say_what_is_stored_and_what_was_asked_for() -> None:
    function = {**REWARD.function, "threshold": 0.25}
    function.pop("temperature")
    other = REWARD.model_copy(update={"function": function, "fusion": Fusion.MEAN})
    assert REWARD.differences(other) == [
        "function.temperature: stored 0.1, asked for null",
        "function.threshold: stored 0.5, asked for 0.25",
        'fusion: stored "max", asked for "mean"',
    ]


def test_long_values_are_cut() -> None:
    other = STEPS.model_copy(update={"frames": tuple(f"observation.{i}" for i in range(99))})
    (line,) = STEPS.differences(other)
    assert line.startswith('frames: stored ["observation.front"], asked for ["observation.0"')
    assert line.endswith("...")
    assert len(line) < 130


# --- what cannot be read


def changed(**changes: Any) -> bytes:
    return sealed({**json.loads(STEPS.model_dump_json()), **changes})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "here: not JSON"),
        ("[]", "expected format version 1.x or 2.x, got None"),
        (
            changed(format_version="3.0"),
            "expected format version 1.x or 2.x, got '3.0'; read it with",
        ),
        (changed(format_version="10.0"), "got '10.0'"),
        (changed(format_version=1), "got 1"),
        (changed(kind="stairs"), r"expected kind in \['steps', .*\], got 'stairs'"),
        (changed(dead_letters="many"), "here: not a valid manifest: dead_letters: "),
        (changed(files=[{"table": "steps"}]), r"files\.0\.file: "),
    ],
)
def test_what_is_no_manifest(text: str, part: str) -> None:
    with pytest.raises(StoreError, match=part):
        parse_manifest(text, origin="here")


def test_a_later_minor_version_is_read() -> None:
    major = FORMAT_VERSION.split(".")[0]
    text = changed(format_version=f"{major}.7", colour="what a later release may add")
    manifest = parse_manifest(text, origin="here")
    assert manifest == STEPS.model_copy(update={"format_version": f"{major}.7"})


def test_store_manifest_comes_back_with_its_plan(empty_store: Store) -> None:
    manifest = empty_store.manifest
    assert parse_store_manifest(manifest_bytes(manifest), origin="x") == manifest
    assert manifest.plan() == plan_slices("train", [3, 2], 2)
    later = manifest_bytes(manifest.model_copy(update={"format_version": "3.1"}))
    with pytest.raises(StoreError, match=r"expected format version 1.x or 2.x, got '3.1'"):
        parse_store_manifest(later, origin="x")


def test_a_plan_keeps_the_order_of_its_slices(empty_store: Store) -> None:
    slices = tuple(SliceSpec(shard=0, start=s, stop=s + 1) for s in (0, 1, 2))
    plan = empty_store.manifest.model_copy(update={"slices": slices}).plan()
    assert [(p.index, p.count, p.start) for p in plan] == [(0, 3, 0), (1, 3, 1), (2, 3, 2)]
