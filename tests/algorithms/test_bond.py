from __future__ import annotations

import math

import pytest
import torch

from reckon.algorithms.base import Reference
from reckon.algorithms.batch import Batch
from reckon.algorithms.bond import JBond
from reckon.core.records import Role, Rollout
from tests.algorithms.by_hand import attempt, credited, update

ROLLOUTS = [
    attempt("a", 2, 0.1),
    attempt("a", 1, 0.5, role="anchor"),
    attempt("a", 3, 0.3, role="anchor"),
    attempt("b", 1, 0.9),
    attempt("b", 2, 0.2, role="anchor"),
    attempt("b", 2, 0.8, role="anchor"),
]
REFERENCE = [-1.1, -1.2, -1.0, -1.0, -1.0, -1.0, -0.9, *[-1.0] * 4]
"""log(pi / anchor) is .1 + .2 for the first sample and -.1 for the second."""


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_advantages(gamma: float) -> None:
    algorithm = JBond(gamma=gamma)
    batch = credited(algorithm, ROLLOUTS, logp_ref_S=REFERENCE)
    # The sample of a is worse than both anchors, that of b than none; the baseline is their mean.
    worth_a, worth_b = -math.log(16) - (1 + gamma) * 0.3, (1 + gamma) * 0.1
    half = (worth_a - worth_b) / 2
    expected = [half, half, 1, 0, 0, 0, -half, 0, 0, 1, 1]
    assert batch.need("advantage_S").tolist() == pytest.approx(expected, abs=1e-6)
    assert algorithm.credit(batch, {}) == {"kl_ref": pytest.approx(0.2 / 3, abs=1e-6)}


def test_the_loss_is_imitation_and_policy_gradient() -> None:
    algorithm = JBond(balance=0.25)
    batch = credited(algorithm, ROLLOUTS, logp_ref_S=REFERENCE)
    found = update(algorithm, batch)
    half = -(math.log(16) + 0.4) / 2
    forward = (1 + 2) / 2  # -log pi of the two better anchor samples, of one token and of two
    backward = (2 * half - half) / 2  # A log pi of two samples, of two tokens and of one
    assert found.loss == pytest.approx(0.75 * forward + 0.25 * backward, abs=1e-6)
    sample, imitated = -0.25 * half / 2, -0.75 / 2
    expected = [sample, sample, imitated, 0, 0, 0, -sample, 0, 0, imitated, imitated]
    assert found.grad_S.tolist() == pytest.approx(expected, abs=1e-6)
    assert update(algorithm, batch, split=True).loss == pytest.approx(found.loss, abs=1e-6)
    assert algorithm.active(batch).tolist() == [True, True, False, True, False, True]


def test_a_part_of_the_batch_keeps_the_balance() -> None:
    # An odd number of anchor samples: each stands for half a prompt.
    algorithm = JBond(balance=0.5)
    part = credited(algorithm, ROLLOUTS, logp_ref_S=REFERENCE).rows(torch.tensor([0, 1, 2, 5]))
    algorithm.weigh(part)
    assert part.need("weight_S").tolist() == pytest.approx([0.5, 0.5, *[1 / 3] * 6])


def test_the_first_of_equal_anchors_is_imitated() -> None:
    rollouts = [attempt("a", 1, 0.0), attempt("a", 1, 1.0, role="anchor"), attempt("a", 1, 1.0, role="anchor")]
    batch = credited(JBond(), rollouts, logp_ref_S=[-1.0] * 3)
    assert batch.need("advantage_S").tolist() == [0, 1, 0]


def test_prompts_without_both_anchors_are_left_out() -> None:
    roles: list[Role] = ["policy", "anchor", "anchor", "greedy"]
    rollouts = [attempt("a", 1, 0.0), attempt("a", 1, 1.0, role="anchor")]
    rollouts += [attempt("b", 1, 0.0, role=role) for role in roles]
    assert JBond().prepare(Batch.of(rollouts)).index_N.tolist() == [2, 3, 4]
    assert len(JBond().prepare(Batch.of([]))) == 0


def test_the_order_of_the_rollouts_does_not_matter() -> None:
    def credit_of(rollouts: list[Rollout]) -> dict[tuple[str, float], float]:
        batch = JBond().prepare(Batch.of(rollouts))
        batch.logp_ref_S = torch.tensor([-1.0 - 0.1 * len(ids) for ids in batch.responses])[batch.row_S]
        JBond().credit(batch, {})
        total = torch.zeros(len(batch)).index_add_(0, batch.row_S, batch.need("advantage_S"))
        return {
            (rollouts[index].problem.id, rollouts[index].reward or 0.0): round(value, 5)
            for index, value in zip(batch.index_N.tolist(), total.tolist(), strict=True)
        }

    assert credit_of([ROLLOUTS[k] for k in (1, 5, 0, 3, 2, 4)]) == credit_of(ROLLOUTS)


def test_forced_tokens_are_in_no_log_ratio() -> None:
    rollouts = [
        attempt("a", 2, 0.0, sampled=[True, False]),
        attempt("a", 1, 0.0),
        *(attempt("a", 1, 0.0, role="anchor") for _ in range(2)),
    ]
    batch = credited(JBond(), rollouts, logp_ref_S=[-1.2, -99.0, -1.0, -1.0, -1.0])
    assert batch.need("advantage_S")[:3].tolist() == pytest.approx([-0.1, -0.1, 0.1], abs=1e-6)


def test_it_needs_two_anchor_samples_from_a_moving_average() -> None:
    needs = JBond().needs
    assert needs.anchor
    assert needs.reference == Reference(kind="ema", rate=0.02)
