"""What the native engine asks of a model, whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """A causal LM and the keys and values of the texts in its rows. Row r, position p holds a text's p-th token.

    Implementations: :class:`reckon.engine.general.GeneralDecoder`, which calls the model, and two forwards of our own
    for the most common architecture, :class:`reckon.engine.direct.DirectDecoder` and, for small models on a CPU,
    :class:`reckon.engine.compiled.CompiledDecoder`. All serve the weights that the model has at each call. The caller
    turns gradients off.

    Shape suffixes: U texts, T tokens of each, R rows, V vocabulary.
    """

    def refresh(self) -> None:
        """Look the model's parameters up again: some may have been replaced. Called before requests are admitted."""

    def prefill(self, ids_UT: Tensor, first_row: int, source_R: Tensor) -> None:
        """Fill the rows from ``first_row`` on; row ``first_row + r`` gets text ``source_R[r]``, padded on the right."""

    def decode(self, token_R: Tensor, position_R: Tensor, shortest: int, longest: int) -> Tensor:
        """Logits [R, V] after one more token in each of the rows 0..R-1.

        Args:
            position_R: where the tokens stand, counted from 0.
            shortest, longest: the least and the greatest number of tokens of a row, the new one included.
        """

    def move(self, source: Sequence[int], target: Sequence[int], positions: int) -> None:
        """The rows ``target`` become what the rows ``source`` are, up to ``positions``; no row is in both.

        The rows ``source`` are free afterwards.
        """

    def logits(self, ids_UT: Tensor) -> Tensor:
        """Logits [U, T, V] of whole texts, padded on the right; the rows stay as they are."""
