from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from reckon.algorithms.process import StepLabels
from reckon.core.events import EventLog
from reckon.core.stop import Stop
from reckon.core.store import read_jsonl
from reckon.data.preferences import PreferenceData, Preferences
from reckon.data.step_labels import load_steps
from reckon.learn.forward import Process
from reckon.learn.learner import Learner, OptimConfig
from reckon.models.reward import card_of, load_reward_model, make_reward_model
from reckon.models.steps import MICRO_STEPS
from reckon.stages.held_out_steps import HeldOutSteps, step_figures
from reckon.stages.train import CheckpointConfig, Train


def log_odds(*chances: float) -> torch.Tensor:
    return torch.tensor(chances, dtype=torch.float64).logit()


def test_the_figures_by_hand() -> None:
    # Three responses of two steps each, the second of them wrong in the end.
    score_S = log_odds(0.92, 0.5, 0.72, 0.22, 0.12, 0.62)
    label_S = torch.tensor([1.0, 1.0, 0.5, 0.0, 0.25, 1.0])
    figures = step_figures(score_S, label_S, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert (figures["steps"], figures["good"]) == (6, 0.5)
    # Good at 0.92, 0.5, 0.62, bad at 0.72, 0.22, 0.12: of nine pairs seven stand in the right order.
    assert figures["auc"] == pytest.approx(7 / 9)
    gaps = [0.92 - 1, 0.5 - 1, 0.72 - 0.5, 0.22, 0.12 - 0.25, 0.62 - 1]
    assert figures["brier"] == pytest.approx(sum(gap**2 for gap in gaps) / 6)
    assert figures["calibration"] == pytest.approx(sum(map(abs, gaps)) / 6)
    crosses = [
        -label * math.log(chance) - (1 - label) * math.log(1 - chance)
        for chance, label in zip((0.92, 0.5, 0.72, 0.22, 0.12, 0.62), label_S.tolist(), strict=True)
    ]
    assert figures["loss"] == pytest.approx(sum(crosses) / 6)
    # By the last 0.5, 0.62 against 0.22; by the least 0.5, 0.12 against 0.22; by the product 0.46, 0.07 against 0.16.
    assert figures["response_auc"] == pytest.approx({"last": 1.0, "min": 0.5, "prod": 0.5})


def test_calibration_is_told_by_bins() -> None:
    # One bin of chances around 0.45 with labels that average 0.5: single errors cancel, what remains is 0.05.
    figures = step_figures(log_odds(0.44, 0.46), torch.tensor([0.0, 1.0]), torch.tensor([0, 1]))
    assert figures["calibration"] == pytest.approx(0.05)


def test_an_absent_kind_has_no_area() -> None:
    figures = step_figures(log_odds(0.44, 0.46), torch.tensor([1.0, 1.0]), torch.tensor([0, 0]))
    assert figures["auc"] is None
    assert figures["response_auc"] == {"last": None, "min": None, "prod": None}


# ------------------------------------------------------------------------------------------------ training


def rows(count: int) -> list[dict[str, Any]]:
    """Sums that are right up to a step, and labels that say up to which."""
    made = []
    for n in range(count):
        a, wrong = n % 13 + 1, n % 3
        steps = [f" {a} + {k} = {a + k + (k > wrong)}," for k in (1, 2)]
        labels = [float(k <= wrong) for k in (1, 2)]
        made.append({"question": f"Make {n}.", "steps": [*steps, " yes."], "labels": [*labels, labels[-1]]})
    return made


def train(out: Path, data: Path, steps: int) -> Path:
    torch.set_num_threads(1)
    config = PreferenceData(data=(str(data),), loss="process", steps=MICRO_STEPS, heldout=0.25)
    model, tokenizer = make_reward_model("micro", config.card("micro"))
    split = load_steps(config, "micro", tokenizer)
    learner = Learner(Process(model), OptimConfig(lr=1e-3), steps=40)
    events, stop = EventLog(out / "events.jsonl"), Stop()
    return Train(
        folder=out / "stages" / "01-train",
        learner=learner,
        tokenizer=tokenizer,
        algorithm=StepLabels(),
        source=Preferences(split.train, 8, seed=0),
        steps=steps,
        seed=0,
        events=events,
        stop=stop,
        checkpoint=CheckpointConfig(every=20),
        evaluate=HeldOutSteps(learner, split.heldout, events, stop.check),
        eval_every=steps,
    ).run()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(120)), encoding="utf-8")
    return path


def test_it_learns_where_a_response_goes_wrong(tmp_path: Path, data: Path) -> None:
    checkpoint = train(tmp_path / "run", data, steps=40)
    first, last = (r for r in read_jsonl(tmp_path / "run" / "events.jsonl") if r["event"] == "eval")
    assert (first["auc"], first["calibration"]) == (0.5, pytest.approx(abs(0.5 - first["good"])))
    assert last["auc"] > 0.9
    assert last["accuracy"]["value"] > 0.8
    assert last["brier"] < 0.16 < first["brier"]
    model, _, card = load_reward_model(checkpoint)
    assert (card.loss, card.steps) == ("process", MICRO_STEPS)
    assert card_of(model) == card


def test_a_stage_goes_on_from_its_checkpoint(tmp_path: Path, data: Path) -> None:
    whole = train(tmp_path / "whole", data, steps=4)
    train(tmp_path / "parts", data, steps=2)
    again = train(tmp_path / "parts", data, steps=4)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
