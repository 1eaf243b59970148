"""The command on files as people have them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from reckon.cli import verify
from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Verdict
from reckon.tasks import verifiers

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

app = typer.Typer()
app.command()(verify.command)

ROWS = [
    {"gold": "1/2", "response": r"So \boxed{\frac12}."},
    {"gold": "4", "response": r"So \boxed{5}."},
    {"gold": 4, "response": "I do not know."},
]


def written(tmp_path: Path, rows: list[Any]) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def reckon_verify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def output(*arguments: str | Path) -> str:
    result = reckon_verify(*arguments)
    assert result.exit_code == 0, result.exception
    return result.stdout


def lines(*arguments: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output(*arguments, "--json").splitlines()]


def test_json_is_one_line_per_row_in_order(tmp_path: Path) -> None:
    found = lines(written(tmp_path, ROWS), "--verifier", "boxed")
    assert [list(line) for line in found] == [["score", "reason", "extracted", "seconds"]] * 3
    assert [(line["score"], line["reason"], line["extracted"]) for line in found] == [
        (1, "correct", r"\frac12"),
        (0, "wrong", "5"),
        (0, "no answer", None),
    ]
    assert all(isinstance(line["score"], int) and 0 < line["seconds"] < 1 for line in found)


def test_ours_is_the_default(tmp_path: Path) -> None:
    found = lines(written(tmp_path, [*ROWS, {"gold": "???", "response": r"\boxed{1}"}]))
    assert [(line["score"], line["reason"]) for line in found] == [
        (1, "correct"),
        (0, "wrong"),
        (0, "no answer"),
        (None, "unparsable gold"),
    ]


@pytest.mark.parametrize("gold", ["1e400", "-1e400", "NaN", "Infinity"])
def test_a_gold_that_is_no_finite_number_is_no_gold(tmp_path: Path, gold: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f'{{"gold": {gold}, "response": "\\\\boxed{{1}}"}}\n')
    assert [(line["score"], line["reason"]) for line in lines(file)] == [(None, "unparsable gold")]


def test_a_list_of_responses_is_a_row_each(tmp_path: Path) -> None:
    file = written(
        tmp_path, [{"a": "2", "r": [r"\boxed{2}", r"\boxed{3}"], "ok": [True, 1]}, {"a": "2", "r": "", "ok": 0}]
    )
    keys = ["--gold-key", "a", "--response-key", "r", "--verifier", "boxed"]
    assert [line["score"] for line in lines(file, *keys)] == [1, 0, 0]
    assert [(line["score"], line["label"]) for line in lines(file, *keys, "--label-key", "ok")] == [
        (1, True),
        (0, True),
        (0, False),
    ]
    text = output(file, *keys, "--label-key", "ok")
    assert "boxed agrees with 2 of 3 labels: 0 labelled wrong count as right, 1 labelled right count as wrong" in text
    assert re.search(r"rows.jsonl:1, response 2\n  gold   2\n  label  right\n  boxed  wrong: 3\n", text)


def test_the_table_counts_reasons_and_names_the_slowest(tmp_path: Path) -> None:
    text = output(written(tmp_path, ROWS), "--verifier", "boxed")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert sorted(row[:4] for row in cells) == [
        ["correct", "1", "1", "33.3%"],
        ["no answer", "0", "1", "33.3%"],
        ["wrong", "0", "1", "33.3%"],
    ]
    assert all(0 <= float(row[4]) <= float(row[5]) < 1 for row in cells)
    assert re.search(r"1 right, 2 wrong, 0 not judged; the slowest is .*rows.jsonl:[123]\n", text)


def test_two_verifiers_side_by_side(tmp_path: Path) -> None:
    file = written(
        tmp_path, [*ROWS, {"gold": "0.5", "response": r"\boxed{0.50}"}, {"gold": "7", "response": "It is 7."}]
    )
    text = output(file, "--verifier", "boxed", "--against", "math-verify")
    assert "boxed and math-verify agree on 3 of 5 rows: 0 are right to boxed only, 2 to math-verify only" in text
    assert re.search(r"rows.jsonl:4\n  gold         0.5\n  boxed        wrong: 0.50\n  math-verify  correct: ", text)
    assert re.search(r"rows.jsonl:5\n  gold         7\n  boxed        no answer\n  math-verify  correct: 7\n", text)
    found = lines(file, "--verifier", "boxed", "--against", "math-verify")
    assert [(line["score"], line["against"]["score"]) for line in found] == [(1, 1), (0, 0), (0, 0), (0, 1), (0, 1)]
    assert list(found[0]["against"]) == ["score", "reason", "extracted", "seconds"]


@pytest.mark.parametrize("kinds", [True, False])
def test_parquet_is_read_with_its_kinds_if_it_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: bool
) -> None:
    seen: list[Any] = []

    def judge(items: Any) -> list[Verdict]:
        seen.extend(items)
        return [Verdict(None, "crashed") for _ in items]

    monkeypatch.setitem(verifiers.VERIFIERS, "exact", judge)
    table = {"gold": ["1", "2"], "response": [["a", "b"], ["c"]], **({"kind": ["choice", None]} if kinds else {})}
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    found = lines(tmp_path / "rows.parquet", "--verifier", "exact")
    kind = "choice" if kinds else None
    assert seen == [("a", "1", kind), ("b", "1", kind), ("c", "2", None)]
    assert [line["score"] for line in found] == [None] * 3
    text = output(tmp_path / "rows.parquet", "--verifier", "exact")
    assert "absent" in text
    assert "0 right, 0 wrong, 3 not judged" in text


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_field_of_a_column_is_named_with_a_dot(tmp_path: Path, kind: str) -> None:
    rows = [{"reward_model": {"ground_truth": "2"}, "a.b": r"\boxed{2}"}]
    file = written(tmp_path, rows)
    if kind == "parquet":
        file = tmp_path / "rows.parquet"
        pq.write_table(pa.Table.from_pylist(rows), file)
    keys = ["--response-key", "a.b", "--verifier", "boxed", "--gold-key"]
    assert [line["score"] for line in lines(file, *keys, "reward_model.ground_truth")] == [1]
    for missing in ("reward_model.gold", "a.b.c", "ground_truth"):
        error = reckon_verify(file, *keys, missing).exception
        assert isinstance(error, DataError)
        assert f"the row has no column {missing!r} (it has: reward_model, a.b)" in str(error)
    assert "holds {'ground_truth': '2'}, which is no text" in str(reckon_verify(file, *keys, "reward_model").exception)


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;title\x07\x1b[2J[red]\u202e:skull: \ud800\n" + "x" * 500
    rows = [{"gold": evil, "response": rf"\boxed{{{evil}}}", "ok": False}]
    file = written(tmp_path, rows)
    text = output(file, "--verifier", "boxed", "--against", "exact", "--label-key", "ok")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    assert "[red]:skull:" in text  # neither markup nor a picture
    assert max(map(len, text.splitlines())) < 200
    assert lines(file, "--verifier", "boxed")[0]["extracted"] == evil  # JSON says it as it is, escaped


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", [], "rows.jsonl: there is no row to grade"),
        ("\n\n", [], "rows.jsonl: there is no row to grade"),
        ('{"gold": "1", "response": []}\n', [], "rows.jsonl: there is no row to grade"),
        ('{"gold": "1", "response": "1"}\n{"gold": "1"}\n', [], "rows.jsonl:2: the row has no column 'response'"),
        ('{"response": "1"}\n', [], "rows.jsonl:1: the row has no column 'gold'"),
        ('{"gold": null, "response": "1"}\n', [], "rows.jsonl:1: the column 'gold' holds None, which is no text"),
        ('{"gold": true, "response": "1"}\n', [], "rows.jsonl:1: the column 'gold' holds True, which is no text"),
        ('{"gold": "1", "response": null}\n', [], "rows.jsonl:1: the column 'response' holds None"),
        ('{"gold": "1", "response": ["1", {}]}\n', [], "rows.jsonl:1, response 2: the column 'response' holds {}"),
        ('{"gold": "1", "response": "1", "kind": 3}\n', [], "rows.jsonl:1: the column 'kind' holds 3"),
        ('{"gold": "1", "response": "1"}\nnot json\n', [], "rows.jsonl:2: the line is not JSON"),
        ('{"gold": "1", "response": "1"}\n', ["--gold-key", "answer"], "rows.jsonl:1: the row has no column 'answer'"),
        ('{"gold": "1", "response": "1"}\n', ["--label-key", "ok"], "rows.jsonl:1: the row has no column 'ok'"),
        ('{"gold": "1", "response": "1", "ok": "yes"}\n', ["--label-key", "ok"], "holds 'yes', which is no label"),
        (
            '{"gold": "1", "response": ["1"], "ok": true}\n',
            ["--label-key", "ok"],
            "not hold one label for each response",
        ),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: str, options: list[str], message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    result = reckon_verify(file, "--verifier", "exact", "--json", *options)
    assert isinstance(result.exception, DataError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    missing = reckon_verify(tmp_path / "none.jsonl")
    assert isinstance(missing.exception, DataError)
    assert "none.jsonl: there is no such file" in str(missing.exception)
    folder = reckon_verify(tmp_path)
    assert isinstance(folder.exception, DataError)
    assert "this is a folder" in str(folder.exception)
    (tmp_path / "rows.parquet").write_bytes(b"no parquet")
    assert isinstance(reckon_verify(tmp_path / "rows.parquet").exception, DataError)
    for options in (["--verifier", "maths"], ["--verifier", "boxed", "--against", "boxed"]):
        assert isinstance(reckon_verify(written(tmp_path, ROWS), *options).exception, ConfigError)


def test_the_labelled_cases_are_graded_without_a_crash(tmp_path: Path) -> None:
    path = DATA / "verifier_cases" / "cases.jsonl"
    if not path.exists():
        pytest.skip(f"no {path}: set RECKON_DATA")
    found = lines(path, "--verifier", "boxed", "--response-key", "answer", "--label-key", "expect")
    assert len(found) == len(path.read_text(encoding="utf-8").splitlines())
    agree = sum((line["score"] == 1) == line["label"] for line in found)
    assert 0.5 < agree / len(found) < 0.7  # comparing strings is not enough
