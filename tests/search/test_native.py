"""With the shipped model and the engine in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reckon.engine.base import Sampling
from reckon.engine.native import NativeEngine
from reckon.models.load import end_ids, load_model
from reckon.models.steps import MICRO_STEPS
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler
from reckon.search.base import Method, Tree
from reckon.search.beam import Beam
from reckon.search.force import Force
from reckon.search.oracle import CountdownOracle
from reckon.search.rebase import Rebase
from reckon.search.revise import Revise
from reckon.search.searcher import Searcher
from reckon.tasks.countdown import CountdownTask

Search = Callable[[Method, int], tuple[Searcher, list[Tree]]]


@pytest.fixture(scope="module")
def search() -> Search:
    model, tokenizer = load_model("micro")
    task = CountdownTask(CountdownTask.Config(heldout_problems=3))
    sampling = Sampling(max_new_tokens=120, stop_ids=end_ids(model, tokenizer))

    def grown(method: Method, budget: int) -> tuple[Searcher, list[Tree]]:
        sampler = Sampler(task, NativeEngine(model, tokenizer), tokenizer, PromptTemplate("micro"), sampling)
        made = Searcher(sampler, method, CountdownOracle(tokenizer), MICRO_STEPS)
        trees = [made.plant(asked, budget, seed) for seed, asked in enumerate(task.problems("heldout"))]
        made.grow(trees)
        return made, trees

    return grown


@pytest.mark.parametrize("method", [Beam(), Rebase()], ids=lambda method: method.kind)
def test_a_path_is_what_the_model_would_have_written_in_one_go(search: Search, method: Method) -> None:
    made, trees = search(method, 250)
    for tree in trees:
        assert tree.generated == 250
        assert tree.finished()
        for node in tree.finished():
            ids, steps = node.path_ids(), node.lineage()
            [expected] = made.sampler.engine.score([tree.prompt_ids], [ids])
            assert node.path_logp() == pytest.approx(expected, abs=1e-4)
            assert all(step.text.count(",") == 1 for step in steps[:-1] if step.generated < 24)
            assert node.path_ends() == [step.length for step in steps]
        assert {score for node in tree.nodes for score in node.scores} <= {0.0, 1.0}


def test_revisions_fit_into_the_context_by_default(search: Search) -> None:
    made, trees = search(Revise(), 1024)
    engine = made.sampler.engine
    assert engine.max_context == 512
    for tree in trees:
        assert tree.generated == 1024
        later = [node.prompt_ids for node in tree.nodes[1:]]
        assert all(ids is not None and len(tree.prompt_ids) < len(ids) <= 256 for ids in later)


def test_words_are_forced_as_tokens(search: Search) -> None:
    made, trees = search(Force(word=" wait,", waits=2, answer_tokens=30), 120)
    made_to_go_on = [tree for tree in trees if any(node.forced for node in tree.nodes)]
    assert made_to_go_on
    for tree in made_to_go_on:
        assert all(node.text.startswith((" wait,", "</think>")) for node in tree.nodes if node.forced)
        path = made.path(tree, tree.nodes[-1])
        assert path.text.count("</think>") == 1
        assert path.text.count("wait,") >= sum(node.text.startswith(" wait,") for node in tree.nodes)
        assert len(path.token_ids) <= 120
