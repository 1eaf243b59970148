"""The plan of a run: arithmetic worked by hand, sizes measured on real objects, and what it says of a half-done run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from reckon.algorithms.batch import Batch
from reckon.cli import app
from reckon.core import store
from reckon.core.errors import DataError
from reckon.engine.base import Request, Sampling
from reckon.engine.compiled import CompiledDecoder
from reckon.engine.direct import DirectDecoder
from reckon.engine.native import NativeEngine
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, OptimConfig
from reckon.models.load import load_model, save_model
from reckon.models.lora import LoraConfig, add_lora
from reckon.run import costs
from reckon.run.costs import GPUS, Memory, Pass
from reckon.run.pipeline import Pipeline
from reckon.run.plan import StagePlan, plan_of
from reckon.run.plan_text import plan_comments
from reckon.run.recipe import read_recipe, stages_of
from reckon.run.shapes import PUBLISHED, Shape, shape_of
from reckon.run.shipped import recipe_names

RATE = 1e9

PIPELINE = """
kind: pipeline
template: micro
threads: 1
stages:
  zero:
    kind: rl
    model: {model}
    task: {{kind: countdown}}
    steps: 10
    rollout: {{prompts_per_step: 4, samples_per_prompt: 8, max_new_tokens: 50}}
    algorithm: {{epochs: 2, minibatches: 4, kl: {{coef: 0.01}}}}
    eval: {{every: 4, problems: 5, samples: 2}}
  samples:
    kind: sample
    model: zero
    task: {{kind: countdown}}
    problems: 30
    samples: 4
    max_new_tokens: 60
  good:
    kind: curate
    data: [samples]
    operations: [{{kind: correct}}, {{kind: cap, max: 3}}, {{kind: limit, rows: 80}}]
  sft:
    kind: sft
    model: {model}
    data: [good]
    epochs: 3
    batch: 32
    heldout: 0.1
    max_tokens: 55
"""

SEARCH = """
kind: sample
model: {model}
template: micro
task: {{kind: countdown}}
problems: 30
samples: 4
max_new_tokens: 60
search: {search}
"""

TINY = Shape(
    vocabulary=10, hidden=4, intermediate=6, layers=2, heads=2, kv_heads=1, head_width=2, context=64, biases=True
)


@pytest.fixture
def pipeline(tmp_path: Path, model_folder: Path) -> Pipeline:
    return made(tmp_path, PIPELINE.format(model=model_folder))


def made(folder: Path, text: str, *settings: str) -> Pipeline:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return Pipeline.of(stages_of(read_recipe(str(path), list(settings))), folder / "run")


def planned(pipeline: Pipeline) -> dict[str, StagePlan]:
    return {stage.name: stage for stage in plan_of(pipeline, RATE)}


def tokens(stage: StagePlan) -> dict[str, tuple[int, int | None]]:
    return {one.what: (one.most_tokens, one.expected_tokens) for one, _ in stage.sketch.passes}


# ------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen2.5-14B", 14_770_033_664),
        ("Qwen/Qwen2.5-32B", 32_763_876_352),
        ("meta-llama/Llama-3.1-8B", 8_030_261_248),
        ("meta-llama/Llama-3.3-70B-Instruct", 70_553_706_496),
    ],
)
def test_the_published_models_have_as_many_weights_as_their_cards_say(name: str, parameters: int) -> None:
    assert PUBLISHED[name].parameters == parameters


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_shape_counts_the_weights_of_a_real_model(family: str, tied: bool) -> None:
    config = AutoConfig.for_model(
        family, vocab_size=90, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied, head_dim=8,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    shape = Shape.of_config(json.loads(config.to_json_string(use_diff=False)))
    assert shape is not None
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())


def test_weights_gradients_moments_and_adapters_are_those_of_the_learner(model_folder: Path) -> None:
    shape = shape_of(str(model_folder))
    assert shape is not None
    for lora in (None, LoraConfig(rank=3), LoraConfig(rank=2, targets=("q_proj", "down_proj"))):
        model, _ = load_model(model_folder, "bfloat16")
        if lora is not None:
            add_lora(model, lora, 0)
        learner = Learner(Policy(model), OptimConfig(), steps=1)
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
        learner.optimizer.step()
        gradients = sum(w.grad.nbytes for w in model.parameters() if w.grad is not None)
        moments = sum(v.nbytes for state in learner.optimizer.state.values() for v in state.values() if v.ndim)
        assert costs.trained(shape, lora, 2) == gradients
        assert moments == 2 * gradients


def kept_for_backward(model: Any) -> int:
    """Bytes that PyTorch keeps for the backward pass of four samples of 64 tokens, the weights aside."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}
    policy = Policy(model)
    row_S = torch.arange(4).repeat_interleave(64)
    responses = [[2 + (n + row) % 300 for n in range(64)] for row in range(4)]
    batch = Batch([[1]] * 4, responses, row_S, *(torch.zeros(4),) * 4)

    def pack(value: torch.Tensor) -> torch.Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        outputs = policy(batch)
    assert outputs.logp_S is not None
    return sum(value.untyped_storage().nbytes() for place, value in kept.items() if place not in weights)


@pytest.mark.parametrize(
    ("dtype", "lora"), [("float32", None), ("bfloat16", None), ("float32", LoraConfig()), ("bfloat16", LoraConfig())]
)
def test_activations_are_about_what_pytorch_keeps(model_folder: Path, dtype: str, lora: LoraConfig | None) -> None:
    shape = shape_of(str(model_folder))
    model, _ = load_model(model_folder, dtype)
    if lora is not None:
        add_lora(model, lora, 0)
    assert shape is not None
    planned = costs.activations(shape, lora, 257, costs.BYTES[dtype])
    assert kept_for_backward(model) == pytest.approx(planned, rel=0.2)


@pytest.mark.parametrize("own", [0, 1])
def test_what_the_engine_keeps_stays_below_the_plan(model_folder: Path, own: int, tmp_path: Path) -> None:
    model, tokenizer = load_model(model_folder)
    # Heads of 32, which fill the compiled cache's panels.
    config = type(model.config)(**{**model.config.to_dict(), "num_attention_heads": 2, "num_key_value_heads": 1})
    model = type(model)(config)
    save_model(model, tokenizer, tmp_path)
    shape = shape_of(str(tmp_path))
    assert shape is not None
    engine = NativeEngine(model, tokenizer, max_running=12)
    with torch.inference_mode():
        engine._pick()
    engine._own = engine._own[own:]
    engine.generate([Request(number, [5, 6, 7], Sampling(40), seed=number) for number in range(10)])
    decoder = engine._own[0]
    assert isinstance(decoder, CompiledDecoder | DirectDecoder)
    assert 0.5 < sum(cache.nbytes for cache in decoder._cache) / costs.cache(shape, 12, 10, 40, 4) <= 1
    if isinstance(decoder, CompiledDecoder):
        assert decoder._weights is not None
        matrices = [weights for weights in decoder._weights[1:] if weights.ndim > 2]
        assert sum(matrix.nbytes for matrix in matrices) == pytest.approx(costs.engine(shape, None, 4), rel=0.2)


def test_sizes_by_hand() -> None:
    # One block: q 4x4, k and v 4x2, o 4x4, gate, up and down 4x6; biases 4 + 2 + 2; two norms of 4.
    assert TINY.matrices == 2 * (16 + 8 + 8 + 16 + 3 * 24)
    assert TINY.parameters == 2 * 10 * 4 + 240 + 2 * (8 + 8) + 4
    assert TINY.cached == 2 * 2 * 1 * 2
    assert costs.cache(TINY, max_running=3, samples=100, longest=20, width=2) == 3 * 40 * 8 * 2
    assert costs.cache(TINY, max_running=3, samples=1, longest=60, width=2) == 2 * 64 * 8 * 2
    # 2 (240 + 10 x 4) for the weights, 2 x 2 layers x 4 x length for attention.
    assert TINY.flops(100) == 560 + 1600


def test_a_pass_takes_its_operations_over_the_rate() -> None:
    use = {"train": 0.5, "generate": 0.1}
    train = Pass("training", "train", samples=3, longest=100, mean=10.0)
    assert train.seconds(TINY, 1e6, use, expected=False) == pytest.approx(3 * 300 * 2160 / 0.5e6)
    assert train.seconds(TINY, 1e6, use, expected=True) == pytest.approx(3 * 30 * (560 + 160) / 0.5e6)
    generate = Pass("rollouts", "generate", samples=3, longest=100, most=200)
    assert generate.seconds(TINY, 1e6, use, expected=False) == pytest.approx(200 * 2160 / 0.1e6)
    assert generate.seconds(TINY, 1e6, use, expected=True) is None


def test_memory_is_that_of_the_fullest_moment() -> None:
    update = Memory(weights=10, gradients=10, optimiser=20, cache=5, activations=30, base=10)
    assert update.total == 75
    assert Memory(weights=10, gradients=1, activations=2, base=10).total == 20


# ------------------------------------------------------------------------------------------- arithmetic


def test_the_batches_of_a_pipeline_by_hand(pipeline: Pipeline) -> None:
    plan = planned(pipeline)
    assert [stage.status for stage in plan.values()] == ["new"] * 4
    # 10 steps of 4 x 8; 2 epochs in 4 parts of 8; evaluations of 5 x 2 at 0, 4, 8 and 10.
    assert plan["zero"].sketch.batch == {
        "steps": 10, "prompts": 40, "samples": 320, "updates": 80, "samples of an update": 8,
    }  # fmt: skip
    assert tokens(plan["zero"]) == {
        "rollouts": (16_000, None),
        "reference": (16_000, None),
        "training": (32_000, None),
        "evaluation": (2_000, None),
    }
    assert tokens(plan["samples"]) == {"samples": (30 * 4 * 60, None)}
    # 120 rows at most, 3 of each of 30 problems, then 80.
    assert plan["good"].sketch.batch == {"rows read": 120, "rows left": 80}
    # 3 epochs of 3 batches; 8 of the 80 measured before, and after each epoch; no text above 55 tokens.
    assert plan["sft"].sketch.batch == {"epochs": 3, "examples": 80, "updates": 9, "examples of an update": 32}
    assert tokens(plan["sft"]) == {"training": (240 * 55, None), "held-out loss": (4 * 8 * 55, None)}
    assert plan["sft"].reads["data.0"] == "good (stages/03-good)"
    assert plan["sft"].makes == "model in stages/04-sft"


def test_the_time_and_memory_of_a_stage_by_hand(pipeline: Pipeline, model_folder: Path) -> None:
    zero = planned(pipeline)["zero"]
    shape = shape_of(str(model_folder))
    assert shape is not None
    forward = shape.flops(50)
    train, generate = RATE * 0.5, RATE * 0.4
    seconds = (16_000 + 3 * 32_000) * forward / train + 18_000 * forward / generate
    assert zero.time["here"].most == pytest.approx(seconds)
    assert zero.time["here"].expected is None
    memory = zero.sketch.memory
    assert memory is not None
    size = 4 * shape.parameters
    assert (memory.weights, memory.gradients, memory.optimiser, memory.others) == (size, size, 2 * size, size)
    # 32 rows at once with room for 64, and 100 positions of 2 layers x 2 x 2 heads x 16.
    assert memory.cache == 64 * 100 * 128 * 4


def test_dynamic_sampling_and_a_budget_of_tokens(tmp_path: Path, model_folder: Path) -> None:
    text = PIPELINE.format(model=model_folder)
    settings = ["stages.zero.rollout.dynamic_sampling.max_rounds=3", "stages.zero.max_generated_tokens=5000"]
    zero = planned(made(tmp_path, text, *settings))["zero"]
    assert zero.sketch.batch["samples"] == 960
    # The step that reaches the 5,000 may add 3 rounds of 32 samples.
    assert tokens(zero)["rollouts"] == (5000 + 96 * 50, None)
    assert tokens(zero)["training"] == (2 * (5000 + 96 * 50), None)


def test_a_search_costs_its_budget_for_each_sample(tmp_path: Path, model_folder: Path) -> None:
    search = f"{{method: {{kind: beam}}, scorer: {model_folder}, budget: 250}}"
    [stage] = planned(made(tmp_path, SEARCH.format(model=model_folder, search=search))).values()
    assert tokens(stage) == {"searches": (30 * 4 * 250, None)}
    assert stage.sketch.batch == {"prompts": 30, "samples": 120}
    assert stage.sketch.memory is not None
    assert stage.sketch.memory.others == stage.sketch.memory.weights
    assert stage.sketch.notes == ["what the scorer of the search reads is not in the time"]
    assert stage.reads["search.scorer"] == str(model_folder)


def test_a_mix_is_bounded_by_the_part_that_is_known(tmp_path: Path, model_folder: Path) -> None:
    text = PIPELINE.format(model=model_folder).replace("data: [samples]", "data: [samples, elsewhere.jsonl]")
    mix = "{kind: mix, by: source, shares: {samples: 3, elsewhere.jsonl: 1}}"
    plan = planned(made(tmp_path, text.replace("{kind: limit, rows: 80}", mix)))
    assert plan["good"].sketch.batch == {"rows left": 160}
    assert "elsewhere.jsonl is not on this disk" in plan["good"].sketch.notes[0]
    assert plan["sft"].sketch.batch["examples"] == 160


def test_pretraining_expects_texts_as_long_as_its_corpus_has() -> None:
    [stage] = plan_of(Pipeline.of(stages_of(read_recipe("micro-base", [])), Path("nowhere")), RATE)
    most, expected = tokens(stage)["training"]
    assert most == 3500 * 64 * 512
    assert expected is not None
    assert 30 < expected / (3500 * 64) < 150
    shape = shape_of("micro")
    assert shape is not None
    assert stage.sketch.memory is not None
    assert stage.sketch.memory.weights == 4 * shape.parameters


# ----------------------------------------------------------------------------------------- a half-done run


def start(pipeline: Pipeline, name: str) -> Path:
    stage = pipeline.stage(name)
    assert stage is not None
    pipeline.start(stage)
    return stage.folder


def finish(pipeline: Pipeline, name: str, path: str, figures: dict[str, int]) -> None:
    stage = pipeline.stage(name)
    assert stage is not None
    record = pipeline.start(stage)
    output = {"data": {"path": path, "digest": store.file_digest(pipeline.out / path)}}
    store.write_json(stage.folder / "manifest.json", {**record, "outputs": output, "figures": figures})


def test_a_half_done_run_is_planned_from_where_it_is(pipeline: Pipeline) -> None:
    zero = start(pipeline, "zero")
    store.append_jsonl(zero / "metrics.jsonl", [{"step": step, "tokens": 20.0 + step} for step in (1, 2, 3, 4, 5)])
    plan = planned(pipeline)
    assert (plan["zero"].status, plan["zero"].done) == ("goes on", 0.5)
    # As long as in its last step; what samples from its model expects the same.
    assert tokens(plan["zero"])["rollouts"] == (16_000, 320 * 25)
    assert tokens(plan["samples"])["samples"] == (7_200, 120 * 25)
    whole = planned(made(pipeline.out.parent, (pipeline.out.parent / "recipe.yaml").read_text(), "seed=1"))
    assert whole["zero"].status == "changed"
    assert whole["zero"].changes == ["seed: 0 -> 1"]
    assert plan["zero"].time["here"].most == pytest.approx(whole["zero"].time["here"].most / 2)
    text = plan_comments(list(plan.values()))
    assert "# 1 zero (rl): goes on, 50% done" in text
    assert "rollouts at most 16,000, about 8,000" in text
    assert "changed  seed: 0 -> 1" in plan_comments(list(whole.values()))


def test_finished_stages_cost_nothing_and_their_data_is_counted(tmp_path: Path, model_folder: Path) -> None:
    text = PIPELINE.format(model=model_folder).replace("model: zero", f"model: {model_folder}")
    pipeline = made(tmp_path, text)
    for name, count in (("samples", 120), ("good", 40)):
        stage = pipeline.stage(name)
        assert stage is not None
        path = stage.folder / "data.jsonl"
        store.write_jsonl(path, ({"question": "?", "response": "!", "tokens": 10 + n % 2} for n in range(count)))
        finish(pipeline, name, str(path.relative_to(pipeline.out)), {"rows": count})
    plan = planned(pipeline)
    assert [stage.status for stage in plan.values()] == ["new", "finished", "finished", "new"]
    assert plan["good"].sketch.batch == {"rows": 40}
    assert plan["good"].time == {}
    assert plan["sft"].sketch.batch["examples"] == 40
    assert tokens(plan["sft"])["training"] == (3 * 40 * 11, 3 * 40 * 10.5)
    assert plan["sft"].time["here"].expected is not None


# -------------------------------------------------------------------------------------------------- notes


def notes(*settings: str, recipe: str = "distill-qwen2.5-7b") -> str:
    [stage] = plan_of(Pipeline.of(stages_of(read_recipe(recipe, list(settings))), Path("nowhere")), RATE)
    return "\n".join(stage.sketch.notes)


def test_steps_that_bfloat16_would_swallow_are_announced() -> None:
    said = notes("optim.lr=1e-6")
    assert "a step of optim.lr = 1e-06 is rounded away in bfloat16 weights above 0.00051" in said
    weight = torch.tensor(0.00052, dtype=torch.bfloat16)
    assert weight + 1e-6 == weight
    assert torch.tensor(0.0002, dtype=torch.bfloat16) + 1e-6 != torch.tensor(0.0002, dtype=torch.bfloat16)
    assert "rounded away" not in notes("optim.lr=1e-6", "lora={}")
    assert "rounded away" not in notes("optim.lr=1e-6", "dtype=float32")


def test_what_will_be_refused_or_does_not_fit_is_announced() -> None:
    assert "more than the context of 512: refused" in notes("rollout.max_new_tokens=512", recipe="r1-zero")
    assert "more than the context of 4,096: beyond what the model was made for" in notes()
    assert "more memory than one H100, H800, A100 has" in notes()
    assert "more memory" not in notes("lora={}", "max_tokens=4000", "optim.micro_batch_tokens=4000")


def test_a_model_that_is_not_here_is_not_guessed() -> None:
    [stage] = plan_of(Pipeline.of(stages_of(read_recipe("r1-zero", ["model=nobody/nothing"])), Path("nowhere")), RATE)
    assert stage.sketch.memory is None
    assert stage.time == {}
    assert "no config.json of nobody/nothing is here" in stage.sketch.notes[0]
    assert stage.sketch.batch["samples"] == 10_240


def test_the_shape_of_a_model_in_the_cache_of_the_hub_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path
) -> None:
    monkeypatch.setattr("reckon.run.shapes.try_to_load_from_cache", lambda name, file: str(model_folder / file))
    assert shape_of("some/body") == shape_of(str(model_folder))


@pytest.mark.parametrize("content", ["{", '{"model_type": "qwen2", "num_attention_heads": 2}'])
def test_a_broken_config_is_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"the model's shape cannot be read .*"):
        shape_of(str(tmp_path))


def test_a_broken_data_file_is_found_before_the_run(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "data.jsonl").write_text("not json\n")
    recipe = f"kind: sft\nmodel: {model_folder}\ndata: [{tmp_path / 'data.jsonl'}]\n"
    with pytest.raises(DataError, match=r"data\.jsonl:1: the line is not JSON"):
        plan_of(made(tmp_path, recipe), RATE)


# ------------------------------------------------------------------------------------------- command line


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_can_be_planned_and_read_back(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "matmul_rate", lambda threads: RATE)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["run", name, "--dry-run", "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    path = tmp_path / "copy.yaml"
    path.write_text(done.stdout)
    assert read_recipe(str(path), []) == read_recipe(name, [])
    assert "# The plan" in done.stdout
    assert not (tmp_path / "run").exists()
    answer = CliRunner().invoke(app, ["run", name, "--dry-run", "--json", "--out", str(tmp_path / "run")])
    found = json.loads(answer.stdout)
    assert found["recipe"] == read_recipe(name, []).model_dump(mode="json")
    assert [stage["name"] for stage in found["plan"]] == list(stages_of(read_recipe(name, [])))


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith(("distill-", "r1-qwen"))])
def test_the_real_recipes_have_memory_and_gpu_hours_offline(name: str) -> None:
    plan = plan_of(Pipeline.of(stages_of(read_recipe(name, [])), Path("nowhere")), RATE)
    first = plan[0]
    assert first.sketch.memory is not None
    assert set(first.time) == set(GPUS)
    assert first.time["A100"].most == pytest.approx(first.time["H100"].most * 989 / 312)
    assert "GPU-hours" in plan_comments(plan)


def test_the_rate_of_matrix_products_is_measured_and_the_threads_put_back() -> None:
    before = torch.get_num_threads()
    assert costs.matmul_rate(1, seconds=0.01) > 1e6
    assert torch.get_num_threads() == before
