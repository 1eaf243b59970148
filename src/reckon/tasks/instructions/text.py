"""How words, sentences, paragraphs and languages are told: by rules that need no download and never vary.

A *word* is a run of letters and digits, so ``don't`` has two, as in IFEval; each Han or kana character is one. A
*sentence* ends at ``. ! ? …``, with the quotes and brackets that close it, before a space or the end, at its Chinese
marks, and at an empty line; no full stop ends it after a title (``Dr.``), an initial, a dotted abbreviation (``e.g.``)
or the number of a list. A *paragraph* ends at an empty line. What has no letter or digit is none of them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from reckon.core.errors import ConfigError

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
_JOINED = re.compile(r"\w+(?:[-'’.&]\w+)*")
_STOP = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s|$)|[。！？]+[”’」』）]*|\n[ \t\r]*\n")
_NO_STOP = re.compile(
    r"(?:^|[\s(\"'*])(?:mrs?|ms|dr|prof|st|jr|sr|vs|mt|fig|approx|(?:[a-z]\.)+[a-z]|(?-i:[A-HJ-Z]))$"
    r"|(?:^|\n)[ \t]*\d{1,3}$",
    re.IGNORECASE,
)
_LOOK_BACK = 16
_EMPTY_LINE = re.compile(r"\n[ \t\r]*\n")

_FEW_WORDS = 5
_MOST_LETTERS = 2 / 3
_SAMPLE = 10_000
_LATIN = (
    *("af", "ca", "cs", "cy", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "lt", "lv", "nl"),
    *("no", "pl", "pt", "ro", "sk", "sl", "so", "sq", "sv", "sw", "tl", "tr", "vi"),
)
_OTHERS = {
    "ARABIC": ("ar", "fa", "ur"),
    "BENGALI": ("bn",),
    "CJK": ("zh",),
    "CYRILLIC": ("bg", "mk", "ru", "uk"),
    "DEVANAGARI": ("hi", "mr", "ne"),
    "GREEK": ("el",),
    "GUJARATI": ("gu",),
    "GURMUKHI": ("pa",),
    "HANGUL": ("ko",),
    "HEBREW": ("he",),
    "KANNADA": ("kn",),
    "MALAYALAM": ("ml",),
    "TAMIL": ("ta",),
    "TELUGU": ("te",),
    "THAI": ("th",),
}
SCRIPTS = {
    **dict.fromkeys(_LATIN, ("LATIN",)),
    **{language: (script,) for script, languages in _OTHERS.items() for language in languages},
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
}
"""The languages that can be told (ISO 639-1), and the scripts they are written in, as Unicode names them."""


def words(text: str) -> list[str]:
    """The words of a text; see the module."""
    return _WORD.findall(text)


def capital_words(text: str) -> int:
    """How many words have capital letters only; parts joined by a hyphen, a dot or an apostrophe are one word."""
    return sum(word.isupper() for word in _JOINED.findall(text))


def sentences(text: str) -> list[str]:
    """The sentences of a text; see the module."""
    found, start = [], 0
    for stop in _STOP.finditer(text):
        single = stop.group()[0] == "." and stop.group()[1:2] not in (".", "!", "?", "…")
        if single and _NO_STOP.search(text[max(start, stop.start() - _LOOK_BACK) : stop.start()]):
            continue
        found.append(text[start : stop.end()].strip())
        start = stop.end()
    return [one for one in [*found, text[start:].strip()] if has_content(one)]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text; see the module."""
    return [one.strip() for one in _EMPTY_LINE.split(text) if has_content(one)]


def has_content(text: str) -> bool:
    """Whether there is a letter or a digit."""
    return any(character.isalnum() for character in text)


def is_in(language: str, text: str) -> bool:
    """Whether a text is in a language, one of :data:`SCRIPTS`.

    Two thirds of its letters must be of the language's script. That decides where no other language has the script, and
    for fewer than five words, of which no more can be told; else ``langdetect``, with a fixed seed, decides.
    """
    letters = Counter(
        unicodedata.name(character, "").partition(" ")[0] for character in text[:_SAMPLE] if character.isalpha()
    )
    own = SCRIPTS[language]
    if not letters or sum(letters[script] for script in own) < _MOST_LETTERS * letters.total():
        return False
    if language == "ja":
        return letters["CJK"] < letters.total()
    shared = sum(scripts == own for scripts in SCRIPTS.values()) > 1
    return not shared or len(words(text)) < _FEW_WORDS or _detected(text[:_SAMPLE]) == language


def require_langdetect() -> None:
    """Raises ConfigError where the package is missing, rather than at the first verdict that needs it."""
    try:
        import langdetect  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "the package langdetect is missing, by which the language of a response is told",
            where="task (instructions)",
            fix="Run: pip install langdetect",
        ) from error


def _detected(text: str) -> str:
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        # It learned from running text, and ignores words in capitals.
        return str(detect(text.lower()))
    except LangDetectException:
        return ""
