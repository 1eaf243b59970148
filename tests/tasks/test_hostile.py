"""A sample of the texts that every verifier has to stand; ``python -m tests.tasks.hostile`` tries them in earnest."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reckon.core.records import Problem, Verdict
from reckon.tasks.base import Task
from reckon.tasks.registry import TASKS
from reckon.tasks.verifiers import VERIFIERS
from tests.tasks import oracles
from tests.tasks.hostile import BARE, Target, fuzz, missing, numbers, targets, texts
from tests.tasks.hostile_texts import PIECES, damaged, random_text

NAMES = [*sorted({*VERIFIERS, *TASKS} - {"mix", "reasoning_gym"}), "math task", "reasoning_gym chain_sum"]
FEWER = {"code": 8, "instructions": 2, "math-verify": 4}
"""Verdicts of these take so long that only one text in so many is tried."""

SEVEN = Problem("seven", "?", "7391")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_do_no_harm(name: str, tmp_path: Path) -> None:
    absent = missing()
    if name.split()[0] in absent:
        pytest.skip(absent[name.split()[0]])
    fewer = FEWER.get(name, 1)
    found = fuzz(targets(tmp_path)[name](), {"random": 400 // fewer, "damaged": 200 // fewer})
    assert found["faults"] == []
    # A random letter is now and then the right one.
    assert found["right"]["random"] == 0 or name in ("choice", "math-verify")
    # Some changes leave the answer as it is: were none right, the others would show nothing.
    assert found["right"]["damaged"] > 10 // fewer


def test_every_task_is_tried(tmp_path: Path) -> None:
    tried = {name.split()[0] for name in targets(tmp_path)}
    assert set(VERIFIERS) | set(TASKS) - {"mix"} == tried


def test_texts_follow_from_the_seed_and_are_of_every_kind() -> None:
    def made(seed: int) -> list[str]:
        rng = random.Random(seed)
        return [random_text(rng) for _ in range(300)]

    found = made(1)
    assert found == made(1) != made(2)
    everything = "".join(found)
    assert all(piece in everything for piece in PIECES)
    assert "\ufffd" in everything
    assert "\x93" in everything
    assert max(map(len, found)) > 1000


def test_damage_is_small_and_mostly_changes_the_text() -> None:
    rng, text = random.Random(3), "<think> three and four </think> <answer> 7391 </answer>"
    found = [damaged(rng, text) for _ in range(500)]
    assert sum(one != text for one in found) > 400
    assert sum("7391" in one for one in found) > 100
    assert sum("</answer>" not in one for one in found) > 20
    assert damaged(rng, "") is not None


# --------------------------------------------------------------------------------------- what a fault looks like


class _Broken(Task):
    """Answers as it is told to."""

    kind = "broken"

    def __init__(self, says: Verdict | Exception) -> None:
        super().__init__()
        self.says = says

    def problems(self, split: str) -> list[Problem]:
        return [SEVEN]

    def verify(self, problem: Problem, response: str) -> Verdict:
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


def _found(says: Verdict | Exception, **settings: Any) -> dict[str, Any]:
    target = Target("broken", _Broken(says).verify_all, [(SEVEN, ["\\boxed{7391}"])], oracles.number)
    return fuzz(replace(target, **settings), {"random": 50, "damaged": 20})


def test_what_believes_everything_is_found_out() -> None:
    found = _found(Verdict(1.0, "correct"))
    assert found["right"] == {"random": 50, "damaged": 20}
    wrong = [fault for fault in found["faults"] if fault["fault"] == "scored right and is wrong"]
    assert {fault["kind"] for fault in wrong} == {"random", "damaged"}
    assert len(wrong) + found["unsure"] < 70
    assert _found(Verdict(1.0, "correct"), ours=False)["faults"] == []
    assert _found(Verdict(0.0, "wrong"))["faults"] == []


def test_what_raises_or_cannot_judge_is_found_out() -> None:
    raised = _found(RecursionError("too deep"))["faults"]
    assert {fault["fault"] for fault in raised[:70]} == {"raised"}
    assert "RecursionError: too deep" in raised[0]["reason"]
    absent = _found(Verdict(None, "timed out"))
    assert absent["faults"] == [{"fault": "absent scores: {'timed out': 70}"}]
    assert absent["examples"][0]["fault"] == "absent"


def test_what_takes_too_long_is_found_out() -> None:
    found = _found(Verdict(0.0, "wrong"), may_take_s=-1.0)
    assert len(found["faults"]) == 70
    assert found["faults"][0]["fault"].startswith("took ")


def test_texts_answer_the_problems_in_turns_and_in_every_shape() -> None:
    pairs = [(Problem(str(place), "?", "1"), [f"\\boxed{{{place}}}"]) for place in range(3)]
    target = Target("one", _Broken(Verdict(0.0)).verify_all, pairs, oracles.number, shapes=(BARE, ("[[", "]]")))
    made = list(texts(target, "random", 60, seed=5))
    assert [problem.id for problem, _ in made[:4]] == ["0", "1", "2", "0"]
    assert 10 < sum(text.startswith("[[") and text.endswith("]]") for _, text in made) < 50
    assert made == list(texts(target, "random", 60, seed=5)) != list(texts(target, "random", 60, seed=6))


def test_right_responses_without_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.tasks.hostile.DATA", tmp_path)
    assert all(oracles.number(problem, right) == "right" for problem, found in numbers() for right in found)


# --------------------------------------------------------------------------------------------------- the oracles

DOWN = Problem("d", "?", {"nums": [3, 8, 1], "target": 24})
ROLES = Problem("l", "?", {"Anna": "knight", "Bert": "knave"})
B = Problem("c", "?", {"options": ["iron", "glass"], "answer": "B"})
ADD = Problem(
    "a",
    "?",
    {
        "kind": "function",
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "reference": "    return a + b\n",
        "tests": "def check(candidate):\n    assert candidate(3, 4) == 7\n",
    },
)
KEYWORD = Problem(
    "i", "?", {"instructions": [{"id": "keywords:existence", "keywords": ["Velvet"]}], "example": "a velvet"}
)


def _answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


@pytest.mark.parametrize(
    ("oracle", "problem", "text", "opinion"),
    [
        (oracles.number, SEVEN, "\\boxed{3} \\boxed{7391}", "right"),
        (oracles.number, SEVEN, "\\boxed{7,391.}", "unsure"),
        (oracles.number, SEVEN, "\\boxed{14782/2}", "right"),
        (oracles.number, SEVEN, "\\boxed{7391} \\boxed{739}", "wrong"),
        (oracles.number, SEVEN, "\\boxed{7391} </think> \\boxed{73 91}", "unsure"),
        (oracles.number, SEVEN, "\\boxed{739} and <answer>7391</answer>", "unsure"),
        (oracles.number, SEVEN, "\\boxed{ no", "wrong"),
        (oracles.number, SEVEN, "\\boxed{7391", "unsure"),
        (oracles.number, SEVEN, "\\boxed{7390+1}", "unsure"),
        (oracles.number, SEVEN, "\\boxed{1/0}", "unsure"),
        (oracles.number, SEVEN, _answer("７３９１"), "unsure"),
        (oracles.countdown, DOWN, _answer("8 / 1 * 3"), "right"),
        (oracles.countdown, DOWN, _answer("8 * 3 "), "wrong"),
        (oracles.countdown, DOWN, _answer("8 * 3 + 1"), "wrong"),
        (oracles.countdown, DOWN, _answer("8 × 3 × 1"), "unsure"),
        (oracles.countdown, DOWN, _answer("8 / (1 - 1) * 3"), "unsure"),
        (oracles.countdown, DOWN, "8 * 3 * 1", "wrong"),
        (oracles.logic, ROLES, _answer("Anna knight, Bert knave"), "right"),
        (oracles.logic, ROLES, _answer("Bert knave, Anna knight"), "right"),
        (oracles.logic, ROLES, _answer("Anna knave, Bert knave"), "wrong"),
        (oracles.logic, ROLES, _answer("Anna is a knight, Bert knave"), "unsure"),
        (oracles.logic, ROLES, _answer("Anna is a knight, B knave"), "wrong"),
        (oracles.choice, B, _answer(" (b). "), "right"),
        (oracles.choice, B, _answer("A"), "wrong"),
        (oracles.choice, B, "\\boxed{A}", "wrong"),
        (oracles.choice, B, _answer("glass"), "unsure"),
        (oracles.choice, B, _answer("iron"), "wrong"),
        (oracles.instructions, KEYWORD, "Here is a VELVET.", "right"),
        (oracles.instructions, KEYWORD, "velvet </think> None.", "wrong"),
        (oracles.instructions, KEYWORD, "velvet", "unsure"),
        (oracles.gym, Problem("g", "?", {"answer": "-2.0, 3"}), _answer(" 3,-2.00"), "right"),
        (oracles.gym, Problem("g", "?", {"answer": "-2.0, 3"}), _answer("3"), "wrong"),
        (oracles.gym, Problem("g", "?", {"answer": "a b"}), _answer("A, b"), "unsure"),
        (oracles.gym, Problem("g", "?", {"answer": "a b"}), _answer("a c"), "wrong"),
        (oracles.code, ADD, "```python\ndef add(a, b):\n    return b + a\n```", "right"),
        (oracles.code, ADD, "```python\nreturn a + b\n```", "right"),
        (oracles.code, ADD, "```python\ndef add(a, b):\n    return a - b\n```", "wrong"),
        (oracles.code, ADD, "```python\nreturn a + b\n```\n```\nreturn 8\n```", "unsure"),
    ],
)
def test_what_the_oracles_know(oracle: Any, problem: Problem, text: str, opinion: str) -> None:
    assert oracle(problem, text) == opinion


def test_the_only_reply_and_the_program() -> None:
    task = TASKS["general"]()
    problem = next(one for one in task.problems("heldout") if one.gold["intent"] == "greet")
    right = task.gold_response(problem) or ""
    assert oracles.reply(problem, right) == "right"
    assert oracles.reply(problem, right.replace(".", "!").replace(",", "")) in ("right", "unsure")
    assert oracles.reply(problem, right.replace(problem.gold["name"], "Zoe")) == "wrong"
    program = Problem("p", "?", {"kind": "program", "tests": [["3 4\n", "7\n"]], "reference": None})
    assert oracles.code(program, "```python\nprint(sum(map(int, input().split())))\n```") == "right"
    assert oracles.code(program, "```python\nprint(input())\n```") == "wrong"
