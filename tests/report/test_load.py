"""Reading a run folder in any state."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from reckon.core.errors import DataError
from reckon.report.load import number, read_run, spread


def test_reads_a_whole_run_without_a_note(finished: Path) -> None:
    run = read_run(finished)
    assert [row["step"] for row in run.metrics] == list(range(1, 81))
    assert [row["step"] for row in run.evals] == [0, 20, 40, 60, 80]
    assert run.notes == []


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run folder"):
        read_run(tmp_path)


def test_a_torn_last_line_is_left_out_and_said(small: Path) -> None:
    path = small / "stages/01-train/metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-50])
    run = read_run(small)
    assert [row["step"] for row in run.metrics] == [1, 2, 3]
    assert run.notes == ["The last line of stages/01-train/metrics.jsonl is unfinished and is left out."]


def test_a_damaged_file_costs_only_itself(small: Path) -> None:
    (small / "lineage.json").write_text("{")
    (small / "events.jsonl").write_text("not json\n{}\n")
    run = read_run(small)
    assert len(run.metrics) == 4
    assert run.evals == []
    assert [note.split()[0] for note in run.notes] == ["lineage.json", "events.jsonl"]


def test_of_a_step_written_twice_the_later_row_counts(small: Path) -> None:
    path = small / "stages/01-train/metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 2, "accuracy": 0.123}\n{"step": null}\n{"accuracy": 1}\n')
    rows = read_run(small).metrics
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert rows[1] == {"step": 2, "accuracy": 0.123}


def test_records_that_are_no_rollouts_are_counted(small: Path) -> None:
    path = small / "stages/01-train/rollouts/step-000001.jsonl"
    rows = path.read_text()
    odd = json.loads(rows.splitlines()[0])
    odd["verdict"]["score"] = 7
    path.write_text('{"problem": 3}\n{"problem": {"id": 1}}\n{}\n' + json.dumps(odd) + "\n" + rows)
    run = read_run(small)
    assert len(run.rollouts(path)) == 48
    assert "left out here: 4" in run.notes[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "3", [3]])
def test_what_is_not_a_finite_number_is_none(value: object) -> None:
    assert number(value) is None


def test_any_prefix_of_spread_lies_evenly() -> None:
    assert list(spread(5)) == [0, 4, 2, 1, 3]
    assert list(spread(1)) == [0]
    assert list(spread(0)) == []
    for count in (2, 7, 100):
        assert sorted(spread(count)) == list(range(count))
