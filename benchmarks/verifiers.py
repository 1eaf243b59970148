"""Verdicts per second on mathematics and on code, beside what else could be done.

    python -m benchmarks.verifiers [--rounds 3] [--out FILE]

Mathematics: 800 responses of an instruct model and the verifier cases but for those made to hang a verifier, which
Math-Verify need not survive. Reckon's verifier, and of it the items that it decides in this process (``exact``) and
those for which it asks its workers (``symbolic``), beside Math-Verify called one by one in one process (``plain``), and
beside the same call in a fresh interpreter for each of a few items (``fresh``). Each time is taken in a process of its
own, so nothing is remembered from the one before: ``cold_s`` is from its start to its first verdict, then come all
items once (the rate that is compared) and, of ours, once more (``again``).

Code: HumanEval's solutions, judged by ``CodeTask.verify_all`` at each tier of the jail, beside a fresh interpreter for
each that runs solution and tests as one (``fresh``; ``fresh_lean`` starts with the standard library alone), which is no
jail at all, and beside a jail of the strongest tier that is set up for each (``fresh_jail``). The first round of a tier
records the tests and starts the jail: that is ``cold_s``, and not compared.

Peers take turns, so that a slow minute of the machine meets all; medians are compared. Pool, jail and fresh
interpreters use as many processes at a time as there are processors; ``exact`` and ``plain`` one. The last line printed
is one JSON object: ratios above 1 where Reckon is faster, the figures behind them, and what was skipped and why. Data
is read from ``$RECKON_DATA``, else from ``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import date
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.pool import Outcome
from reckon.sandbox.program import Program, Ran, Sandbox
from reckon.sandbox.proof import prove
from reckon.tasks.code import CodeTask
from reckon.tasks.code.suite import INSIDE
from reckon.tasks.math import verify_all

DATA = Path(os.environ.get("RECKON_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ROUNDS = 3
FRESH_ITEMS = 20
"""Of mathematics, where one item in a fresh interpreter costs seconds."""
WORKERS = os.cpu_count() or 1

Item = tuple[str, str, str | None]
"""A response, its gold answer, and the kind of answer, which is not told here."""
Figures = dict[str, list[float]]
"""Of each peer, what was measured in each round."""

_PLAIN = (
    "import json, sys; from reckon.tasks.plain_math_verify import judge; print(judge(json.load(sys.stdin))['score'])"
)


class Missing(Exception):
    """A part that cannot be measured here; the message says why."""


def rows(path: str) -> list[dict[str, Any]]:
    """The lines of a file of the data. Raises Missing."""
    file = DATA / path
    if not file.is_file():
        raise Missing(f"there is no {path} in the data folder")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


# ------------------------------------------------------------------------------------------------- mathematics


def math_items() -> list[Item]:
    """All items. Raises Missing."""
    samples = [(text, row["answer"]) for row in rows("math_samples/math100x8.jsonl") for text in row["responses"]]
    cases = [(row["answer"], row["gold"]) for row in rows("verifier_cases/cases.jsonl") if "|dos|" not in row["note"]]
    return [(text, gold, None) for text, gold in samples + cases]


def asks_workers(item: Item) -> bool:
    """Whether the verdict on an item needs the pool."""
    asked: list[Any] = []

    class Refusing:
        def map(self, arguments: Mapping[Any, Any]) -> dict[Any, Outcome]:
            asked.extend(arguments)
            return dict.fromkeys(arguments, Outcome("crashed"))

    verify_all([item], pool=Refusing())  # type: ignore[arg-type]
    return bool(asked)


def ours(items: Sequence[Item], began: float) -> dict[str, float]:
    """Runs in a process of its own."""
    warm = "\\boxed{\\sqrt{%d}}"
    verify_all([(warm % place, f"{place}^{{1/2}} + {place}", None) for place in range(2, 2 + 4 * WORKERS)])
    cold = time.time() - began
    rates = [_rate(len(items), lambda: verify_all(items)) for _ in range(2)]
    return {"cold_s": cold, "rate": rates[0], "again": rates[1]}


def plain(items: Sequence[Item], began: float) -> dict[str, float]:
    """Runs in a process of its own, in whose main thread Math-Verify's alarms work."""
    from reckon.tasks.plain_math_verify import judge

    judge(["\\boxed{\\sqrt{2}}", "2^{1/2}"])
    cold = time.time() - began
    return {"cold_s": cold, "rate": _rate(len(items), lambda: [judge([text, gold]) for text, gold, _ in items])}


def _rate(count: int, run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return count / (time.perf_counter() - began)


def fresh_math(items: Sequence[Item], began: float) -> dict[str, float]:
    """A fresh interpreter with Math-Verify for each item."""

    def one(item: Item) -> None:
        subprocess.run(
            [sys.executable, "-c", _PLAIN], input=json.dumps(item[:2]), check=True, capture_output=True, text=True
        )

    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(one, items))
    return {"rate": len(items) / (time.time() - began)}


def alone(run: Callable[[Sequence[Item], float], dict[str, float]], items: Sequence[Item]) -> dict[str, float]:
    """What a function measures, in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(run, items, time.time()).result()


def measure_math(rounds: int) -> dict[str, Any]:
    """Every peer's rates. Raises Missing."""
    items = math_items()
    symbolic = [item for item in items if asks_workers(item)]
    exact = [item for item in items if item not in set(symbolic)]
    few = items[:: len(items) // FRESH_ITEMS][:FRESH_ITEMS]
    peers = {
        "ours": (ours, items),
        "ours_exact": (ours, exact),
        "ours_symbolic": (ours, symbolic),
        "plain": (plain, items),
        "plain_symbolic": (plain, symbolic),
        "fresh": (fresh_math, few),
    }
    found: dict[str, Figures] = {peer: {} for peer in peers}
    for _ in range(rounds):
        for peer, (run, given) in peers.items():
            for name, value in alone(run, given).items():
                found[peer].setdefault(name, []).append(value)
    figures = {peer: {name: spread(values) for name, values in one.items()} for peer, one in found.items()}
    return {"items": {peer: len(given) for peer, (_, given) in peers.items()}, "verdicts_per_s": figures}


# -------------------------------------------------------------------------------------------------------- code


def fresh_code(row: Mapping[str, str], *options: str) -> bool:
    """Whether a solution passes its tests when both are one program in an interpreter of its own."""
    source = f"{row['prompt']}{row['canonical_solution']}\n{row['test']}\ncheck({row['entry_point']})\n"
    command = [sys.executable, *options, "-c", source]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


class FreshJails:
    """A sandbox that sets up a jail for each program and takes it down behind it."""

    def __init__(self, tier: int) -> None:
        self.tier = tier

    def run(self, program: Program) -> Ran:
        with closing(LocalSandbox(self.tier, workers=1, preload=INSIDE)) as box:
            return box.run(program)

    def run_all(self, programs: Sequence[Program]) -> list[Ran]:
        with ThreadPoolExecutor(WORKERS) as threads:
            return list(threads.map(self.run, programs))

    def close(self) -> None:
        pass


def measure_code(rounds: int) -> dict[str, Any]:
    """Every tier's rate and that of fresh interpreters. Raises Missing."""
    found = rows("humaneval/test.jsonl")
    task = CodeTask(CodeTask.Config(heldout_path=str(DATA / "humaneval/test.jsonl")))
    began = time.perf_counter()
    tiers = range(1, prove().tier + 1)
    proof_s = time.perf_counter() - began
    boxes: dict[str, Sandbox] = {f"tier{tier}": LocalSandbox(tier, preload=INSIDE) for tier in tiers}
    boxes["fresh_jail"] = FreshJails(max(tiers))
    with mock.patch("reckon.tasks.code.task.open_sandbox", return_value=boxes[f"tier{max(tiers)}"]):
        problems = task.problems("heldout")
    asked = [(problem, task.gold_response(problem) or "") for problem in problems]

    def judge(box: Sandbox, task: CodeTask) -> float:
        with mock.patch("reckon.tasks.code.task.open_sandbox", return_value=box):
            return _rate_right(lambda: [verdict.score == 1 for verdict in task.verify_all(asked)])

    def fresh(*options: str) -> float:
        with ThreadPoolExecutor(WORKERS) as threads:
            return _rate_right(lambda: list(threads.map(lambda row: fresh_code(row, *options), found)))

    tasks = {tier: CodeTask(task.config) for tier in boxes}
    cold = {tier: len(asked) / judge(box, tasks[tier]) for tier, box in boxes.items()}
    fresh()
    figures: Figures = {peer: [] for peer in ("fresh", "fresh_lean", *boxes)}
    for _ in range(rounds):
        figures["fresh"].append(fresh())
        figures["fresh_lean"].append(fresh("-I", "-S"))
        for tier, box in boxes.items():
            figures[tier].append(judge(box, tasks[tier]))
    for box in boxes.values():
        box.close()
    return {
        "items": len(asked),
        "proof_s": proof_s,
        "cold_s": cold,
        "verdicts_per_s": {peer: spread(values) for peer, values in figures.items()},
    }


def _rate_right(run: Callable[[], list[bool]]) -> float:
    right: list[bool] = []
    rate = _rate(1, lambda: right.extend(run()))
    if not all(right):
        raise RuntimeError(f"{right.count(False)} right solutions are called wrong")
    return rate * len(right)


# ------------------------------------------------------------------------------------------------------ result


def ratios(math: Mapping[str, Any] | None, code: Mapping[str, Any] | None) -> dict[str, float]:
    """Medians of ours over those of the others; above 1 where ours is faster."""
    found = {}
    if math:
        rate = {peer: one["rate"]["median"] for peer, one in math["verdicts_per_s"].items()}
        found["math_vs_plain"] = rate["ours"] / rate["plain"]
        found["math_vs_subprocess"] = rate["ours"] / rate["fresh"]
        found["math_symbolic_vs_plain"] = rate["ours_symbolic"] / rate["plain_symbolic"]
        found["math_symbolic_vs_subprocess"] = rate["ours_symbolic"] / rate["fresh"]
    if code:
        rate = {peer: one["median"] for peer, one in code["verdicts_per_s"].items()}
        tiers = sorted(peer for peer in rate if peer.startswith("tier"))
        found |= {f"code_{tier}_vs_subprocess": rate[tier] / rate["fresh"] for tier in tiers}
        found["code_vs_fresh_jail"] = rate[tiers[-1]] / rate["fresh_jail"]
    return found


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "date": date.today().isoformat(),
        "processors": WORKERS,
        "cpu": names[0] if names else platform.processor(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "math_verify": version("math-verify"),
        "load": os.getloadavg()[0],
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, help="write the JSON object to this file too")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    hardware = machine()
    for part, measure in (("math", measure_math), ("code", measure_code)):
        try:
            figures[part] = measure(options.rounds)
        except Missing as error:
            skipped[part] = str(error)
            print(f"{part}: skipped, {error}")
    result = ratios(figures.get("math"), figures.get("code")) | figures | {"skipped": skipped, "machine": hardware}
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
