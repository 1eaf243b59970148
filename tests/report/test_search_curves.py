from __future__ import annotations

import random
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from reckon.core.errors import DataError
from reckon.report.search_curves import Searched, curves, estimate
from reckon.report.search_svg import search_svg
from reckon.search.base import Method, Tree
from reckon.search.beam import Beam
from reckon.search.force import Force
from reckon.search.independent import BestOfN, Vote
from tests.search.toy import END, grown, problem


def half(text: str, rng: random.Random) -> str:
    """Four letters and an answer that is right half of the time."""
    return "=" + rng.choice("ab") + END if text.endswith(";") else "xyz;"


def run(method: Method, seed: int, budget: int = 64, count: int = 12) -> list[Tree]:
    scores = (lambda text: float("=a" in text)) if method.needs_scorer else None
    return [grown(method, half, budget, scores, asked=problem(number), seed=seed) for number in range(count)]


def searched(method: Method, runs: int = 3, label: str | None = None, budget: int = 64) -> Searched:
    # A problem's seed is its number's, so that runs of other seeds differ.
    trees = [[grown_of(method, seed * 100 + number, number, budget) for number in range(12)] for seed in range(runs)]
    return Searched(label or method.kind, method, trees)


def grown_of(method: Method, seed: int, number: int, budget: int) -> Tree:
    scores = (lambda text: float("=a" in text)) if method.needs_scorer else None
    return grown(method, half, budget, scores, asked=problem(number), seed=seed)


def test_points_are_those_of_smaller_budgets() -> None:
    search = searched(BestOfN())
    assert search.budgets() == [4, 8, 16, 32, 64]
    found = curves([search])["methods"]["best-of-n"]
    assert [point["budget"] for point in found["points"]] == [4, 8, 16, 32, 64]
    # A response has seven tokens, so 4 give none, 8 give one and 64 nine.
    assert [point["responses"] for point in found["points"]] == [0.0, 1.0, 2.0, 4.0, 9.0]
    assert [point["generated"] for point in found["points"]] == [4, 8, 16, 32, 64]
    nothing, *_, last = found["points"]
    assert (nothing["accuracy"]["value"], nothing["unanswered"], nothing["possible"]) == (0.0, 1.0, 0.0)
    assert nothing["accuracy"]["high"] > 0, "36 failures do not prove that it is never right"
    # With the truth as score the best is right wherever any is, which nine fail to be one time in 512.
    assert last["accuracy"]["value"] == last["possible"] >= 0.95
    assert last["by_rule"]["vote"] < last["by_rule"]["weighted"] == last["by_rule"]["best"]
    assert np.mean(last["runs"]) == pytest.approx(last["accuracy"]["value"])


def test_without_scores_there_is_only_the_vote() -> None:
    assert list(curves([searched(Vote())])["methods"]["vote"]["points"][0]["by_rule"]) == ["vote"]


def test_what_plans_by_its_budget_is_one_point_a_search() -> None:
    method = Force(answer_tokens=4)
    searches = [searched(method, label="force", budget=budget) for budget in (40, 20)]
    assert [point["budget"] for point in curves(searches)["methods"]["force"]["points"]] == [20, 40]


def test_the_best_method_is_chosen_on_the_other_half() -> None:
    vote, best = searched(Vote()), searched(BestOfN())
    oracle = searched(Beam(beams=4, width=2), label="beam, oracle")
    found = curves([vote, best, oracle])["best"]
    assert [point["budget"] for point in found] == [4, 8, 16, 32, 64]
    assert found[-1]["chosen"] == ["best-of-n", "best-of-n"]
    rights = curves([vote, best])["methods"]["best-of-n"]["points"][-1]["accuracy"]
    assert found[-1]["accuracy"] == rights


def test_choosing_among_equals_is_not_paid_for_luck() -> None:
    # 40 methods without any difference: the maximum over methods is far above 1/2, what is chosen is not.
    rng = np.random.default_rng(0)
    right = rng.integers(0, 2, (40, 1, 100)).astype(float)
    assert max(one.mean() for one in right) > 0.58
    from reckon.report import search_curves

    points = {
        f"m{number}": {8: search_curves.Point(8, {"vote": one}, one, 0.0, {"generated": 8.0})}
        for number, one in enumerate(right)
    }
    [found] = search_curves._best(points, dict.fromkeys(points, "vote"))
    assert abs(found["accuracy"]["value"] - 0.5) < 0.11


def test_runs_of_one_problem_are_not_problems() -> None:
    problems = np.array([[1.0, 0.0] * 10])
    once, often = estimate(problems), estimate(np.repeat(problems, 50, axis=0))
    assert often.high - often.low > 0.9 * (once.high - once.low)


def test_searches_of_different_problems_are_not_compared() -> None:
    with pytest.raises(DataError, match="not of the same problems"):
        curves([searched(Vote()), Searched("other", Vote(), [run(Vote(), 0, count=5)])])
    with pytest.raises(DataError, match="not of the same problems"):
        Searched("vote", Vote(), [run(Vote(), 0), run(Vote(), 1, count=11)])


def test_the_figure_has_a_panel_for_each_method() -> None:
    found = curves([searched(Vote()), searched(BestOfN(), label="best <of> n")])
    figure = ET.fromstring(search_svg(found))
    space = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in figure.iter(f"{space}text") if text.get("class") == "title"] == [
        "vote",
        "best <of> n",
    ]
    paths = [path.get("class") for path in figure.iter(f"{space}path")]
    assert (paths.count("line"), paths.count("other"), paths.count("band"), paths.count("base")) == (2, 2, 2, 2)
    assert len(list(figure.iter(f"{space}circle"))) == 2 * 5 * 3
    numbers = [float(circle.get("cy") or "nan") for circle in figure.iter(f"{space}circle")]
    assert all(0 <= number <= 190 for number in numbers)


def test_a_figure_of_one_point_is_drawn() -> None:
    found = curves([searched(Force(answer_tokens=4), label="force", budget=30)])
    ET.fromstring(search_svg(found))


def test_curves_need_no_torch() -> None:
    code = "import reckon.report.search_curves, reckon.report.search_svg, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
