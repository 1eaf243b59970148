"""What a code problem's verifier needs: the gold of its :class:`~reckon.core.records.Problem`, as plain data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from reckon.core.config import Strict


class FunctionGold(Strict):
    """A function to write, and asserts about it: HumanEval's format (arXiv 2107.03374).

    Attributes:
        prompt: the function up to its body: imports, helpers, signature, docstring.
        entry_point: its name.
        reference: its body, in a solution that passes.
        tests: source that defines ``check(candidate)``, which asserts.
        pass_rates: of each test, the share of sampled solutions that passed it; for the score by difficulty.
    """

    kind: Literal["function"] = "function"
    prompt: str
    entry_point: str
    reference: str
    tests: str
    pass_rates: tuple[float, ...] | None = None


class ProgramGold(Strict):
    """A program to write, which reads its standard input and prints.

    Attributes:
        tests: pairs of an input and what is to be printed.
        reference: a program that passes, if there is one.
        float_tolerance: numbers may differ by this much, relative to the expected one or, below 1, absolutely. None:
            they must be spelt alike.
        pass_rates: as for a function.
    """

    kind: Literal["program"] = "program"
    tests: tuple[tuple[str, str], ...] = Field(min_length=1)
    reference: str | None = None
    float_tolerance: float | None = Field(default=None, gt=0)
    pass_rates: tuple[float, ...] | None = None


Gold = FunctionGold | ProgramGold

_GOLD: TypeAdapter[Gold] = TypeAdapter(Annotated[Gold, Field(discriminator="kind")])


def read_gold(data: Any) -> Gold:
    """The gold of a problem. Raises pydantic's ValidationError, which is a ValueError, when it is none."""
    return _GOLD.validate_python(data)
