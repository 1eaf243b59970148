from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.tasks.math.rows import GOLD_COLUMNS, column, gold_text, rows

ROWS: list[dict[str, Any]] = [{"problem": "1 + 1?", "answer": "2"}, {"problem": "2 + 2?", "answer": "4"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("18", "18"),
        (27.0, "27"),
        (0.5, "0.5"),
        (7, "7"),
        (["2", "3"], "2, 3"),
        (None, ""),
        (float("inf"), ""),
        (float("nan"), ""),
        ("48 / 2 = 24\n#### 24", "24"),
        ("So it is $\\boxed{1.6} \\mathrm{~cm}$.", "1.6"),
        ("So it is $\\boxed{}$.", ""),
    ],
)
def test_golds(value: Any, text: str) -> None:
    assert gold_text(value) == text


def test_json_lines_a_json_list_and_parquet_hold_the_same(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.json", "a.parquet"):
        assert [row for _, row in rows(str(tmp_path / name))] == ROWS


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "{}"), ("a.json", "[1]"), ("a.json", "["), ("a.parquet", "no"), ("a.jsonl", "[]")]
)
def test_files_that_hold_something_else(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=name):
        list(rows(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        list(rows(str(tmp_path / name)))


@pytest.mark.parametrize("source", ["a.csv", "owner", "owner/name", ""])
def test_sources_of_no_known_kind(source: str) -> None:
    with pytest.raises(ConfigError, match="not a source"):
        rows(source)


def test_columns() -> None:
    row = {"question": "?", "final_answer": ["2"], "solution": "..."}
    assert column(row, None, GOLD_COLUMNS, "here") == "final_answer"
    assert column(row, "solution", GOLD_COLUMNS, "here") == "solution"
    with pytest.raises(DataError, match="has no column 'gold'"):
        column(row, "gold", GOLD_COLUMNS, "here")
    with pytest.raises(DataError, match="of the names known"):
        column({"a": 1}, None, GOLD_COLUMNS, "here")
