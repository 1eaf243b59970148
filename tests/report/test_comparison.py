"""The comparison of methods, from run folders made by rule whose figures can be worked out by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import DataError
from reckon.report.comparison import build_comparison, compare
from reckon.report.comparison_svg import comparison_svg, method_svg
from tests.report.test_build import data_of
from tests.report.test_page import BROWSER, opened

BUDGET = 1000
ROOT = "{http://www.w3.org/2000/svg}"


def write_run(
    folder: Path, passes: list[float], step_tokens: int = 500, preset: str = "grpo", finished: bool = True
) -> Path:
    """A run with an evaluation before and after every step, whose pass@1 are given, and round figures."""
    stage = folder / "stages" / "01-train"
    (stage / "evals").mkdir(parents=True)
    events, metrics = [], []
    for step, passed in enumerate(passes):
        file = stage / "evals" / f"step-{step:06d}.jsonl"
        file.write_text("".join(json.dumps(sample(problem, problem < 10 * passed)) + "\n" for problem in range(10)))
        events.append(
            {"event": "eval", "step": step, "time": 0.0, "split": "heldout", "task": "countdown", "problems": 10,
             "samples": 1, "generated_tokens": step * step_tokens, "mean_tokens": 40.0 + step,
             "pass@1": {"value": passed, "low": passed - 0.1, "high": passed + 0.2},
             "samples_file": str(file.relative_to(folder))}
        )  # fmt: skip
        if step:
            metrics.append(
                {"step": step, "generated_tokens_so_far": step * step_tokens, "tokens": 30.0 + step,
                 "entropy": 1.0 / step, "grad_norm": None if step == 1 else 0.25 * step,
                 "seconds": {"generate": 2.0, "verify": 0.5, "update": 3.0, "other": 0.5}}
            )  # fmt: skip
    kl = {"coef": 0.04} if preset == "grpo" else None
    config = {"seed": 0, "preset": preset, "model": "micro", "algorithm": {"advantage": preset, "kl": kl}}
    (folder / "run.yaml").write_text(json.dumps({"config": config, "threads": 1, "device": "cpu"}))
    (folder / "events.jsonl").write_text("".join(json.dumps(row) + "\n" for row in events))
    (stage / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    if finished:
        stages = [{"outputs": {"model": {"weights_sha256": "ab" * 32}}}]
        (folder / "lineage.json").write_text(json.dumps({"stages": stages}))
    return folder


def sample(problem: int, right: bool) -> dict[str, Any]:
    """A judged rollout of one token."""
    return {
        "task": "countdown", "problem": {"id": f"p{problem}", "question": "?", "gold": None}, "sample": 0,
        "prompt": "", "prompt_ids": [1], "response": "x", "response_ids": [1], "logp": [0.0], "finish": "stop",
        "seed": 0, "verdict": {"score": float(right), "reason": ""},
    }  # fmt: skip


GRPO = [[0.2, 0.4, 0.4], [0.2, 0.4, 0.5], [0.2, 0.4, 0.6]]
RLOO = [[0.2, 0.6, 0.7], [0.2, 0.6, 0.7], [0.2, 0.6, 0.7]]


def write_runs(out: Path, methods: dict[str, list[list[float]]]) -> dict[str, dict[int, Path]]:
    return {
        method: {
            seed: write_run(out / "runs" / method / f"seed-{seed}", passes, preset=method)
            for seed, passes in enumerate(seeds)
        }
        for method, seeds in methods.items()
    }


@pytest.fixture
def two(tmp_path: Path) -> dict[str, Any]:
    return compare(tmp_path, write_runs(tmp_path, {"grpo": GRPO, "rloo": RLOO}), BUDGET)


def test_final_and_gain_have_intervals_over_seeds(two: dict[str, Any]) -> None:
    measures = two["methods"]["grpo"]["measures"]
    final = measures["pass@1"]
    assert final["by_seed"] == {"0": 0.4, "1": 0.5, "2": 0.6}
    # sd 0.1 over sqrt(3), times t(0.975, 2) = 4.302653
    assert (final["value"], final["low"], final["high"]) == pytest.approx((0.5, 0.251586, 0.748414), abs=1e-6)
    assert measures["gain"]["value"] == pytest.approx(0.3)
    assert measures["gain"]["high"] - measures["gain"]["low"] == pytest.approx(0.496828, abs=1e-6)


def test_the_other_columns(two: dict[str, Any]) -> None:
    measures = two["methods"]["grpo"]["measures"]
    figures = {key: row["value"] for key, row in measures.items()}
    # Trapezoids of the middle seed: 500 * (0.2 + 0.4) / 2 + 500 * (0.4 + 0.5) / 2 = 375 of 1000.
    assert measures["area"]["by_seed"]["1"] == pytest.approx(0.375)
    # The end is what lies behind 800 of 1000 tokens: the second step.
    expected = {"mean_tokens": 42, "entropy": 0.5, "grad_norm": 0.5, "steps": 2, "tokens": 1000, "update_s": 6}
    assert {key: figures[key] for key in expected} == pytest.approx(expected)
    assert figures["train_s"] == pytest.approx(12)


def test_the_area_ends_at_the_budget_and_the_final_figure_at_the_last_step(tmp_path: Path) -> None:
    runs = {"grpo": {0: write_run(tmp_path / "a", [0.0, 0.4, 0.8], step_tokens=800)}}
    measures = compare(tmp_path, runs, BUDGET)["methods"]["grpo"]["measures"]
    # 800 tokens up to 0.4, then 200 more up to 0.5: 160 + 90 of 1000.
    assert measures["area"]["value"] == pytest.approx(0.25)
    assert measures["pass@1"]["value"] == 0.8
    assert measures["tokens"]["value"] == 1600


def test_differences_are_paired_by_seed(two: dict[str, Any]) -> None:
    assert two["methods"]["grpo"]["difference"] is None
    difference = two["methods"]["rloo"]["difference"]
    found = difference["pass@1"]
    # 0.3, 0.2, 0.1: t = 0.2 / (0.1 / sqrt(3)) = 2 sqrt(3), p = 1 - t / sqrt(2 + t^2) with 2 degrees of freedom.
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.2, -0.048414, 0.448414), abs=1e-6)
    assert found["p"] == pytest.approx(1 - (12 / 14) ** 0.5)
    assert found["p_holm"] == found["p"]
    assert difference["seeds"] == 3
    assert two["says"].startswith("No difference in final pass@1 is shown")


def test_p_is_corrected_for_the_number_of_comparisons(tmp_path: Path) -> None:
    far = [[0.2, 0.8, 0.79], [0.2, 0.8, 0.9], [0.2, 0.8, 1.0]]
    data = compare(tmp_path, write_runs(tmp_path, {"dr-grpo": GRPO, "ppo": far, "rloo": RLOO}), BUDGET)
    p = {name: data["methods"][name]["difference"]["pass@1"] for name in ("ppo", "rloo")}
    assert p["ppo"]["p_holm"] == pytest.approx(2 * p["ppo"]["p"])
    assert p["rloo"]["p_holm"] == pytest.approx(p["rloo"]["p"])
    assert data["says"] == (
        "Final pass@1 differs (of 2 methods compared with dr-grpo; 5%, corrected for their number): ppo (+39.7 points)."
    )


def test_only_seeds_of_both_are_paired(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"grpo": GRPO, "rloo": RLOO})
    del runs["rloo"][0]
    difference = compare(tmp_path, runs, BUDGET)["methods"]["rloo"]["difference"]
    assert difference["seeds"] == 2
    assert difference["pass@1"]["value"] == pytest.approx(0.15)


def test_one_seed_has_intervals_over_problems(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"grpo": GRPO[:1], "rloo": RLOO[:1]})
    data = compare(tmp_path, runs, BUDGET)
    measures = data["methods"]["rloo"]["measures"]
    assert (measures["pass@1"]["low"], measures["pass@1"]["high"]) == pytest.approx((0.6, 0.9))
    # Of ten problems five went from wrong to right: sd 0.527, error 0.1667, t(0.975, 9) = 2.262157.
    assert (measures["gain"]["low"], measures["gain"]["high"]) == pytest.approx((0.122974, 0.877026), abs=1e-5)
    assert measures["area"]["low"] is None
    # And three more than the first method: sd 0.483, error 0.152753.
    found = data["methods"]["rloo"]["difference"]["pass@1"]
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.3, -0.045550, 0.645550), abs=1e-5)
    assert found["p"] is None
    assert "With one seed" in data["says"]


def test_the_curve_is_the_mean_at_the_evaluations_of_all_seeds(tmp_path: Path) -> None:
    runs = {"grpo": {
        0: write_run(tmp_path / "a", [0.0, 0.5, 0.5], step_tokens=500),
        1: write_run(tmp_path / "b", [0.2, 0.4, 0.6, 0.8, 1.0], step_tokens=250),
    }}  # fmt: skip
    method = compare(tmp_path, runs, BUDGET)["methods"]["grpo"]
    curve = method["curves"]["pass@1"]
    assert curve["x"] == [0, 250, 500, 750, 1000]
    assert curve["y"] == pytest.approx([0.1, 0.325, 0.55, 0.65, 0.75])
    assert all(low <= y <= high for low, y, high in zip(curve["low"], curve["y"], curve["high"], strict=True))
    assert (min(curve["low"]), max(curve["high"])) == (0.0, 1.0)
    assert curve["seeds"]["0"] == {"x": [0, 500, 1000], "y": [0.0, 0.5, 0.5]}
    length = method["curves"]["tokens"]
    assert length["x"] == [500, 750, 1000]
    assert length["low"] == pytest.approx([31, 31.5, 32])
    assert length["high"] == pytest.approx([32, 33, 34])


def test_settings_that_differ_are_listed_by_method(two: dict[str, Any]) -> None:
    assert two["different"] == {
        "algorithm.advantage": {"grpo": "grpo", "rloo": "rloo"},
        "algorithm.kl.coef": {"grpo": 0.04, "rloo": None},
    }
    assert two["shared"] == {"model": "micro"}


def test_what_is_not_finished_is_left_out_and_named(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, {"grpo": GRPO, "rloo": RLOO})
    (runs["rloo"][1] / "lineage.json").unlink()
    runs["ppo"] = {0: tmp_path / "runs" / "ppo" / "seed-0"}
    data = compare(tmp_path, runs, BUDGET)
    assert list(data["methods"]) == ["grpo", "rloo"]
    assert list(data["methods"]["rloo"]["runs"]) == ["0", "2"]
    assert data["notes"] == [
        "rloo/seed-1 is not finished and is left out.", "ppo/seed-0 has not begun and is left out."
    ]  # fmt: skip
    with pytest.raises(DataError, match="no run is finished"):
        compare(tmp_path, {"ppo": runs["ppo"]}, BUDGET)


def built(tmp_path: Path) -> Path:
    out = tmp_path / "<img src=x>"
    return build_comparison(out, write_runs(out, {"grpo": GRPO, "rloo": RLOO}), BUDGET, "reckon compare-methods <b>")


def test_the_page_and_the_numbers_are_the_same(tmp_path: Path) -> None:
    page = built(tmp_path)
    data = json.loads((page.parent / "comparison.json").read_text(encoding="utf-8"))
    assert data_of(page.read_text(encoding="utf-8")) == data
    assert data["methods"]["grpo"]["runs"]["0"] == {"folder": "runs/grpo/seed-0", "weights_sha256": "ab" * 32}
    assert data["command"] == "reckon compare-methods <b>"


def test_the_page_loads_nothing_and_holds_no_markup_of_others(tmp_path: Path) -> None:
    text = built(tmp_path).read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<b>" not in text
    outside = text.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in outside.replace("http-equiv", "")
    assert "default-src 'none'" in text


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on this machine")
def test_the_page_is_drawn(tmp_path: Path) -> None:
    dom, console = opened(built(tmp_path), tmp_path / "profile")
    assert console == []
    assert "could not be drawn" not in dom
    assert dom.count('<figure class="chart') == 4 + 2 + 2
    assert "<h1>&lt;img src=x&gt;</h1>" in dom


def test_the_static_figures_are_svg_with_one_line_per_method(two: dict[str, Any]) -> None:
    one, both = ET.fromstring(method_svg(two, "rloo")), ET.fromstring(comparison_svg(two))
    assert len(one.findall(f"{ROOT}path[@class='line']")) == 1
    assert "20.0% to 70.0%" in "".join(one.itertext())
    assert len(both.findall(f"{ROOT}path[@class='line']")) == 2
    # Three evaluations of three seeds; the axis goes from 20% to 70%, the untrained model's 20% is at its foot.
    seeds = one.findall(f"{ROOT}circle[@class='seed']")
    assert len(seeds) == 9
    assert sorted({float(seed.attrib["cy"]) for seed in seeds}) == [34.0, 72.0, 224.0]
    with pytest.raises(KeyError):
        method_svg(two, "ppo")


def test_it_does_not_import_torch() -> None:
    code = "import reckon.report.comparison, reckon.report.comparison_svg, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
