from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reckon.core.records import Problem, Role, Rollout, Verdict
from reckon.stages.metrics import rollout_metrics, update_metrics


def rollout(problem: str, score: float | None, tokens: int = 2, role: Role = "policy", **others: Any) -> Rollout:
    return Rollout(
        task="toy",
        problem=Problem(problem, "?", None),
        sample=0,
        prompt="?",
        prompt_ids=[1],
        response=others.pop("response", ""),
        response_ids=[2] * tokens,
        logp=others.pop("logp", [-0.5] * tokens),
        finish=others.pop("finish", "stop"),
        seed=0,
        role=role,
        verdict=Verdict(score),
        reward=None if score is None else 2 * score,
        parts={} if score is None else {"accuracy": score, "format": 1.0},
        **others,
    )


STEP = [
    rollout("a", 1.0, tokens=2),
    rollout("a", 0.0, tokens=6, finish="length"),
    rollout("b", 1.0, tokens=4, response="Wait, wait"),
    rollout("b", None, tokens=4, logp=[-1.5] * 4),
]


def test_means_are_over_what_could_be_judged_or_sampled() -> None:
    row = rollout_metrics(STEP)
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["reward"] == pytest.approx(4 / 3)
    assert row["parts"] == {"accuracy": pytest.approx(2 / 3), "format": 1.0}
    assert row["spread"] == {"accuracy": 0.25, "format": 0.0}
    assert (row["tokens"], row["tokens_right"], row["tokens_wrong"]) == (4.0, 3.0, 6.0)
    assert (row["truncated"], row["reflections"], row["absent"]) == (0.25, 0.5, 1)
    assert (row["solved_all"], row["solved_none"]) == (0.5, 0.0)
    assert row["entropy"] == pytest.approx((12 * 0.5 + 4 * 1.5) / 16)
    assert (row["sequences"], row["generated_tokens"], row["filtered"]) == (4, 16, 0.0)


def test_where_nothing_is_judged_right_or_wrong_there_is_no_accuracy() -> None:
    labelled = replace(rollout("c", 1.0), verdict=None)
    row = rollout_metrics([labelled])
    assert row["reward"] == 2.0
    named = ("accuracy", "tokens_right", "tokens_wrong", "solved_all", "solved_none")
    assert {row[name] for name in named} == {None}
    assert rollout_metrics([labelled, *STEP])["accuracy"] == rollout_metrics(STEP)["accuracy"]


def test_reasons_are_counted_and_a_flood_of_them_is_not() -> None:
    verdicts = [Verdict(0.0, "wrong")] * 3 + [Verdict(1.0, "correct")] * 2 + [Verdict(None, "timed out")]
    rows = [replace(rollout("a", 0.0), verdict=verdict) for verdict in verdicts]
    assert list(rollout_metrics(rows[:5], rows[5:])["reasons"].items()) == [
        ("wrong", 3),
        ("correct", 2),
        ("timed out", 1),
    ]
    odd = [replace(rollout("a", None), verdict=Verdict(None, f"raised {n}:\n{'x' * 999}")) for n in range(40)]
    reasons = rollout_metrics([*rows, *odd])["reasons"]
    assert len(reasons) == 11
    assert (sum(reasons.values()), reasons["wrong"], reasons["others"]) == (46, 3, 33)
    assert max(map(len, reasons)) == 80
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize("role", ["greedy", "anchor", "hinted"])
def test_what_the_policy_did_not_sample_counts_as_generated_only(role: Role) -> None:
    other = rollout("a", 1.0, tokens=8, role=role, finish="length", response="Wait", logp=[])
    alone, both = rollout_metrics(STEP), rollout_metrics([*STEP, other])
    assert (both.pop("sequences"), both.pop("generated_tokens")) == (5, 24)
    assert both == {name: value for name, value in alone.items() if name not in ("sequences", "generated_tokens")}


def test_dropped_rollouts_count_like_the_others() -> None:
    solved = [rollout("c", 1.0), rollout("c", 1.0)]
    row = rollout_metrics(STEP, solved)
    assert row == rollout_metrics([*STEP, *solved]) | {"filtered": pytest.approx(1 / 3)}
    assert row["accuracy"] == pytest.approx(4 / 5)
    assert row["solved_all"] == pytest.approx(2 / 3)
    assert row["generated_tokens"] == 20


def test_a_part_that_some_rollouts_lack_is_a_mean_over_the_others() -> None:
    row = rollout_metrics([rollout("a", 1.0), replace(rollout("a", 0.0), parts={"accuracy": 0.0})])
    assert row["parts"] == {"accuracy": 0.5, "format": 1.0}
    assert row["spread"] == {"accuracy": 0.5, "format": 0.0}


def test_of_nothing_there_is_no_mean() -> None:
    row = rollout_metrics([])
    assert {name for name, value in row.items() if value is not None} == {
        "parts", "tasks", "spread", "absent", "reasons", "sequences", "generated_tokens",
    }  # fmt: skip


def update(**changes: Any) -> dict[str, Any]:
    return {"loss": 1.0, "grad_norm": 2.0, "lr": 0.1, "skipped": False, "update_tokens": 10, "ess": 1.0} | changes


def test_updates_become_one_row() -> None:
    reports = [{"explained_variance": 0.4}, update(), update(loss=3.0, lr=0.2, ess=0.5, skipped=True, nll=7.0)]
    row = update_metrics(reports)
    assert (row["loss"], row["grad_norm"], row["nll"], row["explained_variance"]) == (2.0, 2.0, 7.0, 0.4)
    assert (row["lr"], row["update_tokens"], row["skipped"]) == (0.2, 20, True)
    # The mismatch is that of the first update, before the weights moved.
    assert (row["ess"], row["mismatch_k1"]) == (1.0, None)


def test_a_step_without_updates_has_a_row() -> None:
    row = update_metrics([{}])
    assert (row["loss"], row["lr"], row["skipped"], row["update_tokens"]) == (None, None, False, 0)


def test_of_several_tasks_each_has_its_own_figures() -> None:
    def judged(task: str, problem: str, score: float) -> Rollout:
        return replace(rollout(problem, score), task=task)

    rows = [judged("sums", "a", 1.0), judged("sums", "a", 0.0), judged("puzzles", "b", 1.0)]
    tasks = rollout_metrics(rows)["tasks"]
    assert {kind: figures["accuracy"] for kind, figures in tasks.items()} == {"sums": 0.5, "puzzles": 1.0}
    assert rollout_metrics(rows[:2])["tasks"] == {}
