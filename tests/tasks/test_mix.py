from __future__ import annotations

from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.tasks.check import check_task
from reckon.tasks.mix import MixTask
from reckon.tasks.registry import build_task, resolved

PARTS: list[dict[str, Any]] = [
    {"task": {"kind": "countdown", "numbers": 3}, "share": 2.0},
    {"task": {"kind": "countdown", "numbers": 4}, "begin": 0.5},
]


@pytest.fixture(scope="module")
def mix() -> MixTask:
    task = build_task({"kind": "mix", "parts": PARTS})
    assert isinstance(task, MixTask)
    return task


def test_any_first_few_problems_hold_some_of_each_part(mix: MixTask) -> None:
    first = mix.problems("heldout")[:10]
    assert [len(problem.gold["nums"]) for problem in first] == [3, 4] * 5
    assert len(mix.problems("train")) == sum(len(task.problems("train")) for task in mix.members)


def test_every_problem_is_judged_by_its_own_task(mix: MixTask) -> None:
    assert check_task(mix, problems=20).failures == []
    three, four = mix.problems("train")[:2]
    assert [mix.member(problem) for problem in (three, four)] == mix.members


def test_a_stranger_is_refused(mix: MixTask) -> None:
    with pytest.raises(DataError, match="no part of the mix asks 'other'"):
        mix.member(Problem("other", "?", None))


def test_the_defaults_of_the_parts_are_written_out(mix: MixTask) -> None:
    parts = resolved(mix)["parts"]
    assert parts[0]["task"] == resolved(build_task(PARTS[0]["task"]))
    assert [(part["share"], part["begin"]) for part in parts] == [(2.0, 0.0), (1.0, 0.5)]
    assert resolved(build_task(resolved(mix))) == resolved(mix)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "at least 1 item"),
        ([{"task": {"kind": "countdown"}, "begin": 0.5}], "at least one part must begin at 0"),
        ([{"task": {"kind": "countdwn"}}], "did you mean 'countdown'"),
        ([{"task": {"kind": "countdown"}, "shares": 2}], "did you mean share"),
    ],
)
def test_impossible_mixes_are_refused(parts: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_task({"kind": "mix", "parts": parts})


def test_parts_with_the_same_problems_are_refused() -> None:
    twice = build_task({"kind": "mix", "parts": [{"task": {"kind": "countdown"}}] * 2})
    with pytest.raises(DataError, match="two parts of the mix have the problem"):
        twice.problems("train")
