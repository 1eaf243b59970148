"""How much the policy is pushed to explore."""

from __future__ import annotations


def adapt_entropy_coef(coef: float, entropy: float, target: float, step: float, high: float) -> float:
    """The coefficient after a step: up by ``step`` where the entropy (nats) was below ``target``, else down by it.

    It stays within [0, ``high``]. Skywork-OR1, arXiv 2505.22312.
    """
    return min(max(coef + (step if entropy < target else -step), 0.0), high)
