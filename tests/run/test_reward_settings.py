"""The parts of the reward as recipes set them: what is refused, and one run with all of them."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reckon.core.errors import ConfigError
from reckon.core.store import read_jsonl
from reckon.run.kinds import RLRecipe
from reckon.run.recipe import read_recipe


@pytest.fixture
def restored() -> Iterator[None]:
    """Runs take over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["reward.length.weight=1", "reward.format=0.5"], "a right answer could earn 0.5 and a wrong one 0.5"),
        (["reward.target={mode: exact, low: 1, high: 4000, weight: 0.5}"], "asks for up to 4000 tokens"),
        (["preset=dr-grpo", "reward.length.weight=0.5"], "`zero_reward` with a reward that can be negative"),
        (["preset=dr-grpo", "reward.repetition.weight=0.5"], "`zero_reward` with a reward that can be negative"),
        (["preset=raft", "reward.token_repetition.weight=0.05"], "only algorithm.kind `policy_gradient` gives them"),
        (
            ["preset=ppo", "rollout.samples_per_prompt=1", "reward.length.weight=0.5"],
            "reward.length compares the samples of a prompt",
        ),
        (["preset=ppo", "algorithm.difficulty={}"], "`difficulty` needs an advantage that compares"),
        (["reward.cosine={}"], "a right answer could earn -9 and a wrong one 0.1"),
    ],
)
def test_rewards_that_cannot_work_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_recipe("r1-zero", settings)
    assert words in str(error.value)


def test_a_reward_that_is_never_negative_goes_with_zero_for_truncation() -> None:
    recipe = read_recipe("r1-zero", ["preset=dr-grpo", "algorithm.constant=64", "reward.tags=0.1"])
    assert isinstance(recipe, RLRecipe)
    assert recipe.reward.bounds(right=False)[0] == 0.0


@pytest.mark.usefixtures("restored")
def test_all_parts_together_train(
    tmp_path: Path, arguments: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from reckon.cli import main

    changes = {
        "reward__tags": 0.1,
        "reward__language": "{weight: 0.1, script: cyrillic}",
        "reward__overlong": "{weight: 0.1, share: 0.5}",
        "reward__repetition": "{weight: 0.1, n: 2}",
        "reward__length": "{weight: 0.1, after: 1}",
        "reward__cosine": "{weight: 0.1, right: [1, 0], wrong: [-1, 0], exceeded: -1}",
        "reward__target": "{weight: 0.1, mode: max, low: 2, high: 12, alpha: 0.1}",
        "reward__token_repetition": "{weight: 0.05, n: 2}",
        "algorithm__difficulty": "{}",
    }
    monkeypatch.setattr(sys, "argv", ["reckon", *arguments(tmp_path / "run", steps=2, **changes)])
    with pytest.raises(SystemExit) as leave:
        main()
    assert not leave.value.code
    first, second = read_jsonl(tmp_path / "run" / "stages" / "01-train" / "metrics.jsonl")
    names = {"accuracy", "format", *(name.removeprefix("reward__") for name in changes if name.startswith("reward"))}
    assert set(first["parts"]) == set(first["spread"]) == names - {"length"}
    assert set(second["parts"]) == set(second["spread"]) == names
    assert not second["skipped"]
    assert math.isfinite(second["loss"])
