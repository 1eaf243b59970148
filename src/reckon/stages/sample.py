"""The sample stage: a model's responses to a task's problems, judged and kept as plain rows."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.core.store import append_jsonl, read_jsonl
from reckon.rollout.sample import Sampler
from reckon.search.sampler import SearchSampler

REQUESTS_PER_CHUNK = 512
"""Responses generated between two writes; a kill loses no more. A search counts as those that its budget can pay."""


class Shots(Strict):
    """Worked examples before every problem, as DeepSeek-R1's cold start asks a base (arXiv 2501.12948, sec. 2.3.1).

    Attributes:
        data: rows with a question and a response.
        count: examples before each problem, drawn by seed among those of the same task, or among all if the rows say no
            task or there are too few; never one of the problem itself.
    """

    data: str
    count: int = Field(2, ge=1)


def sample_to_file(
    path: Path,
    sampler: Sampler | SearchSampler,
    problems: Sequence[Problem],
    samples: int,
    seed: int,
    model: str,
    *,
    shots: Shots | None = None,
    check: Callable[[], None] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict[str, Any]]:
    """Ask every problem ``samples`` times and append the responses to ``path``; what the file holds is not asked again.

    Args:
        sampler: with a search in it, each row is the response that one search chose.
        model: what the rows give as their model.
        check: called between decoding steps; may raise to abandon the work.
        progress: called with the number of rows the file holds, at the start and after each write.

    Returns:
        the rows of the file, in the order of problems, then samples.

    Raises:
        DataError: ``path`` is damaged or cannot be written, or the worked examples cannot be used.
    """
    rows = list(read_jsonl(path)) if path.exists() else []
    done = {(row["problem"], row["sample"]) for row in rows}
    examples = _examples(shots) if shots is not None else []
    progress(len(rows))
    asked = sampler.searcher.sampler if isinstance(sampler, SearchSampler) else sampler
    size = max(1, REQUESTS_PER_CHUNK // (samples * _responses(sampler)))
    for start in range(0, len(problems), size):
        chunk = problems[start : start + size]
        shown = (
            {problem.id: _shown(asked, problem, examples, shots.count, seed) for problem in chunk} if shots else None
        )
        new = sampler.ask(chunk, samples, (seed, "sample"), shown=shown, check=check, done=done)
        fresh = [row_of(rollout, model) for rollout in new]
        append_jsonl(path, fresh)
        rows += fresh
        progress(len(rows))
    return rows


def row_of(rollout: Rollout, model: str) -> dict[str, Any]:
    """A judged rollout as a row of data: plain columns that have one type whatever the task.

    That of a search also has what it cost, see :func:`reckon.search.sampler.cost`.
    """
    verdict = rollout.verdict
    return {
        "id": f"{model}:{rollout.problem.id}:{rollout.sample}",
        "task": rollout.task,
        "problem": rollout.problem.id,
        "question": rollout.problem.question,
        "gold": json.dumps(rollout.problem.gold, ensure_ascii=False),
        "prompt": rollout.prompt,
        "response": rollout.response,
        "score": verdict.score if verdict else None,
        "reason": verdict.reason if verdict else "",
        "extracted": verdict.extracted if verdict else None,
        "finish": rollout.finish,
        "tokens": len(rollout.response_ids),
        "model": model,
        "sample": rollout.sample,
        **(verdict.detail.get("search", {}) if verdict else {}),
    }


def figures_of(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Counts for the stage's manifest: rows, right responses, and all tokens that were generated for them."""
    return {
        "rows": len(rows),
        "right": sum((row["score"] or 0) >= 1 for row in rows),
        "generated_tokens": sum(row.get("generated", row["tokens"]) for row in rows),
    }


def _responses(sampler: Sampler | SearchSampler) -> int:
    """How many of the longest responses a sample can cost."""
    if isinstance(sampler, Sampler):
        return 1
    return math.ceil(sampler.budget / sampler.searcher.sampler.sampling.max_new_tokens)


def _examples(shots: Shots) -> list[dict[str, Any]]:
    found = [row for row in read_jsonl(Path(shots.data)) if "question" in row and "response" in row]
    if len(found) <= shots.count:
        raise DataError(
            f"{len(found)} worked examples are too few to show {shots.count} before every problem",
            where=shots.data,
            fix="Give more rows with a question and a response, or lower shots.count",
        )
    return found


def _shown(sampler: Sampler, problem: Problem, examples: list[dict[str, Any]], count: int, seed: int) -> Sequence[int]:
    """The token ids of the problem's prompt after ``count`` worked examples of other questions."""
    others = [row for row in examples if row["question"] != problem.question]
    alike = [row for row in others if row.get("task") == sampler.task.member(problem).kind]
    among = alike if len(alike) >= count else others
    chosen = random.Random(seed_for(seed, "shots", problem.id)).sample(among, count)
    pairs = [(str(row["question"]), str(row["response"])) for row in chosen]
    return sampler.template.render_after(pairs, problem.question, sampler.tokenizer)
