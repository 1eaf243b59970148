from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import verifiers
from benchmarks.verifiers import Missing, asks_workers, fresh_code, machine, main, math_items, ratios, rows

ROW = {
    "prompt": "def add(a, b):\n",
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(3, 4) == 7\n",
}


def _median(value: float) -> dict[str, float]:
    return {"median": value, "min": 0.0, "max": 9e9}


def test_ratios_are_of_medians_and_above_one_where_ours_is_faster() -> None:
    rates = {
        "ours": 400.0,
        "ours_exact": 900.0,
        "ours_symbolic": 50.0,
        "plain": 40.0,
        "plain_symbolic": 5.0,
        "fresh": 2.0,
    }
    math = {"verdicts_per_s": {peer: {"rate": _median(rate), "cold_s": _median(1.0)} for peer, rate in rates.items()}}
    code_rates = {"fresh": 60.0, "tier1": 90.0, "tier3": 30.0, "fresh_jail": 10.0}
    code = {"verdicts_per_s": {peer: _median(rate) for peer, rate in code_rates.items()}}
    assert ratios(math, code) == {
        "math_vs_plain": 10.0,
        "math_vs_subprocess": 200.0,
        "math_symbolic_vs_plain": 10.0,
        "math_symbolic_vs_subprocess": 25.0,
        "code_tier1_vs_subprocess": 1.5,
        "code_tier3_vs_subprocess": 0.5,
        "code_vs_fresh_jail": 3.0,
    }
    assert ratios(None, None) == {}


@pytest.mark.parametrize(
    ("answer", "gold", "asks"),
    [
        ("\\boxed{4}", "4", False),
        ("no answer", "4", False),
        ("\\boxed{\\int_0^1 2x dx}", "\\int_0^1 2x\\,dx + 0", True),
    ],
)
def test_which_items_ask_the_workers(answer: str, gold: str, asks: bool) -> None:
    assert asks_workers((answer, gold, None)) is asks


def test_cases_that_are_to_hang_a_verifier_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "DATA", tmp_path)
    with pytest.raises(Missing, match=r"no math_samples/math100x8\.jsonl"):
        math_items()
    files = {
        "math_samples/math100x8.jsonl": [{"answer": "4", "responses": ["a", "b"]}],
        "verifier_cases/cases.jsonl": [
            {"gold": "5", "answer": "c", "note": "base|core| x"},
            {"gold": "6", "answer": "9^9^9^9", "note": "power|dos| x"},
        ],
    }
    for name, found in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in found))
    assert math_items() == [("a", "4", None), ("b", "4", None), ("c", "5", None)]


def test_a_fresh_interpreter_runs_the_tests() -> None:
    assert fresh_code(ROW)
    assert not fresh_code({**ROW, "canonical_solution": "    return a - b\n"})


def test_without_data_each_part_is_skipped_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verifiers, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["verifiers", "--out", str(tmp_path / "new" / "found.json")])
    main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result == json.loads((tmp_path / "new" / "found.json").read_text())
    assert set(result) == {"skipped", "machine"}
    assert result["skipped"]["math"] == "there is no math_samples/math100x8.jsonl in the data folder"
    assert result["skipped"]["code"] == "there is no humaneval/test.jsonl in the data folder"


def test_data_and_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "DATA", tmp_path)
    (tmp_path / "one.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    assert rows("one.jsonl") == [{"a": 1}, {"a": 2}]
    assert {"date", "processors", "cpu", "math_verify"} <= set(machine())
