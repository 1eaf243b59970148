"""Planning a comparison, refusing it as a whole, and running it; the runs here are stand-ins that take no time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, Interrupted
from reckon.core.stop import Stop
from reckon.run import compare
from reckon.run.compare import Comparison, Failed, Planned, failure
from reckon.run.kinds import RLRecipe
from reckon.run.pipeline import Pipeline
from reckon.run.recipe import read_recipe, stages_of


def comparison(tmp_path: Path, *methods: str, **changes: Any) -> Comparison:
    return Comparison(
        **{"methods": methods, "recipe": "r1-zero", "out": tmp_path, "seeds": 2, "tokens": 500, **changes}
    )


def refusal(made: Comparison) -> str:
    with pytest.raises(ConfigError) as caught:
        made.plan()
    assert caught.value.exit_code == 2
    return str(caught.value)


def recipe_of(run: Planned) -> RLRecipe:
    """The recipe that the run's command line stands for."""
    words = run.arguments
    found = read_recipe(words[1], [words[i + 1] for i, word in enumerate(words) if word == "--set"])
    assert isinstance(found, RLRecipe)
    return found


def test_every_method_runs_with_every_seed_and_ends_by_tokens(tmp_path: Path) -> None:
    planned = comparison(tmp_path, "grpo", "rloo").plan()
    assert [str(run) for run in planned] == ["grpo seed 0", "rloo seed 0", "grpo seed 1", "rloo seed 1"]
    assert planned[3].folder == tmp_path / "runs" / "rloo" / "seed-1"
    assert planned[3].arguments[:4] == ("run", "r1-zero", "--out", str(planned[3].folder))
    recipe = recipe_of(planned[3])
    assert (recipe.preset, recipe.seed, recipe.max_generated_tokens) == ("rloo", 1, 500)
    assert recipe.steps >= 500
    assert recipe.algorithm == recipe_of(planned[1]).algorithm != recipe_of(planned[0]).algorithm


def test_settings_are_for_all_methods_or_for_one(tmp_path: Path) -> None:
    settings = ["optim.lr=0.25", 'template="Solve: {question}"', "grpo:algorithm.minibatches=4", "grpo:optim.lr=0.5"]
    grpo, rloo = map(recipe_of, comparison(tmp_path, "grpo", "rloo", seeds=1, settings=settings).plan())
    assert (grpo.optim.lr, rloo.optim.lr) == (0.5, 0.25)
    assert (grpo.algorithm.minibatches, rloo.algorithm.minibatches) == (4, 1)
    assert grpo.template == rloo.template == "Solve: {question}"


@pytest.mark.parametrize(("jobs", "settings", "threads"), [(1, [], 6), (4, [], 1), (9, [], 1), (4, ["threads=3"], 3)])
def test_jobs_share_the_cores(
    jobs: int, settings: list[str], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    [run] = comparison(tmp_path, "grpo", seeds=1, jobs=jobs, settings=settings).plan()
    assert recipe_of(run).threads == threads


def test_everything_wrong_is_said_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    settings = ["optim.lrr=1", "seed=4", "rloo:optim.lr=1"]
    words = refusal(comparison(tmp_path, "grpo", "reinforce", "grpo", "gropo", settings=settings))
    for part in (
        "there is no method 'gropo'; did you mean grpo",
        "grpo is named twice",
        "--set seed=4: seed belongs to the comparison; give --seeds",
        "--set rloo:optim.lr=1: 'rloo' is not among the methods compared",
        "unknown key optim.lrr; did you mean lr?",
    ):
        assert words.count(part) == 1, words
    assert not list(tmp_path.iterdir())


def test_an_impossible_combination_is_said_once_with_the_methods_it_is_about(tmp_path: Path) -> None:
    settings = ["rollout.samples_per_prompt=1", "remax:algorithm.minibatches=2"]
    words = refusal(comparison(tmp_path, "grpo", "remax", "rloo", "ppo", settings=settings))
    assert words.count("must be at least 2") == 1
    assert "grpo, rloo: " in words
    assert "remax: " in words
    assert "ppo" not in words


def test_a_schedule_that_needs_the_number_of_steps_is_refused(tmp_path: Path) -> None:
    assert "does not know its number of steps" in refusal(
        comparison(tmp_path, "grpo", settings=["optim.schedule=cosine"])
    )


def test_a_recipe_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert "recipes of kind rl" in refusal(comparison(tmp_path, "grpo", recipe="micro-base"))


def test_a_directory_of_other_settings_is_refused_with_the_difference(tmp_path: Path) -> None:
    first = comparison(tmp_path, "grpo", "rloo")
    run = first.plan()[3]
    pipeline = Pipeline.of(stages_of(recipe_of(run)), run.folder)
    pipeline.start(pipeline.stages[0])
    (pipeline.stages[0].folder / "metrics.jsonl").touch()
    assert len(first.plan()) == 4
    words = refusal(comparison(tmp_path, "grpo", "rloo", tokens=600))
    assert "max_generated_tokens: 500 -> 600" in words
    assert "rloo/seed-1" in words


# ------------------------------------------------------------------------------------------- execution

RUN = """
import json, pathlib, signal, sys, time
folder, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
times = {"began": time.monotonic()}
def stopped(*_):
    (folder / "told").open("a").write("x")
    sys.exit(75)
signal.signal(signal.SIGTERM, stopped)
if mode == "fail":
    print("reckon: update refused"); sys.exit(4)
(folder / "ready").touch()
time.sleep(60 if mode == "wait" else 0.3)
event = {"event": "eval", "step": 1, "pass@1": {"value": 0.5, "low": 0.4, "high": 0.6}, "pass@k": {"1": 0.5}}
(folder / "events.jsonl").write_text(json.dumps({**event, "mean_tokens": 9.0, "reflections": 0.0}) + chr(10))
(folder / "lineage.json").write_text(json.dumps({**times, "ended": time.monotonic()}))
"""

Modes = Callable[[Planned], str]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Modes], list[str]]:
    """Puts processes that write what a run writes in the place of runs; returns the list of those started."""

    def replace(mode: Modes) -> list[str]:
        started: list[str] = []

        def start(run: Planned) -> subprocess.Popen[bytes]:
            started.append(str(run))
            run.log.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-S", "-c", RUN, str(run.folder), mode(run)]
            with run.log.open("ab") as log:
                return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

        monkeypatch.setattr(compare, "_start", start)
        monkeypatch.setattr(compare, "POLL_S", 0.01)
        return started

    return replace


def test_jobs_run_side_by_side_and_no_more_than_asked(tmp_path: Path, stand_in: Callable[[Modes], list[str]]) -> None:
    stand_in(lambda run: "run")
    made = comparison(tmp_path, "grpo", "rloo", jobs=2)
    planned, notes = made.plan(), []
    assert made.execute(planned, Stop(), notes.append) == []
    spans = [json.loads((run.folder / "lineage.json").read_text()) for run in planned]
    together = [
        sum(other["began"] <= span["began"] < other["ended"] for other in spans)
        for span in spans
    ]  # fmt: skip
    assert max(together) == 2
    assert next(note for note in notes if note.startswith("[4/4]")).endswith("0.0 self-checks")


def test_a_run_that_fails_ends_no_other(tmp_path: Path, stand_in: Callable[[Modes], list[str]]) -> None:
    stand_in(lambda run: "fail" if run.method == "grpo" else "run")
    made = comparison(tmp_path, "grpo", "rloo", seeds=1, jobs=2)
    planned, notes = made.plan(), []
    failed = made.execute(planned, Stop(), notes.append)
    assert failed == [Failed(planned[0], 4, "update refused")]
    assert [run.finished for run in planned] == [False, True]
    error = failure(failed, len(planned))
    assert error.exit_code == 4
    assert f"1 of 2 runs failed:\n  grpo seed 0 ({planned[0].log}): update refused" in str(error)
    assert any("grpo seed 0: FAILED: update refused" in note for note in notes)


def test_a_run_killed_by_a_signal_can_be_resumed(tmp_path: Path) -> None:
    run = Planned("grpo", 0, tmp_path, ())
    assert failure([Failed(run, -9, "")], 1).exit_code == 75


def test_finished_runs_are_not_started_again(tmp_path: Path, stand_in: Callable[[Modes], list[str]]) -> None:
    started = stand_in(lambda run: "fail" if str(run) == "rloo seed 0" else "run")
    made = comparison(tmp_path, "grpo", "rloo", jobs=4)
    planned, notes = made.plan(), []
    made.execute(planned, Stop(), notes.append)
    assert sorted(started) == ["grpo seed 0", "grpo seed 1", "rloo seed 0", "rloo seed 1"]
    started = stand_in(lambda run: "run")
    assert made.execute(planned, Stop(), notes.append) == []
    assert started == ["rloo seed 0"]
    assert "3 of 4 runs are finished already" in notes


def test_a_stop_is_passed_on_once_and_waited_for(tmp_path: Path, stand_in: Callable[[Modes], list[str]]) -> None:
    started = stand_in(lambda run: "wait")
    made, stop = comparison(tmp_path, "grpo", "rloo", jobs=2), Stop()
    planned = made.plan()

    def note(text: str) -> None:
        if len(started) == 2:
            deadline = time.monotonic() + 20
            while not all((run.folder / "ready").exists() for run in planned[:2]) and time.monotonic() < deadline:
                time.sleep(0.01)
            stop.signal = "SIGTERM"

    with pytest.raises(Interrupted):
        made.execute(planned, stop, note)
    assert started == ["grpo seed 0", "rloo seed 0"]
    assert [(run.folder / "told").read_text() for run in planned[:2]] == ["x", "x"]
