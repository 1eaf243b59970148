from __future__ import annotations

import numpy as np
import pytest

from reckon.engine import kernels
from reckon.engine.kernels import NARROW, WIDE, Floats


def panels(matrix: Floats) -> Floats:
    """[inputs, outputs] as [P, inputs, WIDE]."""
    inputs, outputs = matrix.shape
    padded = np.zeros((inputs, -(-outputs // WIDE) * WIDE), np.float32)
    padded[:, :outputs] = matrix
    return np.ascontiguousarray(padded.reshape(inputs, -1, WIDE).transpose(1, 0, 2))


def random(*shape: int) -> Floats:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 131])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (33, WIDE), (192, 3 * WIDE - 5)])
def test_a_product_is_numpys_and_leaves_the_other_rows(rows: int, inputs: int, outputs: int) -> None:
    a, w = random(rows + 2, inputs), random(inputs, outputs)
    c = random(rows + 2, len(panels(w)) * WIDE)
    expected = c.astype(np.float64)
    expected[:rows, :outputs] += a[:rows].astype(np.float64) @ w
    kernels._add_product(a, panels(w), rows, c)
    assert np.allclose(c, expected, atol=1e-4)
    assert np.array_equal(c[rows:], expected[rows:])


def test_a_row_of_a_product_is_the_same_among_any_others() -> None:
    a, w = random(40, 192), panels(random(192, 100))
    together = np.zeros((40, len(w) * WIDE), np.float32)
    kernels._add_product(a, w, 40, together)
    for row in range(40):
        alone = np.zeros((1, len(w) * WIDE), np.float32)
        kernels._add_product(a[row : row + 1], w, 1, alone)
        assert np.array_equal(alone[0], together[row])


def test_exponentials_are_right_to_the_last_places() -> None:
    x = np.concatenate([np.linspace(-87, 88, 20_000), [0, -1e-9, 1e-9]]).astype(np.float32)
    found = np.array([kernels._exp(value) for value in x], np.float64)
    expected = np.exp(x.astype(np.float64))
    assert np.abs(found / expected - 1).max() < 2.5e-7
    assert kernels._exp(np.float32(-1000)) == pytest.approx(0, abs=1e-37)


@pytest.mark.parametrize("length", [1, NARROW - 1, NARROW, NARROW + 1, 5 * NARROW - 3])
@pytest.mark.parametrize(("kv_heads", "groups"), [(1, 1), (2, 3), (1, 14)])
def test_attention_is_numpys_whatever_lies_behind_the_last_position(length: int, kv_heads: int, groups: int) -> None:
    slot, blocks = 2 * NARROW, 6
    query = random(kv_heads, groups, slot)
    keys, values = random(kv_heads, blocks * NARROW, slot), random(2, kv_heads, blocks * NARROW, slot)[0]
    keys[:, length:], values[:, length:] = np.inf, np.nan
    blocked = np.ascontiguousarray(keys.reshape(kv_heads, blocks, NARROW, slot).swapaxes(2, 3))
    out = np.full(query.size, np.nan, np.float32)
    with np.errstate(invalid="ignore"):
        score_room = np.empty((groups, blocks * NARROW), np.float32)
        kernels._attend(query.ravel(), blocked, values, length, groups, score_room, out)
    score = np.einsum("kgd,ksd->kgs", query, keys[:, :length]).astype(np.float64)
    weight = np.exp(score - score.max(-1, keepdims=True))
    weight /= weight.sum(-1, keepdims=True)
    expected = np.einsum("kgs,ksd->kgd", weight, values[:, :length])
    assert np.allclose(out.reshape(expected.shape), expected, atol=1e-4)


def test_activation_holds_at_the_ends_of_the_range() -> None:
    gate = np.array([-1e30, -200, -88, -1, 0, 1, 88, 1e30], np.float32)
    out = np.empty(8, np.float32)
    kernels._activate(np.concatenate([gate, np.full(8, 2, np.float32)]), out)
    with np.errstate(over="ignore"):
        expected = 2 * gate.astype(np.float64) / (1 + np.exp(-gate.astype(np.float64)))
    assert np.allclose(out, expected, rtol=1e-6, atol=1e-7)
