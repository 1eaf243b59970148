"""From settings to a search: the one section that recipes and commands have for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator, model_validator

from reckon.core.config import Strict
from reckon.core.errors import ConfigError
from reckon.models.steps import StepRule
from reckon.rollout.process import ProcessReward
from reckon.rollout.sample import Sampler
from reckon.search.methods import build_method, resolved, unscored
from reckon.search.sampler import SearchSampler
from reckon.search.scorers import CONFIDENCE, ORACLE, build_scorer
from reckon.search.searcher import Searcher


class SearchConfig(Strict):
    """A search in the place of each sample.

    Attributes:
        method: ``kind`` and settings, see :mod:`reckon.search.methods`; read back with all defaults.
        scorer: what scores steps: ``confidence``, ``oracle`` or a process reward model; None: nothing does.
        reference: the model that an implicit process reward model was trained from.
        budget: the most generated tokens of a search.
        steps: where the steps of responses end; None: where the scorer was trained to find them, or at blank lines.
    """

    method: dict[str, Any]
    scorer: str | None = None
    reference: str | None = None
    budget: int = Field(ge=1)
    steps: StepRule | None = None

    def models(self) -> Iterator[tuple[str, str]]:
        """The models it reads, by the setting that names them."""
        if self.scorer not in (None, CONFIDENCE, ORACLE):
            yield "scorer", str(self.scorer)
        if self.reference is not None:
            yield "reference", self.reference

    @field_validator("method")
    @classmethod
    def _complete(cls, method: dict[str, Any]) -> dict[str, Any]:
        try:
            return resolved(build_method(method))
        except ConfigError as error:
            raise _told(error) from None

    @model_validator(mode="after")
    def _possible(self) -> SearchConfig:
        method = build_method(self.method)
        if self.scorer is None and method.needs_scorer:
            raise _told(unscored(method))
        if self.reference is not None and "scorer" not in dict(self.models()):
            raise ValueError("only a process reward model has a reference; leave it out")
        return self


def _told(error: ConfigError) -> ValueError:
    """The same without its place, which whoever reads the section knows better."""
    return ValueError(str(ConfigError(error.what, why=error.why, fix=error.fix)))


def build_search(config: SearchConfig, sampler: Sampler, dtype: str = "float32", device: str = "cpu") -> SearchSampler:
    """A search in the place of each sample of ``sampler``.

    Raises:
        ConfigError: as the models' loading; DataError: the scorer is no process reward model.
    """
    scorer, steps = None, config.steps
    if config.scorer is not None:
        scorer = build_scorer(config.scorer, sampler.tokenizer, config.reference, dtype, device)
        if isinstance(scorer, ProcessReward):
            steps = steps or scorer.card.steps
    searcher = Searcher(sampler, build_method(config.method), scorer, steps or StepRule())
    return SearchSampler(searcher, config.budget)
