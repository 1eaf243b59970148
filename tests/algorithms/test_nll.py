from __future__ import annotations

import pytest

from reckon.algorithms.batch import Batch
from reckon.algorithms.nll import NLL
from reckon.core.records import Rollout
from tests.algorithms.by_hand import attempt, update


def given(problem: str, length: int, sampled: list[bool] | None = None) -> Rollout:
    """A response that nobody sampled or judged."""
    rollout = attempt(problem, length, 0.0, logp=[], sampled=sampled)
    rollout.reward = rollout.verdict = None
    return rollout


def test_every_token_counts_the_same_whichever_response_it_is_in() -> None:
    batch = NLL().prepare(Batch.of([given("a", 1), given("b", 3)]))
    found = update(NLL(), batch, logp=[-1.0, -2.0, -3.0, -6.0])
    assert found.loss == pytest.approx(3.0)
    assert found.grad_S.tolist() == pytest.approx([-0.25] * 4)
    assert update(NLL(), batch, logp=[-1.0, -2.0, -3.0, -6.0], split=True).loss == pytest.approx(3.0)


def test_tokens_that_are_not_to_be_learned_count_neither_above_nor_below_the_line() -> None:
    batch = Batch.of([given("a", 2, [False, True]), given("b", 1)])
    found = update(NLL(), batch, logp=[-9.0, -1.0, -3.0])
    assert found.loss == pytest.approx(2.0)
    assert found.grad_S.tolist() == pytest.approx([0.0, -0.5, -0.5])
