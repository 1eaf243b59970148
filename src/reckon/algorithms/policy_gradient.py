"""Policy gradient: GRPO, PPO, REINFORCE and their relatives, as one loss and independent choices.

The loss, in one line (legend in :mod:`.batch`)::

    loss = sum_S weight_S * ( -gain_S + kl.coef * kl_S - entropy.coef * entropy_S )  -  sum_S imitate_S * logp_S

    gain_S     GRPO, PPO:  min(ratio_S A_S, clip(ratio_S, 1 - clip_low, 1 + clip_high) A_S),  ratio = pi / pi_old
    A_S        GRPO:       (reward - mean of the group) / std of the group, for every token of the sequence
    weight_S   GRPO:       1 / (N len_i)         DAPO: 1 / tokens of the batch
    imitate_S  VAPO:       nll_coef / tokens of right answers, on those tokens

A method is a choice for each field of :class:`PolicyGradient`; the published ones lie in ``reckon/recipes/methods``.
The formulas are in :mod:`.ops`, one file per choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, Critic, Needs, Outputs, Reference, State
from reckon.algorithms.batch import Batch
from reckon.core.config import Strict

GROUPED = {"group_mean", "group_std", "group_std_sample", "leave_one_out", "length_weighted"}
"""Advantages that compare the samples of one prompt."""


class KL(Strict):
    """A penalty on the divergence from a reference.

    Attributes:
        coef: its weight (beta).
        estimator: see :func:`reckon.algorithms.ops.kl_penalty`.
        place: ``loss`` adds it to every token's loss (GRPO). ``reward`` takes it from every token's reward after the
            baseline, so that a token pays for its own divergence and what follows (PPO, REINFORCE++).
            ``reward_baselined`` takes the sum over the sequence from its reward before the baseline (RLOO).
        reference: what to stay near.
        target: nats per token; the coefficient is adapted to hold the divergence there (arXiv 1909.08593, sec. 2.2),
            by at most 20% in each ``horizon`` samples.
    """

    coef: float = Field(gt=0)
    estimator: ops.KLKind = "k3"
    place: Literal["loss", "reward", "reward_baselined"] = "loss"
    reference: Reference = Reference()
    target: float | None = Field(None, gt=0)
    horizon: int = Field(10_000, ge=1)

    @model_validator(mode="after")
    def _acts(self) -> KL:
        if (self.estimator, self.place) == ("k1", "loss"):
            raise ValueError("estimator `k1` in the loss has no gradient on average: take k2 or k3, or another place")
        return self


class Entropy(Strict):
    """A bonus on the entropy of the distribution at every token.

    Attributes:
        coef: its weight; with ``target``, the weight at the start.
        target: nats per token; each step the weight moves by ``step``, up while the entropy is below, within
            [0, ``high``], and the bonus is paid only while it is below (Skywork-OR1, arXiv 2505.22312).
    """

    coef: float = Field(0.0, ge=0)
    target: float | None = Field(None, gt=0)
    step: float = Field(1e-4, gt=0)
    high: float = Field(5e-3, gt=0)


class Correction(Strict):
    """Importance weights pi_old / pi_sampler, for a sampler that differs from the trainer (other kernels, other types).

    Attributes:
        kind: ``truncate`` cuts weights at ``high`` (TIS); ``mask`` drops what lies outside [low, high].
        level: of each token, or the product over the sequence.
    """

    kind: ops.CorrectionKind = "truncate"
    level: ops.Level = "token"
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(2.0, ge=1)


class Difficulty(Strict):
    """Advantages weighed by how hard their prompt is: :func:`.ops.difficulty_weight` (GRPO-LEAD, arXiv 2504.09696).

    Attributes:
        low, high: the weights of the easiest and of the hardest prompt, for a right answer; for a wrong one they
            change places.
        middle: the share of right answers at which the weight is half-way between.
        steepness: of the way from one to the other.
    """

    low: float = Field(0.4, ge=0)
    high: float = Field(1.5, gt=0)
    middle: float = Field(0.75, ge=0, le=1)
    steepness: float = Field(10.0, gt=0)


class PolicyGradient(Algorithm):
    """Every choice of a policy-gradient method. The defaults are the modern form: token mean, clip-higher, no KL.

    Attributes:
        advantage: what the reward is compared with (:func:`.ops.sequence_advantage`); ``gae`` asks the critic.
        baseline: the number ``constant`` subtracts. ``ema`` subtracts the running mean of earlier steps' rewards, of
            which ``ema_decay`` stays at each step.
        epsilon: added to a group's standard deviation.
        whiten: subtract the mean and divide by the std (``population`` or ``sample``) of the whole batch's tokens.
        scale_live_groups: multiply by groups / groups with unequal rewards (GPG's alpha).
        difficulty: weigh a group by its share of right answers.
        min_advantage: sequences with a smaller absolute advantage are left out of loss and denominators (CPPO).
        gamma, lam: of generalised advantage estimation. With ``lam_alpha``, lambda of a sequence of l tokens is
            1 - 1 / (lam_alpha l) instead (VAPO).
        token_gamma: what single tokens earned (``reward_S``) is added to the advantages of the tokens before them,
            discounted by this (0.99: arXiv 2502.03373). It is compared with nothing, and no critic learns of it.
        surrogate: ``clip`` (PPO), ``cispo``, ``mirror`` (k1.5), or ``score``, plain A logp without a ratio.
        ratio: of each token, or the geometric mean over the sequence (GSPO).
        clip_low, clip_high: the ratio is clipped to [1 - clip_low, 1 + clip_high]; None leaves that side open.
        dual_clip: a negative advantage is multiplied by a ratio of at most this.
        tau: how strongly ``mirror`` holds to the policy at the step's start.
        aggregation: what a token counts (:func:`.ops.token_weights`); ``constant`` divides by ``constant`` tokens.
        truncation: responses that hit the limit are graded as they are, get reward 0 (whatever they say), are masked
            (no loss, not counted; but part of their group's statistics), or get advantage 0 (no loss, counted).
        nll_coef: weight of the mean negative log-likelihood of the right responses (VAPO).
        kl, entropy, correction, critic: None is without.
    """

    kind: Literal["policy_gradient"] = "policy_gradient"

    advantage: ops.AdvantageKind | Literal["gae"] = "group_std"
    baseline: float = 0.0
    ema_decay: float = Field(0.9, ge=0, lt=1)
    epsilon: float = Field(1e-6, ge=0)
    whiten: Literal["population", "sample"] | None = None
    scale_live_groups: bool = False
    difficulty: Difficulty | None = None
    min_advantage: float = Field(0.0, ge=0)
    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(1.0, ge=0, le=1)
    lam_alpha: float | None = Field(None, gt=0)
    token_gamma: float = Field(0.99, ge=0, le=1)

    surrogate: Literal["clip", "cispo", "mirror", "score"] = "clip"
    ratio: ops.Level = "token"
    clip_low: float | None = Field(0.2, ge=0)
    clip_high: float | None = Field(0.28, ge=0)
    dual_clip: float | None = Field(None, gt=1)
    tau: float | None = Field(None, gt=0)

    aggregation: ops.AggregationKind = "token_mean"
    constant: int | None = Field(None, ge=1)
    truncation: Literal["grade", "zero_reward", "mask", "zero_advantage"] = "grade"
    nll_coef: float = Field(0.0, ge=0)

    kl: KL | None = None
    entropy: Entropy | None = None
    correction: Correction | None = None
    critic: Critic | None = None

    @model_validator(mode="after")
    def _possible(self) -> PolicyGradient:
        """Refuse combinations that contradict themselves or leave a setting without effect."""
        refused = {
            "aggregation `constant` needs `constant`, the generation budget in tokens": self.aggregation == "constant"
            and self.constant is None,
            "advantage `gae` needs a `critic`": self.advantage == "gae" and self.critic is None,
            "a `critic` is used by advantage `gae` alone": self.critic is not None and self.advantage != "gae",
            "surrogate `mirror` needs `tau`, and no other takes it": (self.surrogate == "mirror")
            != (self.tau is not None),
            "surrogate `mirror` is a square of whole sequences: set ratio `token` and aggregation `sequence_sum`": (
                self.surrogate == "mirror" and (self.ratio, self.aggregation) != ("token", "sequence_sum")
            ),
            "a `sequence` ratio is one number per sequence: set aggregation `sequence_mean`": (
                self.ratio == "sequence" and self.aggregation != "sequence_mean"
            ),
            "surrogate `score` has no ratio, so several updates on one batch would not know that they are off-policy: "
            "set minibatches and epochs to 1, or another surrogate": self.surrogate == "score" and self.updates > 1,
            "`dual_clip` belongs to surrogate `clip`": self.dual_clip is not None and self.surrogate != "clip",
            "`lam_alpha` belongs to advantage `gae`": self.lam_alpha is not None and self.advantage != "gae",
            "`min_advantage` is for advantages of whole sequences, not for `gae`": (
                self.min_advantage > 0 and self.advantage == "gae"
            ),
            "`scale_live_groups` needs an advantage that compares the samples of a prompt": (
                self.scale_live_groups and self.advantage not in GROUPED
            ),
            "`difficulty` needs an advantage that compares the samples of a prompt": (
                self.difficulty is not None and self.advantage not in GROUPED
            ),
        }
        for reason, found in refused.items():
            if found:
                raise ValueError(reason)
        return self

    @property
    def needs(self) -> Needs:
        return Needs(
            group=self.advantage in GROUPED,
            trainer_logp=self.correction is not None,
            reference=self.kl.reference if self.kl else None,
            critic=self.critic,
            greedy=self.advantage == "greedy",
            entropy=self.entropy is not None,
        )

    # ------------------------------------------------------------------------------------------- credit

    def prepare(self, batch: Batch) -> Batch:
        """The policy's samples; with advantage `greedy` those of prompts that have a greedy answer, and its reward."""
        policy = batch.of_role("policy")
        if self.advantage != "greedy":
            return policy
        greedy = batch.of_role("greedy")
        policy = policy.rows(torch.isin(policy.group_N, greedy.group_N).nonzero().flatten())
        group_B, row_B = greedy.group_N.sort()
        policy.greedy_N = self._reward(greedy)[row_B][torch.searchsorted(group_B, policy.group_N)]
        return policy

    def credit(self, batch: Batch, state: State) -> dict[str, float]:
        """Fill ``advantage_S``, and ``return_S`` where there is a critic."""
        # Even where no ratio is taken: without them nobody could tell how far sampler and trainer are apart.
        batch.need("logp_roll_S")
        logged: dict[str, float] = {}
        reward_N, penalty_S = self._reward(batch), None
        if self.kl and self.kl.place != "loss":
            x_S = ops.kl_penalty(batch.need("logp_old_S"), batch.need("logp_ref_S"), self.kl.estimator).double()
            # The policy does not pay for tokens that it did not choose.
            x_S = torch.where(batch.live_S, x_S, 0.0)
            logged["kl_ref"] = (x_S.sum() / batch.live_S.sum().clamp(min=1)).item()
            penalty_S = state.get("kl_coef", self.kl.coef) * x_S
            if self.kl.place == "reward_baselined":
                reward_N = reward_N.index_add(0, batch.row_S, -penalty_S)
                penalty_S = None
        if self.advantage == "gae":
            advantage_S = self._estimated(batch, reward_N, penalty_S)
        else:
            advantage_S = self._compared(batch, reward_N, state)[batch.row_S]
            if penalty_S is not None:
                advantage_S = advantage_S - ops.suffix_sum(penalty_S, batch.row_S)
        if batch.reward_S is not None:
            earned_S = torch.where(batch.live_S, batch.reward_S, 0.0)
            advantage_S = advantage_S + ops.suffix_sum(earned_S, batch.row_S, self.token_gamma)
        if self.truncation == "mask":
            batch.mask(batch.truncated_N)
        if self.whiten:
            advantage_S = ops.whiten(advantage_S, batch.live_S, sample=self.whiten == "sample")
        if self.truncation == "zero_advantage":
            advantage_S = torch.where(batch.truncated_N[batch.row_S], 0.0, advantage_S)
        batch.advantage_S = advantage_S.float()
        return logged

    def _reward(self, batch: Batch) -> Tensor:
        """[N] float64: the rewards, with nothing for truncated responses if so asked."""
        reward_N = batch.need("reward_N").double()
        return torch.where(batch.truncated_N, 0.0, reward_N) if self.truncation == "zero_reward" else reward_N

    def _estimated(self, batch: Batch, reward_N: Tensor, penalty_S: Tensor | None) -> Tensor:
        """Advantages by the critic; fills ``return_S`` with its targets, from the same rewards by its own lambda."""
        assert self.critic is not None
        reward_S = ops.at_last_token(reward_N, batch.row_S)
        if penalty_S is not None:
            reward_S = reward_S - penalty_S
        value_S = batch.need("value_S").double()
        lam_N = ops.length_adaptive_lambda(batch.length_N, self.lam_alpha) if self.lam_alpha else self.lam
        target_S = ops.gae(reward_S, value_S, batch.row_S, self.critic.lam, self.gamma) + value_S
        batch.return_S = target_S.float()
        return ops.gae(reward_S, value_S, batch.row_S, lam_N, self.gamma)

    def _compared(self, batch: Batch, reward_N: Tensor, state: State) -> Tensor:
        """[N] advantages by comparison with a baseline; masks sequences whose advantage is too small to train on."""
        assert self.advantage != "gae"
        baseline: float | Tensor = self.baseline
        if self.advantage == "ema":
            baseline = state.get("baseline", self.baseline)
        elif self.advantage == "greedy":
            baseline = batch.need("greedy_N")
        advantage_N = ops.sequence_advantage(
            reward_N, batch.group_N, self.advantage, epsilon=self.epsilon, baseline=baseline, length_N=batch.length_N
        )
        if self.scale_live_groups:
            advantage_N = advantage_N * ops.live_group_scale(reward_N, batch.group_N)
        if self.difficulty:
            right_N, weights = batch.need("correct_N") >= 1, self.difficulty.model_dump()
            advantage_N = advantage_N * ops.difficulty_weight(advantage_N, right_N, batch.group_N, **weights)
        if self.min_advantage > 0:
            batch.mask(advantage_N.abs() < self.min_advantage)
        return advantage_N

    def adapt(self, state: State, row: Mapping[str, Any]) -> None:
        """Move the running baseline, the KL coefficient and the entropy coefficient."""
        if self.advantage == "ema" and row["reward"] is not None:
            before = state.get("baseline", self.baseline)
            state["baseline"] = self.ema_decay * before + (1 - self.ema_decay) * row["reward"]
        if self.kl and self.kl.target and row.get("kl_ref") is not None:
            coef = state.get("kl_coef", self.kl.coef)
            state["kl_coef"] = ops.adapt_kl_coef(coef, row["kl_ref"], self.kl.target, row["sequences"], self.kl.horizon)
        if self.entropy and self.entropy.target and row.get("entropy_policy") is not None:
            entropy, coef = row["entropy_policy"], state.get("entropy_coef", self.entropy.coef)
            state["entropy_coef"] = ops.adapt_entropy_coef(
                coef, entropy, self.entropy.target, self.entropy.step, self.entropy.high
            )
            state["entropy_due"] = float(entropy <= self.entropy.target)

    # --------------------------------------------------------------------------------------------- loss

    def weigh(self, batch: Batch) -> None:
        batch.weight_S = ops.token_weights(
            batch.row_S, len(batch), self.aggregation, sampled_S=batch.sampled_S, constant=self.constant
        )
        batch.total = batch.weight_S.sum().item() or 1.0
        if self.nll_coef > 0:
            right_S = batch.live_S & (batch.need("correct_N") >= 1)[batch.row_S]
            batch.imitate_S = self.nll_coef * right_S / right_S.sum().clamp(min=1)

    def active(self, batch: Batch) -> Tensor:
        """bool [N]: without a penalty on every token, sequences that have an advantage or are imitated."""
        live_N = torch.zeros(len(batch)).index_add_(0, batch.row_S, batch.need("weight_S")) != 0
        if (self.kl and self.kl.place == "loss") or self.entropy or self.surrogate == "mirror":
            return live_N
        credit_S = (batch.need("advantage_S") * batch.need("weight_S")).abs()
        if batch.imitate_S is not None:
            credit_S = credit_S + batch.imitate_S
        # Not "> 0": a NaN must reach the loss, where the finite check sees it.
        return live_N & (torch.zeros(len(batch)).index_add_(0, batch.row_S, credit_S) != 0)

    def objective(self, outputs: Outputs, batch: Batch, state: State) -> tuple[Tensor, dict[str, Tensor]]:
        logp_S, weight_S = outputs.need("logp_S"), batch.need("weight_S")
        share_S = weight_S / batch.total
        gain_S, clipped_S = self._gain(logp_S, batch)
        logged = {"clip_fraction": (share_S * clipped_S).sum()}
        if self.correction:
            trust_S = ops.correction_weight(
                batch.need("logp_old_S"),
                batch.need("logp_roll_S"),
                batch.row_S,
                self.correction.kind,
                self.correction.level,
                self.correction.low,
                self.correction.high,
                batch.sampled_S,
            )
            gain_S = trust_S * gain_S
            logged["correction"] = (share_S * trust_S).sum()
        loss_S = -gain_S
        if self.kl and self.kl.place == "loss":
            penalty_S = ops.kl_penalty(logp_S, batch.need("logp_ref_S"), self.kl.estimator)
            loss_S = loss_S + state.get("kl_coef", self.kl.coef) * penalty_S
            logged["kl_ref"] = (share_S * penalty_S).sum()
        if self.entropy:
            entropy_S = outputs.need("entropy_S")
            loss_S = loss_S - self._entropy_coef(state) * entropy_S
            logged["entropy_policy"] = (share_S * entropy_S).sum()
        loss = (weight_S * loss_S).sum()
        if batch.imitate_S is not None:
            likelihood = (batch.imitate_S * logp_S).sum()
            loss = loss - likelihood
            logged["nll"] = -likelihood / self.nll_coef
        return loss, {name: value.detach() for name, value in logged.items()}

    def _gain(self, logp_S: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each token gains, to be maximised, and whether a clip holds it."""
        advantage_S = batch.need("advantage_S")
        if self.surrogate == "score":
            return advantage_S * logp_S, torch.zeros_like(advantage_S, dtype=torch.bool)
        old_S = batch.need("logp_old_S")
        if self.surrogate == "mirror":
            assert self.tau is not None
            return ops.mirror_descent(logp_S, old_S, advantage_S, batch.row_S, self.tau, batch.sampled_S)
        if self.ratio == "sequence":
            ratio_S = ops.sequence_ratio(logp_S, old_S, batch.row_S, batch.sampled_S)
        else:
            ratio_S = ops.importance_ratio(logp_S, old_S)
        if self.surrogate == "cispo":
            return ops.cispo(logp_S, ratio_S, advantage_S, self.clip_low, self.clip_high)
        return ops.clipped_surrogate(ratio_S, advantage_S, self.clip_low, self.clip_high, self.dual_clip)

    def _entropy_coef(self, state: State) -> float:
        assert self.entropy is not None
        if self.entropy.target is None:
            return self.entropy.coef
        return state.get("entropy_coef", self.entropy.coef) * state.get("entropy_due", 0.0)
