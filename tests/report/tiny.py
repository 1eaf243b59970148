"""A pipeline of every kind of stage, run for real in seconds: a random model and a task that luck can solve."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from reckon.tasks.registry import TASKS

PLUGIN = """
from reckon.tasks import Problem, Task, Verdict

class Even(Task):
    kind = "even"

    def problems(self, split):
        return [Problem(f"{split}:{n}", f"Write {n} signs.", n) for n in range(12)]

    def verify(self, problem, response):
        even = len(response) % 2 == problem.gold % 2
        return Verdict(float(even), "correct" if even else "wrong", str(len(response)))
"""

RECIPE = """
kind: pipeline
threads: 1
template: micro
stages:
  zero:
    kind: rl
    model: {model}
    task: {{kind: even}}
    steps: 3
    rollout: {{prompts_per_step: 4, samples_per_prompt: 4, max_new_tokens: 12}}
    optim: {{lr: 0.01}}
    eval: {{every: 3, problems: 4, samples: 2}}
  zero-samples:
    kind: sample
    model: zero
    task: {{kind: even}}
    problems: 12
    samples: 4
    max_new_tokens: 12
    temperature: 1.0
    top_p: 1.0
  cold:
    kind: curate
    data: [zero-samples]
    operations: [{{kind: correct}}, {{kind: dedup}}, {{kind: cap, max: 2}}]
  cold-sft:
    kind: sft
    model: {model}
    data: [cold]
    epochs: 1
    batch: 4
    heldout: 0.2
  pairs:
    kind: curate
    data: [zero-samples]
    operations: [{{kind: pairs, min_difference: 0.5, max: 2}}]
  judge:
    kind: reward
    model: {model}
    data: [pairs]
    batch: 4
    heldout: 0.3
    reads: response
  mean:
    kind: merge
    models: [zero, cold-sft]
  table:
    kind: evaluate
    models: [{model}, zero, cold-sft, mean]
    tasks: {{even: {{kind: even}}, again: {{kind: even}}}}
    problems: 6
    samples: 2
    max_new_tokens: 12
"""


def tiny_pipeline(base: Path) -> Path:
    """The run directory of the pipeline below ``base``; made on the first call. Tests that change it copy it first."""
    folder = base / "tiny-pipeline"
    if not folder.exists():
        folder.mkdir()
        (folder / "even.py").write_text(PLUGIN)
        (folder / "r1.yaml").write_text(RECIPE.format(model=_model(folder / "base")))
        reckon("run", folder / "r1.yaml", "--plugin", folder / "even.py", "--out", folder / "run")
        # Other tests have a task of that name too.
        del TASKS["even"]
    return folder / "run"


def reckon(*arguments: str | Path, code: int = 0) -> str:
    """Run a command and return what it printed; it must leave with ``code``."""
    from reckon.cli import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=code != 0)
    assert result.exit_code == code, result.output
    return result.stdout


def _model(folder: Path) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from reckon.data.micro import build_tokenizer
    from reckon.models.load import save_model

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    save_model(Qwen2ForCausalLM(config), tokenizer, folder)
    return folder
