"""The kinds of answers, how a gold tells its kind, and how an answer is judged as one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from reckon.tasks.math import words
from reckon.tasks.math.compare import Equal, does_no_work, same, spread
from reckon.tasks.math.number import exact
from reckon.tasks.math.parser import read
from reckon.tasks.math.values import (
    INFINITY,
    UNORDERED,
    Chain,
    Group,
    Matrix,
    Num,
    Op,
    Quantity,
    Sym,
    TooLarge,
    Undefined,
    Union,
    Unreadable,
    Value,
    Words,
    symbols,
)

FORMULAS = (
    "number", "percent", "unit", "set", "list", "tuple", "interval", "inequality", "equation", "ratio", "matrix",
    "expression",
)  # fmt: skip
KINDS = ("choice", "yesno", "date", "time", "base", "text", *FORMULAS)
"""The kinds that may be asked for; without one, the gold tells."""

Reason = str
_DECIMAL_COMMA = re.compile(r"(-?)(0|\d+),(\d+)")
_DECIMAL = re.compile(r"-?\d+\.\d+")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_PROSE = re.compile(r"[A-Za-z]{4,}|\$|[\u3400-\u9fff]")
_PHRASE = re.compile(r"\\text\s*\{(?=[^{}]*[A-Za-z])[^{}]*\s")


@dataclass(frozen=True)
class Judgement:
    """``reason`` is ``correct``, ``wrong``, ``hedged``, ``unparsable answer`` or ``unparsable gold``."""

    reason: Reason
    by: str


def kind_of(gold: str) -> str | None:
    """The kind that a canonical gold text is of; None if it cannot be judged at all."""
    if not gold.strip(" .?") or words.unwrapped(gold).casefold() in ("proof", "notfound", "nan", "null", "n/a"):
        return None
    if words.gold_choice(gold) or words.gold_option(gold):
        return "choice"
    if words.truth(gold) is not None:
        return "yesno"
    if words.date(gold):
        return "date"
    if words.clock(gold):
        return "time"
    based = words.in_base(gold)
    if based and based[1]:
        return "base"
    try:
        return _shape(read(gold))
    except (Unreadable, Undefined, TooLarge, RecursionError):
        return "text" if says_words(gold) or "\\" not in gold else "expression"


def says_words(text: str) -> bool:
    """Whether there is prose in a formula, its commands left out."""
    return bool(_PROSE.search(_COMMAND.sub(" ", text)) or ("\\begin" not in text and _PHRASE.search(text)))


def _shape(value: Value) -> str:
    match value:
        case Words():
            return "text"
        case Quantity(percent=True):
            return "percent"
        case Quantity():
            return "unit"
        case Num():
            return "number"
        case Matrix():
            return "matrix"
        case Union():
            return "interval"
        case Chain(ops=ops):
            if set(ops) <= {":", "∖"}:
                return "ratio" if ":" in ops else "interval"
            return "equation" if set(ops) <= {"=", "≈", "∈"} else "inequality"
        case Group(opening, closing, items):
            if opening in UNORDERED:
                return "set" if opening else "list"
            ends = {item.args[0] if isinstance(item, Op) and item.name == "neg" else item for item in items}
            return "interval" if (opening, closing) != ("(", ")") or INFINITY in ends else "tuple"
    return "expression" if symbols(value) else "number"


def judge(gold: str, answer: str, kind: str, equal: Equal) -> Judgement:
    """Whether ``answer`` (canonical, like ``gold``) is right. Raises Undecided where ``equal`` does."""
    if kind == "choice" and (stated := words.gold_option(gold)):
        return _option(*stated, answer, equal)
    if kind not in FORMULAS:
        return Judgement(_WORDED[kind](gold, answer), kind)
    if gold == answer:
        return Judgement("correct", "text")
    try:
        return _formula(gold, answer, equal)
    except RecursionError:
        return Judgement("unparsable answer", "nested too deeply")


# ---------------------------------------------------------------------------------------------- formulas


def _formula(gold: str, answer: str, equal: Equal) -> Judgement:
    """Compares what both texts say, under each way of reading the commas in their numbers."""
    if _same_decimal_comma(gold, answer) or _same_digits(gold, answer):
        return Judgement("correct", "number")
    last = Judgement("unparsable gold", "parser")
    for grouped in (True, False):
        if not grouped and not _may_be_list(gold):
            break
        try:
            target = read(gold, grouped)
        except (Unreadable, Undefined, TooLarge):
            continue
        last = _best(_readings(answer, grouped, target), target, equal)
        if last.reason == "correct":
            break
    return last


def _best(readings: Iterator[Value], target: Value, equal: Equal) -> Judgement:
    found = Judgement("unparsable answer", "parser")
    for value in readings:
        reason, by = "wrong", "exact"
        try:
            if does_no_work(target, value):
                by = "unworked"
            elif same(target, value, equal):
                return Judgement("correct", "exact")
            elif _hedges(target, value):
                reason = "hedged"
        except (Undefined, TooLarge) as error:
            reason, by = "unparsable answer", str(error)
        if found.reason == "unparsable answer":
            found = Judgement(reason, by)
    return found


def _readings(answer: str, grouped: bool, target: Value) -> Iterator[Value]:
    """The values that an answer may be: as it stands, and with letters after numbers as units if the gold has none."""
    first = None
    try:
        first = read(answer, grouped)
        yield first
    except (Unreadable, Undefined, TooLarge):
        pass
    if symbols(target) or not any(character.isalpha() for character in answer):
        return
    try:
        second = read(answer, grouped, constant=True)
    except (Unreadable, Undefined, TooLarge):
        return
    glued = isinstance(second, Quantity) and not (isinstance(target, Quantity) and target.unit) and " " not in answer
    if second != first and not glued:
        yield second


def _may_be_list(gold: str) -> bool:
    """Whether ``100,200`` might be two numbers: no group of digits begins with a zero."""
    return bool(re.search(r"\d,[1-9]\d\d", gold))


def _same_decimal_comma(gold: str, answer: str) -> bool:
    """Whether one is the other with a comma for the decimal point: ``0,5``, ``1,22``."""
    for one, other in ((gold, answer), (answer, gold)):
        match = _DECIMAL_COMMA.fullmatch(one)
        decimal = match and (match[2] == "0" or len(match[3]) not in (1, 3)) and _DECIMAL.fullmatch(other)
        if decimal and Fraction(one.replace(",", ".")) == Fraction(other):
            return True
    return False


def _same_digits(gold: str, answer: str) -> bool:
    """Whether the answer is the gold's digits with a base that they can be written in: ``1100_2`` for ``1100``."""
    said = words.in_base(answer)
    return bool(said and said[1] and gold.isdecimal() and words.in_base(gold) == (said[0], None))


def _hedges(target: Value, value: Value) -> bool:
    """Whether the answer names alternatives, and the gold does not."""
    value, target = spread(value), spread(target)
    return isinstance(value, Group) and not value.open and not isinstance(target, Group)


def display(text: str) -> str:
    """An answer as votes are counted: equal answers read the same, as far as that is cheap to tell."""
    try:
        return _shown(read(text)) or text
    except (Unreadable, Undefined, TooLarge, RecursionError):
        return text


def _shown(value: Value) -> str | None:
    match value:
        case Quantity(node, unit, percent):
            inner = _shown(node)
            return None if inner is None else inner + ("%" if percent else f" {unit}" if unit else "")
        case Chain((Sym() | Words(), last), ("=",)):
            return _shown(last)
        case Group(opening, closing, items):
            shown = [_shown(item) for item in items]
            if any(item is None for item in shown):
                return None
            listed = [item for item in shown if item is not None]
            return opening + ", ".join(sorted(set(listed)) if opening in UNORDERED else listed) + closing
        case Num() | Op() if not symbols(value):
            try:
                number = exact(value)
            except (Undefined, TooLarge):
                return None
            short = number is not None and max(number.numerator.bit_length(), number.denominator.bit_length()) < 2_000
            return str(number) if short else None
    return None


# ------------------------------------------------------------------------------------------------- words


def _choice(gold: str, answer: str) -> Reason:
    wanted, chosen = words.gold_choice(gold), words.choice(answer)
    if wanted and chosen and chosen > wanted:
        return "hedged"
    return _equal(wanted, chosen)


def _option(letter: str, value: str, answer: str, equal: Equal) -> Judgement:
    """Judges by a gold that has the letter and the value: either is right alone, and both must be where both are."""
    if stated := words.option(answer):
        if stated[0] != letter:
            return Judgement("wrong", "choice")
        answer = stated[1]
    elif chosen := words.choice(answer):
        reason = _choice(letter, answer)
        if reason != "wrong" or len(chosen) > 1:
            return Judgement(reason, "choice")
    kind = kind_of(value)
    return judge(value, answer, kind, equal) if kind else Judgement("unparsable gold", "choice")


def _time(gold: str, answer: str) -> Reason:
    wanted, said = words.clock(gold), words.clock(answer)
    return "correct" if wanted and said and wanted.meets(said) else _equal(wanted, said)


def _base(gold: str, answer: str) -> Reason:
    wanted, said = words.in_base(gold), words.in_base(answer)
    if wanted and said and None in (wanted[1], said[1]):
        return _equal(wanted[0], said[0])
    return _equal(wanted, said)


def _text(gold: str, answer: str) -> Reason:
    if not words.normal(gold):
        return "unparsable gold"
    listed = words.texts(gold) == words.texts(answer) != frozenset()
    return "correct" if listed or words.normal(gold) == words.normal(answer) else "wrong"


def _equal(gold: object, answer: object) -> Reason:
    if gold is None:
        return "unparsable gold"
    if answer is None:
        return "unparsable answer"
    return "correct" if gold == answer else "wrong"


_WORDED: dict[str, Callable[[str, str], Reason]] = {
    "choice": _choice,
    "yesno": lambda gold, answer: _equal(words.truth(gold), words.truth(answer)),
    "date": lambda gold, answer: _equal(words.date(gold), words.date(answer)),
    "time": _time,
    "base": _base,
    "text": _text,
}
