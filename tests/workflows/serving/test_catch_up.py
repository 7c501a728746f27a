"""What a tick asks for, and who stands in when a source is down. Over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cryptocast.values import Candles, iso
from support.commands import AS_OF, INTERVAL, NOW, candles, counts, good, query, run
from support.loopback import KEY, Loopback, as_json, hang, html
from support.patience import PATIENT, wait_briefly_for_what_hangs

DEAD = "http://127.0.0.1:1/api"


@dataclass
class World:
    """A workspace whose production model serves BTC from an exchange at a server."""

    folder: Path
    server: Loopback
    patch: pytest.MonkeyPatch

    def source(self, name: str, *, symbol: str = "BTC/EUR", base_url: str | None = None) -> None:
        self.patch.setenv("CRYPTOCAST_SOURCE__NAME", name)
        url = base_url or self.server.base_url(name)
        self.patch.setenv("CRYPTOCAST_SOURCE__BASE_URL", url)
        self.patch.setenv("CRYPTOCAST_MARKET__SYMBOLS", f'["{symbol}"]')

    def fallbacks(self, *names: str, dead: tuple[str, ...] = ()) -> None:
        urls = {name: DEAD if name in dead else self.server.base_url(name) for name in names}
        tables = ", ".join(f'{{"name": "{n}", "base_url": "{u}"}}' for n, u in urls.items())
        self.patch.setenv("CRYPTOCAST_SOURCE__FALLBACK", f"[{tables}]")

    def tick(self, bar: int = 1) -> dict:
        """The forecast of a tick `bar` bars after AS_OF."""
        self.server.requests.clear()
        moment = NOW + bar * INTERVAL
        self.server.now = moment
        report = good("forecast", "--once", "-w", self.folder, "--as-of", iso(moment))
        (forecast,) = report["forecasts"]
        return dict(forecast)

    def warnings(self, bar: int) -> list[str]:
        moment = iso(NOW + bar * INTERVAL)
        done = run("forecast", "--once", "-w", self.folder, "--as-of", moment)
        assert done.code == 0, done.err
        return done.err.splitlines()

    def asked(self) -> list[tuple[int, int]]:
        """The ranges of the last tick, in bars before AS_OF."""

        def bars(milliseconds: str) -> int:
            return (NOW - int(milliseconds) // 1000) // INTERVAL

        return [(bars(r.query["start"]), bars(r.query["end"])) for r in self.server.requests]


@pytest.fixture
def world(workspace: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[World]:
    monkeypatch.setenv("COINCAP_API_KEY", KEY)
    series = {"BTC/EUR": candles("BTC/EUR"), "BTC/USD": candles("BTC/USD")}
    with Loopback(series) as server:
        yield World(workspace, server, monkeypatch)


def fill(world: World) -> None:
    good("fetch", "-w", world.folder, "--as-of", AS_OF)


def without(c: Candles, *bars: int) -> Candles:
    return c.take(~np.isin(c.open_time, [NOW - bar * INTERVAL for bar in bars]))


def test_a_tick_makes_one_call_for_the_new_bar_and_an_overlap(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    forecast = world.tick()
    assert world.asked() == [(3, -1)]
    assert (forecast["stale_bars"], forecast["model"]["fallback"]) == (0, None)


def test_a_series_that_has_nothing_is_brought_as_far_back_as_the_features_look(
    world: World,
) -> None:
    world.source("bitvavo")
    world.tick()
    assert world.asked() == [(1386, -1)]


def test_holes_close_by_come_with_the_same_call_until_they_are_confirmed(world: World) -> None:
    world.source("bitvavo")
    whole = world.server.candles["BTC/EUR"]
    world.server.candles["BTC/EUR"] = without(whole, 500, 700)
    fill(world)
    world.tick(1)
    assert world.asked() == [(700, -1)]
    world.tick(2)
    assert world.asked() == [(2, -2)]
    assert query(world.folder, "SELECT count(*) FROM missing_bars WHERE answers = 2") == [(2,)]


def test_a_hole_that_the_source_fills_is_repaired_by_the_tick(world: World) -> None:
    world.source("bitvavo")
    whole = world.server.candles["BTC/EUR"]
    world.server.candles["BTC/EUR"] = without(whole, 5)
    fill(world)
    world.server.candles["BTC/EUR"] = whole
    world.tick(1)
    assert query(
        world.folder,
        "SELECT epoch(open_time) FROM candles WHERE provenance = 'repaired'",
    ) == [(NOW - 5 * INTERVAL,)]


def test_an_outage_is_made_up_for(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    world.tick(200)
    assert world.asked() == [(3, -200)]
    market = "WHERE market = 'bitvavo:BTC/EUR:5m'"
    assert query(world.folder, f"SELECT count(*) FROM candles {market}") == [(2216,)]


def test_a_day_of_coincap_ticks_costs_a_call_a_tick_whatever_is_missing(world: World) -> None:
    world.source("coincap", symbol="BTC/USD")
    series = world.server.candles["BTC/USD"]
    world.server.candles["BTC/USD"] = without(series, 600, 7, 3, -5, -6, -20, -30, -31, -32, -33)
    fill(world)
    ((before,),) = query(world.folder, "SELECT calls FROM credits")
    world.server.now = None
    world.server.requests.clear()
    ticks = 48
    end = iso(NOW + INTERVAL)
    done = run(
        "serve-loop", "-w", world.folder, "--as-of", end, "--max-ticks", str(ticks), "--json"
    )
    assert done.code == 0, done.err
    assert len(world.server.requests) <= ticks
    ((calls,),) = query(world.folder, "SELECT calls FROM credits")
    assert calls - before == len(world.server.requests)
    assert query(world.folder, "SELECT count(*) FROM ticks WHERE status = 'ok'") == [(ticks,)]


def test_a_fallback_source_serves_while_the_first_is_down_and_says_so(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coinbase")
    forecast = world.tick()
    assert forecast["market"] == "bitvavo:BTC/EUR:5m"
    assert forecast["model"] == {"version": "2", "kind": "lstm", "fallback": "source:coinbase"}
    assert forecast["stale_bars"] == 0
    rows = dict(query(world.folder, "SELECT market, count(*) FROM candles GROUP BY 1"))
    assert rows["coinbase:BTC/EUR:5m"] == 1387
    assert rows["bitvavo:BTC/EUR:5m"] == 2016
    assert query(world.folder, "SELECT DISTINCT market, fallback FROM forecasts WHERE served") == [
        ("bitvavo:BTC/EUR:5m", "source:coinbase")
    ]


def test_a_tick_warns_of_the_source_that_is_down_and_of_the_one_that_stands_in(
    world: World,
) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coinbase")
    down, instead = world.warnings(1)
    assert down.startswith("warning: bitvavo:BTC/EUR:5m: bitvavo cannot be reached at 127.0.0.1:1")
    assert instead == (
        "warning: bitvavo:BTC/EUR:5m: forecast from the candles of coinbase:BTC/EUR:5m"
    )


def test_the_first_source_serves_again_when_it_is_back_and_its_series_is_whole(
    world: World,
) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coinbase")
    for bar in (1, 2, 3):
        assert world.tick(bar)["model"]["fallback"] == "source:coinbase"
        if bar > 1:
            assert len(world.server.requests) == 1
    world.source("bitvavo")
    assert world.tick(4)["model"]["fallback"] is None
    assert world.asked() == [(3, -4)]
    report = good("fetch", "-w", world.folder, "--as-of", iso(NOW + 4 * INTERVAL))
    assert report["markets"][0]["missing"] == 0


def test_fallbacks_are_tried_in_their_order(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("binance", "kraken", "coinbase", dead=("binance",))
    assert world.tick()["model"]["fallback"] == "source:kraken"


def test_without_any_source_the_forecast_is_made_from_what_is_there(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coinbase", dead=("coinbase",))
    forecast = world.tick(2)
    assert (forecast["stale_bars"], forecast["model"]["fallback"]) == (2, None)


def test_a_pair_that_the_fallback_does_not_have_is_never_replaced_by_another(
    world: World,
) -> None:
    world.source("bitvavo")
    fill(world)
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coincap")  # which has BTC/USD alone
    forecast = world.tick(2)
    assert (forecast["stale_bars"], forecast["model"]["fallback"]) == (2, None)


def test_a_stale_fallback_says_both_reasons(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.source("bitvavo")
    fill(world)
    (world.folder / "bundles" / "2" / "model.onnx").write_bytes(b"broken")
    world.source("bitvavo", base_url=DEAD)
    world.fallbacks("coinbase")
    assert world.tick()["model"]["fallback"] == "source:coinbase, bundle_damaged"


def test_a_plan_that_is_used_up_costs_one_refused_call_and_no_forecast(world: World) -> None:
    world.source("coincap", symbol="BTC/USD")
    fill(world)
    world.fallbacks("coinbase")
    world.server.faults.append(as_json({"error": "Forbidden: Monthly usage limit exceeded"}, 403))
    assert world.tick(1)["model"]["fallback"] == "source:coinbase"
    apis = [request.api for request in world.server.requests]
    assert apis.count("coincap") == 1
    for bar in (2, 3):
        assert world.tick(bar)["model"]["fallback"] == "source:coinbase"
        assert [request.api for request in world.server.requests] == ["coinbase"]


def test_the_time_of_a_tick_is_shared_between_the_sources(
    world: World, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    from cryptocast.workflows import forecast

    world.source("bitvavo")
    fill(world)
    monkeypatch.setattr(forecast, "TICK_SECONDS", 400.0)
    world.fallbacks("coinbase")
    world.server.faults.extend([hang()] * PATIENT.tries)
    waits = wait_briefly_for_what_hangs(monkeypatch, world.server)
    assert world.tick()["model"]["fallback"] == "source:coinbase"
    assert len(waits) > PATIENT.tries
    assert max(waits[: PATIENT.tries]) <= 200 < waits[PATIENT.tries] <= 400


def test_a_clock_that_disagrees_with_the_source_forecasts_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.source("bitvavo")
    fill(world)
    before = counts(world.folder)
    world.server.skew_seconds = -4000
    world.fallbacks("coinbase")
    done = run("forecast", "--once", "-w", world.folder, "--json")
    assert (done.code, done.error["code"]) == (4, "clock.skew")
    assert counts(world.folder) == before


def test_an_answer_that_is_none_is_told_and_the_forecast_is_made(world: World) -> None:
    world.source("bitvavo")
    fill(world)
    world.server.faults.append(html())
    (line,) = world.warnings(1)
    assert line.startswith("warning: bitvavo:BTC/EUR:5m: bitvavo answered with an HTML page")
