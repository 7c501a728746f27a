"""The status screen: what a person sees, at any width, without colour, without Unicode.

The pictures in `golden/` are compared as they are; `UPDATE_GOLDEN=1 pytest THIS_FILE` writes
them anew, to be looked at.
"""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from cryptocast.cli.screens.status import is_plain, screen
from cryptocast.store import CandleSummary, Credits, ServedCoverage, StandIn, Tick
from cryptocast.values import (
    Candles,
    Deployment,
    ForecastSet,
    Gap,
    Market,
    MonitorVerdict,
    ServedModel,
)
from cryptocast.workflows.status import MarketStatus, StatusReport
from support.commands import NEXT, good, run

GOLDEN = Path(__file__).parent / "golden"
BTC = Market.of("BTC/EUR", "bitvavo", "5m")
END = 1_717_405_200  # 2024-06-03 09:00Z
NOW = END + 73.0
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
REASON = "better than the random walk by 0.61 % (lower bound +0.10 %)"
PRODUCTION = Deployment(4, NOW - 3 * 86_400, "*", "3", "2", "promote", REASON, "{}")
SCRIPT = '<script>alert("x")</script>'


def candles(price: float = 62_000.0) -> Candles:
    """Candles to END, of a price that comes to `price`."""
    steps = np.random.default_rng(7).normal(0, 5e-4, (400, 3))
    closed = price * np.exp(np.cumsum(steps[:, 0]) - steps[:, 0].sum())
    opened = np.concatenate([[closed[0]], closed[:-1]])
    high = np.maximum(opened, closed) * np.exp(np.abs(steps[:, 1]) / 2)
    low = np.minimum(opened, closed) / np.exp(np.abs(steps[:, 2]) / 2)
    return Candles.of(END - 300 * np.arange(400, 0, -1), opened, high, low, closed)


def forecast(
    market: Market = BTC, price: float = 62_000.0, fallback: str | None = None
) -> ForecastSet:
    places = np.linspace(-1.645, 1.645, 19)
    spread = 8e-4 * np.sqrt(np.arange(1, 25))
    quantiles = price * np.exp(spread[:, None] * places)
    model = ServedModel("builtin:random_walk" if fallback else "3", "lstm", fallback)
    scale = np.full(24, 1.04)
    return ForecastSet(
        market, END, END + 12.0, price, 0, "live", model, LEVELS, quantiles, scale
    )  # fmt: skip


def market(which: Market = BTC, price: float = 62_000.0, **changes: object) -> MarketStatus:
    good = MarketStatus(
        market=which,
        production=PRODUCTION,
        stored=CandleSummary(2016, END - 2016 * 300, END - 300, (), 0, {"live": 2016}),
        behind_bars=0,
        candles=candles(price),
        forecast=forecast(which, price),
        overdue_bars=0,
        stand_in=None,
        tick=Tick(which.id, END, END + 10.0, END + 12.0, "ok"),
        ticks={"ok": 286, "late": 1, "missed": 2},
        coverage=ServedCoverage(True, 828, 0.803, 0.897),
        skill=0.0042,
        issues=(),
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # a test names what it changes


def report(*markets: MarketStatus, **changes: object) -> StatusReport:
    good = StatusReport(
        now=NOW,
        next_tick=END + 310.0,
        ticked_by="cron",
        recorded_until=None,
        markets=markets or (market(),),
        credits={},
        monthly_credits=4000,
        health=MonitorVerdict(NOW - 180, "healthy", "skill and coverage are as promised"),
        shadow=None,
        promised={PRODUCTION.id: 0.0061},
        loop=None,
    )
    return replace(good, **changes)  # type: ignore[arg-type]  # a test names what it changes


def troubled() -> StatusReport:
    """Everything at once, and a text that somebody typed."""
    stand_in = StandIn("stale_data", END - 11 * 300, 12)
    gaps = (Gap(END - 9000, END - 8400, 2), Gap(END - 1500, END - 300, 4))
    bad = market(
        stored=CandleSummary(
            2010, END - 2016 * 300, END - 1800, gaps, 2, {"live": 2000, "derived": 10}
        ),
        behind_bars=5,
        forecast=forecast(fallback="stale_data"),
        stand_in=stand_in,
        ticks={"failed": 3, "ok": 285},
        coverage=ServedCoverage(False, 830, 0.71, None),
        skill=None,
        issues=(
            f"the last tick failed: {SCRIPT}\x1b[2J\nnext line",
            "a stand-in serves: stale_data",
            "the newest candle is 5 bars old",
        ),
    )
    return report(
        bad,
        health=MonitorVerdict(NOW - 7200, "declined", "skill fell below zero"),
        shadow="4",
        credits={"coincap": Credits(3600, 3720, None)},
        loop={"state": "running", "pid": 4711, "consecutive_failures": 2, "updated_at": "09:00Z"},
    )


def many() -> StatusReport:
    eth, sol = (Market.of(f"{base}/EUR", "kraken", "5m") for base in ("ETH", "SOL"))
    bad = market(sol, 151.25, issues=("a stand-in serves: missing_bars",), coverage=None)
    none = market(
        Market.of("XRP/EUR", "kraken", "5m"), 1.0, forecast=None, coverage=None, tick=None,
        issues=("no candles yet: cryptocast fetch", "no forecast yet"),
    )  # fmt: skip
    return report(none, bad, market(), market(eth, 3300.5))


def empty() -> StatusReport:
    nothing = market(
        production=None, stored=None, behind_bars=None, candles=Candles.empty(), forecast=None,
        tick=None, ticks={}, coverage=None, skill=None,
        issues=("no candles yet: cryptocast fetch", "no forecast yet: cryptocast forecast --once"),
    )  # fmt: skip
    return report(nothing, health=None)


def text(shown: StatusReport, width: int, *, height: int | None = None, plain: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    for line in screen(shown, width=width, height=height, plain=plain):
        console.print(line, no_wrap=True, crop=False)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


PICTURES = {
    "wide": lambda: text(report(), 100),
    "usual": lambda: text(report(), 80, height=40),
    "narrow": lambda: text(report(), 40),
    "plain": lambda: text(report(), 80, plain=True),
    "troubled": lambda: text(troubled(), 80, plain=False),
    "troubled_narrow": lambda: text(troubled(), 40, plain=True),
    "many": lambda: text(many(), 100),
    "many_narrow": lambda: text(many(), 40),
    "empty": lambda: text(empty(), 80),
}


@pytest.mark.parametrize("name", list(PICTURES))
def test_the_screen_looks_as_it_did(name: str) -> None:
    file, shown = GOLDEN / f"status_{name}.txt", PICTURES[name]()
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("made", [report, troubled, many, empty])
@pytest.mark.parametrize("width", [20, 40, 63, 64, 80, 200])
def test_no_line_is_wider_than_the_terminal(made: object, width: int) -> None:
    assert callable(made)
    assert max(map(len, text(made(), width).splitlines())) <= width


@pytest.mark.parametrize("made", [report, troubled, many, empty])
def test_without_unicode_every_character_is_ascii(made: object) -> None:
    assert callable(made)
    shown = made()
    odd = replace(shown, health=MonitorVerdict(NOW, "watch", "größer als ±3 %"))
    assert text(odd, 80, plain=True).isascii()


def test_what_somebody_typed_moves_no_cursor() -> None:
    shown = text(troubled(), 80)
    assert "\x1b" not in shown
    assert SCRIPT in " ".join(shown.split())


def test_many_markets_fit_the_terminal_and_the_rest_is_counted() -> None:
    markets = [market(Market.of(f"C{i}/EUR", "sim", "5m")) for i in range(500)]
    shown = text(report(*markets), 80, height=24).splitlines()
    assert len(shown) <= 24
    more = next(line for line in shown if line.startswith("and "))
    assert (
        int(more.split()[1]) + sum(line.startswith("C") and "/EUR" in line for line in shown) == 500
    )


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({"LANG": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({}, False),
    ],
)
def test_the_locale_says_what_can_be_shown(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], plain: bool
) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert is_plain(Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8"))) is plain


def test_an_encoding_without_unicode_is_respected() -> None:
    assert is_plain(Console(file=io.TextIOWrapper(io.BytesIO(), "ascii")))


def test_watching_needs_a_terminal(workspace: Path) -> None:
    for options in ((), ("--json",), ("--quiet",)):
        done = run("status", "--watch", "-w", workspace, *options)
        assert done.code == 2
        assert "--watch draws on a terminal" in done.err


def test_watching_draws_and_ends_with_ctrl_c(workspace: Path) -> None:
    good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
    with terminal("status", "--watch", "-w", str(workspace), "--as-of", NEXT) as (child, seen):
        shown = seen("Ctrl-C stops")
        child.send_signal(signal.SIGINT)
        assert child.wait(600) == 0
    assert "BTC/EUR" in shown
    assert "Next tick" in shown


def test_watching_sees_what_another_process_stores(workspace: Path) -> None:
    with terminal("status", "--watch", "-w", str(workspace), "--as-of", NEXT) as (child, seen):
        assert "no forecast yet" in seen("Ctrl-C stops")
        good("forecast", "--once", "-w", workspace, "--as-of", NEXT)
        assert "issued" in seen("after the close")
        child.send_signal(signal.SIGINT)
        assert child.wait(600) == 0


class _Seen:
    """Reads what a process draws, until a text is among it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, text: str, seconds: float = 600.0) -> str:
        came, deadline = b"", time.monotonic() + seconds
        while text.encode() not in came:
            ready, _, _ = select.select([self._descriptor], [], [], deadline - time.monotonic())
            assert ready, came.decode(errors="replace")
            came += os.read(self._descriptor, 65536)
        return came.decode(errors="replace")


class terminal:  # noqa: N801 - used as a function
    """A command on a terminal of its own, 100 x 40."""

    def __init__(self, *words: str) -> None:
        self._words = words

    def __enter__(self) -> tuple[subprocess.Popen[bytes], _Seen]:
        self._ours, theirs = pty.openpty()
        environ = {**os.environ, "COLUMNS": "100", "LINES": "40", "TERM": "xterm"}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "cryptocast", *self._words],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environ,
        )  # fmt: skip
        os.close(theirs)
        return self._child, _Seen(self._ours)

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        os.close(self._ours)


@pytest.fixture(autouse=True)
def _clear(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
