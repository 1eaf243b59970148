"""Held-out evaluation of a reward model: does it prefer what was preferred, and how are its scores spread?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from reckon.algorithms import ops
from reckon.algorithms.batch import Batch
from reckon.core.events import EventLog
from reckon.data.preferences import Unit
from reckon.evals.metrics import wilson
from reckon.learn.learner import Learner
from reckon.models.reward import card_of, set_card


@dataclass
class HeldOutPreference:
    """Evaluates the reward model being trained, emits an ``eval`` event, and notes in the model's card how its scores
    are spread, so that every checkpoint knows the scale of its scores.

    Attributes:
        units: held-out pairs or labelled responses, as :func:`reckon.data.preferences.load_preferences` gives them.
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
        score_N = self.learner.measure(batch).need("score_N")
        figures = _pairs(score_N) if len(self.units[0]) == 2 else _labels(score_N, batch.need("reward_N"))
        right_U = figures.pop("right")
        mean, std = score_N.mean().item(), score_N.std(correction=0).item()
        # A model that says the same of everything has no spread to divide by.
        card = card_of(self.learner.model).model_copy(update={"mean": mean, "std": std or 1.0})
        set_card(self.learner.model, card)
        payload = {
            "split": "heldout",
            "generated_tokens": generated_tokens,
            "units": len(self.units),
            **accuracy_by_question([unit[0].problem.question for unit in self.units], right_U.tolist()),
            **figures,
            "score_mean": mean,
            "score_std": std,
            "seconds": time.perf_counter() - start,
        }
        self.events.emit("eval", step, **payload)
        self.progress({"step": step, **payload})


def accuracy_by_question(questions: Sequence[str], right: Sequence[float]) -> dict[str, Any]:
    """The share of what is right, a mean over questions, with Wilson's interval for new questions.

    What belongs to one question counts as one: it says less about the next question than as much of several would.
    """
    groups: dict[str, list[float]] = {}
    for question, each in zip(questions, right, strict=True):
        groups.setdefault(question, []).append(each)
    share = float(np.mean([np.mean(group) for group in groups.values()]))
    return {"questions": len(groups), "accuracy": asdict(wilson(share, len(groups)))}


def _pairs(score_N: torch.Tensor) -> dict[str, Any]:
    margin_P = score_N[0::2] - score_N[1::2]
    return {
        "right": (margin_P > 0) + 0.5 * (margin_P == 0),
        "loss": ops.bradley_terry_loss(margin_P).mean().item(),
        "margin": margin_P.mean().item(),
    }


def _labels(score_N: torch.Tensor, label_N: torch.Tensor) -> dict[str, Any]:
    return {
        "right": ((score_N > 0) == (label_N > 0.5)).double(),
        "loss": ops.label_loss(score_N, label_N).mean().item(),
        "auc": auc(score_N[label_N > 0.5], score_N[label_N <= 0.5]),
    }


def auc(good_N: torch.Tensor, bad_N: torch.Tensor) -> float | None:
    """The chance that a good response scores higher than a bad one, ties half; None where one kind is absent."""
    if not len(good_N) or not len(bad_N):
        return None
    ordered_N = bad_N.sort().values
    below_N, up_to_N = (torch.searchsorted(ordered_N, good_N, right=right) for right in (False, True))
    return ((below_N + up_to_N).double().mean() / (2 * len(bad_N))).item()
