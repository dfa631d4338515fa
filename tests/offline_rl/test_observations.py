"""What an agent sees by default, and names that stay right when tables are added."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from offline_rl import observations
from offline_rl.frames import column_width, whole_names
from offline_rl.observations import default_observations
from relabel.testing import PixelMeanEncoder
from schemas.enums import LastStep
from schemas.errors import RunError, StoreError
from schemas.store import Store
from schemas.tables import FieldSpec
from tests.offline_rl import arms, playground


@pytest.fixture(scope="module")
def arm_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read-only."""
    return arms.make_store(tmp_path_factory.mktemp("arms"))


def test_embeddings_of_texts_are_left_out_by_name_and_by_shape(arm_store: Path) -> None:
    found = default_observations(Store.open(str(arm_store)))
    assert set(found.names) == {
        "observation.state",
        "observation.features",  # 160 values that change at every step
        "observation.image_embedding",
    }
    assert set(found.left_out) == {
        "observation.natural_language_embedding",
        "observation.taskVector",  # 384 values, the same all through an episode
    }
    assert "named like" in found.left_out["observation.natural_language_embedding"]
    assert "has 384 values that hardly change" in found.left_out["observation.taskVector"]


@pytest.mark.parametrize(
    ("name", "is_text"),
    [
        ("natural_language_embedding", True),
        ("languageEmbedding", True),
        ("instruction", True),
        ("lang_emb", True),
        ("text.vector", True),
        ("caption-512", True),
        ("goal_embedding", True),
        ("embedding", True),
        ("image_text_embedding", True),
        ("image_embedding", False),
        ("wrist_camera_emb", False),
        ("state", False),
        ("context", False),
        ("texture", False),
        ("langevin", False),
        ("membedded", False),
    ],
)
def test_names_of_texts(name: str, is_text: bool) -> None:
    assert (observations._named_as_text(f"observation.{name}") is not None) == is_text


@pytest.mark.parametrize(("changes", "is_text"), [(0, True), (1, True), (2, False), (3, False)])
def test_a_text_may_change_now_and_then(
    changes: int, is_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the four steps from frame to frame in each episode of five frames."""
    episode = np.minimum(np.arange(5), changes).repeat(200).reshape(5, 200)
    # From one episode to the next everything changes, which says nothing.
    columns = {"w": np.concatenate([episode, 100 + episode, 300 + episode])}

    class Frames:
        num_rows = 15

        def column(self, name: str) -> object:
            values = np.tile(np.arange(5), 3) if name == "step" else columns[name]
            return _Column(values)

    class _Column:
        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def to_numpy(self) -> np.ndarray:
            return self.values

    class OneSlice:
        slices = (None,)

        def read_slices(self, *_: object) -> Frames:
            return Frames()

    monkeypatch.setattr(observations, "as_matrix", lambda column: column.values)
    spec = FieldSpec(name="w", kind="tensor", dtype="float32", shape=(200,))
    found = observations._shaped_as_text(OneSlice(), [spec])  # type: ignore[arg-type]
    assert ("w" in found) == is_text


def test_nothing_but_texts_is_an_error_that_names_them(tmp_path: Path) -> None:
    items = arms.items()
    source, store = tmp_path / "arms" / "1.0.0", tmp_path / "store"
    arms.write_rlds(source, arms.FEATURES, items, shard_lengths=(len(items),))
    playground.embed(source, store, LastStep.FINAL_OBSERVATION)
    opened = Store.open(str(store))
    kept = tuple(f for f in opened.manifest.fields if not f.name.startswith("observation."))
    text = [f for f in opened.manifest.fields if f.name.endswith("language_embedding")]
    opened.manifest = opened.manifest.model_copy(update={"fields": (*kept, *text)})
    with pytest.raises(RunError) as caught:
        default_observations(opened)
    for part in ("natural_language_embedding is named like", "--observation embedding:NAME"):
        assert part in str(caught.value)


# --- whole names


@pytest.fixture
def two_encoders(playground_source: Path, playground_store: Path, tmp_path: Path) -> Store:
    """The playground with a second encoder, whose name begins alike."""
    store = Path(shutil.copytree(playground_store, tmp_path / "two.store"))
    playground.embed(
        playground_source,
        store,
        LastStep.FINAL_OBSERVATION,
        encoder=lambda *_, **__: PixelMeanEncoder(version=1),
    )
    return Store.open(str(store))


def test_an_added_encoder_leaves_earlier_names_as_they_are(
    two_encoders: Store, playground_store: Path
) -> None:
    asked = ("observation.state", "embedding:pixel")
    before = whole_names(Store.open(str(playground_store)), asked)
    table = before[1].removeprefix("embedding:")
    assert before[0] == "observation.state"
    assert f"embeddings/{table}" in Store.open(str(playground_store)).tables()
    with pytest.raises(StoreError, match="fits several tables"):
        whole_names(two_encoders, asked)
    assert whole_names(two_encoders, asked, known=before) == before
    assert whole_names(two_encoders, before) == before
    with pytest.raises(StoreError, match="fits several tables"):  # another choice is none
        whole_names(two_encoders, ("embedding:pixel",), known=before)


def test_a_whole_name_is_not_the_beginning_of_another(own_store: Path) -> None:
    """Cameras `front` and `front_left` of one encoder."""
    table = next((own_store / "embeddings").iterdir())
    shutil.copytree(table, table.with_name(f"{table.name}_left"))
    store = Store.open(str(own_store))
    name = f"embedding:{table.name}"
    assert whole_names(store, [name]) == (name,)
    assert column_width(store, name) == 4
