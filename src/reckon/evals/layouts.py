"""Samples as others store them, read as rollouts: lm-eval's JSON lines, lighteval's parquet, tables of responses.

What these files do not say is left open: token ids and log-probabilities are empty, and ``usage`` has the number of
response tokens only where there is one. Where a file says of a single response whether it is right, that is the part
``label`` of its rollout; other numbers per response are parts by the names of their columns.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.evals.choices import LABEL
from reckon.tasks.math.rows import GOLD_COLUMNS, QUESTION_COLUMNS, gold_text

Row = dict[str, Any]

TASK = "math"
"""What responses are taken to answer, where the file does not say."""

_REQUIRED = {"lm-eval": ("doc_id", "resps"), "table": ("responses",)}


def layout_of(row: Row) -> str | None:
    """What wrote a row of JSON lines: ``lm-eval``, a ``table`` of responses, or None, which is nobody known here."""
    return next((name for name, columns in _REQUIRED.items() if all(column in row for column in columns)), None)


def read_lm_eval(rows: Sequence[Row], path: Path) -> list[Rollout]:
    """The rows of a ``samples_TASK_DATE.jsonl`` of lm-eval (0.4): one per document and filter, ``repeats`` responses.

    Of several filters the first is read; the responses are the unfiltered ones, thinking included if it was kept
    (``raw_resps``). A document's metrics are its label if it has one response.

    Raises DataError where a row has no question or no responses, as when the task was scored by log-likelihood.
    """
    found: list[Rollout] = []
    seen: set[Any] = set()
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        if row["doc_id"] in seen:
            continue
        seen.add(row["doc_id"])
        resps = row.get("raw_resps") or row["resps"] or []
        texts = resps[0] if resps and isinstance(resps[0], list) else resps
        if len(resps) != 1 or not _are_texts(texts):
            raise DataError(
                "the row has no generated text, but log-likelihoods of options",
                where=where,
                fix="Give the samples of a task whose output_type is generate_until",
            )
        doc = row["doc"] if isinstance(row.get("doc"), dict) else {}
        prompt = _lm_eval_prompt(row.get("arguments"))
        question = _first(doc, QUESTION_COLUMNS) or prompt
        if not question:
            raise DataError(
                "the row has no question and no prompt",
                where=where,
                why="Its responses would count as answers to the same problem as those of other such rows",
                fix="Give the samples with their doc or arguments",
            )
        gold = gold_text(_first(doc, GOLD_COLUMNS) if row.get("target") in (None, "") else row["target"])
        labels = [row[name] for name in row.get("metrics") or () if row.get(name) in (0, 1)]
        parts = [{LABEL: float(labels[0])}] if labels and len(texts) == 1 else [{} for _ in texts]
        found += _rollouts(str(question), gold, texts, parts, prompt=prompt)
    return found


def _lm_eval_prompt(arguments: Any) -> str:
    """The prompt, which is stored as ``{"gen_args_0": {"arg_0": ...}}``; of a chat, its last turn."""
    try:
        prompt = arguments["gen_args_0"]["arg_0"]
    except (TypeError, LookupError):
        return ""
    try:
        return str(json.loads(prompt)[-1]["content"])
    except (ValueError, TypeError, LookupError):
        return str(prompt)


def read_lighteval(rows: Sequence[Row], path: Path) -> list[Rollout]:
    """The rows of a ``details_TASK_DATE.parquet`` of lighteval: ``doc``, ``model_response`` and ``metric``.

    Versions before 0.13 have the names in double underscores; rows whose types differed are stored as Python's text of
    them. Raises DataError where a row is something else.
    """
    found: list[Rollout] = []
    for number, row in enumerate(rows):
        where = f"{path}, row {number}"
        doc, said, metric = (_section(row, name, where) for name in ("doc", "model_response", "metric"))
        texts, query, gold = said.get("text"), doc.get("query"), _lighteval_gold(doc)
        if not _are_texts(texts) or not query or gold is None:
            raise DataError(
                "the row has no query, no generated text or no gold answer",
                where=where,
                fix="Give a generative task's",
            )
        thoughts = said.get("reasonings") or [None] * len(texts)
        if len(thoughts) != len(texts):
            raise DataError(f"the row has {len(thoughts)} reasonings for {len(texts)} texts", where=where)
        responses = [
            text if thought is None else f"<think>{thought}</think>{text}"
            for text, thought in zip(texts, thoughts, strict=True)
        ]
        labels = [value for value in metric.values() if value in (0, 1)]
        parts = [{LABEL: float(labels[0])}] if labels and len(texts) == 1 else [{} for _ in texts]
        tokens = [len(ids) for ids in said.get("output_tokens") or [] if isinstance(ids, list)]
        found += _rollouts(
            str(doc.get("original_query") or query),
            gold_text(gold),
            responses,
            parts,
            prompt=str(query),
            tokens=tokens if len(tokens) == len(texts) and all(tokens) else None,
        )
    return found


def _lighteval_gold(doc: Row) -> Any:
    """The first of the gold answers, None if there is none."""
    choices, index = doc.get("choices"), doc.get("gold_index")
    first = index[0] if isinstance(index, list) and index else index
    if not isinstance(choices, list) or not isinstance(first, int) or not 0 <= first < len(choices):
        return None
    gold = choices[first]
    return next(iter(gold), None) if isinstance(gold, list) else gold


def _section(row: Row, name: str, where: str) -> Row:
    value = row.get(name, row.get(f"__{name}__"))
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            value = None
    if not isinstance(value, dict):
        raise DataError(
            f"the row has no readable {name!r} (it has: {', '.join(row)})",
            where=where,
            fix="Give a details_*.parquet of lighteval, made with --save-details",
        )
    return value


def read_table(rows: Sequence[Row], path: Path) -> list[Rollout]:
    """One problem a row: question, gold answer, ``responses``, and columns with one value for each of them.

    ``correct`` is what the file's author found; columns of numbers (``reward_scores``) are scores.
    Raises DataError where a row lacks something, or a column has another length.
    """
    found: list[Rollout] = []
    for number, row in enumerate(rows, 1):
        where = f"{path}, row {number}"
        question, gold, responses = _first(row, QUESTION_COLUMNS), _first(row, GOLD_COLUMNS), row["responses"]
        if question is None or gold is None or not _are_texts(responses):
            raise DataError(
                "a row needs a question, a gold answer and responses, which are texts",
                where=where,
                fix=f"Name the columns problem, answer, responses (it has: {', '.join(row)})",
            )
        parts: list[dict[str, float]] = [{} for _ in responses]
        for name, column in row.items():
            if not isinstance(column, list) or not all(isinstance(value, bool | int | float) for value in column):
                continue
            if len(column) != len(responses):
                raise DataError(
                    f"{name!r} has {len(column)} values for {len(responses)} responses",
                    where=where,
                    why="No one could tell which belongs to which",
                )
            for part, value in zip(parts, column, strict=True):
                if name == "correct" and not 0 <= value <= 1:
                    raise DataError(
                        f"the column correct holds {value}", where=where, fix="Give true, false or a share of 1"
                    )
                part[LABEL if name == "correct" else name] = float(value)
        found += _rollouts(str(question), gold_text(gold), responses, parts)
    return found


def _rollouts(
    question: str,
    gold: str,
    responses: Sequence[str],
    parts: Sequence[dict[str, float]],
    *,
    prompt: str = "",
    tokens: Sequence[int] | None = None,
) -> Iterator[Rollout]:
    # As the task math names its problems, so that its evaluations can be compared with these.
    name = f"{TASK}:{hashlib.blake2b(question.strip().encode(), digest_size=8).hexdigest()}"
    for sample, response in enumerate(responses):
        yield Rollout(
            task=TASK,
            problem=Problem(name, question.strip(), gold),
            sample=sample,
            prompt=prompt,
            prompt_ids=[],
            response=response,
            response_ids=[],
            logp=[],
            finish="stop",
            seed=0,
            parts=parts[sample],
            usage={"response": tokens[sample]} if tokens else {},
        )


def _are_texts(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _first(row: Row, columns: Sequence[str]) -> Any:
    return next((row[column] for column in columns if row.get(column) not in (None, "")), None)
