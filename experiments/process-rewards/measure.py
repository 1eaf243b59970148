"""What process rewards know of Countdown: told good beginnings from bad, and the best of eight responses.

    python experiments/process-rewards/measure.py --process FOLDER --implicit FOLDER --outcome FOLDER --out results.json

The folders are checkpoints of `reckon run prm-countdown` (stage process) and `reckon run prm-implicit` (stages implicit
and outcome). Responses are the shipped micro model's to held-out problems.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from reckon.core.records import Rollout
from reckon.core.store import write_json
from reckon.engine.base import Sampling
from reckon.engine.native import NativeEngine
from reckon.evals.metrics import wilson
from reckon.learn.reward_model import RewardModel
from reckon.models.load import end_ids, load_model
from reckon.models.reward import load_reward_model
from reckon.models.steps import MICRO_STEPS, step_ends
from reckon.models.template import PromptTemplate
from reckon.rollout.process import ImplicitReward, ProcessReward
from reckon.rollout.sample import Sampler
from reckon.search.base import Path as Steps
from reckon.search.base import StepScorer
from reckon.search.choose import aggregated
from reckon.search.oracle import CountdownOracle
from reckon.search.scorers import Confidence
from reckon.stages.held_out_preference import auc
from reckon.tasks.registry import build_task

SAMPLES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("process", "implicit", "outcome", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=150)
    given = parser.parse_args()
    torch.set_num_threads(1)

    model, tokenizer = load_model("micro")
    task = build_task({"kind": "countdown", "numbers": 3})
    sampling = Sampling(256, 1.0, stop_ids=end_ids(model, tokenizer))
    sampler = Sampler(task, NativeEngine(model, tokenizer), tokenizer, PromptTemplate("micro"), sampling)
    rollouts = sampler.ask(task.problems("heldout")[: given.problems], SAMPLES, (0, "process-rewards"))
    paths = [
        Steps(
            problem=r.problem,
            prompt_ids=r.prompt_ids,
            token_ids=r.response_ids,
            text=r.response,
            ends=step_ends(r.response_ids, tokenizer, MICRO_STEPS),
            finish=r.finish,
            logp=r.logp,
        )
        for r in rollouts
    ]
    scorers: dict[str, StepScorer] = {
        "process": ProcessReward(given.process),
        "implicit": ImplicitReward(given.implicit, "micro"),
        "confidence": Confidence(),
    }
    scores = {name: scorer.score(paths) for name, scorer in scorers.items()}
    outcome_model, outcome_tokenizer, _ = load_reward_model(given.outcome)
    outcome = [score or 0.0 for score in RewardModel(outcome_model, outcome_tokenizer).score(rollouts)]
    write_json(
        given.out,
        {
            "problems": given.problems,
            "samples": SAMPLES,
            "steps": sum(len(path.ends) - 1 for path in paths),
            "beginnings": beginnings(paths, rollouts, scores, tokenizer),
            "best_of": best_of(rollouts, scores, outcome),
        },
    )


def beginnings(
    paths: Sequence[Steps], rollouts: Sequence[Rollout], scores: dict[str, list[list[float]]], tokenizer: object
) -> dict[str, dict[str, float | None]]:
    """AUC of every step end but the last: of whether the target can still be made, and whether the response came out
    right; the two differ where the model tries again, or is right and does not see it."""
    reach = torch.tensor([s for own in CountdownOracle(tokenizer).score(paths) for s in own[:-1]]) > 0.5
    right = torch.tensor(
        [is_right(r) for r, path in zip(rollouts, paths, strict=True) for _ in path.ends[:-1]], dtype=torch.bool
    )
    table: dict[str, dict[str, float | None]] = {}
    for name, found in scores.items():
        inner = torch.tensor([score for own in found for score in own[:-1]])
        table[name] = {"reachable": auc(inner[reach], inner[~reach]), "right": auc(inner[right], inner[~right])}
    return {"share": {"reachable": reach.float().mean().item(), "right": right.float().mean().item()}, **table}


def best_of(
    rollouts: Sequence[Rollout], scores: dict[str, list[list[float]]], outcome: list[float]
) -> dict[str, dict[str, float | None]]:
    """The share of problems whose chosen response is right, with Wilson's 95% interval."""
    table = {"one sample": share([sum(map(is_right, group)) / SAMPLES for group in groups(rollouts)])}
    table["any of them"] = share([float(any(map(is_right, group))) for group in groups(rollouts)])
    table["vote"] = share([float(is_right(voted(group))) for group in groups(rollouts)])
    values = {"outcome": outcome} | {
        f"{name}, {how}": [aggregated(own, how) for own in found]
        for name, found in scores.items()
        for how in ("last", "min", "prod")
    }
    for name, value in values.items():
        table[name] = share([float(is_right(rollouts[place])) for place in best_places(value)])
    return table


def is_right(rollout: Rollout) -> bool:
    return rollout.verdict is not None and rollout.verdict.score == 1


def groups(rollouts: Sequence[Rollout]) -> list[Sequence[Rollout]]:
    return [rollouts[start : start + SAMPLES] for start in range(0, len(rollouts), SAMPLES)]


def voted(group: Sequence[Rollout]) -> Rollout:
    """A response with the most frequent answer, the first of equals."""
    answers = [rollout.verdict.extracted if rollout.verdict else None for rollout in group]
    counts = [-1 if answer is None else answers.count(answer) for answer in answers]
    return group[counts.index(max(counts))]


def best_places(value: Sequence[float]) -> list[int]:
    return [max(range(s, s + SAMPLES), key=value.__getitem__) for s in range(0, len(value), SAMPLES)]


def share(right: Sequence[float]) -> dict[str, float | None]:
    return asdict(wilson(sum(right) / len(right), len(right)))


if __name__ == "__main__":
    main()
