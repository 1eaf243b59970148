"""The kinds of recipe: what may stand in one, and what each reads from elsewhere.

Every kind is a run of its own, and a stage of a pipeline. Where a recipe names a model or data, it is a folder or file,
a model shipped with the package, a name on the hub or, in a pipeline, the name of an earlier stage.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field, field_validator, model_validator

from reckon.algorithms.bond import JBond
from reckon.algorithms.cloning import Cloning
from reckon.algorithms.policy_gradient import PolicyGradient
from reckon.algorithms.preference import Preference
from reckon.core.config import Strict
from reckon.data.curate import Operations
from reckon.data.examples import SFTData
from reckon.data.micro import MicroText
from reckon.data.preferences import PreferenceData
from reckon.data.world import WorldText
from reckon.engine.build import EngineConfig, NativeConfig
from reckon.engine.endpoint import EndpointConfig
from reckon.learn.learner import OptimConfig
from reckon.models.lora import LoraConfig
from reckon.models.steps import StepRule
from reckon.models.template import PromptTemplate
from reckon.rewards.spec import RewardSpec
from reckon.rollout.collect import RolloutConfig
from reckon.rollout.judge import JudgeConfig
from reckon.run.shipped import method_names
from reckon.search.build import SearchConfig
from reckon.search.scorers import ORACLE
from reckon.stages.evaluate import EvalConfig
from reckon.stages.sample import Shots
from reckon.stages.train import CheckpointConfig

Task = dict[str, Any]
"""``kind`` and the settings of a task; :func:`reckon.run.recipe.read_recipe` fills in the defaults."""


class Recipe(Strict):
    """What every recipe has; in a pipeline these stand once, above the stages.

    Attributes:
        seed: the root of every random choice.
        threads: CPU threads; 0 uses all cores. Runs are repeatable bit for bit only with the same number.
        device, dtype: as torch names them.
        template: a name or text of :class:`reckon.models.template.PromptTemplate`.
        engine: who generates; see :mod:`reckon.engine.build`.
        max_running: responses the engine generates at once.
    """

    seed: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    template: str = "r1-zero"
    engine: EngineConfig = NativeConfig()
    max_running: int = Field(256, ge=1)

    @property
    def thread_count(self) -> int:
        return self.threads or os.cpu_count() or 1

    def sources(self) -> dict[str, str]:
        """What it reads besides itself, by the dotted name of the setting."""
        return {name: value for name, value in self._named() if value is not None}

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield from ()

    @field_validator("template")
    @classmethod
    def _renders(cls, template: str) -> str:
        PromptTemplate(template)
        return template

    @field_validator("device")
    @classmethod
    def _exists(cls, device: str) -> str:
        try:
            torch.device(device)
        except RuntimeError as error:
            raise ValueError("torch knows no such device: use e.g. cpu, cuda or cuda:1") from error
        return device


Some = TypeVar("Some", bound=Recipe)


def with_sources(recipe: Some, paths: Mapping[str, str]) -> Some:
    """The recipe reading from these paths, by the dotted name of the setting."""
    tree = recipe.model_dump(mode="json")
    for name, path in paths.items():
        *way, last = name.split(".")
        node: Any = tree
        for step in way:
            node = node[int(step) if isinstance(node, list) else step]
        node[int(last) if isinstance(node, list) else last] = path
    return type(recipe).model_validate_json(json.dumps(tree), strict=True)


class TrainRecipe(Recipe):
    """What every kind that trains has.

    Attributes:
        lora: train adapters of low rank instead of all weights.
    """

    optim: OptimConfig = OptimConfig()
    lora: LoraConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()


class TaskRecipe(TrainRecipe):
    """Training that is measured on a task by sampling.

    Attributes:
        task: what is asked.
        steps: training steps.
    """

    task: Task
    rollout: RolloutConfig = RolloutConfig()
    steps: int = Field(ge=1)
    eval: EvalConfig = EvalConfig()

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield from _task_sources("task", self.task)


class ValueScorerConfig(Strict):
    """A reward model with a head that gives a number (Bradley-Terry or pointwise).

    Attributes:
        model: what a ``reward`` recipe made.
    """

    kind: Literal["value"]
    model: str


class JudgeScorerConfig(JudgeConfig):
    """A language model that judges: one in this process, or one behind a server.

    Attributes:
        model: a folder, a hub name or a stage.
    """

    kind: Literal["judge"]
    model: str | None = None
    endpoint: EndpointConfig | None = None

    @model_validator(mode="after")
    def _is_somewhere(self) -> JudgeScorerConfig:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError("a judge needs a model or an endpoint, and not both")
        return self


ScorerConfig = Annotated[ValueScorerConfig | JudgeScorerConfig, Field(discriminator="kind")]
"""What rewards responses that no rule can judge; ``value`` unless ``kind`` says otherwise."""


class RLRecipe(TaskRecipe):
    """Reinforcement learning on a task with rule rewards, and with reward models where a task has no answer to check.

    Attributes:
        model: a folder, a hub name, or ``micro``.
        preset: a published method (see ``docs/methods``): a partial recipe laid below this one, whose own
            keys win.
        algorithm: its choices.
        reward_models: by kind of task, what rewards its responses in the place of the verifier.
        max_generated_tokens: end with the step that reaches so many tokens generated for training, whether they were
            trained on or filtered out; None: after ``steps`` steps.
    """

    kind: Literal["rl"]
    model: str
    preset: str | None = None
    reward: RewardSpec = RewardSpec()
    reward_models: dict[str, ScorerConfig] = Field({})
    algorithm: Annotated[PolicyGradient | Cloning | Preference | JBond, Field(discriminator="kind")] = PolicyGradient()
    max_generated_tokens: int | None = Field(None, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from super()._named()
        for kind, scorer in self.reward_models.items():
            yield f"reward_models.{kind}.model", scorer.model

    @field_validator("preset")
    @classmethod
    def _published(cls, name: str | None) -> str | None:
        if name is not None and name not in method_names():
            near = difflib.get_close_matches(name, method_names(), 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(method_names())}"
            raise ValueError(f"there is no such method; {hint}")
        return name

    @model_validator(mode="after")
    def _possible(self) -> RLRecipe:
        """Refuse what the algorithm cannot work with."""
        needs, rollout = self.algorithm.needs, self.rollout
        pretrain = needs.critic.pretrain_steps if needs.critic else 0
        batch = rollout.prompts_per_step * rollout.samples_per_prompt
        kinds = set(_kinds(self.task))
        longest = self.reward.target.high if self.reward.target else 0
        refused = {
            "rollout.samples_per_prompt must be at least 2: this algorithm compares the samples of a prompt, and a "
            "group of one has nothing to compare": needs.group and rollout.samples_per_prompt < 2,
            f"algorithm.minibatches = {self.algorithm.minibatches} is more than the {batch} samples of a step": (
                self.algorithm.minibatches > batch
            ),
            f"algorithm.critic.pretrain_steps = {pretrain} leaves the policy none of the {self.steps} steps": (
                pretrain >= self.steps
            ),
            "rollout.rationalise gives answers that are not samples of the policy: only algorithm.kind `cloning` can "
            "use them": rollout.rationalise and not isinstance(self.algorithm, Cloning),
            "algorithm.truncation `zero_reward` with a reward that can be negative would pay a truncated response more "
            "than a wrong one": getattr(self.algorithm, "truncation", "") == "zero_reward"
            and self.reward.bounds(right=False)[0] < 0,
            "reward.token_repetition pays single tokens, and only algorithm.kind `policy_gradient` gives them credit": (
                self.reward.token_repetition is not None and not isinstance(self.algorithm, PolicyGradient)
            ),
            "reward.length compares the samples of a prompt: rollout.samples_per_prompt must be at least 2": (
                self.reward.length is not None and rollout.samples_per_prompt < 2
            ),
            f"reward.target asks for up to {longest} tokens, and rollout.max_new_tokens is {rollout.max_new_tokens}": (
                longest > rollout.max_new_tokens
            ),
            f"reward_models are for the tasks {', '.join(self.reward_models)}, and the tasks here are "
            f"{', '.join(sorted(kinds))}": not set(self.reward_models) <= kinds,
        }
        for reason, found in refused.items():
            if found:
                raise ValueError(reason)
        return self


class Architecture(Strict):
    """The shape of a Qwen2 model made from scratch."""

    hidden_size: int = Field(192, ge=1)
    intermediate_size: int = Field(512, ge=1)
    layers: int = Field(4, ge=1)
    heads: int = Field(6, ge=1)
    kv_heads: int = Field(2, ge=1)
    max_position_embeddings: int = Field(512, ge=2)

    @model_validator(mode="after")
    def _divides(self) -> Architecture:
        if self.hidden_size % (2 * self.heads) or self.heads % self.kv_heads:
            raise ValueError("hidden_size must be a multiple of twice the heads, and heads a multiple of kv_heads")
        return self


class PretrainRecipe(TaskRecipe):
    """A base model, from scratch or from another one, on text made by rule.

    Attributes:
        model: continue from this one; its tokenizer and embeddings grow by the words that it lacks. None: from scratch,
            in the shape of ``architecture``.
        text: the mixture of the corpus, told apart by its ``kind``: ``micro`` (the default) or ``world``.
        texts_per_step: texts of one optimiser update.
    """

    kind: Literal["pretrain"]
    model: str | None = None
    architecture: Architecture = Architecture()
    text: Annotated[MicroText | WorldText, Field(discriminator="kind")] = MicroText()
    texts_per_step: int = Field(64, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from super()._named()


class SFTRecipe(TrainRecipe, SFTData):
    """Supervised fine-tuning: the likelihood of given responses, of every token of them the same (token mean).

    Attributes:
        model: where it starts.
        epochs: passes over the examples.
        batch: examples of one optimiser update.
    """

    kind: Literal["sft"]
    model: str
    epochs: int = Field(2, ge=1)
    batch: int = Field(32, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from ((f"data.{index}", path) for index, path in enumerate(self.data))


class RewardRecipe(TrainRecipe, PreferenceData):
    """A reward model: a language model's decoder and a head that gives one number, of a response or of each step.

    With the loss ``implicit`` it stays a language model, and what it was before is needed beside it.

    Attributes:
        model: whose decoder it starts from.
        epochs: passes over the pairs, or the labelled responses.
        batch: of them in one optimiser update.
    """

    kind: Literal["reward"]
    model: str
    epochs: int = Field(1, ge=1)
    batch: int = Field(64, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from ((f"data.{index}", path) for index, path in enumerate(self.data))


class Generation(Strict):
    """How to sample where nothing is trained; the defaults are R1's for evaluation (arXiv 2501.12948, sec. 3)."""

    temperature: float = Field(0.6, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_new_tokens: int = Field(1024, ge=1)
    stop: tuple[str, ...] = ()


class SampleRecipe(Recipe, Generation):
    """Responses of a model to the problems of a task, judged and kept.

    Attributes:
        split: ``train`` or ``heldout``.
        problems: the first so many of the split.
        samples: responses to each.
        shots: worked examples shown before each problem.
        search: each response is the one that a search chose.
    """

    kind: Literal["sample"]
    model: str
    task: Task
    split: Literal["train", "heldout"] = "train"
    problems: int = Field(ge=1)
    samples: int = Field(4, ge=1)
    shots: Shots | None = None
    search: SearchConfig | None = None

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from _task_sources("task", self.task)
        if self.shots is not None:
            yield "shots.data", self.shots.data
        if self.search is not None:
            yield from ((f"search.{name}", model) for name, model in self.search.models())

    @model_validator(mode="after")
    def _goes_together(self) -> SampleRecipe:
        if self.search is not None and self.search.scorer == ORACLE and set(_kinds(self.task)) != {"countdown"}:
            raise ValueError("search.scorer = oracle knows Countdown alone, and there are other tasks here")
        if self.search is not None and self.shots is not None and self.search.method["kind"] == "revise":
            raise ValueError("search.method `revise` shows earlier answers where `shots` would show worked examples")
        return self


class LabelRecipe(Recipe, Generation):
    """How often each step of sampled responses leads to a right answer: labels for a process reward model.

    Attributes:
        model: what completes them; ``max_new_tokens`` bounds a whole response.
        task: judges the answers; that of the samples.
        data: ``sample`` stages, or files that they made.
        steps: where steps end.
        completions: of each step.
    """

    kind: Literal["label"]
    model: str
    task: Task
    data: tuple[str, ...] = Field(min_length=1)
    steps: StepRule = StepRule()
    completions: int = Field(8, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield "model", self.model
        yield from _task_sources("task", self.task)
        yield from ((f"data.{index}", path) for index, path in enumerate(self.data))


class CurateRecipe(Recipe):
    """Rows of data in, better ones out: operations one after the other, with a ledger of what was dropped and why.

    Attributes:
        data: files of rows, or stages that made some.
        operations: see ``docs/curation.md``.
    """

    kind: Literal["curate"]
    data: tuple[str, ...] = Field(min_length=1)
    operations: Operations = Field(min_length=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield from ((f"data.{index}", path) for index, path in enumerate(self.data))


class MergeRecipe(Recipe):
    """The weighted average of models of one shape (Kimi k1.5's long2short by merging, arXiv 2501.12599, sec. 2.4).

    Attributes:
        weights: of each model, relative to the others; None: all the same.
    """

    kind: Literal["merge"]
    models: tuple[str, ...] = Field(min_length=2)
    weights: tuple[float, ...] | None = None

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield from ((f"models.{index}", path) for index, path in enumerate(self.models))

    @model_validator(mode="after")
    def _matches(self) -> MergeRecipe:
        if self.weights is not None and (len(self.weights) != len(self.models) or sum(self.weights) <= 0):
            raise ValueError("weights must be as many as models, and their sum positive")
        return self


class EvaluateRecipe(Recipe, Generation):
    """Every model on the held-out problems of every task: one table.

    Attributes:
        models: in the order of the table's rows.
        tasks: by the name of a column.
        problems: the first so many of each task.
        samples: responses to each.
    """

    kind: Literal["evaluate"]
    models: tuple[str, ...] = Field(min_length=1)
    tasks: dict[str, Task] = Field(min_length=1)
    problems: int = Field(100, ge=1)
    samples: int = Field(4, ge=1)

    def _named(self) -> Iterator[tuple[str, str | None]]:
        yield from ((f"models.{index}", path) for index, path in enumerate(self.models))
        for name, task in self.tasks.items():
            yield from _task_sources(f"tasks.{name}", task)


KINDS = (
    RLRecipe,
    PretrainRecipe,
    SFTRecipe,
    RewardRecipe,
    SampleRecipe,
    LabelRecipe,
    CurateRecipe,
    MergeRecipe,
    EvaluateRecipe,
)

AnyStage = Annotated[
    RLRecipe
    | PretrainRecipe
    | SFTRecipe
    | RewardRecipe
    | SampleRecipe
    | LabelRecipe
    | CurateRecipe
    | MergeRecipe
    | EvaluateRecipe,
    Field(discriminator="kind"),
]
"""One of :data:`KINDS`, by its ``kind``."""


def _task_sources(where: str, task: Task) -> Iterator[tuple[str, str | None]]:
    """The files of a task, or of the parts of a mix."""
    yield f"{where}.path", task.get("path")
    for index, part in enumerate(task.get("parts", ())):
        yield from _task_sources(f"{where}.parts.{index}.task", part["task"])


def _kinds(task: Task) -> Iterator[str]:
    """The kind of a task, or those of the parts of a mix."""
    if "parts" in task:
        for part in task["parts"]:
            yield from _kinds(part["task"])
    else:
        yield str(task.get("kind"))
