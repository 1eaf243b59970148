"""What a reward model reads of a response, and what it says of it: the same in its training and in its use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reckon.algorithms.batch import Batch
from reckon.core.errors import ConfigError
from reckon.core.records import Rollout
from reckon.learn.forward import Reward, measure
from reckon.models.reward import RewardCard, card_of
from reckon.models.template import PromptTemplate
from reckon.tasks.answer import split

LIMIT = 3.0
"""Scores stay within so many standard deviations of the mean: farther out a reward model has seen nothing and is
guessing, and that is where a policy that learns to please it goes."""


@dataclass(frozen=True)
class Reader:
    """Turns a question and a response into the tokens that a reward model reads."""

    tokenizer: Any
    card: RewardCard

    def read(self, rollout: Rollout) -> Rollout | None:
        """The rollout with what is read as its prompt and response, or None where there is nothing to read.

        The prompt is the question in the card's template, whatever the policy was shown. The response is the text
        without surrounding whitespace, and the end-of-text token, at which the score is read. Special tokens that are
        spelled out in it are ordinary text, so that no response can end where it likes.
        """
        text = self._text(rollout.response)
        if text is None:
            return None
        prompt, prompt_ids = PromptTemplate(self.card.template).render(rollout.problem.question, self.tokenizer)
        text = text if prompt[-1:].isspace() else f" {text}"
        ids = list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
        ids.append(self.tokenizer.eos_token_id)
        return replace(
            rollout, prompt=prompt, prompt_ids=prompt_ids, response=text, response_ids=ids, logp=[], sampled=None
        )

    def _text(self, response: str) -> str | None:
        text = split(response)[1] if self.card.reads == "summary" else response
        return (text or "").strip() or None


class RewardModel:
    """A trained reward model as a scorer of rollouts.

    Args:
        model, tokenizer: as :func:`reckon.models.reward.load_reward_model` gives them.

    Raises:
        ConfigError: it is a process reward model, which reads responses as they were generated, not as they are shown.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.card = card_of(model)
        if self.card.loss == "process":
            raise ConfigError(
                "a process reward model scores steps, not responses as texts",
                where="reward model",
                fix="Use one trained with the loss bradley_terry or pointwise",
            )
        self._reader = Reader(tokenizer, self.card)
        self._forward = Reward(model)

    def score(self, rollouts: Sequence[Rollout]) -> list[float | None]:
        """A score of each response in standard deviations from the mean of held-out ones, within ``LIMIT``.

        A response in which there is nothing to read gets the lowest: thinking that never ended has helped nobody. None,
        for what is no response at all: the generation was cancelled or failed.
        """
        usable = [rollout.finish in ("stop", "length") for rollout in rollouts]
        readings = [self._reader.read(r) if ok else None for r, ok in zip(rollouts, usable, strict=True)]
        scores: list[float | None] = [-LIMIT if ok else None for ok in usable]
        places = [place for place, reading in enumerate(readings) if reading is not None]
        if places:
            batch = Batch.of([reading for reading in readings if reading is not None])
            raw_N = measure(self._forward, batch).need("score_N")
            standard_N = ((raw_N - self.card.mean) / self.card.std).clamp(-LIMIT, LIMIT)
            for place, score in zip(places, standard_N.tolist(), strict=True):
                scores[place] = score
        return scores
