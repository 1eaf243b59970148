from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from reckon.algorithms.base import Outputs
from reckon.algorithms.batch import Batch
from reckon.algorithms.process import StepLabels
from tests.algorithms.by_hand import attempt


def steps(problem: str, *labels: float | None) -> object:
    """A response of as many tokens; a step ends at those with a label."""
    marks = [label is not None for label in labels]
    rollout = attempt(problem, len(labels), 0.0, sampled=marks)
    return replace(rollout, token_rewards=[label or 0.0 for label in labels])


def batch() -> Batch:
    rollouts = [steps("a", None, 1.0, 0.0), steps("b", 0.25)]
    return StepLabels().prepare(Batch.of(rollouts))  # type: ignore[arg-type]


def update(scores: list[float], split: bool = False) -> tuple[float, Tensor, float]:
    algorithm, made = StepLabels(), batch()
    algorithm.weigh(made)
    score_S = torch.tensor(scores, requires_grad=True)
    loss = right = 0.0
    for rows_K in torch.arange(2).split(1 if split else 2):
        token_S = torch.isin(made.row_S, rows_K)
        part, logged = algorithm.objective(Outputs(score_S=score_S[token_S]), made.rows(rows_K), {})
        part.backward()
        loss, right = loss + part.item(), right + logged["labelled_right"].item()
    assert score_S.grad is not None
    return loss, score_S.grad, right


@pytest.mark.parametrize("split", [False, True])
def test_the_loss_is_a_mean_over_steps_by_hand(split: bool) -> None:
    loss, grad_S, right = update([5.0, 1.0, 2.0, -1.0], split)
    # Three steps, whatever the responses: labels 1, 0 and a soft 0.25 at scores 1, 2 and -1.
    soft = 0.25 * math.log1p(math.e) + 0.75 * math.log1p(1 / math.e)
    assert loss == pytest.approx((math.log1p(1 / math.e) + math.log1p(math.e**2) + soft) / 3, abs=1e-6)
    sigmoid = [1 / (1 + math.exp(-score)) for score in (1.0, 2.0, -1.0)]
    slopes = [(chance - label) / 3 for chance, label in zip(sigmoid, (1.0, 0.0, 0.25), strict=True)]
    assert grad_S.tolist() == pytest.approx([0.0, *slopes], abs=1e-6)
    assert right == pytest.approx(2 / 3)


def test_a_soft_label_is_met_where_the_score_is_its_log_odds() -> None:
    _, grad_S, _ = update([0.0, 0.0, 0.0, math.log(0.25 / 0.75)])
    assert grad_S[3].item() == pytest.approx(0.0, abs=1e-7)
