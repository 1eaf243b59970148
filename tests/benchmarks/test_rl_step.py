from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.rl_step import Work, joined, summarise

WORK = Work(weights=100, head=30, layers=2, attention=8)


def test_generation_counts_matrices_and_attention() -> None:
    # Three tokens after a prompt of four see 4, 5 and 6 tokens.
    assert WORK.generation([4], [3]) == 2 * 100 * 3 + 4 * 2 * 8 * (4 + 5 + 6)
    assert WORK.generation([4, 4], [3, 3]) == 2 * WORK.generation([4], [3])


def test_update_counts_the_output_layer_on_responses_only() -> None:
    assert WORK.update([4], [3]) == 3 * (2 * 70 * 7 + 2 * 30 * 3 + 2 * 2 * 8 * 49)


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_those_that_multiply_a_token(tiny_model: Callable[..., Any], tied: bool) -> None:
    model = tiny_model(vocab=64)
    if not tied:
        model = type(model)(type(model.config)(**{**model.config.to_dict(), "tie_word_embeddings": False}))
    layer = 32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 64
    assert Work.of(model) == Work(weights=2 * layer + 64 * 32, head=64 * 32, layers=2, attention=32)


def test_ratios_are_of_medians_over_all_rounds() -> None:
    reckon = joined(
        [
            {"step_s": [1.0, 2.0], "peak_mb": [50.0], "update_gflop_s": [2.0]},
            {"step_s": [9.0], "peak_mb": [40.0], "update_gflop_s": [4.0, 60.0]},
        ]
    )
    found = summarise(
        {"1024": [8.0, 9.0, 7.0], "2048": [10.0, 99.0, 1.0]},
        reckon,
        {"step_s": [10.0, 12.0], "peak_mb": [80.0, 100.0]},
        {"reckon_tok_s": [80.0], "transformers_tok_s": [10.0], "reckon_gflop_s": [5.0]},
    )
    assert found == {
        "step_ratio_vs_trl": 5.5,
        "generation_ratio_vs_transformers": 8.0,
        "peak_memory_ratio_vs_trl": 0.5,
        "generation_fraction_of_matmul": 0.5,
        "update_fraction_of_matmul": 0.4,
    }
