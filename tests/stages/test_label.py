from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError, Interrupted
from reckon.core.records import Problem, Verdict
from reckon.core.store import read_jsonl, write_jsonl
from reckon.engine.base import Completion, Request, Sampling
from reckon.engine.native import NativeEngine
from reckon.models.load import end_ids, load_model
from reckon.models.steps import MICRO_STEPS
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler
from reckon.stages import label
from reckon.stages.label import label_to_file, read_responses
from reckon.tasks.base import Task
from reckon.tasks.registry import build_task


class Ends(Task):
    """A response is right if it ends with ``yes.``; nobody can judge one that ends with ``?``."""

    kind = "ends"

    def problems(self, split: str) -> Sequence[Problem]:
        return []

    def verify(self, problem: Problem, response: str) -> Verdict:
        return Verdict(None if response.endswith("no. no.") else float(response.endswith("yes.")))


class Scripted:
    """Continues with what its script says for the request's text and turn."""

    def __init__(self, tokenizer: Any, script: dict[str, list[str]]) -> None:
        self.tokenizer, self.script, self.asked = tokenizer, script, list[Request]()

    def generate(self, requests: Sequence[Request], *rest: Any) -> list[Completion]:
        self.asked += requests
        turns: dict[str, int] = {}
        made = []
        for request in requests:
            text = self.tokenizer.decode(request.prompt_ids).split("Assistant:")[1]
            turn = turns[text] = turns.get(text, -1) + 1
            made.append(Completion(request.id, self.tokenizer(self.script[text][turn])["input_ids"]))
        return made


def row(number: int, response: str, finish: str = "stop") -> dict[str, Any]:
    return {
        "id": f"m:p{number}:0",
        "problem": f"p{number}",
        "question": f"Make {number} from 1, 2.",
        "gold": json.dumps({"nums": [1, 2], "target": number}),
        "response": response,
        "finish": finish,
    }


def sampler(engine: Any, task: Task, limit: int = 24) -> Sampler:
    _, tokenizer = load_model("micro")
    sampling = Sampling(limit, 1.0, stop_ids=(tokenizer.eos_token_id,))
    return Sampler(task, engine, tokenizer, PromptTemplate("micro"), sampling)


def test_a_label_is_the_share_of_completions_that_are_right(tmp_path: Path) -> None:
    _, tokenizer = load_model("micro")
    first, second, last = " 1 + 2 = 3,", " 3 + 1 = 4,", " no. yes."
    script = {first: [" yes.", " no.", " no. no."], first + second: [" no.", " no. no.", " no."]}
    engine = Scripted(tokenizer, script)
    [made] = label_to_file(
        tmp_path / "l.jsonl", sampler(engine, Ends()), [row(3, first + second + last)], MICRO_STEPS, 3, 0
    )
    # After the first step one of two that could be judged is right, after the second neither of two, and it itself is.
    assert made["labels"] == [0.5, 0.0, 1.0]
    assert made["steps"] == [first, second, last]
    assert (made["id"], made["problem"], made["finish"]) == ("m:p3:0", "p3", "stop")
    assert made["question"] == "Make 3 from 1, 2."
    assert made["generated"] == sum(len(tokenizer(text)["input_ids"]) for texts in script.values() for text in texts)
    assert len({request.seed for request in engine.asked}) == 6
    used = len(tokenizer(first)["input_ids"])
    assert [request.sampling.max_new_tokens for request in engine.asked[:3]] == [24 - used] * 3


def test_what_cannot_be_judged_has_no_label(tmp_path: Path) -> None:
    _, tokenizer = load_model("micro")
    engine = Scripted(tokenizer, {" 1 + 2 = 3,": [" no. no."]})
    rows = [row(3, " 1 + 2 = 3, no. no."), row(4, " yes.", "length")]
    made = label_to_file(tmp_path / "l.jsonl", sampler(engine, Ends()), rows, MICRO_STEPS, 1, 0)
    assert [each["labels"] for each in made] == [[None, None], [1.0]]


def test_a_beginning_as_long_as_a_response_may_be_is_judged_as_it_is(tmp_path: Path) -> None:
    _, tokenizer = load_model("micro")
    first, second, last = " 1 + 2 = 3,", " 3 + 1 = 4,", " yes."
    limit = len(tokenizer(first + second)["input_ids"])
    engine = Scripted(tokenizer, {first: [" yes.", " no."]})
    asker = sampler(engine, Ends(), limit)
    [made] = label_to_file(tmp_path / "l.jsonl", asker, [row(3, first + second + last)], MICRO_STEPS, 2, 0)
    assert made["labels"] == [0.5, 0.0, 1.0]
    assert len(engine.asked) == 2


def test_an_interrupted_stage_ends_with_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label, "ROWS_PER_CHUNK", 2)
    model, tokenizer = load_model("micro")
    asker = sampler(NativeEngine(model, tokenizer), build_task({"kind": "countdown", "numbers": 3}), limit=28)
    assert asker.sampling.stop_ids == end_ids(model, tokenizer)
    rows = [row(n, f" <think> 1 + 2 = 3, 3 + {n} = {n + 3}, no.") for n in range(1, 6)]
    whole = label_to_file(tmp_path / "whole.jsonl", asker, rows, MICRO_STEPS, 2, 0)
    assert [each["id"] for each in whole] == [each["id"] for each in rows]
    told: list[int] = []

    def check() -> None:
        if told[-1] >= 2:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        label_to_file(tmp_path / "cut.jsonl", asker, rows, MICRO_STEPS, 2, 0, check=check, progress=told.append)
    assert told == [0, 2]
    # A kill in the middle of a write leaves some rows of a chunk, and labels depend on no other row.
    write_jsonl(tmp_path / "cut.jsonl", read_jsonl(tmp_path / "cut.jsonl")[:1])
    label_to_file(tmp_path / "cut.jsonl", asker, rows, MICRO_STEPS, 2, 0)
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_only_responses_are_labelled(tmp_path: Path) -> None:
    rows = [row(1, " yes."), row(2, " "), row(3, " no.", "cancelled"), row(4, " no.", "length")]
    write_jsonl(tmp_path / "s.jsonl", rows)
    assert [each["problem"] for each in read_responses([str(tmp_path / "s.jsonl")])] == ["p1", "p4"]
    write_jsonl(tmp_path / "pairs.jsonl", [{"question": "?", "chosen": "a", "rejected": "b"}])
    with pytest.raises(DataError, match="a row has no id"):
        read_responses([str(tmp_path / "pairs.jsonl")])
