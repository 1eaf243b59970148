"""Math-Verify as its documentation calls it, with nothing of ours around it: what other verifiers are compared with.

It stops itself by alarms, each of five seconds, which not every loop of it obeys and which need a main thread. So it
runs in a :class:`reckon.sandbox.pool.Pool`, which imports this module once.
"""

from __future__ import annotations

from typing import Any

from math_verify import parse, verify

verify(parse("$1$"), parse("$2$"))  # builds its grammar, which takes a while, before the workers are forked


def judge(asked: list[str]) -> dict[str, Any]:
    """The verdict on ``[response, gold]``. A gold that it cannot read makes every answer wrong, as it does in use."""
    response, gold = asked
    wanted, found = parse(f"${gold}$"), parse(response)
    extracted = str(found[-1])[:1000] if found else None
    if verify(wanted, found):
        return {"score": 1.0, "reason": "correct", "extracted": extracted}
    reason = "no answer" if not found else "wrong" if wanted else "unparsable gold"
    return {"score": 0.0, "reason": reason, "extracted": extracted}
