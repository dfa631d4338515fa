"""Which goals an instruction names: by phrasings and spoken texts, never by templated ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.goal_names import goal_names
from schemas.goals import GoalSet
from schemas.store import GOALS, Store
from tests import small

GOALS_FILE = """
templates: ["a photo of {}", "the robot has to {}!"]
goals:
  - {id: red, texts: [Make it red, a red room], spoken: ["paint it &ldquo;red&rdquo;."]}
  - {id: green, texts: [a green room], spoken: [make it red]}
"""


@pytest.fixture
def scored(store: Store) -> Store:
    """The small store with the reward set `named`."""
    small.score(store, "named", goals=GoalSet.from_yaml(GOALS_FILE))
    return store


def test_names_are_phrasings_and_spoken_texts(scored: Store) -> None:
    assert goal_names(scored, "named") == {
        "make it red": {0, 1},
        "a red room": {0},
        'paint it "red"': {0},
        "a green room": {1},
    }


def test_columns_are_as_given(scored: Store) -> None:
    table = scored.goals("named")
    assert table.column("phrasings").to_pylist() == [
        ["Make it red", "a red room"],
        ["a green room"],
    ]
    assert table.column("spoken").to_pylist() == [["paint it &ldquo;red&rdquo;."], ["make it red"]]
    assert table.column("texts").to_pylist()[1] == [
        "a photo of a green room",
        "the robot has to a green room!",
    ]
    for name in ("phrasings", "spoken"):
        assert table.schema.field(name).type == pa.list_(pa.string())


def test_a_store_without_these_columns_is_read_from_its_goal_set(scored: Store) -> None:
    new = goal_names(scored, "named")
    name = f"rewards/named/{GOALS}"
    sink = pa.BufferOutputStream()
    pq.write_table(scored.goals("named").drop_columns(["phrasings", "spoken"]), sink)
    scored.folder.write(name, sink.getvalue().to_pybytes())
    small.relist(scored, scored.rewards("named"))
    assert goal_names(scored, "named") == new


def test_the_store_of_format_1_names_its_goals(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden/store-1.0"
    copy = Store.open(str(shutil.copytree(golden, tmp_path / "copy")))
    texts = ["a red room", "a green room", "a blue room"]
    assert goal_names(copy, "binary") == {text: {i} for i, text in enumerate(texts)}
