"""The label table: what is written is read, and what is no label is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import LabelError
from schemas.labels import Labels, read_labels, write_labels

ODD = 'open "it", <script>alert(1)</script>\nفتح 🚪'
ROWS = [
    ("train/0/2", 0, "open", True),
    ("train/0/10", 7, ODD, False),
    ("train/0/2", 3, "open", False),
]


def written(folder: Path, text: str) -> str:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    labels = Labels.of_rows(ROWS)
    write_labels(labels, str(tmp_path / f"labels.{ending}"))
    found = read_labels(str(tmp_path / f"labels.{ending}"))
    assert sorted(found) == sorted(ROWS)
    assert found.sha256 == labels.sha256 == Labels.of_rows(ROWS[::-1]).sha256


def test_words_of_people_and_of_pandas(tmp_path: Path) -> None:
    said = ["yes", "No", " TRUE ", "0", "1.0", "skip", "", "n"]
    rows = "".join(f"e,{step},g,{label}\n" for step, label in enumerate(said))
    found = read_labels(written(tmp_path, "episode_id,step,goal_id,label\n" + rows))
    assert dict(zip(found.step.tolist(), found.label.tolist(), strict=True)) == {
        **{0: True, 1: False, 2: True},
        **{3: False, 4: True, 7: False},
    }


@pytest.mark.parametrize("label", [[True, None], [1, 0], [1.0, 0.0], ["yes", "no"]])
def test_parquet_of_pandas(tmp_path: Path, label: list[object]) -> None:
    frame = pd.DataFrame(
        {"note": ["a", "b"], "label": label, "goal_id": "g", "step": [3.0, 4.0], "episode_id": "e"}
    )
    frame["goal_id"] = frame["goal_id"].astype("category")
    frame.to_parquet(tmp_path / "labels.parquet")
    found = read_labels(str(tmp_path / "labels.parquet"))
    assert ("e", 3, "g", True) in list(found)


def test_ids_that_are_whole_numbers_begin_with_0(tmp_path: Path) -> None:
    frame = pd.DataFrame({"episode_id": [0, 1], "step": [0, 1], "goal_id": [0, 0], "label": True})
    frame.to_parquet(tmp_path / "labels.parquet")
    found = read_labels(str(tmp_path / "labels.parquet"))
    assert list(found) == [("0", 0, "0", True), ("1", 1, "0", True)]
    frame["goal_id"] = ["", None]
    frame.to_parquet(tmp_path / "labels.parquet")
    with pytest.raises(LabelError, match=r"row 1: expected an .* an empty one; row 2: .* an empty"):
        read_labels(str(tmp_path / "labels.parquet"))


def test_repeated_labels_are_one_and_contradictions_are_none() -> None:
    found = Labels.of_rows([*ROWS, ROWS[0], ("train/0/2", 3, "open", True)])
    assert sorted(found) == sorted(ROWS[:2])
    assert found.contradictory == ("train/0/2 step 3, open",)


def test_selected_rows_keep_their_order() -> None:
    labels = Labels.of_rows(ROWS)
    assert list(labels.select(labels.label)) == [ROWS[0]]
    assert len(labels.select(np.array([], int))) == 0


def test_no_label_at_all(tmp_path: Path) -> None:
    assert len(read_labels(written(tmp_path, "episode_id,step,goal_id,label\n"))) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("episode_id,step,label\ne,1,yes\n", "missing or repeated: goal_id"),
        ("episode_id,step,goal_id,label,label\ne,1,g,yes,no\n", "missing or repeated: label"),
        ("episode_id,step,goal_id,label\ne,1,g,perhaps\n", "row 1: label: expected yes or no"),
        ("episode_id,step,goal_id,label\ne,1,g,yes\ne,-1,g,yes\n", "row 2: step: expected a whole"),
        ("episode_id,step,goal_id,label\ne,1.5,g,yes\n", "step: expected a whole"),
        ("episode_id,step,goal_id,label\n,1,g,yes\n", "got an empty one"),
        ("episode_id,step,goal_id,label\ne,1\n", "cannot be read"),
        (
            "episode_id, step,goal_id ,label\ne,1,g,yes\n",
            "step, goal_id; got 'episode_id', ' step', 'goal_id ', 'label'; leave out the spaces",
        ),
        ("episode_id,step,goal,label\ne,1,g,yes\n", "got 'episode_id', 'step', 'goal', 'label'$"),
        ("", "cannot be read"),
    ],
)
def test_what_is_no_label_table_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(LabelError, match=said):
        read_labels(written(tmp_path, text))


def test_many_problems_are_counted(tmp_path: Path) -> None:
    text = "episode_id,step,goal_id,label\n" + "e,1,g,maybe\n" * 12
    with pytest.raises(LabelError, match=r"row 5: .*; and 7 more"):
        read_labels(written(tmp_path, text))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"ends in \.csv or \.parquet"):
        read_labels(str(tmp_path / "labels.pkl"))
    with pytest.raises(LabelError, match="no such file"):
        read_labels(str(tmp_path / "labels.csv"))
    (tmp_path / "labels.parquet").write_bytes(b"PAR1")
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(str(tmp_path / "labels.parquet"))
    pq.write_table(pa.table({"label": [True]}), tmp_path / "labels.parquet")
    with pytest.raises(LabelError, match="missing or repeated: episode_id, step, goal_id"):
        read_labels(str(tmp_path / "labels.parquet"))
