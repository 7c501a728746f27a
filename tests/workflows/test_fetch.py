"""fetch over real HTTP: what it asks, what it keeps, and what it never asks again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cryptocast.values import Candles, iso
from support import spoil
from support.commands import AS_OF, INTERVAL, NOW, candles, good, query, run, write
from support.loopback import KEY, Loopback, as_json, html

DAY = 288
SYMBOLS = ("BTC/EUR", "ETH/EUR", "SOL/EUR")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, impatient: None) -> Iterator[Loopback]:
    with Loopback({symbol: candles(symbol) for symbol in SYMBOLS}) as loopback:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "bitvavo")
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", loopback.base_url("bitvavo"))
        yield loopback


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty workspace; its database is made at first use."""
    (tmp_path / "cryptocast.toml").write_text("", encoding="utf-8")
    return tmp_path


def at(bar: int) -> str:
    """The moment `bar` bars before (or, negative, after) AS_OF."""
    return iso(NOW - bar * INTERVAL)


def fetch(folder: Path, *options: str, as_of: str = AS_OF) -> dict:
    (market,) = good("fetch", "-w", folder, "--as-of", as_of, *options)["markets"]
    return dict(market)


def table(
    folder: Path, columns: str = "epoch(open_time), open, high, low, close, volume"
) -> list[tuple]:
    return query(folder, f"SELECT market, {columns} FROM candles ORDER BY market, open_time")


def asked(server: Loopback) -> list[tuple[int, int]]:
    """The ranges that Bitvavo was asked for, in bars before AS_OF."""

    def bars(milliseconds: str) -> int:
        return (NOW - int(milliseconds) // 1000) // INTERVAL

    found = [(bars(r.query["start"]), bars(r.query["end"])) for r in server.requests]
    server.requests.clear()
    return found


def without(c: Candles, *bars: int) -> Candles:
    """The candles but for those that many bars before AS_OF."""
    return c.take(~np.isin(c.open_time, [NOW - bar * INTERVAL for bar in bars]))


def other(c: Candles, bar: int, close: float) -> Candles:
    """The candles with another close at one bar."""
    chosen = c.open_time == NOW - bar * INTERVAL
    return dataclasses.replace(
        c, close=np.where(chosen, close, c.close), high=np.where(chosen, 1e6, c.high)
    )


def test_only_what_came_since_is_asked_for_with_an_overlap(folder: Path, server: Loopback) -> None:
    assert fetch(folder, "--days", "1")["new"] == DAY
    assert asked(server) == [(DAY, 0)]
    assert fetch(folder, "--days", "1")["new"] == 0
    assert asked(server) == []
    assert fetch(folder, "--days", "1", as_of=at(-4))["new"] == 4
    assert asked(server) == [(3, -4)]


def test_a_candle_that_the_source_has_changed_is_revised_and_the_event_holds_the_old_values(
    folder: Path, server: Loopback
) -> None:
    fetch(folder, "--days", "1")
    before = server.candles["BTC/EUR"]
    server.candles["BTC/EUR"] = other(before, 2, 5e5)
    found = fetch(folder, "--days", "1", as_of=at(-1))
    assert (found["new"], found["revised"]) == (1, 1)
    ((changed, close, provenance),) = query(
        folder,
        "SELECT open_time::VARCHAR, close, provenance FROM candles WHERE provenance = 'revised'",
    )
    assert (changed, close, provenance) == ("2024-06-02 23:50:00+00", 5e5, "revised")
    ((moment, old, new),) = query(
        folder,
        "SELECT detail->>'open_time', (detail->'old'->>'close')::DOUBLE, "
        "(detail->'new'->>'close')::DOUBLE FROM events WHERE kind = 'candle.revised'",
    )
    old_close = before.close[before.open_time == NOW - 2 * INTERVAL][0]
    assert (moment, old, new) == (at(2), old_close, 5e5)


def test_a_hole_is_asked_for_once_a_run_until_two_answers_confirm_it(
    folder: Path, server: Loopback
) -> None:
    whole = server.candles["BTC/EUR"]
    server.candles["BTC/EUR"] = without(whole, 100, 101, 50)
    first = fetch(folder, "--days", "1")
    assert (first["missing"], first["confirmed"]) == (3, 0)
    assert first["gaps"] == [
        {"start": at(101), "end": at(99), "bars": 2},
        {"start": at(50), "end": at(49), "bars": 1},
    ]
    assert asked(server) == [(DAY, 0)]
    second = fetch(folder, "--days", "1")
    assert (second["missing"], second["confirmed"], second["gaps"]) == (3, 3, first["gaps"])
    assert asked(server) == [(101, 49)]
    assert fetch(folder, "--days", "1")["missing"] == 3
    assert asked(server) == []
    server.candles["BTC/EUR"] = whole
    repaired = fetch(folder, "--days", "1", "--repair")
    assert asked(server) == [(101, 49)]
    assert (repaired["repaired"], repaired["missing"], repaired["confirmed"]) == (3, 0, 0)
    assert query(folder, "SELECT count(*) FROM candles WHERE provenance = 'repaired'") == [(3,)]


def test_a_row_that_was_refused_never_confirms_that_its_bar_is_missing(
    folder: Path, server: Loopback
) -> None:
    server.end_inclusive = False
    for row in (DAY // 2, 0, 0):
        server.rewrite.append(spoil.cell("close", "-1", row))
        found = fetch(folder, "--days", "1")
        assert (found["rejected"], found["missing"], found["confirmed"]) == (1, 1, 0)
    assert len(asked(server)) == 3
    assert fetch(folder, "--days", "1")["repaired"] == 1


def test_a_deleted_candle_is_repaired(folder: Path, server: Loopback) -> None:
    import duckdb

    fetch(folder, "--days", "1")
    whole = table(folder)
    with duckdb.connect(str(folder / "cryptocast.duckdb")) as connection:
        connection.execute(
            "DELETE FROM candles WHERE open_time IN (to_timestamp(?), to_timestamp(?))",
            [NOW - 9 * INTERVAL, NOW - 200 * INTERVAL],
        )
    found = fetch(folder, "--days", "1")
    assert (found["new"], found["repaired"], found["missing"]) == (0, 2, 0)
    assert table(folder) == whole


def test_the_past_is_brought_backwards_a_call_at_a_time_and_stays_one_series(
    folder: Path, server: Loopback
) -> None:
    fetch(folder, "--days", "1")
    asked(server)
    assert fetch(folder, "--days", "7")["new"] == 2016 - DAY
    assert asked(server) == [(DAY + 1439, DAY), (2016, DAY + 1439)]
    assert query(folder, "SELECT DISTINCT provenance FROM candles") == [("backfill",)]


def test_one_market_that_fails_does_not_cost_the_others(
    folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/EUR", "NOPE/EUR", "ETH/EUR"]')
    done = run("fetch", "-w", folder, "--as-of", AS_OF, "--days", "1", "--json")
    assert done.code == 0
    btc, nope, eth = done.data["markets"]
    assert (btc["new"], nope["new"], eth["new"]) == (DAY, 0, DAY)
    assert (btc["error"], eth["error"]) == (None, None)
    assert nope["error"]["code"] == "config.symbol"
    assert "warning: bitvavo:NOPE/EUR:5m: bitvavo does not know this market" in done.err


def test_where_every_market_fails_the_first_error_is_the_answer(
    folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/EUR", "ETH/EUR"]')
    server.faults.extend([html(), html()])
    done = run("fetch", "-w", folder, "--as-of", AS_OF, "--json")
    assert (done.code, done.error["code"]) == (4, "source.bad_answer")
    assert query(folder, "SELECT count(*) FROM candles") == [(0,)]


def test_many_markets_at_once_bring_what_one_after_the_other_bring(
    folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    symbols = [f"C{number}/EUR" for number in range(20)]
    server.candles |= {
        symbol: candles("BTC/EUR").take(slice(n, None)) for n, symbol in enumerate(symbols)
    }
    names = ", ".join(f'"{symbol}"' for symbol in symbols)
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", f"[{names}]")
    report = good("fetch", "-w", folder, "--as-of", AS_OF, "--days", "7")
    assert [m["market"] for m in report["markets"]] == [f"bitvavo:{s}:5m" for s in symbols]
    assert [m["new"] for m in report["markets"]] == [2016 - number for number in range(20)]
    assert len(server.requests) == 40
    assert query(folder, "SELECT count(*) FROM candles") == [(sum(range(1997, 2017)),)]


def test_candles_that_kraken_gives_no_more_are_told_and_not_confirmed_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    with Loopback({"BTC/EUR": candles()}) as server:
        server.now = NOW
        monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "kraken")
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("kraken"))
        for _ in range(3):
            done = run("fetch", "-w", folder, "--as-of", AS_OF, "--days", "7", "--json")
            (market,) = done.data["markets"]
            assert market["confirmed"] == 0
            assert 719 <= market["rows"] <= 720
    assert len(server.requests) <= 3
    assert "of these are older than what kraken still provides" in done.err


def test_a_server_whose_clock_is_behind_gives_no_running_candle_for_a_closed_one(
    folder: Path, server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = time.time
    moment = (system() // INTERVAL + 1) * INTERVAL + 20  # 20 s after a close
    shift = moment - system()
    monkeypatch.setattr(time, "time", lambda: system() + shift)
    c = server.candles["BTC/EUR"]
    newest = int(moment) // INTERVAL * INTERVAL - INTERVAL
    shifted = c.open_time + (newest - int(c.open_time[-1]))
    server.candles["BTC/EUR"] = dataclasses.replace(c, open_time=shifted)
    server.skew_seconds = -100.0
    (market,) = good("fetch", "-w", folder, "--days", "1")["markets"]
    assert market["last"] == iso(newest - INTERVAL)
    server.skew_seconds = 0.0
    (market,) = good("fetch", "-w", folder, "--days", "1")["markets"]
    assert market["last"] == iso(newest)


@pytest.mark.parametrize(
    ("skew", "words"), [(4000.0, "4,000 s behind"), (-4000.0, "4,000 s ahead of")]
)
def test_a_clock_that_disagrees_with_the_servers_brings_nothing(
    folder: Path, server: Loopback, skew: float, words: str
) -> None:
    server.skew_seconds = skew
    done = run("fetch", "-w", folder, "--days", "1", "--json")
    assert (done.code, done.error["code"]) == (4, "clock.skew")
    assert words.split()[-1] in done.error["message"]
    assert query(folder, "SELECT count(*) FROM candles") == [(0,)]


def test_files_are_imported_into_the_market_of_another_source(
    folder: Path, server: Loopback, tmp_path: Path
) -> None:
    fetch(folder, "--days", "1")
    asked(server)
    file = write(tmp_path / "files" / "BTC-EUR.parquet", candles())
    (market,) = good(
        *("fetch", "-w", folder, "--as-of", AS_OF, "--source", "file"),
        *("--path", file, "--market", "bitvavo:BTC/EUR:5m"),
    )["markets"]
    assert asked(server) == []
    assert (market["market"], market["new"], market["revised"]) == (
        "bitvavo:BTC/EUR:5m",
        2016 - DAY,
        0,
    )
    assert query(folder, "SELECT provenance, count(*) FROM candles GROUP BY ALL ORDER BY ALL") == [
        ("backfill", DAY),
        ("imported", 2016 - DAY),
    ]
    assert query(folder, "SELECT count(*) FROM missing_bars") == [(0,)]


@pytest.mark.usefixtures("server")
def test_an_import_that_replaces_what_is_stored_says_so(folder: Path, tmp_path: Path) -> None:
    fetch(folder, "--days", "1")
    other = candles("ETH/EUR")
    file = write(tmp_path / "files" / "other.parquet", other)
    done = run(
        *("fetch", "-w", folder, "--as-of", AS_OF, "--source", "file", "--path", file),
        *("--market", "bitvavo:BTC/EUR:5m"),
    )
    assert done.code == 0
    assert (
        f"bitvavo:BTC/EUR:5m: {DAY} stored candles had other values and were replaced "
        "(the events candle.revised hold the old ones)"
    ) in " ".join(done.err.split())


def test_what_comes_after_recorded_files_is_no_gap(tmp_path: Path) -> None:
    whole = candles()
    file = write(tmp_path / "files" / "BTC-EUR.parquet", whole.take(whole.open_time < NOW))
    options = ("--source", "file", "--path", file, "--symbol", "BTC/EUR", "--trials", "0")
    good("init", "-w", tmp_path / "w", *options, "--as-of", AS_OF)
    later = iso(NOW + 86_400)
    done = run("fetch", "-w", tmp_path / "w", "--as-of", later)
    told = " ".join(done.err.split())
    end = iso(NOW)
    assert f"its files end at {end} (recorded candles are used with --as-of {end})" in told
    assert "missing" not in told
    refused = run("train", "-w", tmp_path / "w", "--as-of", iso(NOW + 30 * 86_400))
    assert f"has no candles up to now, they end at {end} (" in " ".join(refused.err.split())
    assert refused.code == 3


def test_an_import_takes_a_range_and_a_market_that_is_not_configured(
    folder: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "files" / "ETH-EUR.csv", candles("ETH/EUR"))
    (market,) = good(
        *("fetch", "-w", folder, "--as-of", AS_OF, "--source", "file", "--path", file),
        *("--market", "kraken:ETH/EUR:5m", "--start", at(10), "--end", at(4)),
    )["markets"]
    assert (market["market"], market["rows"], market["first"], market["last"]) == (
        "kraken:ETH/EUR:5m",
        6,
        at(10),
        at(5),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "bitvavo"), "--source bitvavo cannot be imported from"),
        (("--source", "file"), "--source file, --path and --market go together"),
        (("--path", "x.csv"), "--source file, --path and --market go together"),
        (
            ("--source", "file", "--path", "x.csv", "--market", "BTC/EUR", "--repair"),
            "--repair cannot be combined with --source file",
        ),
    ],
)
def test_import_options_that_do_not_go_together_are_refused(
    folder: Path, options: tuple[str, ...], message: str
) -> None:
    done = run("fetch", "-w", folder, *options, "--json")
    assert (done.code, done.error["message"]) == (2, message)


@pytest.mark.parametrize("source", ["bitvavoo", "nosuch", "Kraken", "\x1b]0;evil\x07"])
def test_an_import_into_a_market_of_no_source_is_refused(
    folder: Path, tmp_path: Path, source: str
) -> None:
    file = tmp_path / "candles.csv"
    file.write_text("ts,open,high,low,close\n", encoding="utf-8")
    done = run(
        *("fetch", "-w", folder, "--source", "file", "--path", file),
        *("--market", f"{source}:BTC/EUR:5m"),
    )
    assert done.code == 2
    assert "error: there is no source '" in done.err
    assert "\x1b" not in done.err
    assert "bitvavo, ccxt, coinbase" in done.err


def test_an_import_into_a_market_of_no_exchange_is_refused(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ccxt")
    options = ("--source", "file", "--path", tmp_path, "--market", "ccxt:nosuch:BTC/EUR:5m")
    done = run("fetch", "-w", folder, *options, "--json")
    assert (done.code, done.error["message"]) == (2, "ccxt knows no exchange 'nosuch'")


def test_no_escape_sequence_of_a_file_reaches_the_terminal(folder: Path, tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;evil\x07\u202e\x9b31m"
    header = "ts,open,high,low,close"
    contents = {
        "candles.csv": f"{header}{evil}\n1717200000,1,1,1,1\n",
        f"BTC-EUR{evil}.csv": f"{header}\n{evil},1,1,1,1\n",
        "BTC-EUR.csv": f"{header},market\n1717200000,1,1,1,1,{evil}\n1717200300,1,1,1,1,b\n",
        "ETH-EUR.csv": f"{header}\n1717200000,1,1,1,{evil}\n",
        "BTC-EUR_1.csv": f"{header},volume {evil}a,volume b\n1717200000,1,1,1,1,1,1\n",
        "c.json": f'[{{"ts": 1717200000, "{evil.encode("unicode_escape").decode()}": 1}}]',
    }
    for name, content in contents.items():
        file = tmp_path / name
        file.write_text(content, encoding="utf-8")
        done = run(
            *("fetch", "-w", folder, "--source", "file", "--path", file),
            *("--market", "kraken:ETH/EUR:5m" if name.startswith("ETH") else "kraken:BTC/EUR:5m"),
        )
        assert done.err
        assert not set(evil.replace("[2J", "").replace("]0;evil", "").replace("31m", "")) & set(
            done.err + done.out
        ), name
        file.unlink()


def test_an_import_of_another_interval_is_refused(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "BTC-EUR.csv", candles())
    done = run(
        *("fetch", "-w", folder, "--source", "file", "--path", file),
        *("--market", "kraken:BTC/EUR:1h", "--json"),
    )
    assert (done.code, done.error["code"]) == (2, "config.interval")
    assert done.error["hint"] == "write kraken:BTC/EUR:5m"


def test_coincap_pays_for_what_it_answers_and_stops_before_the_budget_is_spent(
    folder: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "coincap")
    monkeypatch.setenv("COINCAP_API_KEY", KEY)
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/USD"]')
    monkeypatch.setenv("CRYPTOCAST_SOURCE__MONTHLY_CREDITS", "30")
    with Loopback({"BTC/USD": candles()}) as server:
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("coincap"))
        done = run("fetch", "-w", folder, "--as-of", AS_OF, "--days", "7", "--json")
    assert (done.code, done.error["code"]) == (4, "source.quota")
    ((calls, credits),) = query(folder, "SELECT calls, credits FROM credits")
    assert calls == len(server.requests) == 2
    assert 20 <= credits <= 30
    assert query(folder, "SELECT count(*) FROM candles") == [(2 * DAY,)]


def test_a_refusal_for_want_of_credits_is_followed_by_no_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setenv("CRYPTOCAST_SOURCE__NAME", "coincap")
    monkeypatch.setenv("COINCAP_API_KEY", KEY)
    monkeypatch.setenv("CRYPTOCAST_MARKET__SYMBOLS", '["BTC/USD", "ETH/USD"]')
    refusal = as_json({"error": "Forbidden: Monthly usage limit exceeded"}, 403)
    with Loopback({"BTC/USD": candles(), "ETH/USD": candles()}) as server:
        server.delay_seconds = 0.05
        server.faults.extend([refusal, refusal])
        monkeypatch.setenv("CRYPTOCAST_SOURCE__BASE_URL", server.base_url("coincap"))
        for _ in range(3):
            done = run("fetch", "-w", folder, "--as-of", AS_OF, "--json")
            assert (done.code, done.error["code"]) == (4, "source.quota")
    # Two markets are asked for at once; once one is refused, nothing is asked.
    assert len(server.requests) <= 2
