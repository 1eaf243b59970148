"""The training loop: get rollouts, give every token credit, update, publish. It never asks which algorithm it runs.

Everything that could differ is handed in: where rollouts come from (:class:`Source`), the algorithm, and what an
evaluation is. The loop owns what must hold for all of them: exact resume, atomic checkpoints, refused updates,
and a stop that loses nothing.
"""

from __future__ import annotations

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

from reckon.algorithms import ops
from reckon.algorithms.base import Algorithm, State
from reckon.algorithms.batch import Batch
from reckon.algorithms.value import ValueRegression
from reckon.core import store
from reckon.core.config import Strict
from reckon.core.errors import GateFailed, Interrupted
from reckon.core.events import EventLog
from reckon.core.records import Rollout
from reckon.core.seeds import seed_for
from reckon.core.stop import Stop
from reckon.learn.learner import Learner
from reckon.learn.reference import ReferenceModel
from reckon.models import load as models
from reckon.models import lora
from reckon.rollout.collect import Collection
from reckon.stages.metrics import peak_rss_mb, rollout_metrics, update_metrics

TRAINER = "trainer"
"""The folder inside a checkpoint for what only training needs: optimiser, reference model, counters."""

CRITIC = "critic"
"""The folder in there for the critic's weights and optimiser."""

REFUSED_IN_A_ROW = 5
"""After this many refused updates in a row the run stops: it will not recover by itself."""


class CheckpointConfig(Strict):
    """A checkpoint after every ``every`` steps and at the end; the newest ``keep`` stay."""

    every: int = Field(50, ge=1)
    keep: int = Field(2, ge=1)


class Source(Protocol):
    """Where rollouts come from: an engine, or a file of texts."""

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """The rollouts of a step (1-based): a function of the step, the current weights and what :meth:`save` gives."""

    def save(self) -> dict[str, Any]:
        """What it remembers of earlier steps, as JSON-ready data for the checkpoint."""

    def load(self, saved: dict[str, Any]) -> None:
        """Remember what :meth:`save` gave."""


@dataclass
class Train:
    """One training stage, resumable at every step.

    Attributes:
        reference, critic: what the algorithm declares in its ``needs``.
        steps: most steps; the stage also ends with the step that reaches ``max_generated_tokens``, if given.
        evaluate: called with the step and the tokens generated so far before the first update, every ``eval_every``
            steps and after the last.
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
    evaluate: Callable[[int, int], None]
    eval_every: int
    reference: ReferenceModel | None = None
    critic: Learner | None = None
    max_generated_tokens: int | None = None
    published: Callable[[int], None] = lambda updates: None
    progress: Callable[[dict[str, Any]], None] = lambda row: None
    keep_groups: int = 4
    refused: int = 0
    generated_tokens: int = 0
    state: State = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(self) -> Path:
        """Train to the last step; returns the final checkpoint. Raises Interrupted after saving one when stopped."""
        if self.algorithm.restart == "model":
            self._initial = {name: value.clone() for name, value in self.learner.model.state_dict().items()}
        step = self._resume()
        evaluated = self._evaluated()
        try:
            while True:
                last = step == self.steps or self.generated_tokens >= (self.max_generated_tokens or float("inf"))
                if (step % self.eval_every == 0 or last) and step not in evaluated:
                    self.evaluate(step, self.generated_tokens)
                if step and (step % self.checkpoint.every == 0 or last):
                    self._save(step)
                if last:
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
            collected = self.source.collect(step, self.stop.check)
        everything = [*collected.rollouts, *collected.dropped]
        self.generated_tokens += sum(len(rollout.response_ids) for rollout in everything)
        verify = sum(rollout.seconds.get("verify", 0.0) for rollout in everything)
        self.seconds = {"generate": self.seconds["generate"] - verify, "verify": verify}
        with self._timed("update"):
            usable = [r for r in collected.rollouts if r.response_ids and (r.reward is not None or r.verdict is None)]
            updates, credited = self._learn(usable, step)
        self.seconds["other"] = time.perf_counter() - began - sum(self.seconds.values())
        row = {
            "step": step,
            "time": time.time(),
            **rollout_metrics(collected.rollouts, collected.dropped),
            **update_metrics(updates),
            "generated_tokens_so_far": self.generated_tokens,
            "seconds": self.seconds,
            "peak_rss_mb": peak_rss_mb(),
        }
        self.algorithm.adapt(self.state, row)
        store.append_jsonl(self.folder / "metrics.jsonl", [row])
        self._keep(step, credited)
        self.progress(row)

    def _learn(self, rollouts: list[Rollout], step: int) -> tuple[list[dict[str, Any]], list[Rollout]]:
        """Credit, then the step's updates; returns what they report and the rollouts with their advantages."""
        algorithm = self.algorithm
        if algorithm.restart != "nothing":
            self.learner.restart()
        batch = algorithm.prepare(Batch.of(rollouts))
        if not len(batch):
            return [{}], rollouts
        self._fill(batch)
        report: dict[str, Any] = algorithm.credit(batch, self.state)
        updates = [report]
        if self.critic is not None and batch.return_S is not None:
            report |= self._teach_critic(self.critic, batch, step)
        if algorithm.needs.critic is None or step > algorithm.needs.critic.pretrain_steps:
            # After the columns were filled: they are those of the policy that sampled.
            if algorithm.restart == "model":
                self.learner.model.load_state_dict(self._initial)
            for epoch in range(algorithm.epochs):
                chosen = algorithm.select(batch, epoch)
                for part in self._parts(chosen, algorithm.minibatches, ("split", step, epoch)):
                    updates.append(self.learner.update(part, algorithm, self.state))
                    self._count_refused(updates[-1], step, rollouts)
                    self.published(self.learner.updates)
        if self.reference is not None:
            self.reference.follow(self.learner.model, self.learner.updates)
        return updates, _with_advantages(rollouts, batch)

    def _fill(self, batch: Batch) -> None:
        """The columns that the algorithm asks other models for."""
        needs = self.algorithm.needs
        if needs.trainer_logp:
            batch.logp_old_S = self.learner.measure(batch).logp_S
        if needs.reference is not None and needs.reference.kind == "iteration":
            batch.logp_ref_S = batch.logp_old_S
        elif self.reference is not None:
            batch.logp_ref_S = self.learner.measure(batch, self.reference.policy).logp_S
        if self.critic is not None:
            batch.value_S = self.critic.measure(batch).value_S

    def _teach_critic(self, critic: Learner, batch: Batch, step: int) -> dict[str, float]:
        """One pass of the critic over the step's returns."""
        config = self.algorithm.needs.critic
        assert config is not None
        explained = ops.explained_variance(batch.need("value_S"), batch.need("return_S"))
        regression = ValueRegression(minibatches=config.updates, clip=config.clip)
        parts = self._parts(batch, config.updates, ("critic", step))
        losses = [float(critic.update(part, regression)["loss"]) for part in parts]
        return {"explained_variance": explained, "value_loss": sum(losses) / max(1, len(losses))}

    def _parts(self, batch: Batch, count: int, purpose: tuple[str | int, ...]) -> Iterator[Batch]:
        """The batch in ``count`` random parts of equal size, or as many as it has units; none of an empty one."""
        units, unit = len(batch) // batch.unit, batch.unit
        count = min(count, units)
        if count == 1:
            yield batch
        elif count > 1:
            order_U = torch.randperm(units, generator=torch.Generator().manual_seed(seed_for(self.seed, *purpose)))
            for part_U in order_U.tensor_split(count):
                yield batch.rows((unit * part_U[:, None] + torch.arange(unit)).flatten())

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
            if lora.is_adapted(self.learner.model):
                lora.save_adapter(self.learner.model, trainer)
            own: dict[str, Any] = {"step": step, "refused": self.refused, "generated_tokens": self.generated_tokens}
            own |= {"algorithm": self.state, "source": self.source.save(), **self.learner.save(trainer)}
            if self.reference is not None:
                own |= self.reference.save(trainer)
            if self.critic is not None:
                (trainer / CRITIC).mkdir()
                own["critic"] = self.critic.save(trainer / CRITIC)
                save_model(self.critic.model, str(trainer / CRITIC / "model.safetensors"))
            store.write_json(trainer / "state.json", own)
        store.prune(self.folder / "checkpoint", self.checkpoint.keep)

    def _resume(self) -> int:
        """Restore the newest whole checkpoint and forget what was written after it; returns its step, or 0."""
        folder = store.latest_checkpoint(self.folder / "checkpoint", warn=self._warn)
        step = 0
        if folder is not None:
            trainer = folder / TRAINER
            own = json.loads((trainer / "state.json").read_text())
            step, self.refused, self.generated_tokens = own["step"], own["refused"], own["generated_tokens"]
            self.state = own["algorithm"]
            self.source.load(own["source"])
            if lora.is_adapted(self.learner.model):
                # The saved model has the adapters in its weights; only apart from them do they go on as they were.
                lora.load_adapter(self.learner.model, trainer)
            else:
                models.load_weights(self.learner.model, folder)
            self.learner.load(trainer, own)
            if self.reference is not None:
                self.reference.load(trainer, own)
            if self.critic is not None:
                load_model(self.critic.model, trainer / CRITIC / "model.safetensors")
                self.critic.load(trainer / CRITIC, own["critic"])
            self.published(self.learner.updates)
        # What came after the checkpoint will happen again; a warning that belongs to no step was given all the same.
        self.events.forget(
            lambda row: (row["event"] == "warning" and row["step"] == 0) or (folder is not None and row["step"] <= step)
        )
        store.truncate_jsonl(self.folder / "metrics.jsonl", lambda row: row["step"] <= step)
        return step

    def _evaluated(self) -> set[int]:
        """Steps that have an evaluation on record."""
        return {row["step"] for row in self.events.rows() if row["event"] == "eval"}

    def _warn(self, message: str) -> None:
        self.events.emit("warning", 0, code="checkpoint", message=message)

    def _keep(self, step: int, rollouts: list[Rollout]) -> None:
        shown = [rollout for rollout in rollouts if rollout.verdict and rollout.role == "policy"]
        ids = list(dict.fromkeys(rollout.problem.id for rollout in shown))[: self.keep_groups]
        if ids:
            path = self.folder / "rollouts" / f"step-{step:06d}.jsonl"
            store.write_jsonl(path, (rollout.to_dict() for rollout in shown if rollout.problem.id in ids))

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = time.perf_counter() - start


def _with_advantages(rollouts: list[Rollout], batch: Batch) -> list[Rollout]:
    """The rollouts, those in the batch with the mean advantage of their tokens."""
    if batch.advantage_S is None:
        return rollouts
    total_N = torch.zeros(len(batch), dtype=torch.float64).index_add_(0, batch.row_S, batch.advantage_S.double())
    credited = dict(zip(batch.index_N.tolist(), (total_N / batch.length_N).tolist(), strict=True))
    return [replace(rollout, advantage=credited.get(index)) for index, rollout in enumerate(rollouts)]
