"""What a run shows while it runs: a live panel on a terminal, one plain line per step in a pipe."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"


class Progress(Protocol):
    """Told of every stage, every step (a row of metrics.jsonl) and every evaluation (an ``eval`` event).

    A stage of several begins with its title; when it knows how much there is to do, it says so: training steps, or
    responses, of which it tells how many are done.
    """

    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def begin(self, title: str) -> None: ...
    def stage(self, total: int) -> None: ...
    def done(self, count: int) -> None: ...
    def note(self, text: str) -> None: ...
    def step(self, row: dict[str, Any]) -> None: ...
    def eval(self, row: dict[str, Any]) -> None: ...


class Lines:
    """One line per stage, step and evaluation."""

    def __init__(self, console: Console) -> None:
        self.console, self.total, self.count = console, 0, 0

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exit: Any) -> None:
        pass

    def begin(self, title: str) -> None:
        self._print(f"\n{title}")

    def stage(self, total: int) -> None:
        self.total, self.count = total, 0

    def done(self, count: int) -> None:
        if count > self.count:
            self._print(f"{count} of {self.total} responses")
        self.count = count

    def note(self, text: str) -> None:
        self._print(text)

    def step(self, row: dict[str, Any]) -> None:
        self._print(f"step {row['step']:>{len(str(self.total))}}/{self.total}  " + "  ".join(step_figures(row)))

    def eval(self, row: dict[str, Any]) -> None:
        self._print(f"eval at step {row['step']}: {eval_words(row)}")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LivePanel:
    """The latest figures and the curves so far, redrawn in place."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title, self.heading = console, title, title
        self.notes: list[str] = []
        self.stage(0)
        self.live = Live(self._draw(), console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> LivePanel:
        self.live.start()
        return self

    def __exit__(self, *exit: Any) -> None:
        self.live.stop()

    def begin(self, title: str) -> None:
        self.heading = f"{self.title}, {title}"
        self.stage(0)
        self.live.update(self._draw())

    def stage(self, total: int) -> None:
        self.total, self.count, self.began = total, 0, time.monotonic()
        self.first: int | None = None
        self.rows: list[dict[str, Any]] = []
        self.evals: list[dict[str, Any]] = []

    def done(self, count: int) -> None:
        self.first = count + 1 if self.first is None else self.first
        self.count = count
        self.live.update(self._draw())

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.live.update(self._draw())

    def step(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.first = row["step"] if self.first is None else self.first
        self.done(row["step"])

    def eval(self, row: dict[str, Any]) -> None:
        self.evals.append(row)
        self.live.update(self._draw())

    def _draw(self) -> Panel:
        parts: list[Any] = []
        if self.total:
            bar = ProgressBar(total=self.total, completed=self.count, width=None)
            parts = [bar, Text(self._clock(), "dim")]
        if self.rows:
            table = Table.grid(padding=(0, 2))
            for name, key, style in (
                ("accuracy", "accuracy", "green"),
                ("tokens", "tokens", "cyan"),
                ("self-checks", "reflections", "magenta"),
                ("entropy", "entropy", "yellow"),
                ("loss", "loss", ""),
            ):
                values = [row[key] for row in self.rows if row.get(key) is not None]
                if values:
                    table.add_row(Text(name, "dim"), Text(f"{values[-1]:.3g}"), Text(sparkline(values), style))
            parts.append(table)
            parts.append(Text("  ".join(step_figures(self.rows[-1])[-4:]), "dim"))
        parts += [Text(f"held out, step {row['step']}: {eval_words(row)}") for row in self.evals[-4:]]
        parts += [Text(note, "dim") for note in self.notes[-3:]]
        return Panel(Group(*parts), title=self.heading, title_align="left", border_style="dim")

    def _clock(self) -> str:
        passed = time.monotonic() - self.began
        text = f"{'step' if self.rows else 'done'} {self.count} of {self.total}, {passed / 60:.1f} min"
        if self.first is not None and self.count > self.first:
            left = passed / (self.count - self.first + 1) * (self.total - self.count)
            text += f", about {left / 60:.1f} min left"
        return text + "   (Ctrl-C saves and stops; the same command goes on)"


def progress_for(console: Console, title: str) -> Progress:
    """A panel where there is a terminal that can redraw, else lines."""
    plain = not console.is_terminal or console.is_dumb_terminal or "NO_COLOR" in os.environ
    return Lines(console) if plain else LivePanel(console, title)


def step_figures(row: dict[str, Any]) -> list[str]:
    """The figures of a step in short words; what a stage does not have is left out."""
    took = sum(row["seconds"].values())
    pairs = [
        ("reward", row["reward"], "{:.3f}"),
        ("accuracy", row["accuracy"], "{:.3f}"),
        (
            "solved all/none",
            None if row["accuracy"] is None else (row["solved_all"], row["solved_none"]),
            "{0[0]:.0%}/{0[1]:.0%}",
        ),
        ("tokens", row["tokens"], "{:.0f}"),
        ("cut off", row["truncated"] if row["accuracy"] is not None else None, "{:.1%}"),
        ("entropy", row["entropy"], "{:.3f}"),
        ("loss", row["loss"], "{:+.4f}"),
        ("kl_ref", row["kl_ref"], "{:.4f}"),
        ("mismatch", row["mismatch_k3"], "{:.0e}"),
        ("grad", row["grad_norm"], "{:.3f}"),
        ("tok/s", row["generated_tokens"] / took if took else None, "{:.0f}"),
        ("s", took, "{:.2f}"),
    ]
    figures = [f"{name} {form.format(value)}" for name, value, form in pairs if value is not None]
    return figures + (["UPDATE REFUSED"] if row["skipped"] else [])


def eval_words(row: dict[str, Any]) -> str:
    """One evaluation in words: of answers, of a loss, or of preferences."""
    for name, unit in (("loss", " nats per token"), ("accuracy", " right")):
        if isinstance(row.get(name), dict):
            return f"held out, {_estimate(row[name], '.1%' if name == 'accuracy' else '.3f')}{unit}"
    most = max(row["pass@k"], key=int)
    return (
        f"pass@1 {_estimate(row['pass@1'], '.1%')}, "
        f"pass@{most} {row['pass@k'][most]:.1%}, {row['mean_tokens']:.0f} tokens, {row['reflections']:.1f} self-checks"
    )


def _estimate(one: dict[str, float | None], form: str) -> str:
    if one["low"] is None:
        return format(one["value"], form)
    return f"{one['value']:{form}} (95% interval {one['low']:{form}} to {one['high']:{form}})"


def sparkline(values: list[float], width: int = 48) -> str:
    """The values, averaged into at most ``width`` bins, as bars between their least and greatest."""
    count = min(width, len(values))
    bins = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in bins]
    low, high = min(means), max(means)
    return "".join(BARS[int((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in means)
