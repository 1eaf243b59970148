from __future__ import annotations

import pytest

from reckon.core.errors import DataError
from reckon.core.records import Problem
from reckon.rollout.collect import ProblemOrder

PROBLEMS = [Problem(str(n), "?", n) for n in range(10)]


def test_an_epoch_meets_every_problem_once() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    ids = [problem.id for step in range(1, 5) for problem in order.at(step, 5)]
    assert sorted(ids[:10]) == sorted(ids[10:]) == sorted(problem.id for problem in PROBLEMS)
    assert ids[:10] != ids[10:]


def test_a_step_never_meets_a_problem_twice() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    for step in range(1, 20):
        assert len({problem.id for problem in order.at(step, 4)}) == 4
    assert len(order.at(20, 50)) == len(PROBLEMS)


def test_a_step_needs_no_history() -> None:
    walked = ProblemOrder(PROBLEMS, seed=3)
    for step in range(1, 8):
        last = walked.at(step, 3)
    assert ProblemOrder(PROBLEMS, seed=3).at(7, 3) == last
    assert ProblemOrder(PROBLEMS, seed=4).at(7, 3) != last


def test_a_task_without_problems_is_refused() -> None:
    with pytest.raises(DataError, match="no training problems"):
        ProblemOrder([], seed=0)
