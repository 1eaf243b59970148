from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError, Interrupted
from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.seeds import seed_for
from reckon.core.store import append_jsonl, read_jsonl
from reckon.engine.base import Completion, Request, Sampling
from reckon.evals.metrics import judged, passes
from reckon.evals.runner import evaluate_to_file, summarise
from reckon.evals.samples import read_samples
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler, judge
from reckon.tasks.base import Task

PROBLEMS = [Problem(name, f"{name}?", name) for name in ("a", "b", "c")]
SEED = 7


class Echo(Task):
    """A response is right if it answers with the problem's id."""

    kind = "echo"

    def problems(self, split: str) -> Sequence[Problem]:
        return PROBLEMS

    def verify(self, problem: Problem, response: str) -> Verdict:
        answer = response.partition("<answer>")[2].partition("</answer>")[0].strip()
        return Verdict(float(answer == problem.gold), extracted=answer or None)


class Script:
    """An engine whose response to a request is a function of its prompt and seed, so of nothing else."""

    version = 3

    def __init__(self, respond: Callable[[str, int], str], fail_after: int | None = None) -> None:
        self.respond, self.fail_after = respond, fail_after
        self.requests: list[Request] = []

    def generate(self, requests: Sequence[Request], check: Any = None, on_token: Any = None) -> list[Completion]:
        completions = []
        for request in requests:
            if self.fail_after is not None and len(self.requests) >= self.fail_after:
                raise Interrupted("stopped")
            self.requests.append(request)
            text = self.respond("".join(map(chr, request.prompt_ids)), request.seed)
            ids = [ord(c) for c in text]
            finish = "length" if "<answer>" not in text else "stop"
            completions.append(Completion(request.id, ids, [-0.5] * len(ids), finish, self.version, 0.25))
        return completions


class Characters:
    """A tokenizer whose ids are code points."""

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))


RIGHT = {(p.id, s): s < n for p, n in zip(PROBLEMS, (0, 2, 4), strict=True) for s in range(4)}
BY_SEED = {seed_for(SEED, "eval", *key): key for key in RIGHT}


def respond(prompt: str, seed: int) -> str:
    problem, sample = BY_SEED[seed]
    assert prompt == f"{problem}?"
    if RIGHT[problem, sample]:
        return f"<think> wait, no, {problem} </think> <answer> {problem} </answer>"
    return "不对" if sample == 3 else f"<answer> x{sample} </answer>"


def run(engine: Script, path: Path) -> list[Rollout]:
    sampler = Sampler(Echo(), engine, Characters(), PromptTemplate("{question}"), Sampling(max_new_tokens=8))
    return evaluate_to_file(path, sampler, PROBLEMS, 4, SEED)


@pytest.fixture
def rollouts(tmp_path: Path) -> list[Rollout]:
    return run(Script(respond), tmp_path / "samples.jsonl")


def test_samples_come_by_problem_then_number(rollouts: list[Rollout]) -> None:
    assert [(r.problem.id, r.sample) for r in rollouts] == list(RIGHT)
    assert rollouts[4].response == "<think> wait, no, b </think> <answer> b </answer>"
    assert rollouts[4].verdict == Verdict(1.0, extracted="b")


def test_summary_worked_by_hand(rollouts: list[Rollout]) -> None:
    summary = summarise(rollouts)
    assert list(summary) == [
        *("task", "problems", "samples", "pass@1", "pass@k", "cons@k", "mean_tokens"),
        *("truncated", "reflections", "format", "language", "han", "absent"),
    ]
    assert (summary["task"], summary["problems"], summary["samples"], summary["absent"]) == ("echo", 3, 4, 0)
    assert summary["pass@1"]["value"] == pytest.approx(0.5)
    assert 0.0 < summary["pass@1"]["low"] < 0.5 < summary["pass@1"]["high"] < 1.0
    # problem b: 2 of 4 pass; of the 6 pairs 5 hold a pass
    assert summary["pass@k"] == pytest.approx({"1": 0.5, "2": (0 + 5 / 6 + 1) / 3, "4": 2 / 3})
    # b votes {b, b, x2, silent}; pairs: bb, 2 x b-x2 (tie), 2 x b-silent, x2-silent -> (1 + 1 + 2) / 6
    assert summary["cons@k"] == pytest.approx({"1": 0.5, "2": (0 + 4 / 6 + 1) / 3, "4": 2 / 3})
    assert summary["truncated"] == pytest.approx(2 / 12)
    assert summary["han"] == pytest.approx(2 / 12)
    assert summary["format"] == pytest.approx(6 / 12)
    assert summary["reflections"] == pytest.approx((6 * 2 + 2 * 1) / 12)


def test_a_verifier_that_raises_is_absent_not_wrong(rollouts: list[Rollout]) -> None:
    class Broken(Echo):
        def verify(self, problem: Problem, response: str) -> Verdict:
            if problem.id == "a":
                raise ZeroDivisionError("oops")
            return super().verify(problem, response)

    again = judge(rollouts, Broken())
    assert again[0].verdict == Verdict(None, "the verifier raised ZeroDivisionError: oops")
    summary = summarise(again)
    assert (summary["problems"], summary["absent"]) == (3, 4)
    assert summary["pass@1"]["value"] == pytest.approx(0.75)


def test_rescoring_changes_verdicts_only(rollouts: list[Rollout]) -> None:
    class Strict(Echo):
        def verify(self, problem: Problem, response: str) -> Verdict:
            return Verdict(0.0, "too strict")

    after = judge(rollouts, Strict())
    assert {r.verdict.score for r in after if r.verdict} == {0.0}
    assert [r.response for r in after] == [r.response for r in rollouts]
    assert sum(map(passes, judged(rollouts)["b"])) == 2, "the rollouts given are left as they are"


def test_a_killed_evaluation_continues_to_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reckon.evals.runner.REQUESTS_PER_CHUNK", 4)
    whole, path = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    expected = run(Script(respond), whole)
    with pytest.raises(Interrupted):
        run(Script(respond, fail_after=9), path)
    assert len(read_jsonl(path)) == 8
    with path.open("a") as file:
        file.write('{"task": "ec')
    engine = Script(respond)
    continued = run(engine, path)
    assert len(engine.requests) == 4, "only what was missing"
    key = [(r.problem.id, r.sample, r.response, r.verdict) for r in expected]
    assert [(r.problem.id, r.sample, r.response, r.verdict) for r in continued] == key
    assert [(r.problem.id, r.sample, r.response, r.verdict) for r in read_samples(path)] == key
    again = Script(respond)
    assert len(run(again, path)) == 12
    assert not again.requests


def test_joined_files_count_a_response_once(rollouts: list[Rollout], tmp_path: Path) -> None:
    path = tmp_path / "joined.jsonl"
    later = replace(rollouts[0], version=9)
    failed = replace(rollouts[1], finish="error", response="", verdict=Verdict(None, "generation: no"))
    append_jsonl(path, [r.to_dict() for r in [failed, *rollouts, *rollouts, later]])
    read = read_samples(path)
    assert len(read) == len(rollouts) + 1, "the same sample of other weights is another"
    assert failed not in read
    assert summarise(read[:-1]) == summarise(rollouts)


def test_failed_requests_are_absent_and_nothing_else(rollouts: list[Rollout]) -> None:
    failed = replace(rollouts[0], sample=9, finish="error", response="", response_ids=[], verdict=Verdict(None, "no"))
    summary, before = summarise([*rollouts, failed]), summarise(rollouts)
    assert (summary.pop("absent"), before.pop("absent")) == (1, 0)
    assert (summary.pop("samples"), before.pop("samples")) == (5, 4)
    assert summary == before


def test_problems_with_one_id_are_refused(tmp_path: Path) -> None:
    sampler = Sampler(Echo(), Script(respond), Characters(), PromptTemplate("{question}"), Sampling(max_new_tokens=8))
    with pytest.raises(DataError, match="1 of 4 problems have the id of another"):
        evaluate_to_file(tmp_path / "samples.jsonl", sampler, [*PROBLEMS, PROBLEMS[0]], 4, SEED)
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 1}\n')
    with pytest.raises(DataError, match=r"x\.jsonl, row 1: not a rollout"):
        read_samples(path)


@pytest.mark.parametrize("score", [7, -1, math.nan])
def test_a_stored_score_that_is_none_is_the_files_fault(score: float, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = Rollout("echo", PROBLEMS[0], 0, "", [], "", [], [], "stop", 0, verdict=Verdict(1.0)).to_dict()
    path.write_text(json.dumps(row | {"verdict": {**row["verdict"], "score": score}}) + "\n")
    with pytest.raises(DataError, match=r"x\.jsonl, row 1: not a rollout .*score is between 0 and 1"):
        read_samples(path)


def test_nothing_judged_is_an_error_not_a_zero() -> None:
    with pytest.raises(DataError, match="no sample has a score"):
        summarise([])
    unjudged = Rollout("echo", PROBLEMS[0], 0, "", [], "", [], [], "stop", 0, verdict=Verdict(None, "broken"))
    with pytest.raises(DataError, match=r"not one of 1 responses could be judged; the first: broken.*`reckon check`"):
        summarise([unjudged])
    failed = replace(unjudged, finish="error", verdict=Verdict(None, "generation: HTTP 404"))
    with pytest.raises(DataError, match="not one of 2 requests was answered; the first: generation: HTTP 404") as told:
        summarise([failed, failed])
    assert "the same command again" in str(told.value)
    assert "reckon check" not in str(told.value)
