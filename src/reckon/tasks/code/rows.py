"""Reading code problems as they are published: HumanEval, APPS, CodeContests, LiveCodeBench, and plain rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reckon.core.errors import DataError
from reckon.core.records import Problem
from reckon.tasks.code.gold import FunctionGold, Gold, ProgramGold
from reckon.tasks.source import read_rows

_FUNCTION = ("prompt", "entry_point", "canonical_solution", "test")
_QUESTION = ("question", "problem", "question_content", "description", "prompt")
_NAME = ("task_id", "problem_id", "question_id", "id", "name")
_TESTS = (
    "tests",
    "input_output",
    "public_test_cases",
    "private_test_cases",
    "public_tests",
    "private_tests",
    "generated_tests",
)
_REFERENCE = ("reference", "canonical_solution", "solutions")

_ASK_FUNCTION = (
    "Write the Python function {name}. Answer with the whole function in one ```python block.\n\n"
    "```python\n{prompt}\n```"
)
_ASK_PROGRAM = (
    "{question}\n\nWrite a Python program that reads standard input and prints the answer. "
    "Answer with the whole program in one ```python block."
)


def read_problems(path: Path) -> list[Problem]:
    """The problems of a ``.parquet`` file or of JSON lines.

    Raises:
        DataError: the file cannot be read, or a row is no problem that can be judged.
    """
    found = [_problem(where, row, number) for number, (where, row) in enumerate(read_rows(path, ()))]
    if not found:
        raise DataError("the file has no problems", where=str(path))
    return found


def _problem(where: str, row: Mapping[str, Any], number: int) -> Problem:
    name = next((row[column] for column in _NAME if row.get(column) is not None), number)
    try:
        question, gold = _function(row) if row.get("entry_point") else _program(row)
        return Problem(f"code:{name}", question, gold.model_dump(mode="json", exclude_none=True))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        what = f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
    except (KeyError, TypeError, ValueError) as error:
        what = str(error)
    raise DataError(f"the row is no code problem ({what})", where=where)


def _function(row: Mapping[str, Any]) -> tuple[str, Gold]:
    missing = [column for column in _FUNCTION if not isinstance(row.get(column), str)]
    if missing:
        raise ValueError(f"a function's row needs the column {missing[0]!r}, a text")
    gold = FunctionGold(
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        reference=row["canonical_solution"],
        tests=row["test"],
        pass_rates=row.get("pass_rates"),
    )
    return _ASK_FUNCTION.format(name=gold.entry_point, prompt=gold.prompt.strip()), gold


def _program(row: Mapping[str, Any]) -> tuple[str, Gold]:
    question = next((row[column] for column in _QUESTION if isinstance(row.get(column), str)), None)
    if question is None:
        raise ValueError(f"it needs a question, in one of the columns {', '.join(_QUESTION)}")
    if row.get("fn_name"):
        raise ValueError("its tests call a function (fn_name): write them as asserts, in HumanEval's columns")
    tests = [pair for column in _TESTS if row.get(column) for pair in _pairs(row[column], column)]
    if row.get("inputs") is not None:
        tests += _pairs(row, "inputs, outputs")
    if not tests:
        raise ValueError("it has no tests")
    gold = ProgramGold(
        tests=tuple(tests),
        reference=_reference(row),
        float_tolerance=row.get("float_tolerance"),
        pass_rates=row.get("pass_rates"),
    )
    return _ASK_PROGRAM.format(question=question.strip()), gold


def _pairs(value: Any, column: str) -> list[tuple[str, str]]:
    """Input and output of each test: from lists of objects, or an object of lists, either of them perhaps JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(
                f"{column} is no JSON. LiveCodeBench packs its private tests as base64, zlib and pickle, which can run "
                "any code: unpack them somewhere safe, into a column 'tests' of objects with 'input' and 'output'"
            ) from None
    if isinstance(value, Mapping):
        if value.get("fn_name"):
            raise ValueError(f"{column} calls a function (fn_name): write it as asserts, in HumanEval's columns")
        inputs = value.get("inputs", value.get("input"))
        outputs = value.get("outputs", value.get("output"))
        if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
            raise ValueError(f"{column} needs as many outputs as inputs, in two lists")
        return [(_text(a), _text(b)) for a, b in zip(inputs, outputs, strict=True)]
    if not isinstance(value, list):
        raise ValueError(f"{column} is no list of tests")
    if any(isinstance(test, Mapping) and test.get("testtype", "stdin") != "stdin" for test in value):
        raise ValueError(f"{column} calls a function (testtype): write it as asserts, in HumanEval's columns")
    return [(_text(test["input"]), _text(test["output"])) for test in value]


def _text(value: Any) -> str:
    """A text; some data sets give its lines."""
    lines = value if isinstance(value, list) else [value]
    if not all(isinstance(line, str) for line in lines):
        raise ValueError("an input or output is no text")
    return "\n".join(lines)


def _reference(row: Mapping[str, Any]) -> str | None:
    found = next((row[column] for column in _REFERENCE if row.get(column)), None)
    if isinstance(found, str) and found.startswith("["):
        with suppress(ValueError, RecursionError):  # no list, but a program that begins so
            found = json.loads(found)
    if isinstance(found, list):
        found = found[0] if found else None
    return found if isinstance(found, str) else None
