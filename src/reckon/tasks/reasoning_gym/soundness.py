"""Which sets of reasoning-gym 0.1.25 can teach, and what stands between a model's text and their scorers.

All 105 sets were tried: are the questions the same in every process, does the gold answer score exactly 1, and does
anything else? Nine scorers run the answer as Python code. No jail makes such a scorer a judge, because what runs beside
it can print any score it likes; so the text must have a form in which there is nothing to run.
"""

from __future__ import annotations

import re

from reckon.tasks.gsm8k import read_number

REFUSED = {
    "composite": "it mixes other sets; use a task of kind mix, whose parts are of kind reasoning_gym",
    "codeio": "its gold answers come from programs that draw random numbers, and differ each time",
    "coin_flip": "its scorer pays for an answer of 0",
    "countdown": "its scorer runs the answer as code; the task of kind countdown asks the same",
    "puzzle24": "its scorer runs the answer as code and pays for other numbers than those given; the task of kind "
    "countdown asks the same",
    "number_format": "its scorer pays for a number that is off by up to 0.01",
    "isomorphic_strings": "its questions differ from one process to the next, so no run could be resumed",
    "list_functions": "its questions differ each time they are read, so no run could be resumed",
    "polynomial_multiplication": "its questions differ from one process to the next, so no run could be resumed",
    "ransom_note": "its questions differ from one process to the next, so no run could be resumed",
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
    }
)
"""Sets whose scorer is not asked: right is the gold answer and nothing else."""

_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
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
        "complex_arithmetic": r"[-+0-9.ij ()]+",  # nan would pass
        "fraction_simplification": r"\$?(?:\\[dt]?frac\{\d+\}\{\d+\}|\d+ ?/ ?\d+)\$?",
        "gsm_symbolic": _NUMBER,
        "kakurasu": r"[01\s]+",
        "knights_knaves": rf"{_CLAIM}(?:(?:,? and|,) {_CLAIM})*\.?",
        "quantum_lock": r"[A-C](?:(?: ?(?:→|->|,) ?| )?[A-C])*",
        "sokoban": r"[UDLR]+",
        "survo": r"[0-9\s]+",
        "time_intervals": r"-?\d+ days?(?:, \d{1,2}:\d{2}(?::\d{2})?)?|\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?",
    }.items()
}
"""What an answer must look like before its scorer sees it: these read past prose, and some run code."""

_LONGEST = 10_000


def objection(name: str, answer: str, gold: str | None) -> str:
    """Why the set's scorer need not be asked about an answer, which is wrong; or nothing."""
    if len(answer) > (_LONGEST if gold is None else 4 * len(gold) + 200):
        return "too long"
    form = FORMS.get(name)
    return "not in the form asked for" if form and not form.fullmatch(answer) else ""


def same(answer: str, gold: str) -> bool:
    """Whether an answer is the gold one, letter for letter but for case, or the same number."""
    if answer.casefold() == gold.strip().casefold():
        return True
    number = read_number(answer)
    return number is not None and number == read_number(gold)
