from __future__ import annotations

from pathlib import Path as FilePath
from typing import Any

import pytest
import torch

from reckon.core.errors import ConfigError, DataError
from reckon.core.records import Problem
from reckon.models.load import load_model, save_model
from reckon.models.reward import RewardCard, make_reward_model, set_card
from reckon.models.steps import MICRO_STEPS, step_ends
from reckon.models.template import response_text
from reckon.rollout.process import ImplicitReward, ProcessReward
from reckon.search.base import Path, StepScorer

PROCESS = RewardCard(loss="process", reads="response", template="micro", steps=MICRO_STEPS)
IMPLICIT = RewardCard(loss="implicit", reads="response", template="micro", beta=0.5)
TEXTS = (" 1 + 2 = 3, 3 * 4 = 12, yes.", " 1 * 2 = 2, no. 1 + 2", " no.")


def path(words: str, **changes: Any) -> Path:
    _, tokenizer = load_model("micro")
    ids = tokenizer(words)["input_ids"]
    problem = Problem("p", "Make 12 from 1, 2, 4.", None)
    whole = {"token_ids": ids, "text": response_text(ids, tokenizer), "ends": step_ends(ids, tokenizer, MICRO_STEPS)}
    return Path(problem, [1, 2, 3], **{**whole, **changes})


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    model, tokenizer = make_reward_model("micro", PROCESS)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("process")
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def implicit(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    model, tokenizer = load_model("micro")
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 1.05
    set_card(model, IMPLICIT)
    folder = tmp_path_factory.mktemp("implicit")
    save_model(model, tokenizer, folder)
    return folder


def test_a_score_is_what_the_head_says_of_the_question_and_the_steps_so_far(process: FilePath) -> None:
    scorer: StepScorer = ProcessReward(process)
    paths = [path(text) for text in TEXTS]
    scores = scorer.score(paths)
    assert [len(own) for own in scores] == [3, 2, 1]
    model, tokenizer = scorer._forward.model, scorer._tokenizer  # type: ignore[attr-defined]
    prompt = tokenizer("User: Make 12 from 1, 2, 4.\nAssistant:")["input_ids"]
    for one, own in zip(paths, scores, strict=True):
        for end, score in zip(one.ends, own, strict=True):
            with torch.no_grad():
                found = model(input_ids=torch.tensor([[*prompt, *one.token_ids[:end]]])).logits[0, 0].sigmoid()
            assert score == pytest.approx(found.item(), abs=1e-4)
    assert scorer.tokens == sum(len(prompt) + len(one.token_ids) for one in paths)


@pytest.mark.parametrize("kind", ["process", "implicit"])
def test_company_changes_no_score(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    scorer = ProcessReward(folder) if kind == "process" else ImplicitReward(folder, "micro")
    together = scorer.score([path(text) for text in (*TEXTS, "")])
    assert together[-1] == []
    for text, own in zip(TEXTS, together, strict=False):
        assert scorer.score([path(text)])[0] == pytest.approx(own, abs=1e-5)
    assert scorer.score([]) == []


def test_implicit_rewards_are_scaled_log_ratios_and_scores_their_running_sums(implicit: FilePath) -> None:
    scorer = ImplicitReward(implicit, "micro")
    one = path(TEXTS[0])
    [rewards], [scores] = scorer.rewards([one]), scorer.score([one])
    now, tokenizer = load_model(implicit)
    before, _ = load_model("micro")
    prompt = tokenizer("User: Make 12 from 1, 2, 4.\nAssistant:")["input_ids"]
    ids = torch.tensor([[*prompt, *one.token_ids]])
    with torch.no_grad():
        ratio = now(ids).logits.log_softmax(-1) - before(ids).logits.log_softmax(-1)
    own = ratio[0, len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0]
    parts = own.split([end - start for start, end in zip([0, *one.ends], one.ends, strict=False)])
    expected = torch.stack([0.5 * part.sum() for part in parts])
    assert max(map(abs, rewards)) > 0.01
    assert rewards == pytest.approx(expected.tolist(), abs=1e-4)
    assert scores == pytest.approx(expected.cumsum(0).sigmoid().tolist(), abs=1e-4)


def test_the_words_of_another_tokenizer_are_refused(process: FilePath) -> None:
    scorer = ProcessReward(process)
    for changes in ({"text": "other words"}, {"token_ids": [10**6]}):
        with pytest.raises(ConfigError, match="another tokenizer"):
            scorer.score([path(TEXTS[0], **changes)])


def test_a_model_of_another_loss_is_refused(process: FilePath, implicit: FilePath, tmp_path: FilePath) -> None:
    with pytest.raises(DataError, match="the loss implicit, not process"):
        ProcessReward(implicit)
    with pytest.raises(DataError, match="not a reward model of Reckon"):
        ImplicitReward("micro", "micro")
    model, tokenizer = make_reward_model("micro", RewardCard(loss="pointwise", reads="response", template="micro"))
    save_model(model, tokenizer, tmp_path / "outcome")
    with pytest.raises(DataError, match="the loss pointwise, not process"):
        ProcessReward(tmp_path / "outcome")
