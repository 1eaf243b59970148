"""Turning logits into tokens, on the device, for a whole batch at once and without a global random state.

Shape suffixes: R rows (running requests), V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def streams(seed_R: Tensor) -> Tensor:
    """A stream of random numbers for each seed: hashed, so that the streams of related seeds do not overlap."""
    return _mix(seed_R)


def uniforms(stream_R: Tensor, position_R: Tensor) -> Tensor:
    """Uniform numbers in [0, 1), multiples of 2**-24, one per row, a function of (stream, position) alone.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, fig. 17) is a counter-based generator: the n-th number of a
    stream is a hash of ``stream + n * gamma``.
    """
    return _shift(_mix(stream_R + position_R * _GAMMA), 40).to(torch.float32) * 2.0**-24


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; that of signed integers would copy the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def sample(
    logits_RV: Tensor, uniform_R: Tensor, temperature_R: Tensor | None = None, top_p_R: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token per row by inversion of the cumulative distribution, and its log-probability in nats.

    Args:
        uniform_R: at most 1 - 2**-24.
        temperature_R: 0 takes the most likely token; None is 1 for all.
        top_p_R: each row's nucleus (arXiv 1904.09751); None samples the full distribution.

    Returns:
        (token_R, logp_R); log-probabilities are those of the tempered (greedy: untempered) full distribution in fp32.
    """
    logits_RV = logits_RV.float()
    if temperature_R is not None:
        greedy_R = temperature_R == 0
        # From the largest down, so that no temperature is so low that the most likely token overflows.
        logits_RV = (logits_RV - logits_RV.amax(-1, keepdim=True)) / (temperature_R + greedy_R)[:, None]
    weight_RV = torch.softmax(logits_RV, dim=-1)
    cdf_RV = (weight_RV if top_p_R is None else _nucleus(weight_RV, top_p_R)).cumsum(-1)
    # The product is rounded to less than the total, however small the weights: the token found has one.
    token_R1 = torch.searchsorted(cdf_RV, uniform_R[:, None] * cdf_RV[:, -1:], right=True)
    if temperature_R is not None:
        token_R1 = torch.where(greedy_R[:, None], logits_RV.argmax(-1, keepdim=True), token_R1)
    return token_R1[:, 0], weight_RV.gather(1, token_R1)[:, 0].log()


def _nucleus(weight_RV: Tensor, top_p_R: Tensor) -> Tensor:
    """Weights outside the smallest set of tokens that reaches ``top_p`` become 0; rows with top_p 1 stay whole."""
    sorted_RV, order_RV = weight_RV.sort(stable=True, dim=-1, descending=True)
    before_RV = sorted_RV.cumsum(-1) - sorted_RV
    outside_RV = (before_RV >= top_p_R[:, None]) & (top_p_R < 1)[:, None]
    outside_RV[:, 0] = False
    return torch.zeros_like(weight_RV).scatter(1, order_RV, sorted_RV.masked_fill(outside_RV, 0.0))
