import itertools

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Problem
from reckon.tasks.generate import generate, held_out


def draws(*keys: int):
    """A draw that gives these keys over and over; even ones are held out."""
    endless = itertools.cycle(keys)

    def draw() -> tuple[int, bool, Problem]:
        key = next(endless)
        return key, key % 2 == 0, Problem(f"number:{key}", f"What is {key}?", key)

    return draw


def test_the_first_different_problems_of_a_split_in_the_order_drawn() -> None:
    assert [problem.gold for problem in generate(draws(5, 2, 5, 3, 4, 1), "train", 3)] == [5, 3, 1]
    assert [problem.gold for problem in generate(draws(5, 2, 5, 3, 4, 1), "heldout", 2)] == [2, 4]


def test_too_few_are_an_error_that_counts_them() -> None:
    with pytest.raises(ConfigError, match="found only 2 different heldout problems of the 3 asked for"):
        generate(draws(1, 2, 3, 4), "heldout", 3)


@pytest.mark.parametrize("one_in", [2, 4, 10])
def test_a_hash_holds_out_about_one_in_so_many(one_in: int) -> None:
    held = sum(held_out(f"problem {index}", one_in) for index in range(5000))
    assert held / 5000 == pytest.approx(1 / one_in, rel=0.15)
