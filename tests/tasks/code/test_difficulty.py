from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.tasks.code.difficulty import difficulty_reward, levels_of, pass_rates

SCORES = (20.0, 30.0, 50.0)
LEVELS = [0, 0, 1, 1, 2, 2]


def passed(bits: str) -> list[bool]:
    return [bit == "1" for bit in bits]


@pytest.mark.parametrize(
    ("bits", "strict", "soft"),
    [
        # Two tests in each level. The first row is worked out: strict pays the easy level alone, 20 of 100; soft pays
        # 20 + 15 + 25.
        ("111010", 0.20, 0.60),
        ("111111", 1.00, 1.00),
        ("000000", 0.00, 0.00),
        ("111100", 0.50, 0.50),
        ("001111", 0.00, 0.80),
        ("101111", 0.00, 0.90),
        ("110011", 0.20, 0.70),
    ],
)
def test_strict_and_soft(bits: str, strict: float, soft: float) -> None:
    assert difficulty_reward(passed(bits), LEVELS, SCORES, "strict") == pytest.approx(strict)
    assert difficulty_reward(passed(bits), LEVELS, SCORES, "soft") == pytest.approx(soft)


def test_the_order_of_the_tests_makes_no_difference() -> None:
    assert difficulty_reward(passed("0111"), [2, 0, 1, 0], SCORES, "strict") == pytest.approx(0.5)


def test_levels_without_tests_take_nothing_away() -> None:
    assert difficulty_reward(passed("10"), [0, 2], SCORES, "strict") == pytest.approx(20 / 70)
    assert difficulty_reward(passed("11"), [0, 2], SCORES, "strict") == 1.0


def test_passing_one_more_test_never_costs() -> None:
    for bits in product([False, True], repeat=6):
        for place in range(6):
            more = [*bits[:place], True, *bits[place + 1 :]]
            for scheme in ("strict", "soft"):
                before = difficulty_reward(bits, LEVELS, SCORES, scheme)  # type: ignore[arg-type]
                assert difficulty_reward(more, LEVELS, SCORES, scheme) >= before - 1e-12  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rates", "levels"),
    [
        ([0.9, 0.8, 0.5, 0.4, 0.1, 0.0], [0, 0, 1, 1, 2, 2]),
        ([0.0, 0.1, 0.4, 0.5, 0.8, 0.9], [2, 2, 1, 1, 0, 0]),
        ([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 0]),
        ([1.0, 1.0, 1.0, 0.2], [0, 0, 0, 1]),
        ([0.9, 0.5, 0.5, 0.5, 0.5, 0.1], [0, 1, 1, 1, 1, 2]),
        ([1.0, 0.75, 0.5, 0.25, 0.0], [0, 0, 1, 1, 2]),
        ([0.7], [0]),
    ],
)
def test_levels(rates: list[float], levels: list[int]) -> None:
    assert levels_of(rates, 3) == levels


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=1, max_size=12), st.integers(1, 5))
def test_harder_tests_are_never_in_an_easier_level(rates: list[float], count: int) -> None:
    levels = levels_of(rates, count)
    assert all(0 <= level < count for level in levels)
    for (rate, level), (other, other_level) in product(zip(rates, levels, strict=True), repeat=2):
        assert rate != other or level == other_level
        assert rate <= other or level <= other_level


def test_pass_rates() -> None:
    assert pass_rates(["110", "100", "101", "100"]) == [1.0, 0.25, 0.25]


@pytest.mark.parametrize("rows", [[], ["1-"], ["11", "1"]])
def test_pass_rates_that_cannot_be_told(rows: list[str]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        pass_rates(rows)
