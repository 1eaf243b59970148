"""Words by which a text reconsiders itself: the meter behind the "aha" curve of R1-Zero (arXiv 2501.12948, fig. 3).

A word is a sign of reconsideration, no proof: the count says how often it was written, not whether it helped.
"""

from __future__ import annotations

import re
from collections import Counter

HAN = r"[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]"
"""Regular expression for one character of Han script."""

LATIN_WORDS = ("wait", "no", "check", "let me try", "again", "hmm", "actually")
HAN_WORDS = ("等等", "不对", "再试", "检查", "试试")
"""Wait, not right, try again, check, try it. Together with the above: all that is counted."""

_WORD = re.compile(
    rf"(?<![a-z])(?:{'|'.join(word.replace(' ', ' +') for word in LATIN_WORDS)})(?![a-z])|{'|'.join(HAN_WORDS)}",
    re.IGNORECASE,
)
_HAN = re.compile(HAN)


def reflections(text: str) -> dict[str, int]:
    """How often each word occurs, words that do not occur left out. Whole words in any case; no overlaps."""
    return dict(Counter(" ".join(match.lower().split()) for match in _WORD.findall(text)))


def has_han(text: str) -> bool:
    """Whether any character of ``text`` is of Han script."""
    return _HAN.search(text) is not None
