import json
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError
from reckon.core.store import read_jsonl, write_jsonl
from reckon.data.curate.filters import Correct, Score
from reckon.data.curate.mixture import Mix
from reckon.data.curate.preferences import Labels, Pairs
from reckon.data.curate.problems import Cap, Dedup
from reckon.stages.curate import curate

Row = dict[str, Any]


def sample(name: str, **columns: Any) -> Row:
    return {
        "id": name,
        "task": "countdown",
        "problem": name.partition("-")[0],
        "question": "Make 24 from 3, 8, 1.",
        "gold": '{"target": 24}',
        "prompt": "User: ...",
        "response": f"response {name}",
        "score": 1.0,
        "reason": "correct",
        "extracted": None,
        "finish": "stop",
        "tokens": 5,
        "model": "zero",
        "sample": 0,
        **columns,
    }


def written(tmp_path: Path, name: str, *rows: Row) -> Path:
    path = tmp_path / f"{name}.jsonl"
    write_jsonl(path, rows)
    return path


def test_what_is_left_what_is_not_and_the_ledger(tmp_path: Path) -> None:
    zero = written(tmp_path, "zero", sample("a-1"), sample("a-2", score=0), sample("b-1", response="response b-2"))
    shots = written(tmp_path, "shots", sample("b-2", task="general"), sample("b-3", response="response b-2"))
    out = tmp_path / "out"
    figures = curate({"zero": zero, "shots": shots}, (Correct(), Dedup()), 0, out)
    assert figures == {"read": 5, "rows": 3, "dropped": 2}

    data = read_jsonl(out / "data.jsonl")
    assert [row["id"] for row in data] == ["zero/a-1", "zero/b-1", "shots/b-2"]
    assert [row["source"] for row in data] == ["zero", "zero", "shots"]
    assert data[0]["messages"] == [
        {"role": "user", "content": "Make 24 from 3, 8, 1."},
        {"role": "assistant", "content": "response a-1"},
    ]
    dropped = [(row["id"], row["dropped_by"], row["why"], row["match"]) for row in read_jsonl(out / "dropped.jsonl")]
    assert dropped == [("zero/a-2", "correct", "wrong", None), ("shots/b-3", "dedup", "said before", "zero/b-1")]
    assert json.loads((out / "ledger.json").read_text()) == {
        "inputs": {"zero": {"in": 3, "out": 2}, "shots": {"in": 2, "out": 1}},
        "tasks": {"countdown": {"in": 4, "out": 2}, "general": {"in": 1, "out": 1}},
        "operations": [
            {"operation": "correct", "in": 5, "out": 4, "dropped": {"wrong": 1}},
            {"operation": "dedup", "in": 4, "out": 3, "dropped": {"said before": 1}},
        ],
    }


def test_a_file_alone_keeps_its_ids_and_doing_it_again_changes_no_byte(tmp_path: Path) -> None:
    path = written(tmp_path, "zero", *(sample(f"{n % 5}-{n}") for n in range(40)))
    contents = []
    for _ in range(2):
        curate({"zero": path}, (Cap(max=2),), 3, tmp_path / "out")
        contents.append(
            [(tmp_path / "out" / name).read_bytes() for name in ("data.jsonl", "dropped.jsonl", "ledger.json")]
        )
    assert contents[0] == contents[1]
    rows = read_jsonl(tmp_path / "out" / "data.jsonl")
    assert len(rows) == 10
    assert all("/" not in row["id"] for row in rows)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["data.jsonl", "dropped.jsonl", "ledger.json"]


def test_rows_of_unlike_files_get_the_same_columns(tmp_path: Path) -> None:
    plain = {"id": "x", "task": "own", "problem": "x", "question": "q", "response": "r", "score": 1, "level": 3}
    inputs = {"zero": written(tmp_path, "zero", sample("a-1")), "own": written(tmp_path, "own", plain)}
    curate(inputs, (Score(min=1),), 0, tmp_path / "out")
    first, second = read_jsonl(tmp_path / "out" / "data.jsonl")
    assert list(first) == list(second)
    assert (first["level"], second["level"], second["tokens"]) == (None, 3, None)
    assert isinstance(second["score"], float)


def test_datasets_opens_what_a_stage_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    path = written(tmp_path, "zero", sample("a-1", score=1), sample("a-2", score=0.5), sample("a-3", score=None))
    for name, operation in (("data", Score(min=0.1)), ("pairs", Pairs()), ("labels", Labels(threshold=1))):
        curate({"zero": path}, (operation,), 0, tmp_path / name)
        for file in ("data.jsonl", "dropped.jsonl"):
            rows = datasets.load_dataset(
                "json", data_files=str(tmp_path / name / file), split="train", cache_dir=str(tmp_path / "cache")
            )
            assert rows.to_list() == list(read_jsonl(tmp_path / name / file))


def test_a_data_file_can_be_curated_again(tmp_path: Path) -> None:
    path = written(tmp_path, "zero", sample("a-1"), sample("a-2", score=0.0))
    curate({"zero": path}, (Score(min=0),), 0, tmp_path / "once")
    curate({"once": tmp_path / "once" / "data.jsonl"}, (Pairs(),), 0, tmp_path / "twice")
    [pair] = read_jsonl(tmp_path / "twice" / "data.jsonl")
    assert (pair["chosen"], pair["rejected"]) == ("response a-1", "response a-2")
    assert "messages" not in pair


def test_a_curation_that_keeps_nothing_shows_its_ledger(tmp_path: Path) -> None:
    path = written(tmp_path, "zero", sample("a-1"), sample("a-2", score=0.0))
    with pytest.raises(DataError) as error:
        curate({"zero": path}, (Correct(), Mix(shares={"zero": 3, "general": 1})), 0, tmp_path / "out")
    assert "no row of 2 is left" in str(error.value)
    assert "correct: 2 in, 1 out; dropped: 1 wrong" in str(error.value)
    assert "mix: 1 in, 0 out; dropped: 1 no general to mix it with" in str(error.value)
    assert [row["why"] for row in read_jsonl(tmp_path / "out" / "dropped.jsonl")] == [
        "wrong",
        "no general to mix it with",
    ]
    assert (tmp_path / "out" / "ledger.json").exists()
    assert not (tmp_path / "out" / "data.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": None}, r"zero\.jsonl, row 2: 'question' cannot be null"),
        ({"score": "1"}, r"'score' cannot be \"1\""),
        ({"score": True}, r"'score' cannot be true"),
        ({"score": float("inf")}, r"'score' cannot be Infinity"),
        ({"tokens": 1.5}, r"'tokens' cannot be 1\.5"),
        ({"finish": 1}, r"'finish' cannot be 1"),
        ({"id": "a-1"}, r"the id 'a-1' occurs more than once"),
    ],
)
def test_rows_that_are_not_what_they_should_be(tmp_path: Path, change: Row, message: str) -> None:
    path = tmp_path / "zero.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (sample("a-1"), sample("a-2") | change)))
    with pytest.raises(DataError, match=message):
        curate({"zero": path}, (Correct(),), 0, tmp_path / "out")


def test_files_without_rows_or_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"empty\.jsonl: there are no rows"):
        curate({"empty": written(tmp_path, "empty")}, (Correct(),), 0, tmp_path / "out")
    with pytest.raises(DataError, match="no column 'task'"):
        curate({"odd": written(tmp_path, "odd", {"id": "a"})}, (Correct(),), 0, tmp_path / "out")
    with pytest.raises(DataError, match="cannot read"):
        curate({"none": tmp_path / "none.jsonl"}, (Correct(),), 0, tmp_path / "out")
