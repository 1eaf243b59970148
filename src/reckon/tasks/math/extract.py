"""Which part of the judged text is the answer: the written policy, in this order.

1. The last complete box (``\\boxed``, ``\\fbox``). If the last box is empty or never closed, there is no answer.
2. The last ``<answer>`` block.
3. What follows the last ``answer is``, ``Answer:``, ``答案是``, ``故选`` and the like, to the end of the sentence.

Neighbouring boxes (joined by a comma, ``and``, ``or``, or a few characters) are the parts of one answer; boxes with
prose between them are corrections, and the last one counts. Neighbouring blocks or phrases that say different things
are a hedge, and so are answers on both sides of a thought. Everything here is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from reckon.tasks.answer import ANSWER, END_ANSWER
from reckon.tasks.math.region import SEAM

_BOX = re.compile(r"(\\(?:boxed|fbox|framebox)\s*)(?:\{|(-?\d[\d.,/]*+)(?![A-Za-z^_{\\]))|\\.|[{}]", re.DOTALL)
_BLOCK = re.compile(re.escape(ANSWER) + "|" + re.escape(END_ANSWER))
_PHRASE = re.compile(
    r"\banswers?\b[^.\n:=：]{0,60}?\b(?:is|are|equals?)\b(?!\s+(?:not|n't)\b)[ :：]*"
    r"|\banswers?\b[ \t*_`]{0,8}[:=：][ *_`]*|\bfinal answer\b[ \t*_`#]{0,8}(?=\n)"
    r"|(?:最终|最后|正确)?答案(?:应该|应当)?(?:[是为]|等于|[:：])[是为 :：]*"
    r"|(?:最终|最后|正确)?答案(?:[ \t*_`#]{0,8}(?=\n)|[ \t]+(?=[A-Z0-9$\\(（+-]))"
    r"|(?:[故应因此所以]|答案)选(?:择)?[ :：]*(?=[(（]?[A-Za-z])",
    re.IGNORECASE,
)
_PHRASE_WORDS = ("答案", "选")
_CONNECTORS = re.compile(r"\b(?:and|or)\b|[\s$,;.&、，；。]|\\[()\[\],;]|[和或与及]", re.IGNORECASE)
# Neither dots nor a question mark end what is said: "4... or 5", "A? No, B". Nor does a line that goes on with "or".
_SENTENCE = re.compile(r"(?:(?<!\.)\.(?=\s|$)|[。！；]|!(?=\s+[A-Z])|\n)(?!\s{0,8}(?:or\b|或))", re.IGNORECASE)
_REASON = re.compile(
    r"[,;，；]?\s+(?:because|since|which|as (?:required|desired|needed|shown|expected|claimed))\b"
    r"|[,，]?(?:因为|所以|故)"
)
_EMPHASIS = re.compile(r"\*+$")
_DISPLAY = (("$$", "$$"), ("\\[", "\\]"))
_NEAR = 10


@dataclass(frozen=True)
class Extraction:
    """The answer as it stands in the text, or None and why: ``no answer`` or ``hedged``."""

    text: str | None
    reason: str = ""


@dataclass(frozen=True)
class _Found:
    """A candidate: its text, and where it and its mark-up begin and end."""

    text: str
    start: int
    end: int


def final_answer(text: str) -> Extraction:
    """The answer in a text whose thinking has been removed."""
    boxes, unclosed = _boxes(text)
    blocks = _blocks(text)
    if unclosed or (boxes and not boxes[-1].text.strip()):
        return Extraction(None, "no answer")
    if boxes:
        return _from_boxes(text, boxes, blocks)
    if blocks is None:
        return Extraction(None, "no answer")
    if blocks:
        found = _agreed(text, blocks)
        inner = _phrases(found.text) if found.text else []
        return _agreed(found.text or "", inner) if inner else found
    return _agreed(text, _phrases(text))


def _from_boxes(text: str, boxes: Sequence[_Found], blocks: Sequence[_Found] | None) -> Extraction:
    last = _neighbours(text, boxes)
    if len(last) > 1 and SEAM in text[last[0].start : last[-1].end]:
        return Extraction(None, "hedged")
    first, end = last[0].start, last[-1].end
    for block in blocks or ():
        apart = min(abs(block.start - end), abs(first - block.end))
        outside = block.end <= first or block.start >= end
        if outside and apart < _NEAR and block.text.strip() != last[-1].text.strip():
            return Extraction(None, "hedged")
    parts = list(dict.fromkeys(" ".join(box.text.split()) for box in last))
    return Extraction(", ".join(parts))


def _boxes(text: str) -> tuple[list[_Found], bool]:
    """The complete boxes that lie in no other complete box, in order; and whether the last box was never closed."""
    if "box" not in text:
        return [], False
    found: list[_Found] = []
    braces: list[tuple[int, int] | None] = []
    last_opened, last_closed = -1, -1
    for match in _BOX.finditer(text):
        piece = match.group()
        if match[1]:
            last_opened = match.start()
        if match[2]:
            found.append(_Found(match[2].rstrip(".,/"), match.start(), match.end()))
            last_closed = match.start()
        elif piece[-1] == "{" and (match[1] or piece == "{"):
            braces.append((match.start(), match.end()) if match[1] else None)
        elif piece == "}" and braces and (opened := braces.pop()) is not None:
            start, inside = opened
            while found and found[-1].start > start:
                found.pop()
            found.append(_Found(text[inside : match.start()], start, match.end()))
            last_closed = max(last_closed, start)
    return found, last_opened > last_closed


def _blocks(text: str) -> list[_Found] | None:
    """The ``<answer>`` blocks, not empty, in order; None if the last one was never closed."""
    found: list[_Found] = []
    opened: re.Match[str] | None = None
    for match in _BLOCK.finditer(text):
        if match.group() == ANSWER:
            opened = match
        elif opened is not None:
            found.append(_Found(text[opened.end() : match.start()], opened.start(), match.end()))
            opened = None
    if opened is not None or (found and not found[-1].text.strip()):
        return None
    return [block for block in found if block.text.strip()]


def _phrases(text: str) -> list[_Found]:
    if "answer" not in text.casefold() and not any(word in text for word in _PHRASE_WORDS):
        return []  # much quicker than the search below
    marks = list(_PHRASE.finditer(text))
    found = []
    for mark, following in zip_longest(marks, marks[1:]):
        value = _value(text, mark.end(), following.start() if following else len(text))
        if value is not None:
            found.append(_Found(value.text, mark.start(), value.end))
    return found


def _value(text: str, start: int, stop: int) -> _Found | None:
    """What is said after a phrase: a displayed formula, or the rest of the sentence; None if that is nothing."""
    while start < stop and text[start] in " \t\n*_`:：#":
        start += 1
    emphasis = _EMPHASIS.search(text, max(0, start - 3), start)
    for opening, closing in _DISPLAY:
        if text.startswith(opening, start):
            end = text.find(closing, start + 2, stop)
            return _Found(text[start + 2 : end], start, end + 2) if end >= 0 else None
    sentence = _SENTENCE.search(text, start, stop)
    end = sentence.start() if sentence else stop
    value = text[start:end]
    reason = _REASON.search(value)
    value = (value[: reason.start()] if reason else value).replace(SEAM, " ").strip()
    if emphasis:  # "**4** apples"
        value = re.sub(re.escape(emphasis.group()) + r"(?!\w)", "", value, count=1)
    return _Found(value, start, end) if value else None


def _neighbours(text: str, found: Sequence[_Found]) -> Sequence[_Found]:
    """The last candidate and those before it with nothing but joining words or a few characters in between."""
    first = len(found) - 1
    while first > 0 and _adjacent(text[found[first - 1].end : found[first].start]):
        first -= 1
    return found[first:]


def _adjacent(gap: str) -> bool:
    if len(gap) > 40 * _NEAR and gap.strip(" \t\r\n$" + SEAM):
        return False
    return len("".join(_CONNECTORS.sub("", gap).replace(SEAM, "").split())) < _NEAR


def _agreed(text: str, found: Sequence[_Found], key: Callable[[str], str] = str.casefold) -> Extraction:
    """The last candidate, unless its neighbours say something else."""
    if not found:
        return Extraction(None, "no answer")
    said = {key(" ".join(one.text.strip(" \t\n.。*$`").split())) for one in _neighbours(text, found)}
    return Extraction(found[-1].text.replace(SEAM, " ")) if len(said) == 1 else Extraction(None, "hedged")
