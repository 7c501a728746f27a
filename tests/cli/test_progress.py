"""What long work shows on stderr: a line for each stage, and a bar on a terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from cryptocast.cli.root.output import Checklist


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_tells_the_time_elapsed_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    checklist = Checklist()
    checklist.stage("tune lstm")
    assert "left" not in terminal.getvalue()  # nobody knows how long it will take
    checklist.advance(2, 4, "trial 2")
    assert checklist._live is not None
    checklist._live.refresh()
    checklist.close()
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"tune lstm .*\d:\d\d:\d\d elapsed .+ left trial 2", drawn), drawn
    assert "✓ tune lstm" in drawn


def test_elsewhere_each_stage_is_a_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    checklist = Checklist()
    checklist.stage("fetch candles")
    checklist.advance(3, 3, "3 markets")
    checklist.stage("train lstm")
    checklist.close()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("✓ fetch candles  ")
    assert first.endswith(" s  3 markets")
    assert second.startswith("✓ train lstm  ")
