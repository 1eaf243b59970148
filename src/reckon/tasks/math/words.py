"""Answers that are no formulas: a choice, yes or no, a date, a time of day, a number in a base, a text.

Each kind has a reader, from canonical text to what is compared; None if the text is no such thing.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_WRAPPER = re.compile(r"\\(?:text|mathbb)\s*\{([^{}]*)\}")
_ARTICLE = re.compile(r"\b(?:the|a|an)\b")
_PLURAL = re.compile(r"(?<=[a-z]{3}[^\Ws])s\b")
_HAN = re.compile("[\u3400-\u9fff]")
_SEPARATOR = re.compile(r"\s*(?:[,;、]|\band\b|和|与|及)\s*")

_CHOICE_GOLD = re.compile(r"\(?([A-J])\)?\.?")
_CHOICES_GOLD = re.compile(r"\(?([A-J](?:(?:\s*[,;]\s*|\s+and\s+|\s*)[A-J]){1,9})\)?")
_CHOICE_LEAD = r"(?:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer|选项|选择|选)s?\s*(?:is|are|[是为])?\s*:?\s*)?"
_CHOICE = re.compile(
    _CHOICE_LEAD
    + r"[(\[]?\s*([A-Ja-j](?:(?:\s*[,;&、]\s*(?:and\s+)?|\s+and\s+|\s*和\s*|\s*)[A-Ja-j])*)\s*[)\]]?(?:选?项)?"
    r"(?P<rest>\s*$|\s*[.:、)!]\s*.*)",
    re.DOTALL | re.IGNORECASE,
)
_OTHER_CHOICE = re.compile(r"\b(?:or|not|either)\b|\([A-J]\)|(?<![A-Za-z])[B-J](?![A-Za-z])|或|不")
_LETTER = re.compile(r"[A-J]")
_OPTION_GOLD = re.compile(
    r"(?:\\text\s*\{\s*\(([A-J])\)\s*\}|\(([A-J])\))(?!-|\s*(?:[+*/^=<>_!',;&、和]|and\b))\s*(?P<value>\S.*)"
)
_OPTION = re.compile(
    _CHOICE_LEAD + r"(?:\\text\s*\{\s*\(?([A-J])\s*[.:、)]\s*\}|\(?([A-J])\s*[.:、)])\s*(?P<value>\S.*)", re.IGNORECASE
)

_TRUE = frozenset({"yes", "true", "是", "是的", "对", "对的", "正确", "√", "真", "成立", "能", "可以", "会"})
_FALSE = frozenset({
    "no", "false", "否", "不是", "不对", "错", "错误", "不正确", "×", "假", "不成立", "不能", "不可以", "不会",
})  # fmt: skip
_TRUTH_LEAD = re.compile(r"(yes|no|true|false|是的|正确|错误|不是|是|否)\s*[,.:;—-]\s*(.+)", re.DOTALL)
_TRUTH_WORD = re.compile(
    r"\b(?:yes|no|true|false|not|or|maybe|perhaps|probably|possibly|likely|unless|sometimes|depends|unsure)\b"
    r"|或|不|否|可能|也许|大概"
)

_MONTH_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_MONTHS = {name: number for number, whole in enumerate(_MONTH_NAMES, 1) for name in (whole, whole[:3], whole[:4])}
_WEEKDAY = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b,?|星期[一二三四五六日天]|周[一二三四五六日]")
_MONTH = "(?P<month>" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\.?"
_DATES = [
    re.compile(pattern)
    for pattern in (
        rf"{_MONTH}\s*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\s*,?\s*(?P<year>\d{{4}}))?",
        rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s*(?:of\s+)?{_MONTH}(?:\s*,?\s*(?P<year>\d{{4}}))?",
        r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})",
        r"(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})",
        r"(?:(?P<year>\d{4})\s*年\s*)?(?P<month>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*[日号]",
    )
]
_CLOCK = re.compile(
    r"(?P<early>上午|下午|晚上|早上|凌晨|中午)?\s*(?P<hour>\d{1,2})\s*(?::\s*(?P<minute>\d{2})(?::(?P<second>\d{2}))?|"
    r"[点时]\s*(?:(?P<han>\d{1,2})\s*分?|(?P<half>半)|整)?)?\s*(?P<half_day>[ap]\.?\s?m\.?)?(?P<whole>o'clock)?"
)
_AFTERNOON = {"下午", "晚上"}

_BASE = re.compile(
    r"\(?\s*(?P<digits>[0-9A-Za-z]+)\s*\)?\s*"
    r"(?:_\s*\{?\s*\(?\s*(?P<base>\d{1,2}|[a-z]+)\s*\)?\s*\}?|\(?\s*(?:in\s+)?base\s*(?P<said>\d{1,2}|[a-z]+)\s*\)?)",
    re.IGNORECASE,
)
_PREFIXES = {"0x": "16", "0b": "2", "0o": "8"}
_PREFIXED = re.compile(r"(0[xbo])([0-9A-Fa-f]+)")
_BASES = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "sixteen": 16, "binary": 2, "octal": 8, "hex": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """A time of day on a 12-hour or 24-hour clock; ``afternoon`` None: not said."""

    hour: int
    minute: int
    second: int
    afternoon: bool | None

    def meets(self, other: Clock) -> bool:
        """Whether both may be the same time: as read off a 24-hour clock, or either without its half of the day."""
        if (self.minute, self.second) != (other.minute, other.second):
            return False
        if self.afternoon is not None and other.afternoon is not None:
            return self._full() == other._full()
        mine, theirs = self._full(), other._full()
        if mine == theirs:
            return True
        unsaid = (self, mine) if self.afternoon is None else (other, theirs)
        return 1 <= unsaid[0].hour <= 12 and mine % 12 == theirs % 12 and self.afternoon != other.afternoon

    def _full(self) -> int:
        if self.afternoon is None:
            return self.hour % 24
        return self.hour if self.hour > 12 else self.hour % 12 + 12 * self.afternoon


def unwrapped(text: str) -> str:
    """Without ``\\text{...}`` around words and braces around anything."""
    while (shorter := _WRAPPER.sub(r"\1", text)) != text:
        text = shorter
    return " ".join(text.replace("{", "").replace("}", "").replace("~", " ").split())


def normal(text: str) -> str:
    """A text for comparison: without case, punctuation, articles, plurals and spacing."""
    text = unicodedata.normalize("NFKC", unwrapped(text)).casefold()
    words = "".join(c if c.isalnum() or c in "+-*/^_=<>≤≥∞π'\\" else " " for c in text)
    words = _PLURAL.sub("", _ARTICLE.sub(" ", words))
    joiner = "" if _HAN.search(words) else " "
    return joiner.join(words.split())


def texts(text: str) -> frozenset[str]:
    """The parts of a list of names, each in its normal form."""
    return frozenset(part for part in map(normal, _SEPARATOR.split(unwrapped(text))) if part)


def gold_choice(text: str) -> frozenset[str] | None:
    """The letters of a gold choice, which has nothing beside them."""
    text = unwrapped(text)
    match = _CHOICE_GOLD.fullmatch(text) or _CHOICES_GOLD.fullmatch(text)
    if match is None:
        return None
    letters = _LETTER.findall(match[1])
    return frozenset(letters) if len(set(letters)) == len(letters) else None


def choice(text: str) -> frozenset[str] | None:
    """The letters that an answer chooses: ``B``, ``(b)``, ``B. Paris``, ``A and C``."""
    match = _CHOICE.fullmatch(unwrapped(text))
    if match is None or _OTHER_CHOICE.search(match["rest"]):
        return None
    return frozenset(_LETTER.findall(match[1].replace("and", "").upper()))


def gold_option(text: str) -> tuple[str, str] | None:
    """The letter and the value of a gold choice that has both: ``(B) 12``."""
    match = _OPTION_GOLD.fullmatch(text)
    if match is None or _OTHER_CHOICE.search(unwrapped(match["value"])) or gold_choice(match["value"]):
        return None
    return match[1] or match[2], match["value"]


def option(text: str) -> tuple[str, str] | None:
    """The letter and the value that an answer gives: ``(B) 12``, ``B. 12``."""
    match = _OPTION.fullmatch(text)
    return ((match[1] or match[2]).upper(), match["value"]) if match else None


def truth(text: str) -> bool | None:
    """Yes or no, true or false, and their Chinese words; a reason may follow."""
    said = unwrapped(text).strip(" .!。！'\"").casefold()
    lead = _TRUTH_LEAD.fullmatch(said)
    if lead and not _TRUTH_WORD.search(lead[2]):
        said = lead[1]
    return True if said in _TRUE else False if said in _FALSE else None


def date(text: str) -> tuple[int | None, int, int] | None:
    """Year (None if none is given), month and day."""
    said = " ".join(_WEEKDAY.sub(" ", unwrapped(text).casefold()).split()).strip(" ,.")
    for pattern in _DATES:
        if match := pattern.fullmatch(said):
            month = match["month"]
            number = _MONTHS.get(month) or int(month)
            if 1 <= number <= 12 and 1 <= int(match["day"]) <= 31:
                return (int(match["year"]) if match["year"] else None, number, int(match["day"]))
    return None


def clock(text: str) -> Clock | None:
    """A time of day: ``3:30 PM``, ``15:30``, ``3 p.m.``, ``下午3点半``."""
    said = unwrapped(text).casefold().replace("点钟", "点")
    match = _CLOCK.fullmatch(said)
    if match is None or not (match["minute"] or match["half_day"] or match["early"] or match["whole"] or "点" in said):
        return None
    minute = int(match["minute"] or match["han"] or (30 if match["half"] else 0))
    hour = int(match["hour"])
    if hour > 24 or minute > 59:
        return None
    afternoon: bool | None = None
    if match["half_day"]:
        afternoon = match["half_day"][0] == "p"
    elif match["early"] and match["early"] != "中午":
        afternoon = match["early"] in _AFTERNOON
    return Clock(hour, minute, int(match["second"] or 0), afternoon)


def in_base(text: str) -> tuple[str, int | None] | None:
    """The digits of a number and the base it says it is written in, None if it says none."""
    said = unwrapped(text)
    prefixed = _PREFIXED.fullmatch(said)
    if prefixed:
        said = f"{prefixed[2]} base {_PREFIXES[prefixed[1]]}"
    match = _BASE.fullmatch(said)
    if match is None:
        plain = said.replace(" ", "").replace(",", "")
        return (plain.lstrip("0").upper() or "0", None) if plain.isalnum() and plain.isascii() else None
    name = (match["base"] or match["said"]).casefold()
    base = int(name) if name.isdigit() else _BASES.get(name)
    digits = match["digits"].upper().lstrip("0") or "0"
    if base is None or not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits):
        return None
    return digits, base
