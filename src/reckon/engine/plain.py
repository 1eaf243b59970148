"""Which models the engine's own forwards know: the Llama family as transformers defines it, with nothing changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation

from reckon.engine.decoder import Decoder
from reckon.models.lora import Merged

_HOMES = {f"transformers.models.{family}.modeling_{family}" for family in ("llama", "mistral", "qwen2", "qwen3")}
_PARTS = (nn.Linear, nn.Embedding, nn.ModuleList, SiLUActivation)

_ROPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary embedding in which the angle is the position times a fixed frequency."""

COMPILED_PARAMETERS = 2**25
"""Of the largest model that is compiled: it needs its matrices twice, and one text keeps one core busy."""


def is_plain(model: PreTrainedModel) -> bool:
    """Whether ``model`` is a Llama, Mistral, Qwen2 or Qwen3 as transformers defines it, and nothing is changed.

    That is: attention to the whole past, a known rotary embedding, biases at most where Qwen2 has them, parameters of
    one dtype on one device, none quantised; no adapter (it brings modules of its own), no forward hook and no forward
    replaced in an instance.
    """
    home, config, body = type(model).__module__, model.config, getattr(model, "model", None)
    if home not in _HOMES or not type(model).__name__.endswith("ForCausalLM") or body is None:
        return False
    return (
        config.hidden_act == "silu"
        and len(body.layers) == config.num_hidden_layers
        and body.rotary_emb.rope_type in _ROPES
        and getattr(config, "sliding_window", None) is None
        and all(
            (type(part).__module__ == home or type(part) in _PARTS)
            and not (part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__)
            and (getattr(part, "bias", None) is None or name.endswith(("q_proj", "k_proj", "v_proj")))
            for name, part in model.named_modules()
        )
        and {(type(weight), weight.dtype, weight.device, weight.is_inference()) for weight in model.parameters()}
        == {(nn.Parameter, model.dtype, model.device, False)}
    )


def structure(model: PreTrainedModel) -> tuple[object, ...]:
    """All that a forward of our own depends on beside the values of weights; another one asks for a new forward."""
    numbers = ("variance_epsilon", "scaling", "attention_scaling", "rope_type")
    parts = [(name, *(getattr(part, number, None) for number in numbers)) for name, part in model.named_modules()]
    weights = [(name, weight.shape) for name, weight in model.named_parameters()]
    return getattr(model.config, "num_hidden_layers", None), *parts, *weights


class Plain:
    """The model that a forward of our own stands for, and what was seen of it.

    Attributes:
        model: of a model with adapters (models/lora.py), the plain one that is equal to it after :meth:`refresh`.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._merged = Merged(model)
        self.model: Any = self._merged.plain
        self._agrees: bool | None = None
        self._parameters: list[Tensor] = []
        self._places: list[int] = []
        self._seen_version = -1

    def refresh(self) -> bool:
        """Look the parameters up again, and bring those up to date that adapters are merged into.

        Returns:
            whether any may have changed since the last time.
        """
        changed = self.changed()
        if changed:
            self._merged.refresh()
        self._parameters = list(self.model.parameters())
        places = [parameter.data_ptr() for parameter in self._parameters]
        changed, self._places = changed or places != self._places, places
        self._seen_version = self._version()
        return changed

    def changed(self) -> bool:
        """Whether a parameter was changed in place, or an adapter, since the last :meth:`refresh`."""
        return self._version() != self._seen_version

    def forget(self) -> None:
        """Take everything for changed: what is written through ``parameter.data`` leaves no trace."""
        self._seen_version = -1

    def agrees(self, own: Decoder, reference: Decoder) -> bool:
        """Whether ``own`` may stand for the model: its structure is known, and the logits are equal (tried once).

        To be asked when a run of requests begins; the next :meth:`refresh` then takes everything for changed.
        """
        self.forget()
        if not is_plain(self.model):
            return False
        if self._agrees is None:
            own.refresh()
            vocabulary = self.model.get_input_embeddings().num_embeddings
            ids_UT = torch.arange(12, device=self.model.device).view(2, 6) % vocabulary
            expected, found = reference.logits(ids_UT).float(), own.logits(ids_UT).float()
            tolerance = torch.finfo(self.model.dtype).eps ** 0.5
            self._agrees = bool((expected - found).abs().max() <= tolerance * expected.abs().max())
        return self._agrees

    def _version(self) -> int:
        changes: int = sum(parameter._version for parameter in self._parameters)
        return changes + self._merged.version()
