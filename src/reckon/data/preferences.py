"""What a reward model learns from: pairs of a better and a worse response, or responses with a label.

The layout of a row is known by its columns::

    pairs     chosen, rejected; and question or prompt, unless these are conversations that begin alike
    labels    question or prompt; response or completion; label (0 or 1, false or true)

Texts may be lists of messages. What else a row holds (scores, the task...) is left alone. Responses with a label for
each of their steps are read by :mod:`reckon.data.step_labels`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from reckon.core.config import Strict
from reckon.core.errors import DataError
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.data.rows import rows_of
from reckon.learn.reward_model import Reader
from reckon.models.reward import Loss, Reads, RewardCard
from reckon.models.steps import StepRule
from reckon.rollout.collect import Collection

Row = Mapping[str, Any]

Unit = list[Rollout]
"""What is never separated: a pair (chosen, rejected), or one labelled response. ``reward`` holds the label."""

QUESTION, RESPONSE = ("question", "prompt"), ("response", "completion")


class PreferenceData(Strict):
    """Where preferences come from, which are used, and what a reward model makes of them.

    Attributes:
        data: files, folders or hub names, as :func:`reckon.data.rows.rows_of` takes them.
        loss: ``bradley_terry`` for pairs, ``pointwise`` and ``implicit`` for labels, ``process`` for labels of steps.
        reads: the ``summary`` after ``</think>``, or the whole ``response``.
        max_tokens: longer ones, question included, are dropped and counted, never cut.
        heldout: share of the *questions* held out, by a hash of their text, so that no question is on both sides and
            the split stays the same when data is added.
        steps: ``process``: the rule by which the steps of the data were told apart; kept in the model's card.
        soft: ``process``: learn a step's label as it is; otherwise any that is not 0 is a 1, as in Math-Shepherd.
        beta: ``implicit``: what log-ratios are multiplied by; PRIME's by default (arXiv 2502.01456, sec. 5.1).
    """

    data: tuple[str, ...] = Field(min_length=1)
    loss: Loss = "bradley_terry"
    reads: Reads = "response"
    max_tokens: int | None = Field(None, ge=1)
    heldout: float = Field(0.05, gt=0, lt=1)
    steps: StepRule = StepRule()
    soft: bool = False
    beta: float = Field(0.05, gt=0)

    @model_validator(mode="after")
    def _whole_steps(self) -> PreferenceData:
        if self.loss == "process" and self.reads != "response":
            raise ValueError("steps are those of the thinking: the loss `process` reads the `response`")
        return self

    def card(self, template: str) -> RewardCard:
        """Of the model to be trained, with questions rendered by this template."""
        return RewardCard(
            loss=self.loss,
            reads=self.reads,
            template=template,
            steps=self.steps if self.loss == "process" else None,
            beta=self.beta if self.loss == "implicit" else None,
        )


@dataclass(frozen=True)
class Split:
    """What was read.

    Attributes:
        train, heldout: at least one unit each.
        unread: units dropped because there was nothing to read, such as no summary.
        too_long: units dropped for ``max_tokens``.
    """

    train: list[Unit]
    heldout: list[Unit]
    unread: int
    too_long: int


def load_preferences(config: PreferenceData, reader: Reader) -> Split:
    """Read everything as the reward model will.

    Raises DataError for a row in no known layout, or when nothing is left to train or to test on.
    """
    parse = _pair if config.loss == "bradley_terry" else _label

    def read(row: Row, where: str) -> Unit | None:
        found = [reader.read(rollout) for rollout in parse(row, where)]
        unit = [rollout for rollout in found if rollout is not None]
        return unit if len(unit) == len(found) else None

    return split_units(config, read)


def split_units(config: PreferenceData, read: Callable[[Row, str], Unit | None]) -> Split:
    """The units that ``read`` makes of all rows, and of where they came from; None: there is nothing to read.

    Raises DataError when nothing is left to train or to test on.
    """
    sides: dict[str, list[Unit]] = {"train": [], "heldout": []}
    dropped = {"unread": 0, "too_long": 0}
    for source in config.data:
        for where, row in rows_of(source):
            unit = read(row, where)
            if unit is None:
                dropped["unread"] += 1
            elif any(len(r.prompt_ids) + len(r.response_ids) > (config.max_tokens or float("inf")) for r in unit):
                dropped["too_long"] += 1
            else:
                sides[_side(unit[0].problem.question, config.heldout)].append(unit)
    for side, units in sides.items():
        if not units:
            raise DataError(
                f"no {side} data: {len(sides['train'])} train and {len(sides['heldout'])} heldout units, "
                f"{dropped['unread']} without anything to read, {dropped['too_long']} too long",
                where=", ".join(config.data),
                fix="Give more data or change heldout or max_tokens; where responses have no </think>, "
                "use `reads: response`",
            )
    return Split(sides["train"], sides["heldout"], dropped["unread"], dropped["too_long"])


@dataclass
class Preferences:
    """A source of units to train on: seeded epochs, the last step of each with what is left."""

    units: Sequence[Unit]
    batch: int
    seed: int

    def steps(self, epochs: int) -> int:
        """The steps that so many epochs take."""
        return epochs * -(-len(self.units) // self.batch)

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """The units of a step (1-based), each unit's rollouts side by side."""
        check()
        epoch, place = divmod(step - 1, self.steps(1))
        order = list(range(len(self.units)))
        random.Random(seed_for(self.seed, "preferences", epoch)).shuffle(order)
        chosen = order[place * self.batch : (place + 1) * self.batch]
        return Collection([rollout for index in chosen for rollout in self.units[index]])

    def save(self) -> dict[str, Any]:
        """Nothing: a step's units are a function of its number."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Nothing to remember."""


def _side(question: str, heldout: float) -> Literal["train", "heldout"]:
    return "heldout" if seed_for("heldout", question) < heldout * 2**63 else "train"


# ---------------------------------------------------------------------------------------------------- rows


def _pair(row: Row, where: str) -> Unit:
    if not {"chosen", "rejected"} <= row.keys():
        raise _unknown(row, where, "chosen and rejected")
    sides = [_turns(row[name], "assistant", name, where) for name in ("chosen", "rejected")]
    before, other = (side[:-1] for side in sides)
    if before != other:
        raise DataError("chosen and rejected do not answer the same question", where=where, fix="Remove the row")
    # Some data sets repeat the prompt in the conversations; those that do not may go on after it.
    asked = before if before and before[0][0] != "assistant" else asked_of(row, where) + before
    if not asked:
        raise _unknown(row, where, "a question or prompt, or conversations that begin with one")
    question = question_of(asked)
    return [_rollout(row, where, question, side[-1][1], sample, None) for sample, side in enumerate(sides)]


def _label(row: Row, where: str) -> Unit:
    response = next((name for name in RESPONSE if name in row), None)
    asked = asked_of(row, where)
    if response is None or not asked or "label" not in row:
        raise _unknown(row, where, "a question or prompt, a response or completion, and a label")
    if row["label"] not in (0, 1):
        raise DataError(f"a label is 0 or 1, not {row['label']!r}", where=where, fix="Mend or remove the row")
    text = _turns(row[response], "assistant", response, where)[-1][1]
    return [_rollout(row, where, question_of(asked), text, 0, float(row["label"]))]


def _rollout(row: Row, where: str, question: str, response: str, sample: int, label: float | None) -> Rollout:
    problem = Problem(str(row.get("id") or where), question, None)
    return Rollout("preference", problem, sample, "", [], response, [], [], "stop", 0, reward=label)


Turns = list[tuple[str, str]]
"""Who says what."""


def asked_of(row: Row, where: str) -> Turns:
    """What a row asks; empty if it has no question."""
    name = next((name for name in QUESTION if row.get(name)), None)
    return [] if name is None else _turns(row[name], "user", name, where)


def _turns(value: Any, role: str, name: str, where: str) -> Turns:
    """A text, said by ``role``, or a list of messages."""
    messages = [{"role": role, "content": value}] if isinstance(value, str) else value
    try:
        turns = [(message["role"], message["content"]) for message in messages]
        if turns and all(isinstance(text, str) for turn in turns for text in turn):
            return turns
    except (TypeError, KeyError):
        pass
    raise DataError(
        f"{name} is neither a text nor a list of messages with role and content", where=where, fix="Mend the row"
    )


def question_of(turns: Turns) -> str:
    """What the template is given: the words of the one turn, or the conversation so far with its speakers named."""
    return turns[0][1] if len(turns) == 1 else "\n\n".join(f"{role.capitalize()}: {text}" for role, text in turns)


def _unknown(row: Row, where: str, wanted: str) -> DataError:
    return DataError(
        f"the row needs {wanted}; it has {', '.join(row)}",
        where=where,
        fix="Rename the columns; pairs need question, chosen and rejected, labels question, response and label",
    )
