"""Small models of many kinds with random weights, and what the tests ask of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from reckon.engine.base import Completion, Request, Sampling

SMALL = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    # Random weights of the usual size give nearly uniform logits, with which no mistake would show.
    "initializer_range": 0.2,
}
SHAPES: dict[str, dict[str, Any]] = {
    "Qwen2Config": {},
    "LlamaConfig": {},
    "Qwen3Config": {},
    "MistralConfig": {"sliding_window": 6},
    "Gemma2Config": {"sliding_window": 6, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
    "GptOssConfig": {"sliding_window": 6, "num_local_experts": 2, "num_experts_per_tok": 1},
    "GPT2Config": {"n_embd": 32, "n_layer": 2, "n_head": 4},
}


def make_model(kind: str = "Qwen2Config", **changes: Any) -> PreTrainedModel:
    """Biases and norms are random too: left at 0 and 1 they would hide mistakes."""
    torch.manual_seed(1)
    config = getattr(transformers, kind)(**{**SMALL, **SHAPES[kind], **changes})
    # Eager attention is the reference: transformers' fused one leaves out what it does not know, such as soft caps.
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
    return model


def prompts(lengths: Iterable[int]) -> list[list[int]]:
    return [[(7 * length + 31 * place + place * place) % 300 for place in range(length)] for length in lengths]


def requests(texts: list[list[int]], sampling: Sampling) -> list[Request]:
    return [Request(index, text, sampling, seed=1000 + index) for index, text in enumerate(texts)]


def tokens(completions: list[Completion]) -> list[list[int]]:
    return [completion.token_ids for completion in completions]


def teacher_forced(model: PreTrainedModel, prompt: list[int], response: list[int], temperature: float) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    logp = torch.log_softmax(logits.float() / temperature, dim=-1)
    return logp[range(len(response)), response].tolist()
