from __future__ import annotations

import random
from dataclasses import replace

import pytest

from reckon.core.errors import ConfigError, DataError, Interrupted
from reckon.core.records import Problem, Verdict
from reckon.models.steps import StepRule, step_ends
from reckon.search.base import Method, Tree
from reckon.search.beam import Beam
from reckon.search.independent import BestOfN, Vote
from reckon.search.mcts import Mcts
from reckon.search.rebase import Rebase
from reckon.search.sampler import cost
from reckon.search.scorers import Confidence
from tests.search.test_grow import facts, ragged, taste
from tests.search.toy import END, Guess, Letters, Scored, ToyEngine, grown, problem, searcher


def test_steps_end_with_their_separator_or_when_they_are_full() -> None:
    ids = Letters()("ab;cdefgh;i")["input_ids"]
    assert step_ends(ids, Letters(), StepRule(separators=(";",))) == [3, 10, 11]  # type: ignore[arg-type]
    assert step_ends(ids, Letters(), StepRule(separators=(";",), max_tokens=4)) == [3, 7, 10, 11]  # type: ignore[arg-type]
    assert step_ends(ids, Letters(), StepRule(separators=())) == [11]  # type: ignore[arg-type]
    assert step_ends([], Letters(), StepRule()) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [Vote(), Beam(beams=4, width=2), Rebase(width=4), Mcts(width=3)])
def test_a_tree_depends_on_nothing_beside_it(method: Method) -> None:
    alone = grown(method, ragged, 120, taste)
    engine = ToyEngine(ragged, max_running=3)
    search = searcher(method, engine, Scored(taste))
    trees = [search.plant(problem(number), 120, seed) for number, seed in ((1, 5), (0, 0), (2, 7), (0, 1))]
    search.grow(trees)
    own = [row[: len(row) - 1] for row in facts(trees[1])]
    assert own == [row[: len(row) - 1] for row in facts(alone)]
    assert facts(trees[3]) != facts(trees[1]), "another seed gives another tree"


def test_frontiers_of_all_problems_run_together() -> None:
    engine = ToyEngine(lambda text, rng: "ab;" if text.count(";") < 3 else "=a" + END)
    search = searcher(Beam(beams=4, width=2), engine, Scored(taste))
    trees = [search.plant(problem(number), 300, 0) for number in range(10)]
    polls = 0
    poll = engine.poll

    def counted() -> list[object]:
        nonlocal polls
        polls += 1
        return poll()  # type: ignore[return-value]

    engine.poll = counted  # type: ignore[method-assign, assignment]
    search.grow(trees)
    assert engine.sampled == 3000
    assert polls < 200, "a problem at a time would take 3000 / 4 polls and more"


def test_generation_goes_on_from_token_ids() -> None:
    engine = ToyEngine(lambda text, rng: "ab;" if text.count(";") < 2 else "=a" + END)
    search = searcher(Beam(beams=1, width=1), engine, Scored(taste))
    tree = search.plant(problem(), 9, 0)
    search.grow([tree])
    prompt = tree.prompt_ids
    assert [request.prompt_ids for request in engine.requests[:3]] == [
        prompt,
        [*prompt, *tree.nodes[0].token_ids],
        [*prompt, *tree.nodes[0].token_ids, *tree.nodes[1].token_ids],
    ]
    assert tree.nodes[2].path_ids() == list(map(ord, "ab;ab;=a" + END))


def test_what_is_read_is_counted_beside() -> None:
    # Q: q0? A: has 9 letters; steps of 3; a beam of 2 with both kept.
    tree = grown(Beam(beams=2, width=1), lambda text, rng: "ab;" if text.count(";") < 1 else "=a" + END, 12, taste)
    assert len(tree.prompt_ids) == 9
    assert cost(tree) == {
        "generated": 12,
        "prefill": 9 + 12 + 12,
        "scored": 2 * (9 + 3) + 2 * (9 + 6),
        "responses": 2,
    }


def test_whole_responses_are_scored_at_every_step() -> None:
    tree = grown(BestOfN(), lambda text, rng: "ab;c;=a" + END, 8, lambda text: len(text) / 10)
    [node] = tree.nodes
    assert (node.ends, node.scores) == ([3, 5, 8], [0.3, 0.5, 0.8])


def test_confidence_is_the_mean_likelihood_up_to_each_step() -> None:
    tree = grown(Vote(), lambda text, rng: "ab;c;=a" + END, 8)
    node = tree.nodes[0]
    node.logp = [-1.0, -2.0, 0.0, -1.0, -1.0, -0.2, -0.2, -0.2]
    path = searcher(Vote(), ToyEngine(ragged)).path(tree, node)
    assert Confidence().score([path])[0] == pytest.approx([2.718281828 ** (-each) for each in (1.0, 1.0, 0.7)])


@pytest.mark.parametrize("bad", [float("nan"), 1.5, -0.1])
def test_a_score_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="p0, node 0"):
        grown(BestOfN(), ragged, 50, lambda text: bad)


def test_a_method_that_ranks_needs_a_scorer() -> None:
    with pytest.raises(ConfigError, match="beam needs a scorer"):
        searcher(Beam(), ToyEngine(ragged))
    with pytest.raises(ConfigError, match="best-of-n needs a scorer"):
        searcher(BestOfN(), ToyEngine(ragged))
    with pytest.raises(ConfigError, match=r"`choose: best` needs a scorer.*Name one, or use `choose: vote`"):
        searcher(Vote(choose="best"), ToyEngine(ragged))
    with pytest.raises(ConfigError, match="at least 1"):
        searcher(Vote(), ToyEngine(ragged)).plant(problem(), 0, 0)


def test_what_is_abandoned_is_cancelled() -> None:
    engine = ToyEngine(ragged)
    search = searcher(Vote(), engine)
    polls = 0

    def check() -> None:
        nonlocal polls
        polls += 1
        if polls == 4:
            raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        search.grow([search.plant(problem(), 500, 0)], check)
    assert engine.cancelled
    assert engine.poll() == []


def test_stop_texts_end_a_response_and_separators_a_step() -> None:
    def policy(text: str, rng: random.Random) -> str:
        return "ab;" if text.count(";") < 2 else "=a!zz"

    engine = ToyEngine(policy)
    made = searcher(Beam(beams=1, width=1), engine, Scored(taste))
    made = replace(made, sampler=replace(made.sampler, sampling=replace(made.sampler.sampling, stop=("!",))))
    tree: Tree = made.plant(problem(gold="a!"), 9, 0)
    made.grow([tree])
    assert [(node.text, node.finish) for node in tree.nodes] == [("ab;", None), ("ab;", None), ("=a!", "stop")]
    assert tree.nodes[-1].verdict == Verdict(1.0, "", "a!")


def test_answers_that_the_task_calls_equal_are_written_alike() -> None:
    class Cased(Guess):
        kind = "cased"

        def same_answer(self, problem: Problem, first: str, second: str) -> bool:
            return first.lower() == second.lower()

    tree = grown(Vote(), lambda text, rng: "=" + rng.choice("aAbB") + END, 60, task=Cased())
    assert {node.answer for node in tree.finished()} < set("aAbB")
    assert len({(node.answer or "").lower() for node in tree.finished()}) == 2
    assert len({node.answer for node in tree.finished()}) == 2


def test_a_stop_text_ends_the_response_in_whichever_steps_it_stands() -> None:
    said = "ab.>=a.>?c"

    def script(text: str, rng: random.Random) -> str:
        written = text.partition("A:")[2]
        return said[len(written)] if len(written) < len(said) else END

    for size in range(1, 9):
        made = searcher(Beam(beams=1, width=1), ToyEngine(script), Scored(taste))
        sampling = replace(made.sampler.sampling, stop=(".>?", "?c!"))
        sampler = replace(made.sampler, sampling=sampling)
        made = replace(made, sampler=sampler, steps=StepRule(separators=(), max_tokens=size))
        tree = made.plant(problem(), 9, 0)
        made.grow([tree])
        [end] = tree.finished()
        assert (made.path(tree, end).text, end.finish) == ("ab.>=a.>?", "stop"), size
        assert end.answer == "a.>?"
