"""The training loop: get rollouts, give every token credit, update, publish. It never asks which algorithm it runs.

Everything that could differ is handed in: where rollouts come from (:class:`Source`), the algorithm, and what an
evaluation is. The loop owns what must hold for all of them: exact resume, atomic checkpoints, refused updates,
and a stop that loses nothing.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import Field
from safetensors.torch import load_model, save_model

from reckon.algorithms.batch import Batch
from reckon.core import store
from reckon.core.config import Strict
from reckon.core.errors import GateFailed, Interrupted
from reckon.core.events import EventLog
from reckon.core.records import Rollout
from reckon.core.seeds import seed_for
from reckon.core.stop import Stop
from reckon.learn.forward import decoder_of
from reckon.learn.learner import Algorithm, Learner
from reckon.models import load as models
from reckon.stages.metrics import peak_rss_mb, rollout_metrics, update_metrics

TRAINER = "trainer"
"""The folder inside a checkpoint for what only training needs: optimiser, reference model, counters."""

REFUSED_IN_A_ROW = 5
"""After this many refused updates in a row the run stops: it will not recover by itself."""


class CheckpointConfig(Strict):
    """A checkpoint after every ``every`` steps and at the end; the newest ``keep`` stay."""

    every: int = Field(50, ge=1)
    keep: int = Field(2, ge=1)


class Source(Protocol):
    """Where rollouts come from: an engine, or a file of texts."""

    def collect(self, step: int, check: Callable[[], None]) -> list[Rollout]:
        """The rollouts of a step (1-based): a function of the step and the current weights alone."""


@dataclass
class Train:
    """One training stage, resumable at every step.

    Attributes:
        evaluate: called with the step before the first update, every ``eval_every`` steps and after the last.
        keep_groups: groups of rollouts written to disk per step, for people to read.
        published: called with the number of updates after each, so that the engine can stamp its weights.
    """

    folder: Path
    learner: Learner
    tokenizer: Any
    algorithm: Algorithm
    source: Source
    steps: int
    seed: int
    events: EventLog
    stop: Stop
    checkpoint: CheckpointConfig
    evaluate: Callable[[int], None]
    eval_every: int
    published: Callable[[int], None] = lambda updates: None
    progress: Callable[[dict[str, Any]], None] = lambda row: None
    keep_groups: int = 4
    refused: int = 0
    reference: Any = None
    reference_from: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Path:
        """Train to the last step; returns the final checkpoint. Raises Interrupted after saving one when stopped."""
        step = self._resume()
        evaluated = self._evaluated()
        try:
            while True:
                due = step % self.eval_every == 0 or step == self.steps
                if due and step not in evaluated:
                    self.evaluate(step)
                if step and (step % self.checkpoint.every == 0 or step == self.steps):
                    self._save(step)
                if step == self.steps:
                    return self._path(step)
                self.stop.check()
                self._step(step + 1)
                step += 1
        except Interrupted:
            # An update is never cut in half, so the weights are those after `step` steps wherever the stop was seen.
            if step:
                self._save(step)
            raise

    def _step(self, step: int) -> None:
        began, self.seconds = time.perf_counter(), {}
        with self._timed("generate"):
            rollouts = self.source.collect(step, self.stop.check)
        verify = sum(rollout.seconds.get("verify", 0.0) for rollout in rollouts)
        self.seconds = {"generate": self.seconds["generate"] - verify, "verify": verify}
        with self._timed("update"):
            usable = [r for r in rollouts if r.response_ids and (r.reward is not None or r.verdict is None)]
            updates, credited = self._update(usable, step)
        self.seconds["other"] = time.perf_counter() - began - sum(self.seconds.values())
        row = {
            "step": step,
            "time": time.time(),
            **rollout_metrics(rollouts),
            **update_metrics(updates),
            "seconds": self.seconds,
            "peak_rss_mb": peak_rss_mb(),
        }
        store.append_jsonl(self.folder / "metrics.jsonl", [row])
        self._keep(step, credited)
        self.progress(row)

    def _update(self, rollouts: list[Rollout], step: int) -> tuple[list[dict[str, Any]], list[Rollout]]:
        """Credit, then one optimiser update per minibatch; returns their reports and the rollouts with advantages."""
        batch = Batch.of(rollouts)
        self.algorithm.credit(batch)
        if "logp_ref_S" in self.algorithm.needs:
            self._refresh_reference()
            batch.logp_ref_S = self.learner.logp(batch, *decoder_of(self.reference))
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(seed_for(self.seed, "split", step)))
        updates = []
        parts = min(self.algorithm.minibatches, len(batch))
        for rows_K in [torch.arange(len(batch))] if parts == 1 else order.tensor_split(parts):
            updates.append(self.learner.update(batch.rows(rows_K), self.algorithm))
            self._count_refused(updates[-1], step, rollouts)
            self.published(self.learner.updates)
        if batch.advantage_S is None:
            return updates, rollouts
        first_N = torch.cumsum(batch.length_N, 0) - batch.length_N
        credit = batch.advantage_S[first_N].tolist()
        return updates, [replace(r, advantage=value) for r, value in zip(rollouts, credit, strict=True)]

    def _count_refused(self, report: dict[str, Any], step: int, rollouts: list[Rollout]) -> None:
        self.refused = self.refused + 1 if report["skipped"] else 0
        if not report["skipped"]:
            return
        dump = self.folder / "refused" / f"step-{step:06d}.jsonl"
        store.write_jsonl(dump, (rollout.to_dict() for rollout in rollouts))
        what = (
            f"update refused: loss {report['loss']:g}, gradient norm {report['grad_norm']:g}; batch kept in {dump.name}"
        )
        self.events.emit("warning", step, code="update_refused", message=what)
        if self.refused >= REFUSED_IN_A_ROW:
            raise GateFailed(
                f"{self.refused} updates in a row had a loss or gradient that is not finite",
                where=f"step {step}",
                why="None of them was applied; the weights are those before the first",
                fix=f"Look at {dump.parent}, lower optim.lr, and run again with another --out",
            )

    def _refresh_reference(self) -> None:
        every = getattr(self.algorithm, "reference_refresh", None)
        if self.reference is None or (every and self.learner.updates - self.reference_from >= every):
            self.reference = copy.deepcopy(self.learner.model).requires_grad_(False)
            self.reference_from = self.learner.updates

    # ------------------------------------------------------------------------------------- files of the stage

    def _path(self, step: int) -> Path:
        return self.folder / "checkpoint" / f"step-{step:06d}"

    def _save(self, step: int) -> None:
        if self._path(step).exists():
            return
        # Before the folder, so that a kill in between leaves an event that the resumed run drops, never a lack of one.
        self.events.emit("checkpoint", step, path=str(self._path(step).relative_to(self.events.path.parent)))
        with store.publish(self._path(step)) as folder:
            models.save_model(self.learner.model, self.tokenizer, folder)
            # In a folder of its own: some engines load every *.safetensors they find beside the model.
            trainer = folder / TRAINER
            trainer.mkdir()
            own = {"step": step, "refused": self.refused, "reference_from": self.reference_from}
            store.write_json(trainer / "state.json", {**own, **self.learner.save(trainer)})
            if self.reference is not None:
                save_model(self.reference, str(trainer / "reference.safetensors"))
        store.prune(self.folder / "checkpoint", self.checkpoint.keep)

    def _resume(self) -> int:
        """Restore the newest whole checkpoint and forget what was written after it; returns its step, or 0."""
        folder = store.latest_checkpoint(self.folder / "checkpoint", warn=self._warn)
        step = 0
        if folder is not None:
            state = json.loads((folder / TRAINER / "state.json").read_text())
            step, self.refused, self.reference_from = state["step"], state["refused"], state["reference_from"]
            saved, _ = models.load_model(folder)
            self.learner.model.load_state_dict(saved.state_dict())
            self.learner.load(folder / TRAINER, state)
            if (folder / TRAINER / "reference.safetensors").exists():
                self.reference = copy.deepcopy(self.learner.model).requires_grad_(False)
                load_model(self.reference, folder / TRAINER / "reference.safetensors")
            self.published(self.learner.updates)
        # What came after the checkpoint will happen again; what belongs to no step happened all the same.
        store.truncate_jsonl(
            self.events.path,
            lambda row: (
                row["event"] in ("run_start", "resume")
                or (row["event"] == "warning" and row["step"] == 0)
                or (folder is not None and row["step"] <= step)
            ),
        )
        store.truncate_jsonl(self.folder / "metrics.jsonl", lambda row: row["step"] <= step)
        return step

    def _evaluated(self) -> set[int]:
        """Steps that have an evaluation on record."""
        events = store.read_jsonl(self.events.path) if self.events.path.exists() else []
        return {row["step"] for row in events if row["event"] == "eval"}

    def _warn(self, message: str) -> None:
        self.events.emit("warning", 0, code="checkpoint", message=message)

    def _keep(self, step: int, rollouts: list[Rollout]) -> None:
        ids = list(dict.fromkeys(rollout.problem.id for rollout in rollouts if rollout.verdict))[: self.keep_groups]
        if ids:
            path = self.folder / "rollouts" / f"step-{step:06d}.jsonl"
            store.write_jsonl(path, (rollout.to_dict() for rollout in rollouts if rollout.problem.id in ids))

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - start
