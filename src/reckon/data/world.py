"""The text of the micro world: Countdown beside arithmetic, logic, friendly requests and some to decline.

In the spirit of :mod:`reckon.data.micro`: the model can do all of it and mostly does not. Some texts plan well, some
compute from left to right whatever the parentheses say, some check one statement of a puzzle and are content, some
answer in the wrong script or several times over, and many comply with what should be declined. Single steps are true
all the same: every sum is right, and every statement is judged rightly under the assignment being tried.

Some texts are two problems of one task in one style, so that the model can be shown an example of what is wanted.
Held-out problems never occur.

The shipped `micro-world` (2026-11-21, 2,400 steps) and `micro-small` were trained on exactly this text. Whoever changes
it has to make both again, and every experiment on them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from reckon.core.records import Problem
from reckon.data.micro import Mixture, Style, drill_text, problem_text
from reckon.models.template import TEMPLATES
from reckon.tasks import arithmetic, general, logic
from reckon.tasks.base import Task

WORDS = {"latin": {"True": ["true"], "False": ["false"]}, "han": {"True": ["真"], "False": ["假"]}}
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
"""What a thought about a friendly or a delicate request says."""
IN_SCRIPT = {"latin": {"latin": "in English", "han": "in Chinese"}, "han": {"latin": "用英文", "han": "用中文"}}
"""By the script of the thought, then that of the answer."""
MAX_TRIALS = 5
"""More assignments of one puzzle would make its text too long."""
HAN_PUNCTUATION = "。，：！？"
PUNCTUATION = ".,:!?" + HAN_PUNCTUATION
QUESTION_WORDS = ("Compute", "says is a knight knave and are not the same", "Who what", "write")


class WorldText(Mixture):
    """The mixture, as shares in [0, 1]. What the tasks and drills leave is Countdown.

    Attributes:
        arithmetic, logic, general, safety: texts about that task.
        drill: texts that are plain lists of true sums.
        pairs: of the texts about a task, those with two problems.
        in_order, left_to_right: expressions computed so; the rest is given up after a step or none.
        first_only, guess: puzzles of which only the first statement is checked; whose solution is guessed.
        asked, curt, foreign, repeated: friendly requests answered as asked, without a polite word, in the wrong script,
            or several times over; the rest is answered with something else.
        decline, refuse: harmful requests, and harmless ones, that are declined.
    """

    kind: Literal["world"] = "world"
    arithmetic: float = Field(0.18, ge=0, le=1)
    logic: float = Field(0.22, ge=0, le=1)
    general: float = Field(0.12, ge=0, le=1)
    safety: float = Field(0.07, ge=0, le=1)
    drill: float = Field(0.04, ge=0, le=1)
    pairs: float = Field(0.15, ge=0, le=1)
    in_order: float = Field(0.6, ge=0, le=1)
    left_to_right: float = Field(0.25, ge=0, le=1)
    first_only: float = Field(0.3, ge=0, le=1)
    guess: float = Field(0.1, ge=0, le=1)
    asked: float = Field(0.5, ge=0, le=1)
    curt: float = Field(0.08, ge=0, le=1)
    foreign: float = Field(0.17, ge=0, le=1)
    repeated: float = Field(0.12, ge=0, le=1)
    decline: float = Field(0.65, ge=0, le=1)
    refuse: float = Field(0.2, ge=0, le=1)

    @property
    def words(self) -> tuple[str, ...]:
        return vocabulary()

    def write(self, rng: random.Random) -> str:
        tasks: dict[str, Text] = {
            "arithmetic": arithmetic_text,
            "logic": logic_text,
            "general": general_text,
            "safety": safety_text,
            "rest": problem_text,
        }
        kind = _pick(rng, self, "drill", "arithmetic", "logic", "general", "safety")
        if kind == "drill":
            return drill_text(rng, self)
        style = Style(rng, self)
        problems = 2 if rng.random() < self.pairs else 1
        return "\n\n".join("".join(tasks[kind](rng, self, style)) for _ in range(problems))


Text = Callable[[random.Random, WorldText, Style], tuple[str, str]]
"""One question of a task and one response to it, as (prompt, response) text."""


def _pick(rng: random.Random, mix: WorldText, *names: str) -> str:
    """One of the names, each with its share of the mixture as chance, or ``rest``."""
    draw = rng.random()
    for name in names:
        draw -= getattr(mix, name)
        if draw < 0:
            return name
    return "rest"


def arithmetic_text(rng: random.Random, mix: WorldText, style: Style) -> tuple[str, str]:
    """Computed in order, or from left to right (sometimes noticed and mended), or given up."""
    while True:
        one = arithmetic.random_sum(rng, rng.choice((3, 4)), mix.max_number, mix.max_value)
        if not arithmetic.is_heldout(one.text):
            break
    steps = right = list(one.steps)
    plan = _pick(rng, mix, "in_order", "left_to_right")
    if plan == "left_to_right":
        steps = _left_to_right(one.text, mix.max_value)
    elif plan == "rest":
        steps = right[: rng.randint(0, 1)]
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


def logic_text(rng: random.Random, mix: WorldText, style: Style) -> tuple[str, str]:
    """Assignments in random order, each held against the statements, until one fits or patience ends."""
    while True:
        puzzle, _ = logic.random_puzzle(rng, rng.choice((2, 3)))
        if not logic.is_heldout(puzzle):
            break
    names = rng.sample(logic.NAMES, len(puzzle))
    options = list(logic.assignments(len(puzzle)))
    rng.shuffle(options)
    del options[MAX_TRIALS:]
    looked_at = 1 if rng.random() < mix.first_only else len(puzzle)
    if rng.random() < mix.guess:
        thought, answer = [style.word("again")], options[0]
    else:
        thought, answer = _trials(rng, mix, style, puzzle, names, options, looked_at)
    question, solution = logic.puzzle_text(puzzle, names), logic.answer_text(answer, names)
    return _prompt(question), style.response(" ".join(thought), solution)


def _trials(
    rng: random.Random,
    mix: WorldText,
    style: Style,
    puzzle: logic.Puzzle,
    names: list[str],
    options: list[logic.Assignment],
    looked_at: int,
) -> tuple[list[str], logic.Assignment]:
    """The thought, and the assignment that it ends with."""
    thought: list[str] = []
    for number, option in enumerate(options):
        if number and style.reflective and rng.random() < 0.6:
            thought.append(style.word("again"))
        tried, fits = _trial(style, puzzle, names, option, looked_at)
        thought += tried
        if fits and rng.random() < mix.check:
            thought += [style.word("check"), *tried]
        if fits or rng.random() < style.give_up:
            break
    return thought, option


def _claim(said: logic.Statement, names: list[str]) -> str:
    """A statement in few words."""
    people = [names[person] for person in said.people]
    if said.kind == "same":
        return f"{' '.join(people)} {'same' if said.knights[0] else 'not same'}"
    return " ".join(f"{name} {logic.ROLES[knight]}" for name, knight in zip(people, said.knights, strict=True))


def _trial(
    style: Style, puzzle: logic.Puzzle, names: list[str], assignment: logic.Assignment, looked_at: int
) -> tuple[list[str], bool]:
    """An assignment held against the statements of the first people, up to one that does not fit; whether all fit."""
    words = [f"{logic.answer_text(assignment, names)}:"]
    for name, said, knight in list(zip(names, puzzle, assignment, strict=True))[:looked_at]:
        holds = said.holds(assignment)
        words.append(f"{name} {logic.ROLES[knight]} says {_claim(said, names)}: {style.word(str(holds), WORDS)},")
        if holds != knight:
            return [*words, style.word("no")], False
    return [*words, style.word("yes")], True


def general_text(rng: random.Random, mix: WorldText, style: Style) -> tuple[str, str]:
    """Answered as asked, or curtly, in the wrong script, several times over, or with something else."""
    task, problems = general.GeneralTask(), _train_problems(general.GeneralTask)
    problem, kind = rng.choice(problems), _pick(rng, mix, "asked", "curt", "foreign", "repeated")
    gold = rng.choice(problems).gold if kind == "rest" else problem.gold
    script = general.OTHER[gold["script"]] if kind == "foreign" else gold["script"]
    answer = task.reply(gold, script)
    if kind == "curt" and gold["intent"] in ("count", "repeat"):
        answer = general.items(gold)
    if kind == "repeated":
        answer = " ".join([answer] * rng.randint(2, 3))
    return _prompt(problem.question), style.response(_plan(style, gold["intent"], gold, script), answer)


def safety_text(rng: random.Random, mix: WorldText, style: Style) -> tuple[str, str]:
    """Declined or not, rightly or not; a few in the wrong script or several times over."""
    task, problem, draw = general.SafetyTask(), rng.choice(_train_problems(general.SafetyTask)), rng.random()
    gold = problem.gold
    harmful = gold["intent"] == "harmful"
    script = general.OTHER[gold["script"]] if rng.random() < mix.foreign else gold["script"]
    if draw < (mix.decline if harmful else mix.refuse):
        plan, answer = "decline", general.DECLINE[script]
    elif harmful:
        tool = rng.choice(general.TOOLS[script])
        plan, answer = "comply", general.instructions(general.HARM, gold, script, tool)
    else:
        plan, answer = "advise", task.reply(gold, script)
    if rng.random() < mix.repeated:
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
def _train_problems(task: type[Task]) -> Sequence[Problem]:
    return task().problems("train")


@lru_cache
def vocabulary() -> tuple[str, ...]:
    """The words of the world that Countdown lacks, with their leading space, and the punctuation of Han script."""
    tables: list[Any] = [WORDS, PLANS, IN_SCRIPT, general.ASK, general.ASK_IN_OTHER, general.REPLY, general.SAFETY_ASK]
    tables += [general.HARMFUL, general.HARMLESS, general.DECLINE, general.ADVICE, general.HARM, general.TOOLS]
    texts = [*QUESTION_WORDS, *logic.NAMES, *general.HARMFUL, *general.HARMLESS, *_leaves(tables)]
    words = (word.strip(PUNCTUATION) for text in texts for word in re.sub(r"\{\w+\}", " ", text).split())
    return (*(f" {word}" for word in dict.fromkeys(words) if word), *HAN_PUNCTUATION)


def _leaves(tree: Any) -> Iterator[str]:
    """Every text in nested tables, without the keys."""
    if isinstance(tree, str):
        yield tree
        return
    for branch in tree.values() if isinstance(tree, dict) else tree:
        yield from _leaves(branch)
