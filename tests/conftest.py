"""Tiny models and hand-made rollouts that several test modules share."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reckon.cli import share_cores
from reckon.core.records import Problem, Rollout
from reckon.tasks.registry import TASKS

share_cores()


@pytest.fixture(autouse=True)
def restored_tasks() -> Iterator[None]:
    """A plugin that one test loads is gone for the next."""
    before = dict(TASKS)
    yield
    TASKS.clear()
    TASKS.update(before)


@pytest.fixture
def tiny_model() -> Callable[..., Any]:
    """Makes a random causal LM of a few thousand parameters: ``tiny_model(vocab=64, seed=0)``."""

    def make(vocab: int = 64, seed: int = 0) -> Any:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM

        torch.manual_seed(seed)
        config = Qwen2Config(
            vocab_size=vocab,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=0.3,
        )
        return Qwen2ForCausalLM(config).eval()

    return make


@pytest.fixture
def make_rollouts() -> Callable[..., list[Rollout]]:
    """Random groups with unequal lengths and made-up log-probs: ``make_rollouts(groups, samples, seed)``."""

    def make(groups: int = 4, samples: int = 4, seed: int = 0, vocab: int = 64) -> list[Rollout]:
        rng = random.Random(seed)
        found = []
        for group in range(groups):
            prompt = [rng.randrange(1, vocab) for _ in range(rng.randint(2, 9))]
            for sample in range(samples):
                response = [rng.randrange(1, vocab) for _ in range(rng.randint(1, 24))]
                found.append(
                    Rollout(
                        task="toy",
                        problem=Problem(f"p{group}", "?", None),
                        sample=sample,
                        prompt="?",
                        prompt_ids=prompt,
                        response="",
                        response_ids=response,
                        logp=[-rng.random() * 5 for _ in response],
                        finish="stop",
                        seed=0,
                        reward=float(rng.random() < 0.5),
                    )
                )
        return found

    return make
