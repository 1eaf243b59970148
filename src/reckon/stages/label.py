"""The label stage: how often each step of given responses is followed by a right answer (Math-Shepherd).

From the end of every step the model completes the response several times; the share of these that are right is the
step's label (soft estimation, arXiv 2312.08935 eq. 4; that it is not 0 is the hard one, eq. 3). Nobody annotates
anything: the task's verifier is enough. The last step needs no completions, its label is the response's own verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.core.store import append_jsonl, read_jsonl
from reckon.data.step_labels import cut
from reckon.engine.base import Completion, Request
from reckon.models.steps import StepRule
from reckon.models.template import response_text
from reckon.rollout.sample import Sampler, judge

ROWS_PER_CHUNK = 16
"""Responses labelled between two writes; a kill loses no more than these."""

_NEEDED = ("id", "problem", "question", "gold", "response", "finish")


def label_to_file(
    path: Path,
    sampler: Sampler,
    rows: Sequence[dict[str, Any]],
    steps: StepRule,
    completions: int,
    seed: int,
    *,
    check: Callable[[], None] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict[str, Any]]:
    """Label the steps of responses and append them to ``path``; what the file holds is not labelled again.

    A label depends on the weights, the seed and its own row alone.

    Args:
        rows: as a ``sample`` stage writes them.
        completions: from the end of each step.
        check: called between decoding steps; may raise to abandon the work.
        progress: called with the number of rows the file holds, at the start and after each write.

    Returns:
        the rows of the file: ``id``, ``problem``, ``question``, ``steps``, ``labels`` (None: nothing could be judged),
        ``finish``, and the tokens ``generated`` for the labels.

    Raises:
        DataError: a row lacks something, or ``path`` is damaged or cannot be written.
    """
    made = list(read_jsonl(path)) if path.exists() else []
    progress(len(made))
    for start in range(len(made), len(rows), ROWS_PER_CHUNK):
        fresh = _labelled(rows[start : start + ROWS_PER_CHUNK], sampler, steps, completions, seed, check)
        append_jsonl(path, fresh)
        made += fresh
        progress(len(made))
    return made


def read_responses(sources: Iterable[str]) -> list[dict[str, Any]]:
    """The finished and the truncated responses of ``sample`` stages; empty ones are left out.

    Raises DataError for a file that cannot be read, or holds other rows.
    """
    rows = [row for source in sources for row in read_jsonl(Path(source))]
    for row in rows:
        if missing := [name for name in _NEEDED if name not in row]:
            raise DataError(
                f"a row has no {missing[0]}",
                where=str(row.get("id", ", ".join(sources))),
                why="Its steps are completed and the answers judged as those of the problem",
                fix="Give the rows of a `sample` stage",
            )
    return [row for row in rows if row["finish"] in ("stop", "length") and row["response"].strip()]


def _labelled(
    rows: Sequence[dict[str, Any]],
    sampler: Sampler,
    rule: StepRule,
    completions: int,
    seed: int,
    check: Callable[[], None] | None,
) -> list[dict[str, Any]]:
    asked = [_whole(row, sampler) for row in rows]
    pieces = [cut(r.response, r.finish == "stop", sampler.tokenizer, rule) for r in asked]
    begun = [
        _Begun(rollout, ids[:end], seed_for(seed, "label", row["id"], end, number))
        for row, rollout, (ids, ends, _) in zip(rows, asked, pieces, strict=True)
        for end in ends[:-1]
        for number in range(completions)
    ]
    completed = iter(judge(_completed(begun, sampler, check), sampler.task))
    labelled = []
    for row, rollout, (_, ends, texts) in zip(rows, judge(asked, sampler.task), pieces, strict=True):
        tried = [[next(completed) for _ in range(completions)] for _ in ends[:-1]]
        labelled.append(
            {
                "id": row["id"],
                "problem": row["problem"],
                "question": row["question"],
                "steps": texts,
                "labels": [_share_right(each) for each in [*tried, [rollout]]],
                "finish": row["finish"],
                "generated": sum(len(each.response_ids) for step in tried for each in step),
            }
        )
    return labelled


def _share_right(rollouts: Sequence[Rollout]) -> float | None:
    """Of those that could be judged; None if none could."""
    scores = [each.verdict.score for each in rollouts if each.verdict and each.verdict.score is not None]
    return sum(score >= 1 for score in scores) / len(scores) if scores else None


def _whole(row: dict[str, Any], sampler: Sampler) -> Rollout:
    """The response of a row, as it was sampled, but for tokens that are written otherwise in the same text."""
    problem = Problem(row["problem"], row["question"], json.loads(row["gold"]))
    prompt, prompt_ids = sampler.template.render(problem.question, sampler.tokenizer)
    return Rollout(sampler.task.kind, problem, 0, prompt, prompt_ids, row["response"], [], [], row["finish"], 0)


@dataclass(frozen=True, slots=True)
class _Begun:
    """The first tokens of a response, and the seed to complete them with."""

    rollout: Rollout
    ids: list[int]
    seed: int


def _completed(begun: Sequence[_Begun], sampler: Sampler, check: Callable[[], None] | None) -> list[Rollout]:
    """Each response as the model continues it after its first tokens; ``response_ids`` are the new ones alone.

    One whose beginning is already as long as a response may be is not continued.
    """
    limit = sampler.sampling.max_new_tokens
    requests = [
        Request(
            place,
            [*one.rollout.prompt_ids, *one.ids],
            replace(sampler.sampling, max_new_tokens=limit - len(one.ids)),
            one.seed,
        )
        for place, one in enumerate(begun)
        if len(one.ids) < limit
    ]
    completions = {done.id: done for done in sampler.engine.generate(requests, check)}
    whole = Completion(-1, finish="length")
    return [
        replace(
            one.rollout,
            response=response_text([*one.ids, *done.token_ids], sampler.tokenizer),
            response_ids=done.token_ids,
            finish=done.finish,
        )
        for one, done in ((one, completions.get(place, whole)) for place, one in enumerate(begun))
    ]
