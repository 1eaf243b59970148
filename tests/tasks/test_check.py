import itertools
import sys
import time
from collections.abc import Sequence

import pytest

from reckon.core.records import Problem, Verdict
from reckon.tasks.answer import final_answer
from reckon.tasks.base import Task
from reckon.tasks.check import check_task, hostile_responses
from reckon.tasks.countdown import CountdownTask
from reckon.tasks.registry import build_task


class Sound(Task):
    """The number after the asked one. The tests below break it in one way each."""

    kind = "sound"

    def problems(self, split: str) -> Sequence[Problem]:
        numbers = range(10) if split == "train" else range(10, 14)
        return [Problem(f"next:{number}", f"What comes after {number}?", str(number + 1)) for number in numbers]

    def verify(self, problem: Problem, response: str) -> Verdict:
        answer, reason = final_answer(response)
        return Verdict(float(answer == problem.gold), reason, answer)

    def gold_response(self, problem: Problem) -> str | None:
        return f"<think> one more </think> <answer>{problem.gold}</answer>"


def failures(task: Task) -> str:
    return "\n".join(check_task(task, problems=3).failures)


def test_a_sound_task_passes_and_is_measured() -> None:
    report = check_task(Sound(), problems=3, deadline_s=30)
    assert report.ok
    assert (report.kind, report.problems, report.golds) == ("sound", 6, 6)
    responses = len(hostile_responses("")) + 4
    assert report.verdicts == 6 * responses * 3
    assert 0 < report.p99_s <= report.slowest_s


def test_the_shipped_generator_passes() -> None:
    report = check_task(build_task({"kind": "countdown", "numbers": [3, 4]}), problems=5, deadline_s=30)
    assert report.failures == []
    assert report.golds == 10


def test_a_hole_for_the_right_answer_anywhere() -> None:
    class Lax(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(float(f"<answer>{problem.gold}</answer>" in response))

    assert "the gold response with a second answer scores 1 and must score 0 (6 times, first: next:0" in failures(Lax())
    assert "the gold response with unfinished thinking scores 1" in failures(Lax())


def test_an_empty_response_that_scores() -> None:
    class Lax(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(float(response.strip() in (self.gold_response(problem) or "")))

    assert "an empty response scores 1 and must score 0" in failures(Lax())


def test_an_echo_that_scores() -> None:
    class Lax(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(1.0 if problem.question in response else super().verify(problem, response).score)

    assert "the question echoed as the answer scores 1" in failures(Lax())


def test_the_tasks_own_bad_responses_are_tried() -> None:
    class Lax(Sound):
        def bad_responses(self, problem: Problem) -> list[str]:
            return [self.gold_response(problem) or ""]

    assert "a bad response of the task scores 1" in failures(Lax())


def test_a_gold_that_does_not_score_and_one_that_cannot_be_judged() -> None:
    class Strict(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(0.0, "wrong")

    class Absent(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(None, "unreadable gold")

    assert "the gold response scores 0: 'wrong' (6 times" in failures(Strict())
    assert "the problem cannot be judged: 'unreadable gold' (6 times, first: next:0" in failures(Absent())


def test_a_verifier_that_raises_wavers_or_leaves_the_range() -> None:
    class Raises(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(float(int(response)))

    class Wavers(Sound):
        calls = itertools.count()

        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(float(next(self.calls) % 2))

    class Beyond(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(2.0)

    class Leaves(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            sys.exit(0)

    class Forgets(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return None  # type: ignore[return-value]

    assert "the verifier raises ValueError" in failures(Raises())
    assert "gets different verdicts when judged again" in failures(Wavers())
    assert "score is between 0 and 1" in failures(Beyond())
    assert "the verifier raises SystemExit" in failures(Leaves())
    assert "returns NoneType and no Verdict" in failures(Forgets())


def test_a_slow_verdict_is_reported_with_what_was_slow() -> None:
    class Slow(Sound):
        def verify(self, problem: Problem, response: str) -> Verdict:
            if len(response) > 900_000:
                time.sleep(0.02)
            return super().verify(problem, response)

    report = check_task(Slow(), problems=1, deadline_s=0.015)
    assert len(report.failures) == 1
    assert report.failures[0].startswith("a verdict took ")
    assert "million characters" in report.failures[0]


@pytest.mark.parametrize(
    ("train", "heldout", "message"),
    [
        (["a", "b"], ["b"], "1 problems are in both train and heldout (first: b)"),
        (["a", "a"], ["b"], "1 problem ids of the train split are not unique"),
        (["a"], [], "the heldout split is empty"),
    ],
)
def test_splits(train: list[str], heldout: list[str], message: str) -> None:
    class Fixed(Sound):
        def problems(self, split: str) -> Sequence[Problem]:
            return [Problem(name, "What?", "1") for name in (train if split == "train" else heldout)]

    assert message in failures(Fixed())


def test_an_order_that_changes_cannot_be_resumed() -> None:
    class Restless(Sound):
        built = itertools.count()

        def problems(self, split: str) -> Sequence[Problem]:
            shift = next(self.built) % 3
            found = list(super().problems(split))
            return found[shift:] + found[:shift]

    assert "the train split is in another order when built again" in failures(Restless())


def test_hostile_responses_score_nothing_on_the_shipped_tasks() -> None:
    problem = CountdownTask(CountdownTask.Config(heldout_problems=1)).problems("heldout")[0]
    for name, response in hostile_responses(problem.question).items():
        start = time.process_time()
        assert CountdownTask().verify(problem, response).score == 0.0, name
        assert time.process_time() - start < 0.1, name
