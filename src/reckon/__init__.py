"""Reckon trains language models to reason."""

__version__ = "0.1.0.dev0"
