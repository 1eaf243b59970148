"""How far from the reference."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from reckon.algorithms.ops.ratio import LOG_RATIO_LIMIT

KLKind = Literal["k1", "k2", "k3", "k3_corrected"]


def kl_penalty(logp_S: Tensor, logp_ref_S: Tensor, kind: KLKind) -> Tensor:
    """Per-token estimate of KL(pi || ref) from a token sampled from pi, with x = logp - logp_ref.

                  value             mean     gradient of its mean as a *loss*, over samples of pi
    k1            x                 exact    none: it vanishes
    k2            x^2 / 2           biased   that of KL(pi || ref)
    k3            exp(-x) - 1 + x   exact    that of KL(ref || pi)
    k3_corrected  that of k3        exact    that of KL(pi || ref), by giving it k2's gradient

    J. Schulman, "Approximating KL divergence" (2020); k3 is GRPO's, arXiv 2402.03300 eq. 4.
    """
    x_S = logp_S - logp_ref_S
    if kind == "k1":
        return x_S
    k2_S = x_S**2 / 2
    if kind == "k2":
        return k2_S
    # In both terms: with the exponential alone held, the gradient would point away from the reference.
    held_S = x_S.clamp(min=-LOG_RATIO_LIMIT)
    k3_S = (-held_S).exp() - 1 + held_S
    return k3_S if kind == "k3" else k3_S.detach() + (k2_S - k2_S.detach())


def adapt_kl_coef(coef: float, kl: float, target: float, samples: int, horizon: int) -> float:
    """The coefficient after a step of ``samples`` sequences whose divergence was ``kl``; above ``target`` it grows.

    coef (1 + clip(kl / target - 1, -0.2, 0.2) samples / horizon): arXiv 1909.08593 sec. 2.2.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coef * (1 + error * samples / horizon)
