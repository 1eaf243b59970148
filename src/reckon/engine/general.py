"""The decoder for any Hugging Face causal LM: it calls the model, with a cache and an attention of our own.

Shape suffixes as in :mod:`reckon.engine.decoder`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from reckon.core.errors import ConfigError
from reckon.engine.cache import ATTENTION, SlotCache, causal_mask, length_mask
from reckon.engine.decoder import Decoder


class GeneralDecoder(Decoder):
    """Calls ``model`` in evaluation mode and with attention of our own, both switched back after every call.

    Raises:
        ConfigError: for a model without a key-value cache or with attention that cannot be replaced.
    """

    def __init__(self, model: PreTrainedModel, max_rows: int, max_positions: int) -> None:
        self._model = model
        self._windows = attention_windows(model)
        self._configs = list(
            {id(part.config): part.config for part in model.modules() if hasattr(part, "config")}.values()
        )
        self._like = torch.empty(0, dtype=model.dtype, device=model.device)
        self._row_ids = torch.arange(max_rows, device=model.device)
        self._cache = SlotCache(max_rows, max_positions)

    def refresh(self) -> None:
        """Nothing to do: the model itself looks its parameters up at every call."""

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        self._cache.reserve(first_row + len(source_R), ids_UT.shape[1])
        self._cache.prefill(first_row, source_R)
        # No logits are wanted, so those of the last position alone are computed.
        self._texts(ids_UT, past_key_values=self._cache, use_cache=True, logits_to_keep=1)

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        count = len(token_R)
        self._cache.reserve(count, longest)
        self._cache.decode(self._row_ids[:count], position_R, longest)
        with self._borrowed():
            logits_R1V: Tensor = self._model(
                input_ids=token_R[:, None],
                position_ids=position_R[:, None],
                attention_mask=self._masks(lambda window: length_mask(position_R, longest, window, self._like)),
                past_key_values=self._cache,
                use_cache=True,
            ).logits
        return logits_R1V[:, -1]

    def move(self, source: Sequence[int], target: Sequence[int], positions: int) -> None:
        self._cache.move(source, target, positions)

    def logits(self, ids_UT: Tensor) -> Tensor:
        return self._texts(ids_UT, use_cache=False)

    def _texts(self, ids_UT: Tensor, **options: Any) -> Tensor:
        """A forward over whole texts, padded on the right: being causal, their tokens never see the padding."""
        length = ids_UT.shape[1]
        with self._borrowed():
            logits_UTV: Tensor = self._model(
                input_ids=ids_UT,
                position_ids=torch.arange(length, device=ids_UT.device)[None, :].expand(ids_UT.shape),
                attention_mask=self._masks(
                    lambda window: causal_mask(length, window, self._like) if window and window < length else None
                ),
                **options,
            ).logits
        return logits_UTV

    def _masks(self, make: Callable[[int | None], Tensor | None]) -> Any:
        """The attention mask as the model takes it: one, or one for each kind of layer where there are several."""
        masks = {kind: make(window) for kind, window in self._windows.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    @contextmanager
    def _borrowed(self) -> Iterator[None]:
        """The model in evaluation mode with the engine's attention; back as it was afterwards."""
        training, before = self._model.training, [config._attn_implementation for config in self._configs]
        if training:
            self._model.eval()
        for config in self._configs:
            config._attn_implementation = ATTENTION
        try:
            yield
        finally:
            for config, implementation in zip(self._configs, before, strict=True):
                config._attn_implementation = implementation
            if training:
                self._model.train()


def attention_windows(model: PreTrainedModel) -> dict[str, int | None]:
    """For each kind of attention layer the number of past tokens it sees (None: all); ConfigError if unsupported."""
    name, config = type(model).__name__, model.config.get_text_config()
    fix = "Use a decoder-only transformer such as Qwen, Llama, Mistral or Gemma, or another engine"
    if getattr(model, "_is_stateful", False):
        raise ConfigError(
            f"the native engine cannot run {name}: its layers keep a recurrent state instead of keys and values",
            fix=fix,
        )
    if not hasattr(sys.modules[type(model).__module__], "ALL_ATTENTION_FUNCTIONS") or model.config.is_encoder_decoder:
        raise ConfigError(
            f"the native engine cannot run {name}: its attention cannot be replaced from outside", fix=fix
        )
    window: int | None = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if window else "full_attention"]
    strange = set(kinds) - {"full_attention", "sliding_attention"}
    if getattr(config, "num_kv_shared_layers", None):
        strange.add("layers that share keys and values")
    if strange:
        raise ConfigError(f"the native engine cannot run {name}: it has {', '.join(sorted(strange))}", fix=fix)
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}
