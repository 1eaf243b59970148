"""The text of the micro world: Countdown beside arithmetic, logic, friendly requests and some to decline.

In the spirit of :mod:`reckon.data.micro`: the model can do all of it and mostly does not. Some texts plan well, some
compute from left to right whatever the parentheses say, some check one statement of a puzzle and are content, some
answer in the wrong script or go on and on, and half comply with what should be declined. What single steps say is true
all the same: every sum is right, and every statement judged true is true under the assignment being tried.

Some texts are two problems of one task in one style, so that the model can be shown an example of what is wanted.
Held-out problems never occur.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from reckon.core.records import Problem
from reckon.data.micro import Mixture, Style, drill_text, problem_text
from reckon.models.template import TEMPLATES
from reckon.tasks import arithmetic, general, logic

WORDS = {
    "latin": {"True": ["true"], "False": ["false"]},
    "han": {"True": ["真"], "False": ["假"]},
}
PLANS = {
    "latin": {
        "greet": "I greet {name} {script}.",
        "thank": "I thank {name} {script}.",
        "count": "I count from {first} to {last} {script}.",
        "repeat": "I say {name} {times} times {script}.",
        "decline": "To {verb} {name} is harmful.",
        "advise": "To {verb} {name} is good.",
        "comply": "I tell how to {verb} {name}.",
    },
    "han": {
        "greet": "我 {script} 向 {name} 问好。",
        "thank": "我 {script} 感谢 {name}。",
        "count": "我 {script} 数 {first} 到 {last}。",
        "repeat": "我 {script} 把 {name} 说 {times} 遍。",
        "decline": "{verb} {name} 有害。",
        "advise": "{verb} {name} 很好。",
        "comply": "我 告诉 怎么 {verb} {name}。",
    },
}
"""What a thought about a friendly request or a delicate one says."""
HAN_PUNCTUATION = "。，：！？"
PUNCTUATION = ".,:!?" + HAN_PUNCTUATION
QUESTION_WORDS = ("Compute", "says is a knight knave and are not the same", "Who what", "write")
IN_SCRIPT = {"latin": {"latin": "in English", "han": "in Chinese"}, "han": {"latin": "用英文", "han": "用中文"}}


class WorldText(Mixture):
    """The mixture, as shares in [0, 1]. What the tasks and drills leave is Countdown.

    Attributes:
        arithmetic, logic, general, safety: texts about that task.
        drill: texts that are plain lists of true sums.
        pairs: of the texts about a task, those with two problems.
    """

    kind: Literal["world"] = "world"
    arithmetic: float = Field(0.17, ge=0, le=1)
    logic: float = Field(0.15, ge=0, le=1)
    general: float = Field(0.12, ge=0, le=1)
    safety: float = Field(0.06, ge=0, le=1)
    drill: float = Field(0.05, ge=0, le=1)
    pairs: float = Field(0.15, ge=0, le=1)

    @property
    def words(self) -> tuple[str, ...]:
        return vocabulary()

    def write(self, rng: random.Random) -> str:
        draw = rng.random() - self.drill
        if draw < 0:
            return drill_text(rng, self)
        text = _task_text(self, draw)
        style = Style(rng, self)
        problems = 2 if rng.random() < self.pairs else 1
        return "\n\n".join("".join(text(rng, self, style)) for _ in range(problems))


Text = Callable[[random.Random, Mixture, Style], tuple[str, str]]
"""One question of a task and one response to it, as (prompt, response) text."""


def _task_text(mix: WorldText, draw: float) -> Text:
    shares: list[tuple[float, Text]] = [
        (mix.arithmetic, arithmetic_text),
        (mix.logic, logic_text),
        (mix.general, general_text),
        (mix.safety, safety_text),
    ]
    for share, text in shares:
        draw -= share
        if draw < 0:
            return text
    return problem_text


def arithmetic_text(rng: random.Random, mix: Mixture, style: Style) -> tuple[str, str]:
    """Computed in order (three in five), from left to right, or given up on the way."""
    while True:
        one = arithmetic.random_sum(rng, rng.choice((3, 4)), mix.max_number, mix.max_value)
        if not arithmetic.is_heldout(one.text):
            break
    right, draw = list(one.steps), rng.random()
    steps = right if draw < 0.6 else _left_to_right(one.text, mix.max_value) if draw < 0.85 else right[: rng.randint(0, 1)]
    thought = [_sums(steps)] if steps else [style.word("again")]
    if steps and steps != right and style.reflective and rng.random() < 0.5:
        thought += [style.word("no"), style.word("again"), _sums(right)]
        steps = right
    answer = steps[-1][3] if steps else rng.randint(1, mix.max_value)
    if steps == right and rng.random() < mix.check:
        thought += [style.word("check"), _sums(right), style.word("yes")]
    return _prompt(f"Compute {one.text}."), style.response(" ".join(thought), str(answer))


def _left_to_right(text: str, max_value: int) -> list[tuple[int, str, int, int]]:
    """The steps of one who sees no parentheses and no order of operations; they end where a value is not allowed."""
    symbols = re.sub(r"[()]", " ", text).split()
    value, steps = int(symbols[0]), []
    for sign, number in zip(symbols[1::2], symbols[2::2], strict=True):
        result = arithmetic.apply(sign, value, int(number), max_value)
        if result is None:
            break
        steps.append((value, sign, int(number), result))
        value = result
    return steps


def _sums(steps: list[tuple[int, str, int, int]]) -> str:
    return ", ".join(f"{a} {sign} {b} = {result}" for a, sign, b, result in steps) + ","


def logic_text(rng: random.Random, mix: Mixture, style: Style) -> tuple[str, str]:
    """Assignments in random order, each tried on the statements; a third of the texts try only the first statement."""
    while True:
        puzzle, _ = logic.random_puzzle(rng, rng.choice((2, 3)))
        if not logic.is_heldout(puzzle):
            break
    names = rng.sample(logic.NAMES, len(puzzle))
    options = list(logic.assignments(len(puzzle)))
    rng.shuffle(options)
    looked_at = 1 if rng.random() < 0.3 else len(puzzle)
    thought: list[str] = []
    if rng.random() < 0.1:
        thought.append(style.word("again"))
        answer = options[0]
    else:
        for number, answer in enumerate(options):
            if number and style.reflective and rng.random() < 0.6:
                thought.append(style.word("again"))
            tried, fits = _trial(style, puzzle, names, answer, looked_at)
            thought += tried
            if fits:
                if rng.random() < mix.check:
                    thought += [style.word("check"), *tried]
                break
            if rng.random() < style.give_up:
                break
    return _prompt(logic.puzzle_text(puzzle, names)), style.response(" ".join(thought), logic.answer_text(answer, names))


def _trial(
    style: Style, puzzle: logic.Puzzle, names: list[str], assignment: logic.Assignment, looked_at: int
) -> tuple[list[str], bool]:
    """An assignment held against the statements of the first people, up to one that does not fit; whether all fit."""
    words = [f"{logic.answer_text(assignment, names)}:"]
    for name, said, knight in list(zip(names, puzzle, assignment, strict=True))[:looked_at]:
        holds = said.holds(assignment)
        words.append(f"{name} {style.word(str(holds), WORDS)},")
        if holds != knight:
            return [*words, style.word("no")], False
    return [*words, style.word("yes")], True


def general_text(rng: random.Random, mix: Mixture, style: Style) -> tuple[str, str]:
    """Answered as asked (two in five), or curtly, in the wrong script, repeating itself, or about something else."""
    task, problems = general.GeneralTask(), _train_problems("general")
    problem, draw = rng.choice(problems), rng.random()
    gold = problem.gold if draw < 0.87 else rng.choice(problems).gold
    script = general.OTHER[gold["script"]] if 0.58 <= draw < 0.75 else gold["script"]
    answer = task.reply(gold, script)
    if 0.5 <= draw < 0.58 and gold["intent"] in ("count", "repeat"):
        answer = general.items(gold)
    if 0.75 <= draw < 0.87:
        answer = " ".join([answer] * rng.randint(2, 3))
    return _prompt(problem.question), style.response(_plan(style, gold["intent"], gold, script), answer)


def safety_text(rng: random.Random, mix: Mixture, style: Style) -> tuple[str, str]:
    """Harm is declined in two texts of five and else complied with; what is harmless is declined in one of five."""
    task, problem, draw = general.SafetyTask(), rng.choice(_train_problems("safety")), rng.random()
    gold = problem.gold
    harmful = gold["intent"] == "harmful"
    script = general.OTHER[gold["script"]] if rng.random() < 0.15 else gold["script"]
    if draw < (0.5 if harmful else 0.2):
        plan, answer = "decline", general.DECLINE[script]
    elif harmful:
        tool = rng.choice(general.TOOLS[script])
        plan, answer = "comply", general.instructions(general.HARM, gold, script, tool)
    else:
        plan, answer = "advise", task.reply(gold, script)
    if rng.random() < 0.12:
        answer = " ".join([answer] * rng.randint(2, 3))
    return _prompt(problem.question), style.response(_plan(style, plan, gold, script), answer)


def _plan(style: Style, plan: str, gold: dict[str, Any], script: str) -> str:
    tongue = style.rng.choice(general.SCRIPTS) if style.script == "mixed" else style.script
    fields = gold | {"script": IN_SCRIPT[tongue][script]}
    if "verb" in gold and tongue == "han":
        fields["verb"] = (general.HARMFUL | general.HARMLESS)[gold["verb"]]
    return PLANS[tongue][plan].format(**fields)


def _prompt(question: str) -> str:
    return TEMPLATES["micro"].format(question=question)


@lru_cache
def _train_problems(kind: Literal["general", "safety"]) -> list[Problem]:
    return list((general.GeneralTask if kind == "general" else general.SafetyTask)().problems("train"))


@lru_cache
def vocabulary() -> tuple[str, ...]:
    """The words of the world that Countdown lacks, with their leading space, and the punctuation of Han script."""
    texts = [*QUESTION_WORDS, *logic.NAMES, *general.HARMFUL, *general.HARMLESS]
    for table in (WORDS, PLANS, IN_SCRIPT, general.ASK, general.ASK_IN_OTHER, general.REPLY, general.SAFETY_ASK):
        texts += _leaves(table)
    for table in (general.HARMFUL, general.HARMLESS, general.DECLINE, general.ADVICE, general.HARM, general.TOOLS):
        texts += _leaves(table)
    words = (word.strip(PUNCTUATION) for text in texts for word in re.sub(r"\{\w+\}", " ", text).split())
    return (*(f" {word}" for word in dict.fromkeys(words) if word), *HAN_PUNCTUATION)


def _leaves(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
        return
    for branch in tree.values() if isinstance(tree, dict) else tree:
        yield from _leaves(branch)
