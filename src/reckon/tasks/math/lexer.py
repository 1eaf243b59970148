"""From a canonical text to tokens. Words of ``\\text{...}`` and of plain prose are told from products of variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from reckon.tasks.math.number import han_fraction, read_han
from reckon.tasks.math.units import CANONICAL, PERCENT_WORDS, SCALES
from reckon.tasks.math.values import Unreadable

Kind = Literal["number", "name", "word", "command", "sign", "end"]

FUNCTIONS = frozenset({
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "sinh", "cosh", "tanh", "coth",
    "ln", "log", "lg", "exp", "sqrt", "max", "min", "gcd", "lcm", "abs",
})  # fmt: skip
GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
})  # fmt: skip
JOINERS = {"and": "and", "or": "or", "和": "and", "与": "and", "及": "and", "且": "and", "或": "or", "或者": "or"}
_UNIT_PRECEDES = frozenset({")", "}", "π", "/", "*", "°"})
_NAMED = {"pi": "π", "infinity": "∞", "inf": "∞", "oo": "∞", "degrees": "°", "degree": "°"}

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+\.[0-9]+|[0-9]+\.(?![0-9.])|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+(?![0-9.]))?)"
    r"|(?P<command>\\(?:text|begin|end)\s*\{|\\[a-zA-Z]+)"
    r"|(?P<letters>[A-Za-z]+)"
    r"|(?P<han>[\u3400-\u9fff]+)"
    r"|(?P<space>\s+)"
    r"|(?P<sign>\*\*|\\\\|<=|>=|!=|==|.)",
    re.DOTALL,
)
_GROUPS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_ABBREVIATION = re.compile(r"(?<=[A-Za-z]{2})\.(?=\s|$)")
_SIGN_WORDS = {"**": "^", "<=": "≤", ">=": "≥", "!=": "≠", "==": "="}


@dataclass(frozen=True, slots=True)
class Token:
    """``spaced``: white space precedes it."""

    kind: Kind
    text: str
    spaced: bool = False


def tokens(text: str, grouped: bool = True) -> list[Token]:
    """The tokens of a canonical text.

    Args:
        grouped: read ``1,234`` as one number rather than as two; inside brackets only where another comma, with a space
            after it, separates.

    Raises Unreadable if a brace of a ``\\text`` is missing.
    """
    if grouped:
        text = _ungroup(text)
    found: list[Token] = []
    _read(text, found, wordy=False)
    return found


def _ungroup(text: str) -> str:
    if not _GROUPS.search(text):
        return text
    bracketed = any(character in text for character in "([⦃")
    if bracketed and ", " not in text:
        return text
    return _GROUPS.sub(lambda match: match.group().replace(",", ""), text)


def _read(text: str, found: list[Token], wordy: bool) -> None:
    """Append the tokens of ``text``; ``wordy``: it stands inside ``\\text{...}``."""
    position, spaced = 0, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        kind, piece, position = match.lastgroup, match.group(), match.end()
        if kind == "space":
            spaced = True
            continue
        if kind == "number":
            found.append(Token("number", piece, spaced))
        elif kind == "letters":
            _letters(piece, spaced, wordy, text, found)
        elif kind == "han":
            _han(piece, spaced, found)
        elif kind == "command":
            position = _command(piece, text, position, spaced, found)
        else:
            found.append(Token("sign", _SIGN_WORDS.get(piece, piece), spaced))
        spaced = False


def _command(piece: str, text: str, position: int, spaced: bool, found: list[Token]) -> int:
    """Append a command's tokens; returns where the text goes on."""
    if not piece.endswith("{"):
        name = piece[1:]
        if name == "Omega" and found and found[-1].kind == "number":
            found.append(Token("word", "Ω", spaced))
            return position
        found.append(Token("name" if name in FUNCTIONS else "command", name, spaced))
        return position
    end = _closing(text, position)
    inside = text[position:end]
    if piece.startswith("\\text"):
        _text(inside, spaced, found)
    else:
        found.append(Token("command", f"{piece[1:-1].strip()} {inside.strip()}", spaced))
    return end + 1


def _text(inside: str, spaced: bool, found: list[Token]) -> None:
    inside = _ABBREVIATION.sub("", inside)
    stripped = inside.strip(" ~")
    spaced = spaced or inside[:1].isspace()
    if len(stripped) == 1 and stripped.isalpha() and stripped.isascii():
        found.append(Token("word" if _is_unit_letter(stripped, found) else "name", stripped, spaced))
        return
    before = len(found)
    _read(inside, found, wordy=True)
    if len(found) > before:
        found[before] = Token(found[before].kind, found[before].text, spaced)


def _closing(text: str, position: int) -> int:
    depth = 1
    for index in range(position, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise Unreadable("a brace is not closed")


def _letters(run: str, spaced: bool, wordy: bool, text: str, found: list[Token]) -> None:
    """A run of Latin letters: a function, a joining word, a unit or other word, or a product of variables."""
    low = run.casefold()
    if low in JOINERS:
        found.append(Token("sign", JOINERS[low], spaced))
    elif run in FUNCTIONS:
        found.append(Token("name", run, spaced))
    elif low in _NAMED and len(run) > 1:
        found.append(Token("sign", _NAMED[low], spaced))
    elif run in GREEK:
        found.append(Token("command", run, spaced))
    elif len(run) == 1:
        found.append(Token("word" if wordy and _is_unit_letter(run, found) else "name", run, spaced))
    elif _is_word(run, low, spaced, wordy, found):
        found.append(Token("word", run, spaced))
    else:
        function = next((name for name in ("sin", "cos", "tan", "log", "ln") if run.startswith(name)), "")
        if function and len(run) - len(function) <= 2:
            found.append(Token("name", function, spaced))
        else:
            function = ""
        found.extend(Token("name", letter, spaced and not i) for i, letter in enumerate(run[len(function) :]))


def _is_unit_letter(letter: str, found: list[Token]) -> bool:
    """Whether a single letter of a text is a unit: it is the name of one and follows a number or another unit."""
    follows = bool(found) and (found[-1].kind in ("number", "word") or found[-1].text in _UNIT_PRECEDES)
    return follows and (letter in CANONICAL or found[-1].text == "°")


def _is_word(run: str, low: str, spaced: bool, wordy: bool, found: list[Token]) -> bool:
    if wordy or low in PERCENT_WORDS or low in SCALES:
        return True
    after_value = bool(found) and (found[-1].kind == "number" or found[-1].text in (")", "}", "π", "＄", "/"))
    if after_value and (run in CANONICAL or low in CANONICAL):
        return True
    if found and found[-1].kind == "word":
        return True
    return spaced and len(run) >= 3 and not (run.isupper() and len(run) <= 4)


def _han(run: str, spaced: bool, found: list[Token]) -> None:
    if run in JOINERS:
        found.append(Token("sign", JOINERS[run], spaced))
        return
    if (fraction := han_fraction(run)) is not None:
        for kind, text in (("number", str(fraction.numerator)), ("sign", "/"), ("number", str(fraction.denominator))):
            found.append(Token(kind, text))  # type: ignore[arg-type]
        return
    for joiner in ("或者", "或", "和", "与", "且"):
        left, joined, right = run.partition(joiner)
        if joined and left and right and read_han(left)[0] is not None and read_han(right)[0] is not None:
            _han(left, spaced, found)
            found.append(Token("sign", JOINERS[joiner], False))
            _han(right, False, found)
            return
    number, rest = (None, run) if found and found[-1].kind == "number" else read_han(run)
    if number is not None:
        if number.startswith("-"):
            found.append(Token("sign", "-", spaced))
        found.append(Token("number", number.removeprefix("-"), spaced))
    if rest:
        found.append(Token("word", rest, spaced and number is None))
