"""Rule rewards: small pure functions from a response, or its verdict, to a number; in [0, 1] unless said otherwise."""

from __future__ import annotations

import re
from typing import Literal

from reckon.core.records import Verdict
from reckon.tasks.answer import ANSWER, END_ANSWER, END_THINK, THINK, thinking
from reckon.tasks.reflection import HAN

Script = Literal["latin", "han"]


def accuracy(verdict: Verdict | None) -> float | None:
    """DeepSeek-R1's accuracy reward (arXiv 2501.12948, sec. 2.2): the verdict's score; None when it is absent."""
    return None if verdict is None else verdict.score


def format_reward(prompt_opened_think: bool, response: str) -> float:
    """R1-Zero's format reward (arXiv 2501.12948, sec. 2.2), strictly: 1 or 0.

    1 if prompt and response together read ``<think> ... </think> <answer> ... </answer>``, each tag once and in
    this order, neither part blank, and nothing but whitespace elsewhere.

    Args:
        prompt_opened_think: whether the prompt ends with ``<think>``, so that the response must not open it.
    """
    text = THINK + response if prompt_opened_think else response
    if any(text.count(tag) != 1 for tag in (THINK, END_THINK, ANSWER, END_ANSWER)):
        return 0.0
    before, _, rest = text.partition(THINK)
    thought, _, rest = rest.partition(END_THINK)
    between, _, rest = rest.partition(ANSWER)
    answer, _, after = rest.partition(END_ANSWER)
    in_order = ANSWER not in thought + before and END_ANSWER not in thought + before + between
    blank = not (before + between + after).strip()
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


def language(response: str, script: Script) -> float:
    """DeepSeek-R1's language consistency reward (arXiv 2501.12948, sec. 2.3.2): share of words in the target script.

    Counted in the thinking only. A Han character is one word; in other scripts a run of letters is. Left out of both
    counts: digits, operators, code fences, LaTeX, tags, and single Latin letters, which are mostly variables.
    No words at all (an empty thinking, say) give 0, so that silence is not the purest language.
    """
    text = "".join(_outside_fences(thinking(response)))
    text = _TAG.sub(" ", _LATEX.sub(" ", text))
    counts = {"han": 0, "latin": 0, None: 0}
    for match in _WORD.finditer(text):
        if match.lastgroup != "latin" or len(match.group()) > 1:
            counts[match.lastgroup] += 1
    words = sum(counts.values())
    return counts[script] / words if words else 0.0


def _outside_fences(text: str) -> list[str]:
    """The pieces between code fences; a fence that is never closed is ordinary text."""
    pieces = text.split("```")
    unclosed = pieces[-1:] if len(pieces) % 2 == 0 else []
    return pieces[::2] + unclosed
