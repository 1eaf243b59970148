"""The shipped benchmarks: their protocol, and that the files of their authors are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.evals.benchmark import Benchmark, benchmark_names, load_benchmark
from reckon.tasks.registry import TASKS, build_task

DATA = Path(os.environ.get("RECKON_DATA") or Path(__file__).parents[3] / "shared" / "data")

LOCAL = {
    "aime24": ("aime24", 30, {}),
    "amc23": ("amc23", 40, {}),
    "minerva": ("minerva_math", 272, {}),
    "olympiadbench": ("olympiadbench", 675, {}),
    "gsm8k": ("gsm8k", 1319, {}),
    "cmath": ("cmath", 600, {"gold": "answer"}),
}


@pytest.mark.parametrize("name", benchmark_names())
def test_every_benchmark_is_asked_as_r1_was(name: str) -> None:
    found = load_benchmark(name)
    assert (found.temperature, found.top_p, found.max_new_tokens, found.template) == (0.6, 0.95, 32768, "chat")
    assert found.task["kind"] in TASKS
    build_task(found.task)
    assert found.about


def test_the_names() -> None:
    assert benchmark_names() == [
        *("aime24", "aime25", "amc23", "cmath", "gpqa-diamond", "gsm8k", "humaneval"),
        *("math500", "minerva", "olympiadbench"),
    ]
    assert {load_benchmark(name).samples for name in ("aime24", "aime25", "amc23")} == {64}


@pytest.mark.parametrize("name", LOCAL)
def test_the_authors_file_is_read(name: str) -> None:
    folder, rows, settings = LOCAL[name]
    path = DATA / folder / "test.jsonl"
    if not path.exists():
        pytest.skip(f"the data set {folder} is not here (see RECKON_DATA)")
    benchmark = load_benchmark(name)
    problems = build_task({**benchmark.task, "heldout": str(path), **settings}).problems("heldout")
    # A question that is listed twice is one problem.
    assert rows * 0.97 <= len(problems) <= rows
    asked = benchmark.asked(problems)[0]
    assert (asked.id, asked.gold) == (problems[0].id, problems[0].gold)
    assert asked.question.startswith(problems[0].question)
    assert asked.question.rstrip().endswith(("\\boxed{}.", "\\boxed{} 中。"))


def test_braces_in_a_question_are_left_alone() -> None:
    benchmark = Benchmark(task={"kind": "math"}, ask="Solve {question} in \\boxed{}.")
    (asked,) = benchmark.asked([Problem("a", "\\frac{1}{2} {question}", None)])
    assert asked.question == "Solve \\frac{1}{2} {question} in \\boxed{}."


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean aime24"):
        load_benchmark("Aime-24")
    path = tmp_path / "own.yaml"
    path.write_text("task: {kind: math}\nask: Solve it.\n")
    with pytest.raises(ConfigError, match=r"should have \{question\} in it"):
        load_benchmark(str(path))
