from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reckon.core.records import Problem, Rollout
from reckon.rewards.parts import (
    Cosine,
    Group,
    GroupLength,
    LanguagePart,
    Overlong,
    Part,
    RepetitionPart,
    TargetLength,
)

PARTS: list[Part] = [
    LanguagePart(weight=1, script="prompt"),
    Overlong(share=0.3),
    RepetitionPart(weight=1, n=1),
    GroupLength(weight=1),
    Cosine(),
    Cosine(right=(0.2, 0.4), wrong=(-0.5, -0.1), exceeded=0.1),
    TargetLength(mode="exact", low=1, high=40, alpha=0.1),
    TargetLength(mode="max", low=1, high=40, alpha=0.1),
]


def group(
    lengths: list[int], scores: list[float] | None, step: int = 1, target: int | None = 20, text: str = "a a b"
) -> Group:
    problem = Problem("p", "?", None)
    rollouts = [Rollout("toy", problem, 0, "", [], text, [1] * length, [], "stop", 0) for length in lengths]
    return Group(rollouts, scores, 30, step, target)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.3, 1.0])), min_size=1, max_size=6),
    st.sampled_from(PARTS),
    st.text("ab 对.", max_size=9),
)
@settings(deadline=None)
def test_every_part_keeps_to_its_bounds(answers: list[tuple[int, float]], part: Part, text: str) -> None:
    scores = [score for _, score in answers]
    values = part.values(group([length for length, _ in answers], scores, text=text))
    assert values is not None
    assert len(values) == len(answers)
    for score, value in zip(scores, values, strict=True):
        if score == 0.3 and isinstance(part, TargetLength):
            continue  # right in part: it can lose as much as it has
        low, high = part.bounds(right=score >= 1)
        assert low - 1e-12 <= value <= high + 1e-12


def test_the_length_reward_warms_up() -> None:
    part = GroupLength(weight=1, after=3)
    asked = [part.values(group([10, 20], [1.0, 1.0], step=step)) for step in (1, 3, 4)]
    assert asked == [None, None, [0.5, -0.5]]


@pytest.mark.parametrize("part", [part for part in PARTS if not isinstance(part, LanguagePart | RepetitionPart)])
def test_what_depends_on_being_right_is_nothing_where_nobody_knows(part: Part) -> None:
    found = part.values(group([10, 20], None))
    if isinstance(part, Overlong) or getattr(part, "mode", "") == "exact":
        assert found is not None
    else:
        assert found is None


def test_the_cosine_part_has_the_published_values_unless_told_otherwise() -> None:
    assert Cosine().values(group([15, 15, 30], [1.0, 0.0, 1.0])) == pytest.approx([1.5, -5.0, -10.0])
    assert Cosine().bounds(right=True) == (-10.0, 2.0)
    assert Cosine(exceeded=1.0).bounds(right=True) == (1.0, 2.0)
    assert Cosine(exceeded=1.0).bounds(right=False) == (-10.0, 1.0)


def test_targets_are_a_function_of_seed_step_and_problem_and_fill_the_range() -> None:
    part = TargetLength(mode="exact", low=3, high=12)
    drawn = [part.draw(0, step, f"p{n}") for step in range(40) for n in range(10)]
    assert drawn == [part.draw(0, step, f"p{n}") for step in range(40) for n in range(10)]
    assert set(drawn) == set(range(3, 13))
    assert drawn != [part.draw(1, step, f"p{n}") for step in range(40) for n in range(10)]
    assert len({part.draw(0, step, "p") for step in range(40)}) > 5


def test_the_words_that_ask_for_a_length() -> None:
    assert TargetLength(mode="exact", low=1, high=2).request(2) == " Think for 2 tokens."
    assert TargetLength(mode="max", low=1, high=2).request(2) == " Think for maximum 2 tokens."


def test_without_a_target_nothing_is_missed() -> None:
    assert TargetLength(mode="exact", low=1, high=2).values(group([10], [1.0], target=None)) is None


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (TargetLength, {"mode": "exact", "low": 3, "high": 2}),
        (TargetLength, {"mode": "about", "low": 1, "high": 2}),
        (TargetLength, {"mode": "max", "low": 1, "high": 2, "delta": 2}),
        (GroupLength, {"weight": 1, "after": -1}),
        (GroupLength, {}),
        (Cosine, {"right": [1.0]}),
    ],
)
def test_settings_that_make_no_sense(kind: type[Part], settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**settings)
