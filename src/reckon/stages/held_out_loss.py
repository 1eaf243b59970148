"""Held-out loss: how likely the model finds answers that it was not trained on. One event, nothing generated."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from reckon.algorithms.batch import Batch
from reckon.core.errors import DataError
from reckon.core.events import EventLog
from reckon.core.records import Rollout
from reckon.evals.metrics import t_quantile
from reckon.learn.learner import Learner


@dataclass(frozen=True, slots=True)
class Loss:
    """A mean in nats per token and its 95% interval; both ends are None where there is no spread to estimate."""

    value: float
    low: float | None
    high: float | None


@dataclass
class HeldOutLoss:
    """Measures the model being trained on given responses and emits an ``eval`` event.

    Its ``loss`` is the mean negative log-likelihood in nats per response token, which is what supervised fine-tuning
    minimises, and ``perplexity`` the exponential of that.
    """

    examples: Sequence[Rollout]
    learner: Learner
    events: EventLog
    progress: Callable[[dict[str, Any]], None] = lambda row: None

    def __post_init__(self) -> None:
        if not self.examples:
            raise DataError("there are no held-out examples to measure the loss on", fix="Raise heldout above 0")

    def __call__(self, step: int, generated_tokens: int) -> None:
        """Evaluate after ``step`` steps, in which so many tokens were trained on."""
        start = time.perf_counter()
        batch = Batch.of(self.examples)
        nll_S = -self.learner.measure(batch).need("logp_S").double()
        loss = per_token(nll_S, batch.group_N[batch.row_S])
        payload = {
            "split": "heldout",
            "generated_tokens": generated_tokens,
            "loss": asdict(loss),
            "perplexity": torch.tensor(loss.value, dtype=torch.float64).exp().item(),
            "examples": len(batch),
            "tokens": len(nll_S),
            "seconds": time.perf_counter() - start,
        }
        self.events.emit("eval", step, **payload)
        self.progress({"step": step, **payload})


def per_token(nll_S: Tensor, cluster_S: Tensor) -> Loss:
    """The mean over tokens with a 95% t-interval for new clusters of the same kind.

    Tokens of one answer, and the answers to one row, are alike, so they are no independent draws: the clusters are. The
    mean is a ratio R = sum_c(loss_c) / sum_c(tokens_c) of two sums over C clusters, whose variance is, to first order,
    C / (C - 1) * sum_c((loss_c - R tokens_c)^2) / (sum_c tokens_c)^2 (Cochran, Sampling Techniques, 1977, chapter 6).
    """
    sizes_C = torch.bincount(cluster_S).double()
    loss_C = torch.zeros_like(sizes_C).index_add(0, cluster_S, nll_S)
    count, tokens = len(sizes_C), sizes_C.sum()
    value = (loss_C.sum() / tokens).item()
    if count < 2:
        return Loss(value, None, None)
    variance = count / (count - 1) * (loss_C - value * sizes_C).square().sum() / tokens**2
    half = t_quantile(0.975, count - 1) * math.sqrt(variance.item())
    return Loss(value, max(0.0, value - half), value + half)
