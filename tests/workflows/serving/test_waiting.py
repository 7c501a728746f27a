"""A source that never answers delays nobody else, and it is said that it is waited for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from cryptocast.clock import SystemClock
from cryptocast.errors import SourceError
from cryptocast.sources import sim
from cryptocast.values import Market, Page
from cryptocast.workflows import forecast
from cryptocast.workflows.serve_loop import Stop, serve_loop
from cryptocast.workflows.serving import bring, catch_up
from support.ticks import MARKETS, at, drop, sets
from workflows.serving.test_tick import Recording

BTC, ETH, _ = MARKETS


class Stuck:
    """A source that keeps no deadline: it answers about every market but those that hang."""

    name, publishes_late, metered, bars_a_call, bars_back = "file", False, False, 500, None

    def __init__(self, *hanging: Market) -> None:
        self.hanging = hanging
        self.over = Event()

    def pages(self, market: Market, start: int, end: int, **_: Any) -> Iterator[Page]:
        if market in self.hanging:
            self.over.wait()
        yield Page(start, end, sim.simulate(0, market, []), None)

    def close(self) -> None:
        self.over.set()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "TICK_SECONDS", 0.6)
    monkeypatch.setattr(catch_up, "_SOON_SECONDS", 0.2)
    monkeypatch.setattr(bring, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(bring, "_QUIET_SECONDS", 0.05)


@pytest.mark.usefixtures("hurried")
def test_a_market_whose_source_hangs_is_waited_for_when_the_others_are_stored(w: Path) -> None:
    drop(w, [0], ETH)
    steps = Recording()
    with at(w, market__symbols=[m.symbol for m in (BTC, ETH)]) as ws:
        ws._sources["file"], ws.steps = Stuck(ETH), steps
        report = forecast.tick(ws)
    once = ["forecast", "store the forecast"]
    get = "get candles into the database"
    assert steps.names == [get, "load the production model", *once, get, *once]
    assert [s.market for s in report.forecasts] == [BTC, ETH]
    assert sets(w, "market, bar, stale_bars") == [(BTC.id, 1, 0), (ETH.id, 1, 1)]
    (warning,) = report.warnings
    assert warning.startswith(f"{ETH.id}: file did not finish its answer in time (")


@pytest.mark.usefixtures("hurried")
def test_a_loop_says_what_it_waits_for(w: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    class Watched(Stuck):
        def pages(self, market: Market, start: int, end: int, **_: Any) -> Iterator[Page]:
            while (health := json.loads((w / "logs" / "health.json").read_text()))[
                "state"
            ] == "starting":
                time.sleep(0.01)
            seen.append(health)
            raise SourceError("it is over")
            yield

    from cryptocast.cli.root.output import Checklist

    with at(w, market__symbols=[ETH.symbol]) as ws:
        ws._sources["file"], ws.clock, ws.progress = Watched(), SystemClock(), Checklist()
        list(serve_loop(ws, Stop(), max_ticks=1))
    assert (seen[0]["state"], seen[0]["waiting_for"]) == ("waiting", ETH.id)
    assert f"waiting for {ETH.id}\n" in capsys.readouterr().err
    health = json.loads((w / "logs" / "health.json").read_text())
    assert "waiting_for" not in health
