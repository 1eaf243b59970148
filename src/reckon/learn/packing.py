"""One forward pass over sequences of unequal lengths, without padding and with every prefix computed once.

All tokens of a micro-batch lie end to end in one row of M tokens; sequences that begin alike, as the samples of a
prompt do, share the tokens of their beginning. A last token predicts nothing and is left out. Everything in a
transformer but attention works on single tokens, so it sees that row. For attention alone the row is spread out into
blocks of sequences of similar length, padded on the right, where the plain causal kernel applies and no mask is built::

    row     p p p a a b b b b | q q c c c                   prompt p with responses a and b, prompt q with response c
    block   p p p a a . .   block   q q c c c               (also: p p p b b b b in the block of a)

Legend, beside that of algorithms/batch.py:
    M  tokens of the row    C  cells of all blocks    H  attention heads    E  width of a head    D  hidden size
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from reckon.algorithms.batch import Batch

BLOCK_OVERHEAD = 4096
"""What one more block costs, in units of (sequences x width^2); measured on two CPU cores."""

_NAME = "reckon_blocks"


@dataclass
class Layout:
    """Where the tokens of a micro-batch lie. Every prompt must hold at least one token.

    Attributes:
        ids_M, position_M: the tokens of the row, and their place in their own sequences.
        before_S: the place in the row of the token before each response token.
        own_S: the place in the row of each response token that is there.
        last_N: that of each sequence's last one.
        shapes: (sequences, width) of each block.
        cells_C: for each cell of each block, its token's place in the row; pads repeat some token.
        read_M: a cell that holds each token of the row.
    """

    ids_M: Tensor
    position_M: Tensor
    before_S: Tensor
    own_S: Tensor
    last_N: Tensor
    shapes: list[tuple[int, int]]
    cells_C: Tensor
    read_M: Tensor

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu", *, whole: bool = False) -> Layout:
        """The layout of a batch; ``whole`` keeps the last tokens, which predict nothing but end what is scored."""
        ids: list[int] = []
        positions: list[int] = []
        before: list[int] = []
        own: list[int] = []
        rows: list[list[int]] = []
        # A prefix is known by the place of its last token but one, and its last token.
        known: dict[tuple[int, int], int] = {}
        for prompt, response in zip(batch.prompts, batch.responses, strict=True):
            row, place = [], -1
            for position, token in enumerate((*prompt, *(response if whole else response[:-1]))):
                place = known.setdefault((place, token), len(ids))
                if place == len(ids):
                    ids.append(token)
                    positions.append(position)
                row.append(place)
            before += row[len(prompt) - 1 : len(prompt) + len(response) - 1]
            own += row[len(prompt) :]
            rows.append(row)
        width_N = np.array([len(row) for row in rows])
        order_N = np.argsort(-width_N, kind="stable")
        shapes: list[tuple[int, int]] = []
        cells: list[np.ndarray] = []
        read_M, filled = np.zeros(len(ids), dtype=np.int64), 0
        for start, end in pairwise(_cuts(width_N[order_N])):
            width = int(width_N[order_N[start]])
            block = np.zeros((end - start, width), dtype=np.int64)
            for line, row in zip(block, order_N[start:end], strict=True):
                line[: width_N[row]] = rows[row]
                read_M[rows[row]] = filled + np.arange(width_N[row])
                filled += width
            shapes.append((end - start, width))
            cells.append(block.ravel())
        ids_M, position_M, before_S, own_S = (
            torch.tensor(each, dtype=torch.long, device=device) for each in (ids, positions, before, own)
        )
        last_N = torch.tensor([row[-1] for row in rows], device=device)
        cells_C, read = (torch.from_numpy(each).to(device) for each in (np.concatenate(cells), read_M))
        return cls(ids_M, position_M, before_S, own_S, last_N, shapes, cells_C, read)

    def spread(self, value_MX: Tensor) -> list[Tensor]:
        """The blocks [sequences, width, X] of a quantity that tokens have."""
        sizes = [rows * width for rows, width in self.shapes]
        cells = torch.split(value_MX.index_select(0, self.cells_C), sizes)
        return [cell.view(*shape, *value_MX.shape[1:]) for cell, shape in zip(cells, self.shapes, strict=True)]

    def gather(self, blocks: list[Tensor]) -> Tensor:
        """The inverse of :meth:`spread`."""
        return torch.cat([block.flatten(0, 1) for block in blocks]).index_select(0, self.read_M)


Decode = Callable[[nn.Module, Layout], Tensor]
"""The hidden states [M, D] that a decoder computes for a layout."""


def packed(decoder: nn.Module, layout: Layout) -> Tensor:
    """One pass over the row; the decoder must take its attention from transformers' ``AttentionInterface``."""
    with _blocks(decoder):
        out = decoder(
            input_ids=layout.ids_M[None], position_ids=layout.position_M[None], use_cache=False, reckon_layout=layout
        )
    hidden_MD: Tensor = out[0][0]
    return hidden_MD


def padded(decoder: nn.Module, layout: Layout) -> Tensor:
    """One pass per block, for any decoder that is causal."""
    return layout.gather([decoder(input_ids=ids, use_cache=False)[0] for ids in layout.spread(layout.ids_M)])


def decode_for(decoder: nn.Module) -> Decode:
    """``packed`` where the decoder can and agrees with itself on a small case, otherwise ``padded``."""
    config = decoder.config
    if not getattr(decoder, "_supports_attention_backend", False) or getattr(config, "sliding_window", None):
        return padded
    row_S = torch.tensor([0, 0, 0, 1, 2, 2])
    small = Batch([[2, 3], [2, 3], [4]], [[5, 2, 4], [3], [2, 5]], row_S, *(torch.zeros(3),) * 4)
    with torch.no_grad():
        layout = Layout.of(small, next(decoder.parameters()).device)
        try:
            close = torch.allclose(packed(decoder, layout), padded(decoder, layout), rtol=1e-2, atol=1e-2)
        except TypeError:
            # A decoder with a closed list of arguments cannot be told about the blocks.
            return padded
    return packed if close else padded


def token_cuts(batch: Batch, budget: int) -> Iterator[Tensor]:
    """The rows of micro-batches of at most ``budget`` tokens of the row, samples of a prompt side by side.

    A unit (a single sequence, or a pair) over the budget gets a micro-batch of its own.
    """
    prompts: set[tuple[int, ...]] = set()
    rows: list[int] = []
    used = 0
    for unit_U in batch.group_N[:: batch.unit].argsort(stable=True).tolist():
        members = range(batch.unit * unit_U, batch.unit * (unit_U + 1))
        own = {tuple(batch.prompts[row]) for row in members}
        responses = sum(len(batch.responses[row]) for row in members)
        if rows and used + responses + sum(map(len, own - prompts)) > budget:
            yield torch.tensor(rows)
            rows, prompts, used = [], set(), 0
        used += responses + sum(map(len, own - prompts))
        prompts |= own
        rows += members
    if rows:
        yield torch.tensor(rows)


def _attend(
    module: nn.Module, q_HME: Tensor, k_HME: Tensor, v_HME: Tensor, mask: None, *, reckon_layout: Layout, **options: Any
) -> tuple[Tensor, None]:
    """Causal attention within each sequence. Heads come with a leading axis of length 1, and leave so."""
    blocks = []
    for block in zip(*(reckon_layout.spread(x[0].transpose(0, 1)) for x in (q_HME, k_HME, v_HME)), strict=True):
        q, k, v = (x.transpose(1, 2) for x in block)
        out = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=options.get("scaling"), enable_gqa=True
        )
        blocks.append(out.transpose(1, 2))
    return reckon_layout.gather(blocks)[None], None


AttentionInterface.register(_NAME, _attend)


@contextmanager
def _blocks(decoder: Any) -> Iterator[None]:
    before = decoder.config._attn_implementation
    decoder.config._attn_implementation = _NAME
    try:
        yield
    finally:
        decoder.config._attn_implementation = before


def _cuts(width_N: np.ndarray) -> list[int]:
    """Where to cut widths sorted in descending order into blocks, so that attention costs least.

    Dynamic programming: best[j] = min_i best[i] + (j - i) * width[i]^2 + BLOCK_OVERHEAD.
    """
    count = len(width_N)
    best = np.full(count + 1, np.iinfo(np.int64).max)
    best[0], previous = 0, np.zeros(count + 1, dtype=np.int64)
    for i in range(count):
        cost = best[i] + np.arange(1, count - i + 1) * int(width_N[i]) ** 2 + BLOCK_OVERHEAD
        better = cost < best[i + 1 :]
        best[i + 1 :][better] = cost[better]
        previous[i + 1 :][better] = i
    cuts = [count]
    while cuts[-1] > 0:
        cuts.append(int(previous[cuts[-1]]))
    return cuts[::-1]
