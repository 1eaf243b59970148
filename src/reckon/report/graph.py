"""Where the stages of a pipeline stand on the page: in columns by what they read, with tracks for passing lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

SWEEPS = 4
"""Times that the order within the columns is improved, forwards and backwards."""


def layout(reads: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Columns and lanes for stages, and tracks for lines.

    A stage stands in the column after the last one it reads from. Within a column, stages are ordered by the mean place
    of their neighbours (Sugiyama et al., IEEE Trans. SMC 11, 1981). What is read from further away than the column
    before travels on a track outside the columns, which all such readers of a stage share, so that no line crosses a
    stage; tracks that are never beside each other share a number.

    Args:
        reads: the earlier stages that each stage reads from, in the order of the run.

    Returns:
        ``columns`` and ``tracks``: their numbers; ``nodes``: ``stage``, ``column`` and ``lane`` of each; ``lines``:
        pairs of stages in columns next to each other; ``trunks``: for the others ``stage``, ``track``, ``readers``.
    """
    column: dict[str, int] = {}
    for stage, sources in reads.items():
        column[stage] = 1 + max((column[source] for source in sources), default=-1)
    columns = 1 + max(column.values(), default=-1)
    pairs = [(source, stage) for stage, sources in reads.items() for source in sources]
    order = _ordered([[stage for stage in reads if column[stage] == at] for at in range(columns)], pairs)
    far: dict[str, list[str]] = {}
    for source, stage in pairs:
        if column[stage] > column[source] + 1:
            far.setdefault(source, []).append(stage)
    tracks = _tracks({stage: (column[stage], max(column[r] for r in readers)) for stage, readers in far.items()})
    return {
        "columns": columns,
        "tracks": 1 + max(tracks.values(), default=-1),
        "nodes": [
            {"stage": stage, "column": at, "lane": lane}
            for at, stack in enumerate(order)
            for lane, stage in enumerate(stack)
        ],
        "lines": [pair for pair in pairs if column[pair[1]] == column[pair[0]] + 1],
        "trunks": [{"stage": stage, "track": tracks[stage], "readers": readers} for stage, readers in far.items()],
    }


def _ordered(columns: list[list[str]], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The stages of each column in an order that crosses few lines."""
    before: dict[str, list[str]] = {stage: [] for stack in columns for stage in stack}
    after: dict[str, list[str]] = {stage: [] for stack in columns for stage in stack}
    for source, stage in pairs:
        before[stage].append(source)
        after[source].append(stage)
    for sweep in range(2 * SWEEPS):
        neighbours, direction = (before, 1) if sweep % 2 == 0 else (after, -1)
        for stack in columns[::direction]:
            # In units of a column's height, so that full and sparse columns can be compared.
            place = {stage: (i + 0.5) / len(column) for column in columns for i, stage in enumerate(column)}
            mean = {stage: fmean(place[n] for n in neighbours[stage] or [stage]) for stage in stack}
            stack.sort(key=mean.__getitem__)
    return columns


def _tracks(spans: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """A track for each span of columns, shortest nearest; spans on one track at most touch."""
    taken: list[list[tuple[int, int]]] = []
    found: dict[str, int] = {}
    for stage, (start, end) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        free = (n for n, track in enumerate(taken) if all(end <= low or high <= start for low, high in track))
        found[stage] = next(free, len(taken))
        if found[stage] == len(taken):
            taken.append([])
        taken[found[stage]].append((start, end))
    return found
