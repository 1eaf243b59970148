"""One RL step of Reckon beside TRL's, generation beside transformers', and both beside the machine's own limit.

    python -m benchmarks.rl_step [--model micro] [--device cpu] [--steps 3] [--out FILE]
    python -m benchmarks.rl_step --device cuda --random-qwen2-0.5b

Everything is the quickstart's: model, problems in their order, reward, 32 prompts x 8 samples at their natural lengths.
Reckon's step is that of its training stage, with the records it writes; TRL's is ``GRPOTrainer``'s with the same loss
(``dapo``: token mean, no KL), one update per batch and generation by transformers. A step lasts from one step's end to
the next one's. Both peers take steps too small to move the policy, so that lengths stay what they are, and the first
step of a process is not counted. The peers take turns, each time in a process of its own with all cores, so that peaks
of memory do not mix and a slow minute of the machine meets both. The last line printed is one JSON object.

The limit is the rate of a plain square matrix product (the best size), and the work that of the model's matrices and
its attention, padding and prompts' prefill not counted:

    generation  sum over sampled tokens of   2 P + 4 L A c        (c: tokens the new one sees)
    update      sum over sequences of  3 (2 (P - V) T + 2 V R + 2 L A T^2)   (T: all tokens, R: response tokens)

with P the weights that multiply a token (V of them in the output layer), L layers and A attention width (heads x
head width). The factor 3 is one forward and a backward of twice its cost. Sequences without advantage need no update
and count nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reckon.core.records import Problem, Rollout
    from reckon.rollout.collect import Collection, Rollouts
    from reckon.run.kinds import RLRecipe

Figures = dict[str, list[float]]
"""What a worker measured: one value for each counted step."""

NO_LEARNING = 1e-9
"""The learning rate of both peers."""

ROUNDS = 2

TRL_PARTS = {"micro": (1, 4), "0.5b": (4, 16)}
"""TRL updates on its batch in one of these numbers of parts, by the model's size: whichever is faster here counts."""


@dataclass(frozen=True)
class Work:
    """What a model multiplies: weights per token, those of the output layer among them, layers, attention width."""

    weights: int
    head: int
    layers: int
    attention: int

    @classmethod
    def of(cls, model: Any) -> Work:
        config, head = model.config, model.get_output_embeddings().weight
        matrices = {id(p): p.numel() for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name}
        matrices[id(head)] = head.numel()
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        attention = config.num_attention_heads * width
        return cls(sum(matrices.values()), head.numel(), config.num_hidden_layers, attention)

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


def joined(rounds: Sequence[Figures]) -> Figures:
    """The figures of several rounds as one."""
    return {name: [value for figures in rounds for value in figures[name]] for name in rounds[0]}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(matmul: Figures, reckon: Figures, trl: Figures, generation: Figures) -> dict[str, float]:
    """The ratios of medians (speed above 1: Reckon is faster; memory, of the peaks, below 1: Reckon needs less)."""
    limit = max(map(statistics.median, matmul.values()))

    def ratio(above: Sequence[float], below: Sequence[float]) -> float:
        return statistics.median(above) / statistics.median(below)

    return {
        "step_ratio_vs_trl": ratio(trl["step_s"], reckon["step_s"]),
        "generation_ratio_vs_transformers": ratio(generation["reckon_tok_s"], generation["transformers_tok_s"]),
        "peak_memory_ratio_vs_trl": max(reckon["peak_mb"]) / max(trl["peak_mb"]),
        "generation_fraction_of_matmul": statistics.median(generation["reckon_gflop_s"]) / limit,
        "update_fraction_of_matmul": statistics.median(reckon["update_gflop_s"]) / limit,
    }


# ------------------------------------------------------------------- the workers, each in a process of its own


class Clock:
    """When steps ended, and the most memory so far: of the process in main memory, of its tensors on a GPU."""

    def __init__(self, device: str) -> None:
        self.cuda = device.startswith("cuda")
        self.ends: list[float] = []
        self.peak_mb = 0.0

    def tick(self) -> None:
        import torch

        from reckon.stages.metrics import peak_rss_mb

        if self.cuda:
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        self.peak_mb = torch.cuda.max_memory_allocated() / (1 << 20) if self.cuda else peak_rss_mb()

    def steps(self) -> list[float]:
        """Seconds of each step but the first."""
        return [end - start for start, end in pairwise(self.ends)]


def _setting(options: argparse.Namespace) -> tuple[RLRecipe, Any, Any, Rollouts]:
    """The quickstart's recipe, model, tokenizer and source of rollouts."""
    import torch

    from reckon.core.records import Verdict
    from reckon.engine.base import Sampling
    from reckon.engine.native import NativeEngine
    from reckon.models.load import end_ids, load_model
    from reckon.models.template import PromptTemplate
    from reckon.rollout.collect import Rollouts
    from reckon.rollout.sample import Sampler
    from reckon.run.kinds import RLRecipe
    from reckon.run.recipe import read_recipe
    from reckon.tasks.registry import build_task

    recipe = read_recipe("r1-zero", [])
    assert isinstance(recipe, RLRecipe)
    torch.set_num_threads(recipe.thread_count)
    model, tokenizer = load_model(options.model, "bfloat16" if options.random else recipe.dtype, options.device)
    task = build_task(recipe.task)
    if options.random:
        # A random model is never right, and a group without spread needs no update: every other response is called
        # right instead, so that both peers update on all of them.
        turns = iter(range(sys.maxsize))
        task.verify = lambda problem, response: Verdict(float(next(turns) % 2))  # type: ignore[method-assign]
    sampling = Sampling(recipe.rollout.max_new_tokens, recipe.rollout.temperature, stop_ids=end_ids(model, tokenizer))
    engine = NativeEngine(model, tokenizer, max_running=recipe.max_running)
    sampler = Sampler(task, engine, tokenizer, PromptTemplate(recipe.template), sampling)
    return recipe, model, tokenizer, Rollouts(sampler, recipe.rollout, recipe.reward, recipe.seed)


def measure_matmul(options: argparse.Namespace) -> Figures:
    """GFLOP/s of square matrix products, by size."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    dtype = torch.bfloat16 if options.random else torch.float32
    found: Figures = {}
    for size in (1024, 2048) if options.device == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, dtype=dtype, device=options.device) for _ in range(2))
        rates = []
        for _ in range(20):
            start = time.perf_counter()
            (a @ b)[0, 0].item()
            rates.append(2e-9 * size**3 / (time.perf_counter() - start))
        found[str(size)] = rates[5:]
    return found


def measure_reckon(options: argparse.Namespace) -> Figures:
    """Steps of Reckon's own training stage: rollout, verdicts, rewards, credit, update, records."""
    from reckon.cli import share_cores

    share_cores()
    from reckon.core.events import EventLog
    from reckon.core.stop import Stop
    from reckon.learn.forward import Policy
    from reckon.learn.learner import Learner
    from reckon.stages.train import Train

    recipe, model, tokenizer, source = _setting(options)
    steps, clock = options.steps + 1, Clock(options.device)
    rollouts: list[list[Rollout]] = []
    rows: list[dict[str, Any]] = []

    class Watched:
        def collect(self, step: int, check: Callable[[], None]) -> Collection:
            collected = source.collect(step, check)
            rollouts.append(collected.rollouts)
            return collected

        def save(self) -> dict[str, Any]:
            return source.save()

        def load(self, saved: dict[str, Any]) -> None:
            source.load(saved)

    def progress(row: dict[str, Any]) -> None:
        clock.tick()
        rows.append(row)

    optim = recipe.optim.model_copy(update={"lr": NO_LEARNING})
    with tempfile.TemporaryDirectory() as folder:
        Train(
            folder=Path(folder) / "stage",
            learner=Learner(Policy(model, recipe.rollout.temperature), optim, steps=steps),
            tokenizer=tokenizer,
            algorithm=recipe.algorithm,
            source=Watched(),
            steps=steps,
            seed=recipe.seed,
            events=EventLog(Path(folder) / "events.jsonl"),
            stop=Stop(),
            checkpoint=recipe.checkpoint.model_copy(update={"every": steps}),
            evaluate=lambda step, generated: None,
            eval_every=steps,
            progress=progress,
        ).run()

    rollout_s = [row["seconds"]["generate"] + row["seconds"]["verify"] for row in rows[1:]]
    update_s = [whole - rollout for whole, rollout in zip(clock.steps(), rollout_s, strict=True)]
    work = Work.of(model)
    update_flops = [work.update(*_updated(each, recipe.algorithm)) for each in rollouts[1:]]
    return {
        "step_s": clock.steps(),
        "rollout_s": rollout_s,
        "update_s": update_s,
        "mean_tokens": [row["tokens"] for row in rows[1:]],
        "generated_tok_s": [row["generated_tokens"] / s for row, s in zip(rows[1:], rollout_s, strict=True)],
        "update_tok_s": [row["update_tokens"] / s for row, s in zip(rows[1:], update_s, strict=True)],
        "update_gflop_s": [1e-9 * flops / s for flops, s in zip(update_flops, update_s, strict=True)],
        "peak_mb": [clock.peak_mb],
    }


def _updated(rollouts: list[Rollout], algorithm: Any) -> tuple[list[int], list[int]]:
    """Lengths of the prompts and responses that have an advantage to learn from."""
    from reckon.algorithms.batch import Batch

    batch = Batch.of(rollouts)
    algorithm.credit(batch, {})
    algorithm.weigh(batch)
    live = batch.rows(algorithm.active(batch).nonzero().flatten())
    return [len(prompt) for prompt in live.prompts], [len(response) for response in live.responses]


def measure_trl(options: argparse.Namespace, parts: int) -> Figures:
    """Steps of TRL's GRPOTrainer on the same problems, with the same reward, the batch in ``parts`` parts."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    recipe, model, tokenizer, source = _setting(options)
    rollout, optim, algorithm = recipe.rollout, recipe.optim, recipe.algorithm
    steps, clock = options.steps + 1, Clock(options.device)
    problems = [p for step in range(1, steps + 1) for p in source.order.at(step, rollout.prompts_per_step)]
    template = source.sampler.template
    rows = [{"prompt": template.render(p.question, tokenizer)[0], "problem": p.id} for p in problems]
    reward, mean_tokens = _trl_reward(source, {problem.id: problem for problem in problems})

    class StepEnd(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=rollout.prompts_per_step * rollout.samples_per_prompt // parts,
            gradient_accumulation_steps=parts,
            num_generations=rollout.samples_per_prompt,
            max_completion_length=rollout.max_new_tokens,
            temperature=rollout.temperature,
            beta=0.0,
            epsilon=algorithm.clip_low,
            epsilon_high=algorithm.clip_high,
            loss_type="dapo",
            learning_rate=NO_LEARNING,
            adam_beta1=optim.betas[0],
            adam_beta2=optim.betas[1],
            max_grad_norm=optim.grad_clip,
            max_steps=steps,
            shuffle_dataset=False,
            gradient_checkpointing=False,
            bf16=options.random,
            use_cpu=options.device == "cpu",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[StepEnd()],
        )
        trainer.train()
    return {"step_s": clock.steps(), "mean_tokens": mean_tokens[1:], "peak_mb": [clock.peak_mb]}


def _trl_reward(source: Rollouts, by_id: dict[str, Problem]) -> tuple[Callable[..., list[float]], list[float]]:
    """The recipe's reward as TRL calls one, and a list that gets the mean response length of each batch."""
    from reckon.core.records import Rollout
    from reckon.rollout.sample import judge

    task, mean_tokens = source.sampler.task, list[float]()

    def score(prompt: str, problem: Problem, response: str, ids: list[int]) -> float:
        rollout = Rollout(task.kind, problem, 0, prompt, [], response, ids, logp=[], finish="stop", seed=0)
        [rewarded] = source.reward.score_group(judge([rollout], task), source.config.max_new_tokens)
        return rewarded.reward or 0.0

    def reward(
        prompts: list[str], completions: list[str], completion_ids: list[list[int]], problem: list[str], **_: Any
    ) -> list[float]:
        mean_tokens.append(statistics.mean(map(len, completion_ids)))
        asked = (by_id[name] for name in problem)
        return [score(*row) for row in zip(prompts, asked, completions, completion_ids, strict=True)]

    return reward, mean_tokens


def measure_generation(options: argparse.Namespace) -> Figures:
    """The samples of a step through the engine and through transformers' generate, in turn."""
    import torch

    from reckon.core.seeds import seed_for
    from reckon.engine.base import Request

    recipe, model, tokenizer, source = _setting(options)
    sampler, rollout, work = source.sampler, recipe.rollout, Work.of(model)
    ends = set(sampler.sampling.stop_ids)

    def by_reckon(prompts: list[list[int]]) -> list[int]:
        requests = [Request(i, ids, sampler.sampling, seed_for("benchmark", i)) for i, ids in enumerate(prompts)]
        return [len(completion.token_ids) for completion in sampler.engine.generate(requests)]

    def by_transformers(prompts: list[list[int]]) -> list[int]:
        inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(model.device)
        output = model.generate(
            **inputs,
            do_sample=True,
            top_k=0,
            temperature=rollout.temperature,
            max_new_tokens=rollout.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, inputs["input_ids"].shape[1] :].tolist()
        # After its end a row is padding, which is nobody's work.
        return [next((i + 1 for i, token in enumerate(row) if token in ends), len(row)) for row in output]

    found: Figures = {}
    for step in range(1, options.steps + 2):
        problems = source.order.at(step, rollout.prompts_per_step)
        each = [sampler.template.render(problem.question, tokenizer)[1] for problem in problems]
        prompts = [ids for ids in each for _ in range(rollout.samples_per_prompt)]
        torch.manual_seed(step)
        for name, generate in (("reckon", by_reckon), ("transformers", by_transformers)):
            start = time.perf_counter()
            lengths = generate(prompts)
            seconds = time.perf_counter() - start
            if step > 1:
                flops = work.generation([len(ids) for ids in prompts], lengths)
                found.setdefault(f"{name}_tok_s", []).append(sum(lengths) / seconds)
                found.setdefault(f"{name}_gflop_s", []).append(1e-9 * flops / seconds)
                found.setdefault(f"{name}_mean_tokens", []).append(statistics.mean(lengths))
    return found


def make_random_model(folder: Path) -> None:
    """A model folder with the shape of Qwen2-0.5B and random weights, and the tokenizer of ``micro``."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from reckon.models.load import load_model, save_model

    _, tokenizer = load_model("micro")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    save_model(Qwen2ForCausalLM(config).to(torch.bfloat16), tokenizer, folder)


# ------------------------------------------------------------------------------------------------ the parent


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of ``work`` in a fresh process. This one stays small: a child's peak starts at its size."""
    print(work.__name__.lstrip("_").replace("_", " "), file=sys.stderr)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark: the ratios, then what they were made of."""
    before, trl_parts = _alone(measure_matmul, options), TRL_PARTS["0.5b" if options.random else "micro"]
    turns: list[tuple[Figures, ...]] = []
    for _ in range(ROUNDS):
        trl_turns = [_alone(measure_trl, options, parts) for parts in trl_parts]
        turns.append((_alone(measure_reckon, options), *trl_turns))
    generation = _alone(measure_generation, options)
    matmul = joined([before, _alone(measure_matmul, options)])
    reckon, *trials = (joined(figures) for figures in zip(*turns, strict=True))
    trl = min(trials, key=lambda figures: statistics.median(figures["step_s"]))
    raw = {"matmul_gflop_s": matmul, "reckon": reckon, "generation": generation}
    raw |= {f"trl_in_{parts}": trial for parts, trial in zip(trl_parts, trials, strict=True)}
    return {
        **summarise(matmul, reckon, trl, generation),
        **{part: {name: spread(values) for name, values in figures.items()} for part, figures in raw.items()},
        "model": "random Qwen2-0.5B shape" if options.random else options.model,
        "dtype": "bfloat16" if options.random else "float32",
        "trl_counted": f"trl_in_{trl_parts[trials.index(trl)]}",
        "counted_steps": len(reckon["step_s"]),
        "date": date.today().isoformat(),
        "machine": _machine(options.device),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
    }


def _machine(device: str) -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = f"{os.cpu_count()} cores of {names[0] if names else platform.machine()}"
    return cpu if device == "cpu" else f"{_alone(_gpu, device)}, {cpu}"


def _gpu(device: str) -> str:
    import torch

    return torch.cuda.get_device_name(device)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="micro", help="the model of both peers, in float32")
    parser.add_argument(
        "--random-qwen2-0.5b", dest="random", action="store_true", help="one of random weights instead, in bfloat16"
    )
    parser.add_argument("--device", default="cpu", help="as torch names it")
    parser.add_argument("--steps", type=int, default=3, help=f"counted steps in each of the {ROUNDS} rounds")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file too")
    options = parser.parse_args()
    if options.random and options.device == "cpu":
        parser.error("--random-qwen2-0.5b would take hours on a CPU; give --device cuda")
    return options


def main() -> None:
    options = _parse()
    if find_spec("trl") is None:
        sys.exit("This benchmark compares with TRL, which is not installed. Install it: pip install -e '.[bench]'")
    # Nothing here comes from the hub, and asking it costs TRL time.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with tempfile.TemporaryDirectory() as folder:
        if options.random:
            options.model = folder
            _alone(make_random_model, Path(folder))
        result = measure(options)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
