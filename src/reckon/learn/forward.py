"""What a model says of a batch: of its response tokens, or of whole sequences (legend in algorithms/batch.py)."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reckon.algorithms.base import Outputs
from reckon.algorithms.batch import Batch
from reckon.core.errors import ConfigError
from reckon.learn.packing import Layout, decode_for, token_cuts
from reckon.models.value import ValueModel

LOGITS_PER_CHUNK = 1 << 25
"""At most this many logits exist at once: with a vocabulary of 150k they, not the model, would fill the memory."""


SCORING_TOKENS = 16384
"""Tokens of one forward pass where nothing is trained."""


class Forward(Protocol):
    """A model as the learner sees it: a micro-batch in, what it says of it out; differentiable."""

    model: Any

    def __call__(self, batch: Batch) -> Outputs: ...


class Policy:
    """A causal language model: log-probabilities at ``temperature``, and entropies if ``entropy``; float32 at least.

    Raises ConfigError when the model does more than apply its output layer to its decoder (e.g. soft-capped logits),
    because log-probabilities computed here would then differ from the model's own.
    """

    def __init__(self, model: Any, temperature: float = 1.0, *, entropy: bool = False) -> None:
        self.model, self.temperature, self.entropy = model, temperature, entropy
        self._decoder, self._head = model.get_decoder(), model.get_output_embeddings()
        with torch.no_grad():
            probe = torch.arange(2, 6, device=model.device)[None]
            logits = self._head(self._decoder(input_ids=probe)[0])
            same = torch.allclose(logits, model(input_ids=probe).logits, rtol=1e-3, atol=1e-3)
        if not same:
            raise ConfigError(
                f"{type(model).__name__} changes its logits after the output layer",
                why="Training would use log-probabilities that are not the model's",
                fix="Use an architecture with a plain output layer, such as Qwen2, Qwen3 or Llama",
            )
        self._decode = decode_for(self._decoder)

    def __call__(self, batch: Batch) -> Outputs:
        layout = Layout.of(batch, self.model.device)
        hidden_SD = self._decode(self._decoder, layout).index_select(0, layout.before_S)
        target_S = torch.tensor([token for response in batch.responses for token in response], device=self.model.device)
        chunk = max(1, LOGITS_PER_CHUNK // len(cast(Tensor, self._head.weight)))
        if len(target_S) <= chunk:
            return Outputs(*self._read(hidden_SD, target_S))
        pieces = [
            checkpoint(self._read, hidden, target, use_reentrant=False)
            for hidden, target in zip(hidden_SD.split(chunk), target_S.split(chunk), strict=True)
        ]
        logps, entropies = zip(*pieces, strict=True)
        return Outputs(torch.cat(logps), torch.cat(entropies) if self.entropy else None)

    def _read(self, hidden_SD: Tensor, target_S: Tensor) -> tuple[Tensor, Tensor | None]:
        logits_SV = _precise(self._head(hidden_SD))
        if self.temperature != 1.0:
            logits_SV = logits_SV / self.temperature
        logp_S = -nn.functional.cross_entropy(logits_SV, target_S, reduction="none")
        if not self.entropy:
            return logp_S, None
        # log Z - E[logits]: what -sum(p log p) is, without a second pass over the logarithms.
        mean_S = (logits_SV.softmax(-1) * logits_SV).sum(-1)
        return logp_S, logits_SV.logsumexp(-1) - mean_S


class Value:
    """A critic: its estimate of the return before every response token."""

    def __init__(self, model: ValueModel) -> None:
        self.model = model
        self._decode = decode_for(model.decoder)

    def __call__(self, batch: Batch) -> Outputs:
        layout = Layout.of(batch, self.model.device)
        hidden_SD = self._decode(self.model.decoder, layout).index_select(0, layout.before_S)
        return Outputs(value_S=_precise(self.model.head(hidden_SD)[:, 0]))


class Reward:
    """A reward model (models/reward.py): its score of each sequence, by its head at the last token."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._decode = decode_for(model.base_model)

    def __call__(self, batch: Batch) -> Outputs:
        layout = Layout.of(batch, self.model.device, whole=True)
        hidden_ND = self._decode(self.model.base_model, layout).index_select(0, layout.last_N)
        return Outputs(score_N=_precise(self.model.score(hidden_ND)[:, 0]))


class Process:
    """A process reward model: what its head says at each response token; step ends are where it is trained."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._decode = decode_for(model.base_model)

    def __call__(self, batch: Batch) -> Outputs:
        layout = Layout.of(batch, self.model.device, whole=True)
        hidden_SD = self._decode(self.model.base_model, layout).index_select(0, layout.own_S)
        return Outputs(score_S=_precise(self.model.score(hidden_SD)[:, 0]))


class Implicit:
    """A language model as a reward model: beta * (log pi - log ref), summed up to each token and over each sequence.

    If the sums over whole sequences are trained to be log-odds of being right, those over their beginnings say how
    promising these are (arXiv 2412.01981, proposition 3.1).

    Args:
        reference: what the model was before its training; frozen.
    """

    def __init__(self, policy: Policy, reference: Policy, beta: float) -> None:
        self.model, self._policy, self._reference, self._beta = policy.model, policy, reference, beta

    def __call__(self, batch: Batch) -> Outputs:
        with torch.no_grad():
            reference_S = self._reference(batch).need("logp_S")
        gain_S = self._beta * (self._policy(batch).need("logp_S") - reference_S)
        end_N = batch.length_N.cumsum(0)
        # Over all sequences at once, so in float64: what came before each is taken off again.
        sum_S = gain_S.double().cumsum(0)
        before_N = nn.functional.pad(sum_S, (1, 0))[end_N - batch.length_N]
        score_S = (sum_S - before_N[batch.row_S]).to(gain_S.dtype)
        return Outputs(score_N=score_S[end_N - 1], score_S=score_S)


def _precise(value: Tensor) -> Tensor:
    """At least float32: a log-probability or a value in bfloat16 would have three digits."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


@torch.no_grad()
def measure(forward: Forward, batch: Batch, token_budget: int = SCORING_TOKENS) -> Outputs:
    """What the model says of a whole batch, on the CPU and without gradients."""
    columns: dict[str, Tensor] = {}
    token_S = torch.arange(len(batch.row_S))
    pieces = token_S.split(batch.length_N.tolist())
    for rows_K in token_cuts(batch, token_budget):
        place_S = torch.cat([pieces[row] for row in rows_K.tolist()])
        for name, values in vars(forward(batch.rows(rows_K))).items():
            if values is not None:
                per_row = name.endswith("_N")
                column = columns.setdefault(name, torch.empty(len(batch if per_row else token_S), dtype=values.dtype))
                column[rows_K if per_row else place_S] = values.cpu()
    return Outputs(**columns)
