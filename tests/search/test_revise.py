from __future__ import annotations

import random

import pytest

from reckon.core.errors import ConfigError
from reckon.search.choose import choose
from reckon.search.methods import build_method
from reckon.search.revise import Revise
from tests.search.toy import END, ToyEngine, problem, searcher, texts


def fickle(text: str, rng: random.Random) -> str:
    """Right at first, then wrong, then right for ever."""
    return ("=b" if text.count("Q:") == 2 else "=a") + END


def test_each_answer_is_asked_for_after_the_ones_before() -> None:
    engine = ToyEngine(fickle)
    search = searcher(Revise(shown=2, question="again {question}"), engine)
    tree = search.plant(problem(), 12, 0)
    search.grow([tree])
    assert ["".join(map(chr, request.prompt_ids)) for request in engine.requests] == [
        "Q: q0? A:",
        "Q: q0? A:=a\n\nQ: again q0? A:",
        "Q: q0? A:=a\n\nQ: q0? A:=b\n\nQ: again q0? A:",
        "Q: q0? A:=b\n\nQ: q0? A:=a\n\nQ: again q0? A:",
    ]
    assert texts(tree) == ["=a", "=b", "=a", "=a"]


def test_the_latest_answers_are_shown_that_fit_into_half_of_the_context() -> None:
    # The prompt has 9 letters; the one with an answer 23, with two of them 37.
    for context, shown in ((74, [0, 1, 2, 2]), (73, [0, 1, 1, 1]), (46, [0, 1, 1, 1]), (45, [0, 0, 0, 0])):
        engine = ToyEngine(lambda text, rng: "=ab" + END, max_context=context)
        search = searcher(Revise(question="{question}"), engine, most=30)
        tree = search.plant(problem(), 16, 0)
        search.grow([tree])
        assert ["".join(map(chr, request.prompt_ids)).count("=ab") for request in engine.requests] == shown
        assert len(tree.finished()) == 4


def test_a_revised_answer_ends_where_the_context_does() -> None:
    engine = ToyEngine(lambda text, rng: "=ab" + END if text.count("Q:") == 1 else "x", max_context=50)
    search = searcher(Revise(question="{question}"), engine, most=41)
    tree = search.plant(problem(), 4 + 27, 0)
    search.grow([tree])
    assert [(node.generated, node.finish) for node in tree.nodes] == [(4, "stop"), (27, "length")]


def test_an_answer_revised_away_is_not_lost() -> None:
    engine = ToyEngine(fickle)
    search = searcher(Revise(), engine)
    tree = search.plant(problem(), 9, 0)
    search.grow([tree])
    node = choose(tree, "vote", "last")
    assert node is tree.nodes[0]


def test_a_question_must_ask() -> None:
    with pytest.raises(ConfigError, match="Nothing would be asked"):
        build_method({"kind": "revise", "question": "Look again."})


def test_a_method_is_found_by_its_name() -> None:
    assert build_method({"kind": "revise", "shown": 1}) == Revise(shown=1)
    with pytest.raises(ConfigError, match="did you mean 'rebase'"):
        build_method({"kind": "rebas"})
    with pytest.raises(ConfigError, match="width"):
        build_method({"kind": "rebase", "widht": 3})
