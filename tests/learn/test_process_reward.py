from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reckon.algorithms.base import Algorithm, Outputs, Reference
from reckon.algorithms.batch import Batch
from reckon.algorithms.process import StepLabels
from reckon.algorithms.reward import Pointwise
from reckon.core.records import Problem, Rollout
from reckon.learn.forward import Forward, Implicit, Policy, Process, measure
from reckon.learn.learner import Learner, OptimConfig
from reckon.learn.reference import ReferenceModel
from reckon.models.load import load_model
from reckon.models.reward import RewardCard, make_reward_model
from reckon.stages.held_out_preference import auc

CARD = RewardCard(loss="process", reads="response", template="micro")
BETA = 0.5


def said(question: str, steps: list[str], labels: list[float]) -> Rollout:
    """A response in steps; the label of the last is the response's."""
    _, tokenizer = load_model("micro")
    pieces = [tokenizer(step, add_special_tokens=False)["input_ids"] for step in steps]
    ids = [token for piece in pieces for token in piece]
    ends = [sum(map(len, pieces[: count + 1])) - 1 for count in range(len(pieces))]
    marks = dict(zip(ends, labels, strict=True))
    rewards = [marks.get(place, 0.0) for place in range(len(ids))]
    sampled = [place in marks for place in range(len(ids))]
    prompt_ids = tokenizer(f"User: {question}\nAssistant:")["input_ids"]
    problem = Problem(question, question, None)
    return Rollout(
        "toy",
        problem,
        0,
        "",
        prompt_ids,
        "".join(steps),
        ids,
        [],
        "stop",
        0,
        reward=labels[-1],
        sampled=sampled,
        token_rewards=rewards,
    )


def right_and_wrong(count: int, outcomes: bool = False) -> list[Rollout]:
    """A step is bad from the wrong sum on."""
    made = []
    for n in range(1, count + 1):
        question = f"Make {n + 3} from {n}, 3."
        made.append(said(question, [f" {n} + 3 = {n + 3},", " yes."], [1.0, 1.0]))
        made.append(said(question, [f" {n} + 3 = {n + 4},", " no."], [0.0, 0.0]))
    for rollout in made if outcomes else ():
        rollout.sampled = rollout.token_rewards = None
    return made


def processing() -> Process:
    model, _ = make_reward_model("micro", CARD)
    return Process(model)


def implying() -> Implicit:
    policy = Policy(load_model("micro")[0])
    return Implicit(policy, ReferenceModel(Reference(), policy).policy, BETA)


def test_a_steps_score_is_the_heads_at_its_last_token_whatever_follows() -> None:
    forward = processing()
    torch.nn.init.normal_(forward.model.score.weight, generator=torch.Generator().manual_seed(0))
    batch = Batch.of(right_and_wrong(3))
    score_S = measure(forward, batch, 64).need("score_S")
    for row, own in enumerate(score_S.split(batch.length_N.tolist())):
        for end in range(1, len(own) + 1):
            ids = torch.tensor([batch.prompts[row] + batch.responses[row][:end]])
            with torch.no_grad():
                torch.testing.assert_close(
                    forward.model(input_ids=ids).logits[0, 0], own[end - 1], atol=1e-4, rtol=1e-4
                )


class Fixed:
    """A policy that says what it is told."""

    model: Any = None

    def __init__(self, logp_S: Tensor) -> None:
        self.logp_S = logp_S

    def __call__(self, batch: Batch) -> Outputs:
        return Outputs(logp_S=self.logp_S)


def test_the_implicit_reward_and_its_gradient_by_hand() -> None:
    rollouts = [said("Make 1.", [" 1", ","], [1.0, 1.0]), said("Make 2.", [" 1", ",", ","], [0.0, 0.0, 0.0])]
    batch = Batch.of(rollouts)
    logp_S = torch.tensor([-1.0, -2.0, -1.0, -1.0, -3.0], requires_grad=True)
    before: Any = Fixed(torch.tensor([-2.0, -1.5, -1.0, -2.0, -1.0]))
    told: Any = Fixed(logp_S)
    outputs = Implicit(told, before, BETA)(batch)
    # Log-ratios 1, -0.5 | 0, 1, -2; halved and summed up to each token.
    assert outputs.need("score_S").tolist() == pytest.approx([0.5, 0.25, 0.0, 0.5, -0.5])
    assert outputs.need("score_N").tolist() == pytest.approx([0.25, -0.5])
    algorithm = Pointwise()
    algorithm.weigh(batch)
    loss, _ = algorithm.objective(outputs, batch, {})
    assert loss.item() == pytest.approx((math.log1p(math.exp(-0.25)) + math.log1p(math.exp(-0.5))) / 2)
    loss.backward()
    good, bad = BETA * (1 / (1 + math.exp(-0.25)) - 1) / 2, BETA / (1 + math.exp(0.5)) / 2
    assert logp_S.grad is not None
    assert logp_S.grad.tolist() == pytest.approx([good, good, bad, bad, bad], abs=1e-6)


def test_before_training_the_implicit_reward_has_no_opinion() -> None:
    outputs = measure(implying(), Batch.of(right_and_wrong(2)), 4096)
    assert outputs.need("score_S").abs().max() == 0
    assert outputs.need("score_N").abs().max() == 0


@pytest.mark.parametrize(("make", "algorithm"), [(processing, StepLabels()), (implying, Pointwise())])
def test_micro_batches_change_no_gradient(make: Callable[[], Forward], algorithm: Algorithm) -> None:
    def gradients(budget: int) -> dict[str, Tensor]:
        forward = make()
        if isinstance(forward, Process):
            torch.nn.init.normal_(forward.model.score.weight, generator=torch.Generator().manual_seed(0))
        learner = Learner(forward, OptimConfig(micro_batch_tokens=budget, grad_clip=1e9), steps=1)
        seen: dict[str, Tensor] = {}

        def step() -> None:
            seen.update({name: p.grad.clone() for name, p in forward.model.named_parameters()})

        learner.optimizer.step = step  # type: ignore[method-assign, assignment]
        learner.update(algorithm.prepare(Batch.of(right_and_wrong(4))), algorithm)
        return seen

    whole, parts = gradients(10_000), gradients(1)
    assert max(value.abs().max() for value in whole.values()) > 0
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "algorithm", "least"), [(processing, StepLabels(), 0.95), (implying, Pointwise(), 0.7)]
)
def test_it_learns_to_tell_good_beginnings_from_bad(
    make: Callable[[], Forward], algorithm: Algorithm, least: float
) -> None:
    def area() -> float | None:
        """Of the first steps, of which the implicit reward has never been told."""
        batch = Batch.of(right_and_wrong(12))
        score_S = measure(forward, batch, 4096).need("score_S")
        first = [own[batch.live_S.split(batch.length_N.tolist())[row]][0] for row, own in rows(score_S, batch)]
        return auc(torch.stack(first[0::2]), torch.stack(first[1::2]))

    forward = make()
    learner = Learner(forward, OptimConfig(lr=1e-3), steps=30)
    assert area() == 0.5
    training = Batch.of(right_and_wrong(8, outcomes=isinstance(forward, Implicit)))
    reports = [learner.update(algorithm.prepare(training), algorithm) for _ in range(30)]
    assert reports[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert reports[-1]["loss"] < 0.35
    assert (area() or 0) > least


def rows(value_S: Tensor, batch: Batch) -> list[tuple[int, Tensor]]:
    return list(enumerate(value_S.split(batch.length_N.tolist())))
