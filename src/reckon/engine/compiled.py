"""The decoder for small models on a CPU: the compiled forward of :mod:`reckon.engine.kernels` on the learner's weights.

Between the products of a small model, the other decoders spend as much time as in them: dozens of operations for each
token, every one of which wakes the other threads. Here each thread takes its part of the rows through the whole model,
and they meet at the end of the step.

Shape suffixes as in :mod:`reckon.engine.kernels`, and U texts, T tokens of a text, I units of the feed-forward part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from reckon.engine.cache import grown
from reckon.engine.decoder import Decoder
from reckon.engine.kernels import NARROW, WIDE, Floats, Integers, KeyValues, Sizes, Weights, forward
from reckon.engine.plain import Plain

LARGEST = 2**26
"""Parameters of the largest model served: its matrices are held twice, and one text keeps one core busy."""


class CompiledDecoder(Decoder):
    """Computes what a small plain float32 model on a CPU does. Ask :meth:`serves` before each run.

    Logits are valid until the next call.
    """

    def __init__(self, model: PreTrainedModel, max_rows: int, max_positions: int) -> None:
        self._plain = Plain(model)
        self._max_rows, self._max_positions = max_rows, max_positions
        self._weights: Weights | None = None
        self._between_runs = True
        # Which row of the cache each row has. A row that moves takes it along.
        self._place_R = np.arange(max_rows)
        self._threads = ThreadPoolExecutor(os.cpu_count())

    def serves(self, reference: Decoder) -> bool:
        """Whether this forward may stand for the model's."""
        model, self._between_runs = self._plain.model, True
        return (
            model.device.type == "cpu"
            and model.dtype == torch.float32
            and sum(weight.numel() for weight in model.parameters()) <= LARGEST
            and self._plain.agrees(self, reference)
        )

    def refresh(self) -> None:
        # What is written through ``parameter.data`` leaves no trace; it is found when a run begins.
        if not (self._plain.refresh() or self._between_runs):
            return
        self._between_runs, model = False, self._plain.model
        if self._weights is None:
            config, width = model.config, model.model.layers[0].self_attn.head_dim
            groups = config.num_attention_heads // config.num_key_value_heads
            self._sizes = Sizes(config.num_key_value_heads, groups, width, model.model.norm.variance_epsilon)
            self._vocabulary: int = len(model.lm_head.weight)
            self._cache = self._new_cache(0, 0)
        self._weights = _packed(model, self._weights)

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        length, rows = ids_UT.shape[1], len(source_R)
        self._reserve(first_row + rows, length)
        place_R = self._place_R[first_row : first_row + rows]
        text_R, first_U = source_R.numpy(), np.unique(source_R.numpy(), return_index=True)[1]
        self._texts(self._cache, ids_UT, place_R[first_U], self._logits_RV[:0])
        copies_R = np.delete(np.arange(rows), first_U)
        originals_R = first_U[text_R[copies_R]]
        for cached, used in ((self._cache.keys, _blocks(length)), (self._cache.values, length)):
            cached[:, place_R[copies_R], :, :used] = cached[:, place_R[originals_R], :, :used]

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        if self._plain.changed():
            self.refresh()
        rows = len(token_R)
        self._reserve(rows, longest)
        logits_RV = self._logits_RV[:rows]
        self._forward(self._cache, token_R.numpy(), self._place_R[:rows], position_R.numpy(), logits_RV, rows)
        return torch.from_numpy(logits_RV)[:, : self._vocabulary]

    def move(self, source: Sequence[int], target: Sequence[int], positions: int) -> None:
        self._place_R[[*source, *target]] = self._place_R[[*target, *source]]

    def logits(self, ids_UT: Tensor) -> Tensor:
        texts, length = ids_UT.shape
        self._reserve(1, length)
        logits_NV = np.empty((texts * length, self._logits_RV.shape[1]), np.float32)
        self._texts(self._new_cache(texts, length), ids_UT, np.arange(texts), logits_NV)
        logits_UTV: Tensor = torch.from_numpy(logits_NV)[:, : self._vocabulary].unflatten(0, (texts, length))
        return logits_UTV

    def _texts(self, cache: KeyValues, ids_UT: Tensor, place_U: Integers, logits_NV: Floats) -> None:
        """Whole texts, each into its row of the cache."""
        texts, length = ids_UT.shape
        place_N, position_N = place_U.repeat(length), np.tile(np.arange(length), texts)
        self._forward(cache, ids_UT.flatten().numpy(), place_N, position_N, logits_NV, texts)

    def _forward(
        self,
        cache: KeyValues,
        token_N: Integers,
        place_N: Integers,
        position_N: Integers,
        logits_NV: Floats,
        texts: int,
    ) -> None:
        """:func:`forward`, each thread with its part of the texts, which are of one length."""
        assert self._weights is not None, "refresh() comes first"
        weights, length, threads = self._weights, len(token_N) // texts, min(texts, torch.get_num_threads())
        cuts = [length * (texts * part // threads) for part in range(threads + 1)]

        def work(start: int, stop: int) -> None:
            own = slice(start, stop)
            places = place_N[own], position_N[own]
            forward(weights, self._sizes, cache, self._angles_S2D, token_N[own], *places, logits_NV[own])

        others = [self._threads.submit(work, *cut) for cut in pairwise(cuts[1:])]
        try:
            work(0, cuts[1])
        finally:
            wait(others)
        for other in others:
            other.result()

    def _reserve(self, rows: int, positions: int) -> None:
        """Make room for at least this many rows and positions."""
        old = self._cache
        old_rows, old_positions = old.values.shape[1], old.values.shape[3]
        if rows <= old_rows and positions <= old_positions:
            return
        rows = grown(old_rows, rows, 16, self._max_rows)
        positions = _blocks(grown(old_positions, positions, 64, self._max_positions)) * NARROW
        self._cache = self._new_cache(rows, positions)
        for cached, before in zip(self._cache, old, strict=True):
            cached[:, :old_rows, :, : before.shape[3]] = before
        self._logits_RV = np.empty((rows, _rounded(self._vocabulary, WIDE)), np.float32)
        rotary = self._plain.model.model.rotary_emb
        angle_SD = torch.arange(positions)[:, None] * rotary.inv_freq.float()
        turn_S2D = torch.stack((angle_SD.cos(), angle_SD.sin()), dim=1) * rotary.attention_scaling
        self._angles_S2D = turn_S2D.contiguous().numpy()

    def _new_cache(self, rows: int, positions: int) -> KeyValues:
        slot, blocks = _rounded(self._sizes.width, NARROW), _blocks(positions)
        each = (self._plain.model.config.num_hidden_layers, rows, self._sizes.kv_heads)
        keys = np.zeros((*each, blocks, slot, NARROW), np.float32)
        return KeyValues(keys, np.zeros((*each, blocks * NARROW, slot), np.float32))


def _packed(model: Any, room: Weights | None) -> Weights:
    """The weights as the kernels take them; written over ``room``, those of the same model before, if given."""
    body, head = model.model, model.lm_head.weight
    layers = [_layer(layer, model.config.intermediate_size) for layer in body.layers]
    stacked = {
        name: _stacked([layer[name] for layer in layers], None if room is None else getattr(room, name))
        for name in layers[0]
    }
    return Weights(
        embedding_VE=body.embed_tokens.weight.detach().numpy(),
        norm_E=body.norm.weight.detach().numpy(),
        head_PEW=_stacked([_panels(head)], None if room is None else room.head_PEW[None])[0],
        **stacked,
    )


def _layer(layer: Any, units: int) -> dict[str, Tensor]:
    """A layer's part of the :class:`Weights` that have one for each, under their names."""
    attention, mlp = layer.self_attn, layer.mlp
    width, added_units = attention.head_dim, _rounded(units, WIDE) - units
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    heads_OE = torch.cat([_slots(part.weight, width) for part in parts])
    bias_O = heads_OE.new_zeros(len(heads_OE))
    if parts[0].bias is not None:
        bias_O = torch.cat([_slots(part.bias[:, None], width)[:, 0] for part in parts])
    norms = [attention.q_norm.weight, attention.k_norm.weight] if hasattr(attention, "q_norm") else []
    return {
        "attention_norm_LE": layer.input_layernorm.weight,
        "heads_LPEW": _panels(heads_OE),
        "heads_bias_LO": F.pad(bias_O, (0, _rounded(len(bias_O), WIDE) - len(bias_O))),
        "heads_norm_L2D": torch.stack(norms) if norms else heads_OE.new_empty(0, width),
        "output_LPOW": _panels(_slots(attention.o_proj.weight.T, width).T),
        "mlp_norm_LE": layer.post_attention_layernorm.weight,
        "gate_up_LPEW": _panels(
            torch.cat([F.pad(part.weight, (0, 0, 0, added_units)) for part in (mlp.gate_proj, mlp.up_proj)])
        ),
        "down_LPOW": _panels(F.pad(mlp.down_proj.weight, (0, added_units))),
    }


def _slots(heads_OE: Tensor, width: int) -> Tensor:
    """Each head padded to what it takes in the arrays."""
    heads_HDE = heads_OE.unflatten(0, (-1, width))
    return F.pad(heads_HDE, (0, 0, 0, _rounded(width, NARROW) - width)).flatten(0, 1)


def _stacked(parts: Sequence[Tensor], room: Floats | None) -> Floats:
    out = torch.empty(len(parts), *parts[0].shape) if room is None else torch.from_numpy(room)
    for target, part in zip(out, parts, strict=True):
        target.copy_(part)
    stacked: Floats = out.numpy()
    return stacked


def _panels(matrix_OE: Tensor) -> Tensor:
    """As [P, E, WIDE], a view of a padded copy."""
    padded_OE = F.pad(matrix_OE, (0, 0, 0, _rounded(len(matrix_OE), WIDE) - len(matrix_OE)))
    panels_PEW: Tensor = padded_OE.unflatten(0, (-1, WIDE)).mT
    return panels_PEW


def _blocks(positions: int) -> int:
    return _rounded(positions, NARROW) // NARROW


def _rounded(number: int, unit: int) -> int:
    """Up to a multiple of ``unit``."""
    return -(-number // unit) * unit
