"""How a model is asked, as one thing with a name: the shipped benchmarks, and what is said on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from reckon.core.config import Strict, load_yaml, parse
from reckon.core.errors import ConfigError
from reckon.core.records import Problem

PLACE = "{question}"


class Benchmark(Strict):
    """A task and the protocol by which it is asked.

    Attributes:
        about: in one line: what is asked, how many problems, where the data come from.
        task: ``kind`` and settings.
        ask: what the model is told; the task's question stands in the place of ``{question}``.
        template: as :class:`reckon.models.template.PromptTemplate` takes it.
        samples: responses to each problem.
    """

    about: str = ""
    task: dict[str, Any]
    split: str = "heldout"
    ask: str = PLACE
    template: str = "micro"
    samples: int = Field(8, ge=1)
    temperature: float = Field(1.0, ge=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    max_new_tokens: int = Field(256, ge=1)
    stop: tuple[str, ...] = ()

    @field_validator("ask")
    @classmethod
    def _has_the_question(cls, ask: str) -> str:
        if PLACE not in ask:
            raise ValueError(f"should have {PLACE} in it, where the question goes")
        return ask

    def asked(self, problems: Sequence[Problem]) -> list[Problem]:
        """The problems with the whole of what the model is told as their question; their names stay."""
        return [replace(problem, question=self.ask.replace(PLACE, problem.question)) for problem in problems]


def benchmark_names() -> list[str]:
    """The benchmarks shipped with the package."""
    return sorted(path.name.removesuffix(".yaml") for path in _shipped().iterdir() if path.name.endswith(".yaml"))


def load_benchmark(name: str) -> Benchmark:
    """A shipped benchmark, or one from a ``.yaml`` file. Raises ConfigError naming the nearest if there is none."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if name not in benchmark_names():
            near = difflib.get_close_matches(name.lower(), benchmark_names(), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"there is no benchmark {name!r}{hint}",
                fix=f"Use one of {', '.join(benchmark_names())}, or the path of a .yaml file",
            )
        path = _shipped() / f"{name}.yaml"
    return parse(Benchmark, load_yaml(path), str(path))


def _shipped() -> Path:
    return Path(str(files("reckon") / "recipes" / "benchmarks"))
