"""Held-out evaluation: the same problems and seeds every time, samples kept; during training, or of many models."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from reckon.algorithms.batch import Batch
from reckon.core import store
from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.core.events import EventLog
from reckon.core.records import Problem, Rollout
from reckon.evals.metrics import paired_difference
from reckon.evals.runner import evaluate_to_file, summarise
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner
from reckon.models.load import load_model
from reckon.rollout.sample import Asker, Sampler

KL_RESPONSES = 128
"""At least so many of an evaluation's responses are scored under the base model to estimate the KL divergence."""


class EvalConfig(Strict):
    """Evaluate every ``every`` steps, before the first and after the last: ``samples`` responses to each of the first
    ``problems`` held-out problems."""

    every: int = Field(20, ge=1)
    problems: int = Field(100, ge=1)
    samples: int = Field(8, ge=1)


@dataclass
class HeldOut:
    """Evaluates the model being trained and emits an ``eval`` event.

    Attributes:
        base: where the model started from, as ``load_model`` takes it; loaded anew for each evaluation and dropped.
    """

    folder: Path
    sampler: Sampler
    problems: Sequence[Problem]
    samples: int
    seed: int
    base: str | None
    learner: Learner
    events: EventLog
    check: Callable[[], None]
    progress: Callable[[dict[str, Any]], None] = lambda row: None

    def __call__(self, step: int, generated_tokens: int) -> None:
        """Evaluate after ``step`` steps, in which so many tokens were generated for training.

        Raises DataError when not one response could be judged.
        """
        start = time.perf_counter()
        rollouts = self.sampler.ask(self.problems, self.samples, (self.seed, "eval"), check=self.check)
        path = self.folder / "evals" / f"step-{step:06d}.jsonl"
        store.write_jsonl(path, (rollout.to_dict() for rollout in rollouts))
        payload = {
            "split": "heldout",
            "generated_tokens": generated_tokens,
            **summarise(rollouts),
            "kl_base": self._kl_base(rollouts) if step and self.base else None,
            "samples_file": str(path.relative_to(self.events.path.parent)),
            "seconds": time.perf_counter() - start,
        }
        self.events.emit("eval", step, **payload)
        self.progress({"step": step, **payload})

    def _kl_base(self, rollouts: list[Rollout]) -> float:
        """KL(policy || base) in nats per token: the mean of logp - logp_base over tokens sampled from the policy."""
        stride = max(1, len(rollouts) // KL_RESPONSES)
        batch = Batch.of([rollout for rollout in rollouts[::stride] if rollout.response_ids])
        device = self.learner.model.device
        base, _ = load_model(
            str(self.base), dtype=str(self.learner.model.dtype).removeprefix("torch."), device=str(device)
        )
        logp_S = self.learner.measure(batch, Policy(base, self.sampler.sampling.temperature)).need("logp_S")
        return (batch.need("logp_roll_S") - logp_S).mean().item()


def held_out_problems(sampler: Asker, count: int) -> list[Problem]:
    """The first ``count`` problems of the task's held-out split. Raises DataError when there is none."""
    problems = list(sampler.task.problems("heldout"))[:count]
    if not problems:
        raise DataError("the task has no held-out problems", fix="Check the task's path and its settings")
    return problems


def evaluate_table(
    folder: Path,
    models: Mapping[str, str],
    tasks: Sequence[str],
    sampler_of: Callable[[str, str], Asker],
    problems: int,
    samples: int,
    seed: int,
    check: Callable[[], None],
    progress: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Every model on the first held-out problems of every task; what lies in ``folder`` is not sampled again.

    Writes ``samples/TASK/MODEL.jsonl``, and ``results.json``: ``rows`` with the figures of
    :func:`reckon.evals.runner.summarise`, and what each model gained over the first of its task (paired by problem).

    Args:
        models: what to load, by the name in the table.
        sampler_of: gives the sampler of a model, as it is to be loaded, on a task.
        progress: told how many responses there are.
    """
    table: list[dict[str, Any]] = []
    before = 0
    for task in tasks:
        first: list[Rollout] = []
        for name, model in models.items():
            sampler = sampler_of(model, task)
            asked = held_out_problems(sampler, problems)
            path = folder / "samples" / task / f"{name.replace('/', '--')}.jsonl"

            def tell(done: int, before: int = before) -> None:
                progress(before + done)

            rollouts = evaluate_to_file(path, sampler, asked, samples, seed, check=check, progress=tell)
            before += len(rollouts)
            first = first or rollouts
            gain = asdict(paired_difference(first, rollouts)) if rollouts is not first else None
            figures = {**summarise(rollouts), "task": task}
            table.append({"model": name, **figures, "gain": gain, "samples_file": str(path.relative_to(folder))})
    store.write_json(folder / "results.json", {"rows": table})
    return table
