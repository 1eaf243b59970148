"""Process reward models at work: how promising is a response that ends here? (arXiv 2312.08935, 2412.01981, 2502.01456)

A search asks them for every step it takes (:class:`reckon.search.base.StepScorer`). What they read is the question in
the template of their training, and the tokens of the response as they were generated: so they are of the same
tokenizer as the policy, and a step ends where the policy ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from reckon.algorithms.batch import Batch
from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Rollout
from reckon.learn.forward import Forward, Implicit, Policy, Process, measure
from reckon.models.load import load_model
from reckon.models.reward import Loss, RewardCard, load_reward_model, read_card
from reckon.models.template import PromptTemplate, response_text

if TYPE_CHECKING:
    from reckon.search.base import Path


class _Reader:
    """What both have in common: paths in, log-odds at the ends of their steps out."""

    def __init__(self, forward: Forward, tokenizer: Any, card: RewardCard) -> None:
        self.tokens, self.card = 0, card
        self._forward, self._tokenizer, self._template = forward, tokenizer, PromptTemplate(card.template)

    def score(self, paths: Sequence[Path]) -> list[list[float]]:
        """For each path the chance in [0, 1], at each step end, that what begins so comes out right.

        Raises ConfigError if the paths are in the tokens of another tokenizer.
        """
        return [_sigmoid(own) for own in self.log_odds(paths)]

    def log_odds(self, paths: Sequence[Path]) -> list[list[float]]:
        """The same before the sigmoid."""
        full = [path for path in paths if path.token_ids]
        if not full:
            return [[] for _ in paths]
        batch = Batch.of([self._read(path) for path in full])
        self.tokens += sum(map(len, [*batch.prompts, *batch.responses]))
        score_S = measure(self._forward, batch).need("score_S")
        found = iter(score_S.split(batch.length_N.tolist()))
        return [next(found)[[end - 1 for end in path.ends]].tolist() if path.token_ids else [] for path in paths]

    def _read(self, path: Path) -> Rollout:
        ids = list(path.token_ids)
        if max(ids) >= len(self._tokenizer) or response_text(ids, self._tokenizer) != path.text:
            raise ConfigError(
                "the process reward model has another tokenizer than the policy",
                where="scorer",
                why="Steps end at tokens, and it would read other words than were written",
                fix="Train it from the policy, or from a model of the same family",
            )
        prompt, prompt_ids = self._template.render(path.problem.question, self._tokenizer)
        return Rollout("path", path.problem, 0, prompt, prompt_ids, path.text, ids, [], "stop", 0)


class ProcessReward(_Reader):
    """A model with a head that was trained on labels of steps (loss ``process``).

    Raises:
        DataError: there is no such model, or it was trained otherwise; ConfigError as
            :func:`reckon.models.load.load_model`.
    """

    def __init__(self, model: str | FilePath, dtype: str = "float32", device: str = "cpu") -> None:
        _check(model, "process")
        loaded, tokenizer, card = load_reward_model(model, dtype, device)
        super().__init__(Process(loaded), tokenizer, card)


class ImplicitReward(_Reader):
    """A language model that was trained on labels of whole responses (loss ``implicit``), against what it was before.

    Args:
        model: what the recipe made.
        reference: the ``model`` of the recipe.

    Raises:
        DataError: there is no such model, or it was trained otherwise; ConfigError as
            :func:`reckon.models.load.load_model`.
    """

    def __init__(
        self, model: str | FilePath, reference: str | FilePath, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        card = _check(model, "implicit")
        (loaded, tokenizer), (before, _) = load_model(model, dtype, device), load_model(reference, dtype, device)
        super().__init__(Implicit(Policy(loaded), Policy(before), card.beta or 0.0), tokenizer, card)

    def rewards(self, paths: Sequence[Path]) -> list[list[float]]:
        """The reward of each step: beta times the sum of its tokens' log-ratios (arXiv 2502.01456 eq. 3)."""
        return [[after - before for before, after in pairwise([0.0, *own])] for own in self.log_odds(paths)]


def _check(model: str | FilePath, loss: Loss) -> RewardCard:
    """The card of a reward model that was trained with this loss. Raises DataError for another model."""
    card = read_card(model)
    if card.loss != loss:
        raise DataError(
            f"the reward model was trained with the loss {card.loss}, not {loss}",
            where=str(model),
            why="Its numbers mean something else",
            fix=f"Use one of a `reward` recipe with `loss: {loss}`",
        )
    return card


def _sigmoid(scores: list[float]) -> list[float]:
    import torch

    return torch.tensor(scores, dtype=torch.float64).sigmoid().tolist()
