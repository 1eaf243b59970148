"""The section ``search`` of recipes and commands: what it takes, what it refuses, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reckon.core.config import parse
from reckon.core.errors import ConfigError
from reckon.engine.base import Sampling
from reckon.models.steps import StepRule
from reckon.models.template import PromptTemplate
from reckon.rollout.sample import Sampler
from reckon.run.recipe import read_recipe
from reckon.search.build import SearchConfig, build_search
from reckon.search.mcts import Mcts
from tests.search.test_grow import ragged
from tests.search.toy import PROMPT, Guess, Letters, ToyEngine, problem

SAMPLE = """
kind: sample
model: micro
task: {{kind: {task}}}
problems: 4
{more}
search: {search}
"""


def section(**changes: Any) -> dict[str, Any]:
    return {"method": {"kind": "mcts", "width": 3}, "scorer": "confidence", "budget": 90, **changes}


def test_the_section_is_complete_and_its_search_is_that_of_the_sampler() -> None:
    config = parse(SearchConfig, section(steps={"separators": [";"]}), "recipe")
    assert config.method["exploration"] is None
    assert parse(SearchConfig, config.model_dump(mode="json"), "recipe") == config
    sampling = Sampling(60, stop_ids=(0,))
    sampler = Sampler(Guess(), ToyEngine(ragged), Letters(), PromptTemplate(PROMPT), sampling)
    made = build_search(config, sampler)
    assert made.searcher.method == Mcts(width=3)
    assert (made.searcher.steps, made.budget) == (StepRule(separators=(";",)), 90)
    [rollout] = made.ask([problem()], 1, (0,))
    assert rollout.verdict is not None
    assert rollout.verdict.detail["search"]["generated"] == 90


def test_models_are_those_that_are_to_be_loaded() -> None:
    assert dict(SearchConfig.model_validate(section()).models()) == {}
    named = SearchConfig.model_validate(section(scorer="prm", reference="base"))
    assert dict(named.models()) == {"scorer": "prm", "reference": "base"}


@pytest.mark.parametrize(
    ("task", "more", "search", "says"),
    [
        ("countdown", "", "{method: {kind: rebas}, scorer: confidence, budget: 9}", "'rebase'? Use one of"),
        ("countdown", "", "{method: {kind: astar}, scorer: confidence, budget: 9}", "Use one of: vote, "),
        ("countdown", "", "{method: {kind: vote, width: 2}, budget: 9}", "unknown key width"),
        ("countdown", "", "{method: {kind: rebase}, budget: 9}", "the method rebase needs a scorer"),
        ("countdown", "", "{method: {kind: vote, choose: best}, budget: 9}", "the rule `choose: best` needs a scorer"),
        ("countdown", "", "{method: {kind: vote}, budget: 0}", "search.budget = 0"),
        ("countdown", "", "{method: {kind: vote}}", "search.budget is missing"),
        ("countdown", "", "{method: {kind: vote}, reference: micro, budget: 9}", "only a process reward model has"),
        ("arithmetic", "", "{method: {kind: beam}, scorer: oracle, budget: 9}", "oracle knows Countdown alone"),
        (
            "countdown",
            "shots: {data: a.jsonl}",
            "{method: {kind: revise}, budget: 9}",
            "shows earlier answers",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_when_the_recipe_is_read(
    tmp_path: Path, task: str, more: str, search: str, says: str
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(SAMPLE.format(task=task, more=more, search=search))
    with pytest.raises(ConfigError) as refused:
        read_recipe(str(path), [])
    assert says in str(refused.value)
    assert "recipe.yaml" in str(refused.value)


def test_a_stage_can_be_the_scorer_if_it_makes_a_model(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
kind: pipeline
stages:
  rows: {kind: curate, data: [x.jsonl], operations: [{kind: dedup}]}
  found:
    kind: sample
    model: micro
    task: {kind: countdown}
    problems: 4
    search: {method: {kind: beam}, scorer: rows, budget: 9}
"""
    )
    with pytest.raises(ConfigError, match=r"search\.scorer must be model, and the stage 'rows' makes data"):
        read_recipe(str(path), [])
