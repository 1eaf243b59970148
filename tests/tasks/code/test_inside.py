"""What runs inside the jail, here as the plain functions that it is made of."""

import json
import math
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from reckon.tasks.code.inside import TOO_LONG, Refused, Session, answered, decode, encode, given

ROOM = 100_000


def crossed(value: Any) -> Any:
    return decode(json.loads(json.dumps(encode(value, ROOM))))


scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    *(st.complex_numbers(allow_nan=False), st.fractions(), st.decimals(allow_nan=False)),
)
hashable = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
values = st.recursive(
    scalars | st.frozensets(hashable, max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashable, inner, max_size=3)
        | st.sets(hashable, max_size=3)
    ),
    max_leaves=10,
)


@for_all(values)
def test_a_value_crosses_unchanged(value: Any) -> None:
    assert repr(crossed(value)) == repr(value) or crossed(value) == value


@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        1.0,
        "1",
        (1,),
        [1],
        {1},
        frozenset({1}),
        deque([1]),
        range(1, 9, 2),
        b"1",
        2**5000,
        -(2**64),
        {(1, 2): [3]},
    ],
)
def test_types_are_kept(value: Any) -> None:
    assert crossed(value) == value
    assert type(crossed(value)) is type(value)


def test_special_floats_and_half_characters() -> None:
    assert math.isnan(crossed(math.nan))
    assert crossed(-math.inf) == -math.inf
    assert math.copysign(1, crossed(-0.0)) == -1
    assert crossed("\ud800") == "\ud800"


@pytest.mark.parametrize("value", [OrderedDict(b=1, a=2), defaultdict(int, b=1), Counter("aab")])
def test_dictionaries_of_the_library_become_plain_ones(value: Any) -> None:
    assert crossed(value) == dict(value)
    assert type(crossed(value)) is dict


@pytest.mark.parametrize(
    "make", [lambda: iter([1, 2]), lambda: (n for n in (1, 2)), lambda: map(int, "12"), lambda: zip("12")]
)
def test_an_iterator_is_used_up_and_crosses_as_one(make: Callable[[], Any]) -> None:
    there = crossed(make())
    assert hasattr(there, "__next__")
    assert list(there) == list(make())


def test_the_order_of_a_set_makes_no_difference() -> None:
    names = [f"name {number}" for number in range(100)]
    there = [json.dumps(encode(set(random.Random(seed).sample(names, 100)), ROOM)) for seed in range(3)]
    assert len(set(there)) == 1


class Yes(str):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class One(int):
    pass


Pair = namedtuple("Pair", "a b")
cycle: list[Any] = []
cycle.append(cycle)
deep: list[Any] = []
for _ in range(10_000):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        Yes("a"),
        One(1),
        Pair(1, 2),
        object(),
        Yes,
        len,
        [1, {"a": One(1)}],
        {1: object()},
        cycle,
        deep,
        type("int", (), {})(),
    ],
)
def test_other_objects_do_not_cross(value: Any) -> None:
    with pytest.raises(Refused):
        encode(value, ROOM)


@pytest.mark.parametrize("make", [count, lambda: "a" * (ROOM + 1), lambda: [0] * (ROOM + 1), lambda: 1 << (5 * ROOM)])
def test_neither_does_what_is_too_large(make: Callable[[], Any]) -> None:
    with pytest.raises(Refused, match=TOO_LONG):
        encode(make(), ROOM)


def asked(*args: Any, **kwargs: Any) -> str:
    return json.dumps(encode([list(args), kwargs], ROOM))


def played(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return given(answered(function, asked(*args, **kwargs), ROOM), args, kwargs)


def test_a_call_is_played_back() -> None:
    assert played(lambda a, b=0: (a, b), 1, b={2}) == (1, {2})


def test_what_a_call_does_to_its_arguments_is_done_again() -> None:
    numbers, names, chosen, queue = [3, 1, 2], {"a": 1}, {1, 2}, deque([1, 2])

    def change(numbers: list[int], names: dict[str, int], chosen: set[int], queue: deque[int]) -> None:
        numbers.sort()
        names["b"] = 2
        chosen.clear()
        queue.rotate()

    assert played(change, numbers, names, chosen, queue=queue) is None
    assert (numbers, names, chosen, queue) == ([1, 2, 3], {"a": 1, "b": 2}, set(), deque([2, 1]))


def test_an_exception_is_raised_again() -> None:
    def fail(kind: str) -> None:
        raise {"value": ValueError, "own": type("Own", (ValueError,), {}), "text": UnicodeError}[kind]("no")

    with pytest.raises(ValueError, match="no"):
        played(fail, "value")
    for kind in ("own", "text"):
        with pytest.raises(RuntimeError, match="no"):
            played(fail, kind)


@pytest.mark.parametrize(
    "name",
    [
        *("SystemExit", "KeyboardInterrupt", "eval", "__import__", "object", "nothing", "GeneratorExit"),
        *("StopIteration", "StopAsyncIteration", "UnicodeDecodeError"),
    ],
)
def test_an_answer_raises_nothing_but_exceptions(name: str) -> None:
    """Nor such as end a loop, or cannot be made of a message."""
    with pytest.raises(RuntimeError):
        given(json.dumps({"raised": [name, "0"]}), (), {})


def test_an_answer_that_cannot_cross_is_refused() -> None:
    for function in (lambda: Yes("a"), count, lambda: (One(n) for n in (1, 2))):
        with pytest.raises(Refused):
            played(function)


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "[]", "{}", "null", "[" * 100_000, '{"returned"', '{"returned": {"eval": ["1"]}}'),
        *('{"returned": {"set": [[]]}}', '{"returned": {"int": ["z"]}}', '{"returned": {"range": ["a"]}}'),
        *('{"returned": {"a": 1, "b": 2}}', '{"returned": 1, "after": 5}', '{"raised": 5}', '{"raised": [[], "a"]}'),
        '{"returned": ' + '{"tuple": [' * 20_000 + "]}" * 20_000 + "}",
    ],
)
def test_forged_answers_raise(text: str) -> None:
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError, RecursionError)):
        given(text, (1,), {})


def double(x: Any) -> Any:
    return 2 * x


def record(check: Callable[..., None]) -> Session:
    tests = Session(double, None, ROOM)
    check(tests.candidate, tests.test)
    return tests


def replay(check: Callable[..., None], recorded: Session, answer: Callable[[Any], Any]) -> list[str]:
    pairs = [[[call, answered(answer, call, ROOM)] for call, _ in test["calls"]] for test in recorded.found]
    tests = Session(double, pairs, ROOM)
    check(tests.candidate, tests.test)
    return [test["error"] for test in tests.found]


def two_tests(candidate: Callable[[int], int], test: Callable[[int], Any]) -> None:
    with test(0):
        for number in range(3):
            assert candidate(number) == 2 * number
    with test(1):
        number = random.randrange(1000)
        assert candidate(number) == 2 * number, "random"


def test_a_test_that_fails_does_not_move_the_next() -> None:
    recorded = record(two_tests)
    assert [len(test["calls"]) for test in recorded.found] == [3, 1]
    assert replay(two_tests, recorded, double) == ["", ""]
    first, second = replay(two_tests, recorded, lambda x: 5)
    assert first.startswith("AssertionError")
    assert second.startswith("AssertionError: random")
    first, second = replay(two_tests, recorded, lambda x: 2 * x if x > 2 else 0)
    assert first.startswith("AssertionError")
    assert second == ""


def test_a_call_without_an_answer_fails_its_test_alone() -> None:
    recorded = record(two_tests)
    pairs = [
        [[call, None if place == 2 else answer] for place, (call, answer) in enumerate(test["calls"])]
        for test in recorded.found
    ]
    tests = Session(double, pairs, ROOM)
    two_tests(tests.candidate, tests.test)
    assert [test["error"] for test in tests.found] == ["Refused: no answer to this call", ""]


def test_a_call_that_was_not_recorded_fails_its_test() -> None:
    def chained(candidate: Callable[[int], int], test: Callable[[int], Any]) -> None:
        with test(0):
            assert candidate(candidate(1)) == 4
        with test(1):
            candidate(1)
            if len(tests_so_far) > 1:
                candidate(1)
        tests_so_far.append(1)

    tests_so_far = [1]
    recorded = record(chained)
    errors = replay(chained, recorded, lambda x: x + 2)
    assert errors == ["Refused: a call that was not made of the reference"] * 2
