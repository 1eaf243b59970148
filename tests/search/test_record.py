from __future__ import annotations

import json
from pathlib import Path

import pytest

from reckon.core.errors import DataError
from reckon.search.beam import Beam
from reckon.search.grow import replay
from reckon.search.record import append_trees, read_trees, to_row
from reckon.search.revise import Revise
from tests.search.test_grow import facts, ragged, taste
from tests.search.toy import ToyEngine, grown, problem, searcher


def test_trees_come_back_as_they_were(tmp_path: Path) -> None:
    method = Beam(beams=4, width=2)
    trees = [grown(method, ragged, 100, taste, asked=problem(number)) for number in range(2)]
    file = tmp_path / "trees.jsonl"
    append_trees(file, trees[:1])
    append_trees(file, trees[1:])
    again = read_trees(file)
    assert [to_row(tree) for tree in again] == [to_row(tree) for tree in trees]
    assert facts(replay(again[1], method, 60)) == facts(replay(trees[1], method, 60))
    assert [len(node.children) for node in again[0].nodes] == [len(node.children) for node in trees[0].nodes]


def test_other_prompts_are_kept(tmp_path: Path) -> None:
    search = searcher(Revise(), ToyEngine(ragged))
    tree = search.plant(problem(), 60, 0, shown=[7, 8])
    search.grow([tree])
    append_trees(tmp_path / "trees.jsonl", [tree])
    [again] = read_trees(tmp_path / "trees.jsonl")
    assert again.shown(again.nodes[0]) == [7, 8]
    assert again.shown(again.nodes[1]) == tree.nodes[1].prompt_ids != tree.prompt_ids


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    file.write_text('{"problem": {"id": "p", "question": "q", "gold": 1}}\n')
    with pytest.raises(DataError, match="row 1"):
        read_trees(file)


def test_a_score_that_is_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "trees.jsonl"
    search = searcher(Revise(), ToyEngine(ragged))
    tree = search.plant(problem(), 60, 0)
    search.grow([tree])
    append_trees(file, [tree])
    row = json.loads(file.read_text())
    next(node for node in row["nodes"] if node["verdict"])["verdict"]["score"] = 7
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="row 1"):
        read_trees(file)
