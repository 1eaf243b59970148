from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from reckon.search.base import Node, Tree
from reckon.search.mcts import Mcts, Place, back_up, descend, puct, uct
from tests.search.toy import END, grown, problem, texts


def test_worked_numbers() -> None:
    assert uct(0.6, parent_visits=10, visits=3, c=math.sqrt(2)) == pytest.approx(1.838974, abs=1e-6)
    assert puct(0.6, 0.4, parent_visits=10, visits=3, c=1.25) == pytest.approx(0.995285, abs=1e-6)
    assert puct(0.0, 0.4, parent_visits=10, visits=0, c=1.25) == pytest.approx(1.581139, abs=1e-6)
    assert uct(0.0, parent_visits=1, visits=0, c=1.0) == math.inf


def place(visits: int = 0, total: float = 0.0, *children: Place, open_: bool = True) -> Place:
    node = Node("", None, token_ids=[visits], finish=None if open_ else "stop")
    return Place(node, visits=visits, total=total, children=list(children))


def test_a_value_goes_up_one_path_alone() -> None:
    leaf, aside = place(), place(2, 1.0)
    middle, other = place(3, 1.5, leaf, aside), place(1, 0.25)
    root = place(5, 2.0, middle, other)
    back_up([root, middle, leaf], 0.75)
    assert [(one.visits, one.total) for one in (root, middle, leaf)] == [(6, 2.75), (4, 2.25), (1, 0.75)]
    assert [(one.visits, one.total) for one in (other, aside)] == [(1, 0.25), (2, 1.0)]


def test_the_way_down_ends_at_what_was_never_reached_and_avoids_what_is_spent() -> None:
    spent, new, known = place(9, 9.0), place(), place(1, 1.0)
    spent.spent = True
    root = place(11, 10.0, spent, known, new)
    way = descend(root, lambda above, below: uct(below.mean, above.visits, below.visits, 1.0))
    assert way == [root, new]


def test_a_branch_is_spent_with_its_last_child() -> None:
    first, second = place(open_=False), place(open_=False)
    root = place(1, 0.0, first, second)
    back_up([root, first], 1.0)
    assert (first.spent, root.spent) == (True, False)
    back_up([root, second], 0.0)
    assert root.spent


def arms(text: str, rng: random.Random) -> str:
    """Two first steps, g(ood) and b(ad); further ones are random letters, and nothing ever ends."""
    return rng.choice("gb") + ";" if text.endswith("A:") else rng.choice("xyzuvw") + ";"


@pytest.mark.parametrize("rule", ["uct", "puct"])
def test_visits_converge_on_the_better_arm(rule: str) -> None:
    method = Mcts(width=6, rule=rule, exploration=0.3)  # type: ignore[arg-type]
    tree = grown(method, arms, 1200, lambda text: 0.7 if text.startswith("g") else 0.3, most=40)
    below: dict[str, int] = {"g": 0, "b": 0}
    for node in tree.nodes:
        below[chr(node.path_ids()[0])] += 1
    assert below["g"] > 4 * below["b"] > 0
    assert tree.generated <= 1200


@pytest.mark.parametrize("rule", ["uct", "puct"])
def test_every_value_is_that_of_a_step_reached_for_the_first_time(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[int] = []

    def told(way: Sequence[Place], value: float) -> None:
        before.append(way[-1].visits)
        back_up(way, value)

    monkeypatch.setattr("reckon.search.mcts.back_up", told)
    method = Mcts(width=2, widening=0.5, rule=rule)  # type: ignore[arg-type]
    grown(method, arms, 600, lambda text: 0.9 if text.startswith("g") else 0.1, most=40)
    assert len(before) > 50
    assert set(before) == {0}


def answers(text: str, rng: random.Random) -> str:
    """Three steps of a letter each, then they are the answer."""
    said = text.partition("A:")[2]
    return rng.choice("ab") + ";" if said.count(";") < 3 else "=" + said.replace(";", "") + END


def test_a_small_tree_is_searched_to_its_end_and_begun_anew() -> None:
    method = Mcts(width=4)
    tree = grown(method, answers, 3000, lambda text: 0.5, asked=problem(gold="aba"))
    assert {"a;a;a;=aaa", "b;b;b;=bbb"} <= set(texts(tree))
    first_steps = len(tree.root.children)
    assert first_steps > 4
    assert first_steps % 4 == 0


def test_duplicates_are_one_child() -> None:
    root = place(1, 0.0)
    tree = Tree(problem(), "", [1], 10, 10, 0)
    nodes = [tree.attach(tree.root) for _ in range(4)]
    for node, (token, logp) in zip(nodes, [(1, -0.1), (2, -1.0), (1, -0.1), (2, -1.0)], strict=True):
        node.token_ids, node.logp = [token], [logp]
    root.expand(nodes)
    assert [child.node for child in root.children] == nodes[:2]
    total = math.exp(-0.1) + math.exp(-1.0)
    assert [child.prior for child in root.children] == pytest.approx([math.exp(-0.1) / total, math.exp(-1.0) / total])
