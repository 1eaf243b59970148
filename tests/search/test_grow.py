"""The budget: never exceeded, spent in order, and a smaller one is the beginning of a larger."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core.errors import ConfigError, DataError
from reckon.search.base import Method, Tree
from reckon.search.beam import Beam, Dvts
from reckon.search.choose import choose
from reckon.search.force import Force
from reckon.search.grow import RECORDED, replay
from reckon.search.independent import BestOfN, Vote
from reckon.search.mcts import Mcts
from reckon.search.methods import METHODS
from reckon.search.rebase import Rebase
from reckon.search.revise import Revise
from tests.search.toy import END, STEPS, Scored, ToyEngine, grown, problem, searcher

METHODS_HERE: list[Method] = [
    Vote(),
    BestOfN(),
    Beam(beams=4, width=2),
    Dvts(trees=2, width=2),
    Rebase(width=5, temperature=0.3),
    Mcts(width=3),
    Mcts(width=2, rule="puct"),
    Revise(shown=2),
    Force(thinking_tokens=9, answer_tokens=8, waits=2, word="w", end="</t>"),
]


def ragged(text: str, rng: random.Random) -> str:
    """Steps of one to six letters, thoughts that end, and answers now and then."""
    if rng.random() < 0.15:
        return "</t>"
    if rng.random() < 0.25:
        return "=" + rng.choice("ab") + END
    return rng.choice("cdefgh") * rng.randint(1, 6) + rng.choice((";", ""))


def taste(text: str) -> float:
    return (sum(map(ord, text)) % 97) / 97


def facts(tree: Tree) -> list[tuple[object, ...]]:
    return [(node.id, *(getattr(node, name) for name in RECORDED)) for node in tree.nodes]


def test_every_method_has_its_part_here() -> None:
    assert {method.kind for method in METHODS_HERE} | {"weighted-vote"} == set(METHODS)


@settings(max_examples=60, deadline=None)
@given(
    method=st.sampled_from(METHODS_HERE),
    budget=st.integers(1, 160),
    most=st.integers(9, 40),
    step=st.none() | st.integers(1, 7),
    seed=st.integers(0, 1000),
    share=st.floats(0, 1),
)
def test_no_budget_is_exceeded_and_a_smaller_one_is_the_beginning(
    method: Method, budget: int, most: int, step: int | None, seed: int, share: float
) -> None:
    def search(tokens: int) -> Tree:
        engine = ToyEngine(ragged)
        made = searcher(method, engine, Scored(taste), most=most)
        made = replace(made, steps=STEPS.model_copy(update={"max_tokens": step}))
        tree = made.plant(problem(), tokens, seed)
        made.grow([tree])
        assert engine.sampled == tree.generated <= tokens, "what is not in the tree was not generated either"
        assert all(node.length <= most for node in tree.nodes)
        return tree

    large = search(budget)
    assert large.generated == budget or not large.nodes[-1].open
    smaller = max(1, round(share * budget))
    fresh, replayed = search(smaller), replay(large, method, smaller)
    # What the scorer reads is shared out over a round, and a round cut short has fewer nodes.
    for name in set(RECORDED) - {"scored", "text"}:
        assert [getattr(n, name) for n in replayed.nodes] == [getattr(n, name) for n in fresh.nodes], name
    for rule in ("vote", "weighted", "best"):
        now, then = choose(fresh, rule, "last"), choose(replayed, rule, "last")  # type: ignore[arg-type]
        assert (now and now.id) == (then and then.id)


def test_the_last_node_is_cut_off_where_the_budget_ends() -> None:
    tree = grown(Vote(), lambda text, rng: "c" * 9 + "=a" + END, 30)
    assert [len(node.token_ids) for node in tree.nodes] == [12, 12, 6]
    assert [node.finish for node in tree.nodes] == ["stop", "stop", "cancelled"]
    assert [node.answer for node in tree.nodes] == ["a", "a", None]


def test_a_response_at_its_own_limit_is_whole() -> None:
    tree = grown(Vote(), lambda text, rng: "c", 30, most=10)
    assert [node.finish for node in tree.nodes] == ["length"] * 3
    assert [node.answer for node in tree.nodes] == [None] * 3


def test_replay_refuses_what_it_cannot_know() -> None:
    tree = grown(Vote(), ragged, 50)
    with pytest.raises(ConfigError, match="has no more than that"):
        replay(tree, Vote(), 51)
    beam = grown(Beam(beams=4, width=2), ragged, 50, taste)
    with pytest.raises(DataError, match="has no node"):
        replay(beam, Vote(), 50)
    planning = Force(answer_tokens=8)
    forced = grown(planning, ragged, 50)
    assert [node.id for node in replay(forced, planning, 50).nodes] == [node.id for node in forced.nodes]
    with pytest.raises(ConfigError, match="plans by its budget"):
        replay(forced, planning, 40)


def test_the_end_of_a_budget_is_the_same_live_and_replayed_where_a_node_would_cost_nothing() -> None:
    # After nine tokens of thinking the forced end fills the response: a node of no tokens, where the budget has ended.
    method = Force(thinking_tokens=9, answer_tokens=1, waits=0, end="</t>")
    large, small = (grown(method, lambda text, rng: "c", budget, most=10) for budget in (30, 9))
    assert [node.finish for node in large.nodes[:2]] == [None, "length"]
    assert [node.id for node in replay(large, method, 9).nodes] == [node.id for node in small.nodes] == ["0"]
