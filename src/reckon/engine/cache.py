"""The key-value cache of the native engine, and the attention that reads it.

Hugging Face models hand their keys and values to a ``Cache`` and attend through a function registered by name;
these two seams are all the engine needs, so it runs any model that has them and touches no model code.

Shape suffixes: R rows, H query heads, K key-value heads, G = H / K, T new tokens, L cached positions, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_utils import AttentionInterface

from reckon.core.errors import ConfigError

ATTENTION = "reckon"
"""The name of :func:`attend` among the attention implementations of transformers."""


class SlotCache(Cache):
    """Keys and values of up to ``max_rows`` sequences, preallocated: one pair [rows, K, positions, D] for each layer.

    Row r, position p holds the p-th token of the sequence in row r. Sequences grow in place; both dimensions double
    when they run out. The owner says before each forward what it is for: :meth:`prefill` or :meth:`decode`.
    """

    def __init__(self, max_rows: int, max_positions: int) -> None:
        super().__init__(layers=[])
        self.max_rows, self.max_positions = max_rows, max_positions
        self._rows = self._positions = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._first_row = 0
        self._source_R: Tensor | None = None
        self._row_R = self._position_R = torch.empty(0, dtype=torch.long)
        self._used_rows = self._used_positions = 0

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for at least this many rows and positions."""
        if rows <= self._rows and positions <= self._positions:
            return
        self._rows = grown(self._rows, rows, 16, self.max_rows)
        self._positions = grown(self._positions, positions, 64, self.max_positions)
        for tensors in (self._keys, self._values):
            for layer, old in enumerate(tensors):
                tensors[layer] = self._zeros(old)
                tensors[layer][: old.shape[0], :, : old.shape[2]] = old

    def _zeros(self, like: Tensor) -> Tensor:
        # Zeros because unused positions meet a zero attention weight, and 0 * nan is nan.
        return like.new_zeros(self._rows, like.shape[1], self._positions, like.shape[3])

    def prefill(self, first_row: int, source_R: Tensor) -> None:
        """The next forward is over prompts; row ``first_row + r`` gets keys and values of prompt ``source_R[r]``."""
        self._first_row, self._source_R = first_row, source_R

    def decode(self, row_R: Tensor, position_R: Tensor, used_positions: int) -> None:
        """The next forward adds one token to each of the rows 0..R-1, at ``position_R`` < ``used_positions``."""
        self._source_R = None
        self._row_R, self._position_R = row_R, position_R
        self._used_rows, self._used_positions = len(row_R), used_positions

    def move(self, source: Sequence[int], target: Sequence[int], used_positions: int) -> None:
        """Copy rows ``source`` over rows ``target``."""
        for cached in (*self._keys, *self._values):
            for old, new in zip(source, target, strict=True):
                cached[new, :, :used_positions] = cached[old, :, :used_positions]

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Called by the model's layers, in order. Returns the keys and values to attend to."""
        if layer == len(self._keys):
            self._keys.append(self._zeros(key))
            self._values.append(self._zeros(value))
        keys, values = self._keys[layer], self._values[layer]
        if self._source_R is not None:
            rows = slice(self._first_row, self._first_row + len(self._source_R))
            keys[rows, :, : key.shape[2]] = key[self._source_R]
            values[rows, :, : key.shape[2]] = value[self._source_R]
            return key, value
        keys[self._row_R, :, self._position_R] = key[:, :, 0]
        values[self._row_R, :, self._position_R] = value[:, :, 0]
        return (
            keys[: self._used_rows, :, : self._used_positions],
            values[: self._used_rows, :, : self._used_positions],
        )

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Rows have lengths of their own, so the engine always passes positions; models that ask get 0."""
        return 0


def grown(now: int, needed: int, least: int, most: int) -> int:
    """The size to allocate when ``needed`` is asked for: at least double of ``now``, so that copies stay rare."""
    return now if needed <= now else min(most, max(needed, 2 * now, least))


def attend(
    module: nn.Module,
    query_RHTD: Tensor,
    key_RKLD: Tensor,
    value_RKLD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of T new tokens to L cached ones, the query heads of a group batched as rows instead of repeating keys.

    Args:
        attention_mask: additive, broadcastable to [R, 1, T, L]; None is causal if T > 1 and sees everything if T = 1.
        softcap: bound on the scores (Gemma 2, arXiv 2408.00118).
        s_aux: [H] attention sinks, scores of a position that holds nothing (gpt-oss).

    Returns:
        the output as [R, T, H, D], and None where other implementations return weights.
    """
    if position_bias is not None:
        raise ConfigError(f"the native engine cannot run {type(module).__name__}: its attention has a position bias")
    rows, heads, length, width = query_RHTD.shape
    kv_heads, positions = key_RKLD.shape[1:3]
    if length > 1 and attention_mask is None and softcap is None and s_aux is None:
        output_RHTD = F.scaled_dot_product_attention(
            query_RHTD, key_RKLD, value_RKLD, is_causal=True, scale=scaling, enable_gqa=heads != kv_heads
        )
        return output_RHTD.transpose(1, 2), None
    if length > 1 and attention_mask is None:
        attention_mask = causal_mask(positions, None, query_RHTD)
    scale = width**-0.5 if scaling is None else scaling
    # [R, K, G*T, D] @ [R, K, D, L]
    score = torch.matmul(query_RHTD.reshape(rows, kv_heads, -1, width) * scale, key_RKLD.mT)
    if softcap is not None:
        score = torch.tanh(score / softcap) * softcap
    score_RHTL = score.view(rows, heads, length, positions)
    if attention_mask is not None:
        score_RHTL += attention_mask
    if s_aux is not None:
        sink_RHT1 = s_aux.to(score.dtype)[None, :, None, None].expand(rows, heads, length, 1)
        score_RHTL = torch.cat([score_RHTL, sink_RHT1], dim=-1)
    weight_RHTL = torch.softmax(score_RHTL, dim=-1, dtype=torch.float32)[..., :positions].to(value_RKLD.dtype)
    output = torch.matmul(weight_RHTL.reshape(rows, kv_heads, -1, positions), value_RKLD)
    return output.view(rows, heads, length, -1).transpose(1, 2), None


def causal_mask(length: int, window: int | None, like: Tensor) -> Tensor:
    """Additive mask [1, 1, T, T] of whole prompts: token t sees tokens up to t, the last ``window`` ones if given."""
    position_T = torch.arange(length, device=like.device)
    return length_mask(position_T, length, window, like).view(1, 1, length, length)


def length_mask(position_R: Tensor, positions: int, window: int | None, like: Tensor) -> Tensor:
    """Additive mask [R, 1, 1, L] of single tokens at ``position_R``: 0 where they see, -inf where not."""
    past_RL = position_R[:, None] - torch.arange(positions, device=position_R.device)
    hidden_RL = past_RL < 0 if window is None else (past_RL < 0) | (past_RL >= window)
    return like.new_zeros(hidden_RL.shape).masked_fill_(hidden_RL, float("-inf"))[:, None, None, :]


AttentionInterface.register(ATTENTION, attend)
