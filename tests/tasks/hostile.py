"""Every verifier against random text and damaged right answers.

    python -m tests.tasks.hostile [--random 100000] [--damaged 10000] [--only NAME ...] [--out FILE]

Prints one JSON object: for each verifier how many texts it judged, what it said, how long it took, and its ``faults``:
it raised, took longer than it may, could not judge, or scored right what :mod:`tests.tasks.oracles` knows to be wrong.
What was scored right and the oracle cannot tell is counted as ``unsure``, with examples to read. An absent score is a
fault only where more than one text in a thousand gets it; each kind has an example.

A verifier of another project (``math-verify``) is only to come back; what it gets wrong is counted, and no fault.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib.util
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reckon.core.errors import ConfigError
from reckon.core.records import Problem, Verdict
from reckon.sandbox.config import SandboxConfig, open_sandbox
from reckon.sandbox.limits import Limits
from reckon.tasks.base import Task
from reckon.tasks.registry import build_task
from reckon.tasks.verifiers import VERIFIERS
from tests.tasks import oracles
from tests.tasks.hostile_texts import damaged, random_text
from tests.tasks.oracles import Opinion

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BATCH = 500
HANG_S = 300.0
"""After this long in one batch, the process says where it is and ends."""
MOST_ABSENT = 0.001
EXAMPLES = 8

BARE = ("", "")
TAGS = ("<think> hm </think> <answer>", "</answer>")
BOX = ("So it is \\boxed{", "}.")
FENCE = ("</think>\n```python\n", "\n```\n")

Judge = Callable[[Sequence[tuple[Problem, str]]], list[Verdict]]


@dataclass(frozen=True)
class Target:
    """A verifier, problems for it, each with right responses, and what random text is put into.

    Attributes:
        may_take_s: the longest that one verdict may take, waiting for a worker included.
        ours: whether a wrong verdict is a fault.
    """

    name: str
    judge: Judge
    problems: Sequence[tuple[Problem, Sequence[str]]]
    oracle: Callable[[Problem, str], Opinion]
    shapes: Sequence[tuple[str, str]] = (BARE, TAGS, BOX)
    may_take_s: float = 1.0
    ours: bool = True


@dataclass
class Found:
    """What became of the texts given to one verifier."""

    texts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)
    unsure: int = 0
    slowest_s: float = 0.0
    wall_s: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def report(self, ours: bool) -> dict[str, Any]:
        faults = list(self.faults)
        if ours and sum(self.absent.values()) > MOST_ABSENT * sum(self.texts.values()):
            faults.append({"fault": f"absent scores: {dict(self.absent)}"})
        return {**vars(self), "faults": faults}


def texts(target: Target, kind: str, count: int, seed: int) -> Iterator[tuple[Problem, str]]:
    """``count`` texts of a kind, ``random`` or ``damaged``, each with the problem that it is to answer."""
    rng = random.Random(f"{target.name} {kind} {seed}")
    for number in range(count):
        problem, right = target.problems[number % len(target.problems)]
        if kind == "damaged":
            yield problem, damaged(rng, rng.choice(right))
        else:
            before, after = target.shapes[rng.randrange(len(target.shapes))]
            yield problem, before + random_text(rng) + after


def fuzz(target: Target, counts: dict[str, int], seed: int = 0) -> dict[str, Any]:
    """Judges as many texts of each kind as ``counts`` says; see the module."""
    found = Found()
    target.judge([(problem, right[0]) for problem, right in target.problems])  # starts workers, fills caches
    for kind, count in counts.items():
        source = texts(target, kind, count, seed)
        while asked := [one for _, one in zip(range(BATCH), source, strict=False)]:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            start = time.perf_counter()
            verdicts = target.judge(asked)
            found.wall_s += time.perf_counter() - start
            faulthandler.cancel_dump_traceback_later()
            assert len(verdicts) == len(asked)
            for one, verdict in zip(asked, verdicts, strict=True):
                _note(target, kind, *one, verdict, found)
    return found.report(target.ours)


def _note(target: Target, kind: str, problem: Problem, text: str, verdict: Verdict, found: Found) -> None:
    def example(what: str) -> dict[str, Any]:
        said = {"score": verdict.score, "reason": verdict.reason, "extracted": verdict.extracted}
        shown = text if len(text) <= 400 else f"{text[:100]} ... {text[-300:]}"
        return {"fault": what, "kind": kind, "gold": str(problem.gold)[:200], "text": shown, **said}

    found.texts[kind] += 1
    found.reasons[verdict.reason.partition(":")[0][:60]] += 1
    seconds = verdict.seconds
    if seconds > target.may_take_s:  # on a busy machine it may have waited
        seconds = min(seconds, target.judge([(problem, text)])[0].seconds)
    found.slowest_s = max(found.slowest_s, seconds)
    if seconds > target.may_take_s:
        found.faults.append(example(f"took {seconds:.1f} s"))
    if verdict.reason.startswith("the verifier raised"):
        found.faults.append(example("raised"))
    elif verdict.score is None:
        if not found.absent[verdict.reason]:
            found.examples.append(example("absent"))
        found.absent[verdict.reason] += 1
    if verdict.score == 1:
        opinion = target.oracle(problem, text)
        found.right[kind] += 1
        if opinion == "wrong":
            (found.faults if target.ours else found.examples).append(example("scored right and is wrong"))
        elif opinion == "unsure":
            found.unsure += 1
            if len(found.examples) < EXAMPLES or kind == "random":
                found.examples.append(example("scored right, for a person to judge"))


# ------------------------------------------------------------------------------------------------ the verifiers


def numbers() -> list[tuple[Problem, list[str]]]:
    """Whole-number problems with responses of a model that are right, those of MATH where they are at hand."""
    file = DATA / "math_samples" / "math100x8.jsonl"
    if not file.exists():
        shapes = ("The sum is $3 + 4$, so we get\n\\[ {0} = {0} \\]\nTherefore, the answer is \\(\\boxed{{{0}}}\\).",)
        golds = ("420", "7391", "-49", "6", "1020")
        return [(Problem(gold, "?", gold), [shape.format(gold) for shape in shapes]) for gold in golds]
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    found = []
    for number, row in enumerate(rows):
        gold = row["answer"]
        if not gold.lstrip("-").isdecimal():
            continue
        problem = Problem(f"math100:{number}", row["problem"], gold)
        right = [text for text, ok in zip(row["responses"], row["correct"], strict=True) if ok]
        right = [text for text in right if oracles.number(problem, text) == "right"]
        if right:
            found.append((problem, right))
    return found


def named(name: str) -> Target:
    """A verifier by its name in ``reckon verify``."""
    problems = numbers()
    if name == "exact":
        problems = [(one, [f"<think> hm </think> <answer> {one.gold} </answer>"]) for one, _ in problems]

    def judge(asked: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return VERIFIERS[name]([(text, problem.gold, None) for problem, text in asked])

    longest = {"math": 7.0, "math-verify": 22.0}.get(name, 1.0)
    return Target(name, judge, problems, oracles.number, may_take_s=longest, ours=name != "math-verify")


def task_target(kind: str, settings: dict[str, Any], oracle: Callable[[Problem, str], Opinion], **more: Any) -> Target:
    """A task with the golds of its own problems."""
    task = build_task({"kind": kind, **settings})
    return of_task(more.pop("name", kind), task, task.problems("heldout"), oracle, **more)


def of_task(name: str, task: Task, problems: Sequence[Problem], oracle: Any, most: int = 50, **more: Any) -> Target:
    right = [(problem, task.gold_response(problem)) for problem in problems]
    found = [(problem, [text]) for problem, text in right if text is not None and oracle(problem, text) == "right"]
    return Target(name, task.verify_all, found[:most], oracle, **more)


def code(folder: Path) -> Target:
    """HumanEval's functions, or one of ours, and a program. Raises ConfigError where no jail is fit for them."""
    limits = Limits(timeout_s=2.0)
    open_sandbox(SandboxConfig(limits=limits))
    own = {
        "task_id": "add", "prompt": "def add(a, b):\n", "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(7000, 391) == 7391\n    assert candidate(-1, 1) == 0\n",
    }  # fmt: skip
    program = {
        "task_id": "sum", "question": "Add.", "tests": [{"input": "7000 391\n", "output": "7391\n"}],
        "reference": "print(sum(map(int, input().split())))",
    }  # fmt: skip
    rows = [json.dumps(own), json.dumps(program)]
    file = DATA / "humaneval" / "test.jsonl"
    if file.exists():
        rows += file.read_text(encoding="utf-8").splitlines()[::4]
    path = folder / "problems.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    task = build_task({"kind": "code", "heldout_path": str(path), "sandbox": {"limits": limits.model_dump()}})
    problems = task.problems("heldout")
    # Running a program costs so much more than reading a text that most are left as they are.
    shapes = (*[BARE] * 10, *[TAGS] * 9, FENCE)
    return of_task("code", task, problems, oracles.code, shapes=shapes, may_take_s=7.0)


def targets(folder: Path) -> dict[str, Callable[[], Target]]:
    """How to make each: of the named verifiers and of every task but a mix of others."""
    rows = folder / "choice.jsonl"
    options = [
        {"question": f"Which is {n}?", "choices": [f"{n + k}" for k in range(4)], "answer": n % 4} for n in range(9)
    ]
    rows.write_text("".join(json.dumps(row) + "\n" for row in options))
    gsm8k = folder / "test.jsonl"
    gsm8k.write_text("".join(json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) + "\n" for n in (7391, 18, 1020)))

    def math() -> Target:
        path = folder / "math.jsonl"
        path.write_text("".join(json.dumps({"question": f"{n}?", "answer": str(n)}) + "\n" for n in (7391, 18, -1020)))
        return task_target("math", {"heldout": str(path)}, oracles.number, name="math task", may_take_s=7.0)

    few = {"train_problems": 1, "heldout_problems": 50}
    made: dict[str, Callable[[], Target]] = {
        name: lambda name=name: named(name)  # type: ignore[misc]
        for name in VERIFIERS
    }
    made["countdown"] = lambda: task_target("countdown", {"numbers": [3, 4], **few}, oracles.countdown)
    made["arithmetic"] = lambda: task_target("arithmetic", few, oracles.number)
    made["logic"] = lambda: task_target("logic", {"people": [2, 3, 5], **few}, oracles.logic)
    made["choice"] = lambda: task_target("choice", {"heldout": str(rows)}, oracles.choice)
    made["instructions"] = lambda: task_target("instructions", {"heldout_problems": 100}, oracles.instructions)
    made["general"] = lambda: task_target("general", {}, oracles.reply)
    made["safety"] = lambda: task_target("safety", {}, oracles.reply)
    made["gsm8k"] = lambda: task_target("gsm8k", {"path": str(folder)}, oracles.number)
    made["math task"] = math
    made["code"] = lambda: code(folder)
    for name in ("chain_sum", "simple_equations", "polynomial_equations", "rotate_matrix"):
        settings = {"name": name, "train_problems": 1, "heldout_problems": 20}
        made[f"reasoning_gym {name}"] = lambda settings=settings, name=name: task_target(  # type: ignore[misc]
            "reasoning_gym", settings, oracles.gym, name=f"reasoning_gym {name}", may_take_s=22.0
        )
    return made


def missing() -> dict[str, str]:
    """What cannot be tried here, and why."""
    found = {}
    if importlib.util.find_spec("reasoning_gym") is None:
        found["reasoning_gym"] = "the package reasoning-gym is not installed"
    try:
        open_sandbox(SandboxConfig())
    except ConfigError as error:
        found["code"] = str(error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=100_000)
    parser.add_argument("--damaged", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    absent = missing()
    result: dict[str, Any] = {"seed": options.seed, "not tried": absent, "verifiers": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in targets(Path(folder)).items():
            if name.split()[0] in absent or (options.only and name not in options.only):
                continue
            one = fuzz(make(), {"random": options.random, "damaged": options.damaged}, options.seed)
            result["verifiers"][name] = one
            print(name, {key: one[key] for key in ("texts", "right", "absent", "unsure", "slowest_s", "wall_s")})
            print("    faults:", len(one["faults"]), flush=True)
    result["faults"] = sum(len(one["faults"]) for one in result["verifiers"].values())
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
