import itertools
import json
import random
import re
import time
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.tasks.countdown import CountdownTask, is_heldout, random_problem, solve

Config = CountdownTask.Config
PROBLEM = Problem("countdown:3-8-1:24", "Make 24 from 3, 8, 1.", {"nums": [3, 8, 1], "target": 24})


def answer(text: str) -> str:
    return f"<think> hm </think> <answer>{text}</answer>"


def reachable(nums: tuple[int, ...], max_value: int) -> set[int]:
    """What can be made, by joining any two numbers until one is left: another algorithm than the task's."""
    if len(nums) == 1:
        return set(nums)
    found = set()
    for i, j in itertools.permutations(range(len(nums)), 2):
        a, b = nums[i], nums[j]
        rest = tuple(number for k, number in enumerate(nums) if k not in (i, j))
        values = [a + b, a * b, a - b] + ([a // b] if b and a % b == 0 else [])
        for value in values:
            if 0 <= value <= max_value:
                found |= reachable((*rest, value), max_value)
    return found


def test_a_problem_looks_as_promised() -> None:
    problem = CountdownTask(Config(heldout_problems=1)).problems("heldout")[0]
    nums, target = problem.gold["nums"], problem.gold["target"]
    a, b, c = nums
    assert problem.question == f"Make {target} from {a}, {b}, {c}."
    assert problem.id == f"countdown:{a}-{b}-{c}:{target}"
    assert json.loads(json.dumps(problem.gold)) == problem.gold


@pytest.mark.parametrize("numbers", [3, 4, [3, 4]])
def test_generated_problems_are_solvable_different_and_within_bounds(numbers: int | list[int]) -> None:
    task = CountdownTask(Config(numbers=numbers, max_number=9, max_value=50, train_problems=300, heldout_problems=60))
    counts = set()
    for split in ("train", "heldout"):
        problems = task.problems(split)
        assert len({(tuple(sorted(p.gold["nums"])), p.gold["target"]) for p in problems}) == len(problems)
        for problem in problems:
            nums, target = problem.gold["nums"], problem.gold["target"]
            counts.add(len(nums))
            assert all(1 <= number <= 9 for number in nums)
            assert 1 <= target <= 50
            assert is_heldout(nums, target) == (split == "heldout")
            assert solve(nums, target, 50) is not None
    assert counts == set([numbers] if isinstance(numbers, int) else numbers)


def test_generation_is_fast() -> None:
    start = time.process_time()
    task = CountdownTask(Config(max_number=20, train_problems=6000, heldout_problems=500, seed=7))
    assert (len(task.problems("train")), len(task.problems("heldout"))) == (6000, 500)
    assert time.process_time() - start < 2


def test_the_seed_decides_and_the_count_of_one_split_leaves_the_other_alone() -> None:
    def ids(split: str, **settings: int) -> list[str]:
        return [problem.id for problem in CountdownTask(Config(**settings)).problems(split)]

    assert ids("train", train_problems=100) == ids("train")[:100]
    assert ids("heldout", train_problems=100) == ids("heldout", train_problems=5)
    assert ids("train", seed=1) != ids("train", seed=2)


def test_no_permutation_leaks_between_any_two_configurations() -> None:
    def keys(split: str, **settings: object) -> set[tuple[tuple[int, ...], int]]:
        problems = CountdownTask(Config(**settings)).problems(split)
        return {(tuple(sorted(p.gold["nums"])), p.gold["target"]) for p in problems}

    train = keys("train", seed=1) | keys("train", seed=2, numbers=[3, 4], max_number=10)
    heldout = keys("heldout", seed=3) | keys("heldout", seed=4, numbers=4, max_value=60)
    assert train.isdisjoint(heldout)
    for nums, target in itertools.islice(heldout, 50):
        assert all(is_heldout(order, target) for order in itertools.permutations(nums))


def test_one_problem_in_ten_is_held_out() -> None:
    space = itertools.product(range(1, 13), range(1, 13), range(1, 100))
    share = sum(is_heldout([a, b, 5], target) for a, b, target in space) / (12 * 12 * 99)
    assert 0.09 < share < 0.11


def test_the_split_never_changes() -> None:
    """Shipped models were pretrained without these; another hash would leak them."""
    assert [target for target in range(1, 100) if is_heldout([3, 8, 1], target)] == [2, 12, 26, 30, 35, 37, 43, 82, 87]


def test_asking_for_more_problems_than_exist_says_how_many_there_are() -> None:
    with pytest.raises(ConfigError, match=r"found only \d+ different train problems of the 99 asked for"):
        CountdownTask(Config(max_number=2, train_problems=99)).problems("train")


@pytest.mark.parametrize(
    "settings", [{"numbers": 5}, {"numbers": []}, {"max_number": 100}, {"max_value": 0}, {"train_problems": 0}]
)
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Config(**settings)


def test_unknown_split() -> None:
    with pytest.raises(ConfigError, match="no split 'test'"):
        CountdownTask().problems("test")


@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sampled_from([12, 99, 400]))
@settings(deadline=None, max_examples=25)
def test_the_solver_finds_exactly_what_another_search_finds(nums: list[int], max_value: int) -> None:
    found = {target for target in range(max_value + 2) if solve(nums, target, max_value) is not None}
    assert found == reachable(tuple(nums), max_value)


@given(st.randoms(use_true_random=False), st.sampled_from([3, 4]))
@settings(deadline=None)
def test_the_gold_response_is_right_and_stays_in_range(rng: random.Random, n: int) -> None:
    nums, target = random_problem(rng, n, max_number=12, max_value=99)
    problem = Problem("x", "", {"nums": nums, "target": target})
    task = CountdownTask()
    gold = task.gold_response(problem)
    assert gold is not None
    assert task.verify(problem, gold).score == 1.0
    inner = re.search(r"<answer>(.*)</answer>", gold).group(1)
    while "(" in inner:
        step = re.search(r"\( (\d+) (.) (\d+) \)", inner)
        value = eval(f"Fraction({step[1]}) {step[2]} Fraction({step[3]})")
        assert value.denominator == 1
        assert 0 <= value <= 99
        inner = inner.replace(step[0], str(value), 1)


@pytest.mark.parametrize(
    ("response", "score", "reason", "extracted"),
    [
        (answer(" ( 8 / 1 ) * 3 "), 1.0, "correct", "(8/1)*3"),
        (answer("3*8*1"), 1.0, "correct", "3*8*1"),
        (answer("8 / (1 / 3)"), 1.0, "correct", "8/(1/3)"),
        (answer("3 + 8 + 1"), 0.0, "wrong value", "3+8+1"),
        (answer("3 * 8"), 0.0, "wrong numbers", "3*8"),
        (answer("24"), 0.0, "wrong numbers", "24"),
        (answer("3 * 8 * 1 * 1"), 0.0, "wrong numbers", "3*8*1*1"),
        (answer("3 * 8 + 3 - 3"), 0.0, "wrong numbers", "3*8+3-3"),
        (answer("38 - 14"), 0.0, "wrong numbers", "38-14"),
        (answer("3 * 8 * 1 = 24"), 0.0, "not an expression", None),
        (answer("3 * 8 ** 1"), 0.0, "not an expression", None),
        (answer("9**9**9**9"), 0.0, "not an expression", None),
        (answer("3 / (8 / 8 - 1)"), 0.0, "division by zero", None),
        (answer("9" * 1000), 0.0, "number too long", None),
        (answer("3*8*1") + "<answer>3+8+1</answer>", 0.0, "several answers", None),
        ("<think> <answer>3*8*1</answer>", 0.0, "unfinished thinking", None),
        ("<answer>3*8*1</answer>", 0.0, "unfinished thinking", None),
        ("", 0.0, "unfinished thinking", None),
        (PROBLEM.question, 0.0, "unfinished thinking", None),
        (answer(PROBLEM.question), 0.0, "not an expression", None),
    ],
)
def test_verdicts(response: str, score: float, reason: str, extracted: str | None) -> None:
    verdict = CountdownTask().verify(PROBLEM, response)
    assert (verdict.score, verdict.reason, verdict.extracted) == (score, reason, extracted)


def test_each_number_is_used_as_often_as_it_is_given() -> None:
    problem = Problem("x", "", {"nums": [2, 2, 6], "target": 24})
    task = CountdownTask()
    assert task.verify(problem, answer("2*2*6")).score == 1.0
    assert task.verify(problem, answer("6*(6-2)")).score == 0.0
    assert task.verify(problem, answer("2*6*(6-2-2)")).score == 0.0


def right(text: str) -> bool:
    """Whether the text solves PROBLEM, by Python's own arithmetic on exact fractions."""
    if re.search(r"[^138+*/() -]|\*\s*\*|/\s*/", text) or sorted(re.findall(r"\d+", text)) != ["1", "3", "8"]:
        return False
    try:
        return bool(eval(re.sub(r"(\d+)", r"Fraction(\1)", text.strip()), {"Fraction": Fraction}) == 24)
    except (SyntaxError, ZeroDivisionError, TypeError):
        return False


_symbols = st.lists(st.sampled_from(["1", "3", "8", "+", "-", "*", "/", "(", ")", " ", "**", "//", "²", "="]))
_orders = st.permutations(["1", "3", "8"])
_signs = st.sampled_from(["+", "-", "*", "/", " * ", "*-", "**", "//", "*("])
_near = st.tuples(_orders, _signs, _signs).map(lambda t: f"{t[0][0]}{t[1]}{t[0][1]}{t[2]}{t[0][2]}")


@given(st.text() | _symbols.map("".join) | _near | _near.map(lambda text: f"({text})"))
@settings(deadline=None)
def test_no_text_scores_unless_it_is_right(text: str) -> None:
    task = CountdownTask()
    assert task.verify(PROBLEM, text).score == 0.0
    verdict = task.verify(PROBLEM, answer(text))
    assert verdict.score in (0.0, 1.0)
    unary = re.search(r"(^|[-+*/(])\s*[-+]", text)  # which Python has and we refuse
    if not unary:
        assert verdict.score == float(right(text))


ROWS = [{"nums": [index % 90 + 1, 44, 35, index % 7 + 1], "target": index % 97 + 1} for index in range(400)]


def _write(path: Path, rows: list[dict[str, object]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["countdown.jsonl", "countdown.parquet"])
def test_the_public_data_set_is_loaded_as_it_is(tmp_path: Path, name: str) -> None:
    again = {"nums": ROWS[0]["nums"][::-1], "target": ROWS[0]["target"]}
    path = _write(tmp_path / name, [*ROWS, ROWS[0], again])
    task = CountdownTask(Config(path=str(path)))
    splits = {split: list(task.problems(split)) for split in ("train", "heldout")}
    assert [p.gold for p in splits["train"]] == [
        row for row in [*ROWS, again] if not is_heldout(row["nums"], row["target"])
    ]
    assert [p.gold for p in splits["heldout"]] == [
        row for row in [*ROWS, again] if is_heldout(row["nums"], row["target"])
    ]
    limited = CountdownTask(Config(path=str(path), train_problems=10))
    assert list(limited.problems("train")) == splits["train"][:10]


def test_a_loaded_problem_need_not_be_solvable() -> None:
    task = CountdownTask()
    for nums in ([1, 1, 1], [50] * 40):
        problem = Problem("x", "", {"nums": nums, "target": 98})
        assert task.gold_response(problem) is None
        assert all(task.verify(problem, bad).score == 0.0 for bad in task.bad_responses(problem))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"nums": "3, 8", "target": 24}, ":1: 'nums' must be a list of whole numbers"),
        ({"nums": [3, 8.0], "target": 24}, "'nums' must be"),
        ({"nums": [3, True], "target": 24}, "'nums' must be"),
        ({"nums": [3, -8], "target": 24}, "'nums' must be"),
        ({"nums": [], "target": 24}, "'nums' must be"),
        ({"nums": [3, 8], "target": "24"}, "'target' must be a whole number"),
        ({"numbers": [3, 8], "target": 24}, "no column 'nums'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = _write(tmp_path / "a.jsonl", [row])
    with pytest.raises(DataError) as error:
        CountdownTask(Config(path=str(path))).problems("train")
    assert message in str(error.value)


def test_a_file_too_small_to_split(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.jsonl", [{"nums": [3, 8, 1], "target": 24}])
    with pytest.raises(DataError, match="falls into the heldout split"):
        CountdownTask(Config(path=str(path))).problems("heldout")
