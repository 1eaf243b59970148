"""How much data a stage will read: counted where it lies here, bounded where a stage is still to make it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from reckon.data.curate import AnyOperation
from reckon.data.curate.mixture import Limit, Mix
from reckon.data.curate.preferences import Pairs
from reckon.data.curate.problems import Cap
from reckon.data.rows import rows_of
from reckon.run.kinds import CurateRecipe, LabelRecipe, SampleRecipe
from reckon.run.pipeline import Pipeline


@dataclass(frozen=True)
class Supply:
    """What is known of rows of data.

    Attributes:
        rows: at most so many; None: nobody knows from here.
        problems: that they are responses to, at most.
        longest: tokens of the longest response possible.
        mean: tokens of a response, where the rows are there and say so.
        unknown: why something is not known, in words.
    """

    rows: int | None = None
    problems: int | None = None
    longest: int | None = None
    mean: float | None = None
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def together(cls, parts: Sequence[Supply]) -> Supply:
        """The rows of several."""
        rows, problems, longest = ([getattr(each, name) for each in parts] for name in ("rows", "problems", "longest"))
        count = sum(filter(None, rows))
        tokens = [each.rows * each.mean for each in parts if each.rows and each.mean is not None]
        return cls(
            rows=None if None in rows else count,
            problems=None if None in problems else sum(problems),
            longest=None if None in longest else max(longest),
            mean=sum(tokens) / count if tokens and len(tokens) == len(parts) else None,
            unknown=[reason for each in parts for reason in each.unknown],
        )

    def at_most(self, rows: int) -> Supply:
        """With no more than so many rows."""
        return replace(self, rows=rows if self.rows is None else min(rows, self.rows))


def supply_of(source: str, pipeline: Pipeline) -> Supply:
    """What a stage of the run made or will make, or what a file or folder holds.

    Raises DataError if there is a file that cannot be read.
    """
    stage = pipeline.stage(source)
    if stage is None:
        path = Path(source).expanduser()
        if path.exists():
            return _counted(path)
        return Supply(unknown=[f"{source} is not on this disk, so its rows are not known"])
    if stage.manifest is not None:
        return _counted(pipeline.out / next(iter(stage.manifest["outputs"].values()))["path"])
    recipe = stage.recipe
    if isinstance(recipe, SampleRecipe):
        return Supply(recipe.problems * recipe.samples, recipe.problems, recipe.max_new_tokens)
    assert isinstance(recipe, LabelRecipe | CurateRecipe)
    parts = {name: supply_of(name, pipeline) for name in recipe.data}
    supply = Supply.together(list(parts.values()))
    for operation in recipe.operations if isinstance(recipe, CurateRecipe) else ():
        supply = _after(operation, supply, parts)
    return supply


def _counted(path: Path) -> Supply:
    """Rows that are there. What a row says of its tokens is believed."""
    rows, sizes = 0, list[int]()
    for _, row in rows_of(str(path)):
        rows += 1
        if isinstance(row.get("tokens"), int):
            sizes.append(row["tokens"])
    whole = 0 < rows == len(sizes)
    return Supply(rows, None, max(sizes) if whole else None, sum(sizes) / rows if whole else None)


def _after(operation: AnyOperation, supply: Supply, parts: dict[str, Supply]) -> Supply:
    """The bound after an operation; most can only be bounded by what goes in."""
    match operation:
        case Limit():
            return supply.at_most(operation.rows)
        case Cap(tasks=()) if supply.problems is not None:
            return supply.at_most(operation.max * supply.problems)
        case Pairs() if supply.rows is not None:
            pairs = supply.at_most(supply.rows // 2)
            return pairs if supply.problems is None else pairs.at_most(operation.max * supply.problems)
        case Mix(by="source"):
            shares, rows = operation.shares, {name: part.rows for name, part in parts.items()}
            units = [count / share for name, share in shares.items() if (count := rows.get(name)) is not None]
            if units:
                return supply.at_most(sum(max(1, round(min(units) * share)) for share in shares.values()))
    return supply
