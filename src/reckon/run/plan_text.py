"""A plan as YAML comments, to follow the recipe that it is the plan of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import wrap

from reckon.run.costs import UTILISATION, Memory
from reckon.run.plan import TIMED, Cost, StagePlan

_WIDTH = 118


def plan_comments(plan: Sequence[StagePlan]) -> str:
    """The plan, each line behind a ``#``."""
    lines = [line for number, stage in enumerate(plan, 1) for line in [*_stage(number, stage), ""]]
    return "".join(f"# {line}".rstrip() + "\n" for line in ["The plan", "", *lines, *_total(plan)])


def _stage(number: int, plan: StagePlan) -> Iterator[str]:
    done = f", {plan.done:.0%} done" if plan.status == "goes on" else ""
    yield f"{number} {plan.name} ({plan.kind}): {plan.status}{done}"
    yield from _field("changed", "; ".join(plan.changes))
    yield from _field("reads", ", ".join(f"{name}: {value}" for name, value in plan.reads.items()))
    yield from _field("makes", plan.makes)
    shown = {name: f"{value:,}" if isinstance(value, int) else str(value) for name, value in plan.sketch.batch.items()}
    yield from _field("batch", ", ".join(f"{name} {value}" for name, value in shown.items()))
    tokens = []
    for each, _ in plan.sketch.passes:
        expected = "" if each.expected_tokens is None else f", about {each.expected_tokens:,}"
        tokens.append(f"{each.what} at most {each.most_tokens:,}{expected}")
    yield from _field("tokens", "; ".join(tokens))
    yield from _field("memory", _memory(plan.sketch.memory))
    yield from _field("time", _times(plan.time))
    for note in plan.sketch.notes:
        yield from _field("note", note)


def _field(name: str, text: str) -> Iterator[str]:
    """A name and its text, wrapped and aligned; nothing for no text."""
    for index, line in enumerate(wrap(text, _WIDTH - 11, break_long_words=False, break_on_hyphens=False)):
        yield f"  {name if index == 0 else '':<8} {line}"


def _memory(memory: Memory | None) -> str:
    if memory is None:
        return ""
    return f"{_bytes(memory.total)}: " + ", ".join(f"{name} {_bytes(size)}" for name, size in memory.parts().items())


def _times(time: dict[str, Cost]) -> str:
    def shown(seconds: float, device: str) -> str:
        return _duration(seconds) if device == "here" else f"{_number(seconds / 3600)} GPU-hours"

    parts = []
    for device, cost in time.items():
        expected = "" if cost.expected is None else f", about {shown(cost.expected, device)}"
        parts.append(f"{device} at most {shown(cost.most, device)}{expected}")
    return "; ".join(parts)


def _total(plan: Sequence[StagePlan]) -> Iterator[str]:
    """The sum over stages that have a time, what it leaves out, and what was assumed."""
    devices = dict.fromkeys(device for stage in plan for device in stage.time)
    sums = {}
    for device in devices:
        found = [stage.time[device] for stage in plan if device in stage.time]
        expected = [cost.expected for cost in found if cost.expected is not None]
        sums[device] = Cost(sum(cost.most for cost in found), sum(expected) if len(expected) == len(found) else None)
    if not sums:
        return
    without = [stage.name for stage in plan if stage.status != "finished" and stage.kind in TIMED and not stage.time]
    yield from wrap("In all: " + _times(sums) + (f"; without {', '.join(without)}" if without else ""), _WIDTH)
    kind = "cpu" if "here" in sums else "cuda"
    use = UTILISATION[kind]
    of = "the rate of matrix products measured here" if kind == "cpu" else "the rate in the data sheet of one such GPU"
    yield f"Assumed: {use['train']:.0%} of {of} in training, {use['generate']:.0%} in generation;"
    yield "every response as long as it may be, unless it says about. Prompts, verifiers and loading come on top."


def _number(value: float) -> str:
    """With three digits."""
    return f"{value:.3g}" if value < 1000 else f"{round(value, 2 - math.floor(math.log10(value))):,.0f}"


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{_number(size / scale)} {unit}"
    return f"{_number(size / 1e3)} kB"


def _duration(seconds: float) -> str:
    for unit, scale in (("h", 3600), ("min", 60)):
        if seconds >= scale:
            return f"{seconds / scale:,.1f} {unit}"
    return f"{seconds:.0f} s"
