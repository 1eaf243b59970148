"""What a search can be guided by: the model's own confidence, an oracle, or a process reward model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from reckon.rollout.process import ImplicitReward, ProcessReward
from reckon.search.base import Path, StepScorer
from reckon.search.oracle import CountdownOracle

CONFIDENCE, ORACLE = "confidence", "oracle"


class Confidence:
    """How sure the model was of its own words: exp(mean log-prob) of the response's tokens up to each step end.

    It is always there and reads nothing again. What it says of the truth is only that a model wavers more where it is
    wrong.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def score(self, paths: Sequence[Path]) -> list[list[float]]:
        return [[math.exp(math.fsum(path.logp[:end]) / end) for end in path.ends] for path in paths]


def build_scorer(
    name: str, tokenizer: Any, reference: str | None = None, dtype: str = "float32", device: str = "cpu"
) -> StepScorer:
    """The scorer of a name.

    Args:
        name: ``confidence``; ``oracle``, for Countdown; or the folder of a process reward model.
        tokenizer: the policy's.
        reference: the model that an implicit process reward model was trained from.

    Raises:
        ConfigError: as the models' loading.
        DataError: there is no such process reward model.
    """
    if name not in (CONFIDENCE, ORACLE):
        return ImplicitReward(name, reference, dtype, device) if reference else ProcessReward(name, dtype, device)
    return Confidence() if name == CONFIDENCE else CountdownOracle(tokenizer)
