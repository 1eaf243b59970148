"""Hostile texts: random ones, and right answers with damage done to them. All follow from the generator's state."""

from __future__ import annotations

import random

PIECES = (
    *("<think>", "</think>", "<answer>", "</answer>", "<|im_end|>", "####", "Answer:", "The answer is ", "答案是"),
    *("\\boxed{", "\\boxed", "\\frac{", "\\dfrac", "\\sqrt{", "\\sqrt[", "\\text{", "\\begin{pmatrix}"),
    *("\\end{pmatrix}", "\\left(", "\\right]", "\\int_0^", "\\sum_{", "\\cdot", "\\pi", "\\infty", "\\pm", "\\cup"),
    *("^{\\circ}", "\\%", "\\!", "{", "}", "(", ")", "[", "]", "$", "$$", "^", "_", "&", "\\\\", "\\", "=", "<", ">"),
    *("+", "-", "*", "/", "**", "!", "%", "0", "1", "7", "42", "3.14", "1e999", "9" * 60, "0x1F", "1/0", ".5", "1,000"),
    *("１２", "三分之一", "二十", "½", "²", "∞", "否", "对", "故选", "人", "“", "，", " or ", " and ", " is ", "not "),
    *("knight", "knave", "Anna", "A", "(B)", "yes", "x", "i", "sin", "NaN", "null", '"', "'", "<<", "{}"),
    *("```python\n", "\n```\n", "def f(x):\n    return x\n", "print(input())\n", "import os\n", "while 1: pass\n"),
    *("lambda:", "\n", "\n\n", "\t", " ", "\x00", "\x1b[2J", "\x1e", "\u202e", "\ud800", "é", "🎉"),
)  # fmt: skip
"""LaTeX, tags, digits, brackets, Han script, code, and characters that have broken parsers before."""

_PAIRS = (("\\boxed{", "}"), ("(", ")"), ("<answer>", "</answer>"), ("{", "}"), ("$", "$"))
_REPEATS = (2, 3, 10, 300)


def random_text(rng: random.Random) -> str:
    """Random bytes, read as Latin-1 or as UTF-8 with replacements, or a row of ``PIECES``; now and then a long one."""
    length = rng.randrange(1, 4000 if rng.random() < 0.02 else 120)
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(length).decode("latin-1")
    if kind == 1:
        return rng.randbytes(length).decode("utf-8", "replace")
    pieces = "".join(rng.choices(PIECES, k=1 + length // 3))
    if kind == 2 or not pieces:
        return pieces
    piece = rng.choice(PIECES) * rng.choice(_REPEATS)
    place = rng.randrange(len(pieces))
    return pieces[:place] + piece + pieces[place:]


def damaged(rng: random.Random, text: str) -> str:
    """The text after one to three changes, half of them near its end, where the answer is."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = _changed(rng, text or " ")
    return text


def _changed(rng: random.Random, text: str) -> str:
    first = max(0, len(text) - 60) if rng.random() < 0.5 else 0
    place = rng.randrange(first, len(text))
    end = min(len(text), place + rng.choice((1, 1, 1, 2, 8, 40)))
    before, part, after = text[:place], text[place:end], text[end:]
    match rng.randrange(9):
        case 0:
            return before + after
        case 1:
            return before + part + part + after
        case 2:
            return before + part[::-1] + after if len(part) > 1 else before + after[:1] + part + after[1:]
        case 3:
            return before + rng.choice(PIECES) + part + after
        case 4:
            return before + rng.choice("0123456789-+./,^{}() ") + part + after
        case 5:
            digits = [at for at in range(first, len(text)) if text[at] in "0123456789"]
            at = rng.choice(digits) if digits else place
            return text[:at] + rng.choice("0123456789") + text[at + 1 :]
        case 6:
            opened, closed = rng.choice(
                (("\\boxed{", "}"), ("(", ")"), ("<answer>", "</answer>"), ("{", "}"), ("$", "$"))
            )
            return before + opened + part + closed + after
        case 7:
            return before + part * rng.choice(_REPEATS) + after if rng.random() < 0.7 else f"{text}\n{text}"
        case _:
            return before if rng.random() < 0.7 else part + after
