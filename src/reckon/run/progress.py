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
    """Told of every step (a row of metrics.jsonl) and every evaluation (an ``eval`` event)."""

    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def note(self, text: str) -> None: ...
    def step(self, row: dict[str, Any]) -> None: ...
    def eval(self, row: dict[str, Any]) -> None: ...


class Lines:
    """One line per step and evaluation."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps = console, steps

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *exit: Any) -> None:
        pass

    def note(self, text: str) -> None:
        self._print(text)

    def step(self, row: dict[str, Any]) -> None:
        self._print(f"step {row['step']:>{len(str(self.steps))}}/{self.steps}  " + "  ".join(step_figures(row)))

    def eval(self, row: dict[str, Any]) -> None:
        self._print(f"eval at step {row['step']}: {eval_words(row)}")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LivePanel:
    """The latest figures and the curves so far, redrawn in place."""

    def __init__(self, console: Console, steps: int, title: str) -> None:
        self.console, self.steps, self.title = console, steps, title
        self.began = time.monotonic()
        self.first: int | None = None
        self.rows: list[dict[str, Any]] = []
        self.evals: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.live = Live(self._draw(), console=console, refresh_per_second=4, transient=False)

    def __enter__(self) -> LivePanel:
        self.live.start()
        return self

    def __exit__(self, *exit: Any) -> None:
        self.live.stop()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.live.update(self._draw())

    def step(self, row: dict[str, Any]) -> None:
        self.first = row["step"] if self.first is None else self.first
        self.rows.append(row)
        self.live.update(self._draw())

    def eval(self, row: dict[str, Any]) -> None:
        self.evals.append(row)
        self.live.update(self._draw())

    def _draw(self) -> Panel:
        done = self.rows[-1]["step"] if self.rows else 0
        parts: list[Any] = [ProgressBar(total=self.steps, completed=done, width=None), Text(self._clock(done), "dim")]
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
        return Panel(Group(*parts), title=self.title, title_align="left", border_style="dim")

    def _clock(self, done: int) -> str:
        passed = time.monotonic() - self.began
        text = f"step {done} of {self.steps}, {passed / 60:.1f} min"
        if self.first is not None and done > self.first:
            left = passed / (done - self.first + 1) * (self.steps - done)
            text += f", about {left / 60:.1f} min left"
        return text + "   (Ctrl-C saves and stops; the same command goes on)"


def progress_for(console: Console, steps: int, title: str) -> Progress:
    """A panel where there is a terminal that can redraw, else lines."""
    plain = not console.is_terminal or console.is_dumb_terminal or "NO_COLOR" in os.environ
    return Lines(console, steps) if plain else LivePanel(console, steps, title)


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
    """One evaluation in words."""
    one = row["pass@1"]
    most = max(row["pass@k"], key=int)
    return (
        f"pass@1 {one['value']:.1%} (95% interval {one['low']:.1%} to {one['high']:.1%}), "
        f"pass@{most} {row['pass@k'][most]:.1%}, {row['mean_tokens']:.0f} tokens, {row['reflections']:.1f} self-checks"
    )


def sparkline(values: list[float], width: int = 48) -> str:
    """The values, averaged into at most ``width`` bins, as bars between their least and greatest."""
    count = min(width, len(values))
    bins = [values[i * len(values) // count : (i + 1) * len(values) // count] for i in range(count)]
    means = [sum(part) / len(part) for part in bins]
    low, high = min(means), max(means)
    return "".join(BARS[int((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in means)
