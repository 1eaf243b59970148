"""Rewards by rule: small pure functions from a response, or its verdict, to a number; in [0, 1] unless said otherwise.

Those of its length are in :mod:`.lengths`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from reckon.core.records import Verdict
from reckon.tasks.answer import ANSWER, END_ANSWER, END_THINK, THINK, split, thinking
from reckon.tasks.reflection import HAN

Script = Literal["latin", "han", "kana", "hangul", "cyrillic", "arabic", "devanagari"]

TAGS = (THINK, END_THINK, ANSWER, END_ANSWER)


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
    if any(text.count(tag) != 1 for tag in TAGS):
        return 0.0
    before, _, rest = text.partition(THINK)
    thought, _, rest = rest.partition(END_THINK)
    between, _, rest = rest.partition(ANSWER)
    answer, _, after = rest.partition(END_ANSWER)
    in_order = ANSWER not in thought + before and END_ANSWER not in thought + before + between
    blank = not (before + ("" if summary else between) + after).strip()
    return float(in_order and blank and _shows(thought) and _shows(answer))


# Letters and symbols by category, with nothing to see: Hangul fillers, the Braille pattern of no dots, a null note.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159")


def _shows(text: str) -> bool:
    """Whether any character can be seen: a letter, number or sign, not only spaces, controls and marks on nothing."""
    return any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK for c in text)


def tag_reward(prompt_opened_think: bool, response: str) -> float:
    """The share of the four tags that prompt and response together have exactly once, wherever: open-r1's tag count.

    A step on the way to :func:`format_reward`, and no more than that: four bare tags without a word earn all of it.
    """
    text = THINK + response if prompt_opened_think else response
    return sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS)


# The letters of each script but Han, and the marks that its words are written with, as insides of [...].
_LETTERS: dict[Script, str] = {
    "latin": r"A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff",
    "kana": r"\u3041-\u3096\u3099-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "hangul": r"\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7a3\ud7b0-\ud7fb",
    "cyrillic": r"\u0400-\u0481\u0483-\u0487\u048a-\u052f\u1c80-\u1c88\u2de0-\u2dff\ua640-\ua66f\ua674-\ua69f",
    "arabic": r"\u0610-\u061a\u0620-\u065f\u066e-\u06d3\u06d5-\u06dc\u06df-\u06e8\u06ea-\u06ef\u06fa-\u06ff"
    r"\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
    "devanagari": r"\u0900-\u0963\u0971-\u097f\ua8e0-\ua8ff",
}
_LATIN = _LETTERS["latin"]
_WORD = re.compile(
    rf"(?P<han>{HAN})|(?P<latin>[{_LATIN}]+(?:['\u2019][{_LATIN}]+)*)|"
    + "|".join(rf"(?P<{script}>[{letters}]+)" for script, letters in _LETTERS.items() if script != "latin")
    + rf"|(?:(?!{HAN})[^\W\d_{''.join(_LETTERS.values())}])+"
)
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


_LANGUAGES: dict[str, Script] = {
    "english": "latin", "英文": "latin", "英语": "latin", "chinese": "han", "中文": "han", "汉语": "han",
    "japanese": "kana", "korean": "hangul", "russian": "cyrillic", "arabic": "arabic", "hindi": "devanagari",
}  # fmt: skip
_REQUEST = re.compile(r"\banswer in ([a-z]+)\b|用(英文|英语|中文|汉语)回答", re.IGNORECASE)


def target_script(question: str) -> Script:
    """The script that the thinking should be in: that of the language asked for (``Answer in Chinese``,
    ``用英文回答``), else kana or Han if the question has any, else the one that most of its words are in, or Latin."""
    for request in _REQUEST.finditer(question):
        if asked := _LANGUAGES.get((request[1] or request[2]).lower()):
            return asked
    counts = _counted(question)
    if counts["kana"] or counts["han"]:
        return "kana" if counts["kana"] else "han"
    return max(get_args(Script), key=lambda script: counts[script])


def language(response: str, script: Script) -> float:
    """DeepSeek-R1's language consistency reward (arXiv 2501.12948, sec. 2.3.2): share of words in the target script.

    Of :func:`script_words`. No words at all (an empty thinking, say) give 0, so that silence is not the purest
    language.
    """
    counts = script_words(response)
    return in_script(counts, script) / counts.total() if counts else 0.0


def in_script(counts: Mapping[str, int], script: Script) -> int:
    """How many of these words a text in that script may have: Japanese, which has kana, is written in Han too."""
    return counts.get(script, 0) + (counts.get("han", 0) if script == "kana" else 0)


def script_words(response: str) -> Counter[str]:
    """How many words of the thinking are of each :data:`Script` or of any ``other``; none of which there are none.

    A Han character is one word; in other scripts a run of letters is. Left out: digits, operators, code fences, LaTeX,
    tags, and single Latin letters, which are mostly variables.
    """
    text = "".join(_outside_fences(thinking(response)))
    return _counted(_TAG.sub(" ", _LATEX.sub(" ", text)))


def _counted(text: str) -> Counter[str]:
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


def repeated_tokens(token_ids: Sequence[int], n: int) -> list[bool]:
    """[S] whether each token lies in an n-gram that occurred before: where the dense penalty of Yeo et al. falls.

    arXiv 2502.03373, sec. 4; occurrences may overlap. With n = 2, ``5 5 5 5 5`` repeats in all but its first token.
    """
    seen: set[tuple[int, ...]] = set()
    repeated = [False] * len(token_ids)
    marked = 0
    for start, gram in enumerate(zip(*(token_ids[first:] for first in range(n)), strict=False)):
        if gram in seen:
            for place in range(max(start, marked), start + n):
                repeated[place] = True
            marked = start + n
        seen.add(gram)
    return repeated


def _repeated(units: list[str], n: int) -> float:
    grams = list(zip(*(units[start:] for start in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _outside_fences(text: str) -> list[str]:
    """The pieces between code fences; a fence that is never closed is ordinary text."""
    pieces = text.split("```")
    unclosed = pieces[-1:] if len(pieces) % 2 == 0 else []
    return pieces[::2] + unclosed
