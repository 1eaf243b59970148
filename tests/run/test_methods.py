"""What must hold for every published method: the 20 steps on record, and gradients that no split changes."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import distributed, multiprocessing

from reckon.algorithms.base import Algorithm
from reckon.algorithms.batch import Batch
from reckon.core.records import Problem, Rollout, Verdict
from reckon.core.stop import Stop
from reckon.core.store import read_jsonl
from reckon.learn.forward import Policy
from reckon.learn.learner import Learner, OptimConfig
from reckon.learn.packing import padded
from reckon.run import build
from reckon.run.kinds import RLRecipe
from reckon.run.progress import Lines
from reckon.run.recipe import read_recipe
from reckon.run.runner import Run
from reckon.run.shipped import method_names
from tests.run.replay import ROLES, Replay

GOLDEN = Path(__file__).parent / "golden" / "methods.json"
"""Losses and gradient norms by method, from torch 2.13.0 on an AVX-512 CPU; RECKON_WRITE_GOLDEN=1 writes them anew."""

STEPS = 20
SETTINGS = [
    f"steps={STEPS}", f"eval.every={STEPS}", "eval.problems=1", "eval.samples=1", f"checkpoint.every={STEPS}",
    "rollout.prompts_per_step=2", "rollout.samples_per_prompt=4", "rollout.max_new_tokens=8", "optim.lr=2e-5",
    "optim.warmup_steps=0", "threads=1",
]  # fmt: skip

SHORT = {
    "dr-grpo": ["algorithm.constant=64", "algorithm.minibatches=2"],
    "vapo": ["algorithm.lam_alpha=0.5", "algorithm.critic.pretrain_steps=2", "algorithm.minibatches=2"],
    "vc-ppo": ["algorithm.critic.pretrain_steps=2"],
    "dapo": ["algorithm.minibatches=2"],
    "r1": ["algorithm.minibatches=2", "algorithm.kl.reference.every=8"],
    "cppo": ["algorithm.min_advantage=0.7"],
}
"""What published sizes become where a step has eight short samples."""


def recipe_of(method: str) -> RLRecipe:
    recipe = read_recipe("r1-zero", [f"preset={method}", *SETTINGS, *SHORT.get(method, [])])
    assert isinstance(recipe, RLRecipe)
    return recipe


@pytest.mark.parametrize("method", method_names())
def test_twenty_steps_are_those_on_record(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(method)
    monkeypatch.setattr(build, "Rollouts", lambda sampler, *rest, **more: Replay(sampler, recipe.reward))
    lines = Lines(Console(quiet=True))
    Run("r1-zero", recipe, tmp_path / "run", "reckon run r1-zero", [], Stop(), lines).execute()
    rows = list(read_jsonl(tmp_path / "run" / "stages" / "01-train" / "metrics.jsonl"))
    found = {name: [row.get(name) for row in rows] for name in ("loss", "grad_norm")}
    if os.environ.get("RECKON_WRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        record = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        record[method] = {k: [x if x is None else float(f"{x:.7g}") for x in values] for k, values in found.items()}
        GOLDEN.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())[method]
    for name, values in expected.items():
        largest = max(abs(value) for value in values if value is not None)
        for step, (value, reference) in enumerate(zip(found[name], values, strict=True), 1):
            # Rounding differs between machines and grows over the steps; a wrong formula differs by far more.
            near = reference if reference is None else pytest.approx(reference, rel=1e-2, abs=1e-2 * largest + 1e-6)
            assert value == near, f"{name} of step {step}"


# ------------------------------------------------------------------------------------------------ gradients


def rollouts_of(groups: int = 4, seed: int = 0, equal: bool = False) -> list[Rollout]:
    """Random groups with every role and unequal lengths; ``equal``: all of a reward whose mean is not exact."""
    rng = random.Random(seed)
    found = []
    for group in range(groups):
        prompt = [rng.randrange(1, 64) for _ in range(rng.randint(2, 9))]
        for sample, role in enumerate(ROLES):
            ids = [rng.randrange(1, 64) for _ in range(rng.randint(2, 20))]
            right = float(sample == 0 or (sample > 1 and rng.random() < 0.5))
            found.append(
                Rollout(
                    "toy",
                    Problem(f"p{group}", "?", None),
                    sample,
                    "?",
                    prompt,
                    "",
                    ids,
                    [-rng.random() * 5 for _ in ids],
                    "length" if sample == 3 and not equal else "stop",
                    0,
                    role=role,
                    verdict=Verdict(right),
                    reward=0.1 if equal else right + 0.1 * rng.random(),
                )
            )
    return found


def credited(algorithm: Algorithm, model: Any, rollouts: list[Rollout], noise: float = 0.3) -> Batch:
    """A batch as the training loop makes it, ``noise`` nats off-policy, so that ratios and clips are at work."""
    batch = algorithm.prepare(Batch.of(rollouts))
    if not len(batch):
        return batch
    policy = Policy(copy.deepcopy(model))
    logp_S = Learner(policy, OptimConfig(), steps=1).measure(batch).need("logp_S")
    random_S = torch.randn(len(logp_S), generator=torch.Generator().manual_seed(0))
    batch.logp_old_S = batch.logp_roll_S = logp_S + noise * random_S
    batch.logp_ref_S = logp_S - 0.1 * (noise > 0)
    if algorithm.needs.critic:
        batch.value_S = torch.rand(len(logp_S), generator=torch.Generator().manual_seed(1))
    algorithm.credit(batch, {})
    return batch


def gradients(model: Any, batch: Batch, algorithm: Algorithm, budget: int, layout: Any = None) -> dict[str, Any]:
    """The gradient that one update would apply, before clipping."""
    model = copy.deepcopy(model)
    policy = Policy(model, entropy=algorithm.needs.entropy)
    if layout is not None:
        policy._decode = layout
    learner = Learner(policy, OptimConfig(micro_batch_tokens=budget, grad_clip=1e9, lr=1e-9), steps=1)
    seen: dict[str, torch.Tensor] = {}
    learner.optimizer.step = lambda: seen.update(  # type: ignore[method-assign, assignment]
        {name: p.grad.clone() for name, p in model.named_parameters()}
    )
    learner.update(copy.deepcopy(batch), algorithm)
    return seen


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal to six digits of the largest gradient."""
    largest = max(value.abs().max().item() for value in other.values())
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], atol=1e-6 * largest, rtol=0.0)


@pytest.fixture
def model(tiny_model: Callable[..., Any]) -> Any:
    """In double precision, but for norms and rotations, so that equal gradients are equal to six digits."""
    return tiny_model().double()


@pytest.mark.parametrize("method", method_names())
def test_no_split_and_no_layout_changes_a_gradient(method: str, model: Any) -> None:
    algorithm = recipe_of(method).algorithm
    batch = credited(algorithm, model, rollouts_of())
    whole = gradients(model, batch, algorithm, budget=100_000)
    assert any(value.abs().max() > 1e-4 for value in whole.values())
    tokens = sum(map(len, batch.prompts)) + len(batch.row_S)
    for budget, layout in ((tokens // 2, None), (1, None), (100_000, padded), (tokens // 3, padded)):
        same(gradients(model, batch, algorithm, budget, layout), whole)


def test_two_ranks_apply_the_gradient_of_one(model: Any, tmp_path: Path) -> None:
    algorithms = {method: recipe_of(method).algorithm for method in method_names()}
    batches = {method: credited(algorithm, model, rollouts_of()) for method, algorithm in algorithms.items()}
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(rank, str(tmp_path), model, algorithms, batches)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    for rank in range(2):
        found = torch.load(tmp_path / f"rank-{rank}.pt")
        for method, algorithm in algorithms.items():
            same(found[method], gradients(model, batches[method], algorithm, budget=64))


def _rank(rank: int, folder: str, model: Any, algorithms: dict[str, Algorithm], batches: dict[str, Batch]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    found = {method: gradients(model, batches[method], algorithms[method], budget=64) for method in algorithms}
    torch.save(found, Path(folder) / f"rank-{rank}.pt")
    distributed.destroy_process_group()


GROUPED = [name for name in method_names() if recipe_of(name).algorithm.needs.group]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", GROUPED)
def test_groups_of_equal_rewards_teach_exactly_nothing(method: str, dtype: torch.dtype, model: Any) -> None:
    algorithm = recipe_of(method).algorithm
    rollouts = rollouts_of(equal=True)
    for rollout in rollouts:
        rollout.verdict = Verdict(0.0)
    model = model.to(dtype)
    batch = credited(algorithm, model, rollouts, noise=0.0)
    for value in gradients(model, batch, algorithm, budget=100_000).values():
        assert torch.count_nonzero(value) == 0


@pytest.mark.parametrize("method", GROUPED)
def test_groups_never_mix(method: str, model: Any) -> None:
    algorithm = recipe_of(method).algorithm
    if getattr(algorithm, "whiten", None):
        pytest.skip("this method normalises over the batch on purpose")
    algorithm = algorithm.model_copy(update={"scale_live_groups": False} if method == "gpg" else {})
    rollouts = rollouts_of(groups=3)
    together = credited(algorithm, model, rollouts)
    columns = [name for name in ("advantage_S", "sampled_S") if getattr(together, name) is not None]
    for group in range(3):
        alone = credited(algorithm, model, [r for r in rollouts if r.problem.id == f"p{group}"], noise=0.0)
        for name in columns:
            mine_S = together.need(name)[(together.group_N == group)[together.row_S]]
            if algorithm.needs.reference is None or name == "sampled_S":
                torch.testing.assert_close(mine_S, alone.need(name))
        assert [alone.responses[k] for k in range(len(alone))] == [
            together.responses[k] for k in (together.group_N == group).nonzero().flatten().tolist()
        ]


@pytest.mark.parametrize("method", method_names())
def test_prompts_and_pads_carry_no_loss_and_the_end_of_text_does(method: str, model: Any) -> None:
    algorithm = recipe_of(method).algorithm
    batch = credited(algorithm, model, rollouts_of())
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def split_off(decoder: Any, args: Any, kwargs: dict[str, torch.Tensor], out: Any) -> Any:
        out[0].retain_grad()
        seen.append((kwargs["input_ids"], out[0]))

    def layout(decoder: Any, layout: Any) -> torch.Tensor:
        with decoder.register_forward_hook(split_off, with_kwargs=True):
            return padded(decoder, layout)

    gradients(model, batch, algorithm, 100_000, layout)
    # The last token predicts nothing and is not computed.
    bounds = {(*p, *r[:-1]): len(p) for p, r in zip(batch.prompts, batch.responses, strict=True)}
    ends = pads = 0
    for ids_KT, hidden_KTD in seen:
        for ids_T, grad_T in zip(ids_KT.tolist(), hidden_KTD.grad.abs().sum(-1), strict=True):
            text = max((text for text in bounds if text == tuple(ids_T[: len(text)])), key=len)
            first, last = bounds[text] - 1, len(text) - 1
            assert torch.count_nonzero(grad_T[:first]) == 0, "a prompt's logits"
            assert torch.count_nonzero(grad_T[last + 1 :]) == 0, "a pad's logits, or those after the end"
            ends, pads = ends + int(grad_T[last] != 0), pads + len(ids_T) - len(text)
    assert ends > 0
    assert pads > 0
