"""Samples, labels of their steps, and both kinds of process reward model, through the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reckon.core.store import read_jsonl
from reckon.models.load import load_model
from reckon.models.reward import card_of, load_reward_model
from reckon.models.steps import StepRule
from reckon.rollout.process import ImplicitReward, ProcessReward

RECIPE = """
kind: pipeline
template: micro
threads: 1
defaults:
  reward: {{model: {model}, heldout: 0.4, batch: 4, optim: {{lr: 0.01}}}}
stages:
  samples: {{kind: sample, model: {model}, task: {{kind: even}}, problems: 8, samples: 2, max_new_tokens: 8}}
  labels:
    kind: label
    model: {model}
    task: {{kind: even}}
    data: [samples]
    steps: {{max_tokens: 3}}
    completions: 2
    max_new_tokens: 8
  process: {{kind: reward, data: [labels], loss: process, steps: {{max_tokens: 3}}, lora: {{rank: 2}}}}
  found:
    kind: sample
    model: {model}
    task: {{kind: even}}
    problems: 3
    samples: 2
    max_new_tokens: 8
    search: {{method: {{kind: beam, beams: 4}}, scorer: process, budget: 40}}
  outcomes: {{kind: curate, data: [samples], operations: [{{kind: labels, threshold: 1.0}}]}}
  implicit: {{kind: reward, data: [outcomes], loss: implicit, beta: 0.1}}
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Runs take over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def stage(out: Path, name: str) -> Path:
    [folder] = (out / "stages").glob(f"*-{name}")
    return folder


def trained(out: Path, name: str) -> Path:
    return max((stage(out, name) / "checkpoint").iterdir())


def test_both_are_made_and_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path, plugin: Path
) -> None:
    from reckon.cli import main

    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(RECIPE.format(model=model_folder), encoding="utf-8")
    arguments: list[Any] = ["reckon", "run", recipe, "--plugin", plugin, "--out", out]
    monkeypatch.setattr("sys.argv", [str(each) for each in arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)

    rows = read_jsonl(stage(out, "labels") / "labels.jsonl")
    assert [len(row["steps"]) for row in rows] == [len(row["labels"]) for row in rows]
    assert {label for row in rows for label in row["labels"]} <= {0.0, 0.5, 1.0}
    *_, process = (r for r in read_jsonl(out / "events.jsonl") if r["event"] == "eval" and "calibration" in r)
    assert process["steps"] > process["units"] > 0
    _, _, card = load_reward_model(trained(out, "process"))
    assert (card.loss, card.steps, card.template) == ("process", StepRule(max_tokens=3), "micro")
    ProcessReward(trained(out, "process"))

    rows = read_jsonl(stage(out, "found") / "samples.jsonl")
    assert len(rows) == 6
    assert all(8 < row["generated"] <= 40 and row["scored"] > row["generated"] for row in rows)
    manifest = json.loads((stage(out, "found") / "manifest.json").read_text())
    assert manifest["figures"]["generated_tokens"] == sum(row["generated"] for row in rows)
    assert manifest["inputs"]["search.scorer"]["from"] == "process"
    assert manifest["config"]["search"]["method"]["width"] == 4, "defaults are on record"

    model, _ = load_model(trained(out, "implicit"))
    assert (card_of(model).loss, card_of(model).beta) == ("implicit", 0.1)
    ImplicitReward(trained(out, "implicit"), model_folder)
