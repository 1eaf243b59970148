"""The decoder for small models on a CPU: the compiled forward of :mod:`reckon.engine.kernels` on the learner's weights.

Between the products of a small model, the other decoders spend as much time as in them: dozens of operations for each
token, every one of which wakes the other threads. Here each thread takes its part of the rows through the whole model,
and they meet at the end of the step.

Shape suffixes as in :mod:`reckon.engine.kernels`, and U texts, T tokens of a text, I units of the feed-forward part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from reckon.engine.cache import grown
from reckon.engine.decoder import Decoder
from reckon.engine.kernels import NARROW, USABLE, WIDE, Floats, Integers, KeyValues, Sizes, Weights, forward
from reckon.engine.plain import COMPILED_PARAMETERS, Plain, is_plain
from reckon.engine.threads import one_thread


class CompiledDecoder(Decoder):
    """Computes what a small plain float32 model on a CPU does. Ask :meth:`serves` before each run."""

    def __init__(self, model: PreTrainedModel, max_rows: int, max_positions: int) -> None:
        self._plain = Plain(model)
        self._max_rows, self._max_positions = max_rows, max_positions
        self._weights: Weights | None = None
        # Which row of the cache each row has. A row that moves takes it along.
        self._place_R = np.arange(max_rows)
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._working: list[Future[None]] = []

    def serves(self, reference: Decoder) -> bool:
        """Whether this forward may stand for the model's."""
        model = self._plain.model
        return (
            USABLE
            and model.device.type == "cpu"
            and model.dtype == torch.float32
            and sum(weight.numel() for weight in model.parameters()) <= COMPILED_PARAMETERS
            and is_plain(model)
            and _is_uniform(model)
            and self._plain.agrees(self, reference)
        )

    def refresh(self) -> None:
        if not self._plain.refresh():
            return
        model, rotary = self._plain.model, self._plain.model.model.rotary_emb
        try:
            if self._weights is None:
                config, width = model.config, model.model.layers[0].self_attn.head_dim
                groups = config.num_attention_heads // config.num_key_value_heads
                self._sizes = Sizes(config.num_key_value_heads, groups, width, model.model.norm.variance_epsilon)
                self._vocabulary: int = len(model.lm_head.weight)
                self._cache = self._new_cache(0, 0)
            with one_thread():
                self._weights = _packed(model, self._weights)
            self._frequency_D, self._stretch = rotary.inv_freq.float(), rotary.attention_scaling
            self._angles_S2D = self._angles(self._cache.values.shape[3])
        except BaseException:
            self._plain.forget()
            raise

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        length, rows = ids_UT.shape[1], len(source_R)
        place_R = self._place_R[first_row : first_row + rows]
        self._reserve(place_R, length)
        text_R, first_U = source_R.numpy(), np.unique(source_R.numpy(), return_index=True)[1]
        self._texts(self._cache, self._angles_S2D, ids_UT, place_R[first_U], self._new_logits(0))
        copies_R = np.delete(np.arange(rows), first_U)
        originals_R = first_U[text_R[copies_R]]
        for cached, used in ((self._cache.keys, _blocks(length)), (self._cache.values, length)):
            cached[:, place_R[copies_R], :, :used] = cached[:, place_R[originals_R], :, :used]

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        if self._plain.changed():
            self.refresh()
        rows = len(token_R)
        place_R, logits_RV = self._place_R[:rows], self._new_logits(rows)
        self._reserve(place_R, longest)
        inputs = token_R.numpy(), place_R, position_R.numpy()
        self._forward(self._cache, self._angles_S2D, *inputs, logits_RV, rows)
        return torch.from_numpy(logits_RV)[:, : self._vocabulary]

    def move(self, source: Sequence[int], target: Sequence[int], positions: int) -> None:
        self._place_R[[*source, *target]] = self._place_R[[*target, *source]]

    def logits(self, ids_UT: Tensor) -> Tensor:
        texts, length = ids_UT.shape
        logits_NV = self._new_logits(texts * length)
        self._texts(self._new_cache(texts, length), self._angles(length), ids_UT, np.arange(texts), logits_NV)
        logits_UTV: Tensor = torch.from_numpy(logits_NV)[:, : self._vocabulary].unflatten(0, (texts, length))
        return logits_UTV

    def _texts(
        self, cache: KeyValues, angles_S2D: Floats, ids_UT: Tensor, place_U: Integers, logits_NV: Floats
    ) -> None:
        """Whole texts, each into its row of the cache."""
        texts, length = ids_UT.shape
        place_N, position_N = place_U.repeat(length), np.tile(np.arange(length), texts)
        self._forward(cache, angles_S2D, ids_UT.flatten().numpy(), place_N, position_N, logits_NV, texts)

    def _forward(
        self,
        cache: KeyValues,
        angles_S2D: Floats,
        token_N: Integers,
        place_N: Integers,
        position_N: Integers,
        logits_NV: Floats,
        texts: int,
    ) -> None:
        """:func:`forward`, each thread with its part of the texts, which are of one length."""
        assert self._weights is not None, "refresh() comes first"
        # Those of a call that was interrupted write into rows that may be others' by now.
        wait(self._working)
        weights, length, threads = self._weights, len(token_N) // texts, min(texts, torch.get_num_threads())
        cuts = [length * (texts * part // threads) for part in range(threads + 1)]

        def work(start: int, stop: int) -> None:
            own = slice(start, stop)
            places = place_N[own], position_N[own]
            forward(weights, self._sizes, cache, angles_S2D, token_N[own], *places, logits_NV[own])

        self._working = [self._threads.submit(work, *cut) for cut in pairwise(cuts[1:])]
        work(0, cuts[1])
        for other in self._working:
            other.result()

    def _reserve(self, place_R: Integers, positions: int) -> None:
        """Make room for at least these rows and so many positions."""
        old, rows = self._cache, int(place_R.max()) + 1
        old_rows, old_positions = old.values.shape[1], old.values.shape[3]
        if rows <= old_rows and positions <= old_positions:
            return
        rows = grown(old_rows, rows, 16, self._max_rows)
        positions = _blocks(grown(old_positions, positions, 64, self._max_positions)) * NARROW
        cache = self._new_cache(rows, positions)
        for cached, before in zip(cache, old, strict=True):
            cached[:, :old_rows, :, : before.shape[3]] = before
        self._cache, self._angles_S2D = cache, self._angles(positions)

    def _angles(self, positions: int) -> Floats:
        """[S, 2, D/2]: cosine and sine of each position's angles, as the model computes them."""
        angle_SD = torch.arange(positions, device="cpu")[:, None] * self._frequency_D
        turn_S2D = torch.stack((angle_SD.cos(), angle_SD.sin()), dim=1) * self._stretch
        angles: Floats = turn_S2D.contiguous().numpy()
        return angles

    def _new_logits(self, tokens: int) -> Floats:
        return np.empty((tokens, _rounded(self._vocabulary, WIDE)), np.float32)

    def _new_cache(self, rows: int, positions: int) -> KeyValues:
        slot, blocks = _rounded(self._sizes.width, NARROW), _blocks(positions)
        each = (self._plain.model.config.num_hidden_layers, rows, self._sizes.kv_heads)
        keys = np.zeros((*each, blocks, slot, NARROW), np.float32)
        return KeyValues(keys, np.zeros((*each, blocks * NARROW, slot), np.float32))


def _is_uniform(model: Any) -> bool:
    """Whether all layers have weights of the same shapes, biases all or none, and every token has an embedding."""
    layers = [layer.state_dict() for layer in model.model.layers]
    biases = {sum(name.endswith("_proj.bias") for name in layer) for layer in layers}
    return (
        len({tuple((name, weight.shape) for name, weight in layer.items()) for layer in layers}) == 1
        and biases <= {0, 3}
        and len(model.lm_head.weight) <= len(model.model.embed_tokens.weight)
    )


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
    out = parts[0].new_empty(len(parts), *parts[0].shape) if room is None else torch.from_numpy(room)
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
