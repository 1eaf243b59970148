from __future__ import annotations

from itertools import product
from math import comb

import pytest

from reckon.core.records import Verdict
from reckon.search.base import Aggregate, Rule, Tree
from reckon.search.choose import aggregated, choose
from tests.search.toy import problem


def tree_of(answers: str, scores: list[list[float]] | None = None) -> Tree:
    """A tree of whole responses, each with the answer that its letter says; ``-`` has none, ``.`` did not finish."""
    tree = Tree(problem(), "", [1], budget=100, limit=10, seed=0)
    for place, letter in enumerate(answers):
        node = tree.attach(tree.root)
        node.token_ids, node.finish = [1], "cancelled" if letter == "." else "stop"
        node.scores = scores[place] if scores else []
        node.ends = list(range(1, len(node.scores) + 1))
        if letter not in ".":
            node.verdict, node.answer = Verdict(0.0), None if letter == "-" else letter
    return tree


def chosen(tree: Tree, rule: Rule, aggregate: Aggregate = "last") -> int:
    node = choose(tree, rule, aggregate)
    assert node is not None
    return int(node.id)


def test_majority_and_scores_disagree() -> None:
    # Scores .9 + .8 for A and .3 + .2 + .1 for B.
    tree = tree_of("AABBB", [[0.9], [0.8], [0.3], [0.2], [0.1]])
    assert chosen(tree, "vote") == 2
    assert chosen(tree, "weighted") == 0
    assert chosen(tree, "best") == 0


def test_many_weak_votes_outweigh_the_single_best() -> None:
    tree = tree_of("ABB", [[0.9], [0.5], [0.6]])
    assert chosen(tree, "best") == 0
    assert chosen(tree, "weighted") == 2


def test_ties_go_to_what_was_found_first() -> None:
    assert chosen(tree_of("BABA"), "vote") == 0
    assert chosen(tree_of("BA", [[0.5], [0.5]]), "weighted") == 0
    assert chosen(tree_of("BA", [[0.5], [0.5]]), "best") == 0
    assert chosen(tree_of("BAA", [[0.0], [0.0], [0.0]]), "weighted") == 0


def test_what_has_no_answer_has_no_say() -> None:
    assert chosen(tree_of("--A"), "vote") == 2
    assert chosen(tree_of("-A", [[0.9], [0.1]]), "best") == 1
    assert chosen(tree_of("..--", [[0.9], [0.9], [0.1], [0.2]]), "best") == 3
    assert choose(tree_of(".."), "vote", "last") is None


@pytest.mark.parametrize(("aggregate", "value"), [("last", 0.5), ("min", 0.2), ("prod", 0.08), ("mean", 0.5)])
def test_step_scores_become_one(aggregate: Aggregate, value: float) -> None:
    assert aggregated([0.8, 0.2, 0.5], aggregate) == pytest.approx(value)
    assert aggregated([], aggregate) == 0.0


def test_the_aggregate_decides_who_is_best() -> None:
    tree = tree_of("AB", [[0.1, 0.9], [0.6, 0.6]])
    assert [chosen(tree, "best", each) for each in ("last", "min", "prod", "mean")] == [0, 1, 1, 1]


@pytest.mark.parametrize(("right", "expected"), [(0.6, 0.6826), (0.4, 0.3174)])
def test_a_vote_of_five_wins_as_often_as_the_binomial_says(right: float, expected: float) -> None:
    # One wrong answer only: the vote helps above 1/2 and hurts below.
    found = 0.0
    for draw in product("RW", repeat=5):
        if draw[chosen(tree_of("".join(draw)), "vote")] == "R":
            found += right ** draw.count("R") * (1 - right) ** draw.count("W")
    assert found == pytest.approx(expected, abs=1e-4)
    assert found == pytest.approx(sum(comb(5, k) * right**k * (1 - right) ** (5 - k) for k in (3, 4, 5)))
