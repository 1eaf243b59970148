"""The learner: one batch in, one optimiser update out. It knows no algorithm by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed

from reckon.algorithms.base import Algorithm, Outputs, State
from reckon.algorithms.batch import Batch
from reckon.core.config import Strict
from reckon.learn.forward import Forward, measure
from reckon.learn.packing import token_cuts

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Strict):
    """AdamW and its schedule.

    Attributes:
        lr: peak learning rate, reached after ``warmup_steps`` updates.
        schedule: ``constant``, or ``cosine`` down to a tenth of ``lr`` at the last step.
        grad_clip: largest gradient norm; longer gradients are scaled down to it.
        micro_batch_tokens: tokens of one forward and backward pass; bounds the memory.
    """

    lr: float = Field(1e-6, gt=0)
    betas: tuple[Beta, Beta] = (0.9, 0.95)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    grad_clip: float = Field(1.0, gt=0)
    micro_batch_tokens: int = Field(4096, ge=1)

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of update number ``step`` (0-based) of ``steps``."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, done))))


class Learner:
    """Owns a model's optimiser: a policy's, or a critic's.

    Where ``torch.distributed`` is initialised every rank is given the same batch and works on its share of the rows;
    gradients are summed, not averaged, because the weights already hold the global denominators.
    """

    def __init__(self, forward: Forward, config: OptimConfig, *, steps: int) -> None:
        self.forward, self.model, self.config, self.steps = forward, forward.model, config, steps
        # Dropout would make the trainer's log-probabilities differ from the sampler's.
        self.model.eval()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        decay = [p for p in trainable if p.ndim >= 2]
        plain = [p for p in trainable if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        self.updates = 0

    def measure(self, batch: Batch, forward: Forward | None = None) -> Outputs:
        """What the model, or another, says of every response token; no gradients."""
        return measure(forward or self.forward, batch, self.config.micro_batch_tokens)

    def restart(self) -> None:
        """Forget the optimiser's moments; the schedule goes on."""
        self.optimizer.state.clear()

    def update(self, batch: Batch, algorithm: Algorithm, state: State | None = None) -> dict[str, float | bool]:
        """One optimiser update on one batch whose credit is assigned.

        The update is refused, and reported as ``skipped``, when the loss or the gradient norm is not finite: the
        weights and the optimiser are then untouched.

        Returns loss, grad_norm (before clipping), lr, skipped, update_tokens, what the objective logs, and, where the
        batch has the sampler's log-probs, the statistics of :class:`Mismatch`.
        """
        algorithm.weigh(batch)
        live = batch.rows(algorithm.active(batch).nonzero().flatten())
        sums, mismatch = {"loss": 0.0, "update_tokens": 0.0}, Mismatch()
        self.optimizer.zero_grad(set_to_none=True)
        mine = _share(live)
        for rows_K in token_cuts(mine, self.config.micro_batch_tokens):
            micro = mine.rows(rows_K)
            micro_on = micro.to(self.model.device)
            outputs = self.forward(micro)
            loss, logged = algorithm.objective(outputs, micro_on, state or {})
            loss.backward()
            sums["loss"] += loss.item()
            sums["update_tokens"] += sum(map(len, micro.prompts)) + len(micro.row_S)
            for name, value in logged.items():
                sums[name] = sums.get(name, 0.0) + value.item()
            if outputs.logp_S is not None and micro_on.logp_roll_S is not None:
                mismatch.add(outputs.logp_S.detach(), micro_on.logp_roll_S)
        sums = self._over_ranks(sums)

        norm, lr = 0.0, self.config.lr_at(self.updates, self.steps)
        if len(live):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip).item()
        finite = math.isfinite(sums["loss"]) and math.isfinite(norm)
        if finite and len(live):
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
            # The fused optimiser changes parameters without leaving a trace; engines look for one.
            torch.autograd.graph.increment_version([p for p in self.model.parameters() if p.requires_grad])
        self.updates += 1
        self.optimizer.zero_grad(set_to_none=True)
        return {**sums, "grad_norm": norm, "lr": lr, "skipped": not finite, **mismatch.summary()}

    def _over_ranks(self, sums: dict[str, float]) -> dict[str, float]:
        """Add up gradients and logged sums over the ranks, if there are any."""
        if not distributed.is_initialized():
            return sums
        for parameter in (p for p in self.model.parameters() if p.requires_grad):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
        gathered: list[dict[str, float]] = [{}] * distributed.get_world_size()
        distributed.all_gather_object(gathered, sums)
        names = dict.fromkeys(name for each in gathered for name in each)
        return {name: sum(each.get(name, 0.0) for each in gathered) for name in names}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the optimiser's moments to ``folder/optimizer.safetensors``; return the counters to keep beside."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        tensors = {
            f"{names[id(p)]}.{key}": value.contiguous()
            for p, state in self.optimizer.state.items()
            for key, value in state.items()
        }
        save_file(tensors, folder / "optimizer.safetensors")
        return {"updates": self.updates}

    def load(self, folder: Path, counters: dict[str, Any]) -> None:
        """Restore what :meth:`save` wrote. The model's weights are the caller's to load."""
        tensors = load_file(folder / "optimizer.safetensors")
        for name, parameter in self.model.named_parameters():
            keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"{name}.{key}" in tensors]
            if keys:
                self.optimizer.state[parameter] = {key: tensors[f"{name}.{key}"].to(parameter.device) for key in keys}
        self.updates = counters["updates"]


def _share(batch: Batch) -> Batch:
    """The rows of this rank: a run of units in the order of their groups, so that most prompts stay on one rank."""
    if not distributed.is_initialized():
        return batch
    order_U = batch.group_N[:: batch.unit].argsort(stable=True)
    mine_U = order_U.tensor_split(distributed.get_world_size())[distributed.get_rank()]
    return batch.rows((batch.unit * mine_U[:, None] + torch.arange(batch.unit)).flatten())


class Mismatch:
    """How far the trainer's log-probs are from the sampler's, over the tokens of one update before it is applied.

    With x = logp_trainer - logp_sampler and w = exp(x): ``mismatch_k1`` = mean(-x) and ``mismatch_k3`` =
    mean(w - 1 - x) estimate KL(sampler || trainer) in nats per token; ``ess`` = (sum w)^2 / (n sum w^2) is the
    effective sample size as a share (1 when on-policy); ``ratio_max`` is the largest w.
    """

    def __init__(self) -> None:
        self.count, self.k1, self.k3, self.w, self.w2, self.top = 0, 0.0, 0.0, 0.0, 0.0, 0.0

    def add(self, logp_S: Tensor, logp_roll_S: Tensor) -> None:
        x_S = (logp_S - logp_roll_S).double()
        w_S = x_S.exp()
        self.count += len(x_S)
        self.k1 -= x_S.sum().item()
        self.k3 += (w_S - 1 - x_S).sum().item()
        self.w += w_S.sum().item()
        self.w2 += (w_S**2).sum().item()
        self.top = max(self.top, w_S.max().item())

    def summary(self) -> dict[str, float]:
        """The four statistics; empty when no token was added."""
        if not self.count:
            return {}
        return {
            "mismatch_k1": self.k1 / self.count,
            "mismatch_k3": self.k3 / self.count,
            "ess": self.w**2 / (self.count * self.w2),
            "ratio_max": self.top,
        }
