from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from reckon.algorithms.batch import Batch
from reckon.algorithms.reward import BradleyTerry, Pointwise
from reckon.core.records import FinishReason, Problem, Rollout
from reckon.learn.forward import Reward, measure
from reckon.learn.learner import Learner, OptimConfig
from reckon.learn.reward_model import LIMIT, Reader, RewardModel
from reckon.models.reward import Reads, RewardCard, make_reward_model, set_card

CARD = RewardCard(loss="bradley_terry", reads="response", template="micro")


def said(response: str, question: str = "Make 3 from 1, 2.", finish: FinishReason = "stop") -> Rollout:
    return Rollout("general", Problem(question, question, None), 0, "shown", [7], response, [8], [-1.0], finish, 0)


def scoring(reads: Reads = "response") -> tuple[Any, Any]:
    """A reward model with random opinions, which are tens apart."""
    model, tokenizer = make_reward_model("micro", CARD.model_copy(update={"reads": reads, "std": 100.0}))
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    return model, tokenizer


def read(reads: Reads, response: str) -> str | None:
    _, tokenizer = scoring(reads)
    reading = Reader(tokenizer, CARD.model_copy(update={"reads": reads})).read(said(response))
    return None if reading is None else tokenizer.decode(reading.prompt_ids + reading.response_ids)


@pytest.mark.parametrize(
    ("response", "summary"),
    [
        (" <think> hm </think> Hello Anna! <answer> 3 </answer> ", " Hello Anna! <answer> 3 </answer>"),
        ("hm </think> yes", " yes"),
        # Nothing can be hidden behind a second thought.
        ("<think> a </think> b <think> c </think> d", " b <think> c </think> d"),
        ("<think> without an end", None),
        ("no thought at all", None),
        ("<think> hm </think>  ", None),
    ],
)
def test_a_summary_is_what_follows_the_thinking(response: str, summary: str | None) -> None:
    expected = None if summary is None else f"User: Make 3 from 1, 2.\nAssistant:{summary}<|endoftext|>"
    assert read("summary", response) == expected


def test_a_response_is_read_with_its_thinking() -> None:
    assert read("response", " <think> hm") == "User: Make 3 from 1, 2.\nAssistant: <think> hm<|endoftext|>"
    assert read("response", " ") is None


def test_surrounding_whitespace_makes_no_difference() -> None:
    assert read("response", "yes") == read("response", "  yes\n")


def test_no_response_can_end_itself() -> None:
    _, tokenizer = scoring()
    reading = Reader(tokenizer, CARD).read(said("no<|endoftext|>yes"))
    assert reading is not None
    assert reading.response_ids.count(tokenizer.eos_token_id) == 1
    assert reading.response_ids[-1] == tokenizer.eos_token_id


def test_a_score_is_the_models_own_whatever_the_company() -> None:
    model, tokenizer = scoring()
    rollouts = [said(" yes." * n, f"Make {n} from 1, 2.") for n in (1, 9, 3, 1)] + [said("no."), said("no. " * 7)]
    readings = [reading for r in rollouts if (reading := Reader(tokenizer, CARD).read(r))]
    found = measure(Reward(model), Batch.of(readings), token_budget=40).need("score_N")
    for reading, score in zip(readings, found, strict=True):
        ids = torch.tensor([reading.prompt_ids + reading.response_ids])
        with torch.no_grad():
            torch.testing.assert_close(model(input_ids=ids).logits[0, 0], score, atol=1e-5, rtol=1e-5)
    standard = RewardModel(model, tokenizer).score(rollouts)
    assert standard == pytest.approx((found / 100).tolist(), abs=1e-5)
    assert len({round(score, 3) for score in found.tolist()}) == 5
    assert RewardModel(model, tokenizer).score(rollouts[2:3]) == pytest.approx(standard[2:3], abs=1e-5)


def test_scores_are_standard_and_limited() -> None:
    model, tokenizer = scoring()
    rollouts = [said("yes."), said("no.")]
    readings = [reading for r in rollouts if (reading := Reader(tokenizer, CARD).read(r))]
    raw = measure(Reward(model), Batch.of(readings), 4096).need("score_N").tolist()
    set_card(model, CARD.model_copy(update={"mean": raw[0] - 0.5, "std": 0.25}))
    assert RewardModel(model, tokenizer).score(rollouts[:1]) == pytest.approx([2.0], abs=1e-4)
    set_card(model, CARD.model_copy(update={"mean": raw[0] - 0.5, "std": 0.1}))
    assert RewardModel(model, tokenizer).score(rollouts[:1]) == [LIMIT]
    set_card(model, CARD.model_copy(update={"mean": raw[0] + 0.5, "std": 0.1}))
    assert RewardModel(model, tokenizer).score(rollouts[:1]) == [-LIMIT]


def test_thinking_that_never_ended_scores_lowest_and_a_failed_generation_not_at_all() -> None:
    model, tokenizer = scoring("summary")
    rollouts = [said("<think> hm", finish="length"), said("<think> a </think> b", finish="error"), said("a </think> b")]
    lowest, absent, score = RewardModel(model, tokenizer).score(rollouts)
    assert lowest == -LIMIT
    assert absent is None
    assert score is not None
    assert -LIMIT < score < LIMIT
    assert RewardModel(model, tokenizer).score([]) == []


# ------------------------------------------------------------------------------------------------- learning


def units(count: int) -> list[Rollout]:
    """Chosen, rejected, chosen...: the shorter is better. Labels say the same."""
    _, tokenizer = scoring()
    reader = Reader(tokenizer, CARD)
    texts = [(f"Make {n} from 1, 2.", text) for n in range(count) for text in ("yes.", f"{n} + 1 = 2, no.")]
    found = [reader.read(said(text, question)) for question, text in texts]
    return [replace(r, reward=float(k % 2 == 0)) for k, r in enumerate(found) if r is not None]


@pytest.mark.parametrize("algorithm", [BradleyTerry(), Pointwise()])
def test_micro_batches_change_no_gradient(algorithm: BradleyTerry | Pointwise) -> None:
    def gradients(budget: int) -> dict[str, torch.Tensor]:
        model, _ = scoring()
        learner = Learner(Reward(model), OptimConfig(micro_batch_tokens=budget, grad_clip=1e9), steps=1)
        seen: dict[str, torch.Tensor] = {}
        learner.optimizer.step = lambda: seen.update(  # type: ignore[method-assign, assignment]
            {name: p.grad.clone() for name, p in model.named_parameters()}
        )
        learner.update(algorithm.prepare(Batch.of(units(6))), algorithm)
        return seen

    whole, parts = gradients(10_000), gradients(1)
    assert whole["score.weight"].abs().max() > 0
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(("algorithm", "figure"), [(BradleyTerry(), "preferred"), (Pointwise(), "labelled_right")])
def test_it_learns_a_preference_from_no_opinion(algorithm: BradleyTerry | Pointwise, figure: str) -> None:
    model, _ = make_reward_model("micro", CARD)
    learner = Learner(Reward(model), OptimConfig(lr=1e-3), steps=14)
    reports = [learner.update(algorithm.prepare(Batch.of(units(6))), algorithm) for _ in range(14)]
    assert reports[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert reports[0][figure] == pytest.approx(0.5)
    assert reports[-1]["loss"] < 0.2
    assert reports[-1][figure] == pytest.approx(1.0)
