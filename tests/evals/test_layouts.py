"""Samples as others store them: small files in their layouts, read, judged, and written back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.store import read_jsonl, write_jsonl
from reckon.evals.choices import LABEL
from reckon.evals.export import export
from reckon.evals.figures import figures, labelled, merged
from reckon.evals.samples import read_samples
from reckon.rollout.sample import judge
from reckon.tasks.math import MathTask

MATH = MathTask(MathTask.Config())
DATA = Path(os.environ.get("RECKON_DATA") or Path(__file__).parents[3] / "shared" / "data")


def lm_eval_row(**more: Any) -> dict[str, Any]:
    """As lm-eval 0.4.13 writes it."""
    return {
        "doc_id": 0,
        "doc": {"question": "What is 1 + 1?", "answer": "so\n#### 2"},
        "target": "2",
        "arguments": {"gen_args_0": {"arg_0": "Question: What is 1 + 1?\nAnswer:", "arg_1": {"until": ["Question:"]}}},
        "resps": [["It is \\boxed{2}."]],
        "filtered_resps": ["2"],
        "filter": "strict-match",
        "metrics": ["exact_match"],
        "doc_hash": "d",
        "prompt_hash": "p",
        "target_hash": "t",
        "exact_match": 1.0,
        **more,
    }


def lighteval_row(dunder: bool = False, **response: Any) -> dict[str, Any]:
    """As lighteval 0.13 writes it, or with the names of versions before."""
    row = {
        "doc": {"query": "Solve: 1 + 1", "choices": ["2"], "gold_index": 0, "id": "0", "task_name": "toy"},
        "metric": {"pass@k:k=1&n=1": 0.0},
        "model_response": {"text": ["\\boxed{3}"], "output_tokens": [[5, 6, 7]], "input_tokens": [1], **response},
    }
    return {f"__{name}__": value for name, value in row.items()} if dunder else row


def details(path: Path, *rows: dict[str, Any]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def test_lm_eval_s_samples_are_read_once_per_document(tmp_path: Path) -> None:
    path = tmp_path / "samples_gsm8k_2025-01-01T00-00-00.000000.jsonl"
    write_jsonl(path, [lm_eval_row(), lm_eval_row(filter="flexible-extract"), lm_eval_row(doc_id=1, exact_match=0.0)])
    first, second = read_samples(path)
    assert (first.problem.question, first.problem.gold, first.response) == ("What is 1 + 1?", "2", "It is \\boxed{2}.")
    assert (first.prompt, first.verdict, first.length) == ("Question: What is 1 + 1?\nAnswer:", None, None)
    assert [first.parts[LABEL], second.parts[LABEL]] == [1.0, 0.0]
    assert [r.verdict and r.verdict.reason for r in judge([first, second], MATH)] == ["correct", "correct"]


def test_the_thinking_that_lm_eval_cut_off_is_read_where_it_was_kept(tmp_path: Path) -> None:
    # It keeps the text after the last </think>: of thinking that never ended, all of it, boxes included.
    path = tmp_path / "samples.jsonl"
    cut = "<think> maybe \\boxed{2}, or"
    write_jsonl(path, [lm_eval_row(resps=[["maybe \\boxed{2}, or"]], raw_resps=[[cut]])])
    (rollout,) = judge(read_samples(path), MATH)
    assert rollout.response == cut
    assert rollout.verdict == Verdict(0.0, "truncated", None, {"kind": "number", "by": "extraction"})


def test_repeats_have_no_label_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [lm_eval_row(resps=[["\\boxed{2}", "\\boxed{3}"]], exact_match=1.0)])
    rollouts = read_samples(path)
    assert [(r.sample, r.parts) for r in rollouts] == [(0, {}), (1, {})]


def test_a_chat_s_prompt_is_its_last_turn(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    turns = json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": "Add."}])
    write_jsonl(path, [lm_eval_row(arguments={"gen_args_0": {"arg_0": turns}}, doc={})])
    (rollout,) = read_samples(path)
    assert (rollout.prompt, rollout.problem.question) == ("Add.", "Add.")


def test_log_likelihoods_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [lm_eval_row(resps=[[["-1.5", "False"]], [["-2.5", "True"]]])])
    with pytest.raises(DataError, match="log-likelihoods of options"):
        read_samples(path)


def test_documents_without_a_question_are_not_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [lm_eval_row(doc_id=number, doc={}, arguments={}) for number in (0, 1)])
    with pytest.raises(DataError, match=r"row 1: the row has no question and no prompt"):
        read_samples(path)


@pytest.mark.parametrize("dunder", [False, True])
def test_lighteval_s_details(dunder: bool, tmp_path: Path) -> None:
    (rollout,) = read_samples(details(tmp_path / "details_toy_2025.parquet", lighteval_row(dunder)))
    assert (rollout.problem.question, rollout.problem.gold, rollout.response) == ("Solve: 1 + 1", "2", "\\boxed{3}")
    assert (rollout.usage, rollout.length, rollout.parts) == ({"response": 3}, 3, {LABEL: 0.0})


def test_lighteval_s_reasoning_and_its_rows_of_text(tmp_path: Path) -> None:
    row = lighteval_row(reasonings=["hm"])
    told = details(tmp_path / "a.parquet", row)
    text = details(tmp_path / "b.parquet", {name: str(value) for name, value in row.items()})
    for path in (told, text):
        (rollout,) = read_samples(path)
        assert rollout.response == "<think>hm</think>\\boxed{3}"
    with pytest.raises(DataError, match="no readable 'doc'"):
        read_samples(details(tmp_path / "c.parquet", {"doc": "open('x')"}))


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("doc", {"gold_index": 3}, "no gold answer"),
        ("doc", {"query": None}, "no query"),
        ("model_response", {"text": "a"}, "no generated text"),
        ("model_response", {"text": [None]}, "no generated text"),
        ("model_response", {"text": ["a", "b"], "reasonings": ["x"]}, "1 reasonings for 2 texts"),
    ],
)
def test_what_lighteval_would_not_have_written(section: str, change: dict[str, Any], says: str, tmp_path: Path) -> None:
    row = lighteval_row()
    with pytest.raises(DataError, match=says):
        read_samples(details(tmp_path / "a.parquet", {**row, section: {**row[section], **change}}))


def test_a_table_of_responses(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    row = {
        "problem": "1 + 1?",
        "answer": "2",
        "responses": ["\\boxed{2}", "no"],
        "correct": [True, False],
        "rm": [0.5, -2],
    }
    write_jsonl(path, [row])
    rollouts = read_samples(path)
    assert [r.parts for r in rollouts] == [{LABEL: 1.0, "rm": 0.5}, {LABEL: 0.0, "rm": -2.0}]
    write_jsonl(path, [{**row, "rm": [0.5]}])
    with pytest.raises(DataError, match="'rm' has 1 values for 2 responses"):
        read_samples(path)
    for bad in ({"responses": ["a"]}, {**row, "responses": []}, {**row, "responses": [1, 2]}):
        write_jsonl(path, [bad])
        with pytest.raises(DataError, match="needs a question, a gold answer"):
            read_samples(path)
    write_jsonl(path, [row, {"problem": "1 + 2?", "answer": "3"}])
    with pytest.raises(DataError, match="row 2: the row is not in the layout of the first one"):
        read_samples(path)


def test_problems_have_the_names_that_the_task_gives_them(tmp_path: Path) -> None:
    rows = [{"problem": " What is 1 + 1? ", "answer": "2"}]
    write_jsonl(tmp_path / "problems.jsonl", rows)
    write_jsonl(tmp_path / "table.jsonl", [{**rows[0], "responses": ["2"]}])
    (problem,) = MathTask(MathTask.Config(heldout=str(tmp_path / "problems.jsonl"))).problems("heldout")
    assert read_samples(tmp_path / "table.jsonl")[0].problem == problem


def test_a_failed_sample_gives_way_to_a_later_one(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    base: dict[str, Any] = {"task": "toy", "prompt": "", "prompt_ids": [], "response_ids": [], "logp": [], "seed": 0}
    problem = Problem("a", "?", None)

    def row(sample: int, response: str, finish: Any) -> dict[str, Any]:
        return Rollout(**base, problem=problem, sample=sample, response=response, finish=finish).to_dict()

    write_jsonl(path, [row(0, "", "error"), row(1, "", "error"), row(1, "again", "error"), row(0, "got it", "stop")])
    assert [(r.sample, r.response) for r in read_samples(tmp_path)] == [(1, "again"), (0, "got it")]


def test_an_empty_file_has_no_samples(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(DataError, match="no samples"):
        read_samples(tmp_path / "x.jsonl")


# ------------------------------------------------------------------------------------------------- and back


def judged(tmp_path: Path) -> list[Rollout]:
    path = tmp_path / "table.jsonl"
    write_jsonl(
        path, [{"problem": f"{n} + 1?", "answer": str(n + 1), "responses": ["\\boxed{2}", "no"]} for n in (1, 2)]
    )
    return judge(read_samples(path), MATH)


@pytest.mark.parametrize("layout", ["lm-eval", "lighteval"])
def test_what_is_exported_reads_back(layout: str, tmp_path: Path) -> None:
    rollouts = judged(tmp_path)
    path = export(layout, rollouts, tmp_path, "org/model")
    again = read_samples(path)
    assert [(r.problem, r.sample, r.response) for r in again] == [(r.problem, r.sample, r.response) for r in rollouts]


def test_exports_lie_where_their_tools_look(tmp_path: Path) -> None:
    rollouts = judged(tmp_path)
    samples = export("lm-eval", rollouts, tmp_path, "org/model")
    assert samples.parent == tmp_path / "org__model"
    # The task is between the first and the last underscore, the date after it.
    head, task, _date = samples.stem.split("_")
    assert (head, task) == ("samples", "math")
    assert set(lm_eval_row()) <= set(read_jsonl(samples)[0])
    path = export("lighteval", rollouts, tmp_path, "org/model")
    assert path.parent.parent == tmp_path / "details" / "org__model"
    assert path.name == f"details_math|0_{path.parent.name}.parquet"
    row = pyarrow.parquet.read_table(path).to_pylist()[0]
    assert set(row) == {"doc", "metric", "model_response"}
    # What the constructor of its ModelResponse takes.
    assert set(row["model_response"]) <= {"input", "input_tokens", "text", "output_tokens"}
    with pytest.raises(ConfigError, match="no layout 'inspect'"):
        export("inspect", rollouts, tmp_path, "m")


def test_a_label_that_is_no_share_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps({"problem": "?", "answer": "1", "responses": ["1"], "correct": [2]}) + "\n")
    with pytest.raises(DataError, match=r"row 1: the column correct holds 2"):
        read_samples(path)


# --------------------------------------------------------------------------------------------- real responses


def test_real_responses_by_their_labels_and_by_our_verifier() -> None:
    path = DATA / "math_samples" / "math100x8.jsonl"
    if not path.exists():
        pytest.skip("the data set math100x8 is not here (see RECKON_DATA)")
    rollouts = merged(judge(read_samples(path), MATH), MATH)
    told, ours = figures(labelled(rollouts)), figures(rollouts)
    assert round(told["pass@1"].value, 2) == 0.91
    assert told["pass@8"].value == pytest.approx(0.96)
    assert told["best@8 by reward_scores"].value == pytest.approx(0.94)
    for name in ("pass@1", "pass@8", "cons@8", "best@8 by reward_scores", "vote@8 by reward_scores"):
        assert told[name].problems == ours[name].problems == 100
        assert abs(told[name].value - ours[name].value) <= 0.03
