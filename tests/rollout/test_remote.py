"""Asking a server: a real one on this machine, which fails as it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Verdict
from reckon.core.store import read_jsonl
from reckon.engine import endpoint as module
from reckon.engine.base import Sampling
from reckon.engine.endpoint import Endpoint, EndpointConfig
from reckon.evals.figures import figures
from reckon.evals.runner import evaluate_to_file
from reckon.evals.samples import SAMPLES, read_samples
from reckon.rollout.remote import RemoteSampler
from reckon.tasks.base import Task
from tests.engine.endpoint_server import Json, chat, plain, serving, status

pytest.importorskip("openai", reason="the extra `endpoint` is not installed")

PROBLEMS = [Problem(name, f"{name}?", name) for name in ("a", "b")]


class Echo(Task):
    """Right is a response that ends in the problem's id; thinking is not looked at."""

    kind = "echo"

    def problems(self, split: str) -> Sequence[Problem]:
        return PROBLEMS

    def verify(self, problem: Problem, response: str) -> Verdict:
        answer = response.rpartition("</think>")[2].strip() if "<think>" in response else response
        return Verdict(float(answer == problem.gold), extracted=answer if answer != response else None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def thought(body: Json) -> Json:
    question = body["messages"][-1]["content"]
    return chat(None) | {
        "choices": [{"message": {"content": question[0], "reasoning_content": "let me see"}, "finish_reason": "stop"}]
    }


def sampler(url: str, template: str = "chat", retries: int = 0) -> RemoteSampler:
    endpoint = Endpoint(EndpointConfig(base_url=url, model="judge", retries=retries, timeout_s=5.0, concurrency=2))
    return RemoteSampler(Echo(), endpoint, template, Sampling(16, 0.6, 0.95))


def test_rollouts_carry_the_reasoning_and_the_server_s_counts() -> None:
    with serving(thought) as server:
        rollouts = sampler(server.url).ask(PROBLEMS, 2, (0, "eval"))
    assert [(r.problem.id, r.sample) for r in rollouts] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    first = rollouts[0]
    assert (first.response, first.finish) == ("<think>let me see</think>a", "stop")
    assert (first.usage, first.length, first.response_ids) == ({"prompt": 7, "response": 3, "reasoning": 2}, 3, [])
    assert {r.verdict.score for r in rollouts if r.verdict} == {1.0}
    assert len({r.seed for r in rollouts}) == len({body["seed"] for body in server.bodies}) == 4
    assert {body["temperature"] for body in server.bodies} == {0.6}


def test_thinking_that_was_cut_off_stays_open() -> None:
    def cut(body: Json) -> Json:
        message = {"content": None, "reasoning_content": "a or b: \\boxed{a}"}
        return chat(None) | {"choices": [{"message": message, "finish_reason": "length"}]}

    with serving(cut) as server:
        (rollout,) = sampler(server.url).ask(PROBLEMS[:1], 1, (0, "eval"))
    assert (rollout.response, rollout.finish) == ("<think>a or b: \\boxed{a}", "length")
    assert rollout.verdict is not None
    assert rollout.verdict.score == 0.0


def test_a_text_template_is_continued() -> None:
    with serving(lambda body: plain(f" after {body['prompt']}")) as server:
        (rollout,) = sampler(server.url, "Q: {question} A:").ask(PROBLEMS[:1], 1, (0, "eval"))
    assert (rollout.prompt, rollout.response) == ("Q: a? A:", " after Q: a? A:")
    with pytest.raises(ConfigError, match="did you mean micro"):
        sampler(server.url, "micor")


def test_what_failed_is_absent_and_asked_again(tmp_path: Path) -> None:
    path = tmp_path / SAMPLES
    with serving(thought) as server:
        sampler(server.url).endpoint.complete_all([])
        server.faults = [status(500)]
        first = evaluate_to_file(path, sampler(server.url), PROBLEMS, 2, 0)
        (failed,) = [r for r in first if r.finish == "error"]
        assert failed.verdict is not None
        assert failed.verdict.score is None
        assert failed.verdict.reason.startswith("generation: ")
        assert len(failed.verdict.reason) > len("generation: "), "it says why"
        pass_at_1 = figures(first)["pass@1"]
        assert (pass_at_1.value, pass_at_1.problems) == (1.0, 2), "absent, not wrong"
        assert figures(first)["pass@2"].problems == 1, "and not made up for"
        asked = len(server.bodies)
        second = evaluate_to_file(path, sampler(server.url), PROBLEMS, 2, 0)
        assert len(server.bodies) == asked + 1, "only that one"
    assert {r.finish for r in second} == {"stop"}
    assert len(read_jsonl(path)) == 5, "append only"
    key: Any = lambda r: (r.problem.id, r.sample)  # noqa: E731
    assert sorted(read_samples(tmp_path), key=key) == second
