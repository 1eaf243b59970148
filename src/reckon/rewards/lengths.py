"""Rewards of a response's length in tokens, each a small pure function."""

from __future__ import annotations

import math
from collections.abc import Sequence

Ends = tuple[float, float]
"""What a response of no tokens gets, and one of as many as the limit allows."""


def soft_overlong(length: int, limit: int, buffer: float) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), in [-1, 0].

    0 up to ``limit - buffer`` tokens, from there linearly down to -1 at ``limit``, and -1 beyond.
    """
    return max(-1.0, min(0.0, (limit - buffer - length) / buffer))


def group_lengths(lengths: Sequence[int], right: Sequence[bool]) -> list[float]:
    """Kimi k1.5's length reward of each response to one prompt (arXiv 2501.12599, sec. 2.3.3), in [-0.5, 0.5].

    lambda = 0.5 - (length - shortest) / (longest - shortest) for a right answer, min(0, lambda) for a wrong one; 0 for
    all if they are equally long. Only the order and the proportions of the lengths count, not their unit.
    """
    shortest, longest = min(lengths, default=0), max(lengths, default=0)
    if shortest == longest:
        return [0.0] * len(lengths)
    shares = [0.5 - (length - shortest) / (longest - shortest) for length in lengths]
    return [share if correct else min(0.0, share) for share, correct in zip(shares, right, strict=True)]


def cosine(length: int, limit: int, ends: Ends) -> float:
    """Half a wave of the cosine from ``ends[0]`` at 0 tokens to ``ends[1]`` at ``limit``, and level from there on.

    CosFn of Yeo et al. (arXiv 2502.03373, sec. 4), which the paper calls with the two values in the places that its
    definition gives to the other one; here they are as its text and its code have them.
    """
    start, end = ends
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(1.0, length / limit)))


def cosine_reward(right: bool, length: int, limit: int, ends_right: Ends, ends_wrong: Ends, exceeded: float) -> float:
    """The cosine reward (arXiv 2502.03373, sec. 4): ``exceeded`` at the limit, whatever the answer; else a cosine.

    The published values let a right answer fall from 2 to 1 with its length, a wrong one rise from -10 to 0, so that
    thinking on pays where it has not led to the answer yet; and have -10 for who does not come to an end.
    """
    if length >= limit:
        return exceeded
    return cosine(length, limit, ends_right if right else ends_wrong)


def target_exact(length: int, target: int, alpha: float) -> float:
    """What L1-Exact adds to accuracy (LCPO-Exact, arXiv 2503.04697, eq. 1): -alpha |target - length|, at least -1.

    The paper has no bound. Here a miss of more than 1 / alpha tokens costs what one of 1 / alpha does.
    """
    return max(-1.0, -alpha * abs(target - length))


def target_max(score: float, length: int, target: int, alpha: float, delta: float) -> float:
    """What L1-Max adds to accuracy (LCPO-Max, arXiv 2503.04697, eq. 2), in [-score, 0]: score * (kept - 1).

    Together they are the paper's score * kept, kept = clip(alpha (target - length) + delta, 0, 1): a right answer is
    worth delta at the target, more below it and less above; a wrong one is worth nothing at any length.
    """
    kept = max(0.0, min(1.0, alpha * (target - length) + delta))
    return score * (kept - 1.0)
