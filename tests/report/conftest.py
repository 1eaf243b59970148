"""A synthetic run folder that looks like a real one: a model that learns Countdown, and some hostile text."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from reckon.core.records import Rollout
from reckon.evals.runner import summarise

HOSTILE = [
    "<script>document.title='pwned';alert(1)</script>",
    "</script><script>document.title='pwned'</script><!-- <script>",
    """"><img src=x onerror="document.title='pwned'">""",
    "\x1b[31mred\x1b[0m \x07 \x00 NUL",
    "\u202eright to left\u202c \u2028 \u2029 \ufeff \ud800",
]
START = 1_760_000_000.0


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole finished run with hostile text; tests that change it copy it first."""
    return write_run(tmp_path_factory.mktemp("runs") / "first-try")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A short run of four steps, for tests to damage."""
    return write_run(tmp_path / "small", steps=4, problems=6, samples=2, long_line=100)


def write_run(
    path: Path,
    steps: int = 80,
    problems: int = 60,
    samples: int = 4,
    seed: int = 0,
    status: str | None = "done",
    long_line: int = 100_000,
) -> Path:
    """Write a whole run folder to ``path`` and return it. ``status`` None leaves the run without an end."""
    rng = random.Random(seed)
    stage = path / "stages" / "01-train"
    for folder in ("rollouts", "evals", f"checkpoint/step-{steps:06d}"):
        (stage / folder).mkdir(parents=True)
    tokenizer = _tokenizer(rng)
    tokenizer.save(str(stage / f"checkpoint/step-{steps:06d}/tokenizer.json"))
    events: list[dict[str, Any]] = [{"event": "run_start", "step": 0, "time": START}]
    evaluated = range(0, steps + 1, max(1, steps // 4))
    for step in range(steps + 1):
        time = START + 4.2 * step
        skill = _skill(step, steps)
        if step in evaluated:
            asked = [(f"heldout-{problem}", sample) for problem in range(problems) for sample in range(samples)]
            rows = [_rollout(rng, tokenizer, problem, sample, skill, step) for problem, sample in asked]
            name = f"evals/step-{step:06d}.jsonl"
            _lines(stage / name, rows)
            events.append(_eval_event(rows, step, time, f"stages/01-train/{name}"))
        if 0 < step <= steps:
            rows = [_rollout(rng, tokenizer, f"train-{step}-{g}", s, skill, step) for g in range(8) for s in range(6)]
            _credit(rows)
            for row, text in zip(rows, [*HOSTILE, "x" * long_line], strict=False):
                row["response"] = " <think> " + text + row["response"][8:]
                row["response_ids"] = tokenizer.encode(row["response"].encode("utf-8", "replace").decode()).ids
                row["logp"] = [-rng.expovariate(2) for _ in row["response_ids"]]
                row["sampled"] = [i > 2 for i in range(len(row["response_ids"]))]
                long_line = min(long_line, 50)
            _lines(stage / f"rollouts/step-{step:06d}.jsonl", rows)
    _lines(stage / "metrics.jsonl", [_metrics(rng, step, steps) for step in range(1, steps + 1)])
    events.append({"event": "checkpoint", "step": steps, "time": START + 4.2 * steps})
    events.append({"event": "warning", "step": 9, "time": START + 40, "message": "update refused", "code": "skipped"})
    if status is not None:
        events.append({"event": "run_end", "step": steps, "time": START + 4.2 * steps + 3, "status": status})
    _lines(path / "events.jsonl", events)
    (path / "run.yaml").write_text(_RUN_YAML)
    (path / "lineage.json").write_text(json.dumps({"stages": [_LINEAGE]}))
    return path


def _skill(step: int, steps: int) -> float:
    return 1 / (1 + math.exp(-6 * (step / max(1, steps) - 0.45)))


def _text(rng: random.Random, right: bool, skill: float) -> str:
    a, b, c = rng.sample(range(1, 10), 3)
    tries = 1 + int(rng.expovariate(1) * (1 + 3 * skill))
    no, yes = rng.choice([("no. wait,", "yes."), ("不对 等等", "对"), ("no", "yes")])
    lines = [f" {a} - {b} = {a - b} , {a - b} * {c} = {(a - b) * c} , {no}" for _ in range(tries)]
    if right:
        return f" <think>{''.join(lines)} {a} + {b} = {a + b} , {yes} </think> <answer> ( {a} + {b} ) * {c} </answer>"
    return f" <think>{''.join(lines)} </think> <answer> {a} + {b} - {c} </answer>"


def _rollout(rng: random.Random, tok: Tokenizer, problem: str, sample: int, skill: float, step: int) -> dict[str, Any]:
    right = rng.random() < 0.12 + 0.6 * skill * (0.5 + (hash_of(problem) % 100) / 100)
    text = _text(rng, right, skill)
    truncated = not right and rng.random() < 0.15
    if truncated:
        text = text.split(" </think>")[0]
    ids = tok.encode(text).ids
    absent = rng.random() < 0.004
    reason = "judge timed out" if absent else "correct" if right else "no answer" if truncated else "wrong value"
    score = None if absent else float(right)
    return {
        "task": "countdown",
        "problem": {"id": problem, "question": "Make 24 from 3, 8, 1.", "gold": {"nums": [3, 8, 1], "target": 24}},
        "sample": sample,
        "prompt": "User: Make 24 from 3, 8, 1.\nAssistant:",
        "prompt_ids": [1, 2, 3],
        "response": text,
        "response_ids": ids,
        "logp": [-rng.expovariate(1.5 + 3 * skill) for _ in ids],
        "finish": "length" if truncated else "stop",
        "seed": rng.getrandbits(40),
        "version": max(0, step - 1),
        "sampled": None,
        "verdict": {"score": score, "reason": reason, "extracted": None if truncated else "3 + 8 - 1"},
        "reward": None if absent else float(right) + 0.1 * (not truncated),
        "parts": {"accuracy": float(right), "format": float(not truncated)},
        "advantage": None,
        "seconds": {"generate": 0.1},
    }


def hash_of(text: str) -> int:
    """A small hash that is the same in every process."""
    return sum(ord(c) * (i + 7) for i, c in enumerate(text))


def _credit(rows: list[dict[str, Any]]) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["problem"]["id"], []).append(row)
    for group in groups.values():
        rewards = [row["reward"] for row in group if row["reward"] is not None]
        mean = sum(rewards) / max(1, len(rewards))
        for row in group:
            row["advantage"] = None if row["reward"] is None else row["reward"] - mean


def _eval_event(rows: list[dict[str, Any]], step: int, time: float, file: str) -> dict[str, Any]:
    return {
        "event": "eval",
        "step": step,
        "time": time,
        "split": "heldout",
        **summarise([Rollout.from_dict(row) for row in rows]),
        "kl_base": 0.0 if step == 0 else 0.002 * step,
        "samples_file": file,
    }


def _metrics(rng: random.Random, step: int, steps: int) -> dict[str, Any]:
    skill = _skill(step, steps)
    accuracy = min(1.0, max(0.0, 0.12 + 0.6 * skill + rng.gauss(0, 0.05)))
    tokens = 42 + 40 * skill + rng.gauss(0, 3)
    solved_all = max(0.0, 0.4 * skill + rng.gauss(0, 0.05))
    skipped = step in (9, 41)
    return {
        "step": step,
        "time": START + 4.2 * step,
        "reward": accuracy + 0.09,
        "accuracy": accuracy,
        "parts": {"accuracy": accuracy, "format": 0.85 + 0.14 * skill},
        "tokens": tokens,
        "tokens_right": None if step == 3 else tokens - 8 + rng.gauss(0, 2),
        "tokens_wrong": tokens + 12 + rng.gauss(0, 4),
        "truncated": max(0.0, 0.05 + 0.03 * skill + rng.gauss(0, 0.01)),
        "reflections": max(0.0, 2.7 + 5.5 * skill + rng.gauss(0, 0.3)),
        "solved_all": solved_all,
        "solved_none": max(0.0, 0.45 - 0.4 * skill + rng.gauss(0, 0.04)),
        "absent": int(rng.random() < 0.1),
        "entropy": 0.62 - 0.35 * skill + rng.gauss(0, 0.015),
        "kl_ref": 0.0006 * step + abs(rng.gauss(0, 0.002)),
        "mismatch_k1": abs(rng.gauss(0, 2e-5)),
        "mismatch_k3": abs(rng.gauss(0, 4e-6)),
        "ess": 1 - abs(rng.gauss(0, 0.004)),
        "ratio_max": 1.0 + abs(rng.gauss(0, 0.02)),
        "clip_fraction": abs(rng.gauss(0, 0.01)),
        "loss": rng.gauss(0, 0.02),
        "grad_norm": float("nan") if skipped else math.exp(rng.gauss(-1, 0.35)),
        "lr": 1e-4,
        "skipped": skipped,
        "seconds": {
            "generate": 1.6 + 0.9 * skill + rng.gauss(0, 0.1),
            "verify": 0.05,
            "update": 1.9 + 0.7 * skill + rng.gauss(0, 0.1),
            "eval": 3.0 if step % 20 == 0 else 0.0,
            "other": 0.08,
        },
        "generated_tokens": int(tokens * 256),
        "update_tokens": int(tokens * 200),
        "peak_rss_mb": 812.0,
    }


def _tokenizer(rng: random.Random) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=360, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([_text(rng, True, 0.5) for _ in range(50)], trainer)
    return tokenizer


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


_RUN_YAML = """\
recipe: r1-zero
seed: 0
device: cpu
threads: 2
versions: {reckon: 0.1.0, python: 3.11.9, torch: 2.13.0, transformers: 5.19.0}
config:
  model: micro
  task: {kind: countdown, heldout: 60}
  algorithm: {kind: grpo, group_size: 6}
  steps: 80
  note: "</script><script>document.title='pwned'</script>"
"""

_LINEAGE = {
    "name": "train",
    "kind": "train",
    "config_digest": "sha256:5d0c3f0e2f1b",
    "inputs": {"model": {"path": "micro", "digest": "sha256:aa11bb22cc33dd44"}, "data": {"countdown": "sha256:0123"}},
    "outputs": {"model": {"path": "stages/01-train/checkpoint/step-000080", "digest": "sha256:ee55ff66"}},
    "started": START,
    "ended": START + 340,
}
