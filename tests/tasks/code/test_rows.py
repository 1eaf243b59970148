import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError
from reckon.tasks.code.gold import FunctionGold, ProgramGold, read_gold
from reckon.tasks.code.rows import read_problems

FUNCTION = {
    "task_id": "HumanEval/7",
    "prompt": "def twice(x):\n",
    "entry_point": "twice",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(1) == 2\n",
}
TESTS = (("1\n", "2\n"), ("2\n", "4\n"))
OBJECTS = [{"input": given, "output": output} for given, output in TESTS]
LISTS = {"inputs": [given for given, _ in TESTS], "outputs": [output for _, output in TESTS]}


def read(folder: Path, *rows: dict[str, Any]) -> Any:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_problems(path)


def test_a_function(tmp_path: Path) -> None:
    [problem] = read(tmp_path, FUNCTION)
    assert problem.id == "code:HumanEval/7"
    assert "def twice(x):" in problem.question
    assert "candidate" not in problem.question
    assert "2 * x" not in problem.question
    gold = read_gold(problem.gold)
    assert isinstance(gold, FunctionGold)
    assert gold.prompt + gold.reference == "def twice(x):\n    return 2 * x\n"
    assert json.loads(json.dumps(problem.gold)) == problem.gold


@pytest.mark.parametrize(
    "row",
    [
        {"id": 3, "question": "Double it.", "tests": OBJECTS},
        {"id": 3, "question": "Double it.", "tests": json.dumps(OBJECTS)},
        {"id": 3, "prompt": "Double it.", **LISTS},
        {"problem_id": 3, "question": "Double it.", "input_output": json.dumps(LISTS), "solutions": '["print()"]'},
        {"problem_id": 3, "question": "Double it.", "input_output": LISTS},
        {"id": 3, "question": "Double it.", "tests": {"inputs": [["1", ""], ["2", ""]], "outputs": [["2", ""], "4\n"]}},
        {
            "name": 3,
            "description": "Double it.",
            "public_tests": {"input": ["1\n"], "output": ["2\n"]},
            "private_tests": {"input": ["2\n"], "output": ["4\n"]},
            "generated_tests": {"input": [], "output": []},
            "solutions": {"language": [3], "solution": ["print()"]},
        },
        {
            "question_id": 3,
            "question_content": "Double it.",
            "public_test_cases": json.dumps([{**OBJECTS[0], "testtype": "stdin"}]),
            "private_test_cases": json.dumps([{**OBJECTS[1], "testtype": "stdin"}]),
        },
    ],
)
def test_programs_in_all_their_layouts(tmp_path: Path, row: dict[str, Any]) -> None:
    [problem] = read(tmp_path, row)
    assert problem.id == "code:3"
    assert problem.question.startswith("Double it.")
    gold = read_gold(problem.gold)
    assert isinstance(gold, ProgramGold)
    assert gold.tests == TESTS


def test_the_reference_and_other_columns(tmp_path: Path) -> None:
    more = {"solutions": ["print(1)", "print(2)"], "float_tolerance": 1e-6, "pass_rates": [0.5, 1]}
    [problem] = read(tmp_path, {"id": 1, "question": "?", "tests": OBJECTS, **more})
    gold = read_gold(problem.gold)
    assert isinstance(gold, ProgramGold)
    assert (gold.reference, gold.float_tolerance, gold.pass_rates) == ("print(1)", 1e-6, (0.5, 1.0))


@pytest.mark.parametrize("program", ["[print(i) for i in range(3)]", "[1, 2]; print(input())"])
def test_a_reference_may_begin_like_a_list(tmp_path: Path, program: str) -> None:
    [problem] = read(tmp_path, {"id": 1, "question": "?", "tests": OBJECTS, "reference": program})
    assert problem.gold["reference"] == program


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    path = tmp_path / "rows.parquet"
    rows = [{"id": 1, "question": "?", "tests": OBJECTS, "unknown": 1.5}, {"id": 2, "question": "?", "tests": OBJECTS}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert [read_gold(problem.gold).tests for problem in read_problems(path)] == [TESTS, TESTS]
    path.write_text("no")
    with pytest.raises(DataError, match="parquet"):
        read_problems(path)


BLOB = base64.b64encode(zlib.compress(b"a pickle")).decode()


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"question": "?", "private_test_cases": BLOB}, "base64, zlib and pickle, which can run any code"),
        ({"question": "?", "public_test_cases": json.dumps(OBJECTS), "private_test_cases": BLOB}, "pickle"),
        ({"question": "?", "tests": [{"input": "[1]", "output": "2", "testtype": "functional"}]}, "calls a function"),
        ({"question": "?", "input_output": {**LISTS, "fn_name": "f"}}, "calls a function"),
        ({"question": "?"}, "no tests"),
        ({"question": "?", "tests": []}, "no tests"),
        ({"question": "?", "tests": 5}, "no list of tests"),
        ({"question": "?", "tests": [{"input": "1"}]}, "output"),
        ({"question": "?", "tests": [{"input": 1, "output": 2}]}, "no text"),
        ({"question": "?", "inputs": ["1"], "outputs": []}, "as many outputs as inputs"),
        ({"question": "?", "inputs": ["1"]}, "as many outputs as inputs"),
        ({"tests": OBJECTS}, "needs a question"),
        ({"question": "?", "tests": OBJECTS, "float_tolerance": -1}, "float_tolerance"),
        ({"question": "?", "tests": OBJECTS, "pass_rates": ["x"]}, "pass_rates"),
        ({**FUNCTION, "test": None}, "'test'"),
        ({key: value for key, value in FUNCTION.items() if key != "canonical_solution"}, "'canonical_solution'"),
    ],
)
def test_rows_that_are_no_problems(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: the row is no code problem") as error:
        read(tmp_path, FUNCTION, row)
    assert why in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no problems"):
        read(tmp_path)
    for name in ("none.jsonl", "none.parquet"):
        with pytest.raises(DataError, match="none"):
            read_problems(tmp_path / name)
