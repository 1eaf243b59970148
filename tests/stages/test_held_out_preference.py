from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from reckon.algorithms.base import Outputs
from reckon.algorithms.reward import BradleyTerry, Pointwise
from reckon.core.events import EventLog
from reckon.core.records import Problem, Rollout
from reckon.core.stop import Stop
from reckon.core.store import read_jsonl
from reckon.data.preferences import PreferenceData, Preferences, Unit, load_preferences
from reckon.learn.forward import Reward
from reckon.learn.learner import Learner, OptimConfig
from reckon.learn.reward_model import LIMIT, Reader, RewardModel
from reckon.models.reward import RewardCard, card_of, load_reward_model, make_reward_model
from reckon.stages.held_out_preference import HeldOutPreference, auc
from reckon.stages.train import CheckpointConfig, Train

# ------------------------------------------------------------------------------------------------- figures


class Told:
    """Stands in for a learner whose model gives the scores it is told."""

    def __init__(self, scores: list[float], card: RewardCard) -> None:
        class Model:
            class config:
                reckon_reward = card.model_dump()

        self.model, self.scores = Model(), scores

    def measure(self, batch: Any) -> Outputs:
        return Outputs(score_N=torch.tensor(self.scores))


def rollout(question: str, sample: int, label: float | None) -> Rollout:
    return Rollout(
        "preference", Problem(question, question, None), sample, "", [1], "r", [2], [], "stop", 0, reward=label
    )


def evaluated(tmp_path: Path, units: list[Unit], scores: list[float]) -> tuple[dict[str, Any], RewardCard]:
    loss: Any = "bradley_terry" if len(units[0]) == 2 else "pointwise"
    told: Any = Told(scores, RewardCard(loss=loss, reads="summary", template="micro"))
    events = EventLog(tmp_path / "events.jsonl")
    shown: list[dict[str, Any]] = []
    HeldOutPreference(told, units, events, lambda: None, shown.append)(3, 77)
    [event] = read_jsonl(tmp_path / "events.jsonl")
    assert shown[0].items() <= event.items()
    assert event["split"] == "heldout"
    assert (event["step"], event["generated_tokens"]) == (3, 77)
    return event, card_of(told.model)


def test_pairs_count_by_question_and_ties_half(tmp_path: Path) -> None:
    units = [[rollout(q, 0, None), rollout(q, 1, None)] for q in "aabc"]
    event, card = evaluated(tmp_path, units, [1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 1.0])
    # Question a: one of two right; b: a tie; c: right.
    assert event["accuracy"]["value"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert 0 < event["accuracy"]["low"] < event["accuracy"]["value"] < event["accuracy"]["high"] < 1
    assert (event["units"], event["questions"]) == (4, 3)
    assert event["margin"] == pytest.approx((1 - 1 + 0 + 2) / 4)
    margins = (1, -1, 0, 2)
    assert event["loss"] == pytest.approx(sum(math.log1p(math.exp(-m)) for m in margins) / 4, abs=1e-6)
    assert event["score_mean"] == card.mean == pytest.approx(10 / 8)
    assert event["score_std"] == card.std == pytest.approx(math.sqrt(20 / 8 - (10 / 8) ** 2), abs=1e-6)
    assert card.reads == "summary"


def test_labels_have_an_accuracy_and_an_area(tmp_path: Path) -> None:
    labels = [1.0, 1.0, 0.0, 0.0]
    units = [[rollout(f"q{k}", 0, label)] for k, label in enumerate(labels)]
    event, _ = evaluated(tmp_path, units, [2.0, -1.0, 1.0, -3.0])
    assert event["accuracy"]["value"] == pytest.approx(0.5)
    assert event["auc"] == pytest.approx(3 / 4)
    expected = [math.log1p(math.exp(-s if y else s)) for s, y in zip((2, -1, 1, -3), labels, strict=True)]
    assert event["loss"] == pytest.approx(sum(expected) / 4, abs=1e-6)


def test_a_model_without_an_opinion_has_a_scale_all_the_same(tmp_path: Path) -> None:
    event, card = evaluated(tmp_path, [[rollout("a", 0, None), rollout("a", 1, None)]], [0.0, 0.0])
    assert event["accuracy"]["value"] == 0.5
    assert event["score_std"] == 0
    assert card.std == 1


def test_the_area_is_the_chance_of_the_right_order() -> None:
    generator = torch.Generator().manual_seed(0)
    good, bad = (torch.randint(0, 5, (n,), generator=generator).float() for n in (13, 7))
    chance = sum(1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad) / (13 * 7)
    assert auc(good, bad) == pytest.approx(chance)
    assert auc(good, bad[:0]) is None


# ------------------------------------------------------------------------------------------------ training


def rows(count: int) -> list[dict[str, Any]]:
    """Comparisons of Countdown replies: one with its answer in a block is preferred to the same without one."""
    rng = random.Random(0)
    found = []
    for _ in range(count):
        a, b, c = (rng.randint(1, 12) for _ in range(3))
        question, answer = f"Make {a + b * c} from {a}, {b}, {c}.", f"{b} * {c} + {a}"
        thought = f"<think> {b} * {c} = {b * c}, {b * c} + {a} = {a + b * c}, yes. </think>"
        good, bad = f"{thought} <answer> {answer} </answer>", f"{thought} answer: {answer}"
        pair = {"chosen": good, "rejected": bad}
        kept = rng.random() < 0.5
        found.append({"question": question, **pair, "response": good if kept else bad, "label": int(kept)})
    return found


def train(out: Path, config: PreferenceData, stop: Stop, steps: int = 12) -> Path:
    torch.set_num_threads(1)
    card = config.card("micro")
    model, tokenizer = make_reward_model("micro", card)
    split = load_preferences(config, Reader(tokenizer, card))
    learner = Learner(Reward(model), OptimConfig(lr=5e-4), steps=steps)
    events = EventLog(out / "events.jsonl")
    return Train(
        folder=out / "stages" / "01-train",
        learner=learner,
        tokenizer=tokenizer,
        algorithm=BradleyTerry() if config.loss == "bradley_terry" else Pointwise(),
        source=Preferences(split.train, 8, seed=0),
        steps=steps,
        seed=0,
        events=events,
        stop=stop,
        checkpoint=CheckpointConfig(every=6),
        evaluate=HeldOutPreference(learner, split.heldout, events, stop.check),
        eval_every=steps,
    ).run()


@pytest.mark.parametrize("loss", ["bradley_terry", "pointwise"])
def test_it_learns_a_preference_that_it_then_scores(tmp_path: Path, loss: Any) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(160)), encoding="utf-8")
    config = PreferenceData(data=(str(data),), loss=loss, reads="summary", heldout=0.25)
    checkpoint = train(tmp_path / "run", config, Stop())
    first, last = (r for r in read_jsonl(tmp_path / "run" / "events.jsonl") if r["event"] == "eval")
    if loss == "bradley_terry":
        assert first["accuracy"]["value"] == 0.5
    else:
        assert first["auc"] == 0.5
        assert last["auc"] > 0.95
    assert last["accuracy"]["value"] > 0.9
    assert last["loss"] < 0.4 < first["loss"]

    model, tokenizer, card = load_reward_model(checkpoint)
    assert (card.mean, card.std) == pytest.approx((last["score_mean"], last["score_std"]))
    held = [(row["question"], row[name]) for row in rows(160)[:20] for name in ("chosen", "rejected")]
    told = [Rollout("countdown", Problem(q, q, None), 0, "", [], text, [], [], "stop", 0) for q, text in held]
    scores = RewardModel(model, tokenizer).score(told)
    good, bad = ([s for s in scores[side::2] if s is not None] for side in (0, 1))
    assert len(good) == len(bad) == 20
    assert sum(good) / 20 > 0.5 > -0.5 > sum(bad) / 20
    assert max(map(abs, good + bad)) <= LIMIT


def test_a_stage_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(24)), encoding="utf-8")
    config = PreferenceData(data=(str(data),), heldout=0.25)
    whole = train(tmp_path / "whole", config, Stop(), steps=4)
    train(tmp_path / "parts", config, Stop(), steps=2)
    again = train(tmp_path / "parts", config, Stop(), steps=4)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
