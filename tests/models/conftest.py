"""The engine's tokenizer serves here too."""

from tests.engine.conftest import tokenizer

__all__ = ["tokenizer"]
