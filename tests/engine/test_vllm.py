"""vLLM for real, on the shipped model: its CPU build where there is no GPU. Skipped where it is not installed."""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reckon.core.errors import ConfigError
from reckon.engine.base import Request, Sampling
from reckon.engine.native import NativeEngine
from reckon.engine.vllm import VllmEngine
from reckon.models.load import end_ids, load_model
from reckon.models.template import PromptTemplate
from reckon.tasks.registry import build_task

pytest.importorskip("vllm", reason="vLLM is not installed; docs/vllm.md says how")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROBLEMS = 32


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    return load_model("micro")


@pytest.fixture(scope="module")
def engine(loaded: tuple[Any, Any]) -> VllmEngine:
    return VllmEngine(*loaded, kv_cache_gb=0.5)


@pytest.fixture(scope="module")
def native(loaded: tuple[Any, Any]) -> NativeEngine:
    return NativeEngine(*loaded)


@pytest.fixture(scope="module")
def ask(loaded: tuple[Any, Any]) -> Callable[..., list[Request]]:
    """Countdown prompts as requests: ``ask(max_new_tokens, temperature, top_p)``."""
    model, tokenizer = loaded
    problems = build_task({"kind": "countdown"}).problems("heldout")[:PROBLEMS]
    prompts = [PromptTemplate("micro").render(problem.question, tokenizer)[1] for problem in problems]

    def make(*sampling: Any, stop: tuple[str, ...] = (), ends: bool = True) -> list[Request]:
        settings = Sampling(*sampling, stop=stop, stop_ids=end_ids(model, tokenizer) if ends else ())
        return [Request(index, prompt, settings, seed=index) for index, prompt in enumerate(prompts)]

    return make


def held_gb() -> float:
    """Memory where vLLM has its cache."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated() / 2**30
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def test_a_dropped_engine_frees_its_memory_and_leaves_the_others_at_work(
    loaded: tuple[Any, Any], native: NativeEngine, ask: Any
) -> None:
    """The first test, because what would hold on to the first engine of a process holds on to no other."""
    asked = ask(30, 0.0)
    expected = [one.token_ids for one in native.generate(asked)]

    def started() -> VllmEngine:
        engine = VllmEngine(*loaded, kv_cache_gb=1.0)
        assert [one.token_ids for one in engine.generate(asked)] == expected
        return engine

    first = started()
    alive = [weakref.ref(first._vllm)]
    before = held_gb()
    for _ in range(2):
        another = started()
        alive.append(weakref.ref(another._vllm))
        assert held_gb() - before > 0.9
        del another
        assert held_gb() - before < 0.2
    assert [one.token_ids for one in first.generate(asked)] == expected
    del first
    assert held_gb() - before < -0.8
    gc.collect()
    assert [engine() for engine in alive] == [None, None, None]
    started()


def test_greedy_text_is_the_native_engines(engine: VllmEngine, native: NativeEngine, ask: Any) -> None:
    asked = ask(200, 0.0)
    ours, theirs = native.generate(asked), engine.generate(asked)
    assert [one.token_ids for one in theirs] == [one.token_ids for one in ours]
    assert [one.finish for one in theirs] == [one.finish for one in ours]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logps_are_the_trainers(engine: VllmEngine, native: NativeEngine, ask: Any, temperature: float) -> None:
    asked = ask(120, temperature)
    done = engine.generate(asked)
    expected = native.score([one.prompt_ids for one in asked], [one.token_ids for one in done], temperature)
    assert sum(len(one.token_ids) for one in done) > 500
    for one, logp in zip(done, expected, strict=True):
        assert one.logp == pytest.approx(logp, abs=1e-4)


def test_score_is_the_native_engines(engine: VllmEngine, native: NativeEngine, ask: Any) -> None:
    asked = ask(40, 1.0)
    texts = [one.prompt_ids for one in asked], [one.token_ids for one in native.generate(asked)]
    for ours, theirs in zip(native.score(*texts), engine.score(*texts), strict=True):
        assert theirs == pytest.approx(ours, abs=1e-4)
    with pytest.raises(ConfigError, match="temperature 1 only"):
        engine.score(*texts, temperature=0.5)


def test_a_text_that_cannot_be_scored_leaves_no_other_behind(engine: VllmEngine, ask: Any) -> None:
    short, long = ask(1, 1.0)[0].prompt_ids, ask(1, 1.0)[1].prompt_ids * 2
    with pytest.raises(ConfigError, match="the prompt is empty"):
        engine.score([short, short, []], [[1], [1], [1]])
    assert [len(logp) for logp in engine.score([long], [[1, 2]])] == [2]


def test_the_seed_decides(engine: VllmEngine, ask: Any) -> None:
    first, again = engine.generate(ask(60, 1.0)), engine.generate(ask(60, 1.0))
    other = engine.generate([Request(r.id, r.prompt_ids, r.sampling, seed=r.seed + 1) for r in ask(60, 1.0)])
    assert [one.token_ids for one in again] == [one.token_ids for one in first]
    assert [one.token_ids for one in other] != [one.token_ids for one in first]


def test_stop_strings_end_at_the_token_that_completes_them(
    engine: VllmEngine, native: NativeEngine, ask: Any, loaded: tuple[Any, Any]
) -> None:
    asked = ask(200, 0.0, stop=("=",))
    ours, theirs = native.generate(asked), engine.generate(asked)
    assert [one.token_ids for one in theirs] == [one.token_ids for one in ours]
    ended = [loaded[1].decode(one.token_ids) for one in theirs if one.finish == "stop"]
    assert any(text.endswith("=") and text.count("=") == 1 for text in ended)


def test_length_ends_a_response(engine: VllmEngine, ask: Any) -> None:
    done = engine.generate(ask(5, 1.0, ends=False))
    assert {(len(one.token_ids), len(one.logp), one.finish) for one in done} == {(5, 5, "length")}


def test_cancel_returns_each_request_once(engine: VllmEngine, ask: Any) -> None:
    engine.submit(ask(100, 1.0, ends=False))
    for _ in range(5):
        engine.poll()
    (cancelled,) = engine.cancel([3])
    assert cancelled.finish == "cancelled"
    assert 0 < len(cancelled.token_ids) == len(cancelled.logp) < 100
    assert engine.cancel([3]) == []
    left = []
    while len(left) < PROBLEMS - 1:
        left += engine.poll()
    assert sorted(one.id for one in left) == [index for index in range(PROBLEMS) if index != 3]
    assert engine.poll() == []


def test_streaming_gives_every_token_in_order(engine: VllmEngine, ask: Any) -> None:
    seen: dict[int, list[int]] = {}
    done = engine.generate(ask(30, 1.0), on_token=lambda id_, token: seen.setdefault(id_, []).append(token))
    assert seen == {one.id: one.token_ids for one in done}


def test_weights_changed_in_place_are_the_weights_served(loaded: tuple[Any, Any], ask: Any) -> None:
    model, tokenizer = load_model("micro")
    engine, asked = VllmEngine(model, tokenizer, kv_cache_gb=0.5), ask(60, 0.0)
    before = engine.generate(asked)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    engine.version = 1
    after = engine.generate(asked)
    fresh = NativeEngine(model, tokenizer).generate(asked)
    assert [one.token_ids for one in after] != [one.token_ids for one in before]
    assert [one.token_ids for one in after] == [one.token_ids for one in fresh]
    assert {one.version for one in after} == {1}


def test_requests_that_cannot_be_served(engine: VllmEngine) -> None:
    with pytest.raises(ConfigError, match="exceed the context of 512 tokens"):
        engine.submit([Request(0, [1] * 500, Sampling(100))])
    with pytest.raises(ConfigError, match="the prompt is empty"):
        engine.submit([Request(0, [], Sampling(10))])
    with pytest.raises(ConfigError, match="exceed the context of 511 tokens"):
        engine.score([[1] * 500], [[1] * 12])
    assert engine.poll() == []


def test_a_cache_too_small_for_a_token_is_refused(loaded: tuple[Any, Any]) -> None:
    with pytest.raises(ConfigError, match=r"vLLM does not start.*kv_cache_gb"):
        VllmEngine(*loaded, kv_cache_gb=0.0001)


def test_a_run_trains_with_it(tmp_path: Path) -> None:
    """In a process of its own, as users run it; the weights that it samples from are those that it trains."""
    settings = [
        "engine.kind=vllm",
        "engine.kv_cache_gb=0.5",
        "steps=2",
        "eval.problems=8",
        "rollout.prompts_per_step=4",
    ]
    command = [sys.executable, "-m", "reckon", "run", "r1-zero", "--out", str(tmp_path / "run")]
    command += [word for setting in settings for word in ("--set", setting)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [json.loads(line) for line in (tmp_path / "run/stages/01-train/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["generated_tokens"] > 0
        assert not row["skipped"]
        assert math.isclose(row["ess"], 1.0, abs_tol=1e-4)
