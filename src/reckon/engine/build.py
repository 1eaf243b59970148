"""Which engine a recipe asks for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from reckon.core.config import Strict
from reckon.engine.base import Engine
from reckon.engine.native import NativeEngine
from reckon.engine.vllm import VllmEngine


class NativeConfig(Strict):
    """The engine in this package: any Hugging Face model, the learner's own tensors."""

    kind: Literal["native"] = "native"


class VllmConfig(Strict):
    """vLLM in this process (see ``docs/vllm.md``).

    Attributes:
        kv_cache_gb: memory for keys and values, beside that for the learner.
        max_context: prompt and response tokens of one request; None: the model's own limit, or what ``kv_cache_gb`` has
            room for.
    """

    kind: Literal["vllm"] = "vllm"
    kv_cache_gb: float = Field(4.0, gt=0)
    max_context: int | None = Field(None, ge=2)


EngineConfig = Annotated[NativeConfig | VllmConfig, Field(discriminator="kind")]


def build_engine(config: NativeConfig | VllmConfig, model: Any, tokenizer: Any, max_running: int = 256) -> Engine:
    """An engine that serves ``model``, at most ``max_running`` requests at a time.

    Raises ConfigError where the engine is not installed or cannot serve this model.
    """
    if config.kind == "vllm":
        return VllmEngine(
            model,
            tokenizer,
            max_running=max_running,
            kv_cache_gb=config.kv_cache_gb,
            max_context=config.max_context,
        )
    return NativeEngine(model, tokenizer, max_running=max_running)
