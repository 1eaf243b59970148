"""Which sets of reasoning-gym 0.1.25 can teach, and what stands between a model's text and their scorers.

All 105 sets were tried: are the questions the same in every process, does the gold answer score exactly 1, and does
anything else? Nine scorers run the answer as Python code. No jail makes such a scorer a judge, because what runs beside
it can print any score it likes; so the text must have a form in which there is nothing to run.
"""

from __future__ import annotations

import re
from decimal import Decimal

from reckon.tasks.gsm8k import read_number

REFUSED = {
    "boxnet": "its scorer passes over moves that cannot be made, so an answer that tries every move is right",
    "composite": "it mixes other sets; use a task of kind mix, whose parts are of kind reasoning_gym",
    "codeio": "its gold answers come from programs that draw random numbers, and differ each time",
    "coin_flip": "its scorer pays for an answer of 0",
    "countdown": "its scorer runs the answer as code; the task of kind countdown asks the same",
    "puzzle24": "its scorer runs the answer as code and pays for other numbers than those given; the task of kind "
    "countdown asks the same",
    "number_format": "its scorer pays for a number that is off by up to 0.01",
    "power_function": "its gold answers are not rounded as its questions ask, and its scorer pays for any number that "
    "agrees in three digits",
    "advanced_geometry": "its questions ask for three decimals, yet its angles have two, so its scorer pays for angles "
    "that are off by up to 0.01",
    "isomorphic_strings": "its questions differ from one process to the next, so no run could be resumed",
    "list_functions": "its questions differ each time they are read, so no run could be resumed",
    "polynomial_multiplication": "its questions differ from one process to the next, so no run could be resumed",
    "ransom_note": "its questions differ from one process to the next, so no run could be resumed",
    "rush_hour": "its scorer passes over moves that cannot be made, so an answer that tries every move is right",
}
"""Why a set cannot be used."""

EXACT = frozenset(
    {
        "binary_matrix",  # runs the answer as code, yet pays 1 only for the gold text; and so the next two
        "spiral_matrix",
        "string_insertion",
        "game_of_life_halting",  # pays for any answer that is not empty
        "letter_jumble",  # reads as many words as the gold answer has, and passes over the rest
        "decimal_arithmetic",  # pays for a number that is off by up to 0.001
        "number_sorting",  # pays for numbers that are off by up to 1
        "pool_matrix",  # pays for numbers that are off by a hundredth part, and passes over comments
        "game_of_life",  # passes over what stands beyond the end of a row
        "polynomial_equations",  # passes over what is no number, and pays for anything if there is no solution
        "chain_sum",  # takes out commas wherever they stand; and so the next
        "products",
        "decimal_chain_sum",  # takes out underscores, as Python's numbers may have them; and so the next two
        "calendar_arithmetic",
        "rectangle_count",
        "needle_haystack",  # takes out spaces; and so the next
        "figlet_font",
        "dice",  # takes out line breaks; and so the next
        "zebra_puzzles",
    }
)
"""Sets whose scorer is not asked: right is the gold answer and nothing else."""

ANY_ORDER = frozenset({"polynomial_equations"})
"""Exact sets whose gold answer is a list that may be given in any order."""

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_REAL = r"[0-9]+(?:\.[0-9]{1,6})?"
_IMAGINARY = rf"(?:{_REAL})?[ij]"
_DISK = r"Move disk [0-9]+ from Peg [0-9]+ to Peg [0-9]+"
_KNIGHT = r'"[wB],[A-Z][0-9]{1,2},[A-Z][0-9]{1,2}"'
_PARTS = r'\[\s*"[a-z]+"(?:\s*,\s*"[a-z]+")*\s*\]'
_CLAIM = r"[A-Za-z]+ is an? [A-Za-z]+"
# One-letter names, a few functions, numbers and the signs of arithmetic; no power of a bare number, no long exponent,
# which could take forever. Every token has one reading, so matching takes linear time.
_FORMULA = (
    r"(?!.*\d\s*\*\*)(?!.*\*\*[\s(+-]*\d{3})"
    r"(?:(?<![A-Za-z])(?:sin|cos|tan|asin|acos|atan|exp|log|sqrt|[A-Za-z])(?![A-Za-z_.\d])"
    r"|(?<![\d.])\d{1,12}(?:\.\d{1,12})?(?![\d.])|[-+*/() ])+"
)

FORMS = {
    name: re.compile(form)
    for name, form in {
        "n_queens": r"[Q_\s]+",
        "simple_integration": _FORMULA,
        "intermediate_integration": _FORMULA,  # no Integral: it would be its own answer
        # No nan, no space within a number, and no decimals that are lost in a float.
        "complex_arithmetic": rf"-?{_REAL}(?: ?[-+] ?{_IMAGINARY})?|-?{_IMAGINARY}",
        "bitwise_arithmetic": r"-?0[xX][0-9a-fA-F]+",  # underscores would pass
        "fraction_simplification": r"\$?(?:\\[dt]?frac\{\d+\}\{\d+\}|\d+ ?/ ?\d+)\$?",
        "gsm_symbolic": _NUMBER,
        "kakurasu": r"[01\s]+",
        # Its items take seconds to make again, so none is made for junk.
        "knight_swap": rf"[Nn]o|\[{_KNIGHT}(?:,\s*{_KNIGHT})*\]",
        "knights_knaves": rf"{_CLAIM}(?:(?:,? and|,) {_CLAIM})*\.?",
        # A list of lists of strings; to its scorer a string is a list of letters, and "ab" would pass for ["a", "b"].
        "palindrome_partitioning": rf"\[\s*{_PARTS}(?:\s*,\s*{_PARTS})*\s*\]",
        "prime_factorization": r"[0-9]+(?: ?× ?[0-9]+)*",
        "quantum_lock": r"[A-C](?:(?: ?(?:→|->|,) ?| )?[A-C])*",
        "sokoban": r"[UDLR]+",
        "survo": r"[0-9\s]+",
        "tower_of_hanoi": rf"{_DISK}(?: *\n\s*{_DISK})*",
        "time_intervals": r"-?\d+ days?(?:, \d{1,2}:\d{2}(?::\d{2})?)?|\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?",
    }.items()
}
"""What an answer must look like before its scorer sees it: these read past prose, and some run code."""

_LONGEST = 10_000
_WHOLE_NUMBER = re.compile(rf"(?<![0-9.]){_NUMBER}(?![0-9.])")
_QUOTED = re.compile(rf"(['\"])({_NUMBER})\1")
_SHAPE = re.compile(r"[][0, \n]+")


def objection(name: str, answer: str, gold: str | None) -> str:
    """Why the set's scorer need not be asked about an answer, which is wrong; or nothing."""
    if len(answer) > (_LONGEST if gold is None else 4 * len(gold) + 200):
        return "too long"
    form = FORMS.get(name)
    return "not in the form asked for" if form and not form.fullmatch(answer) else ""


def same(answer: str, gold: str, any_order: bool = False) -> bool:
    """Whether an answer is the gold one: letter for letter but for case, or the same number, list or matrix of numbers.

    Args:
        any_order: whether a list may have another order.
    """
    if answer.casefold() == gold.strip().casefold():
        return True
    number = read_number(answer)
    if number is not None:
        return number == read_number(gold)
    found, wanted = _numbers(answer), _numbers(gold)
    if found is None or wanted is None or found[0] != wanted[0]:
        return False
    return sorted(found[1]) == sorted(wanted[1]) if any_order else found[1] == wanted[1]


def _numbers(text: str) -> tuple[str, list[Decimal]] | None:
    """The shape of a list or matrix of numbers, and the numbers in it; None if there is anything else in the text."""
    bare = _QUOTED.sub(lambda match: match[2], text.strip())
    found = [Decimal(number) for number in _WHOLE_NUMBER.findall(bare)]
    # Rows are brackets or lines; other spaces only part.
    shape = re.sub(r"\s*([][,])\s*", r"\1", _WHOLE_NUMBER.sub("0", bare))
    shape = "\n".join(" ".join(line.split()) for line in shape.splitlines())
    return (shape, found) if _SHAPE.fullmatch(shape) else None
