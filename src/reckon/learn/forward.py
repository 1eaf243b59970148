"""Teacher-forced log-probabilities, in micro-batches that hardly pad (legend in :mod:`reckon.algorithms.batch`).

Sequences are sorted by length and cut into micro-batches of a token budget. They are padded on the right, and since
attention is causal no real token can see a pad: no mask tensor is built, and the fast causal kernel applies.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reckon.algorithms.batch import Batch
from reckon.core.errors import ConfigError

PASS_OVERHEAD = 256
"""What starting one more forward and backward pass costs, in tokens; measured on two CPU cores."""

LOGITS_PER_CHUNK = 1 << 25
"""At most this many logits exist at once: with a vocabulary of 150k they, not the model, would fill the memory."""


def micro_batches(batch: Batch, token_budget: int) -> Iterator[tuple[Tensor, Batch]]:
    """Cut a batch into micro-batches of at most ``token_budget`` tokens, padding included; longest first.

    A single sequence over the budget gets a micro-batch of its own. Yields (row numbers, restricted batch).
    """
    total_N = np.array([len(p) + len(r) for p, r in zip(batch.prompts, batch.responses, strict=True)], dtype=np.int64)
    order = np.argsort(-total_N, kind="stable")
    for start, end in pairwise(_cuts(total_N[order], token_budget)):
        rows_K = torch.from_numpy(order[start:end])
        yield rows_K, batch.rows(rows_K)


def _cuts(width_N: np.ndarray, token_budget: int) -> list[int]:
    """Where to cut lengths sorted in descending order so that padding plus per-pass overhead is least.

    Dynamic programming: best[j] = min_i best[i] + (j - i) * width[i] + PASS_OVERHEAD, over the cuts i in budget.
    """
    count = len(width_N)
    best = np.full(count + 1, np.iinfo(np.int64).max)
    best[0], previous = 0, np.zeros(count + 1, dtype=np.int64)
    for i in range(count):
        most = max(1, token_budget // int(width_N[i]))
        ends = slice(i + 1, min(count, i + most) + 1)
        cost = best[i] + np.arange(1, ends.stop - i) * width_N[i] + PASS_OVERHEAD
        better = cost < best[ends]
        best[ends][better] = cost[better]
        previous[ends][better] = i
    cuts = [count]
    while cuts[-1] > 0:
        cuts.append(int(previous[cuts[-1]]))
    return cuts[::-1]


def decoder_of(model: Any) -> tuple[nn.Module, nn.Module]:
    """The model without its output layer, and the output layer.

    Raises ConfigError when the model does more than apply one to the other (e.g. soft-capped logits), because
    log-probabilities computed here would then differ from the model's own.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    with torch.no_grad():
        probe = torch.arange(2, 6, device=model.device)[None]
        same = torch.allclose(head(decoder(input_ids=probe)[0]), model(input_ids=probe).logits, rtol=1e-3, atol=1e-3)
    if not same:
        raise ConfigError(
            f"{type(model).__name__} changes its logits after the output layer",
            why="Training would use log-probabilities that are not the model's",
            fix="Use an architecture with a plain output layer, such as Qwen2, Qwen3 or Llama",
        )
    return decoder, head


def response_logp(decoder: nn.Module, head: nn.Module, batch: Batch, temperature: float) -> Tensor:
    """log pi(token) of every response token [S], in float32, at ``temperature``; differentiable.

    Every prompt must hold at least one token, from which the first response token is predicted.
    """
    device = next(head.parameters()).device
    rows = [prompt + response for prompt, response in zip(batch.prompts, batch.responses, strict=True)]
    width = max(map(len, rows))
    ids_NT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=device)
    length_N = batch.length_N
    start_N = torch.cumsum(length_N, 0) - length_N
    column_N = torch.tensor([len(prompt) for prompt in batch.prompts]) - start_N
    flat_S = (batch.row_S * width + column_N[batch.row_S] + torch.arange(len(batch.row_S))).to(device)

    hidden_NTD = decoder(input_ids=ids_NT, use_cache=False)[0]
    hidden_SD = hidden_NTD.flatten(0, 1).index_select(0, flat_S - 1)
    target_S = ids_NT.flatten()[flat_S]
    weight_VD = cast(Tensor, head.weight)
    chunk = max(1, LOGITS_PER_CHUNK // len(weight_VD))
    if len(flat_S) <= chunk:
        return _token_logp(head, hidden_SD, target_S, temperature)
    pieces = zip(hidden_SD.split(chunk), target_S.split(chunk), strict=True)
    return torch.cat([checkpoint(_token_logp, head, h, t, temperature, use_reentrant=False) for h, t in pieces])


def _token_logp(head: nn.Module, hidden_SD: Tensor, target_S: Tensor, temperature: float) -> Tensor:
    logits_SV = head(hidden_SD).float()
    if temperature != 1.0:
        logits_SV = logits_SV / temperature
    return -nn.functional.cross_entropy(logits_SV, target_S, reduction="none")
