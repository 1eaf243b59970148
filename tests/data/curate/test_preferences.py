import random

import pytest
from pydantic import ValidationError

from reckon.data.curate.preferences import Judgements, Labels, Pairs
from tests.data.curate.rows import ids, row


def test_a_pair_is_a_better_and_a_worse_response_to_one_problem() -> None:
    rows = [row("a-1", "good", score=1.0), row("a-2", "bad", score=0.0), row("b-1", score=0.0), row("c-1", score=None)]
    sifted = Pairs().apply(rows, seed=0)
    assert sifted.kept == [
        {
            "id": "a-1 > a-2",
            "task": "countdown",
            "question": "Make 24 from 3, 8, 1.",
            "chosen": "good",
            "rejected": "bad",
            "chosen_score": 1.0,
            "rejected_score": 0.0,
        }
    ]
    assert [(drop.row["id"], drop.why) for drop in sifted.dropped] == [("c-1", "no score"), ("b-1", "in no pair")]


@pytest.mark.parametrize(("difference", "pairs"), [(0.5, 1), (0.51, 0)])
def test_the_least_difference_is_kept(difference: float, pairs: int) -> None:
    rows = [row("a-1", score=1.0), row("a-2", score=0.5)]
    assert len(Pairs(min_difference=difference).apply(rows, seed=0).kept) == pairs


def test_no_response_is_in_two_pairs_and_no_problem_has_more_than_it_may() -> None:
    rows = [row(f"{problem}-{n}", score=n % 2) for problem in "abc" for n in range(7)]
    for most, pairs in ((1, 3), (2, 6), (9, 9)):
        sifted = Pairs(max=most).apply(rows, seed=0)
        members = [name for pair in sifted.kept for name in pair["id"].split(" > ")]
        assert len(sifted.kept) == pairs
        assert len(set(members)) == len(members) == 2 * pairs
        assert sorted(members + ids([drop.row for drop in sifted.dropped])) == sorted(ids(rows))
        assert [pair["id"][0] for pair in sifted.kept] == sorted(pair["id"][0] for pair in sifted.kept)


def test_lengths_are_balanced_where_good_answers_are_longer() -> None:
    rng = random.Random(0)
    rows = [
        row(f"{problem}-{n}", score=float(n % 2), tokens=rng.randint(5, 40) + 15 * (n % 2))
        for problem in range(50)
        for n in range(8)
    ]
    tokens = {r["id"]: r["tokens"] for r in rows}

    def mean_difference(names: list[tuple[str, str]]) -> float:
        return sum(tokens[a] - tokens[b] for a, b in names) / len(names)

    pairs = [tuple(pair["id"].split(" > ")) for pair in Pairs().apply(rows, seed=0).kept]
    naive = [(f"{problem}-1", f"{problem}-0") for problem in range(50)]
    assert len(pairs) == 50
    assert mean_difference(naive) > 10
    assert abs(mean_difference(pairs)) < 1


def test_labels_say_whether_the_score_reaches_the_threshold() -> None:
    rows = [row("a", "x", score=0.5), row("b", "y", score=0.49), row("c", score=None)]
    sifted = Labels(threshold=0.5).apply(rows, seed=0)
    assert [(r["id"], r["response"], r["label"]) for r in sifted.kept] == [("a", "x", 1), ("b", "y", 0)]
    assert list(sifted.kept[0]) == ["id", "task", "question", "response", "label"]
    assert [(drop.row["id"], drop.why) for drop in sifted.dropped] == [("c", "no score")]


def test_judgements_are_of_as_many_right_responses_as_wrong_ones() -> None:
    rows = [
        row(f"a-{n}", f"response {n}", score=score, gold="{}", reason="because", extracted=None)
        for n, score in enumerate((1.0, 0.0, 0.0, 0.5, None))
    ]
    sifted = Judgements().apply(rows, seed=0)
    assert [r["task"] for r in sifted.kept] == ["judge", "judge"]
    assert [r["response"].split()[-1] for r in sifted.kept] == ['"correct"}', '"incorrect"}']
    assert "response 0" in sifted.kept[0]["question"]
    assert sorted(drop.why for drop in sifted.dropped) == ["more of its verdict", "more of its verdict", "no score"]


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValidationError):
        Pairs(min_difference=0)
    with pytest.raises(ValidationError):
        Pairs(max=0)
    with pytest.raises(ValidationError):
        Labels()
