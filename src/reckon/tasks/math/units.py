"""Units of measure, currencies and count nouns: their many names, and when two of them agree.

Units are compared, never converted: ``100 cm`` is not ``1 m`` here, for an answer in another unit than the one asked
for is another answer.
"""

from __future__ import annotations

import re

_NAMES = """
meter: m metre 米 公尺
kilometer: km kilometre 千米 公里
centimeter: cm centimetre 厘米 公分
millimeter: mm millimetre 毫米
decimeter: dm decimetre 分米
micrometer: micron um
nanometer: nm nanometre
picometer:
inch: in inches ins
foot: ft feet 英尺
yard: yd yds
mile: mi 英里
lightyear: ly
gram: g gm 克
kilogram: kg kgs 千克 公斤
milligram: mg 毫克
ton: tons tonne t 吨
pound: lb lbs
ounce: oz
jin: 斤
second: s sec secs 秒 秒钟
millisecond: ms
minute: min mins 分钟
hour: h hr hrs 小时 个小时 时
day: d days 天 日
week: wk wks 周 星期 个星期
month: mo months 个月 月
year: yr yrs y years 年
liter: l L litre 升
milliliter: ml mL cc millilitre 毫升
gallon: gal
hectare: ha 公顷
mu: 亩
mph:
kph: kmh kmph
mpg:
degree: deg degs ° 度
celsius: °C 摄氏度
fahrenheit: °F 华氏度
kelvin: K
radian: rad rads 弧度
newton: N
joule: J
kilojoule: kJ
calorie: cal
kilocalorie: kcal
watt: W
kilowatt: kW
volt: V
ampere: A amp amps
ohm: Ω
hertz: Hz
kilohertz: kHz
megahertz: MHz
pascal: Pa
kilopascal: kPa
mole: mol
molar: M
electronvolt: eV
angstrom: Å AA
erg: ergs
arcsecond: arcsec arcsecs
bit: bits
byte: bytes
dollar: $ ＄ USD usd bucks 美元
cent: cents ¢
euro: € EUR euros
sterling: £ GBP
yuan: ¥ CNY RMB rmb 元 块 人民币 块钱
rupee: ₹ Rs rs INR
jiao: 角
fen: 分
person: people persons 人 个人 名
unit: units
item: 个 只 条 张 本 支 件 台 辆 棵 朵 颗 把 双 对 套 盒 箱 袋 瓶 杯 碗 组 排 行 列 道 次 页 篇 句
item: 位 头 匹 架 艘 座 间 层 种 根 枚 粒 份 户 家 段 幅 面 艇 枝 串 圈 步 倍 幢 栋 人次 筐 桶 车 趟 班
"""

CANONICAL: dict[str, str] = {}
"""The unit that each name stands for."""
for _line in _NAMES.strip().splitlines():
    _unit, _, _aliases = _line.partition(":")
    CANONICAL |= dict.fromkeys((_unit, *_aliases.split()), _unit)

_MEASURES = frozenset(CANONICAL.values()) - {"item", "person", "unit"}
CURRENCIES = frozenset({"dollar", "euro", "sterling", "yuan", "rupee", "cent"})
SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 10**2, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8,
}  # fmt: skip
"""Words that multiply the number before them."""
PERCENT_WORDS = frozenset({"percent", "percentage", "pct", "percents"})

_POWERS = {"square": 2, "squared": 2, "sq": 2, "cubic": 3, "cubed": 3, "cu": 3, "平方": 2, "立方": 3}
_AFTER = frozenset({"squared", "cubed"})
_HAN_POWER = re.compile("^(平方|立方)(.+)$")
_HAN_PROSE = re.compile("[是不或非没无又还多少约以]|答案|左右|上下|大概|可能|也许|超过|^[零一二三四五六七八九十半]")
_MAX_NOUNS = 4
_FILLER = frozenset({"of", "the", "a", "an", "in", "total", "each", "per", "exactly"})
_REFUSED = frozenset({
    "or", "and", "not", "but", "nor", "either", "neither", "maybe", "possibly", "if", "unless", "when", "except",
    "plus", "minus", "times", "over", "less", "more", "than", "fewer", "under", "above", "below", "at", "between",
    "to", "from", "half", "double", "twice", "thrice", "no", "none", "without", "other", "another", "is", "are",
    "was", "about", "approximately", "approx", "around", "roughly", "nearly", "almost", "perhaps", "probably",
    "likely", "guess",
})  # fmt: skip
_LETTER = re.compile(r"[^\W\d_]")
_ELEMENT = re.compile(
    r"(?P<word>[^\W\d_]+|[°＄$€£¥₹¢]C?F?)|\^\s*\{?\s*(?P<power>-?\d+)\s*\}?|(?P<sign>[/*.·-])|(?P<number>\d+)"
    r"|\s+|[{}()]"
)


def is_unit(word: str) -> bool:
    """Whether a word is a unit by itself, as it stands (``m`` is, ``M`` is another one)."""
    return _canonical(word) is not None


def read_unit(phrase: str) -> str | None:
    """The canonical unit that a phrase names, such as ``km/h`` or ``square meters``; None if it names none.

    Any other noun phrase is a unit too (``red apples``), unless it says something else than what is counted: ``or``,
    ``not``, ``more than``, a number.
    """
    factors: dict[str, int] = {}
    nouns = 0
    last, sign, power = "", 1, 1
    position = 0
    while position < len(phrase):
        match = _ELEMENT.match(phrase, position)
        if match is None:
            return None
        position = match.end()
        exponent = match["power"] or match["number"]
        word = match["word"] or ""
        low = word.casefold()
        if exponent or (low in _AFTER and last):
            if not last:
                return None
            factors[last] *= int(exponent or _POWERS[low])
        elif match["sign"] == "/" or low == "per":
            sign = -1
        elif low in _POWERS:
            power = _POWERS[low]
        elif word and (low not in _FILLER or (low == "in" and not _LETTER.search(phrase, position))):
            if _says_more(word):
                return None
            raised, word = _han_power(word)
            unit = _canonical(word)
            nouns += unit is None
            last = unit or _singular(low)
            factors[last] = factors.get(last, 0) + sign * power * raised
            sign, power = 1, 1
    if nouns > _MAX_NOUNS or len(factors) > 2 * _MAX_NOUNS:
        return None
    return _joined(factors) if factors else CANONICAL.get(phrase, "")


def _joined(factors: dict[str, int]) -> str:
    for short, above, below in (("mph", "mile", "hour"), ("kph", "kilometer", "hour"), ("mpg", "mile", "gallon")):
        if factors.pop(short, 0):
            factors |= {above: 1, below: -1}
    if {"celsius", "fahrenheit"} & factors.keys():
        factors.pop("degree", None)
    ordered = sorted(factors.items(), key=lambda item: (item[1] < 0, item[0]))
    return "*".join(name if power == 1 else f"{name}^{power}" for name, power in ordered if power)


def _says_more(word: str) -> bool:
    """Whether a word does not just name what is counted."""
    low = word.casefold()
    return low in _REFUSED or low in SCALES or low in PERCENT_WORDS or bool(_HAN_PROSE.search(word))


def agree(first: str, second: str) -> bool:
    """Whether two canonical units may be meant by each other: one is missing, or they are the same.

    A bare measure word (``个``, canonically ``item``) agrees with any count noun, but with no unit of measure.
    """
    if not first or not second or first == second:
        return True
    if "item" in (first, second):
        other = second if first == "item" else first
        return not any(factor.partition("^")[0] in _MEASURES for factor in other.split("*"))
    return False


def _han_power(word: str) -> tuple[int, str]:
    match = _HAN_POWER.match(word)
    return (_POWERS[match[1]], match[2]) if match else (1, word)


def _canonical(word: str) -> str | None:
    if word in CANONICAL:
        return CANONICAL[word]
    if len(word) > 1 and CANONICAL.get(word[0]) == "item":
        return _canonical(word[1:]) or word[1:]
    low = word.casefold()
    if len(low) > 1 and low in CANONICAL:
        return CANONICAL[low]
    if len(low) > 3 and low.endswith("s") and low[:-1] in CANONICAL:
        return CANONICAL[low[:-1]]
    return None


def _singular(word: str) -> str:
    for ending, replacement in (("ies", "y"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("sses", "ss")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + replacement
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
