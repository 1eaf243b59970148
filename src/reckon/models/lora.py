"""Low-rank adapters (LoRA, arXiv 2106.09685): a frozen model and, beside each linear layer, a product that learns.

An adapted layer computes ``W x + (alpha / rank) * B (A x)``. W stays as it was loaded; A is random, B begins at zero,
so a model with fresh adapters computes what it did without them. The adapters are those of the ``peft`` package, put
into the model in place: to a trainer it is the same model with fewer parameters that want gradients.

There is no dropout: the trainer's log-probabilities would differ from the sampler's.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from reckon.core.config import Strict
from reckon.core.errors import ConfigError, DataError

_WEIGHTS = "adapter_model.safetensors"
_ADAPTER = "default"
"""The name that peft gives to the only adapter of a model."""


class LoraConfig(Strict):
    """The size of the adapters, and the layers that have one.

    Attributes:
        rank: rows of A and columns of B.
        alpha: the product is scaled by ``alpha / rank``.
        targets: ``all-linear`` for every linear layer but the output layer, or names of linear layers such as
            ``q_proj``, each of which stands for all layers whose path ends in it.
    """

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    targets: Literal["all-linear"] | tuple[str, ...] = Field("all-linear", min_length=1)


def add_lora(model: PreTrainedModel, config: LoraConfig, seed: int) -> dict[str, int]:
    """Put adapters into ``model`` and freeze everything else, but for the head of a classifier, which is new.

    To be called before anything is made of the model: a policy, an engine, a reference. The adapters are float32
    whatever the model's dtype, because small updates would be lost in the rounding of shorter numbers.

    Args:
        seed: of the matrices A.

    Returns:
        ``parameters`` of the model without adapters, and ``trainable_parameters``.

    Raises:
        ConfigError: peft is not installed, or ``targets`` names no layer or another than a linear one.
    """
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "LoRA needs the package peft, which is not installed", where="lora", fix="pip install 'reckon[lora]'"
        ) from error
    parameters, head = _count(model), getattr(model, "score", None)
    adapters = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=config.targets if config.targets == "all-linear" else _checked(model, config.targets),
        task_type="CAUSAL_LM" if head is None else "SEQ_CLS",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        peft.inject_adapter_in_model(adapters, model)
    # A set, whose order changes from process to process, would change the file that is saved.
    adapters.target_modules = sorted(adapters.target_modules)
    if head is not None:
        head.requires_grad_(True)
    trainable = _trainable(model)
    for weight in trainable.values():
        weight.data = weight.data.float()
    return {"parameters": parameters, "trainable_parameters": sum(weight.numel() for weight in trainable.values())}


def is_adapted(model: nn.Module) -> bool:
    """Whether :func:`add_lora` was called for this model."""
    return hasattr(model, "peft_config")


class Merged:
    """A model without adapters, for those who cannot deal with them.

    Attributes:
        plain: computes what ``model`` did at the last :meth:`refresh`. It shares all parameters but the weights of
            adapted layers, which it has a second time. A model without adapters is its own plain model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.plain = model
        self._layers: list[tuple[Any, Any]] = []
        if is_adapted(model):
            self.plain = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
            del self.plain.peft_config
            adapted = {name: part for name, part in model.named_modules() if hasattr(part, "base_layer")}
            for name, layer in adapted.items():
                linear = self.plain.get_submodule(f"{name}.base_layer")
                self.plain.set_submodule(name, linear)
                self._layers.append((layer, linear))

    def version(self) -> int:
        """Grows with every change in place of an adapter, or of a weight beneath one."""
        return sum(
            weight._version
            for layer, _ in self._layers
            for weight in (layer.lora_A[_ADAPTER].weight, layer.lora_B[_ADAPTER].weight, layer.base_layer.weight)
        )

    @torch.inference_mode(False)
    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the plain model up to date: W + (alpha / rank) * B A, in float32 and then rounded to W's dtype."""
        for layer, linear in self._layers:
            weight = layer.base_layer.weight
            if linear.weight is weight:
                linear.weight = nn.Parameter(torch.empty_like(weight), requires_grad=False)
            linear.weight.copy_(weight + layer.get_delta_weight(_ADAPTER))


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A model without adapters that computes what ``model`` does now: itself if it has none."""
    found = Merged(model)
    found.refresh()
    return found.plain


def save_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Write what trains as ``adapter_model.safetensors`` and ``adapter_config.json``, which peft loads too."""
    model.peft_config[_ADAPTER].save_pretrained(folder)
    save_file({_stored(name): weight.contiguous() for name, weight in _trainable(model).items()}, folder / _WEIGHTS)


@torch.no_grad()
def load_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Restore what :func:`save_adapter` wrote, bit for bit, into a model with adapters of the same shape.

    Raises:
        DataError: the file is absent or broken, or from other adapters.
    """
    own, path = _trainable(model), folder / _WEIGHTS
    try:
        saved = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"no adapter could be read: {error}", where=str(path)) from error
    shapes = {name: weight.shape for name, weight in saved.items()}
    if shapes != {_stored(name): weight.shape for name, weight in own.items()}:
        raise DataError(
            "this adapter does not fit the model",
            where=str(path),
            why="Its layers or its rank are others",
            fix="Use the model and the lora settings it was trained with",
        )
    for name, weight in own.items():
        weight.copy_(saved[_stored(name)])


def _checked(model: PreTrainedModel, targets: tuple[str, ...]) -> list[str]:
    """The targets, each of which names linear layers only."""
    for target in targets:
        meant = [part for name, part in model.named_modules() if f".{name}".endswith(f".{target}")]
        if not meant or any(type(part) is not nn.Linear or part is model.get_output_embeddings() for part in meant):
            linear = {name.rpartition(".")[2] for name, part in model.named_modules() if type(part) is nn.Linear}
            raise ConfigError(
                f"{target!r} names {'something else than inner linear layers' if meant else 'no layer'}",
                where="lora.targets",
                fix=f"Use all-linear, or names such as {', '.join(sorted(linear - {'lm_head', 'score'}))}",
            )
    return list(targets)


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def _stored(name: str) -> str:
    """The name that peft gives to a parameter in a file."""
    return f"base_model.model.{name.replace(f'.{_ADAPTER}.', '.')}"


def _count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
