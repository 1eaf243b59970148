from __future__ import annotations

import random

from reckon.core.records import Problem
from reckon.search.base import Node, Tree
from reckon.search.beam import Beam, Dvts
from reckon.search.choose import choose
from reckon.search.independent import BestOfN
from reckon.search.rebase import Rebase
from tests.search.toy import END, grown, problem, texts

GOLD = "dbca"


def letters(text: str, rng: random.Random) -> str:
    """Four steps of one letter each; the answer is all four. One in 256 responses is right."""
    said = text.partition("A:")[2]
    return rng.choice("abcd") + ";" if said.count(";") < 4 else "=" + said.replace(";", "") + END


def agreement(text: str) -> float:
    """How much of what was said is as the gold has it, as long as nothing is wrong."""
    said = text.partition("=")[0].replace(";", "")
    return len(said) / 4 if GOLD.startswith(said) else 0.0


def one_pass(method: Beam | Dvts | Rebase, asked: Problem | None = None, seed: int = 0) -> Tree:
    """The first search of a method, with a budget that ends it: 13 or 14 tokens a response, so many places."""
    places = {"beam": "beams", "dvts": "trees", "rebase": "width"}[method.kind]
    count = getattr(method, places) * (method.width if method.kind == "dvts" else 1)
    return grown(method, letters, count * 14, agreement, asked=asked or problem(gold=GOLD), seed=seed)


def found(tree: Tree) -> bool:
    node = choose(tree, "best", "last")
    return node is not None and node.verdict is not None and node.verdict.score == 1


def test_beam_and_its_relatives_find_what_independent_samples_miss() -> None:
    seeds = range(20)
    budget = 16 * 14
    # A tree of four has its next letter among four with chance 0.68, at each of four steps: one of four trees, 0.63.
    least = {"beam": 18, "dvts": 8, "rebase": 18}
    alone = [grown(BestOfN(), letters, budget, agreement, asked=problem(gold=GOLD), seed=seed) for seed in seeds]
    assert sum(map(found, alone)) <= 4
    for method in (Beam(beams=16, width=4), Dvts(trees=4, width=4), Rebase(width=16)):
        assert sum(found(one_pass(method, seed=seed)) for seed in seeds) >= least[method.kind]


def depth(node: Node) -> int:
    return len(node.lineage())


def test_a_width_of_one_is_best_of_n() -> None:
    tree = one_pass(Beam(beams=5, width=1))
    assert len(tree.root.children) == 5
    assert all(len(node.children) == (0 if node.finished else 1) for node in tree.nodes)
    assert len(texts(tree)) == 5


def test_beam_keeps_the_best_and_spreads_evenly() -> None:
    tree = one_pass(Beam(beams=8, width=4))
    first = tree.nodes[:8]
    assert all(node.parent is tree.root for node in first)
    kept = [node for node in first if node.children]
    assert len(kept) == 2
    assert [len(node.children) for node in kept] == [4, 4]
    best = sorted((agreement(node.text) for node in first), reverse=True)
    assert sorted((agreement(node.text) for node in kept), reverse=True) == best[:2]


def test_what_ends_leaves_its_place() -> None:
    def early(text: str, rng: random.Random) -> str:
        return "=x" + END if rng.random() < 0.5 else "a;"

    tree = grown(Beam(beams=8, width=2), early, 200, lambda text: 0.5, most=30)
    levels: dict[int, list[Node]] = {}
    for node in tree.nodes:
        if node.id.split(".")[0] in map(str, range(8)):
            levels.setdefault(depth(node), []).append(node)
    for level, nodes in levels.items():
        if level + 1 in levels:
            assert len(levels[level + 1]) == sum(node.open for node in nodes)


def test_a_search_that_is_over_is_begun_anew() -> None:
    tree = grown(Beam(beams=4, width=2), letters, 300, agreement, asked=problem(gold=GOLD))
    assert len(tree.root.children) >= 8
    assert len(texts(tree)) >= 8


def test_dvts_trees_stay_apart() -> None:
    tree = one_pass(Dvts(trees=3, width=4))
    first = tree.nodes[:12]
    families = [first[0:4], first[4:8], first[8:12]]
    for family in families:
        kept = [node for node in family if node.children]
        assert len(kept) == 1
        assert agreement(kept[0].text) == max(agreement(node.text) for node in family)


def test_rebase_conserves_its_samples() -> None:
    tree = one_pass(Rebase(width=16, temperature=0.5))
    ended, level = 0, tree.nodes[:16]
    while level:
        below = [child for node in level for child in node.children]
        ended += sum(node.finished for node in level)
        assert len(below) + ended == 16
        level = below
    assert ended == len(texts(tree)) == 16


def test_rebase_prefers_the_better_steps() -> None:
    tree = one_pass(Rebase(width=16))
    right = [node for node in tree.nodes[:16] if agreement(node.text) > 0]
    wrong = [node for node in tree.nodes[:16] if agreement(node.text) == 0]
    assert len(right) * len(wrong) > 0
    assert min(len(node.children) for node in right) >= max(len(node.children) for node in wrong)
