from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from reckon.data.curate.mixture import Limit, Mix
from tests.data.curate.rows import Row, ids, row


def of(**counts: int) -> list[Row]:
    return [row(f"{name}-{number}", source=name) for name, count in counts.items() for number in range(count)]


def test_three_to_one_takes_fewer_of_what_there_is_more_of() -> None:
    rows = of(reasoning=100, general=20)
    sifted = Mix(shares={"reasoning": 3, "general": 1}).apply(rows, seed=0)
    assert Counter(r["source"] for r in sifted.kept) == {"reasoning": 60, "general": 20}
    assert Counter(drop.why for drop in sifted.dropped) == {"more than its share": 40}
    assert sifted.kept == [r for r in rows if r["id"] in ids(sifted.kept)]
    sifted = Mix(shares={"reasoning": 3, "general": 1}).apply(of(reasoning=30, general=20), seed=0)
    assert Counter(r["source"] for r in sifted.kept) == {"reasoning": 30, "general": 10}


def test_parts_without_a_share_are_dropped_and_parts_may_be_tasks() -> None:
    rows = [row("a"), row("b", task="logic"), row("c", task=None)]
    sifted = Mix(by="task", shares={"countdown": 1}).apply(rows, seed=0)
    assert ids(sifted.kept) == ["a"]
    assert [(drop.row["id"], drop.why) for drop in sifted.dropped] == [("c", "no task"), ("b", "not in the mix")]


def test_without_one_part_nothing_is_in_proportion() -> None:
    sifted = Mix(shares={"reasoning": 3, "general": 1}).apply(of(reasoning=2), seed=0)
    assert sifted.kept == []
    assert Counter(drop.why for drop in sifted.dropped) == {"no general to mix it with": 2}


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 10), st.floats(0.1, 10), st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_the_proportion_holds_to_one_row_and_one_part_stays_whole(
    a: int, b: int, x: float, y: float, seed: int
) -> None:
    sifted = Mix(shares={"a": x, "b": y}).apply(of(a=a, b=b), seed)
    kept = Counter(r["source"] for r in sifted.kept)
    assert kept["a"] == a or kept["b"] == b
    unit = min(a / x, b / y)
    assert abs(kept["a"] - unit * x) <= 1
    assert abs(kept["b"] - unit * y) <= 1
    assert len(sifted.kept) + len(sifted.dropped) == a + b


def test_a_limit_chooses_by_seed() -> None:
    rows = of(here=50)
    sifted = Limit(rows=10).apply(rows, seed=0)
    assert len(sifted.kept) == 10
    assert Counter(drop.why for drop in sifted.dropped) == {"over the limit": 40}
    assert sifted.kept == [r for r in rows if r["id"] in ids(sifted.kept)]
    assert ids(sifted.kept) != ids(rows[:10])
    assert ids(Limit(rows=10).apply(rows, seed=1).kept) != ids(sifted.kept)
    assert Limit(rows=50).apply(rows, seed=0).kept == rows


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1}])
def test_settings_that_make_no_sense(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Mix(shares=shares)
