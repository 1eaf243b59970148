"""Budgets of thinking, with an engine that thinks for as long as it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.models.load import load_model
from reckon.serve.choice import Choice, Plan
from reckon.serve.prompt import Prompt
from reckon.serve.text import State, Tags, decoder
from tests.serve.serving import END, TOKENIZER, Scripted, ids

TAGS = Tags.of(TOKENIZER)
PROMPT = tuple(ids("User: ?\nAssistant:"))
CLOSE = ids(" </think>")[0]


def never_ends(prompt: Sequence[int]) -> list[int]:
    """Thinks until its thinking is ended, and then answers."""
    if CLOSE in prompt:
        return [*ids(" <answer> 24 </answer>"), END]
    return [*ids(" <think>"), *ids(" no.") * 600]


def run(engine: Any, closing: str = "", **plan: Any) -> tuple[Choice, str, str]:
    """Follow a choice to its end; it, its thinking and its answer."""
    settings: dict[str, Any] = {"max_tokens": 100, "temperature": 1.0, "top_p": 1.0, "stops": (), "end_ids": (END,)}
    asked = Plan(prompt=Prompt(list(PROMPT), plan.pop("state", "undecided")), seed=1, **{**settings, **plan})
    choice = Choice(asked, TAGS, decoder(TOKENIZER), ids(closing) if closing else [])
    deltas = [choice.begin()]
    while choice.finish is None:
        [completion] = engine.generate(
            [choice.request(0)], on_token=lambda _, token: deltas.append(choice.feed([token]))
        )
        deltas.append(choice.end(completion))
    return choice, "".join(one.thinking for one in deltas), "".join(one.answer for one in deltas)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 120), st.integers(1, 120), st.sampled_from(["undecided", "thinking", "answer"]))
def test_a_budget_is_kept_and_leaves_room_for_an_answer(budget: int, most: int, state: State) -> None:
    choice, _, answer = run(Scripted(never_ends), budget=budget, max_tokens=most, state=state)
    assert len(choice.tokens) == len(choice.logp) <= most
    if state != "answer":
        assert choice.thought <= max(budget, 2)
    if most >= 8 and state != "answer":
        assert answer.startswith("<answer>")


def test_the_end_of_the_thinking_is_put_there_as_a_token() -> None:
    choice, thinking, answer = run(Scripted(never_ends), budget=5)
    assert choice.tokens == [*ids(" <think> no. no. no. </think> <answer> 24 </answer>"), END]
    assert (thinking, answer, choice.thought) == ("no. no. no.", "<answer> 24 </answer>", 5)
    assert choice.logp[:6] == [-0.5, -0.5, -0.5, -0.5, 0.0, -0.5]
    assert choice.finish == "stop"


def test_a_sentence_may_end_it() -> None:
    choice, thinking, _ = run(Scripted(never_ends), closing=" I give up.", budget=5)
    assert thinking == "no. no. I give up."
    assert choice.thought == 5


def test_no_thinking_at_all() -> None:
    engine = Scripted(never_ends)
    choice, thinking, answer = run(engine, budget=0)
    assert (thinking, answer, choice.thought) == ("", "<answer> 24 </answer>", 2)
    assert engine.seen[0].prompt_ids == [*PROMPT, *ids(" <think> </think>")]
    engine = Scripted(never_ends)
    run(engine, budget=0, state="thinking")
    assert engine.seen[0].prompt_ids == [*PROMPT, CLOSE]


def test_without_a_budget_thinking_takes_all() -> None:
    choice, thinking, answer = run(Scripted(never_ends), max_tokens=20)
    assert (choice.finish, answer, choice.thought) == ("length", "", 20)
    assert thinking == " ".join(["no."] * 19)


def test_a_stop_string_is_looked_for_in_the_answer_alone() -> None:
    script = [*ids(" <think> 3 * 8 = 24, yes. </think> 3 * 8 = 24, yes."), END]
    choice, thinking, answer = run(Scripted(lambda _: list(script)), stops=("= 24",))
    assert (thinking, answer, choice.finish) == ("3 * 8 = 24, yes.", "3 * 8 ", "stop")
    assert len(choice.tokens) == len(choice.logp) == script.index(CLOSE) + 1 + len(ids(" 3 * 8 = 24"))


@pytest.mark.parametrize("budget", [None, 6, 20])
def test_up_to_its_budget_a_response_is_the_same(budget: int | None) -> None:
    """The native engine's random numbers depend on the position, not on the request a token came with."""
    from reckon.engine.native import NativeEngine

    network, tokenizer = load_model("micro")
    engine = NativeEngine(network, tokenizer, max_running=1)
    prompt = Prompt(ids("User: Make 24 from 3, 8, 1.\nAssistant:"), "undecided")
    plan = Plan(prompt, 60, 1.0, 1.0, (), (END,), seed=2, budget=budget)
    choice = Choice(plan, TAGS, decoder(tokenizer), [])
    while choice.finish is None:
        [completion] = engine.generate([choice.request(0)], on_token=lambda _, token: choice.feed([token]))
        choice.end(completion)
    whole = Choice(Plan(prompt, 60, 1.0, 1.0, (), (END,), seed=2), TAGS, decoder(tokenizer), [])
    [completion] = engine.generate([whole.request(0)])
    same = 60 if budget is None else budget - 1
    assert choice.tokens[:same] == completion.token_ids[:same]
    if budget is not None:
        assert choice.tokens[budget - 1] == CLOSE
