"""The page in a real browser: it draws everything, runs nothing that a model wrote, and complains of nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from reckon.report.build import build_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on this machine")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
    "--window-size=1280,900",
    "--dump-dom",
]


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """What the page's script made of it, up to the data block, and what was written to the browser's console."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", page.as_uri()]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=90)
    log = ran.stderr.decode("utf-8", "replace").splitlines()
    dom = ran.stdout.decode("utf-8", "replace").partition('<script type="application/json"')[0]
    return dom, [line for line in log if "CONSOLE" in line]


def test_a_finished_run_is_drawn_and_hostile_text_stays_text(finished: Path, tmp_path: Path) -> None:
    dom, console = opened(build_report(finished), tmp_path)
    assert console == []  # the policy's refusals would be seen here too
    assert "<title>first-try. Yes: " in dom
    assert "could not be drawn" not in dom
    assert dom.count('<figure class="chart') == 14
    assert dom.count('class="pair"') == 4
    assert "&lt;/script&gt;" in dom
    assert "<img" not in dom


def test_an_empty_run_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    dom, console = opened(build_report(tmp_path), tmp_path / "profile")
    assert console == []
    assert "This run is not complete" in dom
    assert "could not be drawn" not in dom
