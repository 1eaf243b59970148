"""Statistics over seeds, against figures worked out by hand."""

from __future__ import annotations

import pytest

from reckon.evals.seeds import SeedMean, holm, over_seeds, p_value


def test_the_interval_of_three_seeds() -> None:
    # Mean 0.5, sd 0.1, error 0.1 / sqrt(3); t(0.975, 2) = 4.302653.
    found = over_seeds([0.4, 0.5, 0.6])
    assert found.value == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5 - 0.248414, 0.5 + 0.248414), abs=1e-6)


def test_the_interval_of_two_seeds() -> None:
    # Mean 0.3, sd 0.2 / sqrt(2), error 0.1; t(0.975, 1) = 12.706205.
    found = over_seeds([0.2, 0.4])
    assert (found.low, found.high) == pytest.approx((0.3 - 1.2706205, 0.3 + 1.2706205), abs=1e-6)


@pytest.mark.parametrize("values", [[0.4], [0.4, 0.4, 0.4]])
def test_without_spread_there_is_no_interval_and_no_p(values: list[float]) -> None:
    assert over_seeds(values) == SeedMean(pytest.approx(0.4), None, None)
    assert p_value(values) is None


def test_p_is_that_of_the_t_test() -> None:
    # t = 1 / (sd / sqrt(n)) = 1 / (1 / sqrt(3)) = sqrt(3) with 2 degrees of freedom: p = 1 - t / sqrt(2 + t^2).
    assert p_value([0.0, 1.0, 2.0]) == pytest.approx(1 - 3**0.5 / 5**0.5, abs=1e-9)
    assert p_value([0.0, -1.0, -2.0]) == pytest.approx(1 - 3**0.5 / 5**0.5, abs=1e-9)


def test_p_is_5_percent_where_the_interval_touches_zero() -> None:
    half = (found := over_seeds([0.4, 0.5, 0.6])).value - (found.low or 0.0)
    assert p_value([half - 0.1, half, half + 0.1]) == pytest.approx(0.05, abs=1e-6)


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not less than the one before), 0.9 * 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_test_without_p_counts_among_the_number() -> None:
    assert holm([None, 0.01, 0.04]) == [None, pytest.approx(0.03), pytest.approx(0.08)]
