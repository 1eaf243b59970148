from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckon.core.errors import DataError
from reckon.data.rows import rows_of


def values(source: Path | str) -> list[Any]:
    return [row["a"] for _, row in rows_of(str(source))]


def lines(path: Path, *found: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"a": value}) + "\n" for value in found))
    return path


def test_a_file_of_each_kind(tmp_path: Path) -> None:
    assert values(lines(tmp_path / "a.jsonl", 1, 2)) == [1, 2]
    assert values(lines(tmp_path / "lines.json", 1, 2)) == [1, 2]
    (tmp_path / "array.json").write_text('\n [{"a": 1},\n {"a": 2}]')
    assert list(rows_of(str(tmp_path / "array.json"))) == [
        (f"{tmp_path / 'array.json'}, row 1", {"a": 1}),
        (f"{tmp_path / 'array.json'}, row 2", {"a": 2}),
    ]
    pq.write_table(pa.table({"a": [1, 2], "b": [["x"], []]}), tmp_path / "a.parquet")
    assert [row for _, row in rows_of(str(tmp_path / "a.parquet"))] == [{"a": 1, "b": ["x"]}, {"a": 2, "b": []}]


def test_a_folder_gives_its_training_files_and_nothing_else(tmp_path: Path) -> None:
    lines(tmp_path / "README.md", 9)
    lines(tmp_path / "test.jsonl", 8)
    lines(tmp_path / "data" / "test-00000-of-00001.jsonl", 7)
    for part in (1, 0):
        (tmp_path / "data").mkdir(exist_ok=True)
        table = pa.table({"a": [part]})
        pq.write_table(table, tmp_path / "data" / f"train-0000{part}-of-00002.parquet")
    assert values(tmp_path) == [0, 1]
    lines(tmp_path / "train.jsonl", 5)
    assert values(tmp_path) == [5, 0, 1]


def test_a_folder_with_a_single_file_gives_that(tmp_path: Path) -> None:
    lines(tmp_path / "README.md", 9)
    lines(tmp_path / "limo.jsonl", 5)
    assert values(tmp_path) == [5]


def test_a_folder_that_leaves_a_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it has: no data file"):
        values(tmp_path)
    lines(tmp_path / "data.jsonl", 1)
    lines(tmp_path / "dropped.jsonl", 2)
    with pytest.raises(DataError, match=r"it has: data\.jsonl, dropped\.jsonl\).* Give the file itself"):
        values(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.zst", b"", r"a\.jsonl\.zst: only \.jsonl, \.json, \.parquet files.* zstd -d a\.jsonl\.zst"),
        ("train.json.zst", b"", "zstd -d"),
        ("a.csv", b"a,b", "Convert the file"),
        ("a.json", b'[{"a": 1}, {]', r"a\.json: the file is not JSON"),
        ("a.json", b"[1]", r"a\.json, row 1: the row is not a JSON object"),
        ("a.json", b'["\xff"]', r"a\.json: the file is not JSON"),
        ("a.json", b"[" * 100_000, r"a\.json: the file is not JSON"),
        ("a.jsonl", b'{"a": 1}\n{\n', r"a\.jsonl:2: the line is not JSON"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet: not a parquet file"),
        ("a.parquet", b"", r"a\.parquet: not a parquet file"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        values(tmp_path / name)


def test_a_folder_of_packed_files_says_how_to_unpack_them(tmp_path: Path) -> None:
    (tmp_path / "am_0.5M.jsonl.zst").write_bytes(b"")
    with pytest.raises(DataError, match="zstd -d"):
        values(tmp_path)


def test_the_hub_is_asked_for_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> list[dict[str, int]]:
        asked.append((name, config, split))
        if name == "no/where":
            raise FileNotFoundError("no such data set")
        return [{"a": 3}]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.chdir(tmp_path)
    assert list(rows_of("some/data")) == [("some/data, row 1", {"a": 3})]
    assert list(rows_of("some/data:main")) == [("some/data, row 1", {"a": 3})]
    assert asked == [("some/data", None, "train"), ("some/data", "main", "train")]
    with pytest.raises(DataError, match=r"no/where: cannot fetch .*no such data set"):
        values("no/where")
    (tmp_path / "some").mkdir()
    for name in ("some/data", "absent.jsonl", "a/b/c.jsonl"):
        with pytest.raises(DataError, match="there is no such file or folder"):
            values(name)
    assert len(asked) == 3
