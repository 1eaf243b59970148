"""The plan of a run: of each stage how far it is, what it reads and makes, and what it will cost.

Costs come from shapes and counts (:mod:`reckon.run.costs`); nothing is loaded, fetched or started. Every figure is an
upper bound, in which all responses are as long as they may be. Where an earlier stage, or the stage's own beginning,
shows how long responses are, an expectation stands beside it. What cannot be known from here is said, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from typing import Any

import torch

from reckon.core import store
from reckon.data.micro import build_tokenizer, text_at
from reckon.learn.learner import OptimConfig
from reckon.models.lora import LoraConfig
from reckon.rollout.collect import ANCHORS
from reckon.run import costs
from reckon.run.costs import GPUS, UTILISATION, Memory, Pass
from reckon.run.kinds import (
    CurateRecipe,
    EvaluateRecipe,
    LabelRecipe,
    MergeRecipe,
    PretrainRecipe,
    Recipe,
    RewardRecipe,
    RLRecipe,
    SampleRecipe,
    SFTRecipe,
    TaskRecipe,
    TrainRecipe,
)
from reckon.run.pipeline import Pipeline, Stage, State
from reckon.run.recipe import makes
from reckon.run.shapes import Shape, shape_of
from reckon.run.supply import Supply, supply_of

TIMED = ("rl", "pretrain", "sft", "reward", "sample", "evaluate")
"""Kinds of stages that use a model; the others take no time to speak of."""

_TEXTS = 64
"""Texts that are written to see how long those of a pretraining corpus are."""


@dataclass(frozen=True)
class Sketch:
    """What a stage is going to do.

    Attributes:
        batch: the arithmetic of its batches, by what is counted.
        passes: what it asks models to do.
        memory: None where it needs none to speak of, or its model's shape is not known.
        notes: what the user should know before it starts.
    """

    batch: dict[str, int] = field(default_factory=dict)
    passes: list[tuple[Pass, Shape | None]] = field(default_factory=list)
    memory: Memory | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """Seconds on one device, by name ``here`` or a GPU's: at most, and expected if all lengths are known."""

    most: float
    expected: float | None


@dataclass(frozen=True)
class StagePlan:
    """The plan of one stage.

    Attributes:
        status: ``finished``, ``goes on``, ``new`` or ``changed``, which is refused, with ``changes`` to say why.
        done: how much of the stage is done, a share.
        reads: where each of its sources comes from, by the setting that names it.
        makes: what, and in which folder of the run.
        time: of what is left to do, on each device; empty if it is not known or nothing to speak of.
    """

    name: str
    kind: str
    status: str
    changes: list[str]
    done: float
    reads: dict[str, str]
    makes: str
    sketch: Sketch
    time: dict[str, Cost]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        sketch = self.sketch
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "changes": self.changes,
            "done": self.done,
            "reads": self.reads,
            "makes": self.makes,
            "batch": sketch.batch,
            "tokens": {
                one.what: {"most": one.most_tokens, "expected": one.expected_tokens} for one, _ in sketch.passes
            },
            "memory": {**sketch.memory.parts(), "total": sketch.memory.total} if sketch.memory else None,
            "seconds": {name: vars(cost) for name, cost in self.time.items()},
            "notes": sketch.notes,
        }


def plan_of(pipeline: Pipeline, rate: float | None = None) -> list[StagePlan]:
    """The plan of every stage.

    Args:
        rate: operations a second of matrix products on this CPU; None: measured, if a stage is to run here.

    Raises:
        DataError: a model's config.json or a data file that lies here cannot be read.
    """
    if rate is None and any(stage.recipe.device == "cpu" for stage in pipeline.stages):
        rate = costs.matmul_rate(pipeline.stages[0].recipe.thread_count)
    planner = _Planner(pipeline, {state.stage.name: state for state in pipeline.states()})
    return [planner.stage(stage, rate or 0.0) for stage in pipeline.stages]


class _Planner:
    def __init__(self, pipeline: Pipeline, states: dict[str, State]) -> None:
        self._pipeline, self._states = pipeline, states

    def stage(self, stage: Stage, rate: float) -> StagePlan:
        """The plan of a stage; of a finished one only what it made."""
        state, recipe = self._states[stage.name], stage.recipe
        finished = state.status == "finished"
        sketch = Sketch(batch=_figures(stage)) if finished else self.sketch(recipe, stage)
        done = 1.0 if finished else _done(stage, sketch) if state.status == "started" else 0.0
        return StagePlan(
            name=stage.name,
            kind=str(recipe.model_dump()["kind"]),
            status={"started": "goes on"}.get(state.status, state.status),
            changes=state.changes,
            done=done,
            reads={name: self._origin(value) for name, value in recipe.sources().items()},
            makes=f"{makes(recipe)} in {stage.folder.relative_to(self._pipeline.out)}",
            sketch=sketch,
            time=_time(sketch, recipe, rate, 1.0 - done),
        )

    # ------------------------------------------------------------------------------------------ kinds of stages

    @singledispatchmethod
    def sketch(self, recipe: Recipe, stage: Stage) -> Sketch:
        """What a stage of this kind is going to do."""
        raise AssertionError(f"no stage is made of a {type(recipe).__name__}")

    @sketch.register
    def _(self, recipe: RLRecipe, stage: Stage) -> Sketch:
        shape, rollout, algorithm, needs = self._shape(recipe), recipe.rollout, recipe.algorithm, recipe.algorithm.needs
        mean, longest = self._mean_length(stage), rollout.max_new_tokens
        asked = rollout.prompts_per_step * rollout.samples_per_prompt
        rounds = rollout.dynamic_sampling.max_rounds if rollout.dynamic_sampling else 1 + rollout.rationalise
        beside = rollout.prompts_per_step * (needs.greedy + ANCHORS * needs.anchor)
        most = recipe.max_generated_tokens and recipe.max_generated_tokens + (asked * rounds + beside) * longest

        def using(what: str, kind: Any, samples: int, epochs: int = 1, by: Shape | None = shape) -> tuple[Pass, Any]:
            return Pass(what, kind, recipe.steps * samples * epochs, longest, mean, most and most * epochs), by

        passes = [using("rollouts", "generate", asked * rounds + beside)]
        passes += [using("log-probabilities", "forward", asked)] * needs.trainer_logp
        if needs.reference is not None and needs.reference.kind != "iteration":
            passes.append(using("reference", "forward", asked))
        for kind, scorer in recipe.reward_models.items():
            if scorer.model is not None:
                work, by = "generate" if scorer.kind == "judge" else "forward", self._shape_of(scorer.model)
                passes.append(using(f"reward model for {kind}", work, asked, by=by))
        passes.append(using("training", "adapt" if recipe.lora else "train", asked, algorithm.epochs))
        if needs.critic is not None:
            passes += [using("values", "forward", asked), using("training of the critic", "train", asked)]
        passes.append((self._evaluation(recipe, recipe.steps, mean), shape))
        learning = recipe.steps - (needs.critic.pretrain_steps if needs.critic else 0)
        batch = {
            "steps": recipe.steps,
            "prompts": recipe.steps * rollout.prompts_per_step,
            "samples": recipe.steps * (asked * rounds + beside),
            "updates": learning * algorithm.updates,
            "samples of an update": math.ceil(asked / algorithm.minibatches),
        }
        memory = self._rl_memory(recipe, shape) if shape else None
        return Sketch(batch, passes, memory, self._notes(recipe, recipe.model, shape, longest, memory, generates=True))

    @sketch.register
    def _(self, recipe: PretrainRecipe, stage: Stage) -> Sketch:
        shape = self._shape(recipe)
        tokenizer, texts = build_tokenizer(recipe.text.words), recipe.steps * recipe.texts_per_step
        written = [text_at(recipe.text, recipe.seed, index) for index in range(_TEXTS)]
        mean = sum(map(len, tokenizer(written)["input_ids"])) / _TEXTS
        longest = shape.context if shape else recipe.architecture.max_position_embeddings
        batch = {
            "steps": recipe.steps,
            "texts": texts,
            "updates": recipe.steps,
            "texts of an update": recipe.texts_per_step,
        }
        training = Pass("training", "adapt" if recipe.lora else "train", texts, longest, mean)
        evaluation = self._evaluation(recipe, recipe.steps, mean)
        asked = recipe.eval.problems * recipe.eval.samples
        memory = self._task_memory(recipe, shape, longest, asked) if shape else None
        notes = self._notes(recipe, recipe.model, shape, recipe.rollout.max_new_tokens, memory, generates=True)
        return Sketch(batch, [(training, shape), (evaluation, shape)], memory, notes)

    @sketch.register
    def _(self, recipe: SFTRecipe, stage: Stage) -> Sketch:
        supply = self._supply(recipe.data)
        if recipe.limit is not None:
            supply = supply.at_most(recipe.limit)
        return self._supervised(recipe, recipe.model, supply, 1, recipe.max_tokens)

    @sketch.register
    def _(self, recipe: RewardRecipe, stage: Stage) -> Sketch:
        texts = 2 if recipe.loss == "bradley_terry" else 1
        return self._supervised(recipe, recipe.model, self._supply(recipe.data), texts, recipe.max_tokens)

    @sketch.register
    def _(self, recipe: SampleRecipe, stage: Stage) -> Sketch:
        shape, samples, longest = self._shape(recipe), recipe.problems * recipe.samples, recipe.max_new_tokens
        asked = Pass("samples", "generate", samples, longest, self._mean_length(stage))
        memory = _serving(recipe, shape, samples, longest) if shape else None
        models = dict(recipe.search.models()) if recipe.search else {}
        if recipe.search is not None:
            most = samples * recipe.search.budget
            asked = Pass("searches", "generate", math.ceil(most / longest), longest, most=most)
            memory = self._searching(recipe, models.values(), shape) if shape else None
        notes = self._notes(recipe, recipe.model, shape, longest, memory, generates=True)
        notes += ["what the scorer of the search reads is not in the time"] * ("scorer" in models)
        return Sketch({"prompts": recipe.problems, "samples": samples}, [(asked, shape)], memory, notes)

    @sketch.register
    def _(self, recipe: LabelRecipe, stage: Stage) -> Sketch:
        shape, supply = self._shape(recipe), self._supply(recipe.data)
        asked = (supply.rows or 0) * recipe.completions
        memory = _serving(recipe, shape, asked, recipe.max_new_tokens) if shape else None
        notes = self._notes(recipe, recipe.model, shape, recipe.max_new_tokens, memory, generates=True)
        notes.append(f"time is not known: each step is completed {recipe.completions} times, and steps are not counted")
        rows = {} if supply.rows is None else {"responses": supply.rows}
        return Sketch(rows, memory=memory, notes=[*supply.unknown, *notes])

    @sketch.register
    def _(self, recipe: EvaluateRecipe, stage: Stage) -> Sketch:
        prompts = len(recipe.tasks) * recipe.problems
        passes: list[tuple[Pass, Shape | None]] = []
        memories, notes = [], dict[str, None]()
        for name in recipe.models:
            source, shape = self._pipeline.stage(name), self._shape_of(name)
            mean = self._mean_length(source) if source else None
            samples, longest = prompts * recipe.samples, recipe.max_new_tokens
            passes.append((Pass(f"samples of {name}", "generate", samples, longest, mean), shape))
            memory = _serving(recipe, shape, samples, longest) if shape else None
            memories += [memory] if memory else []
            notes |= dict.fromkeys(self._notes(recipe, name, shape, longest, memory, generates=True))
        batch = {"models": len(passes), "prompts": prompts, "samples": sum(each.samples for each, _ in passes)}
        return Sketch(batch, passes, max(memories, key=lambda each: each.total, default=None), list(notes))

    @sketch.register
    def _(self, recipe: CurateRecipe, stage: Stage) -> Sketch:
        read, left = self._supply(recipe.data), supply_of(stage.name, self._pipeline)
        rows = {"rows read": read.rows, "rows left": left.rows}
        return Sketch({name: count for name, count in rows.items() if count is not None}, notes=left.unknown)

    @sketch.register
    def _(self, recipe: MergeRecipe, stage: Stage) -> Sketch:
        return Sketch({"models": len(recipe.models)})

    # ------------------------------------------------------------------------------------------------- parts

    def _supervised(
        self, recipe: SFTRecipe | RewardRecipe, model: str, supply: Supply, texts: int, max_tokens: int | None
    ) -> Sketch:
        """Epochs over given examples, each of so many texts."""
        shape = self._shape_of(model)
        bounds = [size for size in (supply.longest, max_tokens) if size]
        longest = min(bounds, default=shape.context if shape else None)
        memory = None
        if shape is not None and longest is not None:
            memory = _learning(recipe, shape, max(recipe.optim.micro_batch_tokens, texts * longest))
        named = longest or 0 if bounds else 0
        notes = [*supply.unknown, *self._notes(recipe, model, shape, named, memory, generates=False)]
        if supply.rows is None or longest is None:
            return Sketch({"epochs": recipe.epochs}, [], memory, notes)
        heldout = math.ceil(supply.rows * recipe.heldout)
        learn, measure = recipe.epochs * supply.rows * texts, (recipe.epochs + 1) * heldout * texts
        training = Pass("training", "adapt" if recipe.lora else "train", learn, longest, supply.mean)
        measured = Pass("held-out loss", "forward", measure, longest, supply.mean)
        batch = {
            "epochs": recipe.epochs,
            "examples": supply.rows,
            "updates": recipe.epochs * math.ceil(supply.rows / recipe.batch),
            "examples of an update": recipe.batch,
        }
        return Sketch(batch, [(training, shape)] + [(measured, shape)] * bool(heldout), memory, notes)

    def _searching(self, recipe: SampleRecipe, models: Iterable[str], shape: Shape) -> Memory:
        """Of searches, with their scorer's models beside the model, and as many responses at once as are let run."""
        shapes = [self._shape_of(name) for name in models]
        others = sum(each.parameters * costs.BYTES[recipe.dtype] for each in shapes if each)
        return replace(_serving(recipe, shape, recipe.max_running, recipe.max_new_tokens), others=others)

    def _evaluation(self, recipe: TaskRecipe, steps: int, mean: float | None) -> Pass:
        """Held-out evaluations: before the first step, every so many steps, and after the last."""
        count = 1 + math.ceil(steps / recipe.eval.every)
        samples = count * recipe.eval.problems * recipe.eval.samples
        return Pass("evaluation", "generate", samples, recipe.rollout.max_new_tokens, mean)

    def _rl_memory(self, recipe: RLRecipe, shape: Shape) -> Memory:
        rollout, needs = recipe.rollout, recipe.algorithm.needs
        width, asked = costs.BYTES[recipe.dtype], rollout.prompts_per_step * rollout.samples_per_prompt
        unit = 2 if recipe.algorithm.kind == "preference" else 1
        most = max(asked, recipe.eval.problems * recipe.eval.samples)
        memory = self._task_memory(recipe, shape, unit * rollout.max_new_tokens, most)
        others = 0
        if needs.reference is not None and needs.reference.kind != "iteration":
            others += costs.trained(shape, recipe.lora, width)
        if needs.critic is not None:
            others += 4 * shape.parameters * width
        if recipe.algorithm.restart == "model":
            others += memory.weights
        for scorer in recipe.reward_models.values():
            judge = self._shape_of(scorer.model) if scorer.model else None
            others += judge.parameters * width if judge else 0
        return replace(memory, others=others, base=memory.weights)

    def _task_memory(self, recipe: TaskRecipe, shape: Shape, longest: int, asked: int) -> Memory:
        """Of training on texts of up to ``longest`` tokens, with ``asked`` responses generated at once."""
        serving = _serving(recipe, shape, asked, recipe.rollout.max_new_tokens, recipe.lora)
        learning = _learning(recipe, shape, max(recipe.optim.micro_batch_tokens, longest))
        return replace(learning, engine=serving.engine, cache=serving.cache)

    def _notes(
        self,
        recipe: Recipe,
        name: str | None,
        shape: Shape | None,
        longest: int,
        memory: Memory | None,
        *,
        generates: bool,
    ) -> list[str]:
        notes = []
        if shape is None:
            notes.append(f"memory and time are not known: no config.json of {name} is here, or it is of another family")
        elif longest >= shape.context:
            notes.append(
                f"responses of {longest:,} tokens and a prompt are more than the context of {shape.context:,}: "
                + ("refused" if generates else "beyond what the model was made for")
            )
        if isinstance(recipe, TrainRecipe) and recipe.lora is None and (lost := _lost(recipe.optim, recipe.dtype)):
            notes.append(
                f"no float32 copy of the weights is kept: a step of optim.lr = {recipe.optim.lr:g} is rounded away in "
                f"{recipe.dtype} weights above {lost:.2g}; train adapters (lora), or in float32"
            )
        if memory is not None and recipe.device != "cpu":
            small = [name for name, gpu in GPUS.items() if gpu.memory < memory.total]
            if small:
                notes.append(f"more memory than one {', '.join(small)} has; a run uses one device")
        return notes

    def _origin(self, value: str) -> str:
        source = self._pipeline.stage(value)
        return value if source is None else f"{value} ({source.folder.relative_to(self._pipeline.out)})"

    def _supply(self, data: Sequence[str]) -> Supply:
        return Supply.together([supply_of(value, self._pipeline) for value in data])

    def _shape(self, recipe: Recipe) -> Shape | None:
        """The shape of the model that a stage works on, or makes."""
        model = getattr(recipe, "model", None)
        if isinstance(recipe, MergeRecipe):
            return self._shape_of(recipe.models[0])
        if not isinstance(recipe, PretrainRecipe):
            return self._shape_of(str(model))
        words = len(build_tokenizer(recipe.text.words))
        if recipe.model is not None:
            shape = self._shape_of(recipe.model)
            return shape and replace(shape, vocabulary=max(words, shape.vocabulary))
        made = recipe.architecture
        width = made.hidden_size // made.heads
        sizes = (words, made.hidden_size, made.intermediate_size, made.layers, made.heads, made.kv_heads, width)
        return Shape(*sizes, context=made.max_position_embeddings, tied=True, biases=True)

    def _shape_of(self, name: str) -> Shape | None:
        source = self._pipeline.stage(name)
        return self._shape(source.recipe) if source else shape_of(name)

    def _mean_length(self, stage: Stage) -> float | None:
        """Mean tokens of a response: in the stage's own last step, else in that of the stage that made its model."""
        rows = stage.folder / "metrics.jsonl"
        if isinstance(stage.recipe, RLRecipe) and rows.is_file() and (read := store.read_jsonl(rows)):
            mean: float | None = read[-1]["tokens"]
            return mean
        source = self._pipeline.stage(getattr(stage.recipe, "model", None) or "")
        return self._mean_length(source) if source else None


def _serving(recipe: Recipe, shape: Shape, asked: int, longest: int, lora: LoraConfig | None = None) -> Memory:
    """Of generating responses, ``asked`` of them at once if the recipe lets so many run."""
    width = costs.BYTES[recipe.dtype]
    return Memory(
        weights=shape.parameters * width,
        engine=costs.engine(shape, lora, width),
        cache=costs.cache(shape, recipe.max_running, asked, longest, width),
    )


def _learning(recipe: TrainRecipe, shape: Shape, tokens: int) -> Memory:
    """Of updates with micro-batches of up to so many tokens."""
    width = costs.BYTES[recipe.dtype]
    trained = costs.trained(shape, recipe.lora, width)
    kept = costs.activations(shape, recipe.lora, tokens, width)
    return Memory(shape.parameters * width, gradients=trained, optimiser=2 * trained, activations=kept)


def _lost(optim: OptimConfig, dtype: str) -> float | None:
    """Weights that a step of the learning rate cannot move: it is less than half the distance to the next number."""
    return None if dtype == "float32" else 4 * optim.lr / torch.finfo(getattr(torch, dtype)).eps


def _time(sketch: Sketch, recipe: Recipe, rate: float, left: float) -> dict[str, Cost]:
    """What is left to do, on this CPU or on one of each GPU; empty if a shape or the device's rate is not known."""
    kind = torch.device(recipe.device).type
    if not sketch.passes or any(shape is None for _, shape in sketch.passes):
        return {}
    rates = {"here": rate} if kind == "cpu" else {}
    if kind == "cuda":
        rates = {name: gpu.single if recipe.dtype == "float32" else gpu.half for name, gpu in GPUS.items()}

    def seconds(by: float, expected: bool) -> float | None:
        use = UTILISATION[kind]
        each = [one.seconds(shape, by, use, expected=expected) for one, shape in sketch.passes if shape is not None]
        return None if None in each else left * sum(value for value in each if value is not None)

    return {name: Cost(seconds(by, False) or 0.0, seconds(by, True)) for name, by in rates.items()}


def _figures(stage: Stage) -> dict[str, int]:
    manifest = stage.manifest or {}
    return {name.replace("_", " "): value for name, value in manifest.get("figures", {}).items()}


def _done(stage: Stage, sketch: Sketch) -> float:
    """The share of a started stage that is done, by the rows of what it writes as it goes."""
    steps = sketch.batch.get("steps") or sketch.batch.get("updates")
    for name, total in (("metrics.jsonl", steps), ("samples.jsonl", sketch.batch.get("samples"))):
        if total and (stage.folder / name).is_file():
            return min(1.0, len(store.read_jsonl(stage.folder / name)) / total)
    return 0.0
