"""The oracle against exhaustive search, and with it every search finds what there is."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from itertools import permutations, product

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.search.base import Method, Path, StepScorer
from reckon.search.beam import Beam, Dvts
from reckon.search.choose import choose
from reckon.search.mcts import Mcts
from reckon.search.oracle import CountdownOracle, reachable, standing
from reckon.search.rebase import Rebase
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.expression import NotArithmetic, evaluate
from tests.search.toy import END, Letters, ToyEngine, searcher

NUMS = [3, 8, 2]


@pytest.mark.parametrize(
    ("trace", "left"),
    [
        ("", [2, 3, 8]),
        ("8 / 2 = 4,", [3, 4]),
        ("<think> 8 / 2 = 4, 4 * 3 = 12,", [12]),
        ("8 / 2 = 4, 4 * 3 = 12, no.", [2, 3, 8]),
        ("8 / 2 = 4, wait, ", [2, 3, 8]),
        ("8 / 2 = 4, 4 * 3 = 12, 不对。", [2, 3, 8]),
        ("8 / 2 = 4, 4 * 3 = 12, no. 8 - 2 = 6,", [3, 6]),
        ("8 / 2 = 4, 8 - 2 = 6,", [3, 6]),
        ("8 + 3 = 11, no. 11 - 2 = 9,", []),
        ("8 / 2 = 5,", []),
        ("8 / 2 = 5, 5 * 3 = 15,", []),
        ("8 / 2 = 5, 8 * 2 = 16,", [3, 16]),
        ("9 + 2 = 11,", []),
        ("3 + 3 = 6,", []),
        ("8 / 2 = 4, 4 * 3 = 12, yes. </think> <answer>", [12]),
        ("8 / 2 = 4, 4 / 0 = 4,", []),
    ],
)
def test_what_a_trace_leaves(trace: str, left: list[int]) -> None:
    assert standing(trace, NUMS) == tuple(map(Fraction, left))


def test_reachable_is_exact_where_whole_numbers_are_not_enough() -> None:
    assert reachable(tuple(map(Fraction, (3, 3, 8, 8))), 24), "8 / (3 - 8 / 3)"
    assert not reachable(tuple(map(Fraction, (1, 1, 1))), 24)
    assert not reachable((), 0)


@pytest.mark.parametrize("nums", [(1, 2, 3), (4, 6, 6), (1, 5, 7), (2, 2, 11)])
def test_reachable_agrees_with_every_expression_there_is(nums: tuple[int, ...]) -> None:
    made = set()
    for (a, b, c), (p, q) in product(permutations(nums), product("+-*/", repeat=2)):
        for text in (f"({a} {p} {b}) {q} {c}", f"{a} {p} ({b} {q} {c})"):
            try:
                made.add(evaluate(text).value)
            except NotArithmetic:
                continue
    given = tuple(sorted(map(Fraction, nums)))
    for target in range(-20, 100):
        assert reachable(given, target) == (target in made)


def path(text: str, ends: list[int], finished: bool = False, gold: object = None) -> Path:
    asked = Problem("c", "", gold or {"nums": NUMS, "target": 12})
    return Path(asked, [1], Letters()(text)["input_ids"], text, ends, "stop" if finished else None)


def test_scores_of_a_trace() -> None:
    oracle = CountdownOracle(Letters())
    first, second = "8 * 2 = 16,", " 16 - 3 = 13,"
    wrong = path(first + second, [len(first), len(first + second)])
    assert oracle.score([wrong]) == [[0.0, 0.0]], "16 and 3 make no 12"
    first, second = "8 / 2 = 4,", " 4 * 3 = 12,"
    answer = " yes. </think> <answer> 8 / 2 * {} </answer>"
    for number, right in ((3, 1.0), (2, 0.0)):
        whole = first + second + answer.format(number)
        ends = [len(first), len(first + second), len(whole)]
        assert oracle.score([path(whole, ends, finished=True)]) == [[1.0, 1.0, right]]
    assert oracle.tokens == 0


def test_another_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="Countdown alone"):
        CountdownOracle(Letters()).score([path("x", [1], gold="42")])


# ------------------------------------------------------------------------------------- with searches

_QUESTION = re.compile(r"Make (\d+) from ([\d, ]+)\.")


def careless(text: str, rng: random.Random) -> str:
    """Two random equations from the numbers, then their expression as the answer, whatever it makes."""
    found = _QUESTION.search(text)
    assert found
    said = text.partition("A:")[2]
    pool = [(number, number) for number in found[2].split(", ")]
    for equation in re.findall(r"(\d+) (.) (\d+) = (\d+);", said):
        pool = _joined(pool, *equation)
    if len(pool) == 1:
        return f"</think><answer>{pool[0][1]}</answer>" + END
    options = []
    for (a, _), (b, _) in permutations(pool, 2):
        values = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}
        if int(b) and int(a) % int(b) == 0:
            values["/"] = int(a) // int(b)
        options += [f"{a} {sign} {b} = {value};" for sign, value in values.items() if value >= 0]
    return rng.choice(options)


def _joined(pool: list[tuple[str, str]], a: str, sign: str, b: str, value: str) -> list[tuple[str, str]]:
    left = list(pool)
    first = next(one for one in left if one[0] == a)
    left.remove(first)
    second = next(one for one in left if one[0] == b)
    left.remove(second)
    return [*left, (value, f"({first[1]} {sign} {second[1]})")]


@pytest.mark.parametrize(
    "method",
    [
        Beam(beams=32, width=4),
        Dvts(trees=4, width=16),
        Rebase(width=32),
        Mcts(width=8, exploration=0.3),
        Mcts(width=8, rule="puct"),
    ],
    ids=lambda method: f"{method.kind}",
)
def test_with_the_oracle_every_search_finds_what_exists(method: Method) -> None:
    task = CountdownTask(CountdownTask.Config(heldout_problems=12))
    problems = task.problems("heldout")
    oracle: StepScorer = CountdownOracle(Letters())
    search = searcher(method, ToyEngine(careless), oracle, task, most=120)
    trees = [search.plant(asked, 4000, 0) for asked in problems]
    search.grow(trees)
    found = [choose(tree, "best", "last") for tree in trees]
    assert all(node is not None and node.verdict is not None and node.verdict.score == 1 for node in found)
    assert all(0 < tree.generated <= 4000 for tree in trees)
