"""How often the single steps `a op b = c` in a model's responses are right.

python experiments/r1-zero/arithmetic.py runs/base-wide/samples.jsonl
"""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path

from reckon.evals.samples import read_samples

STEP = re.compile(r"(\d{1,4}) ([-+*/]) (\d{1,4}) = (\d{1,4})\b")


def right(a: str, sign: str, b: str, c: str) -> bool:
    left, other = Fraction(a), Fraction(b)
    if sign == "/":
        return other != 0 and left / other == int(c)
    return {"+": left + other, "-": left - other, "*": left * other}[sign] == int(c)


def main() -> None:
    steps = [step for r in read_samples(Path(sys.argv[1])) for step in STEP.findall(r.response)]
    good = sum(right(*step) for step in steps)
    print(f"{good} of {len(steps)} steps are right: {good / len(steps):.2%}")


if __name__ == "__main__":
    main()
