"""Prompts made by rule: something to write about, and instructions that can be followed together.

No table says which instructions go together. A response is composed step by step, one step for each instruction, and
the prompt is kept if that response follows all of them, so every prompt can be followed. It is not kept if a text
without content follows all of them too: ``no commas`` alone would teach a model to say nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from reckon.tasks.generate import held_out
from reckon.tasks.instructions import checks
from reckon.tasks.instructions.checks import Instruction
from reckon.tasks.instructions.text import sentences, words

FORMS = (
    *("Write a short note about {}.", "Explain to a child what {} is.", "Write a letter to a friend about {}."),
    *("Describe {} to somebody who has never seen it.", "Write an advertisement for {}.", "Tell a story about {}."),
    *("What do people like about {}?", "Write a blog post about {}.", "Give a speech in praise of {}."),
)
TOPICS = (
    *("a lake", "a bicycle", "the moon", "an old bridge", "bread", "a chess club", "a lighthouse", "rain", "a library"),
    *("a market", "a violin", "a train journey", "a garden", "winter", "a telescope", "a kite", "a bakery", "honey"),
    *("a desert", "a volcano", "a museum", "a rowing boat", "a thunderstorm", "a compass", "a windmill", "tea"),
    *("a mountain hut", "a harbour", "an owl", "a paper map", "a clock tower", "a wooden table", "salt", "a ferry"),
)
KEYWORDS = ("copper", "velvet", "harvest", "signal", "puzzle", "marble", "lantern", "orbit", "thunder", "meadow")
OPENERS = ("yesterday", "perhaps", "nobody", "together", "meanwhile", "finally")
ENDINGS = ("That is all there is to say.", "Thank you for reading.", "Is there anything else I can help with?")
FILLERS = (
    "Many people have told me about it over the years.",
    "It is good to take some time and look at it again.",
    "The first time I saw it I was very young.",
    "There is always something new to learn from it.",
    "My neighbour thinks that it should be better known.",
    "We talked about it for a long time after dinner.",
)
LANGUAGES = {
    "de": ("German", "Das ist ein schönes Thema. Viele Menschen denken gern darüber nach und sprechen oft davon."),
    "es": ("Spanish", "Este es un tema muy bonito. Muchas personas piensan en ello y hablan de ello con sus amigos."),
    "fr": ("French", "C'est un très beau sujet. Beaucoup de gens y pensent souvent et en parlent avec leurs amis."),
    "it": ("Italian", "Questo è un argomento molto bello. Molte persone ci pensano spesso e ne parlano con gli amici."),
    "zh": ("Chinese", "这是一个很好的话题。很多人常常想到它，也喜欢和朋友谈论它。"),
}
_EMPTY = (
    "Yes.",
    "no",
    "YES",
    "1",
    "9" * 1000,
    "9**9**9**9",
    "1 + 1 + 1",
    "__import__('os').getcwd()",
    "\x00\x1b[2J",
    "[]",
)
"""Texts without content, which must not be a way to follow a prompt."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question with the instructions in it, a response that follows them, and whether the prompt is held out.

    A hash of what is to be written and of which instructions there are decides the split, whatever their parameters.
    """

    question: str
    instructions: tuple[Instruction, ...]
    example: str
    heldout: bool


@dataclass(frozen=True, slots=True)
class _Step:
    """How one instruction is drawn, said, and followed.

    Attributes:
        kind: the instruction.
        draw: its parameters, given the request so far.
        say: the sentence that asks for it.
        follow: a text that follows it, made of one that may not; steps are taken in the order of ``_STEPS``.
    """

    kind: type[Instruction]
    draw: Callable[[random.Random, str], dict[str, Any]]
    say: Callable[[Any], str]
    follow: Callable[[Any, str], str]


def random_prompt(rng: random.Random, count: int) -> Prompt:
    """A prompt with ``count`` different instructions."""
    while True:
        form, topic = rng.choice(FORMS), rng.choice(TOPICS)
        question, drawn = form.format(topic), []
        for step in _chosen(rng, count):
            drawn.append((_STEPS.index(step), step.kind(**step.draw(rng, question))))
            question += " " + step.say(drawn[-1][1])
        text = f"Here is something about {topic}. {rng.choice(FILLERS)}"
        for number, instruction in sorted(drawn, key=lambda one: one[0]):
            text = _STEPS[number].follow(instruction, text)
        told = tuple(instruction for _, instruction in drawn)
        if _follows(text, told) and not any(_follows(empty, told) for empty in _EMPTY):
            key = f"{form.format(topic)}|{' '.join(sorted(one.id for one in told))}"
            return Prompt(question, told, text, held_out(f"instructions:{key}", one_in=10))


def _chosen(rng: random.Random, count: int) -> list[_Step]:
    """Different steps, in the order in which the question asks for them."""
    chosen = rng.sample(_STEPS, count)
    if any(step.kind is checks.JsonFormat for step in chosen):
        # JSON says nothing of titles, paragraphs or postscripts, but it can hold words.
        rest = rng.sample([step for step in _STEPS if step.kind.id.startswith("keywords:")], count - 1)
        chosen = [*rest, next(step for step in chosen if step.kind is checks.JsonFormat)]
    # The request to repeat comes last: what is to be repeated are the words before it.
    return sorted(chosen, key=lambda step: step.kind is checks.RepeatPrompt)


def _follows(text: str, instructions: tuple[Instruction, ...]) -> bool:
    return all(one.followed(text) for one in instructions)


def _relation(rng: random.Random) -> checks.Relation:
    return rng.choice(("at least", "less than"))


def _times(relation: str, count: int, noun: str) -> str:
    return f"{relation} {count} {noun}" if count == 1 else f"{relation} {count} {noun}s"


def _listed(found: tuple[str, ...]) -> str:
    return " and ".join(f'"{word}"' for word in found)


def _add(text: str, more: str) -> str:
    return f"{text} {more}"


def _lengthened(text: str, wanted: int, measure: Callable[[str], list[str]]) -> str:
    number = 0
    while len(measure(text)) < wanted:
        text, number = _add(text, FILLERS[number % len(FILLERS)]), number + 1
    return text


def _sections(one: checks.MultipleSections, text: str) -> str:
    more = islice(FILLERS, one.num_sections - 1)
    return "\n".join(f"{one.section_spliter} {number}\n{part}" for number, part in enumerate((text, *more), 1))


def _nth(one: checks.NthParagraphFirstWord, text: str) -> str:
    parts = [text, *islice(FILLERS, one.num_paragraphs - 1)]
    index = one.nth_paragraph - 1
    parts[index] = f"{one.first_word.capitalize()} there is more to say. {parts[index]}"
    return "\n\n".join(parts)


# In the order in which a response is composed: first the text, then what goes around it, then what changes all of it.
_STEPS = (
    _Step(
        checks.ResponseLanguage,
        lambda rng, _: {"language": rng.choice(sorted(LANGUAGES))},
        lambda one: f"Write in {LANGUAGES[one.language][0]} only.",
        lambda one, text: LANGUAGES[one.language][1],
    ),
    _Step(
        checks.NumberSentences,
        lambda rng, _: {"relation": _relation(rng), "num_sentences": rng.randint(3, 12)},
        lambda one: f"Use {_times(one.relation, one.num_sentences, 'sentence')}.",
        lambda one, text: text if one.relation == "less than" else _lengthened(text, one.num_sentences, sentences),
    ),
    _Step(
        checks.NumberWords,
        lambda rng, _: {"relation": _relation(rng), "num_words": rng.randrange(40, 200, 10)},
        lambda one: f"Answer with {_times(one.relation, one.num_words, 'word')}.",
        lambda one, text: text if one.relation == "less than" else _lengthened(text, one.num_words, words),
    ),
    _Step(
        checks.Existence,
        lambda rng, _: {"keywords": tuple(rng.sample(KEYWORDS, rng.randint(1, 3)))},
        lambda one: f"Use the keywords {_listed(one.keywords)}.",
        lambda one, text: _add(text, f"It has to do with {' and '.join(one.keywords)}."),
    ),
    _Step(
        checks.Frequency,
        lambda rng, _: {"keyword": rng.choice(KEYWORDS), "relation": _relation(rng), "frequency": rng.randint(2, 5)},
        lambda one: f'The word "{one.keyword}" should occur {_times(one.relation, one.frequency, "time")}.',
        lambda one, text: text if one.relation == "less than" else _add(text, f"{one.keyword} " * one.frequency + "."),
    ),
    _Step(
        checks.ForbiddenWords,
        lambda rng, _: {"forbidden_words": tuple(rng.sample(KEYWORDS, rng.randint(1, 3)))},
        lambda one: f"Do not use the words {_listed(one.forbidden_words)}.",
        lambda one, text: text,
    ),
    _Step(
        checks.LetterFrequency,
        lambda rng, _: {
            "letter": rng.choice("bjkqvwxz!"),
            "let_relation": _relation(rng),
            "let_frequency": rng.randint(3, 9),
        },
        lambda one: f"The character {one.letter} should occur {_times(one.let_relation, one.let_frequency, 'time')}.",
        lambda one, text: (
            text if one.let_relation == "less than" else _add(text, f"Look: {one.letter * one.let_frequency}.")
        ),
    ),
    _Step(
        checks.CapitalWordFrequency,
        lambda rng, _: {"capital_relation": _relation(rng), "capital_frequency": rng.randint(2, 6)},
        lambda one: (
            f"Words in capital letters only should occur {_times(one.capital_relation, one.capital_frequency, 'time')}."
        ),
        lambda one, text: (
            text if one.capital_relation == "less than" else _add(text, "VERY " * one.capital_frequency + "good.")
        ),
    ),
    _Step(
        checks.NumberPlaceholders,
        lambda rng, _: {"num_placeholders": rng.randint(1, 4)},
        lambda one: f"Leave {_times('at least', one.num_placeholders, 'placeholder')} in square brackets, like [name].",
        lambda one, text: _add(text, "Ask [name] about it. " * one.num_placeholders).strip(),
    ),
    _Step(
        checks.NumberHighlightedSections,
        lambda rng, _: {"num_highlights": rng.randint(1, 4)},
        lambda one: f"Highlight {_times('at least', one.num_highlights, 'part')} with markdown, like *this part*.",
        lambda one, text: _add(text, "This is *really important* here. " * one.num_highlights).strip(),
    ),
    _Step(
        checks.NumberBulletLists,
        lambda rng, _: {"num_bullets": rng.randint(1, 5)},
        lambda one: f"Give exactly {one.num_bullets} bullet points, each on a line that begins with an asterisk.",
        lambda one, text: text + "".join(f"\n* {FILLERS[number]}" for number in range(one.num_bullets)),
    ),
    _Step(
        checks.MultipleSections,
        lambda rng, _: {
            "section_spliter": rng.choice(("Section", "PART", "Chapter")),
            "num_sections": rng.randint(2, 5),
        },
        lambda one: f"Write {one.num_sections} sections, each headed {one.section_spliter} X, where X is its number.",
        _sections,
    ),
    _Step(
        checks.NumberParagraphs,
        lambda rng, _: {"num_paragraphs": rng.randint(2, 5)},
        lambda one: f"Write exactly {one.num_paragraphs} paragraphs with the markdown divider *** between them.",
        lambda one, text: "\n***\n".join((text, *islice(FILLERS, one.num_paragraphs - 1))),
    ),
    _Step(
        checks.NthParagraphFirstWord,
        lambda rng, _: {
            "num_paragraphs": (count := rng.randint(2, 5)),
            "nth_paragraph": rng.randint(1, count),
            "first_word": rng.choice(OPENERS),
        },
        lambda one: (
            f"Write exactly {one.num_paragraphs} paragraphs with an empty line between them; paragraph "
            f'{one.nth_paragraph} must begin with the word "{one.first_word}".'
        ),
        _nth,
    ),
    _Step(
        checks.Title,
        lambda _, __: {},
        lambda one: "Give it a title in double angular brackets, like <<a title>>.",
        lambda one, text: f"<<Some thoughts>>\n{text}",
    ),
    _Step(
        checks.ConstrainedResponse,
        lambda _, __: {},
        lambda one: (
            'Say whether you like it with one of these: "My answer is yes.", "My answer is no.", "My answer is maybe."'
        ),
        lambda one, text: f"My answer is maybe. {text}",
    ),
    _Step(
        checks.TwoResponses,
        lambda _, __: {},
        lambda one: "Give two different responses, with six asterisks between them: ******",
        lambda one, text: f"{text}\n******\n{text} {FILLERS[0]}",
    ),
    _Step(
        checks.RepeatPrompt,
        lambda rng, request: {"prompt_to_repeat": request},
        lambda one: "Before you answer, repeat the request up to this sentence, word for word.",
        lambda one, text: f"{one.prompt_to_repeat}\n{text}",
    ),
    _Step(
        checks.JsonFormat,
        lambda _, __: {},
        lambda one: "Give all of it as JSON.",
        lambda one, text: json.dumps({"text": text}, ensure_ascii=False),
    ),
    _Step(
        checks.Postscript,
        lambda rng, _: {"postscript_marker": rng.choice(("P.S.", "P.P.S"))},
        lambda one: f"Add a postscript that begins with {one.postscript_marker} at the end.",
        lambda one, text: f"{text}\n{one.postscript_marker} Write soon.",
    ),
    _Step(
        checks.EndChecker,
        lambda rng, _: {"end_phrase": rng.choice(ENDINGS)},
        lambda one: f'End with exactly these words: "{one.end_phrase}"',
        lambda one, text: f"{text}\n{one.end_phrase}",
    ),
    _Step(
        checks.EnglishCapital,
        lambda _, __: {},
        lambda one: "Write in English and in capital letters only.",
        lambda one, text: text.upper(),
    ),
    _Step(
        checks.EnglishLowercase,
        lambda _, __: {},
        lambda one: "Write in English and without any capital letters.",
        lambda one, text: text.lower(),
    ),
    _Step(
        checks.NoComma,
        lambda _, __: {},
        lambda one: "Do not use any commas.",
        lambda one, text: text.replace(",", ""),
    ),
    _Step(
        checks.Quotation,
        lambda _, __: {},
        lambda one: "Put double quotation marks around all of it.",
        lambda one, text: f'"{text}"',
    ),
)
