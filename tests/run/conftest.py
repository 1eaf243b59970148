"""A run that takes a second: a random model of a few thousand parameters and a task that luck can solve."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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

SETTINGS = {
    "rollout.prompts_per_step": 4,
    "rollout.samples_per_prompt": 4,
    "rollout.max_new_tokens": 12,
    "optim.lr": 0.01,
    "steps": 6,
    "eval.every": 3,
    "eval.problems": 4,
    "eval.samples": 2,
    "checkpoint.every": 2,
    "threads": 1,
}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from reckon.data.micro import build_tokenizer
    from reckon.models.load import save_model

    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_model(Qwen2ForCausalLM(config), tokenizer, folder)
    return folder


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "even.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def arguments(model_folder: Path, plugin: Path) -> Callable[..., list[str]]:
    """The command line of the run, with settings changed: ``arguments(out, steps=4)``."""

    def make(out: Path, **changes: Any) -> list[str]:
        settings = {"model": model_folder, "task.kind": "even", **SETTINGS}
        settings |= {name.replace("__", "."): value for name, value in changes.items()}
        pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        return ["run", "r1-zero", "--out", str(out), "--plugin", str(plugin), *pairs]

    return make


@pytest.fixture
def copy_of() -> Callable[[Path, Path], Path]:
    return lambda source, target: Path(shutil.copytree(source, target))
