"""Stored samples, whoever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reckon.core.errors import DataError
from reckon.core.records import Rollout
from reckon.core.store import read_jsonl
from reckon.evals.layouts import layout_of, read_lighteval, read_lm_eval, read_table
from reckon.tasks.source import read_rows

SAMPLES = "samples.jsonl"
"""The file of an evaluation's samples, in its folder."""

FAILED = ("error", "cancelled")
"""How a request ends that gave no response."""


def read_samples(path: Path) -> list[Rollout]:
    """The samples of an evaluation's folder, or of a file of ours, of lm-eval's or lighteval's, or a table.

    Those of others carry no verdicts (see :mod:`reckon.evals.layouts`).

    Raises:
        DataError: the file cannot be read, has no samples, or is none of these.
    """
    path = path / SAMPLES if path.is_dir() else path
    if path.suffix == ".parquet":
        found = read_lighteval([row for _, row in read_rows(path, ())], path)
    else:
        rows = read_jsonl(path)
        readers = {"lm-eval": read_lm_eval, "table": read_table, None: read_ours}
        found = readers[_layout(rows, path)](rows, path)
    if not found:
        raise DataError("the file has no samples", where=str(path))
    return found


def _layout(rows: Sequence[dict[str, object]], path: Path) -> str | None:
    """As :func:`layout_of` says of the first row. Raises DataError if it says something else of another."""
    layouts = [layout_of(row) for row in rows] or [None]
    for number, layout in enumerate(layouts, 1):
        if layout != layouts[0]:
            raise DataError(
                "the row is not in the layout of the first one",
                where=f"{path}, row {number}",
                fix="Give a file for each layout, and mend or remove rows that lack a column",
            )
    return layouts[0]


def read_ours(rows: Sequence[dict[str, object]], path: Path) -> list[Rollout]:
    """Rollouts. The same response to the same sample counts once, as files may have been joined; a request that failed
    gives way to what another line says of the same problem and number.

    Raises DataError if a line is not a rollout.
    """
    found: dict[tuple[str, int, int, str | None], Rollout] = {}
    for number, row in enumerate(rows, 1):
        try:
            rollout = Rollout.from_dict(row)
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(
                f"not a rollout ({error})",
                where=f"{path}, row {number}",
                fix="Give a samples.jsonl of reckon eval, a rollouts or evals file of a run, samples of lm-eval or "
                "lighteval, or rows with problem, answer and responses",
            ) from error
        said = None if rollout.finish in FAILED else rollout.response
        found[rollout.problem.id, rollout.sample, rollout.version, said] = rollout
    settled = {(r.problem.id, r.sample) for r in found.values() if r.finish not in FAILED}
    return [r for r in found.values() if r.finish not in FAILED or (r.problem.id, r.sample) not in settled]
