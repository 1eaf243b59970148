"""Held-out evaluation of a process reward model: does it tell good steps from bad, and does it know how sure it is?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reckon.algorithms import ops
from reckon.algorithms.batch import Batch
from reckon.core.events import EventLog
from reckon.data.preferences import Unit
from reckon.learn.learner import Learner
from reckon.search.base import Aggregate
from reckon.search.choose import aggregated
from reckon.stages.held_out_preference import accuracy_by_question, auc

AGGREGATES: tuple[Aggregate, ...] = ("last", "min", "prod")

BINS = 10


@dataclass
class HeldOutSteps:
    """Evaluates the process reward model being trained and emits an ``eval`` event.

    Attributes:
        units: held-out responses, as :func:`reckon.data.step_labels.load_steps` gives them.
    """

    learner: Learner
    units: Sequence[Unit]
    events: EventLog
    check: Callable[[], None]
    progress: Callable[[dict[str, Any]], None] = lambda row: None

    def __call__(self, step: int, generated_tokens: int) -> None:
        """Evaluate after ``step`` steps."""
        start = time.perf_counter()
        self.check()
        batch = Batch.of([rollout for unit in self.units for rollout in unit])
        live_S = batch.live_S
        row_S, label_S = batch.row_S[live_S].tolist(), batch.need("reward_S")[live_S]
        score_S = self.learner.measure(batch).need("score_S").double()[live_S]
        right_S = ((score_S > 0) == (label_S > 0.5)).double()
        payload = {
            "split": "heldout",
            "generated_tokens": generated_tokens,
            "units": len(self.units),
            **accuracy_by_question([self.units[row][0].problem.question for row in row_S], right_S.tolist()),
            **step_figures(score_S, label_S, batch.row_S[live_S]),
            "seconds": time.perf_counter() - start,
        }
        self.events.emit("eval", step, **payload)
        self.progress({"step": step, **payload})


def step_figures(score_S: Tensor, label_S: Tensor, row_S: Tensor) -> dict[str, Any]:
    """What log-odds are worth against labels in [0, 1]; S are here the steps of all responses.

    ``good`` and ``auc`` take a label above a half for good. ``brier`` is the mean squared error of the
    probabilities, ``calibration`` the expected calibration error: the mean distance between probability and label over
    ten bins of equal width, by how many steps they hold. ``response_auc``: whether a response is right, which is the
    label of its last step, told by its steps' probabilities as one number.
    """
    good_S, chance_S = label_S > 0.5, score_S.sigmoid()
    bin_S = (chance_S * BINS).long().clamp(max=BINS - 1)
    gap_B = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bin_S, (chance_S - label_S).double())
    responses = chance_S.split(torch.unique_consecutive(row_S, return_counts=True)[1].tolist())
    right_N = good_S[torch.tensor([len(each) for each in responses]).cumsum(0) - 1]
    figures: dict[str, Any] = {}
    for aggregate in AGGREGATES:
        value_N = torch.tensor([aggregated(each.tolist(), aggregate) for each in responses], dtype=torch.float64)
        figures[aggregate] = auc(value_N[right_N], value_N[~right_N])
    return {
        "steps": len(score_S),
        "good": good_S.double().mean().item(),
        "auc": auc(score_S[good_S], score_S[~good_S]),
        "loss": ops.label_loss(score_S, label_S).mean().item(),
        "brier": ((chance_S - label_S) ** 2).mean().item(),
        "calibration": (gap_B.abs().sum() / len(score_S)).item(),
        "response_auc": figures,
    }
