"""Where the stages of a pipeline stand on the page: in columns by what they read, with room for the lines between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

SWEEPS = 4
"""Times that the order within the columns is improved, forwards and backwards."""

Cell = tuple[str, int]
"""A stage, or its line on the way to a later column, in a column: (stage, column)."""


def layout(reads: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Columns and lanes for stages and lines, after Sugiyama's method (IEEE Trans. SMC 11, 1981).

    A stage stands in the column after the last one it reads from. What it makes leaves it on one line, which passes
    the columns on the way to its last reader and branches to each; every column it passes has a cell for it, so that
    no line crosses a stage. Within a column, cells are ordered by the mean place of their neighbours.

    Args:
        reads: the earlier stages that each stage reads from, in the order of the run.

    Returns:
        ``columns``: their number; ``cells``: for each stage and passing line its ``stage``, ``column``, ``lane`` and
        whether it is ``passing``; ``lines``: pairs of indices into the cells, from left to right.
    """
    column: dict[str, int] = {}
    for stage, sources in reads.items():
        column[stage] = 1 + max((column[source] for source in sources), default=-1)
    readers = {stage: [other for other, sources in reads.items() if stage in sources] for stage in reads}
    cells: list[Cell] = []
    lines: list[tuple[Cell, Cell]] = []
    for stage in reads:
        way = [(stage, at) for at in range(column[stage], max((column[r] for r in readers[stage]), default=0))]
        way = way or [(stage, column[stage])]
        cells += way
        lines += zip(way, way[1:], strict=False)
        lines += [((stage, column[reader] - 1), (reader, column[reader])) for reader in readers[stage]]
    columns = 1 + max(column.values(), default=-1)
    order = _ordered([[cell for cell in cells if cell[1] == at] for at in range(columns)], lines)
    lane = {cell: place for stack in order for place, cell in enumerate(stack)}
    index = {cell: number for number, cell in enumerate(cells)}
    return {
        "columns": columns,
        "cells": [
            {"stage": stage, "column": at, "lane": lane[stage, at], "passing": at != column[stage]}
            for stage, at in cells
        ],
        "lines": [(index[start], index[end]) for start, end in lines],
    }


def _ordered(columns: list[list[Cell]], lines: Sequence[tuple[Cell, Cell]]) -> list[list[Cell]]:
    """The cells of each column in an order that crosses few lines."""
    before: dict[Cell, list[Cell]] = {cell: [] for stack in columns for cell in stack}
    after: dict[Cell, list[Cell]] = {cell: [] for stack in columns for cell in stack}
    for start, end in lines:
        before[end].append(start)
        after[start].append(end)
    for sweep in range(2 * SWEEPS):
        neighbours, direction = (before, 1) if sweep % 2 == 0 else (after, -1)
        for stack in columns[::direction]:
            # In units of a column's height, so that full and sparse columns can be compared.
            place = {cell: (i + 0.5) / len(column) for column in columns for i, cell in enumerate(column)}
            stack.sort(
                key=lambda cell: fmean(place[n] for n in neighbours[cell]) if neighbours[cell] else place[cell]
            )
    return columns
