import random
import time

import pytest

from reckon.core.records import Problem
from reckon.data.curate.rewrite import DropThinking, Summarise, summary_of
from reckon.data.micro import MicroText, Style, problem_text
from reckon.data.world import WorldText, arithmetic_text, logic_text
from reckon.rewards.rules import format_reward
from reckon.tasks.answer import final_answer, thinking
from reckon.tasks.countdown import CountdownTask
from tests.data.curate.rows import row

TAIL = "<answer> ( 8 / 1 ) * 3 </answer>"


@pytest.mark.parametrize(
    ("thought", "summary"),
    [
        # countdown
        ("8 - 1 = 7, 7 * 3 = 21, no. 8 / 1 = 8, 8 * 3 = 24, yes.", "8 / 1 = 8, 8 * 3 = 24."),
        ("8 - 1 = 7, no. wait, 8 * 3 = 24, yes. check: 8 * 3 = 24, yes.", "8 * 3 = 24."),
        ("8 - 1 = 7, 不对。 等等， 8 * 3 = 24, 对。", "8 * 3 = 24."),
        ("8 * 3 = 24, yes. so", "8 * 3 = 24."),
        ("8 * 3 = 24, yes. check: yes.", "8 * 3 = 24."),
        ("8 * 3 = 24, yes. The rest is idle talk", "8 * 3 = 24."),
        ("8 - 1 = 7, no. let me try 8 * 3 = 24,", "8 * 3 = 24."),
        ("there is no 7 here. 8 * 3 = 24, that is not right. 3 * 8 = 24, that is right.", "3 * 8 = 24, that is."),
        # arithmetic: the order of operations leads to the answer without any search
        ("3 + 4 = 7, 7 * 5 = 35, 35 - 6 = 29,", "3 + 4 = 7, 7 * 5 = 35, 35 - 6 = 29."),
        ("3 + 4 = 7, 7 * 5 = 35, 检查： 3 + 4 = 7, 7 * 5 = 35, 对。", "3 + 4 = 7, 7 * 5 = 35."),
        # logic
        (
            "Anna knight, Bert knave: Anna true, no. hmm, Anna knave, Bert knight: Anna false, Bert true, yes.",
            "Anna knave, Bert knight: Anna false, Bert true.",
        ),
        ("Anna knave: Anna 真, 不对。 Anna knight: Anna 真, 对。", "Anna knight: Anna 真。"),
    ],
)
def test_the_summary_is_the_attempt_that_worked(thought: str, summary: str) -> None:
    assert summary_of(thought) == (summary, "")
    [kept] = Summarise().apply([row("a", f" <think> {thought} </think> {TAIL}")], seed=0).kept
    assert kept["response"] == f" <think> {thought} </think> {summary} {TAIL}"
    assert format_reward(False, kept["response"], summary=True) == 1.0


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (f"<think> 8 - 1 = 7, no. </think> {TAIL}", "no attempt succeeded"),
        (f"<think> 8 * 3 = 24, yes. wait, no. </think> {TAIL}", "no attempt succeeded"),
        (f"<think> yes. </think> {TAIL}", "no attempt succeeded"),
        (f"<think> 试试 </think> {TAIL}", "nothing to sum up"),
        (f"<think> </think> {TAIL}", "nothing to sum up"),
        ("<think> 8 * 3 = 24, yes. </think> 24", "no answer"),
        (f"<think> 8 * 3 = 24, yes. {TAIL}", "unfinished thinking"),
        (f"<think> 8 * 3 = 24, yes. </think> {TAIL} {TAIL}", "several answers"),
    ],
)
def test_what_cannot_be_summed_up_is_dropped_with_the_reason(response: str, why: str) -> None:
    [dropped] = Summarise().apply([row("a", response)], seed=0).dropped
    assert dropped.why == why


def test_a_response_with_a_summary_stays_as_it_is() -> None:
    given = row("a", f"<think> 8 - 1 = 7, no. </think> 8 * 3 = 24. {TAIL}")
    assert Summarise().apply([given], seed=0).kept == [given]


def test_the_summaries_of_right_answers_in_the_micro_world_lead_to_them() -> None:
    """Over the corpus: a right Countdown answer that was searched for has a summary, which ends in the target."""
    task, mix, summed = CountdownTask(), MicroText(), 0
    for seed in range(300):
        rng = random.Random(seed)
        prompt, response = problem_text(rng, mix, Style(rng, mix))
        question = prompt.removeprefix("User: ").partition(".")[0]
        target, *nums = (int(part) for part in question.replace("Make", "").replace("from", ",").split(","))
        problem = Problem("x", question, {"nums": nums, "target": target})
        if task.verify(problem, response).score == 1 and thinking(response).strip():
            summary, why = summary_of(thinking(response))
            assert summary is not None, (response, why)
            assert summary.endswith(f" = {target}.")
            assert summary.count("=") == len(nums) - 1
            summed += 1
    assert summed > 30


@pytest.mark.parametrize("text", [arithmetic_text, logic_text])
def test_the_summary_agrees_with_the_answer_where_an_attempt_succeeded(text: object) -> None:
    mix, summed = WorldText(), 0
    for seed in range(300):
        rng = random.Random(seed)
        _, response = text(rng, mix, Style(rng, mix))  # type: ignore[operator]
        answer, _ = final_answer(response)
        if answer is None or not any(word in thinking(response) for word in ("yes.", " 对。")):
            continue
        summary, _ = summary_of(thinking(response))
        assert summary is not None
        said = summary.rstrip(".。")
        assert answer == (said.rpartition(" = ")[2] if text is arithmetic_text else said.partition(":")[0]), response
        summed += 1
    assert summed > 15


def test_the_thinking_can_be_left_out() -> None:
    rows = [
        row("a", " <think> I greet. </think> <answer> Hello! </answer>"),
        row("b", " I greet. </think> <answer> Hello! </answer>"),
        row("c", "<think></think> Hi. <answer> Hello! </answer>"),
        row("d", "<think> I greet."),
        row("e", " <think> I prove. </think> <answer> 1 </answer>", task="logic"),
    ]
    sifted = DropThinking(tasks=("countdown",)).apply(rows, seed=0)
    assert [r["response"] for r in sifted.kept] == [
        " <think> </think> <answer> Hello! </answer>",
        " </think> <answer> Hello! </answer>",
        "<think> </think> Hi. <answer> Hello! </answer>",
        rows[4]["response"],
    ]
    assert [(drop.row["id"], drop.why) for drop in sifted.dropped] == [("d", "unfinished thinking")]
    assert final_answer(sifted.kept[0]["response"]) == ("Hello!", "")
    assert rows[0]["response"].startswith(" <think> I greet"), "the rows that came in are not changed"


@pytest.mark.parametrize("piece", ["no. ", "yes. ", "so ", "check: ", "wait, ", "不对。", "n't ", " ", "<think>"])
def test_long_texts_take_linear_time(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    start = time.process_time()
    summary_of(text)
    DropThinking().rewritten(row("a", f"{text}</think>"))
    assert time.process_time() - start < 2
