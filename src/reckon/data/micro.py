"""The text the micro base model is pretrained on: Countdown search traces of mixed quality, made by rule.

The mixture follows what the literature says of real base models: they *can* reason but mostly do not. Some traces
search with patience and check themselves, most give up early and answer with their last attempt, some guess without
thinking; some are in Han script, some mix both; not all use the tags. Every sum in the text is right, because a
model that cannot add cannot learn to search. Held-out Countdown problems never occur in it.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field
from tokenizers import AddedToken, pre_tokenizers
from transformers import PreTrainedTokenizerBase, Qwen2Tokenizer

from reckon.core.config import Strict
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.models.template import TEMPLATES
from reckon.rollout.collect import Collection
from reckon.tasks.countdown import is_heldout, random_problem

WORDS = {
    "latin": {
        "yes": ["yes."],
        "no": ["no."],
        "again": ["wait,", "let me try", "hmm,", "try again:"],
        "check": ["check:"],
        "give up": ["I give up.", "so"],
        "answer": ["answer:"],
    },
    "han": {
        "yes": ["对。"],
        "no": ["不对。"],
        "again": ["等等，", "试试", "再试：", "换一个："],
        "check": ["检查："],
        "give up": ["算了。", "所以"],
        "answer": ["答案："],
    },
}


class Mixture(Strict):
    """What the corpora share: Countdown and the style of a text, as shares in [0, 1] unless said otherwise.

    Attributes:
        max_number: the largest given number; max_value: the largest value of any step.
        four: problems with four numbers rather than three.
        tagged: of the problems, answers with the full ``<think>``/``<answer>`` form; the rest is divided evenly among
            a search without tags, a thought whose answer lacks tags, and an answer without a thought.
        han, mixed: texts in Han script; texts that change script from word to word.
        reflective: texts that put a word of reconsideration before a new attempt.
        check: solved texts that repeat the solution as a check before answering.
        give_up: chance to stop after a failed attempt, drawn per text from these.
        looks: how many continuations a text weighs before it writes an attempt (keeping the one that comes closest
            to the target), drawn per text from these.
    """

    max_number: int = Field(12, ge=1)
    max_value: int = Field(99, ge=1, le=99)
    four: float = Field(0.08, ge=0, le=1)
    tagged: float = Field(0.55, ge=0, lt=1)
    han: float = Field(0.20, ge=0, le=1)
    mixed: float = Field(0.12, ge=0, le=1)
    reflective: float = Field(0.35, ge=0, le=1)
    check: float = Field(0.2, ge=0, le=1)
    give_up: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field((0.6, 0.4, 0.25, 0.1, 0.03), min_length=1)
    looks: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 4), min_length=1)

    @property
    def words(self) -> tuple[str, ...]:
        """Words beyond Countdown's that the tokenizer keeps whole; those that follow a space begin with it."""
        return ()

    @abstractmethod
    def write(self, rng: random.Random) -> str:
        """One text of the corpus."""


class MicroText(Mixture):
    """Countdown and nothing else.

    Attributes:
        drill: texts that are plain lists of true sums.
    """

    kind: Literal["micro"] = "micro"
    drill: float = Field(0.10, ge=0, le=1)

    def write(self, rng: random.Random) -> str:
        if rng.random() < self.drill:
            return drill_text(rng, self)
        return "".join(problem_text(rng, self, Style(rng, self)))


class Style:
    """How a text is written. Each trait is drawn when it is first asked for, and then stays."""

    def __init__(self, rng: random.Random, mix: Mixture) -> None:
        self.rng, self.mix = rng, mix

    @cached_property
    def script(self) -> str:
        """``latin``, ``han`` or ``mixed``."""
        draw = self.rng.random()
        return "han" if draw < self.mix.han else "mixed" if draw < self.mix.han + self.mix.mixed else "latin"

    @cached_property
    def give_up(self) -> float:
        """The chance to stop after a failed attempt."""
        return self.rng.choice(self.mix.give_up)

    @cached_property
    def looks(self) -> int:
        return self.rng.choice(self.mix.looks)

    @cached_property
    def reflective(self) -> bool:
        return self.rng.random() < self.mix.reflective

    @cached_property
    def form(self) -> int:
        """0: both tags; 1: none; 2: a thought and a bare answer; 3: an answer without a thought."""
        draw = (self.rng.random() - self.mix.tagged) / (1 - self.mix.tagged)
        return 0 if draw < 0 else 1 + min(2, int(3 * draw))

    def word(self, kind: str, words: dict[str, dict[str, list[str]]] = WORDS) -> str:
        """A word of that kind in the text's script."""
        script = self.rng.choice(("latin", "han")) if self.script == "mixed" else self.script
        return self.rng.choice(words[script][kind])

    def response(self, thought: str, answer: str) -> str:
        """A response in the text's form."""
        if self.form == 0:
            return f" <think> {thought} </think> <answer> {answer} </answer>"
        if self.form == 1:
            return f" {thought} {self.word('answer')} {answer}"
        if self.form == 2:
            return f" <think> {thought} </think> {self.word('answer')} {answer}"
        return f" <answer> {answer} </answer>"


@dataclass(slots=True)
class Attempt:
    """One way to combine all numbers: its written steps, its value, and the expression it amounts to."""

    steps: list[str]
    value: int
    expression: str


def combine(rng: random.Random, a: int, b: int, max_value: int) -> tuple[str, int, bool]:
    """A random operation on two numbers whose result is an integer in 0..max_value: (sign, result, swapped)."""
    big, small = max(a, b), min(a, b)
    options = [("-", big - small)]
    if a + b <= max_value:
        options.append(("+", a + b))
    if a * b <= max_value:
        options.append(("*", a * b))
    if small > 0 and big % small == 0:
        options.append(("/", big // small))
    sign, value = options[rng.randrange(len(options))]
    swapped = b > a if sign in "-/" else rng.random() < 0.3
    return sign, value, swapped


def attempt(rng: random.Random, numbers: list[int], max_value: int) -> Attempt:
    """A uniformly careless way to combine the numbers, two at a time, until one value is left."""
    pool = [(number, str(number)) for number in numbers]
    steps = []
    while len(pool) > 1:
        i, j = rng.sample(range(len(pool)), 2)
        (a, left), (b, right) = pool[i], pool[j]
        sign, value, swapped = combine(rng, a, b, max_value)
        if swapped:
            a, b, left, right = b, a, right, left
        steps.append(f"{a} {sign} {b} = {value}")
        last = len(pool) == 2
        text = f"{left} {sign} {right}" if last else f"( {left} {sign} {right} )"
        pool = [item for k, item in enumerate(pool) if k not in (i, j)] + [(value, text)]
    return Attempt(steps, pool[0][0], pool[0][1])


def _search(
    rng: random.Random, mix: Mixture, style: Style, numbers: list[int], target: int, limit: int
) -> tuple[list[Attempt], bool]:
    """Attempts until one hits the target, patience runs out, or ``limit`` is reached; and whether the last one hit."""
    give_up, looks = style.give_up, style.looks
    tried: list[Attempt] = []
    seen: set[str] = set()
    while len(tried) < limit:
        options = [attempt(rng, numbers, mix.max_value) for _ in range(looks)]
        fresh = [option for option in options if option.expression not in seen] or options
        best = min(fresh, key=lambda option: abs(option.value - target))
        seen.add(best.expression)
        tried.append(best)
        if best.value == target:
            return tried, True
        if rng.random() < give_up:
            return tried, False
    return tried, False


def problem_text(rng: random.Random, mix: Mixture, style: Style) -> tuple[str, str]:
    """One Countdown question and one response to it, as (prompt, response) text."""
    count = 4 if rng.random() < mix.four else 3
    while True:
        numbers, target = random_problem(rng, count, mix.max_number, mix.max_value)
        if not is_heldout(numbers, target):
            break
    question = f"Make {target} from {', '.join(map(str, numbers))}."
    # The traits are asked for in this order because it decides the draws, and so the texts that ``micro`` has seen.
    _ = style.script
    tried, solved = _search(rng, mix, style, numbers, target, limit=14 if count == 3 else 8)
    reflective = style.reflective
    thought: list[str] = []
    for number, one in enumerate(tried):
        if number and reflective and rng.random() < 0.6:
            thought.append(style.word("again"))
        thought.append(", ".join(one.steps) + ",")
        thought.append(style.word("yes" if one.value == target else "no"))
    if solved and rng.random() < mix.check:
        thought += [style.word("check"), ", ".join(tried[-1].steps) + ",", style.word("yes")]
    elif not solved and rng.random() < 0.5:
        thought.append(style.word("give up"))
    return TEMPLATES["micro"].format(question=question), style.response(" ".join(thought), tried[-1].expression)


def drill_text(rng: random.Random, mix: Mixture) -> str:
    """A list of true sums, so that rare ones are seen too."""
    lines = []
    for _ in range(10):
        a, b = rng.randint(0, mix.max_value), rng.randint(1, mix.max_number)
        sign, value, swapped = combine(rng, a, b, mix.max_value)
        a, b = (b, a) if swapped else (a, b)
        lines.append(f"{a} {sign} {b} = {value}")
    return " " + ", ".join(lines) + "."


def text_at(mix: Mixture, seed: int, index: int) -> str:
    """Text number ``index`` of the endless corpus (prompt and response in one): a function of its arguments alone."""
    return mix.write(random.Random(seed_for(seed, "micro-text", index)))


@dataclass
class Texts:
    """The corpus as a source of rollouts: every token but a text's first is a response token to learn."""

    mix: Mixture
    tokenizer: PreTrainedTokenizerBase
    texts_per_step: int
    seed: int

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """The texts of a step (1-based)."""
        check()
        rollouts = []
        for index in range((step - 1) * self.texts_per_step, step * self.texts_per_step):
            text = text_at(self.mix, self.seed, index)
            ids = [*self.tokenizer(text)["input_ids"], self.tokenizer.eos_token_id]
            problem = Problem(f"text:{index}", "", None)
            rollouts.append(Rollout("micro-text", problem, 0, "", ids[:1], text, ids[1:], [], "stop", index))
        return Collection(rollouts)

    def save(self) -> dict[str, Any]:
        """Nothing: a step's texts are a function of its number."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Nothing to remember."""


def build_tokenizer(more: Iterable[str] = ()) -> Qwen2Tokenizer:
    """A byte-level tokenizer that encodes any text; a number up to 99 and each word of the corpora is one token.

    The ids of Countdown's words do not depend on the words of ``more``, which come after.

    The words are added tokens rather than BPE merges because ``transformers`` gives every Qwen2 model the Qwen2
    pre-tokenizer, which would cut numbers into digits; added tokens are matched before it.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Qwen2Tokenizer(vocab={token: index for index, token in enumerate(["<|endoftext|>", *letters])})
    words = ["<think>", "</think>", "<answer>", "</answer>", "Make", "from", *"+-*/=()", *map(str, range(100))]
    words += [word for script in WORDS.values() for kind in script.values() for word in kind]
    tokens = ["User:", "\nAssistant:", *(f" {word}" for word in dict.fromkeys(words))]
    add_words(tokenizer, [*tokens, *more])
    return tokenizer


def add_words(tokenizer: PreTrainedTokenizerBase, words: Iterable[str]) -> None:
    """Make each of the words one token, after all that the tokenizer has; those it has keep their ids."""
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
