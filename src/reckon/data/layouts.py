"""Supervised data in the layouts people have, recognised by their columns: rows in, conversations out.

A layout is known by which columns a row has, never by a data set's name, so a local copy reads like the original.
Answers keep their text, with one exception: where thinking is a column of its own, or stands between marks of another
form, it becomes ``<think> thinking </think> answer``, which is the form of the rest of this package.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.data.rows import rows_of
from reckon.tasks.answer import ANSWER, END_ANSWER, END_THINK, THINK

Role = Literal["system", "user", "assistant"]
Row = Mapping[str, Any]

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
"""What people call the speakers, and who they are."""

_BEGIN_THOUGHT, _END_THOUGHT = "<|begin_of_thought|>", "<|end_of_thought|>"
_SOLUTION = re.compile(r"<\|(?:begin|end)_of_solution\|>")
_CALCULATOR = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn the last turn of.

    Attributes:
        id: the row's ``id`` or ``uuid``, else its place, as in ``train.jsonl:17``. Several answers of one row share it.
        turns: a system turn or none, then user and assistant in turn; the last is the assistant's.
    """

    id: str
    turns: tuple[Turn, ...]


class Columns(Strict):
    """Which columns hold what, for data in no known layout. ``thinking`` is optional; ``response`` follows it."""

    question: str
    response: str
    thinking: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that a layout is known by, and the conversations of a row: one, several or none."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row], list[list[Turn]]]


class _Unfit(Exception):
    """What is wrong with a row."""


def read_examples(source: str, columns: Columns | None = None) -> Iterator[list[Example]]:
    """The examples of each row. A row has none if nothing in it may be learned: no right answer, or no finished one.

    Args:
        source: a file (``.jsonl``, ``.json``, ``.parquet``), a folder with ``train*`` files, or a hub name,
            ``owner/name`` or ``owner/name:config``.
        columns: read these columns instead of recognising the layout.

    Raises:
        DataError: nothing there, no known layout, or a row that does not fit its own; the file and line are named.
    """
    given = None if columns is None else _mapped(columns)
    for where, row in rows_of(source):
        try:
            layout = given or _layout_of(tuple(row))
        except DataError as error:
            raise DataError(error.what, where=where, fix=error.fix) from None
        try:
            missing = [column for column in layout.columns if column not in row]
            if missing:
                raise _Unfit(f"the row has no column {missing[0]!r} (it has: {', '.join(row)})")
            conversations = [_whole(turns, row.get("system")) for turns in layout.read(row)]
        except _Unfit as error:
            raise DataError(
                f"the row does not fit the layout {layout.name!r}: {error}",
                where=where,
                fix="Mend or remove the row, or name the columns with `columns: {question: ..., response: ...}`",
            ) from None
        name = str(row.get("id") or row.get("uuid") or where)
        yield [Example(name, turns) for turns in conversations if _ends(turns[-1].text)]


def thought(thinking: str, rest: str) -> str:
    """A response in this package's form."""
    return f"{THINK} {thinking.strip()} {END_THINK} {rest.strip()}"


# ------------------------------------------------------------------------------------------- conversations


def _whole(turns: list[Turn], system: Any) -> tuple[Turn, ...]:
    """The conversation with its system turn, if any, in front. Raises _Unfit unless the speakers take turns."""
    if isinstance(system, str) and turns and turns[0].role != "system":
        turns = [Turn("system", system), *turns]
    if turns and turns[0].role == "system" and (not turns[0].text.strip() or _BEGIN_THOUGHT in turns[0].text):
        # Empty, or it asks for marks that the answers, rewritten, no longer have.
        turns = turns[1:]
    spoken = [turn.role for turn in turns if turn.role != "system"]
    if spoken != ["user", "assistant"] * (len(spoken) // 2) or not spoken:
        raise _Unfit(f"user and assistant must take turns and the assistant end, but the roles are {', '.join(spoken)}")
    if any(turn.role == "system" for turn in turns[1:]):
        raise _Unfit("a system turn must be the first")
    if not all(turn.text.strip() for turn in turns):
        raise _Unfit("a turn is empty")
    return tuple(turns)


def _ends(response: str) -> bool:
    """Whether thinking that was begun is also ended; to learn from it otherwise would be to learn not to end."""
    return THINK not in response or END_THINK in response


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Unfit(f"{what} must be text, not {type(value).__name__}")
    return value


def _first(value: Any, what: str) -> str:
    """The text, or the first of several."""
    return _text(value[0] if isinstance(value, list) and value else value, what)


def _said(value: Any, role: Role, what: str) -> list[Turn]:
    """One side of a pair of columns: a text, or a list of messages."""
    return _messages(value, what) if isinstance(value, list) else [Turn(role, _text(value, what))]


def _messages(value: Any, what: str) -> list[Turn]:
    """Messages with ``role`` and ``content``, or ``from`` and ``value``."""
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise _Unfit(f"{what} must be a list of messages")
    turns = []
    for message in value:
        speaker = message.get("role", message.get("from"))
        role = ROLES.get(str(speaker).lower())
        if role is None:
            raise _Unfit(f"unknown role {speaker!r} in {what} (known: {', '.join(ROLES)})")
        text = _text(message.get("content", message.get("value")), f"what the {role} says in {what}")
        turns.append(Turn(role, _answer(message, text) if role == "assistant" else text))
    return turns


def _answer(message: Row, text: str) -> str:
    """An assistant's message with its thinking, which may be a field of its own, in this package's form."""
    _, opened, rest = text.partition(_BEGIN_THOUGHT)
    if opened:
        thinking, closed, rest = rest.partition(_END_THOUGHT)
        return thought(thinking, _SOLUTION.sub("", rest)) if closed else f"{THINK} {thinking.strip()}"
    info = message.get("info")
    places = (message.get("reasoning_content"), info.get("think_content") if isinstance(info, dict) else None)
    thinking = next((place for place in places if isinstance(place, str) and place.strip()), "")
    return thought(thinking, text) if thinking and END_THINK not in text else text


# ------------------------------------------------------------------------------------------------- layouts


def _pair(question: str, response: str) -> Callable[[Row], list[list[Turn]]]:
    """Two columns, each a text or a list of messages."""

    def read(row: Row) -> list[list[Turn]]:
        return [_said(row[question], "user", question) + _said(row[response], "assistant", response)]

    return read


def _thinking(question: str, thinking: str, response: str) -> Callable[[Row], list[list[Turn]]]:
    """Three columns, with the thinking in one of its own; it and the response may be the first of a list."""

    def read(row: Row) -> list[list[Turn]]:
        text = thought(_first(row[thinking], thinking), _first(row[response], response))
        return [[Turn("user", _text(row[question], question)), Turn("assistant", text)]]

    return read


def _list(column: str) -> Callable[[Row], list[list[Turn]]]:
    return lambda row: [_messages(row[column], column)]


def _openr1(row: Row) -> list[list[Turn]]:
    """Every generation that was found right and, where the row tells, complete."""
    right, texts = row["correctness_math_verify"], row["generations"]
    complete = row.get("is_reasoning_complete") or [True] * len(texts or ())
    if not all(isinstance(column, list) and len(column) == len(texts) for column in (texts, right, complete)):
        raise _Unfit("generations, correctness_math_verify and is_reasoning_complete must be lists of one length")
    question = Turn("user", _text(row["problem"], "problem"))
    kept = [text for text, *flags in zip(texts, right, complete, strict=True) if all(flags)]
    return [[question, Turn("assistant", _text(text, "a generation"))] for text in kept]


def _instruction(response: str) -> Callable[[Row], list[list[Turn]]]:
    """An instruction, and what it is to be applied to."""

    def read(row: Row) -> list[list[Turn]]:
        parts = [_text(row["instruction"], "instruction"), row.get("input") or row.get("context") or ""]
        question = "\n\n".join(part for part in (_text(part, "input") for part in parts) if part.strip())
        return [[Turn("user", question), Turn("assistant", _text(row[response], response))]]

    return read


def _sampled(row: Row) -> list[list[Turn]]:
    """A row that `sample` or `curate` wrote, or any other question with its response, unless it was cut off."""
    return _pair("question", "response")(row) if row.get("finish", "stop") == "stop" else []


def _solved(row: Row) -> list[list[Turn]]:
    """A chain of thought in ``solution`` and the bare answer in ``answer``."""
    solution, answer = _text(row["solution"], "solution"), str(row["answer"])
    text = solution if END_THINK in solution else thought(solution, f"{ANSWER} {answer.strip()} {END_ANSWER}")
    return [[Turn("user", _text(row["question"], "question")), Turn("assistant", text)]]


def _gsm8k(row: Row) -> list[list[Turn]]:
    """The working before ``####``, less the calculator's marks, is the thinking; without any, the answer stays."""
    text = _text(row["answer"], "answer")
    working, marked, answer = text.rpartition("####")
    if marked:
        text = thought(_CALCULATOR.sub("", working), f"{ANSWER} {answer.strip()} {END_ANSWER}")
    return [[Turn("user", _text(row["question"], "question")), Turn("assistant", text)]]


LAYOUTS = (
    Layout("OpenR1-Math", ("problem", "generations", "correctness_math_verify"), _openr1),
    Layout("messages", ("messages",), _list("messages")),
    Layout("conversations", ("conversations",), _list("conversations")),
    Layout(
        "OpenThoughts metadata",
        ("problem", "deepseek_reasoning", "deepseek_solution"),
        _thinking("problem", "deepseek_reasoning", "deepseek_solution"),
    ),
    Layout(
        "s1K-1.1",
        ("question", "deepseek_thinking_trajectory", "deepseek_attempt"),
        _thinking("question", "deepseek_thinking_trajectory", "deepseek_attempt"),
    ),
    Layout(
        "s1K",
        ("question", "thinking_trajectories", "attempt"),
        _thinking("question", "thinking_trajectories", "attempt"),
    ),
    Layout("question and response", ("question", "response"), _sampled),
    Layout("prompt and completion", ("prompt", "completion"), _pair("prompt", "completion")),
    Layout("prompt and response", ("prompt", "response"), _pair("prompt", "response")),
    Layout("instruction and output", ("instruction", "output"), _instruction("output")),
    Layout("instruction and response", ("instruction", "response"), _instruction("response")),
    Layout("OpenMathReasoning", ("problem", "generated_solution"), _pair("problem", "generated_solution")),
    Layout("LIMO", ("question", "solution", "answer"), _solved),
    Layout("NuminaMath", ("problem", "solution"), _pair("problem", "solution")),
    Layout("GSM8K", ("question", "answer"), _gsm8k),
)
"""The known layouts. The first whose columns a row has is its own, so the special ones come before the general."""


def _mapped(columns: Columns) -> Layout:
    names = (columns.question, columns.thinking, columns.response)
    if columns.thinking is None:
        return Layout("columns", (columns.question, columns.response), _pair(columns.question, columns.response))
    reader = _thinking(columns.question, columns.thinking, columns.response)
    return Layout("columns", tuple(name for name in names if name), reader)


@lru_cache(maxsize=64)
def _layout_of(columns: tuple[str, ...]) -> Layout:
    """The layout of rows with these columns. Raises DataError, which names the nearest one, when there is none."""
    for layout in LAYOUTS:
        if set(layout.columns) <= set(columns):
            return layout

    def likeness(layout: Layout) -> float:
        ratios = [max(difflib.SequenceMatcher(None, a, b).ratio() for b in columns) for a in layout.columns if columns]
        return sum(ratios) / len(layout.columns)

    nearest = max(LAYOUTS, key=likeness)
    raise DataError(
        f"no known layout of supervised data fits the columns {', '.join(columns) or '(none)'}; the nearest, "
        f"{nearest.name!r}, needs {', '.join(nearest.columns)}",
        fix="Name them with `columns: {question: ..., response: ...}`",
    )
