"""One notation for what is written many ways: LaTeX commands, Unicode signs, mark-up and spacing become canonical.

The canonical text still is a formula: ``\\dfrac`` and ``\\tfrac`` are ``\\frac``; signs are single characters (``≤``,
``∪``, ``π``, ``⦃`` for a set's brace); fonts and text wrappers are ``\\text{...}``. Linear in the length.
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 2_000
MAX_NESTING = 64

_COMMANDS: dict[str, str] = {}
for _names, _canonical in (
    (r"\, \; \: \  \> \quad \qquad \enspace \thinspace \hfill \nobreakspace \newline", " "),
    (r"\! \left \right \middle \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \Biggl \Biggr", ""),
    (r"\displaystyle \textstyle \scriptstyle \limits \nolimits \rm \bf \it \sf \boxed \fbox \mathop \underline", ""),
    (r"\checkmark \therefore \blacksquare \square \Box", ""),
    (r"\tiny \scriptsize \footnotesize \small \normalsize \large \Large \LARGE \huge \Huge", ""),
    (r"\boldmath \mathstrut \strut \notag \nonumber \( \) \[ \]", ""),
    (r"\frac \dfrac \tfrac \cfrac", r"\frac"),
    (r"\binom \dbinom \tbinom", r"\binom"),
    (r"\mathrm \mathbf \mathit \mathsf \mathtt \mathcal \mathscr \boldsymbol \bm", r"\text"),
    (r"\text \textbf \textit \textrm", r"\text"),
    (r"\textnormal \textsf \texttt \textsc \emph \mbox \hbox \operatorname \operatorname*", r"\text"),
    (r"\le \leq \leqslant \leqq", "≤"),
    (r"\ge \geq \geqslant \geqq", "≥"),
    (r"\ne \neq", "≠"),
    (r"\lt", "<"),
    (r"\gt", ">"),
    (r"\approx \simeq \doteq \cong", "≈"),
    (r"\cdot \times \ast \bullet", "*"),
    (r"\div", "/"),
    (r"\cup \bigcup", "∪"),
    (r"\cap \bigcap", "∩"),
    (r"\setminus \smallsetminus \backslash", "∖"),
    (r"\in", "∈"),
    (r"\infty \infin", "∞"),
    (r"\pm", "±"),
    (r"\mp", "∓"),
    (r"\pi", "π"),
    (r"\emptyset \varnothing", "∅"),
    (r"\circ \degree", "°"),
    (r"\{ \lbrace", "⦃"),
    (r"\} \rbrace", "⦄"),
    (r"\lbrack", "["),
    (r"\rbrack", "]"),
    (r"\lparen \langle", "("),
    (r"\rparen \rangle", ")"),
    (r"\lvert \rvert \vert \mid", "|"),
    (r"\lfloor", "⌊"),
    (r"\rfloor", "⌋"),
    (r"\lceil", "⌈"),
    (r"\rceil", "⌉"),
    (r"\ldots \dots \cdots", "…"),
    (r"\prime", "'"),
    (r"\colon \ratio", ":"),
    (r"\land \wedge", r"\text{ and }"),
    (r"\lor \vee", r"\text{ or }"),
    (r"\%", "%"),
    (r"\$", "＄"),
    (r"\#", "#"),
    (r"\&", "&"),
    (r"\_", "_"),
    (r"\minus", "-"),
    (r"\plus", "+"),
    (r"\varepsilon", r"\epsilon"),
    (r"\varphi", r"\phi"),
    (r"\vartheta", r"\theta"),
    (r"\exp", "exp"),
    (r"\lg", "lg"),
):
    for _name in _names.split(" \\"):
        _COMMANDS[_name if _name.startswith("\\") else "\\" + _name] = _canonical
_COMMANDS["\\ "] = _COMMANDS["\\"] = " "

_COMMAND = re.compile(r"\\(?:left|right)\s*\.|\\[a-zA-Z]+\*?|\\.|\\$", re.DOTALL)

_SIGNS = {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "﹣": "-", "×": "*", "∙": "*", "·": "*", "⋅": "*", "÷": "/", "⁄": "/",
    "∕": "/", "⩽": "≤", "≦": "≤", "⩾": "≥", "≧": "≥", "º": "°", "˚": "°", "℃": "°C", "℉": "°F", "′": "'", "’": "'",
    "√": r"\sqrt ", "∑": r"\sum ", "∏": r"\prod ", "∫": r"\int ", "ø": "∅", "Ø": "∅", "⟨": "(", "⟩": ")",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}",
    "㎡": "m^{2}", "、": ",", "。": ".", "￥": "¥", "：": ":", "~": " ", "∣": "|", "╱": "/", "∧": r"\text{ and }",
    "∨": r"\text{ or }", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "θ": r"\theta ", "λ": r"\lambda ",
    "μ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "Δ": r"\Delta ", "△": r"\triangle ", "∠": r"\angle ",
    "∆": r"\Delta ", "Ω": r"\Omega ", "\u2126": r"\Omega ",
}  # fmt: skip
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_UNICODE = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+|[₀₁₂₃₄₅₆₇₈₉₊₋]+|[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]|[" + "".join(_SIGNS) + "]")

_DEGREE = re.compile(r"\^\s*(?:\{\s*°\s*\}|°)")
_PRIMES = re.compile(r"\^\s*(?:\{\s*('(?:\s*')*)\s*\}|')")
_GROUPED = re.compile(r"(?<=\d)(?:\s*\{,\}\s*|\s*,\\!\s*|\\,\s*)(?=\d{3}(?!\d))")
_BARE_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)")
_UNIT_FRACTION = re.compile(
    r"\\frac\s*\{\s*(\\text\s*\{[^{}]*\})\s*\}\s*\{\s*(\\text\s*\{[^{}]*\}(?:\^\{?\d\}?)?)\s*\}"
)
_FONT = re.compile(r"\{\s*\\(?:rm|bf|it|sf|tt)\s+([^{}\\]*)\}")
_DOMAIN = re.compile(r"\s*\(\s*([A-Za-z](?:\s*,\s*[A-Za-z])*\s*∈[^()]*)\)$")
_EMPTY_GROUP = re.compile(r"(?<![a-zA-Z}\]])\{\s*\}")
_COLOUR = re.compile(r"\\(?:text)?color\s*\{[^{}]*\}|\\[hv]?phantom\s*\{[^{}]*\}")
_ASIDE = re.compile(r"\\text\s*\{\s*\(([A-Za-z ]+)\)\s*\}$")
_ELLIPSIS = re.compile(r"(?<=[0-9]{6})(?:\.\.\.|…)$")
_ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SAID = {"all real numbers": r"\mathbb{R}", "all reals": r"\mathbb{R}", "empty set": "∅", "the empty set": "∅"}
_SAID |= {word: str(number) for number, word in enumerate(_ONES)}
for _tens, _word in enumerate(_TENS, 2):
    _SAID |= {_word: f"{_tens}0"} | {f"{_word}-{_ONES[digit]}": f"{_tens}{digit}" for digit in range(1, 10)}
_SYSTEM = re.compile(r"\\begin\s*\{(aligned|align\*?|gathered|split|cases)\}(.*?)\\end\s*\{\1\}", re.DOTALL)
_ROW_END = re.compile(r"\\\\(?:\[[^\]]*\])?")
_TIMES = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
_LEAD = re.compile(
    r"^(?:(?:so|thus|therefore|hence)?,?\s*(?:the|my|our)?\s*(?:final|correct)?\s*answer\s*(?:is|:|=)\s*:?|"
    r"(?:therefore|thus|hence|indeed|then|simply|just|exactly|equal to)\b,?|"
    r"(?:最终)?答案\s*[是为:]+)\s*(?=\S)",
    re.IGNORECASE,
)
_TEXT_LEAD = re.compile(r"^\\text\s*\{([^{}]*(?:\bis|:|=|是|为)\s*)\}\s*(?=\S)")
_OUTWARD = re.compile(r"(\[|(?<![\w)}])\])([^][(),;]+[,;][^][(),;]+)([][])")
_LATEX_DOLLAR = re.compile(r"\$+")


def tidy(text: str) -> str:
    """The canonical form of an answer's text."""
    text = "".join(c for c in text if c in "\n\t\r" or unicodedata.category(c) not in ("Cf", "Cc", "Cs", "Co"))
    text = _UNICODE.sub(lambda match: _sign(match.group()), text)
    text = unicodedata.normalize("NFKC", text.replace("＄", r"\$")).replace("｡", ".")
    text = _EMPTY_GROUP.sub("", _COLOUR.sub("", _GROUPED.sub("", text)))
    text = _SYSTEM.sub(_listed, _FONT.sub(r"\\text{\1}", text))
    text = _COMMAND.sub(lambda match: _command(match.group()), text)
    text = _PRIMES.sub(lambda match: match[1] or "'", _DEGREE.sub("°", text))
    text = _TIMES.sub("*", text.replace("per cent", "percent"))
    text = _UNIT_FRACTION.sub(r"\1/\2", _BARE_FRACTION.sub(r"\\frac{\1}{\2}", text))
    text = _undollar(" ".join(text.split()))
    text = _DOMAIN.sub(r", \1", _OUTWARD.sub(_inward, _strip(text)))
    text = _LEAD.sub("", _TEXT_LEAD.sub("", text))
    text = _strip(_ELLIPSIS.sub("", _ASIDE.sub(r"\\text{ \1}", text)))
    return _SAID.get(text.removeprefix(r"\text{").removesuffix("}").strip().casefold(), text)


def guarded(text: str) -> str | None:
    """Why a text is too large to be looked at, or None: its length, nesting or digits are beyond what an answer has."""
    if len(text) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS} characters"
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth = max(0, depth - 1)
    if deepest > MAX_NESTING:
        return f"nested deeper than {MAX_NESTING}"
    return None


def _listed(system: re.Match[str]) -> str:
    """The rows of a system of equations as a list, if each row is one item of it."""
    body = system[2]
    if re.search(r"\\begin|(?<!\\),", body) or (system[1] == "cases" and "&" in body):
        return system.group()
    return _ROW_END.sub(", ", body.replace("&", ""))


def _sign(sign: str) -> str:
    if sign[0] in "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ":
        return "^{" + sign.translate(_RAISED) + "}"
    if sign[0] in "₀₁₂₃₄₅₆₇₈₉₊₋":
        return "_{" + sign.translate(_LOWERED) + "}"
    if sign in _SIGNS:
        return _SIGNS[sign]
    numerator, _, denominator = unicodedata.normalize("NFKC", sign).partition("⁄")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def _inward(interval: re.Match[str]) -> str:
    """``]1, 3[`` as ``(1, 3)``."""
    return interval[1].replace("]", "(") + interval[2] + interval[3].replace("[", ")")


def _command(command: str) -> str:
    if command.endswith(".") and command[:2] in (r"\l", r"\r"):
        return ""
    canonical = _COMMANDS.get(command)
    if canonical is None:
        return command
    word = canonical[:1].isalpha() or canonical[:1] == "\\"
    return f" {canonical}" if word and canonical[-1:].isalpha() and canonical[0] != "\\" else canonical


def _undollar(text: str) -> str:
    """Without the ``$`` around formulas; a single one before a number is the currency."""
    if text.count("$") == 1 and re.match(r"^-?\$\s*[\d.]", text):
        return text.replace("$", "＄")
    return _LATEX_DOLLAR.sub("", text)


def _strip(text: str) -> str:
    """Without emphasis around it and punctuation after it."""
    while True:
        before = text
        text = text.strip().rstrip(",;:。").strip()
        if text.endswith(".") and not text.endswith("..") and not text[:-1].endswith("…"):
            text = text[:-1]
        if len(text) > 2 and text[0] == text[-1] == "'":
            text = text[1:-1]
        for mark in ("**", "__", "`", "*", '"', "“", "”", "\\\\"):
            if text.startswith(mark):
                text = text[len(mark) :]
            if text.endswith(mark):
                text = text[: -len(mark)]
        if text == before:
            return text
