"""The command from end to end, with a randomly initialised model and a task from a plugin file."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from typer.testing import CliRunner, Result

from reckon.cli import app
from reckon.cli.eval import SUMMARY
from reckon.core.config import load_yaml
from reckon.core.errors import ConfigError, DataError, Interrupted
from reckon.core.store import append_jsonl, read_jsonl
from reckon.evals import runner
from reckon.evals.samples import SAMPLES
from reckon.evals.settings import SETTINGS
from reckon.models.load import save_model
from tests.engine.endpoint_server import chat, serving, status

PLUGIN = """
from reckon.tasks import Problem, Task, TaskConfig, Verdict

class Letter(Task):
    kind = "letter"

    class Config(TaskConfig):
        letter: str = "e"

    def problems(self, split):
        return [Problem(str(n), f"Write {n} letters.", None) for n in range(6)]

    def verify(self, problem, response):
        return Verdict(float(self.config.letter in response), extracted=response[:1])
"""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command takes over the signals of the process; give them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level model that has learnt nothing."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"<end>": 256}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "max_position_embeddings": 128}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    folder = tmp_path_factory.mktemp("model")
    save_model(Qwen2ForCausalLM(Qwen2Config(vocab_size=257, **shape, **heads)), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "letter.py"
    path.write_text(PLUGIN)
    return path


def reckon(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def options(plugin: Path, out: Path) -> list[object]:
    return ["--task", "letter", "--plugin", plugin, "--samples", 4, "--max-new-tokens", 12, "--out", out]


def figures(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.exception
    row: dict[str, Any] = json.loads(result.stdout)
    return row


def test_json_is_one_object_with_the_keys_of_an_eval_event(model: Path, plugin: Path, tmp_path: Path) -> None:
    row = figures(reckon(model, *options(plugin, tmp_path), "--problems", 5, "--json"))
    assert list(row) == [
        *("event", "step", "time", "task", "split", "problems", "samples", "pass@1", "pass@k", "cons@k"),
        *("mean_tokens", "truncated", "reflections", "format", "language", "han", "absent", "kl_base", "samples_file"),
        *("responses", "figures", "labels"),
    ]
    assert (row["task"], row["split"], row["problems"], row["samples"]) == ("letter", "heldout", 5, 4)
    assert list(row["pass@k"]) == list(row["cons@k"]) == ["1", "2", "4"]
    assert row["pass@1"]["low"] <= row["pass@1"]["value"] <= row["pass@1"]["high"]
    samples = read_jsonl(tmp_path / SAMPLES)
    assert row["samples_file"] == str(tmp_path / SAMPLES)
    assert row["mean_tokens"] == sum(len(sample["response_ids"]) for sample in samples) / len(samples)
    assert json.loads((tmp_path / SUMMARY).read_text()) == row
    assert load_yaml(tmp_path / SETTINGS)["benchmark"]["samples"] == 4


def test_the_same_command_continues_and_repeats(model: Path, plugin: Path, tmp_path: Path) -> None:
    arguments = [model, *options(plugin, tmp_path), "--json"]
    first = figures(reckon(*arguments, "--set", "task.letter=e"))
    lines = (tmp_path / SAMPLES).read_text().splitlines(keepends=True)
    (tmp_path / SAMPLES).write_text("".join(lines[:9]) + lines[9][:50])
    second = figures(reckon(*arguments))
    assert {**second, "time": 0} == {**first, "time": 0}
    again = [sample["response_ids"] for sample in read_jsonl(tmp_path / SAMPLES)]
    assert again == [json.loads(line)["response_ids"] for line in lines]


def test_changed_settings_are_refused_with_the_difference(model: Path, plugin: Path, tmp_path: Path) -> None:
    figures(reckon(model, *options(plugin, tmp_path), "--json"))
    before = (tmp_path / SAMPLES).read_bytes()
    result = reckon(model, *options(plugin, tmp_path), "--temperature", 0.6, "--set", "task.letter=x")
    assert isinstance(result.exception, ConfigError)
    assert "temperature is 1.0 there and 0.6 here" in str(result.exception)
    assert "task.letter is e there and x here" in str(result.exception)
    assert (tmp_path / SAMPLES).read_bytes() == before


def test_stored_samples_are_judged_again_without_a_model(model: Path, plugin: Path, tmp_path: Path) -> None:
    row = figures(reckon(model, *options(plugin, tmp_path / "a"), "--json"))
    task = ["--task", "letter", "--plugin", plugin, "--samples", tmp_path / "a" / SAMPLES, "--json"]
    assert figures(reckon(*task))["pass@k"] == row["pass@k"]
    # Every text holds the empty letter.
    again = figures(reckon(*task, "--set", "task.letter=''", "--out", tmp_path / "b"))
    assert again["pass@1"]["value"] == 1.0
    assert {sample["verdict"]["score"] for sample in read_jsonl(tmp_path / "b" / SAMPLES)} == {1.0}
    assert again["mean_tokens"] == row["mean_tokens"]
    with_model = reckon(model, *task)
    assert isinstance(with_model.exception, ConfigError)


def test_people_get_a_table_and_the_next_command(model: Path, plugin: Path, tmp_path: Path) -> None:
    out = reckon(model, *options(plugin, tmp_path)).stdout
    assert "letter: 6 problems, 4 samples each" in out
    assert "95% interval" in out
    assert f"Samples: {tmp_path / SAMPLES}" in out
    assert out.rstrip().splitlines()[-1] == f"Next: reckon chat {model} --template micro"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--task", "letter"], ConfigError, "needs a model"),
        (["nowhere", "--task", "letter"], ConfigError, "needs --out DIR"),
        (["nowhere", "--task", "letter", "--out", "OUT"], DataError, "nowhere"),
        (["nowhere", "--task", "lettre", "--out", "OUT"], ConfigError, "did you mean 'letter'"),
        (["nowhere", "--task", "letter", "--set", "model=x", "--out", "OUT"], ConfigError, "task.KEY=VALUE"),
        (["nowhere", "--task", "letter", "--template", "micor", "--out", "OUT"], ConfigError, "did you mean micro"),
        (["--task", "letter", "--samples", "nothing.jsonl"], DataError, "nothing.jsonl"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], error: type[Exception], words: str, plugin: Path, tmp_path: Path
) -> None:
    result = reckon(*[str(tmp_path) if a == "OUT" else a for a in arguments], "--plugin", plugin)
    assert isinstance(result.exception, error)
    assert words in str(result.exception)
    assert not list(tmp_path.iterdir()), "nothing is written before all is known to be right"


def test_a_chat_in_a_pipe(model: Path) -> None:
    arguments = ["chat", str(model), "--max-new-tokens", "5", "--temperature", "0"]
    result = CliRunner().invoke(app, arguments, input="one\n\ntwo\n/quit\nthree\n")
    assert result.exit_code == 0, result.exception
    assert result.stderr.count("(cut off after 5 tokens)") == 2


def test_an_answer_ends_where_the_context_does(model: Path) -> None:
    result = CliRunner().invoke(app, ["chat", str(model)], input="one\n")
    assert result.exit_code == 0, result.exception
    prompt = "User: one\nAssistant:"
    assert f"(cut off after {128 - len(prompt)} tokens)" in result.stderr


def test_sigterm_keeps_what_was_done(
    model: Path, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append_then_stop(path: Path, rows: list[dict[str, Any]]) -> None:
        append_jsonl(path, rows)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runner, "REQUESTS_PER_CHUNK", 8)
    with monkeypatch.context() as patch:
        patch.setattr(runner, "append_jsonl", append_then_stop)
        result = reckon(model, *options(plugin, tmp_path))
    assert isinstance(result.exception, Interrupted)
    assert len(read_jsonl(tmp_path / SAMPLES)) == 8
    assert figures(reckon(model, *options(plugin, tmp_path), "--json"))["problems"] == 6
    assert len(read_jsonl(tmp_path / SAMPLES)) == 24


# ---------------------------------------------------------------------------------------- benchmarks, servers, files


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    append_jsonl(path, [{"problem": f"{n} + 1?", "answer": str(n + 1)} for n in range(3)])
    return path


def table(path: Path) -> Path:
    rows = [
        {
            "problem": f"{n} + 1?",
            "answer": str(n + 1),
            "responses": [f"\\boxed{{{n + 1}}}", "no"],
            "correct": [True, True],
        }
        for n in range(3)
    ]
    append_jsonl(path, rows)
    return path


def test_the_benchmarks_are_listed() -> None:
    result = reckon("--list")
    assert result.exit_code == 0
    assert "aime24          64 samples each: AIME 2024 I and II" in result.stdout


def test_a_benchmark_is_a_task_and_a_protocol_of_which_all_is_recorded(
    model: Path, problems: Path, tmp_path: Path
) -> None:
    small = ["--samples", 2, "--max-new-tokens", 8, "--template", "micro"]
    out = tmp_path / "out"
    row = figures(
        reckon(model, "--benchmark", "aime24", "--set", f"task.heldout={problems}", *small, "--out", out, "--json")
    )
    assert (row["task"], row["problems"], row["samples"], row["labels"]) == ("math", 3, 2, None)
    held = load_yaml(out / SETTINGS)
    asked = held["benchmark"]
    assert (asked["temperature"], asked["top_p"], asked["samples"], asked["max_new_tokens"]) == (0.6, 0.95, 2, 8)
    assert asked["task"]["heldout"] == str(problems)
    assert set(held) >= {"model_version", "problems_digest", "engine", "seed", "dtype", "made_with"}
    prompt = read_jsonl(out / SAMPLES)[0]["prompt"]
    assert "put your final answer within \\boxed{}" in prompt
    # Other questions under the same name are not the same evaluation.
    append_jsonl(problems, [{"problem": "Another?", "answer": "1"}])
    again = reckon(model, "--benchmark", "aime24", "--set", f"task.heldout={problems}", *small, "--out", out)
    assert isinstance(again.exception, ConfigError)
    assert "problems_digest" in str(again.exception)


def test_samples_of_others_need_no_model(tmp_path: Path) -> None:
    path = table(tmp_path / "table.jsonl")
    row = figures(reckon("--samples", path, "--json"))
    assert (row["figures"]["pass@1"]["value"], row["labels"]["pass@1"]["value"]) == (0.5, 1.0)
    assert (row["mean_tokens"], row["truncated"]) == (None, None), "nobody said"
    out = reckon("--samples", path).stdout
    assert "labels: by the verdicts that the samples were published with" in out
    exported = figures(reckon("--samples", path, "--export", "lm-eval", "--out", tmp_path / "x", "--json"))
    assert figures(reckon("--samples", exported["export_file"], "--json"))["pass@1"] == row["pass@1"]
    assert figures(reckon("--samples", tmp_path / "x", "--json"))["pass@1"] == row["pass@1"], "a folder of ours"


def test_stored_verdicts_are_kept_until_judging_again_is_asked_for(model: Path, plugin: Path, tmp_path: Path) -> None:
    row = figures(reckon(model, *options(plugin, tmp_path), "--json"))
    assert figures(reckon("--samples", tmp_path, "--json"))["figures"] == row["figures"]
    strict = ["--task", "letter", "--plugin", plugin, "--set", "task.letter=no such text"]
    assert figures(reckon("--samples", tmp_path, *strict, "--json"))["pass@1"]["value"] == 0.0


def test_equal_answers_of_stored_samples_vote_together_as_they_did(tmp_path: Path) -> None:
    row = {
        "problem": "Half of one?",
        "answer": "1/2",
        "responses": ["\\boxed{0.5}", "\\boxed{\\frac12}", "\\boxed{3}", "\\boxed{3}", "\\boxed{3}", "\\boxed{1/2}"],
    }
    append_jsonl(tmp_path / "table.jsonl", [row])
    judged = figures(reckon("--samples", tmp_path / "table.jsonl", "--out", tmp_path / "own", "--json"))
    assert judged["cons@k"]["4"] == judged["figures"]["cons@4"]["value"]
    (tmp_path / "own" / SETTINGS).write_text("benchmark: {task: {kind: math}}\n")
    again = figures(reckon("--samples", tmp_path / "own", "--json"))
    assert again["figures"]["cons@6"]["value"] == judged["figures"]["cons@6"]["value"] == 0.5


def test_a_task_has_figures_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("langdetect", reason="the extra `instructions` is not installed")
    from reckon.core.records import Rollout
    from reckon.tasks.instructions import InstructionsTask

    asked = InstructionsTask(InstructionsTask.Config(instructions=(2,), heldout_problems=3)).problems("heldout")
    responses = [problem.gold["example"] for problem in asked[:2]] + [""]
    rows = [
        Rollout("instructions", problem, 0, "", [], response, [], [], "stop", 0)
        for problem, response in zip(asked, responses, strict=True)
    ]
    append_jsonl(tmp_path / SAMPLES, [rollout.to_dict() for rollout in rows])
    found = figures(reckon("--samples", tmp_path, "--task", "instructions", "--json"))["figures"]
    for reading in ("strict", "loose"):
        for unit in ("prompt", "instruction"):
            figure = found[f"{unit} {reading}"]
            assert (figure["value"], figure["problems"]) == (pytest.approx(2 / 3), 3)
            assert figure["low"] < figure["value"] < figure["high"]
    table = reckon("--samples", tmp_path, "--task", "instructions").stdout
    assert "instruction loose" in table


def test_a_server_is_asked_and_what_failed_is_asked_again(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="the extra `endpoint` is not installed")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(lambda body: chat("one")) as server:
        arguments = ["--task", "letter", "--plugin", plugin, "--template", "chat", "--samples", 2, "--out", tmp_path]
        arguments += ["--endpoint", server.url, "--served-model", "judge", "--set", "endpoint.retries=0"]
        figures(reckon(*arguments, "--problems", 1, "--json", "--out", tmp_path / "first"))
        server.faults = [status(500)]
        result = reckon(*arguments)
        assert result.exit_code == 0, result.exception
        assert "Not judged: 1 of 12 responses: generation: " in result.stdout
        row = figures(reckon(*arguments, "--json"))
    assert (row["absent"], row["pass@1"]["value"], row["mean_tokens"]) == (0, 1.0, 3.0)
    held = load_yaml(tmp_path / SETTINGS)
    assert (held["model"], held["endpoint"]["base_url"]) == ("judge", server.url)


def test_a_search_takes_the_place_of_each_sample(model: Path, plugin: Path, tmp_path: Path) -> None:
    arguments = [model, *options(plugin, tmp_path), "--search", "vote", "--json", "--problems", 2]
    result = reckon(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert "--budget TOKENS" in str(result.exception)
    row = figures(reckon(*arguments, "--budget", 24))
    assert row["samples"] == 4
    searched = [sample["verdict"]["detail"]["search"] for sample in read_jsonl(tmp_path / SAMPLES)]
    assert all(0 < cost["generated"] <= 24 for cost in searched)
