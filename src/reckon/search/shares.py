"""Sharing out a whole number."""

from __future__ import annotations

from collections.abc import Sequence


def largest_remainder(total: int, weights: Sequence[float]) -> list[int]:
    """``total`` in whole shares as near to the weights as can be: Hamilton's method.

    Everyone gets the whole part of what is due, and the rest goes, one each, to the largest fractions, the first of
    equal ones first. Rounding each share instead would not conserve the total: three equal shares of 8 would be 9.

    Args:
        weights: none negative; where all are 0 they count as equal.
    """
    sum_ = sum(weights)
    due = [total * weight / sum_ if sum_ else total / len(weights) for weight in weights]
    shares = [int(share) for share in due]
    order = sorted(range(len(due)), key=lambda place: shares[place] - due[place])
    for place in order[: total - sum(shares)]:
        shares[place] += 1
    return shares
