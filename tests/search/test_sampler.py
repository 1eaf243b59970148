from __future__ import annotations

import random

import pytest

from reckon.core.errors import ConfigError
from reckon.engine.base import Sampling
from reckon.models.template import PromptTemplate
from reckon.search.base import Method
from reckon.search.beam import Beam
from reckon.search.independent import Vote
from reckon.search.methods import build_method
from reckon.search.revise import Revise
from reckon.search.sampler import SearchSampler, answer
from tests.search.test_grow import ragged, taste
from tests.search.toy import END, PROMPT, Letters, Scored, ToyEngine, problem, searcher


def sampler(method: Method, budget: int = 80) -> SearchSampler:
    return SearchSampler(searcher(method, ToyEngine(ragged), Scored(taste)), budget)


def test_a_search_takes_the_place_of_a_sample() -> None:
    problems = [problem(number) for number in range(3)]
    asked = sampler(Beam(beams=4, width=2)).ask(problems, 2, (0, "eval"))
    assert [(rollout.problem.id, rollout.sample) for rollout in asked] == [
        (f"p{number}", sample) for number in range(3) for sample in range(2)
    ]
    for rollout in asked:
        assert rollout.verdict is not None
        assert rollout.verdict.detail["search"]["generated"] <= 80
        assert len(rollout.logp) == len(rollout.response_ids) == len(rollout.sampled or [])
        assert (rollout.task, rollout.prompt) == ("guess", f"Q: {rollout.problem.question} A:")
    again = sampler(Beam(beams=4, width=2)).ask(problems[1:2], 2, (0, "eval"), done={("p1", 0)})
    assert [rollout.response_ids for rollout in again] == [asked[3].response_ids]


def test_without_a_finished_response_the_longest_is_given() -> None:
    engine = ToyEngine(lambda text, rng: "x")
    [rollout] = SearchSampler(searcher(Vote(), engine), 7).ask([problem()], 1, (0,))
    assert (rollout.response, rollout.finish) == ("x" * 7, "length")
    assert rollout.verdict is not None
    assert (rollout.verdict.score, rollout.verdict.detail["search"]["responses"]) == (0.0, 0)


def test_a_response_to_another_prompt_has_no_log_probs_of_this_one() -> None:
    def late(text: str, rng: random.Random) -> str:
        return ("=a" if text.count("Q:") > 1 else "no") + END

    [rollout] = SearchSampler(searcher(Revise(), ToyEngine(late)), 12).ask([problem()], 1, (0,))
    assert (rollout.response, rollout.logp) == ("=a", [])
    assert rollout.prompt_ids == Letters()("Q: q0? A:")["input_ids"]


def ask(budget: int) -> str:
    def boxed(text: str, rng: random.Random) -> str:
        return f"<think>.</think>\\boxed{{{rng.choice(('1/2', '0.5', '3', '4', '5'))}}}" + END

    rollout = answer(
        "half?",
        build_method({"kind": "vote"}),
        budget,
        engine=ToyEngine(boxed),
        tokenizer=Letters(),
        template=PromptTemplate(PROMPT),
        sampling=Sampling(max_new_tokens=60, stop_ids=(0,)),
    )
    assert rollout.verdict is not None
    assert rollout.verdict.score is None
    return rollout.response


def test_one_question_is_answered_and_equal_answers_vote_together() -> None:
    # 1/2 and 0.5 together are said twice as often as any other answer.
    assert ask(3000) in ("<think>.</think>\\boxed{1/2}", "<think>.</think>\\boxed{0.5}")
    with pytest.raises(ConfigError, match="budget of 0"):
        ask(0)
