from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from reckon.algorithms.base import Algorithm, Outputs
from reckon.algorithms.batch import Batch
from reckon.algorithms.reward import BradleyTerry, Pointwise
from tests.algorithms.by_hand import attempt

KINDS = (BradleyTerry, Pointwise)


def made(algorithm: Algorithm, lengths: list[int], labels: list[float] | None = None) -> Batch:
    labels = labels or [0.0] * len(lengths)
    rollouts = [attempt(f"{k // 2}", n, label) for k, (n, label) in enumerate(zip(lengths, labels, strict=True))]
    return algorithm.prepare(Batch.of(rollouts))


def update(
    algorithm: Algorithm, batch: Batch, scores: Tensor, split: bool = False
) -> tuple[float, Tensor, dict[str, float]]:
    """Loss, its gradient to every score, and what is logged; ``split``: one unit at a time."""
    algorithm.weigh(batch)
    score_N = scores.clone().requires_grad_()
    loss, logged = 0.0, dict[str, float]()
    for rows in torch.arange(len(batch)).split(batch.unit if split else len(batch)):
        part, figures = algorithm.objective(Outputs(score_N=score_N[rows]), batch.rows(rows), {})
        part.backward()
        loss += part.item()
        logged |= {name: logged.get(name, 0.0) + value.item() for name, value in figures.items()}
    assert score_N.grad is not None
    return loss, score_N.grad, logged


def test_a_margin_of_one() -> None:
    algorithm = BradleyTerry()
    batch = made(algorithm, [3, 5])
    assert batch.unit == 2
    loss, grad_N, logged = update(algorithm, batch, torch.tensor([2.5, 1.5]))
    assert loss == pytest.approx(0.313262, abs=1e-6)
    slope = 1 / (1 + math.e)
    assert grad_N.tolist() == pytest.approx([-slope, slope], abs=1e-6)
    assert logged == pytest.approx({"margin": 1.0, "preferred": 1.0})


def test_a_model_without_an_opinion_is_half_right() -> None:
    loss, _, logged = update(BradleyTerry(), made(BradleyTerry(), [1, 2, 3, 4]), torch.zeros(4))
    assert loss == pytest.approx(math.log(2), abs=1e-6)
    assert logged == pytest.approx({"margin": 0.0, "preferred": 0.5})


def test_labels_of_one_and_zero() -> None:
    algorithm = Pointwise()
    batch = made(algorithm, [2, 4, 1], [1.0, 0.0, 0.0])
    loss, grad_N, logged = update(algorithm, batch, torch.tensor([1.0, 1.0, -2.0]))
    expected = (math.log1p(math.exp(-1)) + math.log1p(math.e) + math.log1p(math.exp(-2))) / 3
    assert loss == pytest.approx(expected, abs=1e-6)
    sigmoid = [1 / (1 + math.exp(-x)) for x in (1.0, 1.0, -2.0)]
    assert grad_N.tolist() == pytest.approx([(s - y) / 3 for s, y in zip(sigmoid, (1, 0, 0), strict=True)], abs=1e-6)
    assert logged == pytest.approx({"labelled_right": 2 / 3}, abs=1e-6)


@given(pairs=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_they_are_the_usual_means(pairs: int, seed: int) -> None:
    # TRL's RewardTrainer: -logsigmoid(chosen - rejected).mean(), whatever the lengths.
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 9, (2 * pairs,), generator=random).tolist()
    score_N = torch.randn(2 * pairs, generator=random)
    label_N = torch.randint(0, 2, (2 * pairs,), generator=random).float()
    loss, *_ = update(BradleyTerry(), made(BradleyTerry(), lengths), score_N)
    assert loss == pytest.approx(-logsigmoid(score_N[0::2] - score_N[1::2]).mean().item(), abs=1e-6)
    loss, *_ = update(Pointwise(), made(Pointwise(), lengths, label_N.tolist()), score_N)
    assert loss == pytest.approx(binary_cross_entropy_with_logits(score_N, label_N).item(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_no_split_changes_a_loss_or_a_gradient(kind: type[BradleyTerry] | type[Pointwise]) -> None:
    algorithm = kind()
    batch = made(algorithm, [3, 1, 4, 1, 5, 9], [1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    score_N = torch.randn(6, generator=torch.Generator().manual_seed(1))
    whole, parts = update(algorithm, batch, score_N), update(algorithm, batch, score_N, split=True)
    assert parts[0] == pytest.approx(whole[0], abs=1e-6)
    torch.testing.assert_close(parts[1], whole[1])
    assert parts[2] == pytest.approx(whole[2], abs=1e-6)
