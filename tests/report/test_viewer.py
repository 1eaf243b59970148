"""Samples for the page: made visible, paired honestly, kept small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from reckon.core.records import Problem, Rollout, Verdict
from reckon.report import viewer
from reckon.report.load import read_run
from reckon.report.viewer import Pieces, clipped, pairs, rollout_steps, visible


def test_visible_spells_out_what_cannot_be_seen() -> None:
    assert visible("a\nb\tc <b> 不对") == "a\nb\tc <b> 不对"
    assert visible("\x00\x1b[31m\r\x7f\u202e\u200b\ud800\u2028") == (
        "‹U+0000›‹U+001B›[31m‹U+000D›‹U+007F›‹U+202E›‹U+200B›‹U+D800›‹U+2028›"
    )


def test_clipped_says_how_much_is_missing() -> None:
    assert clipped("x" * 10, 10) == "x" * 10
    assert clipped("x" * 2010, 10) == "x" * 10 + " ‹2,000 more characters›"


def test_pieces_are_readable_and_partial_characters_are_bytes(finished: Path) -> None:
    run = read_run(finished)
    pieces = Pieces.of(run)
    assert pieces is not None
    tokenizer = pieces._tokenizer
    ids = tokenizer.encode(" <think> \u202e 8 - 1 = 7 锟").ids
    pieces.note([*ids, 10**6, -1])
    text = "".join(pieces.seen[token] for token in ids)
    assert text.startswith(" <think>")
    assert " 8 - 1 = 7" in text
    assert "‹e9›‹94›‹9f›" in text
    assert pieces.seen[10**6] == "‹id 1000000›"
    assert pieces.seen[-1] == "‹id -1›"


def attempt(problem: int, sample: int, score: float | None, response: str = "a</think> b") -> Rollout:
    where = Problem(str(problem), f"question {problem}", 0)
    return Rollout("t", where, sample, "", [], response, [1], [0.0], "stop", 0, verdict=Verdict(score))


def test_pairs_count_every_change_and_show_some_of_each() -> None:
    before = [attempt(p, s, 0.0) for p in range(20) for s in range(2)]
    after = [attempt(p, s, 1.0 if p < 15 else 0.5) for p in range(20) for s in range(2)]
    before[0].verdict, after[3].verdict = Verdict(1.0), Verdict(None)
    after[0].verdict = Verdict(0.0)
    found = pairs(before, after)
    assert found is not None
    assert found["counts"] == {"wrong-right": 28, "right-wrong": 1, "wrong-wrong": 10, "right-right": 0}
    shown = [example["question"] for example in found["examples"] if example["kind"] == "wrong-right"]
    assert shown == ["question 0", "question 4", "question 7", "question 14"]
    assert found["examples"][0]["after"]["thinking"] == "a</think>"
    assert found["examples"][0]["after"]["answer"] == " b"


def test_pairs_need_common_problems() -> None:
    assert pairs([attempt(1, 0, 1.0)], [attempt(2, 0, 1.0)]) is None
    assert pairs([], []) is None


def test_rollouts_keep_to_their_budget_and_say_what_is_missing(finished: Path) -> None:
    found = rollout_steps(read_run(finished))
    assert len(json.dumps(found["steps"], separators=(",", ":"))) < viewer.ROLLOUT_BYTES * 1.01
    steps = [step["step"] for step in found["steps"]]
    assert (steps[0], steps[-1]) == (1, 80)
    assert f"{len(steps)} of 80 steps" in found["note"]
    sample = found["steps"][0]["groups"][0]["samples"][0]
    assert sample["forced"] == [0, 1, 2]
    assert len(sample["ids"]) == len(sample["logp"]) == sample["tokens"]
    assert all(str(token) in map(str, found["pieces"]) for token in sample["ids"])


def test_a_group_too_large_for_the_budget_is_cut_not_dropped(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "ROLLOUT_BYTES", 12_000)
    found = rollout_steps(read_run(small))
    assert found["steps"]
    group = found["steps"][0]["groups"][0]
    assert 1 <= len(group["samples"]) < group["samples_on_disk"] == 6


def test_without_a_tokenizer_the_text_is_shown(small: Path) -> None:
    shutil.rmtree(small / "stages/01-train/checkpoint")
    found = rollout_steps(read_run(small))
    assert found["steps"][0]["groups"][0]["samples"][0]["text"].startswith(" <think>")
    assert "No checkpoint has a tokenizer" in found["note"]


def test_a_broken_tokenizer_is_noted(small: Path) -> None:
    next(small.glob("stages/*/checkpoint/*/tokenizer.json")).write_text("{")
    run = read_run(small)
    assert Pieces.of(run) is None
    assert "tokenizer.json could not be read" in run.notes[0]
