"""Inputs to make tests of: by changing given ones, or from a generator program."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from reckon.core.errors import DataError
from reckon.core.seeds import seed_for
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program, Sandbox
from reckon.tasks.code.judging import last_line

_TRIES = 50
_NUMBER = re.compile(r"-?(?<![0-9])[0-9]{1,300}(?:\.[0-9]+)?(?![0-9])")
"""What is longer is too large for a float, or for Python to read."""


def mutated(given: Sequence[Any], count: int, seed: int = 0) -> list[Any]:
    """Up to ``count`` inputs: those given, then ones made by changing these, again and again; all different.

    A function's input is the list of its arguments. A program's is a text, of which only the numbers are changed, so
    that most of its form survives; what does not is for the reference solutions to disagree on.
    """
    if not given:
        return []
    rng = random.Random(seed_for("inputs", seed))
    found: dict[str, Any] = {}

    def candidates() -> Iterator[Any]:
        yield from given
        for _ in range(_TRIES * count):
            made = rng.choice(list(found.values()))
            yield _text(made, rng) if isinstance(made, str) else _arguments(made, rng)

    for candidate in candidates():
        found.setdefault(repr(candidate), candidate)
        if len(found) >= count:
            break
    return list(found.values())


def generated(program: str, count: int, sandbox: Sandbox, limits: Limits, seed: int = 0) -> list[Any]:
    """Inputs from a generator: a program that reads a seed and a count, and prints a JSON list of that many inputs.

    Raises:
        DataError: it does not.
    """
    ran = sandbox.run(Program(program, stdin=f"{seed} {count}\n", limits=limits))
    try:
        found = json.loads(ran.stdout) if ran.status == "exited" and ran.exit_code == 0 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not found:
        raise DataError(
            f"the generator printed no JSON list of inputs ({last_line(ran.stderr) or ran.status})",
            fix="It is given a seed and a count on its standard input, and prints a list of that many inputs",
        )
    return list(islice(found, count))


def mutation(value: Any, rng: random.Random) -> Any:
    """A value like this one, of the same type, with one thing changed. What is none of the types known here stays."""
    kind = type(value)
    if kind is bool:
        return not value
    if kind in (int, float):
        reach = 2 * abs(value) + 5
        drawn = rng.randint(-reach, reach) if kind is int else rng.uniform(-reach, reach)
        return kind(rng.choice([value + 1, value - 1, -value, 0, 2 * value, drawn]))
    if kind is str:
        return "".join(_items(list(value), rng, lambda letter: rng.choice([letter.swapcase(), *value, "a", "0", " "])))
    if kind in (list, tuple, set):
        items = sorted(value, key=repr) if kind is set else list(value)
        return kind(_items(items, rng, lambda item: mutation(item, rng)))
    if kind is dict:
        return dict(_items(list(value.items()), rng, lambda item: (item[0], mutation(item[1], rng))))
    return value


def _items(items: list[Any], rng: random.Random, change: Callable[[Any], Any]) -> list[Any]:
    """The items with one changed, dropped, doubled or moved; or none of them."""
    if not items:
        return items
    place = rng.randrange(len(items))
    match rng.choice(["change", "change", "drop", "double", "move", "first half"]):
        case "change":
            return [*items[:place], change(items[place]), *items[place + 1 :]]
        case "drop":
            return [*items[:place], *items[place + 1 :]]
        case "double":
            return [*items[: place + 1], *items[place:]]
        case "move":
            moved = items[:place] + items[place + 1 :]
            moved.insert(rng.randrange(len(items)), items[place])
            return moved
    return items[: len(items) // 2]


def _arguments(arguments: Sequence[Any], rng: random.Random) -> list[Any]:
    """The arguments with one of them changed."""
    place = rng.randrange(len(arguments)) if arguments else 0
    return [mutation(value, rng) if number == place else value for number, value in enumerate(arguments)]


def _text(text: str, rng: random.Random) -> str:
    """The text with one of its numbers changed."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return text
    chosen = rng.choice(numbers)
    value = float(chosen[0]) if "." in chosen[0] else int(chosen[0])
    return f"{text[: chosen.start()]}{mutation(value, rng)}{text[chosen.end() :]}"
