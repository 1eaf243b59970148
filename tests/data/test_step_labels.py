from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reckon.core.errors import ConfigError, DataError
from reckon.data.preferences import PreferenceData
from reckon.data.step_labels import cut, load_steps
from reckon.models.load import load_model
from reckon.models.steps import MICRO_STEPS, StepRule

STEPS = [" <think> 1 + 2 = 3,", " 3 * 4 = 12,", " yes. </think> <answer> ( 1 + 2 ) * 4 </answer>"]


def row(n: int, **changes: Any) -> dict[str, Any]:
    return {"question": f"Make {n} from 1, 2.", "steps": STEPS, "labels": [0.25, 0.0, 1.0], **changes}


def loaded(tmp_path: Path, rows: list[dict[str, Any]], **settings: Any) -> Any:
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    config = PreferenceData(
        data=(str(path),), **{"loss": "process", "steps": MICRO_STEPS, "soft": True, "heldout": 0.3, **settings}
    )
    _, tokenizer = load_model("micro")
    return load_steps(config, "micro", tokenizer), tokenizer


def test_labels_stand_where_steps_end(tmp_path: Path) -> None:
    split, tokenizer = loaded(tmp_path, [row(n) for n in range(20)])
    assert len(split.train) + len(split.heldout) == 20
    [rollout] = split.train[0]
    begun = 0
    for place, (live, label) in enumerate(zip(rollout.sampled, rollout.token_rewards, strict=True)):
        if live:
            text = tokenizer.decode(rollout.response_ids[begun : place + 1])
            begun = place + 1
            assert (text, label) in zip([*STEPS[:2], f"{STEPS[2]}<|endoftext|>"], [0.25, 0.0, 1.0], strict=True)
        else:
            assert label == 0
    assert begun == len(rollout.response_ids)
    assert sum(rollout.sampled) == 3
    assert rollout.reward == 1
    assert tokenizer.decode(rollout.prompt_ids) == f"User: {rollout.problem.question}\nAssistant:"


def test_hard_labels_say_whether_any_completion_was_right(tmp_path: Path) -> None:
    split, _ = loaded(tmp_path, [row(n) for n in range(20)], soft=False)
    [rollout] = split.train[0]
    found = [label for live, label in zip(rollout.sampled, rollout.token_rewards, strict=True) if live]
    assert found == [1.0, 0.0, 1.0]


def test_what_was_cut_off_has_no_end_and_what_is_not_known_no_label(tmp_path: Path) -> None:
    rows = [row(n, finish="length", labels=[None, 0.5, 0.0]) for n in range(20)]
    rows += [row(30, labels=[1.0, 1.0, None]), row(31, steps=["", "", ""])]
    split, tokenizer = loaded(tmp_path, rows)
    [rollout] = split.train[0]
    assert tokenizer.eos_token_id not in rollout.response_ids
    assert sum(rollout.sampled) == 2
    assert split.unread == 2


def test_a_step_may_end_within_a_character() -> None:
    _, tokenizer = load_model("micro")
    response = "ab\U0001f642cd \N{SNOWMAN}<|endoftext|> ok"
    for size in (1, 2, 3):
        rule = StepRule(max_tokens=size)
        ids, ends, texts = cut(response, False, tokenizer, rule)
        assert "".join(texts) == response
        assert len(ends) == -(-len(ids) // size)
        assert tokenizer.eos_token_id not in ids
        assert cut("".join(texts), False, tokenizer, rule) == (ids, ends, texts)


def test_the_layout_of_trl_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"Make {n}.", "completions": STEPS, "labels": [True, False, True]} for n in range(20)]
    split, _ = loaded(tmp_path, rows)
    assert split.train[0][0].token_rewards[-1] == 1.0


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"labels": [1, 0]}, {}, "3 steps need as many labels"),
        ({"labels": [1, 0, 1.5]}, {}, "each in"),
        ({"labels": [1, 0, "good"]}, {}, "each in"),
        ({"steps": "one text"}, {}, "needs a question or prompt, steps"),
        ({"question": ""}, {}, "needs a question or prompt, steps"),
        ({}, {"steps": StepRule()}, "has 3 steps, and by the rule of the recipe it has 1"),
    ],
)
def test_rows_that_cannot_be_used(
    tmp_path: Path, changes: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        loaded(tmp_path, [row(1, **changes)], **settings)


def test_steps_are_not_those_of_a_summary() -> None:
    with pytest.raises((ConfigError, ValueError), match="reads the `response`"):
        PreferenceData(data=("x",), loss="process", reads="summary")
