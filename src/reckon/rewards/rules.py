"""Rule rewards: small pure functions from a response, or its verdict, to a number; in [0, 1] unless said otherwise."""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from reckon.core.records import Verdict
from reckon.tasks.answer import ANSWER, END_ANSWER, END_THINK, THINK, split, thinking
from reckon.tasks.reflection import HAN, has_han

Script = Literal["latin", "han"]


def accuracy(verdict: Verdict | None) -> float | None:
    """DeepSeek-R1's accuracy reward (arXiv 2501.12948, sec. 2.2): the verdict's score; None when it is absent."""
    return None if verdict is None else verdict.score


def format_reward(prompt_opened_think: bool, response: str, summary: bool = False) -> float:
    """R1-Zero's format reward (arXiv 2501.12948, sec. 2.2), strictly: 1 or 0.

    1 if prompt and response together read ``<think> ... </think> <answer> ... </answer>``, each tag once and in
    this order, neither part blank, and nothing but whitespace elsewhere.

    Args:
        prompt_opened_think: whether the prompt ends with ``<think>``, so that the response must not open it.
        summary: any text may stand between ``</think>`` and ``<answer>``, where R1's readable form sums up. It is not
            asked for: a rule cannot tell a summary from other words, and paying for words would teach any words.
    """
    text = THINK + response if prompt_opened_think else response
    if any(text.count(tag) != 1 for tag in (THINK, END_THINK, ANSWER, END_ANSWER)):
        return 0.0
    before, _, rest = text.partition(THINK)
    thought, _, rest = rest.partition(END_THINK)
    between, _, rest = rest.partition(ANSWER)
    answer, _, after = rest.partition(END_ANSWER)
    in_order = ANSWER not in thought + before and END_ANSWER not in thought + before + between
    blank = not (before + ("" if summary else between) + after).strip()
    return float(in_order and blank and bool(thought.strip()) and bool(answer.strip()))


def soft_overlong(length: int, limit: int, buffer: float) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), in [-1, 0].

    0 up to ``limit - buffer`` tokens, from there linearly down to -1 at ``limit``, and -1 beyond.
    """
    return max(-1.0, min(0.0, (limit - buffer - length) / buffer))


_LATIN = r"A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff"
_WORD = re.compile(rf"(?P<han>{HAN})|(?P<latin>[{_LATIN}]+(?:['\u2019][{_LATIN}]+)*)|(?:(?!{HAN})[^\W\d_{_LATIN}])+")
# Each alternative stops at the next opener of its kind, which keeps the search linear on unclosed ones. A dollar
# sign opens mathematics only before, and closes it only after, a character that is not a space ("$5 and $6" is money).
_LATEX = re.compile(
    r"\$\$[^$]*+\$\$"
    r"|\$(?![\s$])[^$\n]*+(?<!\s)\$(?!\d)"
    r"|\\\((?:[^\\]|\\(?![()]))*+\\\)"
    r"|\\\[(?:[^\\]|\\(?![\[\]]))*+\\\]"
    r"|\\[A-Za-z]+"
)
_TAG = re.compile(r"</?[A-Za-z_]{1,20}>")


_ASKS_FOR: dict[Script, re.Pattern[str]] = {
    "han": re.compile(r"\banswer in chinese\b|用(?:中文|汉语)回答", re.IGNORECASE),
    "latin": re.compile(r"\banswer in english\b|用(?:英文|英语)回答", re.IGNORECASE),
}


def target_script(question: str) -> Script:
    """The script that the thinking should be in: the one asked for (``Answer in Chinese``, ``用英文回答``), else Han if
    the question has any Han character, else Latin."""
    for script, request in _ASKS_FOR.items():
        if request.search(question):
            return script
    return "han" if has_han(question) else "latin"


def language(response: str, script: Script) -> float:
    """DeepSeek-R1's language consistency reward (arXiv 2501.12948, sec. 2.3.2): share of words in the target script.

    Of :func:`script_words`. No words at all (an empty thinking, say) give 0, so that silence is not the purest
    language.
    """
    counts = script_words(response)
    return counts[script] / counts.total() if counts else 0.0


def script_words(response: str) -> Counter[str]:
    """How many words of the thinking are ``latin``, ``han`` or of any ``other`` script; none of which there are none.

    A Han character is one word; in other scripts a run of letters is. Left out: digits, operators, code fences, LaTeX,
    tags, and single Latin letters, which are mostly variables.
    """
    text = "".join(_outside_fences(thinking(response)))
    text = _TAG.sub(" ", _LATEX.sub(" ", text))
    counts: Counter[str] = Counter()
    for match in _WORD.finditer(text):
        if match.lastgroup != "latin" or len(match.group()) > 1:
            counts[match.lastgroup or "other"] += 1
    return counts


_UNIT = re.compile(rf"{HAN}|\d+(?:\.\d+)?|(?:(?!{HAN})[^\W\d_])+(?:['\u2019][^\W\d_]+)*|[^\w\s.,;:!?、。]|_")

# Not Unicode normalisation, whose time grows with the square of a run of combining marks.
_HALF_WIDTH = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}


def words(text: str) -> list[str]:
    """What a text is made of, for comparing texts: words, numbers, Han characters and signs such as ``+``.

    Case, full and half width, spaces and the marks ``. , ; : ! ?`` (and their Han forms) make no difference.
    """
    return _UNIT.findall(text.translate(_HALF_WIDTH).casefold())


def repetition(response: str, n: int) -> float:
    """The share of n-grams of :func:`words` that occurred before: 1 - different n-grams / n-grams, in [0, 1).

    The measure behind the repetition penalty of Yeo et al. (arXiv 2502.03373). The thinking and what follows it are
    measured apart, and the larger share counts: a summary repeats the thinking by its nature. Texts of fewer than n
    words repeat nothing.
    """
    return max(_repeated(words(_TAG.sub(" ", part)), n) for part in split(response) if part is not None)


def _repeated(units: list[str], n: int) -> float:
    grams = list(zip(*(units[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _outside_fences(text: str) -> list[str]:
    """The pieces between code fences; a fence that is never closed is ordinary text."""
    pieces = text.split("```")
    unclosed = pieces[-1:] if len(pieces) % 2 == 0 else []
    return pieces[::2] + unclosed
