import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.errors import DataError
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Sandbox
from reckon.tasks.code.inputs import generated, mutated, mutation

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(values, st.integers(0, 100))
def test_a_mutation_is_of_the_same_type(value: Any, seed: int) -> None:
    assert type(mutation(value, random.Random(seed))) is type(value)


@pytest.mark.parametrize(
    "value", [5, 0, 10**400, 1.5, "abc", [1, 2, 3], (1, "a"), {1, 2}, {"a": 1}, [[1], ["a"]], True]
)
def test_mutations_are_many(value: Any) -> None:
    rng = random.Random(0)
    assert len({repr(mutation(value, rng)) for _ in range(50)}) >= (1 if value is True else 4)


def test_numbers_of_a_text_that_are_too_long_to_be_read_stay() -> None:
    digits = "1" * 5000
    found = mutated([f"{digits} 7"], 20)
    assert len(found) > 5
    assert all(text.startswith(f"{digits} ") for text in found)


def test_inputs_are_different_and_a_function_of_the_seed() -> None:
    given = [[[1, 2, 3], "ab"], [[], ""]]
    found = mutated(given, 50)
    assert found[:2] == given
    assert len(found) == 50 == len({repr(one) for one in found})
    assert all(isinstance(one[0], list) and isinstance(one[1], str) for one in found)
    assert mutated(given, 50) == found
    assert mutated(given, 50, seed=1) != found
    assert given == [[[1, 2, 3], "ab"], [[], ""]]


def test_texts_keep_their_form() -> None:
    found = mutated(["3\n1 2 -3\nabc 0.5\n"], 30)
    assert len(found) == 30
    assert all([len(line.split()) for line in text.split("\n")] == [1, 3, 2, 0] and "abc" in text for text in found)


def test_inputs_that_cannot_be_changed_are_what_there_is() -> None:
    assert mutated(["abc"], 10) == ["abc"]
    assert mutated([[None], []], 10) == [[None], []]
    assert mutated([], 10) == []


GENERATOR = """
import json, random
seed, count = map(int, input().split())
rng = random.Random(seed)
print(json.dumps([[rng.randrange(10**9)] for _ in range(count + 5)]))
"""


def test_a_generator_program(sandbox: Sandbox) -> None:
    found = generated(GENERATOR, 7, sandbox, Limits(), seed=3)
    assert len(found) == 7
    assert found == generated(GENERATOR, 7, sandbox, Limits(), seed=3) != generated(GENERATOR, 7, sandbox, Limits())


@pytest.mark.parametrize(
    "program", ["1 / 0", "print(5)", "print('[1')", "print([])", "print('[' * 50_000)", "import os; os.abort()"]
)
def test_a_generator_that_fails(sandbox: Sandbox, program: str) -> None:
    with pytest.raises(DataError, match="no JSON list of inputs"):
        generated(program, 5, sandbox, Limits())
