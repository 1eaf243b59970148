"""Samples for the reader's eye: the same problems before and after, and groups of rollouts, token by token.

Model text is hostile. It leaves here with every control and direction character spelled out, and the page
puts it in with ``textContent`` only.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from reckon.core.records import Rollout
from reckon.evals.metrics import passes
from reckon.report.load import RunFiles, number, spread

ROLLOUT_BYTES = 3_000_000
STEPS_WANTED = 20
TOKENS_PER_SAMPLE = 3_000
CHARACTERS_PER_SAMPLE = 12_000
PAIRS_PER_KIND = 4
CHANGES = ("wrong-right", "right-wrong", "wrong-wrong", "right-right")

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """``text`` with control, direction, zero-width and surrogate characters spelled out; newline and tab stay."""

    return _INVISIBLE.sub(lambda match: f"‹U+{ord(match[0]):04X}›", text)


def clipped(text: str, limit: int = CHARACTERS_PER_SAMPLE) -> str:
    """``text`` made visible; past ``limit`` characters, its length instead of its rest."""
    if len(text) <= limit:
        return visible(text)
    return visible(text[:limit]) + f" ‹{len(text) - limit:,} more characters›"


class Pieces:
    """Token ids as readable text, by the tokenizer of the newest checkpoint."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.seen: dict[int, str] = {}

    @classmethod
    def of(cls, run: RunFiles) -> Pieces | None:
        """None when no checkpoint has a readable tokenizer.json."""
        files = sorted(run.stage.glob("checkpoint/*/tokenizer.json")) if run.stage else []
        for path in reversed(files):
            try:
                return cls(Tokenizer.from_file(str(path)))
            except Exception as error:  # the tokenizers library raises bare Exception
                run.notes.append(f"{path.relative_to(run.path)} could not be read: {error}")
        return None

    def note(self, ids: Iterable[int]) -> None:
        """Add these ids to ``seen``."""
        for token in ids:
            if token not in self.seen:
                self.seen[token] = visible(self._text(token))

    def _text(self, token: int) -> str:
        raw = self._tokenizer.id_to_token(token) if token >= 0 else None
        if raw is None:
            return f"‹id {token}›"
        if raw.startswith("▁"):
            return raw.replace("▁", " ")
        text: str = self._tokenizer.decode([token], skip_special_tokens=False)
        if "\ufffd" not in text:
            return text
        found = [_BYTE_OF.get(character) for character in raw]
        return "‹" + " ".join("??" if byte is None else f"{byte:02x}" for byte in found) + "›"


def _byte_of_character() -> dict[str, int]:
    """How byte-level BPE writes bytes: the printable ones of Latin-1 as they are, the rest from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + i): byte for i, byte in enumerate(rest)}


_BYTE_OF = _byte_of_character()


def kind_of(rollout: Rollout) -> str:
    """``right`` (full marks), ``wrong`` or ``absent``."""
    if rollout.verdict is None or rollout.verdict.score is None:
        return "absent"
    return "right" if passes(rollout.verdict) else "wrong"


def pairs(before: list[Rollout], after: list[Rollout]) -> dict[str, Any] | None:
    """The same problem and sample number, before and after: counts of each change and evenly chosen examples."""
    first = {(rollout.problem.id, rollout.sample): rollout for rollout in before}
    found: dict[str, list[tuple[Rollout, Rollout]]] = {kind: [] for kind in CHANGES}
    for rollout in after:
        partner = first.get((rollout.problem.id, rollout.sample))
        if partner is not None and "absent" not in (kind_of(partner), kind_of(rollout)):
            found[f"{kind_of(partner)}-{kind_of(rollout)}"].append((partner, rollout))
    if not any(found.values()):
        return None
    examples = []
    for kind, changed in found.items():
        one_per_problem = list({pair[0].problem.id: pair for pair in changed}.values())
        chosen = sorted(islice(spread(len(one_per_problem)), PAIRS_PER_KIND))
        for old, new in (one_per_problem[index] for index in chosen):
            question = clipped(old.problem.question)
            examples.append({"kind": kind, "question": question, "before": _answer(old), "after": _answer(new)})
    return {"counts": {kind: len(rows) for kind, rows in found.items()}, "examples": examples}


def parted(response: str) -> tuple[str, str]:
    """Thinking, up to its end tag, and what follows; without the tag all is thinking."""
    thinking, mark, answer = response.rpartition("</think>")
    return (thinking + mark, answer) if mark else (response, "")


def _answer(rollout: Rollout) -> dict[str, Any]:
    thinking, answer = parted(rollout.response)
    return {
        "thinking": clipped(thinking),
        "answer": clipped(answer),
        "kind": kind_of(rollout),
        "reason": visible(rollout.verdict.reason if rollout.verdict else ""),
        "tokens": len(rollout.response_ids),
        "finish": rollout.finish,
    }


def rollout_steps(run: RunFiles) -> dict[str, Any]:
    """Evenly chosen steps of the stage's rollouts within ROLLOUT_BYTES, and what was left out, in words."""
    files = sorted(run.stage.glob("rollouts/step-*.jsonl")) if run.stage else []
    pieces = Pieces.of(run)
    left, share = ROLLOUT_BYTES, ROLLOUT_BYTES // max(1, min(STEPS_WANTED, len(files)))
    steps = []
    for index in spread(len(files)):
        step = _step(run, files[index], pieces, min(share, left))
        size = _size(step)
        if size > left:
            break
        left -= size
        steps.append(step)
    steps = sorted((step for step in steps if step["groups"]), key=lambda step: step["step"])
    without = sum(step["groups_on_disk"] - len(step["groups"]) for step in steps)
    if not steps:
        return {"steps": [], "pieces": {}, "note": "No rollouts were recorded."}
    note = f"{len(steps)} of {len(files)} steps on disk are shown, evenly chosen"
    note += f"; {without} groups of these steps were left out to keep this file small." if without else "."
    if pieces is None:
        note += " No checkpoint has a tokenizer, so responses are shown as text, not token by token."
    return {"steps": steps, "pieces": pieces.seen if pieces else {}, "note": note}


def _step(run: RunFiles, path: Path, pieces: Pieces | None, budget: int) -> dict[str, Any]:
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in run.rollouts(path):
        groups[rollout.problem.id].append(rollout)
    shown: list[dict[str, Any]] = []
    for members in groups.values():
        group = _group(members, pieces, budget)
        budget -= _size(group)
        if shown and (budget < 0 or len(group["samples"]) < len(members)):
            break
        shown.append(group)
    return {"step": int(path.stem.partition("-")[2]), "groups": shown, "groups_on_disk": len(groups)}


def _group(members: list[Rollout], pieces: Pieces | None, budget: int) -> dict[str, Any]:
    """One problem and as many of its samples as fit the budget in bytes, at least one."""
    samples: list[dict[str, Any]] = []
    for rollout in members:
        samples.append(_sample(rollout, pieces))
        budget -= _size(samples[-1])
        if budget < 0:
            break
    problem = members[0].problem
    return {
        "id": visible(problem.id),
        "question": clipped(problem.question),
        "gold": clipped(json.dumps(problem.gold, ensure_ascii=False, default=str), 300),
        "samples": samples,
        "samples_on_disk": len(members),
    }


def _sample(rollout: Rollout, pieces: Pieces | None) -> dict[str, Any]:
    ids, logp = rollout.response_ids[:TOKENS_PER_SAMPLE], rollout.logp[:TOKENS_PER_SAMPLE]
    sample: dict[str, Any] = {
        "n": rollout.sample,
        "kind": kind_of(rollout),
        "reason": visible(rollout.verdict.reason if rollout.verdict else "not judged"),
        "extracted": clipped(rollout.verdict.extracted or "", 300) if rollout.verdict else "",
        "finish": rollout.finish,
        "reward": number(rollout.reward),
        "parts": {name: number(value) for name, value in rollout.parts.items()},
        "advantage": None if (advantage := number(rollout.advantage)) is None else round(advantage, 4) or 0.0,
        "tokens": len(rollout.response_ids),
    }
    if pieces is None:
        return sample | {"text": clipped(rollout.response)}
    pieces.note(ids)
    sample["ids"] = ids
    sample["logp"] = [None if (value := number(x)) is None else round(value, 2) for x in logp]
    if rollout.sampled is not None and not all(rollout.sampled):
        sample["forced"] = [i for i, sampled in enumerate(rollout.sampled[: len(ids)]) if not sampled]
    return sample


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))
