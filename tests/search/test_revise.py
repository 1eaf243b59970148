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
