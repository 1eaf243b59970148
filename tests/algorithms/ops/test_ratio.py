from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reckon.algorithms import ops

LOG_RATIO = [0.3, -0.1, 0.1]
ONE_ROW = torch.zeros(3, dtype=torch.long)


def double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_token_ratios() -> None:
    found = ops.importance_ratio(double(LOG_RATIO), double([0, 0, 0]))
    torch.testing.assert_close(found, double([1.349859, 0.904837, 1.105171]), atol=1e-6, rtol=0)
    assert found.prod().item() == pytest.approx(1.349859, abs=1e-6)


def test_ratios_survive_absurd_log_ratios() -> None:
    ratio = ops.importance_ratio(torch.tensor([0.0, -500.0]), torch.tensor([-500.0, 0.0]))
    torch.testing.assert_close(ratio, torch.tensor([math.exp(20), math.exp(-20)]))


def test_a_sequence_ratio_is_the_geometric_mean_and_every_token_feels_it() -> None:
    logp = double(LOG_RATIO).requires_grad_()
    ratio = ops.sequence_ratio(logp, torch.zeros(3).double(), ONE_ROW)
    assert ratio.tolist() == pytest.approx([math.exp(0.1)] * 3, abs=1e-12)
    assert ratio[0].item() == pytest.approx(1.105171, abs=1e-6)
    # GSPO's term of a sequence is its ratio once; the gradient of that is s / len on every token.
    ratio.mean().backward()
    assert logp.grad is not None
    torch.testing.assert_close(logp.grad, double([0.368390] * 3), atol=1e-6, rtol=0)


def test_a_sequence_ratio_is_of_live_tokens_and_of_one_sequence() -> None:
    logp = double([0.3, 9.0, -0.1, 0.5]).requires_grad_()
    row, live = torch.tensor([0, 0, 0, 1]), torch.tensor([True, False, True, True])
    ratio = ops.sequence_ratio(logp, torch.zeros(4).double(), row, live)
    assert ratio.tolist() == pytest.approx([math.exp(0.1)] * 3 + [math.exp(0.5)])
    ratio.sum().backward()
    assert logp.grad is not None
    assert logp.grad[1] == 0
    dead = ops.sequence_ratio(logp, torch.zeros(4).double(), row, torch.tensor([False, False, False, True]))
    assert dead[0] == 1


@given(values=st.lists(st.floats(-2, 2), min_size=1, max_size=8), times=st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_a_sequence_ratio_does_not_depend_on_length(values: list[float], times: int) -> None:
    once, often = double(values), double(values).repeat(times)
    ratio = [ops.sequence_ratio(x, torch.zeros_like(x), torch.zeros(len(x)).long())[0].item() for x in (once, often)]
    assert ratio[1] == pytest.approx(ratio[0])


# --------------------------------------------------------------------------------------------- correction


def weight(old: list[float], roll: list[float], row: list[int] | None = None, **changes: object) -> Tensor:
    options = {"kind": "truncate", "level": "token", "low": 0.0, "high": 2.0, **changes}
    rows = torch.tensor(row if row is not None else [0] * len(old))
    return ops.correction_weight(double(old), double(roll), rows, **options)  # type: ignore[arg-type]


def test_a_weight_is_truncated_or_masked() -> None:
    assert weight([-0.2], [-1.0], high=math.inf).item() == pytest.approx(2.225541, abs=1e-6)
    assert weight([-0.2, -1.0], [-1.0, -0.2]).tolist() == pytest.approx([2.0, math.exp(-0.8)])
    masked = weight([-0.2, -1.0, -0.5], [-1.0, -0.2, -0.6], kind="mask", low=0.5)
    assert masked.tolist() == pytest.approx([0, 0, math.exp(0.1)])


def test_equal_samplers_weigh_exactly_one() -> None:
    logp = (-torch.rand(50, generator=torch.Generator().manual_seed(0)) * 9).tolist()
    for kind in ("truncate", "mask"):
        for level in ("token", "sequence"):
            assert torch.equal(weight(logp, logp, kind=kind, level=level, low=0.5), torch.ones(50).double())


@pytest.mark.parametrize(("tokens", "product"), [(50, 1.649), (500, 148.4)])
def test_a_product_over_the_sequence_grows_with_its_length(tokens: int, product: float) -> None:
    found = weight([0.01] * tokens, [0.0] * tokens, level="sequence", high=math.inf)
    assert found.tolist() == pytest.approx([math.exp(0.01 * tokens)] * tokens)
    assert found[0].item() == pytest.approx(product, rel=1e-3)
    assert weight([0.01] * tokens, [0.0] * tokens, level="sequence", high=3.0)[0].item() == pytest.approx(
        min(math.exp(0.01 * tokens), 3.0)
    )
    kept = weight([0.01] * tokens, [0.0] * tokens, level="sequence", kind="mask", high=3.0)
    assert (torch.count_nonzero(kept) == 0).item() is (tokens == 500)


def test_a_product_is_of_live_tokens_and_of_one_sequence() -> None:
    found = weight([0.1, 5.0, 0.2, 0.4], [0, 0, 0, 0], [0, 0, 0, 1], level="sequence",
                   live_S=torch.tensor([True, False, True, True]))  # fmt: skip
    assert found.tolist() == pytest.approx([math.exp(0.3)] * 3 + [math.exp(0.4)])


def test_weights_have_no_gradient() -> None:
    old = torch.tensor([0.1, 0.2], requires_grad=True)
    found = ops.correction_weight(old, torch.zeros(2), torch.tensor([0, 0]), "truncate", "sequence", 0.0, 2.0)
    assert not found.requires_grad
