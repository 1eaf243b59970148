"""The choices that every method is made of, each a small pure function (legend in :mod:`reckon.algorithms.batch`).

advantage     reward_N  -> advantage_N, advantage_S   who did better than expected
ratio         logp_S    -> ratio_S                    how far the policy has moved, and how far its sampler is off
surrogate     ratio_S   -> gain_S                     what is maximised, and how far a token may be pushed
kl            logp_S    -> penalty_S                  how far from the reference
entropy       figures of a step -> coefficient        how much the policy is pushed to explore
aggregation   lengths   -> weight_S                   what each token counts
value         value_S   -> loss_S                     how wrong the critic is
preference    rewards of pairs -> loss_P              Bradley-Terry (DPO with log-ratios) and NCA; labels
bond          reward_N  -> reward_N                   distilling the best of several samples
"""

from reckon.algorithms.ops.advantage import (
    SAME_REWARD,
    AdvantageKind,
    at_last_token,
    difficulty_weight,
    gae,
    length_adaptive_lambda,
    live_group_scale,
    sequence_advantage,
    suffix_sum,
    whiten,
)
from reckon.algorithms.ops.aggregation import AggregationKind, sequence_sum, token_weights
from reckon.algorithms.ops.bond import best_of_n, bond_reward, expected_best_of
from reckon.algorithms.ops.entropy import adapt_entropy_coef
from reckon.algorithms.ops.kl import KLKind, adapt_kl_coef, kl_penalty
from reckon.algorithms.ops.preference import bradley_terry_loss, label_loss, nca_loss
from reckon.algorithms.ops.ratio import (
    LOG_RATIO_LIMIT,
    CorrectionKind,
    Level,
    correction_weight,
    importance_ratio,
    sequence_ratio,
)
from reckon.algorithms.ops.surrogate import cispo, clipped_surrogate, mirror_descent
from reckon.algorithms.ops.value import explained_variance, value_loss

__all__ = [
    "LOG_RATIO_LIMIT",
    "SAME_REWARD",
    "AdvantageKind",
    "AggregationKind",
    "CorrectionKind",
    "KLKind",
    "Level",
    "adapt_entropy_coef",
    "adapt_kl_coef",
    "at_last_token",
    "best_of_n",
    "bond_reward",
    "bradley_terry_loss",
    "cispo",
    "clipped_surrogate",
    "correction_weight",
    "difficulty_weight",
    "expected_best_of",
    "explained_variance",
    "gae",
    "importance_ratio",
    "kl_penalty",
    "label_loss",
    "length_adaptive_lambda",
    "live_group_scale",
    "mirror_descent",
    "nca_loss",
    "sequence_advantage",
    "sequence_ratio",
    "sequence_sum",
    "suffix_sum",
    "token_weights",
    "value_loss",
    "whiten",
]
