"""The learner: one batch in, one optimiser update out. It knows no algorithm by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor

from reckon.algorithms.batch import Batch
from reckon.core.config import Strict
from reckon.learn.forward import decoder_of, micro_batches, response_logp


class Algorithm(Protocol):
    """What the learner asks of an algorithm; see :mod:`reckon.algorithms.grpo` for the meaning of each."""

    @property
    def minibatches(self) -> int: ...
    @property
    def needs(self) -> frozenset[str]: ...
    def credit(self, batch: Batch) -> None: ...
    def weigh(self, batch: Batch) -> None: ...
    def active(self, batch: Batch) -> Tensor: ...
    def objective(self, logp_S: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]: ...


class OptimConfig(Strict):
    """AdamW and its schedule.

    Attributes:
        lr: peak learning rate, reached after ``warmup_steps`` updates.
        schedule: ``constant``, or ``cosine`` down to a tenth of ``lr`` at the last step.
        grad_clip: largest gradient norm; longer gradients are scaled down to it.
        micro_batch_tokens: tokens, padding included, of one forward and backward pass; bounds the memory.
    """

    lr: float = Field(1e-6, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
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
    """Owns the model and the optimiser.

    ``temperature`` is the sampling temperature of the rollouts: trainer log-probabilities must use the same.
    """

    def __init__(self, model: Any, config: OptimConfig, *, steps: int, temperature: float = 1.0) -> None:
        self.model, self.config, self.steps, self.temperature = model, config, steps, temperature
        self.decoder, self.head = decoder_of(model)
        # Dropout would make the trainer's log-probabilities differ from the sampler's.
        model.eval()
        decay = [p for p in model.parameters() if p.ndim >= 2]
        plain = [p for p in model.parameters() if p.ndim < 2]
        groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
        self.updates = 0

    @torch.no_grad()
    def logp(self, batch: Batch, decoder: Any = None, head: Any = None) -> Tensor:
        """Log-probability of every response token [S] under the model, or under another decoder and head."""
        decoder, head = decoder or self.decoder, head or self.head
        logp_S = torch.empty(len(batch.row_S))
        for rows_K, micro in micro_batches(batch, self.config.micro_batch_tokens):
            member_S = torch.zeros(len(batch), dtype=torch.long).index_fill_(0, rows_K, 1)[batch.row_S].bool()
            values = response_logp(decoder, head, micro, self.temperature).cpu()
            # Micro-batches come sorted by length; put their tokens back in the batch's own order.
            back = torch.argsort(rows_K)
            pieces = values.split(micro.length_N.tolist())
            logp_S[member_S] = torch.cat([pieces[int(k)] for k in back])
        return logp_S

    def update(self, batch: Batch, algorithm: Algorithm) -> dict[str, float | bool]:
        """One optimiser update on one batch whose credit is assigned.

        The update is refused, and reported as ``skipped``, when the loss or the gradient norm is not finite: the
        weights and the optimiser are then untouched.

        Returns loss, grad_norm (before clipping), lr, skipped, update_tokens, what the objective logs (means under the
        batch's weights) and, where the batch has the sampler's log-probs, the statistics of :class:`Mismatch`.
        """
        for column in algorithm.needs:
            batch.need(column)
        algorithm.weigh(batch)
        total = batch.need("weight_S").sum().item() or 1.0
        live = batch.rows(algorithm.active(batch).nonzero().flatten())
        loss, tokens, logged, mismatch = 0.0, 0, dict[str, float](), Mismatch()
        self.optimizer.zero_grad(set_to_none=True)
        for _, micro in micro_batches(live, self.config.micro_batch_tokens):
            micro_on = micro.to(self.model.device)
            logp_S = response_logp(self.decoder, self.head, micro, self.temperature)
            part, sums = algorithm.objective(logp_S, micro_on)
            part.backward()
            loss += part.item()
            tokens += sum(map(len, micro.prompts)) + len(micro.row_S)
            for name, value in sums.items():
                logged[name] = logged.get(name, 0.0) + value.item()
            if micro_on.logp_old_S is not None:
                mismatch.add(logp_S.detach(), micro_on.logp_old_S)

        norm = (
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip).item() if len(live) else 0.0
        )
        lr = self.config.lr_at(self.updates, self.steps)
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite and len(live):
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        self.updates += 1
        self.optimizer.zero_grad(set_to_none=True)
        return {
            "loss": loss,
            "grad_norm": norm,
            "lr": lr,
            "skipped": not finite,
            "update_tokens": tokens,
            **{name: value / total for name, value in logged.items()},
            **mismatch.summary(),
        }

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


class Mismatch:
    """How far the trainer's log-probs are from the sampler's, over the tokens of one update before it is applied.

    With x = logp_trainer - logp_sampler and w = exp(x): ``mismatch_k1`` = mean(-x) and ``mismatch_k3`` =
    mean(w - 1 - x) estimate KL(sampler || trainer) in nats per token; ``ess`` = (sum w)^2 / (n sum w^2) is the
    effective sample size as a share (1 when on-policy); ``ratio_max`` is the largest w.
    """

    def __init__(self) -> None:
        self.count, self.k1, self.k3, self.w, self.w2, self.top = 0, 0.0, 0.0, 0.0, 0.0, 0.0

    def add(self, logp_S: Tensor, logp_old_S: Tensor) -> None:
        x_S = (logp_S - logp_old_S).double()
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
