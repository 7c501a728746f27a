"""Every fault through a tick: it costs a warning at most, never the forecast."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptocast.values import iso
from faults.cases import ALL, FAULTS, heal
from faults.world import SOURCES, World, copied, symbol_of
from support.commands import BARS, INTERVAL, NOW, Done, candles, good, run, write
from support.loopback import KEY, Reply

# Bitvavo's wherever it can have the fault; a page alone cannot repeat.
TICKS = [
    pytest.param(name, next(s for s in ("bitvavo", *SOURCES) if s not in fault.without), id=name)
    for name, fault in FAULTS.items()
    if name != "a page that repeats for ever"
]


@pytest.fixture(scope="module")
def filled(forced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a production model and a week of candles of each source."""
    folder = Path(shutil.copytree(forced, tmp_path_factory.mktemp("filled") / "w"))
    for source in ("bitvavo", "coincap", "kraken"):
        symbol = symbol_of(source)
        file = write(folder.parent / f"{source}.csv", candles().take(slice(BARS)))
        options = ("--path", file, "--market", f"{source}:{symbol}:5m")
        good("fetch", "-w", folder, "--source", "file", *options)
    return folder


@pytest.fixture
def served(request: pytest.FixtureRequest, filled: Path) -> Iterator[World]:
    with copied(request.getfixturevalue("source"), filled) as made:
        yield made


def tick(served: World, bar: int) -> Done:
    """A tick `bar` bars after the newest stored candle has closed."""
    moment = NOW + bar * INTERVAL
    served.server.now = moment + 20
    served.server.requests.clear()
    done = run("forecast", "--once", "-w", served.folder, "--as-of", iso(moment), "--json")
    assert done.code == 0, done.err
    assert KEY not in done.out + done.err
    assert all(line.startswith("warning: ") for line in done.err.splitlines())
    return done


@pytest.mark.parametrize(("name", "source"), TICKS)
def test_a_fault_costs_a_warning_at_most(served: World, name: str, source: str) -> None:
    fault = FAULTS[name]
    fault.prepare(served, page=1)
    done = tick(served, 1)
    (forecast,) = done.data["forecasts"]
    assert (forecast["origin"], forecast["model"]["fallback"]) == (iso(NOW + INTERVAL), None)
    assert 1 <= len(served.server.requests) <= fault.most
    warned = done.err.startswith(f"warning: {source}:{served.symbol}:5m: {source} ")
    assert warned == (fault.code_of(source) != "")
    assert forecast["stale_bars"] == 0 or fault.keeps != ALL
    stored = served.stored()
    assert all(stored[t] == row for t, row in served.truth.items())

    heal(served)
    (forecast,) = tick(served, 2).data["forecasts"]
    assert forecast["model"]["fallback"] is None
    if fault.code_of(source) != "source.quota":
        assert forecast["stale_bars"] == 0
        assert stored.keys() | {NOW, NOW + INTERVAL} == served.stored().keys()


@pytest.mark.parametrize("source", ["bitvavo"])
def test_a_server_that_is_not_there_costs_a_warning(served: World, source: str) -> None:
    served.point("http://127.0.0.1:1/api")
    done = tick(served, 1)
    assert done.data["forecasts"][0]["stale_bars"] == 1
    assert done.err.startswith("warning: bitvavo:BTC/EUR:5m: bitvavo cannot be reached")


@pytest.mark.parametrize("source", ["bitvavo"])
def test_faults_of_many_ticks_cost_no_forecast_and_are_made_up_for(
    served: World, source: str
) -> None:
    served.server.faults.extend([Reply(451)] * 2)
    stale = [tick(served, bar).data["forecasts"][0]["stale_bars"] for bar in (1, 2, 3)]
    assert stale == [1, 2, 0]
    assert {NOW, NOW + INTERVAL, NOW + 2 * INTERVAL} <= served.stored().keys()
