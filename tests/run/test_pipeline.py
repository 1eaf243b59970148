"""A pipeline of every kind of stage but pretraining, on a random model, through the command line."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError
from reckon.core.store import read_jsonl
from reckon.run.recipe import PipelineRecipe, read_recipe, stages_of

RECIPE = """
kind: pipeline
template: micro
threads: 1
defaults:
  rl:
    task: {{kind: even}}
    rollout: {{prompts_per_step: 4, samples_per_prompt: 4, max_new_tokens: 12}}
    optim: {{lr: 0.01}}
    eval: {{every: 2, problems: 4, samples: 2}}
    checkpoint: {{every: 1}}
    steps: 2
stages:
  zero: {{kind: rl, model: {model}}}
  samples: {{kind: sample, model: zero, task: {{kind: even}}, problems: 8, samples: 4, max_new_tokens: 8}}
  good: {{kind: curate, data: [samples], operations: [{{kind: correct}}, {{kind: cap, max: 2}}]}}
  shots:
    kind: sample
    model: {model}
    task: {{kind: even}}
    problems: 2
    samples: 2
    max_new_tokens: 8
    shots: {{data: good, count: 1}}
  sft: {{kind: sft, model: {model}, data: [good], heldout: 0.2, batch: 4, optim: {{lr: 0.01}}, lora: {{rank: 2}}}}
  pairs: {{kind: curate, data: [samples], operations: [{{kind: pairs, max: 4}}]}}
  helpful: {{kind: reward, model: sft, data: [pairs], reads: response, heldout: 0.3, batch: 4, optim: {{lr: 0.01}}}}
  final:
    kind: rl
    model: sft
    reward_models: {{even: {{model: helpful}}}}
  merged: {{kind: merge, models: [sft, final], weights: [1, 3]}}
  table:
    kind: evaluate
    models: [zero, merged]
    tasks: {{one: {{kind: even}}}}
    problems: 4
    samples: 2
    max_new_tokens: 8
"""


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Runs take over signals; put them back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def reckon(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    """The exit code of a command."""
    from reckon.cli import main

    monkeypatch.setattr(sys, "argv", ["reckon", *map(str, arguments)])
    with pytest.raises(SystemExit) as leave:
        main()
    return int(leave.value.code or 0)


def outputs(out: Path) -> dict[str, str]:
    """The digest of what each stage made."""
    rows = json.loads((out / "lineage.json").read_text())["stages"]
    return {row["name"]: next(iter(row["outputs"].values()))["digest"] for row in rows}


def keys(out: Path) -> dict[str, str]:
    """What each stage was made with and from, hashed."""
    rows = json.loads((out / "lineage.json").read_text())["stages"]
    return {row["name"]: row["key"] for row in rows}


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> Path:
    path = tmp_path / "all.yaml"
    path.write_text(RECIPE.format(model=model_folder))
    return path


@pytest.fixture(scope="module")
def kept() -> dict[str, Path]:
    return {}


@pytest.fixture
def made(kept: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, recipe: Path, plugin: Path) -> Path:
    """An uninterrupted run, made once; tests copy it before they change it."""
    if "run" not in kept:
        out = tmp_path_factory.mktemp("pipeline") / "run"
        command = [sys.executable, "-m", "reckon", "run", str(recipe), "--out", str(out), "--plugin", str(plugin)]
        subprocess.run(command, check=True, timeout=110)
        kept["run"] = out
    return kept["run"]


def test_every_stage_leaves_a_manifest_of_what_it_read_and_made(made: Path) -> None:
    folders = sorted(path.name for path in (made / "stages").iterdir())
    assert folders[0] == "01-zero"
    assert folders[-1] == "10-table"
    for folder in (made / "stages").iterdir():
        manifest = json.loads((folder / "manifest.json").read_text())
        (output,) = manifest["outputs"].values()
        assert (made / output["path"]).exists()
        assert all(each["digest"] for each in manifest["inputs"].values())
    final = json.loads((made / "stages" / "08-final" / "manifest.json").read_text())
    assert {name: each["from"] for name, each in final["inputs"].items()} == {
        "model": "sft",
        "reward_models.even.model": "helpful",
    }
    table = json.loads((made / "stages" / "10-table" / "results.json").read_text())["rows"]
    assert [(row["model"], row["task"]) for row in table] == [("zero", "one"), ("merged", "one")]
    assert table[0]["gain"] is None
    assert table[1]["gain"]["low"] <= table[1]["gain"]["value"] <= table[1]["gain"]["high"]


def test_the_reward_model_and_not_the_verifier_paid_the_final_stage(made: Path) -> None:
    rows = read_jsonl(made / "stages" / "08-final" / "metrics.jsonl")
    assert set(rows[0]["parts"]) == {"model", "format"}


def test_data_sets_opens_what_stages_wrote(made: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    for file in ("02-samples/samples.jsonl", "03-good/data.jsonl", "06-pairs/data.jsonl"):
        rows = load_dataset("json", data_files=str(made / "stages" / file), cache_dir=str(tmp_path), split="train")
        assert len(rows) == len(read_jsonl(made / "stages" / file))


def test_the_same_command_again_does_nothing(
    made: Path, recipe: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = outputs(made)
    assert reckon(monkeypatch, "run", recipe, "--out", made, "--plugin", plugin) == 0
    assert "finished; nothing to do" in capsys.readouterr().out
    assert outputs(made) == before


def test_a_changed_stage_and_those_after_it_are_refused_then_redone_with_fork(
    made: Path,
    recipe: Path,
    plugin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = Path(shutil.copytree(made, tmp_path / "run"))
    command = ("run", recipe, "--out", out, "--plugin", plugin, "--set", "stages.pairs.operations.0.max=1")
    assert reckon(monkeypatch, *command) == 2
    said = capsys.readouterr().err
    assert "pairs: operations" in said
    assert "helpful: made from pairs, which is redone" in said
    assert "--fork to move pairs, helpful, final, merged, table aside" in said
    assert outputs(out) == outputs(made)

    assert reckon(monkeypatch, *command, "--fork") == 0
    before, after = outputs(made), outputs(out)
    same = {name for name in before if before[name] == after[name]}
    assert same >= {"01-zero", "02-samples", "03-good", "04-shots", "05-sft"}
    assert "06-pairs" not in same
    assert sorted(path.name for path in (out / "forked" / "1").iterdir()) == [
        "06-pairs",
        "07-helpful",
        "08-final",
        "09-merged",
        "10-table",
    ]
    kept = {(row["stage"], row["step"]) for row in read_jsonl(out / "events.jsonl") if row["event"] == "eval"}
    assert {("zero", 0), ("zero", 2), ("final", 2)} <= kept


def test_only_and_from_run_what_they_name(
    made: Path,
    recipe: Path,
    plugin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    command = ("run", recipe, "--out", out, "--plugin", plugin)
    assert reckon(monkeypatch, *command, "--only", "good") == 2
    assert "reads from samples, which is not finished" in capsys.readouterr().err
    assert reckon(monkeypatch, *command, "--only", "zero") == 0
    assert [path.name for path in (out / "stages").iterdir()] == ["01-zero"]
    assert reckon(monkeypatch, *command, "--from", "good") == 2
    assert "not finished: samples" in capsys.readouterr().err
    assert reckon(monkeypatch, *command, "--from", "other") == 2
    shutil.copytree(made, out, dirs_exist_ok=True)
    shutil.rmtree(out / "stages" / "10-table")
    assert reckon(monkeypatch, *command, "--from", "merged") == 0
    assert outputs(out) == outputs(made)


def test_what_is_not_there_is_said_before_the_first_stage_runs(
    recipe: Path, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", recipe, "--out", tmp_path / "run", "--plugin", plugin)
    assert reckon(monkeypatch, *command, "--set", "stages.helpful.data=[pair]") == 2
    assert "stage helpful: data.0 = 'pair' is neither a file or folder here nor a stage; did you mean pairs?" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_random_moments_it_ends_with_the_same_digests(
    made: Path, recipe: Path, plugin: Path, tmp_path: Path
) -> None:
    rng = random.Random(0)
    kills, runs = 0, 0
    # A run that ends before it was killed often enough is followed by another one.
    while kills < 10:
        runs += 1
        out = tmp_path / f"run-{runs}"
        command = [sys.executable, "-m", "reckon", "run", str(recipe), "--out", str(out), "--plugin", str(plugin)]
        while True:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                code = process.wait(timeout=rng.uniform(2.0, 8.0) if kills < 10 else 110)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                continue
            assert code == 0
            break
        assert outputs(out) == outputs(made)
        assert keys(out) == keys(made)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("stages.zero.model=sft", "stages.zero.model = 'sft' is not an earlier stage"),
        ("stages.sft.data=[zero]", "stages.sft.data.0 must be data, and the stage 'zero' makes model"),
        ("stages.table.models=[good]", "must be model, and the stage 'good' makes data"),
        ("stages.sft.epoch=2", "unknown key stages.sft.epoch; did you mean epochs?"),
        ("stages.final.reward_models.odd.model=helpful", "reward_models are for the tasks even, odd"),
        ("defaults.sft.epoch=3", "unknown key stages.sft.epoch; did you mean epochs?"),
        ("defaults.search.epochs=3", "no stage of the kind 'search'"),
    ],
)
def test_what_cannot_be_wired_is_refused_before_anything_runs(
    recipe: Path, plugin: Path, setting: str, says: str
) -> None:
    from reckon.tasks.registry import load_plugin

    load_plugin(plugin)
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        read_recipe(str(recipe), [setting])


def test_a_single_recipe_is_a_pipeline_of_one_stage() -> None:
    assert list(stages_of(read_recipe("r1-zero", []))) == ["train"]


def test_stages_inherit_what_is_shared_and_the_defaults_of_their_kind() -> None:
    recipe = read_recipe("r1", ["seed=7", "defaults.sft.epochs=5", "stages.sft.epochs=1"])
    assert isinstance(recipe, PipelineRecipe)
    assert {stage.seed for stage in recipe.stages.values()} == {7}
    sft = {name: stage.epochs for name, stage in recipe.stages.items() if stage.kind == "sft"}
    assert sft == {"cold-sft": 5, "sft": 1}
