"""The in-process engine: continuous batching on the learner's own weights, for any Hugging Face causal LM.

Running requests occupy the rows 0..R-1 of one batch. A step feeds each row its newest token, samples the next one and
drops the rows that ended, the last rows moving into their places. A new request's prompt but its last token is
prefilled, once for all requests with the same prompt; its last token then is the row's first step.

Shape suffixes: U prompts, T tokens, R rows, V vocabulary.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reckon.core.errors import ConfigError
from reckon.core.records import FinishReason
from reckon.engine.base import Completion, Engine, Request
from reckon.engine.compiled import CompiledDecoder
from reckon.engine.decoder import Decoder
from reckon.engine.direct import DirectDecoder
from reckon.engine.general import GeneralDecoder
from reckon.engine.plain import structure
from reckon.engine.requests import Limits
from reckon.engine.sampling import sample, streams, uniforms
from reckon.engine.stopping import StopMatcher
from reckon.engine.threads import one_thread

_Key = TypeVar("_Key", bound=Hashable)

_ADMIT_SHARE = 16
"""Under load, requests are admitted when 1/16 of the rows are free: a prefill of 1 costs much the same as one of 16."""

_DRAWN = 32
"""Random numbers drawn at once for each row: drawing them costs a dozen operations, however many they are."""

_SCORED_LOGITS = 2**27
"""Logits held at once while scoring: 512 MB in fp32."""

_FEW_LOGITS = 2**20
"""Logits of which one thread samples."""


@dataclass(slots=True)
class _Running:
    """A request in the queue or in a row. ``watch``: the token ids that may end it; ``length``: tokens so far."""

    request: Request
    watch: frozenset[int]
    length: int
    submitted: float
    completion: Completion


class _RowState:
    """What the device knows of each row: the token to feed and its position, and how to sample the next one."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self._integers = torch.zeros(3, rows, dtype=torch.long, device=device)
        self._reals = torch.zeros(2 + _DRAWN, rows, device=device)
        self.token, self.position, self._stream = self._integers
        self.temperature, self.top_p = self._reals[:2]
        self._ahead = torch.arange(_DRAWN, device=device)
        self._left = 0

    def fill(self, first: int, running: Sequence[_Running]) -> None:
        """Set the rows from ``first`` on to the start of these requests."""
        requests = [one.request for one in running]
        rows, device = slice(first, first + len(requests)), self.token.device
        integers = [[one.prompt_ids[-1], len(one.prompt_ids) - 1, one.seed & (2**63 - 1)] for one in requests]
        reals = [[one.sampling.temperature, one.sampling.top_p] for one in requests]
        self._integers[:, rows] = torch.tensor(integers, device=device).T
        self._reals[:2, rows] = torch.tensor(reals, device=device).T
        self._stream[rows] = streams(self._stream[rows])
        self._left = 0

    def advance(self, rows: int) -> Tensor:
        """Move the first ``rows`` rows on by one position; a uniform number each for the token that goes there."""
        self.position[:rows] += 1
        drawn = self._reals[2:, :rows]
        if self._left == 0:
            drawn[:] = uniforms(self._stream[:rows], self.position[:rows] + self._ahead[:, None])
            self._left = _DRAWN
        self._left -= 1
        return drawn[-1 - self._left]

    def move(self, source: Sequence[int], target: Sequence[int]) -> None:
        """Copy rows ``source`` over rows ``target``."""
        source_R, target_R = (torch.tensor(rows, device=self.token.device) for rows in (source, target))
        for tensor in (self._integers, self._reals):
            tensor[:, target_R] = tensor[:, source_R]


class NativeEngine(Engine):
    """Generates with ``model`` as it is at each step: weights updated in place are the weights served.

    The model is called in inference mode with attention of the engine's own, both switched back after every call, so a
    learner may train it in between. Random numbers are a function of the request's seed and the token's position, and
    no row attends to another, so a request's tokens do not depend on its batch mates (up to the rounding of matrix
    products, whose order of summation may depend on the batch size). One thread at a time.

    Args:
        tokenizer: decodes for stop strings.
        max_running: requests generated at the same time; the others wait.
        max_context: prompt and response tokens of one request; default the model's own limit.
        prefill_tokens: prompt tokens of one forward; a longer prompt goes alone.

    Raises:
        ConfigError: for a model without a key-value cache or with attention the engine cannot replace.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_running: int = 256,
        max_context: int | None = None,
        prefill_tokens: int = 8192,
    ) -> None:
        self.version = 0
        self._model = model
        config = model.config.get_text_config()
        limit: int = getattr(config, "max_position_embeddings", None) or sys.maxsize
        if max_running < 1 or prefill_tokens < 1 or not 1 < (max_context or limit) <= limit:
            raise ConfigError(
                f"engine settings out of range: max_running {max_running}, prefill_tokens {prefill_tokens}, "
                f"max_context {max_context}",
                fix=f"Give positive numbers, and a max_context of at most {limit}, the model's own",
            )
        self._max_running, self._prefill_tokens = max_running, prefill_tokens
        self.max_context = max_context or limit
        self._limits = Limits(self.max_context, model.get_input_embeddings().weight.shape[0])
        self._stops = StopMatcher(tokenizer)
        self._device = model.device
        self._state = _RowState(max_running, model.device)
        self._general = GeneralDecoder(model, max_running, self.max_context)
        self._structure: tuple[object, ...] = ()
        self._decoder: Decoder = self._general
        self._waiting: deque[_Running] = deque()
        self._rows: list[_Running] = []

    def submit(self, requests: Sequence[Request]) -> None:
        self._limits.validate(requests, [one.request.id for one in (*self._waiting, *self._rows)])
        now = time.perf_counter()
        self._waiting.extend(
            _Running(request, self._stops.watch(request.sampling), len(request.prompt_ids), now, Completion(request.id))
            for request in requests
        )

    @torch.inference_mode()
    def poll(self) -> list[Completion]:
        self._admit()
        return self._step() if self._rows else []

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        wanted = set(ids)
        ended = [one for one in self._waiting if one.request.id in wanted]
        self._waiting = deque(one for one in self._waiting if one.request.id not in wanted)
        rows = [row for row, one in enumerate(self._rows) if one.request.id in wanted]
        ended += [self._rows[row] for row in rows]
        with torch.inference_mode():
            self._free(rows)
        return [self._ended(one, "cancelled") for one in ended]

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        if temperature <= 0:
            raise ConfigError(f"scoring needs a temperature above 0, not {temperature}")
        for prompt, response in zip(prompts, responses, strict=True):
            self._limits.check_text(prompt, response)
        budget = min(self._prefill_tokens, max(1, _SCORED_LOGITS // self._limits.vocabulary))
        scores: list[list[float]] = [[] for _ in responses]
        texts = {
            index: [*prompt, *response]
            for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
            if len(response) > 0
        }
        decoder = self._pick()
        decoder.refresh()
        for batch in _micro_batches({index: len(text) for index, text in texts.items()}, budget):
            ids_UT = self._padded([texts[index] for index in batch])
            logp_UT = self._teacher_forced(decoder, ids_UT, temperature).tolist()
            for index, logp_T in zip(batch, logp_UT, strict=True):
                start = len(prompts[index]) - 1
                scores[index] = logp_T[start : start + len(responses[index])]
        return scores

    def _teacher_forced(self, decoder: Decoder, ids_UT: Tensor, temperature: float) -> Tensor:
        """[U, T-1] log-probabilities of every token but the first given those before it; padding gets numbers too."""
        logits_UTV = decoder.logits(ids_UT[:, :-1])
        logp_UTV = torch.log_softmax(logits_UTV.float() / temperature, dim=-1)
        return logp_UTV.gather(2, ids_UT[:, 1:, None])[:, :, 0]

    def _pick(self) -> Decoder:
        """The first of our own forwards that may stand for the model's, else the model."""
        if self._structure != (found := structure(self._model)):
            kinds = (CompiledDecoder, DirectDecoder)
            self._own = [kind(self._model, self._max_running, self.max_context) for kind in kinds]
            self._structure = found
        return next((decoder for decoder in self._own if decoder.serves(self._general)), self._general)

    def _admit(self) -> None:
        """Move waiting requests into free rows and prefill their prompts."""
        free = self._max_running - len(self._rows)
        if not self._waiting or free < min(len(self._waiting), max(1, self._max_running // _ADMIT_SHARE)):
            return
        if not self._rows:
            self._decoder = self._pick()
        self._decoder.refresh()
        groups: dict[tuple[int, ...], list[_Running]] = {}
        for _ in range(min(free, len(self._waiting))):
            one = self._waiting.popleft()
            one.completion.version = self.version
            groups.setdefault(tuple(one.request.prompt_ids), []).append(one)
        for batch in _micro_batches({prompt: len(prompt) for prompt in groups}, self._prefill_tokens):
            self._prefill(batch, [groups[prompt] for prompt in batch])

    def _prefill(self, prompts: list[tuple[int, ...]], members: list[list[_Running]]) -> None:
        """Append ``members`` to the rows, with the keys and values of their prompts' tokens but the last."""
        first = len(self._rows)
        for group in members:
            self._rows += group
        self._state.fill(first, self._rows[first:])
        length = max(map(len, prompts)) - 1
        if length:
            sources = [index for index, group in enumerate(members) for _ in group]
            source_R = torch.tensor(sources, device=self._device)
            self._decoder.prefill(self._padded([prompt[:-1] for prompt in prompts]), first, source_R)

    def _step(self) -> list[Completion]:
        """One token for every row."""
        state, count = self._state, len(self._rows)
        samplings, lengths = [one.request.sampling for one in self._rows], [one.length for one in self._rows]
        logits_RV = self._decoder.decode(state.token[:count], state.position[:count], min(lengths), max(lengths))
        tempered = any(sampling.temperature != 1 for sampling in samplings)
        nucleus = any(sampling.top_p < 1 for sampling in samplings)
        few = logits_RV.device.type == "cpu" and logits_RV.numel() <= _FEW_LOGITS
        with one_thread() if few else nullcontext():
            token_R, logp_R = sample(
                logits_RV,
                state.advance(count),
                state.temperature[:count] if tempered else None,
                state.top_p[:count] if nucleus else None,
            )
        state.token[:count] = token_R
        return self._record(token_R.tolist(), logp_R.tolist())

    def _record(self, tokens: list[int], logps: list[float]) -> list[Completion]:
        """Write a step's tokens down and free the rows that ended."""
        ended: dict[int, Completion] = {}
        for row, (one, token, logp) in enumerate(zip(self._rows, tokens, logps, strict=True)):
            completion, sampling = one.completion, one.request.sampling
            completion.token_ids.append(token)
            completion.logp.append(logp)
            one.length += 1
            if token in one.watch and self._stops.ends(sampling, completion.token_ids):
                ended[row] = self._ended(one, "stop")
            elif len(completion.token_ids) == sampling.max_new_tokens:
                ended[row] = self._ended(one, "length")
        if self.on_token is not None:
            for one, token in zip(self._rows, tokens, strict=True):
                self.on_token(one.request.id, token)
        self._free(list(ended))
        return list(ended.values())

    def _ended(self, one: _Running, finish: FinishReason) -> Completion:
        one.completion.finish = finish
        one.completion.seconds = time.perf_counter() - one.submitted
        return one.completion

    def _free(self, ended: Sequence[int]) -> None:
        """Drop rows; the last rows move into the gaps, so that the running ones stay a prefix."""
        if not ended:
            return
        left = len(self._rows) - len(ended)
        gaps = [row for row in ended if row < left]
        if gaps:
            movers = sorted(set(range(left, len(self._rows))).difference(ended))
            self._decoder.move(movers, gaps, max(self._rows[row].length for row in movers))
            self._state.move(movers, gaps)
            for mover, gap in zip(movers, gaps, strict=True):
                self._rows[gap] = self._rows[mover]
        del self._rows[left:]

    def _padded(self, texts: Sequence[Sequence[int]]) -> Tensor:
        length = max(map(len, texts))
        return torch.tensor([[*text, *[0] * (length - len(text))] for text in texts], device=self._device)


def _micro_batches(lengths: Mapping[_Key, int], budget: int) -> Iterator[list[_Key]]:
    """The keys in batches of similar lengths whose padded size stays within ``budget`` tokens (at least one each)."""
    batch: list[_Key] = []
    for key in sorted(lengths, key=lengths.__getitem__, reverse=True):
        if batch and lengths[batch[0]] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch
