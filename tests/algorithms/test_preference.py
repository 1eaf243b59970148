from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.algorithms.base import Reference
from reckon.algorithms.batch import Batch
from reckon.algorithms.preference import Preference
from tests.algorithms.by_hand import attempt, credited, update

CHOSEN, REJECTED = [-2.0] * 5, [-5.0] * 3
"""Log-probabilities that add up to -10 and -15; the reference has -12 and -13."""

REFERENCE = [-2.4] * 5 + [-13 / 3] * 3


def pair(algorithm: Preference) -> Batch:
    rollouts = [attempt("a", 3, 0.0, logp=REJECTED), attempt("a", 5, 1.0, logp=CHOSEN)]
    return credited(algorithm, rollouts, logp_ref_S=REFERENCE)


def test_dpo_of_a_pair() -> None:
    algorithm = Preference(beta=0.1)
    batch = pair(algorithm)
    assert batch.index_N.tolist() == [1, 0]
    found = update(algorithm, batch)
    assert found.loss == pytest.approx(0.513015, abs=1e-6)
    slope = 0.1 / (1 + math.exp(0.4))
    assert found.grad_S.tolist() == pytest.approx([-slope] * 5 + [slope] * 3, abs=1e-6)
    logged = {"margin": 0.4, "preferred": 1.0, "logp_chosen": -10.0, "logp_rejected": -15.0}
    assert found.logged == pytest.approx(logged, abs=1e-5)


def test_the_likelihood_of_the_chosen_is_per_token() -> None:
    algorithm = Preference(beta=0.1, nll_coef=1.0)
    found = update(algorithm, pair(algorithm))
    assert found.loss == pytest.approx(2.513015, abs=1e-6)
    assert found.logged["nll"] == pytest.approx(2.0, abs=1e-6)
    slope = 0.1 / (1 + math.exp(0.4))
    assert found.grad_S.tolist() == pytest.approx([-slope - 1 / 5] * 5 + [slope] * 3, abs=1e-6)


def test_nca_of_a_pair() -> None:
    algorithm = Preference(loss="nca", beta=0.1)
    assert update(algorithm, pair(algorithm)).loss == pytest.approx(1.296278, abs=1e-6)


@pytest.mark.parametrize("nll", [0.0, 0.5])
def test_a_policy_that_is_its_reference_starts_at_log_two(nll: float) -> None:
    algorithm = Preference(nll_coef=nll, pairs_per_prompt=4)
    rollouts = [attempt("a", 2, 1.0), attempt("a", 3, 0.0), attempt("b", 1, 0.0), attempt("b", 4, 1.0)]
    batch = credited(algorithm, rollouts)
    batch.logp_ref_S = batch.logp_old_S
    found = update(algorithm, batch)
    assert found.loss == pytest.approx(math.log(2) + nll, abs=1e-6)
    assert found.logged["preferred"] == 0


def test_a_swapped_pair_has_the_margin_of_the_other_sign() -> None:
    algorithm = Preference(beta=0.1)
    rollouts = [attempt("a", 3, 1.0, logp=REJECTED), attempt("a", 5, 0.0, logp=CHOSEN)]
    batch = credited(algorithm, rollouts, logp_ref_S=REFERENCE[5:] + REFERENCE[:5])
    assert update(algorithm, batch).loss == pytest.approx(0.513015 + 0.4, abs=1e-6)


def test_forced_tokens_are_in_no_log_ratio() -> None:
    # The first chosen token was forced: what the policy thinks of it is no evidence.
    algorithm = Preference(beta=0.1, nll_coef=1.0)
    rollouts = [
        attempt("a", 6, 1.0, logp=[-50.0, *CHOSEN], sampled=[False] + [True] * 5),
        attempt("a", 3, 0.0, logp=REJECTED),
    ]
    found = update(algorithm, credited(algorithm, rollouts, logp_ref_S=[-1.0, *REFERENCE]))
    assert found.loss == pytest.approx(2.513015, abs=1e-6)
    assert found.grad_S[0] == 0


@given(pairs=st.integers(1, 4), seed=st.integers(0, 99), nll=st.sampled_from([0.0, 0.7]))
@settings(max_examples=15, deadline=None)
def test_no_split_changes_a_loss_or_a_gradient(pairs: int, seed: int, nll: float) -> None:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 6, (2 * pairs,), generator=random).tolist()
    algorithm = Preference(nll_coef=nll)
    batch = credited(algorithm, [attempt(f"{k // 2}", n, float(k % 2)) for k, n in enumerate(lengths)])
    batch.logp_ref_S = -torch.rand(sum(lengths), generator=random)
    logp = (-torch.rand(sum(lengths), generator=random)).tolist()
    whole, parts = update(algorithm, batch, logp), update(algorithm, batch, logp, split=True)
    torch.testing.assert_close(parts.grad_S, whole.grad_S, atol=1e-7, rtol=1e-6)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.logged == pytest.approx(whole.logged, abs=1e-6)


# ---------------------------------------------------------------------------------------------------- pairs


def paired(algorithm: Preference, *right: tuple[str, bool]) -> list[tuple[int, ...]]:
    batch = algorithm.prepare(Batch.of([attempt(problem, 1, float(r), right=r) for problem, r in right]))
    assert batch.unit == 2
    assert algorithm.credit(batch, {}) == {"pairs": len(batch) / 2}
    return [tuple(batch.index_N[k : k + 2].tolist()) for k in range(0, len(batch), 2)]


def test_pairs_are_of_one_prompt_with_both_outcomes() -> None:
    rows = (("a", True), ("b", False), ("a", True), ("c", True), ("b", True), ("a", False))
    assert paired(Preference(), *rows) == [(0, 5), (4, 1)]


def test_answers_are_used_once_before_they_are_used_twice() -> None:
    rows = (("a", True), ("a", True), ("a", False), ("a", False))
    found = paired(Preference(pairs_per_prompt=2), *rows)
    assert found == [(0, 2), (1, 3)]
    assert sorted(paired(Preference(pairs_per_prompt=9), *rows)) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    # Of unequal numbers the fewer are used again.
    assert paired(Preference(pairs_per_prompt=3), *rows, ("a", False)) == [(0, 2), (1, 3), (0, 4)]


@given(right=st.integers(0, 6), wrong=st.integers(0, 6))
@settings(max_examples=49, deadline=None)
def test_no_pair_comes_twice_and_none_is_missing(right: int, wrong: int) -> None:
    found = paired(Preference(pairs_per_prompt=99), *(("a", k < right) for k in range(right + wrong)))
    assert len(found) == len(set(found)) == right * wrong


def test_a_right_answer_without_an_end_is_neither_chosen_nor_rejected() -> None:
    rollouts = [
        attempt("a", 1, 1.0, finish="length"),
        attempt("a", 2, 0.0),
        attempt("a", 3, 1.0),
        attempt("a", 4, 0.0, finish="length"),
    ]
    batch = Preference(pairs_per_prompt=9).prepare(Batch.of(rollouts))
    assert batch.index_N.tolist() == [2, 1, 2, 3]


def test_without_pairs_there_is_no_batch() -> None:
    assert paired(Preference(), ("a", True), ("b", False)) == []
    assert len(Preference().prepare(Batch.of([attempt("a", 1, 1.0), attempt("a", 1, 0.0, role="greedy")]))) == 0


def test_it_needs_several_samples_and_a_reference() -> None:
    needs = Preference(reference=Reference(kind="iteration")).needs
    assert needs.group
    assert needs.reference == Reference(kind="iteration")
    assert not needs.trainer_logp
