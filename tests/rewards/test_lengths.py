from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.rewards.lengths import cosine, cosine_reward, group_lengths, soft_overlong, target_exact, target_max

RIGHT, WRONG, EXCEEDED = (2.0, 1.0), (-10.0, 0.0), -10.0
"""The published values of the cosine reward."""


@pytest.mark.parametrize(
    ("length", "penalty"),
    [
        (0, 0.0),
        (16383, 0.0),
        (16384, 0.0),
        (16385, -1 / 4096),
        (18432, -0.5),
        (20480, -1.0),
        (20481, -1.0),
        (22528, -1.0),
    ],
)
def test_soft_overlong_with_the_papers_numbers(length: int, penalty: float) -> None:
    assert soft_overlong(length, 20480, 4096) == penalty


@given(st.integers(1, 5000), st.floats(0.01, 1), st.integers(0, 6000))
@settings(deadline=None)
def test_soft_overlong_falls_from_0_to_minus_1(limit: int, share: float, length: int) -> None:
    buffer = share * limit
    here, next_ = soft_overlong(length, limit, buffer), soft_overlong(length + 1, limit, buffer)
    assert -1 <= next_ <= here <= 0
    assert here - next_ <= 1 / buffer + 1e-9
    assert soft_overlong(limit, limit, buffer) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("lengths", "right", "values"),
    [
        ([100, 200, 300, 100], [1, 1, 0, 0], [0.5, 0.0, -0.5, 0.0]),
        ([100, 200, 300, 100], [1, 1, 1, 1], [0.5, 0.0, -0.5, 0.5]),
        ([100, 150, 200, 300], [0, 0, 0, 0], [0.0, 0.0, 0.0, -0.5]),
        ([100, 250, 500], [0, 1, 0], [0.0, 0.125, -0.5]),
        ([100, 100], [1, 0], [0.0, 0.0]),
        ([7], [1], [0.0]),
        ([], [], []),
    ],
)
def test_lengths_in_a_group(lengths: list[int], right: list[int], values: list[float]) -> None:
    """The first row: lambda is 0.5, 0, -0.5, 0.5, and a wrong answer earns nothing by being short."""
    assert group_lengths(lengths, [bool(flag) for flag in right]) == pytest.approx(values)


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), min_size=1, max_size=9), st.integers(2, 9))
@settings(deadline=None)
def test_of_two_in_a_group_the_shorter_and_the_right_one_earn_no_less(
    group: list[tuple[int, bool]], factor: int
) -> None:
    lengths, right = [length for length, _ in group], [flag for _, flag in group]
    values = group_lengths(lengths, right)
    assert group_lengths([factor * length for length in lengths], right) == pytest.approx(values)
    for length, correct, value in zip(lengths, right, values, strict=True):
        assert -0.5 <= value <= (0.5 if correct else 0.0)
        for other, other_correct, less in zip(lengths, right, values, strict=True):
            if length <= other and correct >= other_correct:
                assert value >= less


@pytest.mark.parametrize(
    ("length", "right", "wrong"),
    [
        (0, 2.0, -10.0),
        (250, 1.853553, -8.535534),
        (500, 1.5, -5.0),
        (750, 1.146447, -1.464466),
        (999, 1.000002, -2.467e-5),
        (1000, -10.0, -10.0),
        (2000, -10.0, -10.0),
    ],
)
def test_the_cosine_reward_with_the_papers_numbers(length: int, right: float, wrong: float) -> None:
    assert cosine_reward(True, length, 1000, RIGHT, WRONG, EXCEEDED) == pytest.approx(right, abs=5e-7)
    assert cosine_reward(False, length, 1000, RIGHT, WRONG, EXCEEDED) == pytest.approx(wrong, abs=5e-7)


def test_the_cosine_does_not_rise_again_beyond_the_limit() -> None:
    assert [cosine(length, 1000, RIGHT) for length in (1000, 1500, 2000)] == [1.0, 1.0, 1.0]


@given(st.integers(1, 5000), st.integers(0, 5000))
@settings(deadline=None)
def test_right_answers_fall_and_wrong_ones_rise_until_the_limit(limit: int, length: int) -> None:
    if length + 1 < limit:
        right, longer = (cosine_reward(True, n, limit, RIGHT, WRONG, EXCEEDED) for n in (length, length + 1))
        wrong, less_wrong = (cosine_reward(False, n, limit, RIGHT, WRONG, EXCEEDED) for n in (length, length + 1))
        assert 2.0 >= right >= longer >= 1.0
        assert -10.0 <= wrong <= less_wrong <= 0.0
        assert right - longer <= math.pi / (2 * limit) + 1e-12
    elif length >= limit:
        assert cosine_reward(True, length, limit, RIGHT, WRONG, EXCEEDED) == EXCEEDED


def test_l1_exact_with_the_papers_numbers() -> None:
    assert 1 + target_exact(1500, 1024, 3e-4) == pytest.approx(0.8572)
    assert 0 + target_exact(1500, 1024, 3e-4) == pytest.approx(-0.1428)
    assert target_exact(1024, 1024, 3e-4) == 0.0
    assert target_exact(10_000, 1024, 3e-4) == -1.0


def test_l1_max_with_the_papers_numbers() -> None:
    assert 1 + target_max(1.0, 1500, 1024, 3e-4, 0.5) == pytest.approx(0.3572)
    assert 1 + target_max(1.0, 800, 1024, 3e-4, 0.5) == pytest.approx(0.5672)
    assert 1 + target_max(1.0, 1024, 1024, 3e-4, 0.5) == pytest.approx(0.5)
    assert 1 + target_max(1.0, 9000, 1024, 3e-4, 0.5) == 0.0
    assert 1 + target_max(1.0, 10, 4000, 3e-4, 0.5) == 1.0
    assert target_max(0.0, 1500, 1024, 3e-4, 0.5) == 0.0
    assert 0.6 + target_max(0.6, 1500, 1024, 3e-4, 0.5) == pytest.approx(0.6 * 0.3572)


@given(st.integers(0, 5000), st.integers(0, 5000), st.floats(1e-5, 1e-2), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_l1_is_symmetric_where_exact_and_never_rises_with_length_where_max(
    target: int, miss: int, alpha: float, delta: float, score: float
) -> None:
    assert -1 <= target_exact(target + miss, target, alpha) == target_exact(target - miss, target, alpha) <= 0
    here, longer = (target_max(score, miss + n, target, alpha, delta) for n in (0, 1))
    assert -score <= longer <= here <= 0
