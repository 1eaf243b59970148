from __future__ import annotations

import json

import pytest

from reckon.core.errors import DataError
from reckon.core.records import Problem
from reckon.rollout.order import Order, ProblemOrder, order_of
from reckon.tasks.registry import build_task

PROBLEMS = [Problem(str(n), "?", n) for n in range(10)]


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


def test_an_epoch_meets_every_problem_once() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    asked = [name for step in range(1, 5) for name in ids(order.at(step, 5))]
    assert sorted(asked[:10]) == sorted(asked[10:]) == sorted(ids(PROBLEMS))
    assert asked[:10] != asked[10:]


def test_a_step_never_meets_a_problem_twice() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    for step in range(1, 20):
        assert len(set(ids(order.at(step, 4)))) == 4
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


def test_the_queue_is_the_steps_problems_and_then_each_other_one_once() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    queues = {step: ids(list(order.queue(step, 2))) for step in range(1, 6)}
    for step, queue in queues.items():
        assert queue[:2] == ids(order.at(step, 2))
        assert sorted(queue) == sorted(ids(PROBLEMS))
    rests = [[name for name in queue[2:] if name not in queues[1][:2] + queues[2][:2]] for queue in queues.values()]
    assert rests[0] != rests[1]


def test_problems_leave_at_the_end_of_the_epoch() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    first = ids(order.at(1, 5))
    order.leave(first[:2])
    assert set(ids(order.at(2, 5))) == set(ids(PROBLEMS)) - set(first)
    for steps in ((3, 4), (5, 6)):
        # Eight problems are one whole step of five and a rest.
        assert not {name for step in steps for name in ids(order.at(step, 5))} & set(first[:2])
    assert not set(ids(list(order.queue(6, 5)))) & set(first[:2])


def test_epochs_shrink_with_their_problems() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    order.at(1, 2)
    order.leave("0123")
    epochs = [
        [name for step in range(first, last) for name in ids(order.at(step, 2))] for first, last in [(1, 6), (6, 9)]
    ]
    assert [sorted(epoch) for epoch in epochs] == [sorted(ids(PROBLEMS)), list("456789")]
    again = [name for step in range(9, 12) for name in ids(order.at(step, 2))]
    assert sorted(again) == list("456789")
    assert again != epochs[1]


def test_all_return_before_a_step_would_lack_problems() -> None:
    order = ProblemOrder(PROBLEMS, seed=0)
    order.at(1, 4)
    order.leave("012345")
    assert sorted(ids(order.at(3, 4))) == list("6789")
    order.leave("6")
    assert len(order.at(4, 4)) == 4
    asked = {name for step in (4, 5) for name in ids(order.at(step, 4))}
    assert len(asked) == 8


def test_what_it_saves_is_enough_to_continue() -> None:
    def play(resumed_after: int) -> tuple[list[list[str]], set[str]]:
        order, seen, gone = ProblemOrder(PROBLEMS, seed=1), [], set()
        for step in range(1, 40):
            seen.append(ids(order.at(step, 3)))
            order.leave(name for name in seen[-1] if (int(name) + step) % 7 == 0)
            saved = json.loads(json.dumps(order.save()))
            gone.update(saved["gone"])
            if step == resumed_after:
                order = ProblemOrder(PROBLEMS, seed=1)
                order.load(saved)
        return seen, gone

    whole, gone = play(0)
    assert len(gone) > 5
    assert all(play(step) == (whole, gone) for step in range(1, 39))


# ------------------------------------------------------------------------------------------------------ mixes


def mixed(steps: int = 10) -> Order:
    parts = [
        {"task": {"kind": "countdown", "numbers": 3}, "share": 2.0},
        {"task": {"kind": "countdown", "numbers": 4}},
        {"task": {"kind": "arithmetic"}, "share": 3.0, "begin": 0.5},
    ]
    return order_of(build_task({"kind": "mix", "parts": parts}), 0, steps)


def counts(problems: list[Problem]) -> list[int]:
    """How many problems of Countdown with three and with four numbers, and how many sums."""
    sizes = [0 if isinstance(problem.gold, int) else len(problem.gold["nums"]) for problem in problems]
    return [sizes.count(3), sizes.count(4), sizes.count(0)]


def test_every_part_has_its_share_once_it_has_begun() -> None:
    order = mixed()
    assert [counts(order.at(step, 9)) for step in (1, 5, 6, 10)] == [[6, 3, 0], [6, 3, 0], [3, 2, 4], [3, 2, 4]]
    assert counts(order.at(1, 7)) == [5, 2, 0]


def test_a_step_of_a_mix_needs_no_history_either() -> None:
    assert mixed().at(8, 9) == mixed().at(8, 9)
    walked = mixed()
    for step in range(1, 4):
        last = walked.at(step, 9)
    assert last == mixed().at(3, 9)


def test_the_queue_of_a_mix_begins_with_the_step_and_asks_nothing_twice_nor_too_early() -> None:
    order = mixed()
    asked = [problem.id for problem, _ in zip(order.queue(2, 9), range(60), strict=False)]
    assert asked[:9] == ids(order.at(2, 9))
    assert len(set(asked)) == 60
    assert counts([problem for problem, _ in zip(order.queue(2, 9), range(60), strict=False)])[2] == 0


def test_problems_leave_the_part_they_are_of() -> None:
    order = mixed()
    gone = ids(order.at(1, 9))
    order.leave(gone)
    saved = order.save()
    again = mixed()
    again.load(saved)
    assert again.save() == saved
    assert [len(part["leaving"]) for part in saved["parts"]] == [6, 3, 0]
