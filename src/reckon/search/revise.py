"""Sequential revision: the model sees its answers and answers again (Snell et al., arXiv 2408.03314, sec. 6)."""

from __future__ import annotations

from pydantic import Field, field_validator

from reckon.core.errors import ConfigError
from reckon.search.base import Growth, Method, Node, Order, Rule, Tree


class Revise(Method):
    """Ask again and again, each time with the latest answers before the question, and choose among all of them.

    A right answer is often revised into a wrong one, so the last one has no privilege.

    Attributes:
        shown: how many of the latest answers the model sees, as far as they fit into half of its context; the paper's
            saw up to four.
        question: how it is asked after the first time, with ``{question}`` in it.
    """

    kind = "revise"
    ranks = False

    choose: Rule = "vote"
    shown: int = Field(4, ge=1)
    question: str = "The answers above may be wrong. Look for mistakes in them, then answer again: {question}"

    @field_validator("question")
    @classmethod
    def _asks(cls, question: str) -> str:
        if "{question}" not in question:
            raise ConfigError("has no {question} in it", where="search.question", why="Nothing would be asked")
        return question

    def grow(self, tree: Tree) -> Growth:
        attempts: list[Node] = []
        again = self.question.replace("{question}", tree.problem.question)
        while True:
            shown = tuple(attempts[-self.shown :])
            attempts += yield [Order(tree.root, whole=True, attempts=shown, question=again if shown else "")]
