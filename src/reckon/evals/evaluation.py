"""One evaluation: a model, a benchmark, and a folder that holds samples of these settings and no others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reckon.core.config import Strict, load_yaml, to_yaml
from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Rollout
from reckon.core.store import RunLock, file_digest, write_text
from reckon.engine.base import Sampling
from reckon.engine.build import EngineConfig, NativeConfig, build_engine
from reckon.engine.endpoint import Endpoint, EndpointConfig
from reckon.evals.benchmark import Benchmark
from reckon.evals.runner import evaluate_to_file
from reckon.evals.samples import SAMPLES
from reckon.evals.settings import SETTINGS, differences
from reckon.models.template import PromptTemplate
from reckon.rollout.remote import RemoteSampler
from reckon.rollout.sample import Asker, Sampler
from reckon.search.build import SearchConfig, build_search
from reckon.tasks.base import Task
from reckon.tasks.registry import resolved


class Server(Strict):
    """What of an endpoint decides what it answers."""

    base_url: str
    extra_body: dict[str, Any]


class EvalSettings(Strict):
    """What the samples of an evaluation depend on: kept beside them, so that they are never mixed with others.

    Attributes:
        model_version: sha256 of the model folder's files, or the hub's commit; None behind a server.
        benchmark: with the task's settings in full.
        plugin_digests: sha256 of each plugin file, in the order of the command line.
        problems: how many of the split's first problems; None for all.
        problems_digest: sha256 of what was asked and of the gold answers.
        made_with: versions; see :data:`reckon.evals.settings.RECORD`.
    """

    model: str
    model_version: str | None
    benchmark: Benchmark
    plugin_digests: list[str]
    problems: int | None
    problems_digest: str
    engine: EngineConfig
    endpoint: Server | None
    search: SearchConfig | None
    seed: int
    device: str
    dtype: str
    made_with: dict[str, str]


class Evaluation(Strict):
    """An evaluation as it is asked for.

    Attributes:
        model: a folder, a name on the hub, or ``micro``; behind a server None.
        endpoint: the server to ask, in the place of an engine.
    """

    model: str | None
    benchmark: Benchmark
    plugins: tuple[Path, ...] = ()
    problems: int | None = None
    engine: EngineConfig = NativeConfig()
    endpoint: EndpointConfig | None = None
    search: SearchConfig | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"

    def asked(self, task: Task) -> list[Problem]:
        """The problems, as the model is asked them."""
        return self.benchmark.asked(task.problems(self.benchmark.split)[: self.problems])

    def run(
        self,
        task: Task,
        problems: Sequence[Problem],
        out: Path,
        check: Callable[[], None],
        progress: Callable[[int], None],
    ) -> list[Rollout]:
        """Generate what the folder does not hold yet; returns all of it, in the order of problems, then samples.

        Raises:
            ConfigError: the model cannot be loaded or asked like this, or the folder holds an evaluation with other
                settings; nothing is written then.
            DataError: the folder's samples are damaged.
        """
        asker, model, model_version = self._asker(task)
        settings = EvalSettings(
            model=model,
            model_version=model_version,
            benchmark=self.benchmark.model_copy(update={"task": resolved(task)}),
            plugin_digests=[file_digest(path) for path in self.plugins],
            problems=self.problems,
            problems_digest=_digest(problems),
            engine=self.engine,
            endpoint=self.endpoint and Server(base_url=self.endpoint.base_url, extra_body=self.endpoint.extra_body),
            search=self.search,
            seed=self.seed,
            device=self.device,
            dtype=self.dtype,
            made_with={name: version(name) for name in ("reckon", "torch", "transformers")},
        )
        samples = self.benchmark.samples
        with RunLock(out / "lock"):
            _claim(out, settings)
            return evaluate_to_file(out / SAMPLES, asker, problems, samples, self.seed, check=check, progress=progress)

    def _asker(self, task: Task) -> tuple[Asker, str, str | None]:
        """Who answers, the model's name, and its version."""
        protocol = self.benchmark
        sampling = Sampling(protocol.max_new_tokens, protocol.temperature, protocol.top_p, protocol.stop)
        if self.endpoint is not None:
            if self.search is not None:
                raise ConfigError("a search needs the model's tokens, which an endpoint does not give", where="search")
            asker = RemoteSampler(task, Endpoint(self.endpoint), protocol.template, sampling)
            return asker, self.endpoint.model, None
        if self.model is None:
            raise ConfigError("an evaluation needs a model", fix="Give a model, or an endpoint to ask")
        from reckon.models.load import end_ids, load_model, model_version

        template = PromptTemplate(protocol.template)
        model, tokenizer = load_model(self.model, self.dtype, self.device)
        sampling = replace(sampling, stop_ids=end_ids(model, tokenizer))
        sampler = Sampler(task, build_engine(self.engine, model, tokenizer), tokenizer, template, sampling)
        searching = self.search and build_search(self.search, sampler, self.dtype, self.device)
        return searching or sampler, self.model, model_version(model)


def _claim(out: Path, wanted: EvalSettings) -> None:
    """Write the settings to a new folder; refuse one that holds samples of other settings."""
    path = out / SETTINGS
    if not path.exists():
        if (out / SAMPLES).exists():
            raise ConfigError(
                f"the folder holds {SAMPLES} but no {SETTINGS}", where=str(out), fix="Choose another --out"
            )
        write_text(path, to_yaml(wanted))
    elif changed := differences(load_yaml(path), wanted.model_dump(mode="json")):
        said = "; ".join(f"{name} is {there} there and {here} here" for name, (there, here) in changed.items())
        raise ConfigError(
            f"the folder holds an evaluation with other settings: {said}",
            where=str(path),
            why="Samples of both in one file could not be told apart",
            fix=f"Choose another --out; if only the verifier changed: reckon eval --samples {out} --task KIND",
        )


def _digest(problems: Sequence[Problem]) -> str:
    lines = [json.dumps(asdict(problem), sort_keys=True, default=str) for problem in problems]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
