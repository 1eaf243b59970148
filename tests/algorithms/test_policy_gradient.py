"""Published methods as PolicyGradient objects, on batches small enough to compute on paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from reckon.algorithms.base import Critic, Reference
from reckon.algorithms.batch import Batch
from reckon.algorithms.policy_gradient import KL, Correction, Difficulty, Entropy, PolicyGradient
from reckon.core.errors import MissingColumn
from reckon.core.records import FinishReason
from tests.algorithms.by_hand import FIX_A, attempt, attempts, credited, update

FIRST = torch.tensor([0, 2, 6, 9])
"""The first token of each sequence of FIX-A."""

ANCIENT: dict[str, Any] = {"surrogate": "score", "aggregation": "sequence_sum"}
"""REINFORCE's loss: the sum over a sequence of A log pi, averaged over sequences."""


def near(found: Tensor, expected: list[float], digits: float = 1e-6) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(expected).double(), atol=digits, rtol=0)


# ------------------------------------------------------------------------------------ group-relative methods


@pytest.mark.parametrize(
    ("choices", "loss", "share"),
    [
        ({"aggregation": "sequence_mean"}, 0.0, [0.09375, -0.015625, -0.0208333, -0.0625]),
        ({"aggregation": "token_mean"}, 0.05, [0.075, -0.025, -0.025, -0.025]),
        ({"aggregation": "constant", "constant": 4}, 0.03125, [0.046875, -0.015625, -0.015625, -0.015625]),
        ({"aggregation": "sequence_sum"}, 0.125, [0.1875, -0.0625, -0.0625, -0.0625]),
    ],
)
def test_aggregation_of_the_fixture(choices: dict[str, Any], loss: float, share: list[float]) -> None:
    algorithm = PolicyGradient(advantage="group_mean", **choices)
    found = update(algorithm, credited(algorithm, attempts(*FIX_A)))
    assert found.loss == pytest.approx(loss, abs=1e-6)
    near(-found.grad_S[FIRST], share)


def test_grpo_starts_at_a_loss_of_zero_with_a_gradient() -> None:
    algorithm = PolicyGradient(advantage="group_std", aggregation="sequence_mean", epsilon=0)
    batch = credited(algorithm, attempts(*FIX_A))
    near(batch.need("advantage_S")[FIRST], [1.732051, -0.577350, -0.577350, -0.577350])
    found = update(algorithm, batch)
    assert found.loss == pytest.approx(0, abs=1e-7)
    near(found.grad_S[FIRST], [-1.732051 / 8, 0.577350 / 16, 0.577350 / 12, 0.577350 / 4])


def test_the_fixture_with_the_sample_std() -> None:
    # 1.5, -.5 x 3: the mean over sequences is 0, over tokens -(2 x 1.5 - 8 x .5) / 10.
    for aggregation, loss in (("sequence_mean", 0.0), ("token_mean", 0.1)):
        algorithm = PolicyGradient(advantage="group_std_sample", aggregation=aggregation, epsilon=0)  # type: ignore[arg-type]
        assert update(algorithm, credited(algorithm, attempts(*FIX_A))).loss == pytest.approx(loss, abs=1e-6)


def test_off_policy_tokens_are_clipped_and_counted() -> None:
    # Ratios 1.5 and .5 with advantage 1, then with -1: 1.2 (held), .5, -1.5, -.8 (held).
    algorithm = PolicyGradient(advantage="none", clip_low=0.2, clip_high=0.2)
    batch = credited(algorithm, [attempt("a", 2, 1.0), attempt("b", 2, -1.0)])
    ratio = [1.5, 0.5, 1.5, 0.5]
    found = update(algorithm, batch, logp=[math.log(r) - 1 for r in ratio])
    assert found.loss == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)
    near(found.grad_S, [0, -0.5 / 4, 1.5 / 4, 0])
    assert found.logged["clip_fraction"] == pytest.approx(0.5)


@pytest.mark.parametrize(("high", "dual", "loss"), [(0.28, None, -1.25), (0.2, None, -1.2)])
def test_clip_higher_keeps_what_ppo_drops(high: float, dual: float | None, loss: float) -> None:
    algorithm = PolicyGradient(advantage="none", clip_high=high, dual_clip=dual)
    batch = credited(algorithm, [attempt("a", 1, 1.0)])
    assert update(algorithm, batch, logp=[math.log(1.25) - 1]).loss == pytest.approx(loss)


def test_dual_clip_bounds_the_loss_of_wrong_answers() -> None:
    for dual, loss in ((None, 5.0), (3.0, 3.0)):
        algorithm = PolicyGradient(advantage="none", dual_clip=dual)
        batch = credited(algorithm, [attempt("a", 1, -1.0)])
        assert update(algorithm, batch, logp=[math.log(5) - 1]).loss == pytest.approx(loss)


def test_rloo_compares_with_the_others() -> None:
    algorithm = PolicyGradient(advantage="leave_one_out", **ANCIENT)
    batch = credited(algorithm, attempts(*FIX_A))
    near(batch.need("advantage_S")[FIRST], [1, -1 / 3, -1 / 3, -1 / 3])
    found = update(algorithm, batch)
    near(found.grad_S[FIRST], [-0.25, 1 / 12, 1 / 12, 1 / 12])
    assert found.loss == pytest.approx((2 - (4 + 3 + 1) / 3) / 4)


def test_rloo_takes_the_divergence_of_the_sequence_before_the_comparison() -> None:
    algorithm = PolicyGradient(
        advantage="leave_one_out", kl=KL(coef=0.1, estimator="k1", place="reward_baselined"), **ANCIENT
    )
    batch = credited(algorithm, [attempt("a", 2, 1.0), attempt("a", 1, 0.0)], logp_ref_S=[-1.2, -1.3, -0.9])
    # x is .2 + .3 and -.1: R = .95 and .01.
    near(batch.need("advantage_S"), [0.94, 0.94, -0.94])


def test_opo_weighs_the_baseline_by_length() -> None:
    algorithm = PolicyGradient(advantage="length_weighted", surrogate="score")
    batch = credited(algorithm, attempts(*FIX_A))
    near(batch.need("advantage_S")[FIRST], [0.8, -0.2, -0.2, -0.2])
    found = update(algorithm, batch)
    assert found.grad_S.sum().item() == pytest.approx(0, abs=1e-7)
    near(found.grad_S[FIRST], [-0.08, 0.02, 0.02, 0.02])


def test_cppo_keeps_the_minority_and_averages_over_it() -> None:
    algorithm = PolicyGradient(advantage="group_std", aggregation="sequence_mean", min_advantage=1.0, epsilon=0)
    batch = credited(algorithm, attempts(*FIX_A))
    found = update(algorithm, batch)
    near(found.grad_S, [-1.732051 / 2] * 2 + [0] * 8)
    assert algorithm.active(batch).tolist() == [True, False, False, False]


def test_cppo_without_a_large_advantage_teaches_nothing() -> None:
    algorithm = PolicyGradient(advantage="group_mean", min_advantage=1.0)
    batch = credited(algorithm, attempts(*FIX_A))
    assert torch.count_nonzero(update(algorithm, batch).grad_S) == 0
    assert not algorithm.active(batch).any()


GPG = PolicyGradient(advantage="group_mean", scale_live_groups=True, surrogate="score")
LIVE = attempts(("live", 2, 1.0), ("live", 2, 0.0), ("other", 2, 1.0), ("other", 2, 0.0))


def test_gpg_makes_up_for_dead_groups() -> None:
    dead = attempts(*((name, 2, reward) for name, reward in (("x", 0.0), ("x", 0.0), ("y", 1.0), ("y", 1.0))))
    batch = credited(GPG, LIVE + dead)
    near(batch.need("advantage_S"), [1.0, 1.0, -1.0, -1.0] * 2 + [0.0] * 8)
    near(update(GPG, batch).grad_S[:8], update(GPG, credited(GPG, LIVE)).grad_S.tolist())


def test_gpg_is_exact_for_equal_lengths_only() -> None:
    # 10 live tokens and 30 dead ones: alpha 2, but the mean is over four times the tokens.
    live, dead = attempts(("a", 5, 1.0), ("a", 5, 0.0)), attempts(("b", 15, 1.0), ("b", 15, 1.0))
    alone = update(GPG, credited(GPG, live)).grad_S
    near(update(GPG, credited(GPG, live + dead)).grad_S[:10] / alone, [0.5] * 10)


def test_gpg_skips_a_batch_without_signal() -> None:
    batch = credited(GPG, attempts(("a", 2, 1.0), ("a", 3, 1.0)))
    assert torch.count_nonzero(update(GPG, batch).grad_S) == 0
    assert not GPG.active(batch).any()


# ------------------------------------------------------------------------------------------ ratios, surrogates


def test_gspo_clips_whole_sequences() -> None:
    algorithm = PolicyGradient(
        advantage="none", ratio="sequence", clip_low=3e-4, clip_high=4e-4, aggregation="sequence_mean"
    )
    logp = [-0.7, -1.1, -0.9]
    right = update(algorithm, credited(algorithm, [attempt("a", 3, 1.0)]), logp)
    assert right.loss == pytest.approx(-1.0004)
    assert torch.count_nonzero(right.grad_S) == 0
    assert right.logged["clip_fraction"] == pytest.approx(1)
    wrong = update(algorithm, credited(algorithm, [attempt("a", 3, -1.0)]), logp)
    assert wrong.loss == pytest.approx(1.105171, abs=1e-6)
    near(wrong.grad_S, [0.368390] * 3)


def test_gspo_is_grpo_on_policy() -> None:
    grads = [
        update(algorithm, credited(algorithm, attempts(*FIX_A))).grad_S
        for algorithm in (
            PolicyGradient(ratio=ratio, aggregation="sequence_mean")  # type: ignore[arg-type]
            for ratio in ("token", "sequence")
        )
    ]
    torch.testing.assert_close(*grads)


def test_cispo_drops_no_token() -> None:
    algorithm = PolicyGradient(advantage="none", surrogate="cispo", clip_low=None, clip_high=1.0)
    batch = credited(algorithm, [attempt("a", 3, 1.0)])
    found = update(algorithm, batch, logp=[math.log(r) - 1 for r in (1.349859, 0.904837, 5.0)])
    near(-3 * found.grad_S, [1.349859, 0.904837, 2.0])
    assert found.logged["clip_fraction"] == pytest.approx(1 / 3)


def test_mirror_descent_holds_sequences_near_their_sampler() -> None:
    algorithm = PolicyGradient(advantage="group_mean", surrogate="mirror", tau=0.1, aggregation="sequence_sum")
    batch = credited(algorithm, [attempt("a", 2, 1.0), attempt("a", 1, 0.0)])
    found = update(algorithm, batch, logp=[-0.95, -0.85, -1.1])
    near(-2 * found.grad_S, [0.48, 0.48, -0.49])
    # Groups of equal rewards are still held: (0 - tau x) is their gradient.
    equal = credited(algorithm, [attempt("a", 2, 1.0), attempt("a", 1, 1.0)])
    near(-2 * update(algorithm, equal, logp=[-0.95, -0.85, -1.1]).grad_S, [-0.02, -0.02, 0.01])
    assert algorithm.active(equal).all()


def test_mirror_descent_does_not_hold_forced_tokens() -> None:
    algorithm = PolicyGradient(advantage="group_mean", surrogate="mirror", tau=0.1, aggregation="sequence_sum")
    batch = credited(algorithm, [attempt("a", 2, 1.0, sampled=[True, False]), attempt("a", 1, 0.0)])
    near(-2 * update(algorithm, batch, logp=[-0.8, -40.0, -1.1]).grad_S, [0.48, 0, -0.49])


# ----------------------------------------------------------------------------------- REINFORCE and its relatives


def test_reinforce_sums_over_tokens_and_averages_over_sequences() -> None:
    algorithm = PolicyGradient(advantage="constant", baseline=0.5, **ANCIENT)
    found = update(algorithm, credited(algorithm, attempts(("a", 2, 1.0), ("b", 1, 0.0))))
    near(found.grad_S, [-0.25, -0.25, 0.25])
    assert found.loss == pytest.approx(0.5 * 2 / 2 - 0.5 / 2)


def test_the_running_baseline_moves_after_it_was_used() -> None:
    algorithm = PolicyGradient(advantage="ema", ema_decay=0.9, **ANCIENT)
    state: dict[str, float] = {}
    for reward, baseline in ((1.0, 0.0), (1.0, 0.1), (0.0, 0.19)):
        batch = algorithm.prepare(Batch.of([attempt("a", 1, reward)]))
        algorithm.credit(batch, state)
        near(batch.need("advantage_S"), [reward - baseline])
        algorithm.adapt(state, {"reward": reward})
    assert state["baseline"] == pytest.approx(0.171)
    algorithm.adapt(state, {"reward": None})
    assert state["baseline"] == pytest.approx(0.171)


REMAX = PolicyGradient(advantage="greedy", **ANCIENT)


def test_remax_compares_with_the_greedy_answer_of_the_prompt() -> None:
    rollouts = [
        attempt("a", 2, 1.0),
        attempt("b", 1, 0.0),
        attempt("b", 2, 1.0, role="greedy"),
        attempt("b", 1, 1.0),
        attempt("a", 3, 0.0, role="greedy"),
        attempt("c", 1, 1.0),
    ]
    batch = credited(REMAX, rollouts)
    # c has no judged greedy answer; greedy answers carry no loss.
    assert batch.index_N.tolist() == [0, 1, 3]
    near(batch.need("greedy_N"), [0, 1, 1])
    near(batch.need("advantage_S"), [1, 1, -1, 0])
    assert REMAX.needs.greedy
    assert update(REMAX, batch).grad_S.shape == (4,)


def test_remax_without_a_single_greedy_answer_has_no_batch() -> None:
    assert len(REMAX.prepare(Batch.of(attempts(*FIX_A)))) == 0
    assert len(REMAX.prepare(Batch.of([attempt("a", 2, 1.0, role="greedy")]))) == 0


def test_remax_grades_the_greedy_answer_by_the_same_rule() -> None:
    algorithm = PolicyGradient(advantage="greedy", truncation="zero_reward", **ANCIENT)
    batch = credited(algorithm, [attempt("a", 1, 1.0), attempt("a", 1, 1.0, role="greedy", finish="length")])
    near(batch.need("advantage_S"), [1.0])


def test_remax_pays_for_divergence_on_the_sampled_side_alone() -> None:
    algorithm = PolicyGradient(advantage="greedy", kl=KL(coef=0.1, estimator="k1", place="reward"), **ANCIENT)
    rollouts = [attempt("a", 2, 1.0), attempt("a", 1, 1.0, role="greedy")]
    batch = credited(algorithm, rollouts, logp_ref_S=[-1.1, -1.2])
    near(batch.need("advantage_S"), [-0.03, -0.02])


def test_reinforce_plus_plus_pays_for_its_own_divergence_and_is_whitened() -> None:
    kl = KL(coef=0.1, estimator="k1", place="reward")
    rollouts, reference = [attempt("a", 2, 1.0), attempt("b", 3, 0.0)], [-1.1, -1.2, -1.0, -0.9, -1.3]
    for whiten, expected in (
        (None, [0.97, 0.98, -0.02, -0.02, -0.03]),
        ("population", [1.214462, 1.234908, -0.809642, -0.809642, -0.830087]),
        ("sample", [1.086248, 1.104535, -0.724165, -0.724165, -0.742452]),
    ):
        algorithm = PolicyGradient(advantage="none", whiten=whiten, kl=kl)  # type: ignore[arg-type]
        near(credited(algorithm, rollouts, logp_ref_S=reference).need("advantage_S"), expected)


def test_the_divergence_in_the_reward_is_logged_and_its_coefficient_adapted() -> None:
    algorithm = PolicyGradient(
        advantage="none", kl=KL(coef=0.2, estimator="k1", place="reward", target=0.1, horizon=10_000)
    )
    batch = algorithm.prepare(Batch.of([attempt("a", 2, 1.0)]))
    batch.logp_ref_S = torch.tensor([-1.1, -1.2])
    assert algorithm.credit(batch, {})["kl_ref"] == pytest.approx(0.15, abs=1e-6)
    state: dict[str, float] = {}
    algorithm.adapt(state, {"kl_ref": 0.12, "sequences": 256})
    assert state["kl_coef"] == pytest.approx(0.201024)
    algorithm.credit(batch, {"kl_coef": 1.0})
    near(batch.need("advantage_S"), [0.7, 0.8])


def test_forced_tokens_pay_for_no_divergence() -> None:
    algorithm = PolicyGradient(advantage="none", kl=KL(coef=0.1, estimator="k1", place="reward"))
    rollout = attempt("a", 3, 1.0, sampled=[True, False, True])
    batch = algorithm.prepare(Batch.of([rollout]))
    batch.logp_ref_S = torch.tensor([-1.1, 40.0, -1.3])
    assert algorithm.credit(batch, {})["kl_ref"] == pytest.approx(0.2, abs=1e-6)
    near(batch.need("advantage_S"), [0.96, 0.97, 0.97])


def test_reinforce_plus_plus_baseline_whitens_tokens_of_the_whole_batch() -> None:
    algorithm = PolicyGradient(advantage="group_mean", whiten="population", kl=KL(coef=1e-3, estimator="k2"))
    second = attempts(("b", 1, 1.0), ("b", 1, 1.0), ("b", 1, 1.0), ("b", 1, 0.0))
    batch = credited(algorithm, attempts(*FIX_A) + second)
    first = torch.tensor([0, 2, 6, 9, 10, 11, 12, 13])
    near(batch.need("advantage_S")[first], [1.914854] + [-0.522233] * 3 + [0.696311] * 3 + [-1.740777])


def test_difficulty_turns_a_prompts_advantages_up_or_down() -> None:
    algorithm = PolicyGradient(advantage="group_mean", difficulty=Difficulty())
    batch = credited(algorithm, attempts(*FIX_A))
    near(batch.need("advantage_S")[FIRST], [0.75 * 1.492638, *[-0.25 * 0.95] * 3])


# -------------------------------------------------------------------------------------- rewards of single tokens


def token_rewards(*values: float, **others: Any) -> Any:
    rollout = attempt("a", len(values), 1.0, **others)
    rollout.token_rewards = list(values)
    return rollout


def test_a_token_is_paid_for_itself_and_discounted_for_what_follows() -> None:
    algorithm = PolicyGradient(advantage="none", token_gamma=0.5)
    paid = credited(algorithm, [token_rewards(0.0, -0.2, -0.2, 0.0), attempt("b", 2, 0.0)])
    near(paid.need("advantage_S"), [1 - 0.15, 1 - 0.3, 1 - 0.2, 1.0, 0.0, 0.0])


def test_what_single_tokens_earn_is_compared_with_nothing() -> None:
    rollouts = attempts(*FIX_A)
    rollouts[1].token_rewards = [0.0, 0.0, 0.0, -0.1]
    batch = credited(PolicyGradient(advantage="group_mean", token_gamma=0.0), rollouts)
    near(batch.need("advantage_S"), [0.75] * 2 + [-0.25] * 3 + [-0.35] + [-0.25] * 4)


def test_forced_tokens_are_not_paid() -> None:
    rollout = token_rewards(-1.0, -1.0, sampled=[True, False])
    near(credited(PolicyGradient(advantage="none", token_gamma=1.0), [rollout]).need("advantage_S"), [0.0, 1.0])


def test_the_critic_learns_nothing_of_single_tokens() -> None:
    algorithm = PolicyGradient(advantage="gae", critic=Critic(), token_gamma=1.0)
    batch = credited(algorithm, [token_rewards(0.0, -0.5)], value_S=[0.2, 0.6])
    near(batch.need("return_S"), [1.0, 1.0])
    near(batch.need("advantage_S"), [0.8 - 0.5, 0.4 - 0.5])


# ---------------------------------------------------------------------------------------- PPO and its critics

VALUES = [0.2, 0.4, 0.5, 0.8]


@pytest.mark.parametrize(
    ("lam", "advantage", "returns"),
    [
        (1.0, [0.8, 0.6, 0.5, 0.2], [1.0, 1.0, 1.0, 1.0]),
        (0.95, [0.737225, 0.5655, 0.49, 0.2], [0.937225, 0.9655, 0.99, 1.0]),
        (0.8, [0.5744, 0.468, 0.46, 0.2], [0.7744, 0.868, 0.96, 1.0]),
        (0.0, [0.2, 0.1, 0.3, 0.2], [0.4, 0.5, 0.8, 1.0]),
    ],
)
def test_ppo_advantages_and_returns(lam: float, advantage: list[float], returns: list[float]) -> None:
    algorithm = PolicyGradient(advantage="gae", lam=lam, critic=Critic(lam=lam))
    batch = credited(algorithm, [attempt("a", 4, 1.0)], value_S=VALUES)
    near(batch.need("advantage_S"), advantage)
    near(batch.need("return_S"), returns)


def test_the_critic_has_a_lambda_of_its_own() -> None:
    # VC-PPO: returns are not the policy's advantage plus the value.
    algorithm = PolicyGradient(advantage="gae", lam=0.95, critic=Critic(lam=1.0))
    batch = credited(algorithm, [attempt("a", 4, 1.0)], value_S=VALUES)
    near(batch.need("advantage_S"), [0.737225, 0.5655, 0.49, 0.2])
    near(batch.need("return_S"), [1, 1, 1, 1])


def test_whitening_changes_advantages_and_not_returns() -> None:
    for whiten, expected in (
        ("sample", [1.1, 0.3, -0.1, -1.3]),
        ("population", [1.270171, 0.346410, -0.115470, -1.501111]),
    ):
        algorithm = PolicyGradient(advantage="gae", whiten=whiten, critic=Critic())  # type: ignore[arg-type]
        batch = credited(algorithm, [attempt("a", 4, 1.0)], value_S=VALUES)
        near(batch.need("advantage_S"), expected)
        near(batch.need("return_S"), [1, 1, 1, 1])


def test_a_packed_batch_is_credited_like_its_sequences() -> None:
    algorithm = PolicyGradient(advantage="gae", lam=0.9, gamma=0.98, critic=Critic(lam=0.97))
    lengths, values = (3, 1, 4), [0.1, 0.7, -0.2, 0.9, 0.3, 0.4, 0.5, 0.6]
    rollouts = [attempt("a", length, float(k)) for k, length in enumerate(lengths)]
    together, start = credited(algorithm, rollouts, value_S=values), 0
    for rollout, length in zip(rollouts, lengths, strict=True):
        alone = credited(algorithm, [rollout], value_S=values[start : start + length])
        for column in ("advantage_S", "return_S"):
            torch.testing.assert_close(together.need(column)[start : start + length], alone.need(column))
        start += length


def test_vapo_gives_long_answers_a_longer_lambda() -> None:
    algorithm = PolicyGradient(advantage="gae", lam_alpha=0.5, critic=Critic())
    batch = credited(algorithm, [attempt("a", 4, 1.0), attempt("b", 2, 1.0)], value_S=[*VALUES, 0.3, 0.6])
    # lambda = 1 - 1 / (alpha l): a half for four tokens, whose deltas are .2, .1, .3, .2, and 0 for two.
    near(batch.need("advantage_S"), [0.35, 0.3, 0.4, 0.2, 0.3, 0.4])
    near(batch.need("return_S"), [1] * 6)


def test_vapo_imitates_right_answers_by_the_token() -> None:
    rollouts = [attempt("a", 2, 0.3, right=True), attempt("a", 1, 0.9, right=False), attempt("b", 2, 0.0, right=True)]
    plain, both = (PolicyGradient(advantage="group_mean", nll_coef=coef) for coef in (0.0, 0.1))
    without, found = (update(algorithm, credited(algorithm, rollouts)) for algorithm in (plain, both))
    near(found.grad_S - without.grad_S, [-0.1 / 4, -0.1 / 4, 0, -0.1 / 4, -0.1 / 4])
    assert found.loss - without.loss == pytest.approx(0.1)
    assert found.logged["nll"] == pytest.approx(1.0)
    # The third answer has no advantage and is imitated all the same.
    batch = credited(both, rollouts)
    both.weigh(batch)
    assert both.active(batch).all()


def test_nothing_is_imitated_where_nothing_is_right() -> None:
    algorithm = PolicyGradient(advantage="group_mean", nll_coef=0.1)
    found = update(algorithm, credited(algorithm, [attempt("a", 2, 0.5, right=False), attempt("a", 1, 0.0)]))
    assert found.logged["nll"] == 0
    assert found.loss == pytest.approx(-(2 * 0.25 - 0.25) / 3)


# ------------------------------------------------------------------------------------------------ penalties


def test_a_penalty_in_the_loss_is_weighed_like_the_rest() -> None:
    # x = -.5 on the first token and 0 on the others; k3 = e^.5 - 1.5, its gradient 1 - e^.5.
    k3, slope = math.exp(0.5) - 1.5, 1 - math.exp(0.5)
    algorithm = PolicyGradient(advantage="group_mean", aggregation="sequence_mean", kl=KL(coef=0.04))
    batch = credited(algorithm, [attempt("a", 2, 1.0), attempt("a", 1, 1.0)], logp_ref_S=[-0.5, -1, -1])
    found = update(algorithm, batch)
    assert found.loss == pytest.approx(0.04 * k3 / 4, abs=1e-7)
    near(found.grad_S, [0.04 * slope / 4, 0, 0])
    assert found.logged["kl_ref"] == pytest.approx(k3 / 4, abs=1e-6)
    # Equal rewards teach nothing, and their sequences are held to the reference all the same.
    assert algorithm.active(batch).all()


@pytest.mark.parametrize("place", ["reward", "reward_baselined"])
def test_a_penalty_in_the_reward_is_no_loss(place: Any) -> None:
    algorithm = PolicyGradient(advantage="none", kl=KL(coef=0.1, estimator="k1", place=place), **ANCIENT)
    found = update(algorithm, credited(algorithm, [attempt("a", 2, 0.0)], logp_ref_S=[-1.1, -1.2]))
    near(found.grad_S, [0.03, 0.02] if place == "reward" else [0.03, 0.03])
    assert "kl_ref" not in found.logged


def test_the_entropy_bonus_counts_live_tokens() -> None:
    algorithm = PolicyGradient(advantage="group_mean", entropy=Entropy(coef=0.01))
    rollouts = [attempt("a", 2, 1.0, sampled=[True, False]), attempt("a", 1, 1.0)]
    uniform, policy = math.log(4), 1.029653
    found = update(algorithm, credited(algorithm, rollouts), entropy=[uniform, 99.0, policy])
    assert found.loss == pytest.approx(-0.01 * (uniform + policy) / 2)
    assert found.logged["entropy_policy"] == pytest.approx((uniform + policy) / 2)
    assert algorithm.needs.entropy


def test_an_adaptive_entropy_bonus_is_paid_below_its_target() -> None:
    algorithm = PolicyGradient(advantage="group_mean", entropy=Entropy(target=0.2, step=1e-4, high=3e-4))
    rollouts, state = [attempt("a", 1, 1.0), attempt("a", 1, 1.0)], dict[str, float]()
    for measured, paid in ((0.1, 1e-4), (0.2, 0.0), (0.1, 1e-4), (0.1, 2e-4), (0.1, 3e-4), (0.1, 3e-4), (0.5, 0.0)):
        algorithm.adapt(state, {"entropy_policy": measured})
        found = update(algorithm, credited(algorithm, rollouts), entropy=[1.0, 1.0], state=state)
        assert found.loss == pytest.approx(-paid, abs=1e-9)
    assert state["entropy_coef"] == pytest.approx(2e-4)


# ----------------------------------------------------------------------------------------------- correction


def test_truncated_importance_sampling_scales_the_gain() -> None:
    algorithm = PolicyGradient(advantage="group_mean", correction=Correction(high=2.0))
    rollouts = [attempt("a", 1, 1.0), attempt("a", 1, 0.0, logp=[-0.2])]
    batch = credited(algorithm, rollouts, logp_old_S=[-0.2, -0.5])
    # pi_old / pi_sampler is e^.8 = 2.2255, cut to 2, and e^-.3.
    found = update(algorithm, batch)
    near(found.grad_S, [-2 * 0.5 / 2, math.exp(-0.3) * 0.5 / 2])
    assert found.logged["correction"] == pytest.approx((2 + math.exp(-0.3)) / 2)
    assert algorithm.needs.trainer_logp


def test_what_is_too_far_off_is_masked_and_stays_in_the_denominator() -> None:
    algorithm = PolicyGradient(advantage="group_mean", correction=Correction(kind="mask", low=0.5))
    rollouts = [attempt("a", 1, 1.0), attempt("a", 1, 0.0, logp=[-0.2])]
    near(update(algorithm, credited(algorithm, rollouts, logp_old_S=[-0.2, -0.5])).grad_S, [0, math.exp(-0.3) / 4])


@pytest.mark.parametrize("kind", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_an_exact_sampler_is_not_corrected(kind: Any, level: Any) -> None:
    plain = PolicyGradient(advantage="group_mean")
    algorithm = PolicyGradient(advantage="group_mean", correction=Correction(kind=kind, level=level, low=0.5))
    found, expected = (update(a, credited(a, attempts(*FIX_A))) for a in (algorithm, plain))
    assert torch.equal(found.grad_S, expected.grad_S)
    assert found.loss == expected.loss


# ------------------------------------------------------------------------------------------------ truncation


@pytest.mark.parametrize(
    ("policy", "finish", "right", "advantage", "counted"),
    [
        ("grade", "length", True, 0.5, True),
        ("grade", "length", False, 0.0, True),
        ("zero_reward", "length", True, 0.0, True),
        ("zero_reward", "stop", True, 0.5, True),
        ("zero_reward", "length", False, 0.0, True),
        ("mask", "length", True, 0.5, False),
        ("mask", "stop", True, 0.5, True),
        ("mask", "length", False, 0.0, False),
        ("zero_advantage", "length", True, 0.0, True),
        ("zero_advantage", "stop", True, 0.5, True),
    ],
)
def test_truncated_answers(policy: Any, finish: FinishReason, right: bool, advantage: float, counted: bool) -> None:
    algorithm = PolicyGradient(advantage="group_mean", truncation=policy)
    batch = credited(algorithm, [attempt("a", 4, float(right), finish=finish), attempt("a", 2, 0.0)])
    near(batch.need("advantage_S")[:4], [advantage] * 4)
    # Masked or not, it is part of its group's mean, except for zero_reward, where it has another reward.
    seen = right and not (policy == "zero_reward" and finish == "length")
    near(batch.need("advantage_S")[4:], [-0.5 * seen] * 2)
    found = update(algorithm, batch)
    near(-found.grad_S[:4], [advantage / 6 * counted] * 4)
    near(-found.grad_S[4:], [-0.5 * seen / (6 if counted else 2)] * 2)


def test_masked_answers_do_not_enter_the_whitening() -> None:
    algorithm = PolicyGradient(advantage="none", truncation="mask", whiten="population")
    rollouts = [attempt("a", 1, 1.0), attempt("b", 1, 3.0), attempt("c", 5, 99.0, finish="length")]
    near(credited(algorithm, rollouts).need("advantage_S"), [-1, 1, 0, 0, 0, 0, 0])


# -------------------------------------------------------------------------------------- rows, splits, refusals

METHODS: dict[str, PolicyGradient] = {
    "grpo": PolicyGradient(aggregation="sequence_mean", kl=KL(coef=0.04)),
    "dr-grpo": PolicyGradient(advantage="group_mean", aggregation="constant", constant=9),
    "dapo": PolicyGradient(truncation="mask"),
    "gspo": PolicyGradient(ratio="sequence", aggregation="sequence_mean"),
    "cispo": PolicyGradient(surrogate="cispo", clip_low=None),
    "k1.5": PolicyGradient(advantage="group_mean", surrogate="mirror", tau=0.1, aggregation="sequence_sum"),
    "corrected": PolicyGradient(correction=Correction(level="sequence"), nll_coef=0.1, dual_clip=3.0),
}


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_no_split_changes_a_loss_or_a_gradient(method: str, seed: int) -> None:
    algorithm = METHODS[method]
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (6,), generator=random).tolist()
    rollouts = [
        attempt("ab"[k % 2], n, float(k < 3), finish="length" if k == 4 else "stop") for k, n in enumerate(lengths)
    ]

    def noise() -> list[float]:
        return (-1 + 0.4 * torch.randn(sum(lengths), generator=random)).tolist()

    batch, logp = credited(algorithm, rollouts, logp_old_S=noise(), logp_ref_S=noise()), noise()
    whole, parts = update(algorithm, batch, logp), update(algorithm, batch, logp, split=True)
    torch.testing.assert_close(parts.grad_S, whole.grad_S, atol=1e-7, rtol=1e-6)
    assert parts.loss == pytest.approx(whole.loss, abs=1e-6)
    assert parts.logged == pytest.approx(whole.logged, abs=1e-6)
    # Rows that are not active have no gradient.
    algorithm.weigh(batch)
    assert torch.count_nonzero(whole.grad_S[~algorithm.active(batch)[batch.row_S]]) == 0


@pytest.mark.parametrize("kind", ["group_mean", "group_std", "group_std_sample", "leave_one_out", "length_weighted"])
def test_equal_rewards_teach_exactly_nothing(kind: Any) -> None:
    algorithm = PolicyGradient(advantage=kind, epsilon=0)
    batch = credited(algorithm, attempts(*(("a", length, 0.1) for length in range(1, 8))))
    assert torch.count_nonzero(update(algorithm, batch).grad_S) == 0
    assert not algorithm.active(batch).any()


def test_what_is_not_a_number_reaches_the_loss() -> None:
    algorithm = PolicyGradient(advantage="none")
    batch = credited(algorithm, [attempt("a", 1, math.nan), attempt("b", 1, 1.0)])
    algorithm.weigh(batch)
    assert algorithm.active(batch).all()
    assert math.isnan(update(algorithm, batch).loss)


def test_only_the_policys_samples_train() -> None:
    rollouts = [attempt("a", 1, 1.0, role=role) for role in ("greedy", "policy", "anchor", "hinted", "policy")]
    assert PolicyGradient().prepare(Batch.of(rollouts)).index_N.tolist() == [1, 4]


def test_missing_columns_are_named() -> None:
    for algorithm, column in (
        (PolicyGradient(kl=KL(coef=0.1, estimator="k1", place="reward")), "logp_ref_S"),
        (PolicyGradient(advantage="gae", critic=Critic()), "value_S"),
    ):
        with pytest.raises(MissingColumn, match=column):
            credited(algorithm, attempts(*FIX_A))
    with pytest.raises(MissingColumn, match="greedy_N"):
        REMAX.credit(Batch.of(attempts(*FIX_A)), {})
    with pytest.raises(MissingColumn, match="logp_roll_S"):
        credited(PolicyGradient(), [attempt("a", 2, 1.0, logp=[])])


def test_needs_follow_from_the_choices() -> None:
    plain = PolicyGradient(advantage="none").needs
    assert (plain.group, plain.trainer_logp, plain.greedy, plain.entropy, plain.anchor) == (False,) * 5
    assert plain.reference is plain.critic is None
    assert PolicyGradient().needs.group
    reference = Reference(kind="refreshed", every=400)
    assert PolicyGradient(kl=KL(coef=0.001, reference=reference)).needs.reference == reference
    critic = Critic(updates=12)
    assert PolicyGradient(advantage="gae", critic=critic).needs.critic == critic


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"aggregation": "constant"}, "needs `constant`, the generation budget"),
        ({"advantage": "gae"}, "needs a `critic`"),
        ({"critic": Critic()}, "used by advantage `gae` alone"),
        ({"surrogate": "mirror", "aggregation": "sequence_sum"}, "needs `tau`"),
        ({"tau": 0.1}, "no other takes it"),
        ({"surrogate": "mirror", "tau": 0.1}, "a square of whole sequences"),
        ({"ratio": "sequence"}, "set aggregation `sequence_mean`"),
        ({"surrogate": "score", "minibatches": 2}, "would not know that they are off-policy"),
        ({"surrogate": "score", "epochs": 2}, "would not know that they are off-policy"),
        ({"surrogate": "cispo", "dual_clip": 3.0}, "belongs to surrogate `clip`"),
        ({"lam_alpha": 0.5}, "belongs to advantage `gae`"),
        ({"advantage": "gae", "critic": Critic(), "min_advantage": 0.5}, "advantages of whole sequences"),
        ({"advantage": "none", "scale_live_groups": True}, "compares the samples of a prompt"),
        ({"advantage": "none", "difficulty": {}}, "compares the samples of a prompt"),
        ({"kl": {"coef": 0.1, "estimator": "k1"}}, "no gradient on average"),
        ({"kl": {"coef": 0.1, "reference": {"kind": "refreshed"}}}, "has `every` if and only if"),
        ({"kl": {"coef": 0.1, "reference": {"rate": 0.1}}}, "has `rate` if and only if"),
        ({"correction": {"low": 1.5}}, "less than or equal to 1"),
        ({"advantage": "median"}, "Input should be"),
        ({"clip_hi": 0.3}, "Extra inputs"),
    ],
)
def test_impossible_combinations_are_refused_with_the_reason(choices: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        PolicyGradient(**choices)
