import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.tasks.source import read_rows, require_split


def test_json_lines_carry_their_place_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"a": 1}\n\n{"a": 2, "b": 3}\n')
    assert list(read_rows(file, ["a"])) == [(f"{file}:1", {"a": 1}), (f"{file}:3", {"a": 2, "b": 3})]


def test_gzipped_lines_are_read_and_a_torn_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b'{"a": 1}\n{"a": 2}\n')
    file.write_bytes(packed)
    assert list(read_rows(file, ["a"])) == [(f"{file}:1", {"a": 1}), (f"{file}:2", {"a": 2})]
    for broken in (packed[:-9], b"not gzip"):
        file.write_bytes(broken)
        with pytest.raises(DataError, match="cannot read the problems"):
            list(read_rows(file, ["a"]))


def test_parquet_reads_the_asked_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [[1, 2], [3]], "b": [4, 5], "c": ["x", "y"]}), file)
    assert list(read_rows(file, ["a", "b"])) == [
        (f"{file}, row 1", {"a": [1, 2], "b": 4}),
        (f"{file}, row 2", {"a": [3], "b": 5}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl:2: the line is not JSON"),
        ("a.jsonl", b"[1]\n", "a.jsonl:1: the line is not a JSON object"),
        ("a.jsonl", b'{"b": 1}\n', "a.jsonl:1: the row has no column 'a'"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1: the line is not JSON"),
        ("a.jsonl", b'{"a": "\xff"}\n', "a.jsonl: cannot read the problems"),
        ("a.parquet", b"PAR1 not really", "a.parquet: not a parquet file"),
        ("a.parquet", b"", "a.parquet: not a parquet file"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        list(read_rows(tmp_path / name, ["a"]))
    assert message in str(error.value)


@pytest.mark.parametrize("columns", [["a"], ["a", "b"]])
def test_parquet_without_the_column(tmp_path: Path, columns: list[str]) -> None:
    pq.write_table(pa.table({"b": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column 'a'"):
        list(read_rows(tmp_path / "a.parquet", columns))


@pytest.mark.parametrize("name", ["none.jsonl", "none.parquet", "folder"])
def test_a_missing_file_or_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name):
        list(read_rows(tmp_path / name, ["a"]))


def test_splits() -> None:
    require_split("train")
    with pytest.raises(ConfigError, match="'test'"):
        require_split("test")
