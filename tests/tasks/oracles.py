"""What is known of an answer without asking its verifier: that it is right, that it is wrong, or neither.

Each knows little and is simple enough to be believed. It shares no code with the verifiers.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from textwrap import dedent, indent
from typing import Any, Literal

from reckon.core.records import Problem

Opinion = Literal["right", "wrong", "unsure"]

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{([^{}]*)\}")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?")
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def number(problem: Problem, text: str) -> Opinion:
    """Of a whole-number gold: by the number that the last box, and each answer tag, holds and nothing else."""
    gold = str(problem.gold)
    rest = text.rpartition("</think>")[2]
    if "<think>" in rest:  # whether what precedes unfinished thinking counts is the verifier's to say
        return "unsure"
    values = {_value(held) for held in (*_ANSWER.findall(rest), *_BOX.findall(rest)[-1:])}
    if len(values) == 1 and None not in values:
        return "right" if values == {Fraction(gold)} else "wrong"
    digits = "".join(str(int(sign)) for sign in text if sign.isdecimal())
    # Signs other than digits can write a number too; those of the pieces are never enough for these golds.
    return "unsure" if gold.strip("-") in digits or _spelt(rest) else "wrong"


def _value(text: str) -> Fraction | None:
    bare = text.replace("$", "").strip().replace(" ", "").removesuffix(".")
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+", bare, re.ASCII):
        bare = bare.replace(",", "")
    if not _NUMBER.fullmatch(bare) or re.search(r"/0+$", bare) or len(bare) > 300 or bare != text.strip(" $."):
        return None
    return Fraction(bare)


def _spelt(text: str) -> bool:
    """Whether a number might be written otherwise than in decimal digits: in words, as a power, as a sum."""
    return bool(re.search(r"[\^+*!/]|cdot|times|frac|sqrt|pi|[一二三四五六七八九十百千½²]", text))


def countdown(problem: Problem, text: str) -> Opinion:
    """By what Python makes of the expression, and the numbers in it."""
    answer = _only_answer(text)
    if answer is None:
        return "wrong"
    if not re.fullmatch(r"[0-9+\-*/() \n]{1,200}", answer):
        return "unsure"
    used: list[int] = []
    try:
        value = _evaluated(ast.parse(answer.strip().replace("\n", " "), mode="eval").body, used)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return "unsure"
    right = value == problem.gold["target"] and Counter(used) == Counter(problem.gold["nums"])
    return "right" if right else "wrong"


def _evaluated(node: ast.AST, used: list[int]) -> Fraction:
    match node:
        case ast.Constant(value=int(value)):
            used.append(value)
            return Fraction(value)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            a, b = _evaluated(left, used), _evaluated(right, used)
            return {"+": a.__add__, "-": a.__sub__, "*": a.__mul__, "/": a.__truediv__}[_SIGNS[type(op)]](b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluated(operand, used)
    raise ValueError("no arithmetic")


def logic(problem: Problem, text: str) -> Opinion:
    """By the role that follows each name."""
    answer = _only_answer(text)
    if answer is None:
        return "wrong"
    words = re.findall(r"[a-z]+", answer.lower())
    if len(words) == 2 * len(problem.gold) and not re.search(r"[^a-zA-Z ,\n]", answer):
        told = dict(zip(words[::2], words[1::2], strict=True))
        return "right" if told == {name.lower(): role for name, role in problem.gold.items()} else "wrong"
    squeezed = "".join(words)
    return (
        "unsure"
        if all(name.lower() in squeezed and role in squeezed for name, role in problem.gold.items())
        else "wrong"
    )


def choice(problem: Problem, text: str) -> Opinion:
    """By the one letter that the answer has."""
    rest = text.rpartition("</think>")[2]
    held = _ANSWER.findall(rest)[:1] or _BOX.findall(rest)[-1:]
    gold = problem.gold["answer"]
    option = problem.gold["options"][ord(gold) - ord("A")]
    if held and re.fullmatch(r"[\s().:$*]*[a-zA-Z][\s().:$*]*", held[0]):
        return "right" if gold in held[0].upper() else "wrong"
    where = held[0] if held else rest
    return "unsure" if gold in where.upper() or option in where else "wrong"


def instructions(problem: Problem, text: str) -> Opinion:
    """By the plainest of what was asked for. Problems that ask for none of it are not used."""
    told = {one["id"]: one for one in problem.gold["instructions"]}
    rest = text.rpartition("</think>")[2].lower()
    words = told.get("keywords:existence", {}).get("keywords", [])
    parts = [*words, *(["<<", ">>"] if "detectable_format:title" in told else [])]
    parts += ["P.S."] if told.get("detectable_content:postscript", {}).get("postscript_marker") == "P.S." else []
    if not words:
        return "unsure"
    if text == "" or any(part.lower() not in rest for part in parts):
        return "wrong"
    return "right" if problem.gold["example"] and problem.gold["example"].lower() in rest else "unsure"


def reply(problem: Problem, text: str) -> Opinion:
    """Of a reply that can be only one: by its letters and digits."""
    from reckon.tasks.general import GeneralTask, SafetyTask  # the text of the wanted reply is data, not judgement

    task = SafetyTask() if problem.id.startswith("safety:") else GeneralTask()
    answer = _only_answer(text)
    if answer is None:
        return "wrong"
    wanted = task.reply(problem.gold, problem.gold["script"])
    if answer.strip() == wanted:
        return "right"
    return "unsure" if _squeezed(answer) == _squeezed(wanted) else "wrong"


def gym(problem: Problem, text: str) -> Opinion:
    """By the numbers that the answer lists or, if it has other signs, by its letters and digits."""
    answer = _only_answer(text)
    if answer is None:
        return "wrong"
    gold = problem.gold["answer"]
    if answer.split() == gold.split():
        return "right"
    given, wanted = _listed(answer), _listed(gold)
    if given is not None and wanted is not None:
        near = len(given) == len(wanted) and all(abs(a - b) < 0.001 for a, b in zip(given, wanted, strict=True))
        return "right" if given == wanted else "unsure" if near else "wrong"
    return "unsure" if _squeezed(answer) == _squeezed(gold) else "wrong"


def code(problem: Problem, text: str) -> Opinion:
    """By running the only block and the tests together in a plain interpreter, with nothing to keep them apart."""
    gold: dict[str, Any] = problem.gold
    pieces = re.split(r"```[^\n]*", _only_answer(text) or text.rpartition("</think>")[2])
    if len(pieces) != 3:  # which block is meant is the verifier's to say
        return "unsure"
    source = pieces[1]
    if gold["kind"] == "program":
        right = all(_printed(source, given).split() == wanted.split() for given, wanted in gold["tests"])
        return "right" if right else "wrong"
    head = gold["prompt"].partition(f"def {gold['entry_point']}")[0]
    tests = f"\n{gold['tests']}\ncheck({gold['entry_point']})\nprint('passed 7391')\n"
    whole, body = f"{head}\n{source}", f"{gold['prompt'].rstrip()}\n{indent(dedent(source), '    ')}"
    return "right" if any(_printed(one + tests, "").endswith("passed 7391\n") for one in (whole, body)) else "wrong"


def _printed(source: str, given: str) -> str:
    try:
        command = [sys.executable, "-I", "-c", source]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=10)
    except (subprocess.TimeoutExpired, ValueError):
        return ""
    return ran.stdout if ran.returncode == 0 else ""


def _listed(text: str) -> list[float] | None:
    parts = [part.strip() for part in text.split(",")]
    return sorted(map(float, parts)) if all(re.fullmatch(r"-?\d{1,30}\.?\d{0,30}", part) for part in parts) else None


def _only_answer(text: str) -> str | None:
    held = _ANSWER.findall(text.rpartition("</think>")[2])
    return held[0] if held else None


def _squeezed(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())
