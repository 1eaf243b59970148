from __future__ import annotations

import math
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from reckon.algorithms.batch import Batch
from reckon.algorithms.nll import NLL
from reckon.core import store
from reckon.core.errors import DataError
from reckon.core.events import EventLog
from reckon.core.records import Rollout
from reckon.core.stop import Stop
from reckon.data.examples import Examples, SFTData, load_examples
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, OptimConfig
from reckon.models.load import load_model
from reckon.models.template import PromptTemplate
from reckon.stages.held_out_loss import HeldOutLoss, Loss, per_token
from reckon.stages.train import CheckpointConfig, Train

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).parents[3] / "shared" / "data")) / "gsm8k"

Rollouts = Callable[..., list[Rollout]]
Model = Callable[..., Any]


def given(make_rollouts: Rollouts, **shape: int) -> list[Rollout]:
    """Responses that nobody sampled."""
    found = make_rollouts(**shape)
    for rollout in found:
        rollout.logp, rollout.reward = [], None
    return found


def learner(model: Any, budget: int = 4096, **optim: Any) -> Learner:
    return Learner(Policy(model), OptimConfig(micro_batch_tokens=budget, grad_clip=1e9, **optim), steps=1)


def event(folder: Path, model: Any, rollouts: list[Rollout], budget: int = 4096) -> dict[str, Any]:
    log = EventLog(folder / "events.jsonl")
    log.forget(lambda row: False)
    seen: list[dict[str, Any]] = []
    HeldOutLoss(rollouts, learner(model, budget), log, seen.append)(3, 17)
    [row] = log.rows()
    assert {name: row[name] for name in ("step", "loss", "tokens")} == {
        name: seen[0][name] for name in ("step", "loss", "tokens")
    }
    return row


def test_the_event_has_the_loss_of_the_formula(tmp_path: Path, tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, rollouts = tiny_model(), given(make_rollouts)
    row = event(tmp_path, model, rollouts)
    total, tokens = 0.0, 0
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        logp = model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 : -1].log_softmax(-1)
        total -= logp.gather(1, torch.tensor(rollout.response_ids)[:, None]).sum().item()
        tokens += len(rollout.response_ids)
    assert (row["event"], row["step"], row["split"], row["generated_tokens"]) == ("eval", 3, "heldout", 17)
    assert (row["tokens"], row["examples"]) == (tokens, len(rollouts))
    assert row["loss"]["value"] == pytest.approx(total / tokens, rel=1e-5)
    assert row["perplexity"] == pytest.approx(math.exp(total / tokens), rel=1e-5)
    assert row["loss"]["low"] < row["loss"]["value"] < row["loss"]["high"]


def test_it_is_the_loss_that_an_update_reports(tmp_path: Path, tiny_model: Model, make_rollouts: Rollouts) -> None:
    model, rollouts = tiny_model(), given(make_rollouts)
    expected = event(tmp_path, model, rollouts)["loss"]["value"]
    assert learner(model).update(Batch.of(rollouts), NLL())["loss"] == pytest.approx(expected, rel=1e-5)


def test_neither_packing_nor_order_changes_it_or_the_gradient(
    tmp_path: Path, tiny_model: Model, make_rollouts: Rollouts
) -> None:
    rollouts = given(make_rollouts)

    def seen(order: list[Rollout], budget: int) -> tuple[dict[str, Any], dict[str, float | bool]]:
        return event(tmp_path, tiny_model(), order, budget), learner(tiny_model(), budget).update(
            Batch.of(order), NLL()
        )

    first, update = seen(rollouts, 10_000)
    for order, budget in ((rollouts, 1), (rollouts[::-1], 10_000), (rollouts[5:] + rollouts[:5], 64)):
        row, other = seen(order, budget)
        for figure in ("value", "low", "high"):
            assert row["loss"][figure] == pytest.approx(first["loss"][figure], rel=1e-5)
        assert (row["tokens"], row["examples"]) == (first["tokens"], first["examples"])
        for figure in ("loss", "grad_norm", "update_tokens"):
            assert other[figure] == pytest.approx(update[figure], rel=1e-4)


def test_the_interval_by_hand() -> None:
    # Two clusters with 1 and 3 tokens and losses 2 and 3: R = 5/4, residuals 3/4 and -3/4, and t(0.975, 1) = 12.706.
    found = per_token(torch.tensor([2.0, 1.0, 1.0, 1.0]).double(), torch.tensor([0, 1, 1, 1]))
    half = 12.7062 * math.sqrt(2 * (2 * 0.75**2) / 16)
    assert found.value == pytest.approx(1.25)
    assert found.high == pytest.approx(1.25 + half, rel=1e-5)
    assert found.low == 0.0


def test_one_cluster_has_no_interval() -> None:
    assert per_token(torch.tensor([2.0, 1.0]).double(), torch.tensor([0, 0])) == Loss(1.5, None, None)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Clusters share a mean of their own, so intervals over tokens as if independent would hold it far less often.
    generator = torch.Generator().manual_seed(0)
    held = naive = 0
    for _ in range(400):
        sizes = torch.randint(1, 30, (40,), generator=generator)
        cluster_S = torch.repeat_interleave(torch.arange(40), sizes)
        own_C = torch.randn(40, generator=generator)
        nll_S = (5 + own_C[cluster_S] + torch.randn(len(cluster_S), generator=generator)).double()
        found = per_token(nll_S, cluster_S)
        assert found.low is not None
        assert found.high is not None
        held += found.low < 5 < found.high
        naive += bool((nll_S.mean() - 5).abs() < 1.96 * nll_S.std() / len(nll_S) ** 0.5)
    assert 0.92 < held / 400 < 0.975
    assert naive / 400 < 0.7


def test_nothing_held_out_is_an_error(tmp_path: Path, tiny_model: Model) -> None:
    with pytest.raises(DataError, match="no held-out examples"):
        HeldOutLoss([], learner(tiny_model()), EventLog(tmp_path / "events.jsonl"))


def test_a_model_beyond_repair_is_reported_as_null(tmp_path: Path, tiny_model: Model, make_rollouts: Rollouts) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.get_decoder().norm.weight.mul_(1e4)
    row = event(tmp_path, model, given(make_rollouts))
    assert row["loss"]["value"] > 1e3
    assert row["perplexity"] is None


def train(folder: Path, steps: int) -> list[dict[str, Any]]:
    """Fine-tune the shipped model on a little of GSM8K; returns the events."""
    model, tokenizer = load_model("micro")
    with (DATA / "train.jsonl").open() as lines:
        store.write_text(folder / "train.jsonl", "".join(islice(lines, 400)))
    data = SFTData(data=(str(folder),), max_tokens=400, heldout=0.1, limit=9)
    found = load_examples(data, PromptTemplate("micro"), tokenizer)
    assert (len(found.train), found.rows) == (9, 400)
    assert len(found.heldout) > 3
    source = Examples(found.train, 3, seed=0)
    events = EventLog(folder / "events.jsonl")
    student = Learner(Policy(model), OptimConfig(lr=1e-3), steps=steps)
    Train(
        folder=folder / "train",
        learner=student,
        tokenizer=tokenizer,
        algorithm=NLL(),
        source=source,
        steps=steps,
        seed=0,
        events=events,
        stop=Stop(),
        checkpoint=CheckpointConfig(every=2),
        evaluate=HeldOutLoss([item.rollout() for item in found.heldout[:4]], student, events),
        eval_every=source.steps(1),
    ).run()
    return events.rows()


@pytest.mark.skipif(not DATA.is_dir(), reason="no GSM8K: set RECKON_DATA to a folder that holds gsm8k/train.jsonl")
def test_training_on_gsm8k_lowers_the_held_out_loss(tmp_path: Path) -> None:
    rows = [row for row in train(tmp_path / "a", 6) if row["event"] == "eval"]
    assert [row["step"] for row in rows] == [0, 3, 6]
    assert rows[0]["loss"]["value"] > rows[1]["loss"]["value"] > rows[2]["loss"]["value"]
    # Interrupted after two steps and continued, it ends in the same place.
    train(tmp_path / "b", 2)
    again = [row for row in train(tmp_path / "b", 6) if row["event"] == "eval" and row["step"] == 6]
    assert again[0]["loss"] == rows[2]["loss"]
