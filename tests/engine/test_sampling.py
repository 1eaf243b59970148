from __future__ import annotations

import pytest
import torch

from reckon.engine.sampling import sample, streams, uniforms


def test_sampling_follows_the_softmax() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, 1.0, -30.0])
    count = 40_000
    uniform = uniforms(streams(torch.arange(count)), torch.full((count,), 7))
    for temperature in (1.0, 0.5):
        token, logp = sample(logits.expand(count, -1), uniform, torch.full((count,), temperature))
        expected = torch.softmax(logits / temperature, -1)
        frequency = token.bincount(minlength=5) / count
        error = (expected * (1 - expected) / count).sqrt()
        assert ((frequency - expected).abs() <= 4 * error + 1e-6).all()
        assert torch.allclose(logp, expected.log()[token])


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log().expand(4000, -1)
    uniform = uniforms(streams(torch.arange(4000)), torch.zeros(4000, dtype=torch.long))
    for top_p, support in [(0.4, {1}), (0.6, {1, 3}), (0.81, {0, 1, 3}), (1.0, {0, 1, 2, 3})]:
        token, logp = sample(logits, uniform, torch.ones(4000), torch.full((4000,), top_p))
        assert set(token.tolist()) == support
        assert torch.allclose(logp, logits[0][token]), "log-probabilities are those of the whole distribution"
    token, _ = sample(logits, uniform, torch.ones(4000), torch.full((4000,), 0.6))
    assert (token == 1).float().mean() == pytest.approx(0.5 / 0.8, abs=0.04)


def test_extreme_uniforms_find_a_token_that_has_a_weight() -> None:
    logits = torch.tensor([[-float("inf"), 1.0, 1.0, -float("inf")]]).expand(2, -1)
    token, _ = sample(logits, torch.tensor([0.0, 1 - 2**-24]), torch.ones(2))
    assert token.tolist() == [1, 2]


@pytest.mark.parametrize("least", [1e-45, 1e-30, 1e-7])
def test_vanishing_temperatures_and_nuclei_leave_the_most_likely_token(least: float) -> None:
    logits, uniform = torch.tensor([[3.0, 50.0, -2.0]]).expand(4, -1), torch.tensor([0.0, 0.3, 0.7, 1 - 2**-24])
    cold, cold_logp = sample(logits, uniform, torch.full((4,), least))
    narrow, _ = sample(logits, uniform, torch.ones(4), torch.full((4,), least))
    assert cold.tolist() == narrow.tolist() == [1, 1, 1, 1]
    assert cold_logp.tolist() == [0.0] * 4


def test_uniforms_are_uniform_and_independent_across_seeds_and_positions() -> None:
    grid = uniforms(streams(torch.arange(200).repeat_interleave(200)), torch.arange(200).repeat(200)).view(200, 200)
    assert ((grid >= 0) & (grid < 1)).all()
    assert torch.histc(grid, 10, 0, 1).sub(4000).abs().max() < 4 * 60
    for shifted in (grid.roll(1, 0), grid.roll(1, 1), grid.T):
        assert abs(torch.corrcoef(torch.stack([grid.flatten(), shifted.flatten()]))[0, 1]) < 0.02
