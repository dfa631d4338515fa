"""How far frames are from those that an encoder knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relabel.evaluation import coverage
from relabel.evaluation.coverage import (
    EXPECTED,
    Reference,
    identity,
    make_reference,
    outside,
    read_reference,
    reference_of_table,
    write_reference,
)
from relabel.evaluation.references import asked_reference, shipped_reference
from relabel.testing import PixelMeanEncoder
from schemas.errors import StoreError
from tests import small

SPEC = PixelMeanEncoder().spec


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cloud(seed: int, count: int, spread: float = 0.1, dim: int = 16) -> np.ndarray:
    """Frames around five directions that are the same for every seed."""
    centres = np.random.default_rng(0).normal(size=(5, dim))
    rng = np.random.default_rng(seed)
    return _unit(centres[rng.integers(5, size=count)] + spread * rng.normal(size=(count, dim)))


@pytest.fixture(name="reference", scope="module")
def _reference() -> Reference:
    pytest.importorskip("sklearn")
    return make_reference(cloud(1, 3000), cloud(2, 1000), SPEC, "five directions")


def test_frames_of_the_same_kind_are_outside_as_often_as_expected(reference: Reference) -> None:
    share = (reference.distances(cloud(3, 20_000)) > reference.bound).mean()
    assert share == pytest.approx(EXPECTED, abs=0.01)


def test_frames_of_another_kind_are_outside(reference: Reference) -> None:
    random = _unit(np.random.default_rng(5).normal(size=(2000, 16)))
    assert (reference.distances(random) > reference.bound).mean() > 0.99
    assert (reference.distances(-cloud(3, 500)) > reference.bound).all()


def test_the_distance_is_to_the_nearest_prototype(reference: Reference) -> None:
    frames = cloud(4, 50)
    frames[3] = np.nan
    near = [max(float(f @ c) for c in reference.prototypes) for f in frames if not np.isnan(f[0])]
    found = reference.distances(frames)
    assert np.isnan(found[3])
    np.testing.assert_allclose(np.delete(found, 3), 1 - np.array(near), atol=1e-6)


def test_a_reference_is_read_as_it_was_written(reference: Reference, tmp_path: Path) -> None:
    path = str(tmp_path / "coverage.parquet")
    write_reference(reference, path)
    again = read_reference(path)
    assert np.array_equal(again.prototypes, reference.prototypes)
    assert (again.bound, again.frames, again.encoder, again.origin) == (
        *(reference.bound, reference.frames, reference.encoder, reference.origin),
    )


def test_what_is_no_reference_is_refused(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no such file"):
        read_reference(str(tmp_path / "none.parquet"))
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(StoreError, match="expected a reference"):
        read_reference(str(tmp_path / "text.parquet"))
    with pytest.raises(StoreError, match=r"to end in \.parquet"):
        write_reference(reference, str(tmp_path / "reference.csv"))
    with pytest.raises(StoreError, match="at least 100 frames"):
        make_reference(cloud(1, 300), cloud(2, 99), SPEC, "few")
    other = SPEC.model_copy(update={"weights_sha256": "0" * 64})
    with pytest.raises(StoreError, match=r"another encoder than .* \(weights_sha256 differ\)"):
        reference.check(other)


def test_a_store_is_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    source = small.write_source(tmp_path / "source")
    store = small.build_store(tmp_path / "store", source)
    table = store.embeddings()[0]
    with pytest.raises(StoreError, match="at least 100 frames"):
        reference_of_table(store, table.table)
    monkeypatch.setattr(coverage, "_LEAST", 1)
    monkeypatch.setattr(coverage, "_PER_PROTOTYPE", 1)
    monkeypatch.setattr(coverage, "_is_held_back", lambda episode: episode.endswith("/1"))
    reference = asked_reference(store.location, table)
    assert reference.frames == 11
    episodes, distances = zip(*outside(store, table.table, reference), strict=True)
    assert sum(map(len, episodes)) == 11
    own = np.concatenate(distances)
    assert np.isfinite(own).all()
    held = [e.endswith("/1") for part in episodes for e in part]
    assert (own[~np.array(held)] < 0.01).all()  # about as many prototypes as frames
    touching = asked_reference(f"{store.location}:observation.touching", table)
    assert touching.frames == 4
    with pytest.raises(StoreError, match="expected 'nothing' to be a column of one bool"):
        asked_reference(f"{store.location}:nothing", table)
    foreign = table.encoder.model_copy(update={"weights_sha256": "1" * 64})
    with pytest.raises(StoreError, match="expected embeddings of"):
        asked_reference(store.location, table.model_copy(update={"encoder": foreign}))


def test_a_reference_beside_the_weights_is_found(reference: Reference, tmp_path: Path) -> None:
    write_reference(reference, str(tmp_path / "coverage.parquet"))
    named = [f"local-dir:{tmp_path}"]
    found = shipped_reference(SPEC, ["ViT-B-32:laion2b_s34b_b79k", *named])
    assert found is not None
    assert found.encoder == identity(SPEC)
    assert shipped_reference(SPEC, [f"local-dir:{tmp_path}/other"]) is None
    other = SPEC.model_copy(update={"weights_sha256": "0" * 64})
    assert shipped_reference(other, named) is None
