"""What runs inside the jail: programs that import this file and call :func:`answer` or :func:`check`.

The candidate's program (:func:`answer`) holds the candidate's code and the arguments that it is called with; no test
and no expected value. It prints what the code returned, as JSON. The checker's program (:func:`check`) holds the tests
and the reference solution, and reads what a candidate's program printed; no code of a candidate runs in it. So all that
a candidate can do to its own process, or print in place of an answer, amounts to an answer.

A value crosses as JSON that keeps Python's types, and only if it is of exactly one of a few types: an object whose
``__eq__`` agrees with everything cannot be written, and what is read back are plain objects. The standard library of
Python 3.10 is enough to run this, for a remote sandbox may have no more.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

MAX_DEPTH = 100
TOO_LONG = "an answer that is too long"


class Refused(Exception):
    """A value that does not cross; the message says what it is."""


# ------------------------------------------------------------------------------------------------ values

# type -> (its name on the wire, its parts); what builds it from the parts again is in _BUILDERS.
_CODECS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("tuple", list),
    dict: ("dict", lambda value: [list(item) for item in value.items()]),
    OrderedDict: ("dict", lambda value: [list(item) for item in value.items()]),
    defaultdict: ("dict", lambda value: [list(item) for item in value.items()]),
    Counter: ("dict", lambda value: [list(item) for item in value.items()]),
    set: ("set", list),
    frozenset: ("frozenset", list),
    deque: ("deque", list),
    range: ("range", lambda value: [value.start, value.stop, value.step]),
    complex: ("complex", lambda value: [value.real, value.imag]),
    Fraction: ("fraction", lambda value: [value.numerator, value.denominator]),
    Decimal: ("decimal", lambda value: [str(value)]),
    bytes: ("bytes", lambda value: [value.hex()]),
}
_BUILDERS: dict[str, Callable[[list[Any]], Any]] = {
    "int": lambda parts: int(parts[0], 16),
    "tuple": tuple,
    "dict": dict,
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "range": lambda parts: range(*parts),
    "complex": lambda parts: complex(*parts),
    "fraction": lambda parts: Fraction(*parts),
    "decimal": lambda parts: Decimal(parts[0]),
    "bytes": lambda parts: bytes.fromhex(parts[0]),
    "iterator": iter,
}


def encode(value: Any, room: int) -> Any:
    """The value as JSON data of roughly ``room`` characters at most; :func:`decode` is the inverse.

    An iterator is used up, as far as there is room.

    Raises:
        Refused: it is too large, nested too deeply (or within itself), or of a type that does not cross.
    """
    left = room

    def convert(value: Any, depth: int) -> Any:
        nonlocal left
        kind = type(value)
        left -= 1 + (len(value) if kind in (str, bytes) else value.bit_length() // 4 if kind is int else 0)
        if left < 0:
            raise Refused(TOO_LONG)
        if depth > MAX_DEPTH:
            raise Refused(f"an answer nested more than {MAX_DEPTH} levels deep")
        if value is None or kind in (bool, float, str):
            return value
        if kind is int:
            return value if value.bit_length() < 64 else {"int": [hex(value)]}
        if kind is list:
            return [convert(item, depth + 1) for item in value]
        if hasattr(kind, "__next__"):
            return {"iterator": [convert(item, depth + 1) for item in value]}
        if kind not in _CODECS:
            raise Refused(f"an object of type {kind.__name__[:60]!r}")
        name, parts = _CODECS[kind]
        converted = [convert(part, depth + 1) for part in parts(value)]
        # The order in which a set is listed is no part of its value.
        return {name: sorted(converted, key=json.dumps) if kind in (set, frozenset) else converted}

    return convert(value, 0)


def decode(data: Any) -> Any:
    """The value that :func:`encode` made the data from. Raises some Exception on data that it did not make."""
    if isinstance(data, list):
        return [decode(item) for item in data]
    if isinstance(data, dict):
        ((name, parts),) = data.items()
        return _BUILDERS[name]([decode(part) for part in parts])
    return data


def said(error: BaseException) -> str:
    """An exception's message; short, whatever its ``__str__`` does."""
    try:
        return str(error)[:200]
    except Exception:
        return ""


# --------------------------------------------------------------------------------------- calls and answers


def answered(function: Callable[..., Any], asked: str, room: int) -> str:
    """What becomes of a call, as JSON: ``returned`` or ``raised``, and the arguments ``after`` it if it changed them.

    Args:
        asked: positional and keyword arguments, as JSON.
    """
    args, kwargs = decode(json.loads(asked))
    answer: dict[str, Any]
    try:
        answer = {"returned": encode(function(*args, **kwargs), room)}
        after = encode([args, kwargs], room)
        if json.dumps(after) != asked:
            answer["after"] = after
    except Refused as error:
        answer = {"refused": said(error)}
    except Exception as error:
        answer = {"raised": [type(error).__name__, said(error)]}
    text = json.dumps(answer)
    return text if len(text) <= room else json.dumps({"refused": TOO_LONG})


_CHANGED = (UnicodeError, StopIteration, StopAsyncIteration)
"""Exceptions that are played back as a RuntimeError: the first cannot be made of a message, the others would end a loop
of the test (``all(map(candidate, ...))``) as if it had passed."""


def given(answer: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns, raises and does to the arguments what the answer says was done."""
    data = json.loads(answer)
    if "refused" in data:
        raise Refused(data["refused"])
    if "raised" in data:
        name, message = data["raised"]
        kind = getattr(builtins, name, RuntimeError)
        known = isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _CHANGED)
        raise (kind if known else RuntimeError)(message)
    if "after" in data:
        later, named = decode(data["after"])
        for old, new in [*zip(args, later, strict=True), *((kwargs[key], named[key]) for key in kwargs)]:
            overwrite(old, new)
    return decode(data["returned"])


def overwrite(old: Any, new: Any) -> None:
    """Give a mutable object the contents of another."""
    if isinstance(old, list | deque):
        old.clear()
        old.extend(new)
    elif isinstance(old, dict | set):
        old.clear()
        old.update(new)


def load(module: ModuleType, *files: str) -> ModuleType:
    """The module, in which the files have been run, one after the other."""
    sys.dont_write_bytecode = True
    sys.modules[module.__name__] = module
    for file in files:
        SourceFileLoader(module.__name__, file).exec_module(module)
    return module


class _Nowhere(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


def quiet() -> Any:
    """The standard output, which from here on no ``print`` reaches."""
    out, sys.stdout = sys.stdout, io.TextIOWrapper(io.BufferedWriter(_Nowhere()), encoding="utf-8", errors="replace")
    return out


# ----------------------------------------------------------------------------------------- the two programs


def answer() -> None:
    """The candidate's program: reads ``{entry, calls, room}``, prints ``number answer`` for each call, line by line.

    Runs ``prelude.py``, then ``solution.py``. If they cannot be run, the one line is ``error``, the kind of the
    exception, and its message.
    """
    asked = json.load(sys.stdin)
    out = quiet()

    def say(*words: object) -> None:
        # The line break before it keeps the line apart from whatever else reached the pipe.
        out.write("\n" + " ".join(map(str, words)) + "\n")
        out.flush()

    # One that draws at random is to be judged the same every time.
    random.seed(0)
    try:
        function = getattr(load(ModuleType("solution"), "prelude.py", "solution.py"), asked["entry"])
    except Exception as error:
        say("error", type(error).__name__, json.dumps(said(error)))
    else:
        room = asked["room"]
        for number, call in enumerate(asked["calls"]):
            text = answered(function, call, room)
            room -= len(text)
            say(number, text)
    # Threads that it left behind would keep the process alive until its deadline.
    os._exit(0)


def check() -> None:
    """The checker's program: reads ``{entry, recorded, room}``, prints ``{tests: [{error, calls}]}``.

    Runs ``reference.py``, then ``tests.py``, whose ``check(candidate, test)`` does each test in a
    ``with test(number)``. With ``recorded`` the answers come from there: of each test, the calls that it makes, as
    pairs of what is asked and the answer (or None). Without, they come from the reference, and the calls are recorded.
    """
    asked = json.load(sys.stdin)
    out = quiet()
    module = load(ModuleType("reference"), "reference.py")
    tests = Session(getattr(module, asked["entry"]), asked["recorded"], asked["room"])
    load(module, "tests.py").check(tests.candidate, tests.test)
    out.write(json.dumps({"tests": tests.found}))
    out.flush()
    os._exit(0)


class Session:
    """The tests of a problem, done one by one; one that fails does not keep the next from being done."""

    def __init__(self, reference: Callable[..., Any], recorded: list[list[list[str]]] | None, room: int) -> None:
        self.reference, self.recorded, self.room = reference, recorded, room
        self.calls: list[list[str]] = []
        self.found: list[dict[str, Any]] = []

    @contextmanager
    def test(self, number: int) -> Iterator[None]:
        """Each starts from the same random state, wherever the one before it stopped."""
        random.seed(number)
        self.calls = []
        error: Exception | None = None
        try:
            yield
        except Exception as raised:
            error = raised
        text = "" if error is None else ": ".join(filter(None, [type(error).__name__, said(error)]))
        self.found.append({"error": text, "calls": self.calls if self.recorded is None else []})

    def candidate(self, *args: Any, **kwargs: Any) -> Any:
        """What the tests take for the function that is tested."""
        asked = json.dumps(encode([list(args), kwargs], self.room))
        if self.recorded is None:
            answer = answered(self.reference, asked, self.room)
            self.calls.append([asked, answer])
            return given(answer, args, kwargs)
        recorded = self.recorded[len(self.found)]
        number = len(self.calls)
        if number >= len(recorded) or recorded[number][0] != asked:
            raise Refused("a call that was not made of the reference")
        self.calls.append(recorded[number])
        if recorded[number][1] is None:
            raise Refused("no answer to this call")
        return given(recorded[number][1], args, kwargs)
