from __future__ import annotations

import random

import pytest

from reckon.search.base import Tree
from reckon.search.force import Force
from tests.search.toy import END, ToyEngine, grown, problem, searcher, texts

STOP = "</t>"


def brief(text: str, rng: random.Random) -> str:
    """Ends its thinking at the third step, and again two steps after every ``w``; then answers."""
    said = text.partition("A:")[2]
    if STOP in said:
        return "=a" + END
    steps = said.rpartition("w")[2].count(";")
    return "x;" if steps < (2 if "w" not in said else 1) else STOP


def endless(text: str, rng: random.Random) -> str:
    return "=a" + END if STOP in text else "x"


def force(**settings: int | str) -> Force:
    return Force.model_validate({"word": "w", "end": STOP, "answer_tokens": 10, **settings})


@pytest.mark.parametrize("waits", [0, 1, 2, 5])
def test_it_is_made_to_go_on_exactly_so_many_times(waits: int) -> None:
    tree = grown(force(waits=waits, thinking_tokens=50), brief, 150, most=100)
    assert texts(tree)[0] == "x;x;" + "wx;" * waits + STOP + "=a"


def test_thinking_ends_exactly_at_its_limit() -> None:
    for limit in (1, 5, 17, 60):
        tree = grown(force(waits=3, thinking_tokens=limit), endless, 80, most=100)
        thought, _, answer = texts(tree)[0].partition(STOP)
        assert (len(thought), answer) == (limit, "=a")


def test_forced_words_count_as_thinking_and_are_cut_at_the_limit() -> None:
    # x;x; are 4, and the word is cut to the 5 that are left.
    tree = grown(force(word="w" * 9, waits=3, thinking_tokens=9), brief, 60, most=100)
    assert texts(tree)[0] == "x;x;" + "w" * 5 + STOP + "=a"


def test_what_is_taken_back_was_paid() -> None:
    tree = grown(force(waits=1), brief, 40, most=100)
    assert texts(tree) == ["x;x;wx;" + STOP + "=a"], "one response where the method plans by its budget"
    # x;x;</t> is 8, x;</t> another 6, and the answer 3; the word is not sampled.
    assert tree.generated == 17
    whole = tree.finished()[0]
    assert "".join("w" if not sampled else "." for sampled in whole.path_sampled()) == "....w.........", "one forced"
    assert whole.path_logp()[4] == 0.0


def test_the_budget_is_the_limit_unless_one_is_given() -> None:
    tree = grown(force(), endless, 40, most=100)
    thought, _, answer = texts(tree)[0].partition(STOP)
    assert (len(thought), answer) == (30, "=a")
    assert tree.generated <= 40
    longest = grown(force(), endless, 400, most=100)
    assert len(texts(longest)[0].partition(STOP)[0]) == 90
    assert len(longest.finished()) == 1


def test_with_a_limit_of_its_own_others_follow() -> None:
    tree = grown(force(thinking_tokens=10), endless, 60, most=100)
    assert texts(tree) == ["x" * 10 + STOP + "=a"] * 4
    assert tree.generated == 60


def test_an_end_that_no_token_stands_for_is_taken_back_whole() -> None:
    engine = ToyEngine(brief)
    search = searcher(force(waits=1), engine, most=100)
    tree: Tree = search.plant(problem(), 50, 0)
    search.grow([tree])
    first, second = tree.nodes[:2]
    assert first.text == "x;x;" + STOP
    assert (second.kept, second.forced, second.text) == (4, 1, "wx;" + STOP)
    shown = "".join(map(chr, engine.requests[1].prompt_ids))
    assert shown.endswith("A:x;x;w")
    assert engine.requests[1].prompt_ids[: len(tree.prompt_ids) + 4] == [*tree.prompt_ids, *first.token_ids[:4]]


def test_what_answers_without_thinking_is_left_alone() -> None:
    tree = grown(force(), lambda text, rng: "=a" + END, 40)
    assert texts(tree) == ["=a"]


def test_forced_words_that_fill_a_response_are_not_forced_for_ever() -> None:
    # Nothing is left of six tokens beside the forced end and what follows it, so the search is over and not paid.
    tree = grown(force(thinking_tokens=1, answer="!!"), endless, 80, most=6)
    assert texts(tree) == [STOP + "!!"]
    assert tree.generated == 0
