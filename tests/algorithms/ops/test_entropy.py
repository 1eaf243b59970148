from __future__ import annotations

import pytest

from reckon.algorithms import ops


def test_the_coefficient_follows_a_scripted_entropy() -> None:
    coefficient, path = 0.0, []
    for entropy in (0.5, 0.1, 0.1, 0.1, 0.2, 0.3):
        coefficient = ops.adapt_entropy_coef(coefficient, entropy, target=0.2, step=1e-4, high=2e-4)
        path.append(coefficient)
    assert path == pytest.approx([0, 1e-4, 2e-4, 2e-4, 1e-4, 0])
