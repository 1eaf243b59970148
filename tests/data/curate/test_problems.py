import random

import pytest
from pydantic import ValidationError

from reckon.data.curate.problems import Cap, Dedup, PassRate
from tests.data.curate.rows import ids, row


def test_dedup_keeps_the_first_of_each_problem() -> None:
    rows = [row("a-1", "X  y"), row("a-2", " x\ny "), row("a-3", "x y 2"), row("b-1", "x y")]
    sifted = Dedup().apply(rows, seed=0)
    assert ids(sifted.kept) == ["a-1", "a-3", "b-1"]
    assert [(drop.row["id"], drop.why, drop.match) for drop in sifted.dropped] == [("a-2", "said before", "a-1")]


def test_problems_of_two_tasks_are_two_problems() -> None:
    rows = [row("a-1", "x"), row("a-2", "x", task="logic")]
    assert Dedup().apply(rows, seed=0).kept == rows
    assert Cap(max=1).apply(rows, seed=0).kept == rows


def test_cap_keeps_random_ones_whatever_their_order_and_length() -> None:
    rows = [row(f"{problem}-{number}", tokens=number) for problem in "abcdefgh" for number in range(20)]
    sifted = Cap(max=3).apply(rows, seed=0)
    assert [len([r for r in sifted.kept if r["problem"] == problem]) for problem in "abcdefgh"] == [3] * 8
    assert {drop.why for drop in sifted.dropped} == {"enough of the problem"}
    assert sifted.kept == [r for r in rows if r["id"] in ids(sifted.kept)]
    mean = sum(r["tokens"] for r in sifted.kept) / 24
    assert 6.5 < mean < 12.5, "the mean of 24 draws from 0..19 lies within 2.5 standard errors of 9.5"

    mixed = random.Random(0).sample(rows, len(rows))
    assert set(ids(Cap(max=3).apply(mixed, seed=0).kept)) == set(ids(sifted.kept))
    assert ids(Cap(max=3).apply(rows, seed=1).kept) != ids(sifted.kept)


def test_cap_can_prefer_the_shortest_and_takes_the_first_of_equals() -> None:
    rows = [row("a-1", tokens=5), row("a-2", tokens=3), row("a-3", tokens=3), row("a-4", tokens=None)]
    sifted = Cap(max=1, prefer="shortest").apply(rows, seed=0)
    assert ids(sifted.kept) == ["a-2"]
    assert sorted((drop.row["id"], drop.why) for drop in sifted.dropped) == [
        ("a-1", "enough of the problem"),
        ("a-3", "enough of the problem"),
        ("a-4", "no tokens"),
    ]


def test_pass_rate_keeps_problems_between_its_limits_both_included() -> None:
    scores = {"a": [0, 0, 0, 0], "b": [1, 0, 0, 0], "c": [1, 1, 0, 0.9], "d": [1, 1, 1, 1], "e": [1, None]}
    rows = [row(f"{problem}-{n}", score=score) for problem, all_ in scores.items() for n, score in enumerate(all_)]
    sifted = PassRate(low=0.25, high=0.5).apply(rows, seed=0)
    assert {r["problem"] for r in sifted.kept} == {"b", "c"}
    assert len(sifted.kept) == 8
    reasons = [(drop.row["problem"], drop.why) for drop in sifted.dropped]
    assert set(reasons) == {
        ("a", "solved too rarely"),
        ("d", "solved too often"),
        ("e", "solved too often"),
        ("e", "no score"),
    }


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValidationError, match="low must not exceed high"):
        PassRate(low=0.6, high=0.5)
    with pytest.raises(ValidationError):
        Cap(max=0)
    with pytest.raises(ValidationError):
        Cap(max=1, prefer="longest")
