"""From the recipe of a stage to the objects it is made of, and to what it makes. Only this module knows which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from reckon.algorithms.base import Algorithm, Reference
from reckon.algorithms.nll import NLL
from reckon.algorithms.process import StepLabels
from reckon.algorithms.reward import BradleyTerry, Pointwise
from reckon.core import store
from reckon.core.errors import DataError
from reckon.core.events import EventLog
from reckon.core.seeds import seed_for
from reckon.core.stop import Stop
from reckon.data.examples import Examples, load_examples
from reckon.data.micro import Texts, add_words, build_tokenizer
from reckon.data.preferences import Preferences, load_preferences
from reckon.data.step_labels import load_steps
from reckon.engine.base import Sampling
from reckon.engine.build import build_engine
from reckon.engine.endpoint import Endpoint
from reckon.learn.forward import Forward, Implicit, Policy, Process, Reward, Value
from reckon.learn.learner import Learner
from reckon.learn.reference import ReferenceModel
from reckon.learn.reward_model import Reader, RewardModel
from reckon.models.load import end_ids, load_model
from reckon.models.lora import add_lora
from reckon.models.merge import merge_models
from reckon.models.reward import Loss, load_reward_model, make_reward_model, set_card
from reckon.models.template import PromptTemplate
from reckon.models.value import ValueModel
from reckon.rollout.collect import Rollouts
from reckon.rollout.judge import EndpointVoice, EngineVoice, Judge, Scorer, Voice
from reckon.rollout.sample import Sampler
from reckon.run.kinds import (
    CurateRecipe,
    EvaluateRecipe,
    Generation,
    JudgeScorerConfig,
    LabelRecipe,
    MergeRecipe,
    PretrainRecipe,
    Recipe,
    RewardRecipe,
    RLRecipe,
    SampleRecipe,
    ScorerConfig,
    SFTRecipe,
    TaskRecipe,
    TrainRecipe,
)
from reckon.run.progress import Progress
from reckon.search.build import build_search
from reckon.stages.curate import curate
from reckon.stages.evaluate import HeldOut, evaluate_table, held_out_problems
from reckon.stages.held_out_loss import HeldOutLoss
from reckon.stages.held_out_preference import HeldOutPreference
from reckon.stages.held_out_steps import HeldOutSteps
from reckon.stages.label import label_to_file, read_responses
from reckon.stages.sample import figures_of, sample_to_file
from reckon.stages.train import Source, Train
from reckon.tasks.base import Task
from reckon.tasks.registry import build_task

HELD_OUT_EXAMPLES = 1000
"""At most so many examples tell the held-out loss of a fine-tuning: enough for three digits."""


REWARD_LOSSES: dict[Loss, type[Algorithm]] = {
    "bradley_terry": BradleyTerry,
    "pointwise": Pointwise,
    "implicit": Pointwise,
    "process": StepLabels,
}


@dataclass(frozen=True)
class Job:
    """A stage at work.

    Attributes:
        written: its recipe as the user wrote it, with the names of stages in it.
        folder: everything that the stage writes lies here, but events.
        step: told of every finished step, for what is said of a run that ends.
    """

    written: Recipe
    folder: Path
    events: EventLog
    stop: Stop
    progress: Progress
    step: Callable[[int], None]

    def caution(self, task: Task) -> None:
        """Put what is to be known of the task's figures on record, once."""
        known = {row.get("message") for row in self.events.rows() if row["event"] == "warning"}
        for message in task.cautions():
            if message not in known:
                self.events.emit("warning", 0, code="task", message=message)

    def tell(self, row: dict[str, Any]) -> None:
        """Pass on a row of metrics."""
        self.step(row["step"])
        self.progress.step(row)


@dataclass(frozen=True)
class Made:
    """What a stage made.

    Attributes:
        kind: ``model``, ``data`` or ``results``.
        figures: what is worth knowing about it, for the manifest.
    """

    kind: str
    path: Path
    figures: dict[str, Any]


@singledispatch
def make(recipe: Recipe, job: Job) -> Made:
    """Run one stage to its end.

    Raises Interrupted (after saving) when stopped, and whatever else stands in the way.
    """
    raise AssertionError(f"no stage is made of a {type(recipe).__name__}")


# ------------------------------------------------------------------------------------------------ training


@make.register
def _(recipe: RLRecipe, job: Job) -> Made:
    model, tokenizer, size = _adapted(recipe, *load_model(recipe.model, dtype=recipe.dtype, device=recipe.device))
    algorithm = recipe.algorithm
    policy = Policy(model, recipe.rollout.temperature, entropy=algorithm.needs.entropy)
    learner = Learner(policy, recipe.optim, steps=recipe.steps * algorithm.updates)
    reference = None
    if algorithm.needs.reference is not None and algorithm.needs.reference.kind != "iteration":
        reference = ReferenceModel(algorithm.needs.reference, policy)
    sampler = _rollout_sampler(recipe, model, tokenizer)
    job.caution(sampler.task)
    source = Rollouts(
        sampler,
        recipe.rollout,
        recipe.reward,
        recipe.seed,
        greedy=algorithm.needs.greedy,
        anchor=_rollout_sampler(recipe, reference.policy.model, tokenizer)
        if algorithm.needs.anchor and reference
        else None,
        scorers={kind: _scorer(config, recipe) for kind, config in recipe.reward_models.items()},
        steps=recipe.steps,
    )
    return _trained(
        recipe,
        job,
        learner=learner,
        tokenizer=tokenizer,
        algorithm=algorithm,
        source=source,
        reference=reference,
        critic=_critic(recipe, model),
        max_generated_tokens=recipe.max_generated_tokens,
        steps=recipe.steps,
        evaluate=_held_out(recipe, job, sampler, learner, recipe.model),
        eval_every=recipe.eval.every,
        published=lambda updates: setattr(sampler.engine, "version", updates),
        size=size,
    )


@make.register
def _(recipe: PretrainRecipe, job: Job) -> Made:
    torch.manual_seed(recipe.seed)
    if recipe.model is not None:
        model, tokenizer = load_model(recipe.model, dtype=recipe.dtype, device=recipe.device)
        add_words(tokenizer, recipe.text.words)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    else:
        model, tokenizer = _from_scratch(recipe)
    model, tokenizer, size = _adapted(recipe, model, tokenizer)
    learner = Learner(Policy(model), recipe.optim, steps=recipe.steps)
    sampler = _rollout_sampler(recipe, model, tokenizer)
    return _trained(
        recipe,
        job,
        learner=learner,
        tokenizer=tokenizer,
        algorithm=NLL(),
        source=Texts(recipe.text, tokenizer, recipe.texts_per_step, recipe.seed),
        steps=recipe.steps,
        evaluate=_held_out(recipe, job, sampler, learner, recipe.model),
        eval_every=recipe.eval.every,
        published=lambda updates: setattr(sampler.engine, "version", updates),
        size=size,
    )


@make.register
def _(recipe: SFTRecipe, job: Job) -> Made:
    model, tokenizer, size = _adapted(recipe, *load_model(recipe.model, dtype=recipe.dtype, device=recipe.device))
    split = load_examples(recipe, PromptTemplate(recipe.template), tokenizer)
    source = Examples(split.train, recipe.batch, recipe.seed)
    steps = source.steps(recipe.epochs)
    learner = Learner(Policy(model), recipe.optim, steps=steps)
    heldout = [item.rollout() for item in split.heldout[:HELD_OUT_EXAMPLES]]
    figures = {"examples": len(split.train), "unusable": split.unusable, "too_long": split.too_long}
    return _trained(
        recipe,
        job,
        learner=learner,
        tokenizer=tokenizer,
        algorithm=NLL(),
        source=source,
        steps=steps,
        evaluate=HeldOutLoss(heldout, learner, job.events, job.progress.eval) if heldout else _nothing,
        eval_every=source.steps(1),
        size={**size, **figures, "heldout": len(heldout)},
    )


@make.register
def _(recipe: RewardRecipe, job: Job) -> Made:
    card = recipe.card(recipe.template)
    if recipe.loss == "implicit":
        made = load_model(recipe.model, dtype=recipe.dtype, device=recipe.device)
        set_card(made[0], card)
    else:
        made = make_reward_model(recipe.model, card, recipe.dtype, recipe.device)
    model, tokenizer, size = _adapted(recipe, *made)
    if recipe.loss == "process":
        split = load_steps(recipe, recipe.template, tokenizer)
    else:
        split = load_preferences(recipe, Reader(tokenizer, card))
    source = Preferences(split.train, recipe.batch, recipe.seed)
    steps = source.steps(recipe.epochs)
    learner = Learner(_reward_forward(recipe, model), recipe.optim, steps=steps)
    held_out = HeldOutSteps if recipe.loss == "process" else HeldOutPreference
    dropped = {"unread": split.unread, "too_long": split.too_long}
    return _trained(
        recipe,
        job,
        learner=learner,
        tokenizer=tokenizer,
        algorithm=REWARD_LOSSES[recipe.loss](),
        source=source,
        steps=steps,
        evaluate=held_out(learner, split.heldout, job.events, job.stop.check, job.progress.eval),
        eval_every=source.steps(1),
        size={**size, "units": len(split.train), "heldout": len(split.heldout), **dropped},
    )


def _reward_forward(recipe: RewardRecipe, model: PreTrainedModel) -> Forward:
    """How the loss has the model say its scores."""
    if recipe.loss == "implicit":
        policy = Policy(model)
        return Implicit(policy, ReferenceModel(Reference(), policy).policy, recipe.beta)
    return Process(model) if recipe.loss == "process" else Reward(model)


def _trained(
    recipe: TrainRecipe,
    job: Job,
    *,
    learner: Learner,
    tokenizer: PreTrainedTokenizerBase,
    algorithm: Algorithm,
    source: Source,
    steps: int,
    size: dict[str, int],
    **parts: Any,
) -> Made:
    """Run the training loop over these parts, which are the same for every kind but for ``parts``."""
    job.progress.stage(steps)
    checkpoint = Train(
        folder=job.folder,
        learner=learner,
        tokenizer=tokenizer,
        algorithm=algorithm,
        source=source,
        steps=steps,
        seed=recipe.seed,
        events=job.events,
        stop=job.stop,
        checkpoint=recipe.checkpoint,
        progress=job.tell,
        **parts,
    ).run()
    rows = store.read_jsonl(job.folder / "metrics.jsonl")
    figures = {
        **size,
        "steps": len(rows),
        "generated_tokens": sum(row["generated_tokens"] for row in rows) if isinstance(recipe, RLRecipe) else 0,
        "trained_tokens": sum(row["update_tokens"] or 0 for row in rows),
    }
    return Made("model", checkpoint, figures)


def _adapted(
    recipe: TrainRecipe, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, int]]:
    """The model with adapters if the recipe asks for some, and its size."""
    if recipe.lora is not None:
        return model, tokenizer, add_lora(model, recipe.lora, seed_for(recipe.seed, "lora"))
    return model, tokenizer, {"parameters": sum(weight.numel() for weight in model.parameters())}


def _from_scratch(recipe: PretrainRecipe) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    tokenizer, shape = build_tokenizer(recipe.text.words), recipe.architecture
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config).to(recipe.device, getattr(torch, recipe.dtype)), tokenizer


def _rollout_sampler(recipe: TaskRecipe, model: Any, tokenizer: Any) -> Sampler:
    rollout = recipe.rollout
    settings = Generation(
        temperature=rollout.temperature, top_p=1.0, max_new_tokens=rollout.max_new_tokens, stop=rollout.stop
    )
    return _sampler(recipe, recipe.task, model, tokenizer, settings)


def _held_out(recipe: TaskRecipe, job: Job, sampler: Sampler, learner: Learner, base: str | None) -> HeldOut:
    return HeldOut(
        job.folder,
        sampler,
        held_out_problems(sampler, recipe.eval.problems),
        recipe.eval.samples,
        recipe.seed,
        base if isinstance(recipe, RLRecipe) else None,
        learner,
        job.events,
        job.stop.check,
        job.progress.eval,
    )


def _critic(recipe: RLRecipe, model: PreTrainedModel) -> Learner | None:
    config = recipe.algorithm.needs.critic
    if config is None:
        return None
    optim = recipe.optim.model_copy(update={"lr": config.lr})
    return Learner(Value(ValueModel(model)), optim, steps=recipe.steps * config.updates)


def _scorer(config: ScorerConfig, recipe: RLRecipe) -> Scorer:
    """A reward model or a judge, ready to score."""
    if config.kind == "judge":
        return Judge(_voice(config, recipe), config, recipe.seed)
    model, tokenizer, _ = load_reward_model(config.model, recipe.dtype, recipe.device)
    return RewardModel(model, tokenizer)


def _voice(config: JudgeScorerConfig, recipe: RLRecipe) -> Voice:
    """The language model that a judge asks."""
    sampling = Sampling(config.max_new_tokens, config.temperature)
    if config.endpoint is not None:
        return EndpointVoice(Endpoint(config.endpoint), sampling)
    assert config.model is not None
    model, tokenizer = load_model(config.model, recipe.dtype, recipe.device)
    context = model.config.get_text_config().max_position_embeddings
    return EngineVoice(
        build_engine(recipe.engine, model, tokenizer, recipe.max_running),
        tokenizer,
        PromptTemplate(recipe.template),
        replace(sampling, max_new_tokens=min(config.max_new_tokens, context // 2), stop_ids=end_ids(model, tokenizer)),
        max_context=context,
    )


def _nothing(step: int, generated_tokens: int) -> None:
    """The evaluation of a stage that has nothing to evaluate on."""


# ------------------------------------------------------------------------------------- data, merging, measuring


@make.register
def _(recipe: SampleRecipe, job: Job) -> Made:
    model, tokenizer = load_model(recipe.model, dtype=recipe.dtype, device=recipe.device)
    sampler = _sampler(recipe, recipe.task, model, tokenizer, recipe)
    job.caution(sampler.task)
    problems = list(sampler.task.problems(recipe.split))[: recipe.problems]
    if not problems:
        raise DataError(f"the task has no {recipe.split} problems", fix="Check the task's path and its settings")
    assert isinstance(job.written, SampleRecipe)
    job.progress.stage(len(problems) * recipe.samples)
    path = job.folder / "samples.jsonl"
    rows = sample_to_file(
        path,
        build_search(recipe.search, sampler, recipe.dtype, recipe.device) if recipe.search else sampler,
        problems,
        recipe.samples,
        recipe.seed,
        job.written.model,
        shots=recipe.shots,
        check=job.stop.check,
        progress=job.progress.done,
    )
    return Made("data", path, figures_of(rows))


@make.register
def _(recipe: LabelRecipe, job: Job) -> Made:
    model, tokenizer = load_model(recipe.model, dtype=recipe.dtype, device=recipe.device)
    responses = read_responses(recipe.data)
    job.progress.stage(len(responses))
    path = job.folder / "labels.jsonl"
    rows = label_to_file(
        path,
        _sampler(recipe, recipe.task, model, tokenizer, recipe),
        responses,
        recipe.steps,
        recipe.completions,
        recipe.seed,
        check=job.stop.check,
        progress=job.progress.done,
    )
    labels = [label for row in rows for label in row["labels"] if label is not None]
    good = sum(label > 0 for label in labels)
    figures = {"rows": len(rows), "steps": len(labels), "good": good, "mean": sum(labels) / max(1, len(labels))}
    return Made("data", path, {**figures, "generated_tokens": sum(row["generated"] for row in rows)})


@make.register
def _(recipe: CurateRecipe, job: Job) -> Made:
    assert isinstance(job.written, CurateRecipe)
    inputs = {name: Path(path) for name, path in zip(job.written.data, recipe.data, strict=True)}
    figures = curate(inputs, recipe.operations, recipe.seed, job.folder)
    return Made("data", job.folder / "data.jsonl", figures)


@make.register
def _(recipe: MergeRecipe, job: Job) -> Made:
    weights = recipe.weights and [weight / sum(recipe.weights) for weight in recipe.weights]
    merge_models(recipe.models, weights, job.folder / "model")
    return Made("model", job.folder / "model", {"models": len(recipe.models)})


@make.register
def _(recipe: EvaluateRecipe, job: Job) -> Made:
    assert isinstance(job.written, EvaluateRecipe)
    job.progress.stage(len(recipe.models) * len(recipe.tasks) * recipe.problems * recipe.samples)
    for task in recipe.tasks.values():
        job.caution(build_task(task))

    def sampler_of(model: str, task: str) -> Sampler:
        return _sampler(recipe, recipe.tasks[task], *load_model(model, recipe.dtype, recipe.device), recipe)

    table = evaluate_table(
        job.folder,
        dict(zip(job.written.models, recipe.models, strict=True)),
        list(recipe.tasks),
        sampler_of,
        recipe.problems,
        recipe.samples,
        recipe.seed,
        job.stop.check,
        job.progress.done,
    )
    return Made("results", job.folder / "results.json", {"rows": len(table)})


def _sampler(recipe: Recipe, task: dict[str, Any], model: Any, tokenizer: Any, settings: Generation) -> Sampler:
    return Sampler(
        task=build_task(task),
        engine=build_engine(recipe.engine, model, tokenizer, recipe.max_running),
        tokenizer=tokenizer,
        template=PromptTemplate(recipe.template),
        sampling=Sampling(
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            stop=settings.stop,
            stop_ids=end_ids(model, tokenizer),
        ),
    )
