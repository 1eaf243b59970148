"""Untrusted programs per second at each tier of the jail, beside a fresh interpreter for each program.

    python -m benchmarks.sandbox [--programs 400] [--out FILE]

Two programs: ``bare`` adds numbers that it reads; ``usual`` does so too, after the imports with which solutions of
coding problems begin. The peer is ``python -I -S`` started by ``subprocess.run``, its deadline and captured output
included, but no jail of any kind. All run as many at a time as there are processors. They take turns, so that a slow
minute of the machine meets all; each turn gives one rate, and medians are compared. The last line printed is one JSON
object: rates in programs per second, and the ratios ``tierN_vs_fresh``, above 1 where the jail is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from reckon.sandbox.jail import LocalSandbox
from reckon.sandbox.limits import Limits
from reckon.sandbox.program import Program
from reckon.sandbox.proof import prove

ROUNDS = 5

SOURCES = {
    "bare": "print(sum(map(int, input().split())))\n",
    "usual": "import bisect, collections, copy, functools, heapq, itertools, json, math, random, re, string, sys\n"
    "from typing import Dict, List, Optional, Tuple\n"
    "def solve(numbers: List[int]) -> int:\n    return sum(numbers)\n"
    "print(solve(list(map(int, sys.stdin.readline().split()))))\n",
}
STDIN = "1 2 3\n"
STDOUT = "6\n"


def fresh(source: str) -> str:
    """What a program prints in an interpreter of its own."""
    command = [sys.executable, "-I", "-S", "-c", source]
    return subprocess.run(command, input=STDIN, capture_output=True, text=True, timeout=10).stdout


def rate(run: Callable[[int], list[str]], programs: int) -> float:
    """Programs per second, each of which must have printed what it should."""
    began = time.perf_counter()
    printed = run(programs)
    seconds = time.perf_counter() - began
    if set(printed) != {STDOUT}:
        raise RuntimeError(f"a program printed something else: {set(printed)}")
    return programs / seconds


def measure(programs: int) -> dict[str, object]:
    """Rates of every peer on every program, and ratios."""
    workers = os.cpu_count() or 1
    boxes = {f"tier{tier}": LocalSandbox(tier) for tier in range(1, prove().tier + 1)}
    result: dict[str, object] = {}
    for name, source in SOURCES.items():

        def subprocesses(number: int, source: str = source) -> list[str]:
            with ThreadPoolExecutor(workers) as threads:
                return list(threads.map(fresh, [source] * number))

        def jailed(box: LocalSandbox, source: str = source) -> Callable[[int], list[str]]:
            program = Program(source, stdin=STDIN, limits=Limits(timeout_s=10))
            return lambda number: [ran.stdout for ran in box.run_all([program] * number)]

        peers = {"fresh": subprocesses} | {tier: jailed(box) for tier, box in boxes.items()}
        rates: dict[str, list[float]] = {peer: [] for peer in peers}
        for run in peers.values():
            run(2 * workers)
        for _ in range(ROUNDS):
            for peer, run in peers.items():
                share = programs if peer != "fresh" else max(1, programs // 5)
                rates[peer].append(rate(run, share // ROUNDS))
        medians = {peer: statistics.median(values) for peer, values in rates.items()}
        ratios = {f"{tier}_vs_fresh": medians[tier] / medians["fresh"] for tier in boxes}
        spreads = {peer: {"median": medians[peer], "min": min(r), "max": max(r)} for peer, r in rates.items()}
        result[name] = {**ratios, **spreads}
        for peer, value in medians.items():
            print(f"{name:6} {peer:6} {value:7.0f} programs/s")
    for box in boxes.values():
        box.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1000, help="of each kind and peer, in all; a fifth if fresh")
    parser.add_argument("--out", type=Path, help="write the JSON object to this file too")
    options = parser.parse_args()
    result = measure(options.programs) | {
        "workers": os.cpu_count(),
        "python": sys.version.partition(" ")[0],
        "date": date.today().isoformat(),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
