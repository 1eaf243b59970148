"""Supervised fine-tuning data as a source of rollouts: conversations, split by question, tokenised, and in epochs.

An example's prompt is rendered as it would be for sampling, and its response is what the model should have said: the
last assistant turn and the end-of-text token. Only these response tokens carry loss.
"""

from __future__ import annotations

import hashlib
import math
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from jinja2 import TemplateError
from pydantic import Field

from reckon.core.config import Strict
from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem, Rollout
from reckon.core.seeds import seed_for
from reckon.data.layouts import Columns, Example, Turn, read_examples
from reckon.models.template import CHAT, PromptTemplate, opens_thinking
from reckon.rollout.collect import Collection
from reckon.tasks.answer import END_THINK, THINK, split

TASK = "sft"
"""What the rollouts give as their task."""

_CHUNK = 1000
_MARK = "\x00"


class SFTData(Strict):
    """Which examples to learn from.

    Attributes:
        data: files, folders or hub names, as :func:`reckon.data.layouts.read_examples` takes them.
        columns: which columns hold the question and the response, for data in no known layout.
        max_tokens: an example with more tokens, prompt and response together, is left out and counted. It is never
            cut: a cut answer would teach the model not to end.
        heldout: share of the questions that is kept from training, to measure the loss on. A hash of a conversation's
            first question decides, so that no question lies on both sides; unless this is 0, at least one is kept.
        limit: the most examples to train on; which ones is decided by the same hash.
    """

    data: tuple[str, ...] = Field(min_length=1)
    columns: Columns | None = None
    max_tokens: int = Field(4096, ge=2)
    heldout: float = Field(0.05, ge=0, lt=1)
    limit: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class Tokenised:
    """An example as the model sees it. Token ids are packed: lists of them would take ten times the memory."""

    id: str
    question: str
    prompt: str
    response: str
    prompt_ids: array[int]
    response_ids: array[int]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.response_ids)

    def rollout(self) -> Rollout:
        """The example as a finished attempt that nobody sampled or judged."""
        return Rollout(
            task=TASK,
            problem=Problem(self.id, self.question, None),
            sample=0,
            prompt=self.prompt,
            prompt_ids=self.prompt_ids.tolist(),
            response=self.response,
            response_ids=self.response_ids.tolist(),
            logp=[],
            finish="stop",
            seed=0,
        )


@dataclass(frozen=True, slots=True)
class SFTSplit:
    """What was read, in the order of the hash that splits it.

    Attributes:
        rows: rows read.
        unusable: rows without an example: no right answer, or no finished one.
        too_long: examples left out because of ``max_tokens``, on either side.
    """

    train: list[Tokenised]
    heldout: list[Tokenised]
    rows: int
    unusable: int
    too_long: int


def load_examples(config: SFTData, template: PromptTemplate, tokenizer: Any) -> SFTSplit:
    """Read, split and tokenise.

    Raises:
        ConfigError: the template and the tokenizer do not fit together.
        DataError: the data cannot be read, or leaves nothing to train on.
    """
    rows = [row for source in config.data for row in read_examples(source, config.columns)]
    ranked = sorted(((_share(example), example) for row in rows for example in row), key=lambda pair: pair[0])
    cut = max(config.heldout, math.nextafter(ranked[0][0], 1)) if ranked and config.heldout else 0.0
    tokenise = Tokeniser(template, tokenizer)
    heldout, long_heldout = _fitting(tokenise, (e for share, e in ranked if share < cut), config.max_tokens, None)
    train, long_train = _fitting(tokenise, (e for share, e in ranked if share >= cut), config.max_tokens, config.limit)
    if not train:
        raise DataError(
            f"no example is left to train on: {len(rows)} rows, {len(ranked)} examples, {len(heldout)} held out, "
            f"{long_heldout + long_train} longer than {config.max_tokens} tokens",
            where=", ".join(config.data),
            fix="Give more data, raise max_tokens, or set heldout to 0",
        )
    return SFTSplit(train, heldout, len(rows), sum(not row for row in rows), long_heldout + long_train)


def _share(example: Example) -> float:
    """Where in [0, 1) a hash puts the first question of the conversation."""
    asked = next(turn.text for turn in example.turns if turn.role == "user").strip()
    digest = hashlib.blake2b(asked.encode(errors="backslashreplace"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def _fitting(
    tokenise: Tokeniser, examples: Iterable[Example], max_tokens: int, limit: int | None
) -> tuple[list[Tokenised], int]:
    """The first ``limit`` examples that are short enough, and how many too long ones were met on the way."""
    found: list[Tokenised] = []
    too_long, rest = 0, iter(examples)
    while (limit is None or len(found) < limit) and (chunk := list(islice(rest, _CHUNK))):
        for item in tokenise(chunk):
            if len(item) > max_tokens:
                too_long += 1
            else:
                found.append(item)
    return found[:limit], too_long


class Tokeniser:
    """From conversations to tokens.

    Raises ConfigError when the template is ``chat`` and the tokenizer has no chat template, or no end-of-text token.
    """

    def __init__(self, template: PromptTemplate, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer has no end-of-text token", fix="Use a tokenizer whose eos_token is set")
        self._template, self._tokenizer, self._chat = template, tokenizer, template.name == CHAT
        before, _, self._after = template.render(_MARK, tokenizer)[0].rpartition(_MARK)
        # Where the User/Assistant form of a text template begins: with the line that the question is in.
        self._user = before.rpartition("\n")[2]
        if opens_thinking(self._after):
            self._after = self._after.rstrip().removesuffix(THINK).rstrip()

    def __call__(self, examples: Sequence[Example]) -> Iterator[Tokenised]:
        """Raises DataError when the chat template refuses a conversation, or a response lacks the end of thinking."""
        prompts = [self._prompt(example) for example in examples]
        responses = [self._response(example, text) for example, (text, _) in zip(examples, prompts, strict=True)]
        encoded = self._tokenizer(responses, add_special_tokens=False)["input_ids"]
        for example, (prompt, prompt_ids), response, ids in zip(examples, prompts, responses, encoded, strict=True):
            yield Tokenised(
                id=example.id,
                question=example.turns[-2].text,
                prompt=prompt,
                response=response,
                prompt_ids=array("i", prompt_ids),
                response_ids=array("i", [*ids, self._tokenizer.eos_token_id]),
            )

    def _prompt(self, example: Example) -> tuple[str, list[int]]:
        """Everything before the last turn; a single question becomes exactly the prompt that it is sampled with."""
        turns = example.turns[:-1]
        if len(turns) == 1:
            return self._template.render(turns[0].text, self._tokenizer)
        if not self._chat:
            return self._template.render(self._joined(turns), self._tokenizer)
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text = str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise DataError(f"the chat template refuses the conversation ({error})", where=example.id) from error
        return text, list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _joined(self, turns: Sequence[Turn]) -> str:
        """What to put in place of the question: the turns, in the form that the template's last lines have.

        A system turn stands before the first question. Earlier answers are without their thinking, as chats show them.
        """
        text = ""
        for turn in turns:
            if turn.role == "system":
                text += f"{turn.text}\n\n"
            elif turn.role == "user":
                text += turn.text
            else:
                rest = split(turn.text)[1]
                answer = (turn.text if rest is None else rest).strip()
                text += f"{_spaced(self._after, answer)}\n\n{self._user}"
        return text

    def _response(self, example: Example, prompt: str) -> str:
        """The last turn as it continues the prompt: without a ``<think>`` that is already open."""
        text = example.turns[-1].text
        if opens_thinking(prompt):
            if END_THINK not in text:
                raise DataError(
                    f"the template opens {THINK} and the response never closes it",
                    where=example.id,
                    why="The model would learn to think without end",
                    fix="Use data with thinking, or a template that does not open it",
                )
            if text.lstrip().startswith(THINK):
                text = text.lstrip().removeprefix(THINK)
            if prompt[-1:].isspace():
                text = text.lstrip()
        return text if self._chat else _spaced(prompt, text).removeprefix(prompt)


def _spaced(before: str, after: str) -> str:
    """Both texts, with a space between them unless there is white space already."""
    gap = "" if before[-1:].isspace() or after[:1].isspace() or not before else " "
    return f"{before}{gap}{after}"


class Examples:
    """A source of rollouts (:class:`reckon.stages.train.Source`): ``batch`` examples a step, in shuffled epochs.

    The order of an epoch is a function of (seed, epoch). Its last step takes what is left, so that every example is
    seen once in each epoch.
    """

    def __init__(self, items: Sequence[Tokenised], batch: int, seed: int) -> None:
        self._items, self._batch, self._seed = items, batch, seed
        self._order: tuple[int, list[int]] = (-1, [])

    def steps(self, epochs: int) -> int:
        """How many steps so many epochs take."""
        return epochs * math.ceil(len(self._items) / self._batch)

    def collect(self, step: int, check: Callable[[], None]) -> Collection:
        """The examples of a step (1-based)."""
        check()
        epoch, place = divmod(step - 1, self.steps(1))
        if self._order[0] != epoch:
            order = list(range(len(self._items)))
            random.Random(seed_for(self._seed, "sft", epoch)).shuffle(order)
            self._order = epoch, order
        chosen = self._order[1][place * self._batch : (place + 1) * self._batch]
        return Collection([self._items[index].rollout() for index in chosen])

    def save(self) -> dict[str, Any]:
        """Nothing: a step's examples are a function of its number."""
        return {}

    def load(self, saved: dict[str, Any]) -> None:
        """Nothing to remember."""
