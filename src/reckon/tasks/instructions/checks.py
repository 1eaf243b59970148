"""The 25 verifiable instructions of IFEval (arXiv 2311.07911), by their published ids and parameters.

Each is a pure function of the response. They are those of the published code, except where that can be followed
without doing what the instruction says; such a check says so.
"""

from __future__ import annotations

import difflib
import json
import re
from abc import abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator

from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.tasks.instructions.text import (
    SCRIPTS,
    capital_words,
    has_content,
    is_in,
    paragraphs,
    sentences,
    words,
)

Relation = Literal["less than", "at least"]

_PLACEHOLDER = re.compile(r"\[[^\[\]\n]+\]")
_HIGHLIGHT = re.compile(r"(\*\*?)(?!\s)[^\n*]+(?<!\s)\1")
_BULLET = re.compile(r"^[ \t]*[*-][ \t]+\S", re.MULTILINE)
_TITLE = re.compile(r"<<[^\n<>]*[^\s<>][^\n<>]*>>")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_COMMAS = re.compile("[,，،、]")
_POSTSCRIPTS = {"P.S.": re.compile(r"(?<![\w.])p\.[ ]?s\."), "P.P.S": re.compile(r"(?<![\w.])p\.[ ]?p\.[ ]?s")}
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_MARKUP = "\"'“”‘’«»([*_#>-"


class Instruction(Strict):
    """One instruction with its parameters.

    Attributes:
        id: its published name.
    """

    id: ClassVar[str]

    @abstractmethod
    def followed(self, text: str) -> bool:
        """Whether a response, which is not empty, follows it. Never raises; linear in the length of the text."""


def _compared(count: int, relation: Relation, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


class Existence(Instruction):
    """All keywords occur, in any case, also inside longer words."""

    id = "keywords:existence"
    keywords: tuple[str, ...] = Field(min_length=1)

    def followed(self, text: str) -> bool:
        return all(keyword.lower() in text.lower() for keyword in self.keywords)


class Frequency(Instruction):
    """How often a keyword occurs, in any case, also inside longer words."""

    id = "keywords:frequency"
    keyword: str = Field(min_length=1)
    frequency: int = Field(ge=0)
    relation: Relation

    def followed(self, text: str) -> bool:
        return _compared(text.lower().count(self.keyword.strip().lower()), self.relation, self.frequency)


class ForbiddenWords(Instruction):
    """None of the words occurs, in any case, as a word of its own."""

    id = "keywords:forbidden_words"
    forbidden_words: tuple[str, ...] = Field(min_length=1)

    def followed(self, text: str) -> bool:
        return not any(
            re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in self.forbidden_words
        )


class LetterFrequency(Instruction):
    """How often a character occurs, in any case."""

    id = "keywords:letter_frequency"
    letter: str = Field(min_length=1, max_length=1)
    let_frequency: int = Field(ge=0)
    let_relation: Relation

    def followed(self, text: str) -> bool:
        return _compared(text.lower().count(self.letter.lower()), self.let_relation, self.let_frequency)


class ResponseLanguage(Instruction):
    """The response is in a language. A response without letters is in none; the published check lets it pass."""

    id = "language:response_language"
    language: str

    @field_validator("language")
    @classmethod
    def _known(cls, language: str) -> str:
        if language not in SCRIPTS:
            raise ValueError(f"should be one of {', '.join(sorted(SCRIPTS))}")
        return language

    def followed(self, text: str) -> bool:
        return is_in(self.language, text)


class NumberSentences(Instruction):
    """How many sentences there are."""

    id = "length_constraints:number_sentences"
    num_sentences: int = Field(ge=0)
    relation: Relation

    def followed(self, text: str) -> bool:
        return _compared(len(sentences(text)), self.relation, self.num_sentences)


class NumberParagraphs(Instruction):
    """How many paragraphs there are, with ``***`` between them."""

    id = "length_constraints:number_paragraphs"
    num_paragraphs: int = Field(ge=1)

    def followed(self, text: str) -> bool:
        return _filled(text.split("***"), self.num_paragraphs)


class NumberWords(Instruction):
    """How many words there are."""

    id = "length_constraints:number_words"
    num_words: int = Field(ge=0)
    relation: Relation

    def followed(self, text: str) -> bool:
        return _compared(len(words(text)), self.relation, self.num_words)


class NthParagraphFirstWord(Instruction):
    """How many paragraphs there are, with empty lines between them, and how one of them, counted from 1, begins.

    Paragraphs are counted and picked from one list; the published check counts those that are not empty, and picks from
    all.
    """

    id = "length_constraints:nth_paragraph_first_word"
    num_paragraphs: int = Field(ge=1)
    nth_paragraph: int = Field(ge=1)
    first_word: str = Field(min_length=1)

    def followed(self, text: str) -> bool:
        found = paragraphs(text)
        if len(found) != self.num_paragraphs or self.nth_paragraph > len(found):
            return False
        first = re.match(r"[\w'’-]+", found[self.nth_paragraph - 1].lstrip(_MARKUP + " "))
        return first is not None and first.group().strip("'’-").lower() == self.first_word.lower()


class NumberPlaceholders(Instruction):
    """At least so many ``[placeholders]``. Empty brackets are none."""

    id = "detectable_content:number_placeholders"
    num_placeholders: int = Field(ge=0)

    def followed(self, text: str) -> bool:
        return len(_PLACEHOLDER.findall(text)) >= self.num_placeholders


class Postscript(Instruction):
    """There is a postscript. ``P.P.S.`` is none that begins with ``P.S.``"""

    id = "detectable_content:postscript"
    postscript_marker: str = Field(min_length=1)

    def followed(self, text: str) -> bool:
        marker = self.postscript_marker.strip()
        pattern = _POSTSCRIPTS.get(marker) or re.compile(rf"(?<!\w){re.escape(marker.lower())}")
        return pattern.search(text.lower()) is not None


class NumberBulletLists(Instruction):
    """Exactly so many points, which are lines that begin with ``* `` or ``- ``.

    As in markdown, a line in bold or italics and a ruled line are none; the published check counts some of them.
    """

    id = "detectable_format:number_bullet_lists"
    num_bullets: int = Field(ge=0)

    def followed(self, text: str) -> bool:
        return len(_BULLET.findall(text)) == self.num_bullets


class ConstrainedResponse(Instruction):
    """The answer is yes, no, or maybe: one of the three phrases occurs. The published check lets all three pass."""

    id = "detectable_format:constrained_response"

    def followed(self, text: str) -> bool:
        return sum(option in text for option in _OPTIONS) == 1


class NumberHighlightedSections(Instruction):
    """At least so many ``*parts*`` or ``**parts**``; as in markdown, no space stands inside the asterisks."""

    id = "detectable_format:number_highlighted_sections"
    num_highlights: int = Field(ge=0)

    def followed(self, text: str) -> bool:
        return len(_HIGHLIGHT.findall(text)) >= self.num_highlights


class MultipleSections(Instruction):
    """At least so many marks such as ``Section 1``."""

    id = "detectable_format:multiple_sections"
    section_spliter: str = Field(min_length=1)
    num_sections: int = Field(ge=1)

    def followed(self, text: str) -> bool:
        return len(re.findall(rf"(?<!\w){re.escape(self.section_spliter.strip())}\s?\d+", text)) >= self.num_sections


class JsonFormat(Instruction):
    """All of it is one JSON object or list, in a code fence or not. The published check lets a bare number pass."""

    id = "detectable_format:json_format"

    def followed(self, text: str) -> bool:
        fenced = _FENCE.fullmatch(text.strip())
        try:
            found = json.loads(fenced[1] if fenced else text)
        except (ValueError, RecursionError):
            return False
        return isinstance(found, dict | list)


class Title(Instruction):
    """There is a title in ``<<double angular brackets>>``."""

    id = "detectable_format:title"

    def followed(self, text: str) -> bool:
        return _TITLE.search(text) is not None


class TwoResponses(Instruction):
    """Two different responses, with ``******`` between them."""

    id = "combination:two_responses"

    def followed(self, text: str) -> bool:
        parts = text.split("******")
        return _filled(parts, 2) and len({one.strip() for one in parts if one.strip()}) == 2


class RepeatPrompt(Instruction):
    """The request comes first, and then an answer, which the published check does not ask for."""

    id = "combination:repeat_prompt"
    prompt_to_repeat: str = Field(min_length=1)

    def followed(self, text: str) -> bool:
        said, asked = text.strip().lower(), self.prompt_to_repeat.strip().lower()
        return said.startswith(asked) and has_content(said[len(asked) :])


class EndChecker(Instruction):
    """The last words are a phrase, in any case; a closing quotation mark may follow."""

    id = "startend:end_checker"
    end_phrase: str = Field(min_length=1)

    def followed(self, text: str) -> bool:
        return text.strip().strip('"').lower().endswith(self.end_phrase.strip().lower())


class Quotation(Instruction):
    """All of it stands in double quotation marks."""

    id = "startend:quotation"

    def followed(self, text: str) -> bool:
        text = text.strip()
        return len(text) > 1 and text[0] == text[-1] == '"'


class CapitalWordFrequency(Instruction):
    """How many words have capital letters only."""

    id = "change_case:capital_word_frequency"
    capital_frequency: int = Field(ge=0)
    capital_relation: Relation

    def followed(self, text: str) -> bool:
        return _compared(capital_words(text), self.capital_relation, self.capital_frequency)


class EnglishCapital(Instruction):
    """English without small letters."""

    id = "change_case:english_capital"

    def followed(self, text: str) -> bool:
        return text.isupper() and is_in("en", text)


class EnglishLowercase(Instruction):
    """English without capital letters."""

    id = "change_case:english_lowercase"

    def followed(self, text: str) -> bool:
        return text.islower() and is_in("en", text)


class NoComma(Instruction):
    """No comma of any script."""

    id = "punctuation:no_comma"

    def followed(self, text: str) -> bool:
        return _COMMAS.search(text) is None


def _filled(parts: list[str], count: int) -> bool:
    """Whether there are so many parts, none of them empty; a divider may stand before the first and after the last."""
    inner = [bool(part.strip()) for part in parts]
    return sum(inner) == count and all(inner[1:-1])


INSTRUCTIONS: dict[str, type[Instruction]] = {
    one.id: one
    for one in (
        *(Existence, Frequency, ForbiddenWords, LetterFrequency, ResponseLanguage, NumberSentences, NumberParagraphs),
        *(NumberWords, NthParagraphFirstWord, NumberPlaceholders, Postscript, NumberBulletLists, ConstrainedResponse),
        *(NumberHighlightedSections, MultipleSections, JsonFormat, Title, TwoResponses, RepeatPrompt, EndChecker),
        *(Quotation, CapitalWordFrequency, EnglishCapital, EnglishLowercase, NoComma),
    )
}


def read_instruction(name: str, parameters: dict[str, Any], where: str) -> Instruction:
    """The instruction of that id. Parameters that are null are left out: tables have a column for each.

    Raises:
        DataError: there is no such instruction or parameter (the nearest is named), one is missing, or a value is not
            allowed. An instruction that is not known must never count as followed.
    """
    if name not in INSTRUCTIONS:
        raise DataError(f"there is no instruction {name!r}{_nearest(name, INSTRUCTIONS)}", where=where)
    kind = INSTRUCTIONS[name]
    try:
        return kind(**{key: value for key, value in parameters.items() if value is not None})
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        parameter = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            what = f"has no parameter {parameter!r}{_nearest(parameter, kind.model_fields)}"
        elif first["type"] == "missing":
            what = f"is not told its {parameter!r}"
        else:
            what = f"cannot have this {parameter!r}: {first['msg']}"
        raise DataError(f"the instruction {name!r} {what}", where=where) from None


def _nearest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; it has: {', '.join(known)}" if len(known) <= 4 else ""
