"""A short R1-Zero on the shipped model: it must learn, and its first steps must not change silently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from reckon.core.records import Rollout
from reckon.core.stop import Stop
from reckon.core.store import read_jsonl
from reckon.run.progress import Lines
from reckon.run.recipe import read_recipe
from reckon.run.runner import Run

SETTINGS = [
    "threads=1", "steps=8", "rollout.prompts_per_step=16", "rollout.max_new_tokens=160", "optim.lr=4e-4",
    "optim.warmup_steps=0", "eval.every=8", "eval.problems=50", "eval.samples=4", "checkpoint.every=8",
]  # fmt: skip

GOLDEN = {"loss": [-0.0645146, -0.0743691], "grad_norm": [0.1659865, 0.1430261], "tokens": [52.1875, 59.9375]}
"""The first two steps, from torch 2.13.0 on an AVX-512 CPU. Other machines round differently, hence the tolerance."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("r1-zero") / "run"
    lines = Lines(Console(quiet=True))
    Run("r1-zero", read_recipe("r1-zero", SETTINGS), out, "reckon run r1-zero", [], Stop(), lines).execute()
    return out


def metrics(run: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(run / "stages" / "01-train" / "metrics.jsonl"))


def test_held_out_pass_at_1_rises(run: Path) -> None:
    first, *_, last = (row for row in read_jsonl(run / "events.jsonl") if row["event"] == "eval")
    assert 0.05 < first["pass@1"]["value"] < 0.25
    assert last["pass@1"]["value"] > first["pass@1"]["value"] + 0.10


def test_the_first_steps_are_those_on_record(run: Path) -> None:
    rows = metrics(run)[:2]
    for name, values in GOLDEN.items():
        assert [row[name] for row in rows] == pytest.approx(values, rel=1e-3), name


def test_the_sampler_and_the_trainer_agree(run: Path) -> None:
    for row in metrics(run):
        assert abs(row["mismatch_k1"]) < 1e-5
        assert row["ess"] > 0.9999


def test_rollouts_on_disk_carry_their_credit(run: Path) -> None:
    rows = read_jsonl(run / "stages" / "01-train" / "rollouts" / "step-000008.jsonl")
    rollouts = [Rollout.from_dict(row) for row in rows]
    assert len(rollouts) == 4 * 8
    for start in range(0, len(rollouts), 8):
        group = rollouts[start : start + 8]
        assert len({rollout.problem.id for rollout in group}) == 1
        assert sum(rollout.advantage or 0.0 for rollout in group) == pytest.approx(0, abs=1e-4)
