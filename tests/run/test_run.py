"""Whole runs through the command line, in this process and, where they are killed, in another."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reckon.core.store import file_digest, read_jsonl

Arguments = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs take over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def reckon(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of a command."""
    from reckon.cli import main

    monkeypatch.setattr(sys, "argv", ["reckon", *arguments])
    with pytest.raises(SystemExit) as leave:
        main()
    return int(leave.value.code or 0)


def weights(out: Path) -> str:
    lineage = json.loads((out / "lineage.json").read_text())
    return str(lineage["stages"][-1]["outputs"]["model"]["weights_sha256"])


def without_times(path: Path) -> list[dict[str, Any]]:
    timed = {"time", "seconds", "peak_rss_mb"}
    rows = [row for row in read_jsonl(path) if row.get("event") not in ("resume", "run_end", "run_start")]
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def uninterrupted(straight: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, arguments: Arguments) -> Path:
    """One run from start to end, made once."""
    if "run" not in straight:
        out = tmp_path_factory.mktemp("straight") / "run"
        subprocess.run([sys.executable, "-m", "reckon", *arguments(out)], check=True, capture_output=True, timeout=110)
        straight["run"] = out
    return straight["run"]


def test_a_run_leaves_what_the_docs_promise(uninterrupted: Path) -> None:
    out = uninterrupted
    events = read_jsonl(out / "events.jsonl")
    assert [row["event"] for row in events if row["event"] != "checkpoint"] == ["run_start", *["eval"] * 3, "run_end"]
    evals = [row for row in events if row["event"] == "eval"]
    assert [row["step"] for row in evals] == [0, 3, 6]
    for row in evals:
        assert row["task"] == "even"
        assert (row["problems"], row["samples"]) == (4, 2)
        assert row["pass@1"]["low"] <= row["pass@1"]["value"] <= row["pass@1"]["high"]
        assert len(read_jsonl(out / row["samples_file"])) == 8
    assert evals[-1]["kl_base"] is not None
    metrics = read_jsonl(out / "stages" / "01-train" / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [1, 2, 3, 4, 5, 6]
    assert all(row["mismatch_k3"] < 1e-6 and row["ess"] > 0.999 for row in metrics if row["ess"] is not None)
    assert any(row["grad_norm"] > 0 for row in metrics)
    assert sorted(path.name for path in (out / "stages" / "01-train" / "checkpoint").iterdir()) == [
        "step-000004",
        "step-000006",
    ]
    assert (out / "report.html").stat().st_size > 10_000
    assert "seed: 0" in (out / "run.yaml").read_text()


def test_checkpoints_are_ordinary_model_folders(uninterrupted: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = uninterrupted / "stages" / "01-train" / "checkpoint" / "step-000006"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("User: Write 3 signs.\nAssistant:", return_tensors="pt")
    assert model.generate(**ids, max_new_tokens=4, do_sample=False).shape[1] == ids["input_ids"].shape[1] + 4


def test_killed_at_random_moments_it_ends_with_the_same_weights(
    tmp_path: Path, arguments: Arguments, uninterrupted: Path
) -> None:
    out, rng = tmp_path / "run", random.Random(0)
    command = [sys.executable, "-m", "reckon", *arguments(out)]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        done = len(list(out.glob("stages/*/rollouts/*")))
        while process.poll() is None and len(list(out.glob("stages/*/rollouts/*"))) < done + rng.choice((0, 1, 2)):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        process.kill()
        process.wait()
    subprocess.run(command, check=True, capture_output=True, timeout=110)
    assert weights(out) == weights(uninterrupted)
    for name in ("events.jsonl", "stages/01-train/metrics.jsonl"):
        assert without_times(out / name) == without_times(uninterrupted / name)


def test_sigterm_saves_and_says_so(
    tmp_path: Path,
    arguments: Arguments,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from reckon.run.progress import Lines

    seen = 0

    def stop_after_three(self: Lines, row: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "run"
    monkeypatch.setattr(Lines, "step", stop_after_three)
    assert reckon(arguments(out), monkeypatch) == 75
    assert "Run the same command again" in capsys.readouterr().err
    assert (out / "stages" / "01-train" / "checkpoint" / "step-000003").is_dir()
    assert (out / "report.html").exists()
    assert reckon(arguments(out), monkeypatch) == 0
    assert weights(out) == weights(uninterrupted)


def test_a_finished_run_is_not_run_again(
    arguments: Arguments, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(uninterrupted)
    assert reckon(arguments(uninterrupted), monkeypatch) == 0
    assert "finished" in capsys.readouterr().out
    assert weights(uninterrupted) == before


def test_other_settings_are_refused_with_the_difference(
    arguments: Arguments, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = file_digest(uninterrupted / "run.yaml")
    assert reckon(arguments(uninterrupted, optim__lr=0.02), monkeypatch) == 2
    assert "optim.lr: 0.01 -> 0.02" in capsys.readouterr().err
    assert file_digest(uninterrupted / "run.yaml") == digest


def test_published_grpo_with_a_refreshed_reference_resumes_exactly(
    tmp_path: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reckon.run.progress import Lines

    changes = {
        "preset": "r1",
        "algorithm": "{minibatches: 2, kl: {reference: {every: 5}}}",
        "steps": 4,
        "checkpoint__every": 1,
        "eval__every": 4,
    }
    assert reckon(arguments(tmp_path / "a", **changes), monkeypatch) == 0
    monkeypatch.setattr(Lines, "step", lambda self, row: os.kill(os.getpid(), signal.SIGTERM))
    codes = [reckon(arguments(tmp_path / "b", **changes), monkeypatch) for _ in range(5)]
    assert codes == [75, 75, 75, 75, 0]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    rows = read_jsonl(tmp_path / "a" / "stages" / "01-train" / "metrics.jsonl")
    assert rows[-1]["kl_ref"] > 0


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"optim__lrr": 1}, 2, "did you mean lr?"),
        ({"model": "no/such/folder"}, 3, "no such model folder"),
        ({"task.kind": "evn"}, 2, "did you mean 'even'?"),
        ({"rollout__samples_per_prompt": 1}, 2, "at least 2"),
        ({"preset": "grpoo"}, 2, '--set preset=grpoo: preset = "grpoo": there is no such method; did you mean grpo?'),
        ({"kind": "rll"}, 2, '--set kind=rll: kind = "rll" is unknown; did you mean rl?'),
        ({"device": "cudda"}, 2, "--set device=cudda"),
        ({"preset": "grpo", "rollout__samples_per_prompt": 1}, 2, "a group of one has nothing to compare"),
        ({"template": "qwen"}, 2, "{question}"),
    ],
)
def test_bad_input_is_one_clear_error(
    change: dict[str, Any], code: int, words: str, tmp_path: Path, arguments: Arguments,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert reckon(arguments(tmp_path / "run", **change), monkeypatch) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.strip().count("\n") == 0
    assert "Traceback" not in error


def test_a_verifier_that_always_fails_stops_the_run_with_no_update(
    tmp_path: Path,
    arguments: Arguments,
    plugin: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plugin.write_text(plugin.read_text().replace("even = len", "even = missing(len").replace("% 2\n", "% 2)\n"))
    assert reckon(arguments(tmp_path / "run"), monkeypatch) in (3, 4)
    assert "NameError" in capsys.readouterr().err
    assert not (tmp_path / "run" / "stages" / "01-train" / "metrics.jsonl").exists()


def test_a_run_that_failed_before_it_began_can_begin_with_other_settings(
    tmp_path: Path, arguments: Arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reckon(arguments(tmp_path / "run", model="no/such/folder"), monkeypatch) == 3
    assert reckon(arguments(tmp_path / "run", steps=1, eval__every=1), monkeypatch) == 0


def test_two_steps_on_real_gsm8k(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "gsm8k"
    if not data.is_dir():
        pytest.skip("no GSM8K: set RECKON_DATA to a folder that holds gsm8k/train.jsonl")
    settings = [
        f"model={model_folder}", "task.kind=gsm8k", f"task.path={data}", "template=r1-zero", "steps=2",
        "rollout.prompts_per_step=2", "rollout.samples_per_prompt=2", "rollout.max_new_tokens=16", "eval.problems=2",
        "eval.samples=2",
    ]  # fmt: skip
    pairs = [part for setting in settings for part in ("--set", setting)]
    assert reckon(["run", "r1-zero", "--out", str(tmp_path / "run"), *pairs], monkeypatch) == 0
    assert len(read_jsonl(tmp_path / "run" / "stages" / "01-train" / "metrics.jsonl")) == 2


def test_pretraining_goes_on_from_a_model_whose_vocabulary_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reckon.models.load import load_model

    small = ["steps=1", "texts_per_step=2", "eval.problems=2", "eval.samples=1", "rollout.max_new_tokens=8"]
    options = [part for setting in small for part in ("--set", setting)]
    assert reckon(["run", "micro-world", "--out", str(tmp_path / "run"), *options], monkeypatch) == 0
    before, words = load_model("micro")
    after, more = load_model(tmp_path / "run" / "stages" / "01-train" / "checkpoint" / "step-000001")
    assert len(more) == len(after.get_input_embeddings().weight) > len(words)
    assert more.decode(range(len(words))) == words.decode(range(len(words)))
    kept = after.get_input_embeddings().weight[: len(words)] - before.get_input_embeddings().weight[: len(words)]
    assert kept.abs().max() < 0.01
