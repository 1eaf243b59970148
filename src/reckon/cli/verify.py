"""``reckon verify FILE``: grade responses in a file; see where two verifiers, or a verifier and labels, disagree."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reckon.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rich.console import Console

    from reckon.core.records import Verdict
    from reckon.tasks.verifiers import Verifier

KIND = "kind"
_AT_ONCE = 500
"""Rows between two looks at the progress bar."""


@dataclass(frozen=True)
class Row:
    """One response to grade.

    Attributes:
        where: its place in the file.
        label: whether it is right, as the file says; None if it does not.
    """

    where: str
    response: str
    gold: str
    kind: str | None
    label: bool | None


def command(
    file: Annotated[
        Path, typer.Argument(help="JSON lines or .parquet, with the columns gold, response and maybe kind.")
    ],
    verifier: Annotated[str, typer.Option(help="math, math-verify, boxed or exact.")] = "math",
    against: Annotated[str | None, typer.Option(help="Another verifier, to list where the two disagree.")] = None,
    gold_key: Annotated[str, typer.Option(help="The column of the gold answer, or a field: a.b.")] = "gold",
    response_key: Annotated[str, typer.Option(help="The column of the response, or of a list of them.")] = "response",
    label_key: Annotated[
        str | None, typer.Option(help="A column that says whether the response is right, to list the disagreements.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per row and nothing else.")] = False,
) -> None:
    """Grade a file of responses against their golds, with reasons. The exit code is 0 even if all are wrong."""
    from reckon.tasks.verifiers import verifier as verifier_of

    if against == verifier:
        raise ConfigError("a verifier always agrees with itself", where="--against", fix="Name another one")
    judges = {name: verifier_of(name) for name in (verifier, against) if name is not None}
    rows = list(_rows(file, gold_key, response_key, label_key))
    if not rows:
        raise DataError("there is no row to grade", where=str(file))
    verdicts = {name: _judge(judge, rows) for name, judge in judges.items()}
    if as_json:
        for row, *said in zip(rows, *verdicts.values(), strict=True):
            print(json.dumps(_line(row, *said)))
        return

    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for name, said in verdicts.items():
        _print_reasons(console, f"{name}: {len(rows)} rows of {file}", rows, said)
        if label_key is not None:
            _print_labels(console, name, rows, said)
    if against is not None:
        _print_disagreements(console, rows, verdicts)


# ---------------------------------------------------------------------------------------------- reading


def _rows(file: Path, gold_key: str, response_key: str, label_key: str | None) -> Iterator[Row]:
    """The responses of a file, one or several per line. Every fault is a DataError that names file and line."""
    from reckon.tasks.source import read_rows

    if file.is_dir():
        raise DataError("this is a folder", where=str(file), fix="Name a file in it")
    if not file.is_file():
        raise DataError("there is no such file", where=str(file))
    for where, row in read_rows(file, []):
        gold, kind = _text(_held(row, gold_key, where), gold_key, where), row.get(KIND)
        if kind is not None and not isinstance(kind, str):
            raise DataError(f"the column {KIND!r} holds {kind!r}, which is no text", where=where)
        responses = _held(row, response_key, where)
        labels = _held(row, label_key, where) if label_key is not None else None
        if not isinstance(responses, list):
            yield Row(where, _text(responses, response_key, where), gold, kind, _label(labels, label_key, where))
            continue
        if label_key is None:
            labels = [None] * len(responses)
        elif not isinstance(labels, list) or len(labels) != len(responses):
            raise DataError(f"the column {label_key!r} does not hold one label for each response", where=where)
        for number, (response, label) in enumerate(zip(responses, labels, strict=True), 1):
            place = f"{where}, response {number}"
            yield Row(place, _text(response, response_key, place), gold, kind, _label(label, label_key, place))


def _held(row: dict[str, Any], column: str, where: str) -> Any:
    """What a column holds, or a field of a column that has fields: ``reward_model.ground_truth``."""
    if column in row:
        return row[column]
    held: Any = row
    for name in column.split("."):
        if not isinstance(held, dict) or name not in held:
            raise DataError(f"the row has no column {column!r} (it has: {', '.join(row)})", where=where)
        held = held[name]
    return held


def _text(value: Any, column: str, where: str) -> str:
    """A text; a number counts as one, and one that is not finite (``1e400``, ``NaN``) as an empty one."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"the column {column!r} holds {_short(repr(value))}, which is no text", where=where)
    return "" if isinstance(value, float) and not math.isfinite(value) else str(value)


def _label(value: Any, column: str | None, where: str) -> bool | None:
    if column is None:
        return None
    if value not in (0, 1):  # True and False too
        raise DataError(
            f"the column {column!r} holds {_short(repr(value))}, which is no label",
            where=where,
            fix="A label is true or false, 1 or 0",
        )
    return bool(value)


# ---------------------------------------------------------------------------------------------- judging


def _judge(judge: Verifier, rows: Sequence[Row]) -> list[Verdict]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    verdicts: list[Verdict] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("rows", total=len(rows))
        while len(verdicts) < len(rows):
            some = rows[len(verdicts) : len(verdicts) + _AT_ONCE]
            verdicts += judge([(row.response, row.gold, row.kind) for row in some])
            bar.update(line, completed=len(verdicts))
    return verdicts


def _line(row: Row, verdict: Verdict, other: Verdict | None = None) -> dict[str, Any]:
    """What ``--json`` prints of a row."""
    line = _fields(verdict)
    if row.label is not None:
        line["label"] = row.label
    if other is not None:
        line["against"] = _fields(other)
    return line


def _fields(verdict: Verdict) -> dict[str, Any]:
    score = None if verdict.score is None else int(verdict.score == 1)
    return {"score": score, "reason": verdict.reason, "extracted": verdict.extracted, "seconds": verdict.seconds}


# ---------------------------------------------------------------------------------------------- showing


def _print_reasons(console: Console, title: str, rows: Sequence[Row], verdicts: Sequence[Verdict]) -> None:
    from rich.table import Table
    from rich.text import Text

    by_reason: dict[tuple[float | None, str], list[int]] = {}
    for place, verdict in enumerate(verdicts):
        by_reason.setdefault((verdict.score, verdict.reason), []).append(place)
    table = Table("reason", "score", title=_short(title), title_justify="left")
    for name in ("rows", "share", "median s", "slowest s"):
        table.add_column(name, justify="right")
    for (score, reason), places in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        seconds = [verdicts[place].seconds for place in places]
        cells = [
            _short(reason),
            "absent" if score is None else f"{score:g}",
            str(len(places)),
            f"{len(places) / len(rows):.1%}",
            f"{statistics.median(seconds):.4f}",
            f"{max(seconds):.4f}",
        ]
        table.add_row(*map(Text, cells))
    console.print(table)
    right = sum(verdict.score == 1 for verdict in verdicts)
    absent = sum(verdict.score is None for verdict in verdicts)
    slowest = max(range(len(rows)), key=lambda place: verdicts[place].seconds)
    console.print(
        f"{right} right, {len(rows) - right - absent} wrong, {absent} not judged; "
        f"the slowest is {_short(rows[slowest].where)}\n"
    )


def _print_labels(console: Console, name: str, rows: Sequence[Row], verdicts: Sequence[Verdict]) -> None:
    """How the verdicts agree with the labels of the file, and where they do not."""
    judged = [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if verdict.score is not None]
    differ = [(row, verdict) for row, verdict in judged if (verdict.score == 1) != row.label]
    lenient = sum(not row.label for row, _ in differ)
    console.print(
        f"{name} agrees with {len(judged) - len(differ)} of {len(judged)} labels: "
        f"{lenient} labelled wrong count as right, {len(differ) - lenient} labelled right count as wrong"
    )
    for row, verdict in differ:
        _print_row(console, row, [("label", "right" if row.label else "wrong"), (name, _said(verdict))])
    console.print()


def _print_disagreements(console: Console, rows: Sequence[Row], verdicts: dict[str, list[Verdict]]) -> None:
    """Where one verifier says right and the other does not."""
    (one, ours), (other, theirs) = verdicts.items()
    differ = [place for place in range(len(rows)) if (ours[place].score == 1) != (theirs[place].score == 1)]
    alone = sum(ours[place].score == 1 for place in differ)
    console.print(
        f"{one} and {other} agree on {len(rows) - len(differ)} of {len(rows)} rows: "
        f"{alone} are right to {one} only, {len(differ) - alone} to {other} only"
    )
    for place in differ:
        _print_row(console, rows[place], [(name, _said(said[place])) for name, said in verdicts.items()])


def _print_row(console: Console, row: Row, lines: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in (*lines, ("gold", "")))
    console.print(f"\n{_short(row.where)}")
    for name, text in (("gold", _short(row.gold)), *lines):
        console.print(f"  {name:<{width}}  {text}")


def _said(verdict: Verdict) -> str:
    extracted = "" if verdict.extracted is None else f": {_short(verdict.extracted)}"
    return f"{_short(verdict.reason)}{extracted}"


def _short(text: str) -> str:
    """Text of a model or a file as one line that a terminal may be shown."""
    from reckon.core.text import clean

    line = " ".join(clean(text[:1000]).split())
    return line if len(line) <= 100 else f"{line[:99]}…"
