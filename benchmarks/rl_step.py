"""One RL step of Reckon beside TRL's, generation beside transformers', and both beside the machine's own limit.

    python -m benchmarks.rl_step [--model micro] [--device cpu] [--dtype float32] [--steps 5] [--out FILE]

Everything is the quickstart's: its model, its problems in its order, its reward, 32 prompts x 8 samples at their
natural lengths. Each peer runs in a process of its own, so that peaks of memory do not mix; the learning rate is too
small to move the policy, so that lengths stay what they are. TRL runs ``GRPOTrainer`` with the same loss (``dapo``:
token mean, no KL), one update per batch, its generation by transformers, and without gradient checkpointing, which
would only slow it down. Medians are reported, with least and greatest; the last line printed is one JSON object.

The limit is the rate of a plain matrix product, and the work that of the model's matrices and its attention:

    generation  sum over sampled tokens of   2 P + 4 L A c        (c: tokens the new one sees)
    update      sum over sequences of  3 (2 (P - V) T + 2 V R + 2 L A T^2)   (T: all tokens, R: response tokens)

with P the weights that multiply a token (V of them in the output layer), L layers and A attention width (heads x
head width). The factor 3 is one forward and a backward of twice its cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

NO_LEARNING = 1e-9


@dataclass(frozen=True)
class Work:
    """What a model multiplies: weights per token, those of the output layer among them, layers, attention width."""

    weights: int
    head: int
    layers: int
    attention: int

    @classmethod
    def of(cls, model: Any) -> Work:
        config = model.config
        head = model.get_output_embeddings().weight.numel()
        body = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name)
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return cls(body + head * tied, head, config.num_hidden_layers, config.num_attention_heads * width)

    def generation(self, prompts: Sequence[int], responses: Sequence[int]) -> float:
        """Floating-point operations of sampling these responses, given the lengths of both."""
        total = 0.0
        for prompt, response in zip(prompts, responses, strict=True):
            seen = response * prompt + response * (response - 1) / 2
            total += 2 * self.weights * response + 4 * self.layers * self.attention * seen
        return total

    def update(self, prompts: Sequence[int], responses: Sequence[int]) -> float:
        """Floating-point operations of one forward and backward pass over these sequences."""
        total = 0.0
        for prompt, response in zip(prompts, responses, strict=True):
            length = prompt + response
            dense = 2 * (self.weights - self.head) * length + 2 * self.head * response
            total += 3 * (dense + 2 * self.layers * self.attention * length**2)
        return total


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(reckon: dict[str, Any], trl: dict[str, Any], generation: dict[str, Any], limit: float) -> dict[str, Any]:
    """The ratios (above 1: Reckon is faster; memory below 1: Reckon needs less). ``limit`` in FLOP/s."""

    def middle(values: Sequence[float]) -> float:
        return statistics.median(values)

    return {
        "step_ratio_vs_trl": middle(trl["step_s"]) / middle(reckon["step_s"]),
        "generation_ratio_vs_transformers": middle(generation["reckon_tok_s"])
        / middle(generation["transformers_tok_s"]),
        "peak_memory_ratio_vs_trl": reckon["peak_mb"] / trl["peak_mb"],
        "generation_fraction_of_matmul": middle(reckon["generation_flop_s"]) / limit,
        "update_fraction_of_matmul": middle(reckon["update_flop_s"]) / limit,
    }


# ----------------------------------------------------------------------------------------------- the workers


def _setting(options: argparse.Namespace) -> tuple[Any, Any, Any, Any]:
    """The quickstart's recipe, model, tokenizer and source of rollouts."""
    import torch

    from reckon.engine.base import Sampling
    from reckon.engine.native import NativeEngine
    from reckon.models.load import end_ids, load_model
    from reckon.models.template import PromptTemplate
    from reckon.rollout.collect import Rollouts
    from reckon.rollout.sample import Sampler
    from reckon.run.recipe import read_recipe
    from reckon.tasks.registry import build_task

    recipe: Any = read_recipe("r1-zero", [])
    torch.set_num_threads(recipe.thread_count)
    model, tokenizer = load_model(options.model, options.dtype, options.device)
    sampling = Sampling(recipe.rollout.max_new_tokens, recipe.rollout.temperature, stop_ids=end_ids(model, tokenizer))
    engine = NativeEngine(model, tokenizer, max_running=recipe.max_running)
    sampler = Sampler(build_task(recipe.task), engine, tokenizer, PromptTemplate(recipe.template), sampling)
    return recipe, model, tokenizer, Rollouts(sampler, recipe.rollout, recipe.reward, recipe.seed)


def _matmul(options: argparse.Namespace) -> dict[str, Any]:
    """The rate of a square matrix product in FLOP/s."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    size, dtype = (2048 if options.device == "cpu" else 8192), getattr(torch, options.dtype)
    a, b = (torch.randn(size, size, dtype=dtype, device=options.device) for _ in range(2))
    rates = []
    for _ in range(12):
        start = time.perf_counter()
        (a @ b)[0, 0].item()
        rates.append(2 * size**3 / (time.perf_counter() - start))
    return {"flop_s": rates[2:]}


def _reckon(options: argparse.Namespace) -> dict[str, Any]:
    """Steps of Reckon: rollout, verdicts and rewards, credit, update."""
    from reckon.algorithms.batch import Batch
    from reckon.learn.learner import Learner

    recipe, model, _, source = _setting(options)
    work = Work.of(model)
    optim = recipe.optim.model_copy(update={"lr": NO_LEARNING})
    learner = Learner(model, optim, steps=options.steps + 1, temperature=recipe.rollout.temperature)
    found: dict[str, Any] = {"step_s": [], "generation_tok_s": [], "update_tok_s": [], "tokens": []}
    found |= {"generation_flop_s": [], "update_flop_s": []}
    for step in range(1, options.steps + 2):
        start = time.perf_counter()
        rollouts = source.collect(step, lambda: None)
        generated = time.perf_counter()
        batch = Batch.of(rollouts)
        recipe.algorithm.credit(batch)
        report = learner.update(batch, recipe.algorithm)
        end = time.perf_counter()
        if step == 1:
            continue
        lengths = [len(r.prompt_ids) for r in rollouts], [len(r.response_ids) for r in rollouts]
        live = recipe.algorithm.active(batch).tolist()
        live_lengths = tuple([length for length, used in zip(each, live, strict=True) if used] for each in lengths)
        found["step_s"].append(end - start)
        found["tokens"].append(sum(lengths[1]) / len(lengths[1]))
        found["generation_tok_s"].append(sum(lengths[1]) / (generated - start))
        found["update_tok_s"].append(report["update_tokens"] / (end - generated))
        found["generation_flop_s"].append(work.generation(*lengths) / (generated - start))
        found["update_flop_s"].append(work.update(*live_lengths) / (end - generated))
    return found


def _trl(options: argparse.Namespace) -> dict[str, Any]:
    """Steps of TRL's GRPOTrainer on the same problems."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    recipe, model, tokenizer, source = _setting(options)
    steps, prompts = options.steps + 1, recipe.rollout.prompts_per_step
    problems = [problem for step in range(1, steps + 1) for problem in source.order.at(step, prompts)]
    by_id = {problem.id: problem for problem in problems}
    template, task = source.sampler.template, source.sampler.task
    rows = [{"prompt": template.render(p.question, tokenizer)[0], "problem": p.id} for p in problems]
    ends, tokens = [], []

    def reward(completions: list[str], problem: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)) / len(completion_ids))
        judged = zip(completions, problem, strict=True)
        return [task.verify(by_id[name], text).score or 0.0 for text, name in judged]

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=prompts * recipe.rollout.samples_per_prompt // options.trl_accumulation,
            gradient_accumulation_steps=options.trl_accumulation,
            num_generations=recipe.rollout.samples_per_prompt,
            max_completion_length=recipe.rollout.max_new_tokens,
            temperature=recipe.rollout.temperature,
            beta=0.0,
            loss_type="dapo",
            learning_rate=NO_LEARNING,
            max_steps=steps,
            shuffle_dataset=False,
            gradient_checkpointing=False,
            bf16=options.dtype == "bfloat16",
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
    return {"step_s": [b - a for a, b in pairwise(ends)], "tokens": tokens[1:]}


def _generation(options: argparse.Namespace) -> dict[str, Any]:
    """The 256 rows of a step through the engine and through transformers' generate, in turn."""
    import torch

    recipe, model, tokenizer, source = _setting(options)
    tokenizer.padding_side = "left"
    count = recipe.rollout.samples_per_prompt
    ends = set(source.sampler.sampling.stop_ids)

    def transformers_tokens(step: int) -> int:
        problems = source.order.at(step, recipe.rollout.prompts_per_step)
        texts = [source.sampler.template.render(p.question, tokenizer)[0] for p in problems for _ in range(count)]
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
        torch.manual_seed(step)
        output = model.generate(
            **inputs,
            do_sample=True,
            top_k=0,
            temperature=recipe.rollout.temperature,
            max_new_tokens=recipe.rollout.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, inputs["input_ids"].shape[1] :].tolist()
        return sum(next((i + 1 for i, token in enumerate(row) if token in ends), len(row)) for row in output)

    def reckon_tokens(step: int) -> int:
        problems = source.order.at(step, recipe.rollout.prompts_per_step)
        return sum(len(r.response_ids) for r in source.sampler.ask(problems, count, ("benchmark", step)))

    found: dict[str, Any] = {"reckon_tok_s": [], "transformers_tok_s": []}
    for step in range(1, options.steps + 2):
        for name, sample in (("reckon_tok_s", reckon_tokens), ("transformers_tok_s", transformers_tokens)):
            start = time.perf_counter()
            tokens = sample(step)
            if step > 1:
                found[name].append(tokens / (time.perf_counter() - start))
    return found


WORKERS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "matmul": _matmul,
    "reckon": _reckon,
    "trl": _trl,
    "generation": _generation,
}

# ------------------------------------------------------------------------------------------------ the parent


def _in_process_of_its_own(worker: str, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.rl_step", "--worker", worker, "--out", str(result)]
        for name in ("model", "device", "dtype", "steps", "trl_accumulation"):
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
        subprocess.run(command, check=True, stdout=sys.stderr)
        found: dict[str, Any] = json.loads(result.read_text())
    print(f"{worker}: {json.dumps(found)}", file=sys.stderr)
    return found


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--steps", type=int, default=5, help="counted steps, after one of warm-up")
    parser.add_argument("--trl-accumulation", type=int, default=1, help="parts in which TRL takes the batch")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file too")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = _parse()
    if options.worker:
        found = WORKERS[options.worker](options)
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        options.out.write_text(json.dumps(found))
        return
    try:
        import trl
    except ImportError:
        sys.exit("This benchmark compares with TRL, which is not installed. Run: make bench")
    import torch
    import transformers

    before = _in_process_of_its_own("matmul", options)["flop_s"]
    reckon = _in_process_of_its_own("reckon", options)
    other = _in_process_of_its_own("trl", options)
    generation = _in_process_of_its_own("generation", options)
    again = _in_process_of_its_own("reckon", options)
    after = _in_process_of_its_own("matmul", options)["flop_s"]
    for name, values in again.items():
        reckon[name] = max(reckon[name], values) if name == "peak_mb" else reckon[name] + values
    rows = {"reckon": reckon, "trl": other, "generation": generation}
    raw = {
        f"{peer}_{name}": spread(values) if isinstance(values, list) else values
        for peer, row in rows.items()
        for name, values in row.items()
    }
    result = {
        **summarise(reckon, other, generation, statistics.median(before + after)),
        "matmul_flop_s": spread(before + after),
        **raw,
        "date": date.today().isoformat(),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, device {options.device}",
        "model": options.model,
        "dtype": options.dtype,
        "versions": {"torch": str(torch.__version__), "transformers": transformers.__version__, "trl": trl.__version__},
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
