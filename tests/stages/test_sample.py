from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError, Interrupted
from reckon.core.store import read_jsonl, write_jsonl
from reckon.engine.base import Request, Sampling
from reckon.engine.native import NativeEngine
from reckon.models.load import end_ids, load_model
from reckon.models.steps import MICRO_STEPS
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler
from reckon.search.build import SearchConfig, build_search
from reckon.search.sampler import SearchSampler
from reckon.stages import sample
from reckon.stages.sample import Shots, figures_of, sample_to_file
from reckon.tasks.registry import build_task

MIX = {
    "kind": "mix",
    "parts": [{"task": {"kind": "countdown", "numbers": 3}}, {"task": {"kind": "arithmetic"}}],
}


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    model, tokenizer = load_model("micro")
    sampling = Sampling(24, 1.0, stop_ids=end_ids(model, tokenizer))
    return Sampler(build_task(MIX), NativeEngine(model, tokenizer), tokenizer, PromptTemplate("micro"), sampling)


def test_rows_have_the_same_types_whatever_the_task(sampler: Sampler, tmp_path: Path) -> None:
    problems = sampler.task.problems("train")[:4]
    rows = sample_to_file(tmp_path / "s.jsonl", sampler, problems, 2, 0, "micro")
    assert [(row["task"], row["sample"]) for row in rows] == [
        (kind, number) for kind in ("countdown", "arithmetic") * 2 for number in (0, 1)
    ]
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert [json.loads(row["gold"]) for row in rows] == [problem.gold for problem in problems for _ in range(2)]
    assert len({row["id"] for row in rows}) == len(rows) == 8
    assert read_jsonl(tmp_path / "s.jsonl") == rows


def test_an_interrupted_stage_ends_with_the_same_file(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "REQUESTS_PER_CHUNK", 4)
    problems = sampler.task.problems("train")[:6]
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    sample_to_file(whole, sampler, problems, 2, 0, "micro")
    told: list[int] = []

    def check() -> None:
        if told and told[-1] >= 4:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        sample_to_file(cut, sampler, problems, 2, 0, "micro", check=check, progress=told.append)
    assert told == [0, 4]
    # A kill in the middle of a write leaves some rows of a chunk.
    write_jsonl(cut, read_jsonl(cut)[:3])
    sample_to_file(cut, sampler, problems, 2, 0, "micro")
    assert cut.read_bytes() == whole.read_bytes()


def test_worked_examples_stand_before_the_problem_and_not_in_the_row(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = sampler.task.problems("train")[:3]
    examples = [{"question": problem.question, "response": f" worked {n}."} for n, problem in enumerate(problems)]
    write_jsonl(tmp_path / "shots.jsonl", examples)
    shown: list[str] = []
    generate: Callable[..., Any] = sampler.engine.generate

    def spy(requests: Sequence[Request], *rest: Any) -> Any:
        shown.extend(sampler.tokenizer.decode(request.prompt_ids) for request in requests)
        return generate(requests, *rest)

    monkeypatch.setattr(sampler.engine, "generate", spy)
    shots = Shots(data=str(tmp_path / "shots.jsonl"), count=2)
    rows = sample_to_file(tmp_path / "s.jsonl", sampler, problems, 1, 0, "micro", shots=shots)
    for number, (prompt, row, problem) in enumerate(zip(shown, rows, problems, strict=True)):
        assert prompt.endswith(f"\n\n{row['prompt']}")
        assert prompt.count(problem.question) == 1
        assert sorted(int(n) for n in (0, 1, 2) if f" worked {n}." in prompt) == [n for n in range(3) if n != number]


def test_too_few_worked_examples_are_refused(sampler: Sampler, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "shots.jsonl", [{"question": "a", "response": "b"}, {"text": "c"}])
    shots = Shots(data=str(tmp_path / "shots.jsonl"), count=1)
    with pytest.raises(DataError, match="1 worked examples are too few"):
        sample_to_file(tmp_path / "s.jsonl", sampler, sampler.task.problems("train")[:1], 1, 0, "m", shots=shots)


def search(sampler: Sampler, method: str = "rebase", budget: int = 96) -> SearchSampler:
    config = SearchConfig.model_validate(
        {"method": {"kind": method}, "scorer": "confidence", "budget": budget, "steps": MICRO_STEPS.model_dump()}
    )
    return build_search(config, sampler)


def test_a_search_gives_rows_like_any_other_and_says_what_it_cost(sampler: Sampler, tmp_path: Path) -> None:
    problems = sampler.task.problems("train")[:3]
    plain = sample_to_file(tmp_path / "plain.jsonl", sampler, problems, 2, 0, "micro")
    rows = sample_to_file(tmp_path / "found.jsonl", search(sampler, budget=300), problems, 2, 0, "micro")
    assert [row["id"] for row in rows] == [row["id"] for row in plain]
    cost = ["generated", "prefill", "scored", "responses"]
    assert {tuple(row) for row in rows} == {(*plain[0], *cost)}
    assert all(type(row[name]) is type(plain[0][name]) for row in rows for name in ("tokens", "score", "question"))
    # Several responses of up to 24 tokens were paid; the row has the one that was chosen.
    assert all(row["tokens"] <= 24 < row["generated"] <= 300 and row["responses"] >= 2 for row in rows)
    assert figures_of(rows)["generated_tokens"] == sum(row["generated"] for row in rows)
    assert figures_of(plain)["generated_tokens"] == sum(row["tokens"] for row in plain)


def test_an_interrupted_search_ends_with_the_same_file(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two searches of four responses each; a write has no fewer responses in it than without a search, and no more.
    monkeypatch.setattr(sample, "REQUESTS_PER_CHUNK", 16)
    problems = sampler.task.problems("train")[:4]
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    sample_to_file(whole, search(sampler, "mcts"), problems, 2, 0, "micro")
    told: list[int] = []

    def check() -> None:
        if told[-1] >= 4:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        sample_to_file(cut, search(sampler, "mcts"), problems, 2, 0, "micro", check=check, progress=told.append)
    assert told == [0, 4]
    write_jsonl(cut, read_jsonl(cut)[:3])
    sample_to_file(cut, search(sampler, "mcts"), problems, 2, 0, "micro")
    assert cut.read_bytes() == whole.read_bytes()


def test_worked_examples_stand_before_a_search_too(
    sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = sampler.task.problems("train")[:1]
    write_jsonl(tmp_path / "shots.jsonl", [{"question": f"q{n}", "response": " worked."} for n in range(3)])
    shown: list[str] = []
    submit: Callable[..., None] = sampler.engine.submit

    def spy(requests: Sequence[Request]) -> None:
        shown.extend(sampler.tokenizer.decode(request.prompt_ids) for request in requests)
        submit(requests)

    monkeypatch.setattr(sampler.engine, "submit", spy)
    shots = Shots(data=str(tmp_path / "shots.jsonl"), count=2)
    [row] = sample_to_file(tmp_path / "s.jsonl", search(sampler), problems, 1, 0, "micro", shots=shots)
    assert all(prompt.count(" worked.") == 2 and row["prompt"] in prompt for prompt in shown)
    assert "worked" not in row["prompt"]
