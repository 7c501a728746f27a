"""What `status` finds in the store, and what it calls trouble."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cryptocast.errors import ConfigError
from cryptocast.store import Store, gaps
from cryptocast.values import Gap, iso
from cryptocast.workflows.monitor import monitor
from cryptocast.workflows.status import StatusReport, status
from support.commands import INTERVAL, NOW, good, query, run
from support.ticks import BTC, SYMBOLS, at, change, drop, origin, redenominate, ticked


def look(folder: Path, bar: float = 1, **settings: object) -> StatusReport:
    with at(folder, bar, **settings) as ws:
        return status(ws)


def test_a_workspace_that_serves_has_no_issues(w: Path) -> None:
    made = ticked(w, 1).forecasts[0]
    report = look(w, 1.2)
    (market,) = report.markets
    assert report.issues == ()
    assert market.forecast is not None
    assert (market.forecast.origin, market.forecast.model.version) == (origin(1), "2")
    assert market.forecast.quantiles.tolist() == made.quantiles.tolist()
    assert (market.behind_bars, market.overdue_bars, market.stand_in) == (0, 0, None)
    assert market.tick is not None
    assert (market.tick.status, market.ticks) == ("ok", {"ok": 1})
    assert market.stored is not None
    assert (market.stored.last, market.stored.gaps) == (origin(0), ())
    assert market.candles.open_time[-1] == origin(0)
    assert [row.model_version for row in report.productions] == ["2"]
    assert market.production == report.productions[0]
    assert (report.health, report.shadow, report.loop, report.credits) == (None, None, None, {})
    assert report.next_tick == origin(2) + 10


def test_no_later_candle_tick_or_forecast_is_seen(w: Path) -> None:
    ticked(w, 1, 2, 3, 4)
    report = look(w, 2)
    (market,) = report.markets
    assert market.forecast is not None
    assert market.stored is not None
    assert market.tick is not None
    assert market.forecast.origin == market.tick.origin == origin(2)
    assert market.stored.last == market.candles.open_time[-1] == origin(1)
    assert market.ticks == {"ok": 2}
    assert market.coverage is not None
    assert market.coverage.n == 1  # step 1 of the first


def test_coverage_is_that_of_the_last_day_and_says_whether_it_was_live(w: Path) -> None:
    ticked(w, *range(1, 9))
    (market,) = look(w, 9).markets
    assert market.coverage is not None
    assert (market.coverage.live, market.coverage.n) == (True, 8)
    ((in80, in90),) = query(
        w,
        "SELECT avg(in80::INT), avg(in90::INT) FROM forecast_scores"
        f" WHERE step = 1 AND target_time <= to_timestamp({origin(9)})",
    )
    assert (market.coverage.in80, market.coverage.in90) == (in80, in90)
    change(w, "UPDATE forecast_sets SET mode = 'replay' WHERE mode = 'live'")
    (market,) = look(w, 9).markets
    assert market.coverage is not None
    assert (market.coverage.live, market.coverage.n) == (False, 8)
    assert look(w, 600).markets[0].coverage is None


def test_a_stand_in_is_told_with_its_run(w: Path) -> None:
    ticked(w, 1)
    (w / "bundles" / "2").rename(w / "gone")
    ticked(w, 2, 3)
    report = look(w, 3)
    stand_in = report.markets[0].stand_in
    assert stand_in is not None
    assert (stand_in.reason, stand_in.since, stand_in.sets) == ("bundle_missing", origin(2), 2)
    assert report.issues == ("a stand-in serves: bundle_missing",)
    assert look(w, 1).markets[0].stand_in is None


def test_silence_and_an_old_candle_are_trouble(w: Path) -> None:
    ticked(w, 1)
    assert look(w, 2.9).issues == ()
    assert look(w, 3).issues == ("no forecast for the last 2 origins: does anything tick?",)
    change(w, f"DELETE FROM candles WHERE epoch(open_time) >= {origin(1)}")
    assert look(w, 6).issues == (
        "no forecast for the last 5 origins: does anything tick?",
        "the newest candle is 5 bars old",
    )


def test_a_new_unit_is_told_for_a_day(w: Path) -> None:
    redenominate(w, 1, 1_000)
    ticked(w, 13)
    (issue,) = look(w, 13.5).issues
    assert issue.startswith("the price moved x 1,00")
    assert issue.endswith(
        f" in the bar of {iso(origin(1))} and stayed: it is taken for a new unit (redenomination or"
        " split), and this move is left out"
    )
    assert not any("unit" in issue for issue in look(w, 13 + 288).issues)
    with at(w, 13.5) as ws:
        assert monitor(ws).warnings == (f"{BTC.id}: {issue}",)


def test_a_failed_tick_is_told_with_its_reason(w: Path) -> None:
    ticked(w, 1)
    change(
        w,
        f"INSERT INTO ticks VALUES ('{BTC.id}', to_timestamp({origin(2)}), now(), now(), 'failed',"
        " 'source.timeout', '<script>alert(1)</script>')",
    )
    assert look(w, 2).issues == ("the last tick failed: <script>alert(1)</script>",)


def test_gaps_and_confirmed_bars_are_counted(w: Path) -> None:
    drop(w, [-20, -19, -7])
    change(
        w,
        f"INSERT INTO missing_bars VALUES ('{BTC.id}', to_timestamp({origin(-7)}), 2, now()),"
        f" ('{BTC.id}', to_timestamp({origin(-20)}), 1, now())",
    )
    stock = look(w, 1).markets[0].stored
    assert stock is not None
    assert stock.gaps == (
        Gap(origin(-20), origin(-18), 2),
        Gap(origin(-7), origin(-6), 1),
    )
    assert stock.confirmed == 1


def test_gaps_are_those_that_the_reader_finds(w: Path) -> None:
    drop(w, [*range(-300, -295), *range(-9, -3, 2)])
    found = look(w, 1, data__days=1.5)
    first = round(NOW + INTERVAL - 1.5 * 86_400)
    with Store(w / "cryptocast.duckdb", 60).read() as reader:
        assert list(found.markets[0].stored.gaps) == gaps(reader, {BTC: (first, origin(0))})[BTC]  # type: ignore[union-attr]  # it has some
    cut = look(w, 1, data__days=297 / 288)  # the range begins inside a gap
    assert cut.markets[0].stored.gaps[0].bars == 1  # type: ignore[union-attr]  # it has some


def test_the_monitor_rules_health_and_skill(w: Path) -> None:
    ticked(w, 1)
    windows = [
        {"market": BTC.id, "window": "2h", "skill_vs_random_walk": 0.5},
        {"market": BTC.id, "window": "day", "skill_vs_random_walk": -0.03},
    ]
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        for verdict in ("healthy", "declined"):
            detail = {"verdict": verdict, "reason": "why", "windows": windows, "x": float("nan")}
            writer.put_event(NOW, "monitor", None, detail)
    report = look(w, 1)
    assert report.health is not None
    assert (report.health.verdict, report.health.at) == ("declined", NOW)
    assert report.markets[0].skill == -0.03
    assert report.issues == ("the forecasts have declined: why",)


def test_a_shadow_and_the_loop_are_told(w: Path) -> None:
    good("shadow", "1", "-w", w, "--as-of", iso(NOW))
    (w / "logs").mkdir(exist_ok=True)
    health = {"state": "running", "pid": 1, "consecutive_failures": 0}
    (w / "logs" / "health.json").write_text(json.dumps(health))
    report = look(w, 1)
    assert (report.shadow, report.loop) == ("1", health)
    for broken in ("", "{", "[]", "\x00"):
        (w / "logs" / "health.json").write_text(broken)
        assert look(w, 1).loop is None


def test_credits_are_those_of_this_month(w: Path) -> None:
    with Store(w / "cryptocast.duckdb", 60).write() as writer:
        writer.add_credits("file", time.time(), 2, 7)
    assert look(w, 1).credits["file"].credits == 7


def test_the_worst_market_comes_first(w: Path) -> None:
    change(w, "DELETE FROM candles WHERE market LIKE 'file:SOL%'")
    ticked(w, 1, market__symbols=list(SYMBOLS))
    report = look(w, 1, market__symbols=list(SYMBOLS))
    assert [m.market.symbol for m in report.markets] == ["SOL/EUR", "BTC/EUR", "ETH/EUR"]
    assert report.issues[:2] == (
        "SOL/EUR: no candles yet: cryptocast fetch",
        "SOL/EUR: no forecast yet: cryptocast forecast --once",
    )
    assert all(len(m.candles) == 0 for m in report.markets)


def test_what_many_markets_share_is_told_once(w: Path) -> None:
    report = look(w, 1, market__symbols=list(SYMBOLS))
    assert report.issues == ("3 markets: no forecast yet: cryptocast forecast --once",)


def test_one_of_many_markets_may_be_looked_at(w: Path) -> None:
    options = {"market__symbols": list(SYMBOLS)}
    ticked(w, 1, **options)
    with at(w, 1, **options) as ws:
        (market,) = status(ws, symbols=("ETH/EUR",)).markets
        assert market.market.symbol == "ETH/EUR"
        assert len(market.candles)
        with pytest.raises(ConfigError, match="'DOGE/EUR' is not a market of this workspace"):
            status(ws, symbols=("DOGE/EUR",))


def test_an_empty_folder_with_settings_has_nothing_but_advice(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text("")
    done = run("status", "-w", tmp_path)
    assert done.code == 0
    for advice in ("cryptocast init", "cryptocast fetch", "cryptocast forecast"):
        assert advice in done.out
    data = good("status", "-w", tmp_path)
    assert data["markets"][0]["forecast"] is None
    assert len(data["issues"]) == 3


def test_a_single_candle_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cryptocast.toml").write_text('[source]\nname = "file"\npath = "x.csv"\n')
    with at(tmp_path, 0) as ws, ws.store.read():
        pass
    change(
        tmp_path,
        f"INSERT INTO candles VALUES ('{BTC.id}', to_timestamp({origin(-1)}), 1, 2, 1, 2, NULL,"
        " 'live', now())",
    )
    done = run("status", "-w", tmp_path, "--as-of", iso(NOW))
    assert done.code == 0, done.err
    assert "Candles    1 to 2024-06-02T23:55Z, none missing" in done.out


def test_a_year_of_gaps_is_told_in_a_line(w: Path) -> None:
    drop(w, range(-1900, 0, 2))
    done = run("status", "-w", w, "--as-of", iso(NOW))
    assert done.code == 0
    assert "950 missing (0 confirmed)" in done.out


def test_a_market_that_was_taken_out_is_not_asked_for(w: Path) -> None:
    ticked(w, 1, market__symbols=list(SYMBOLS))
    report = look(w, 1, market__symbols=["ETH/EUR"])
    assert [m.market.symbol for m in report.markets] == ["ETH/EUR"]
    assert report.issues == ()


def test_the_document_holds_the_screen(w: Path) -> None:
    ticked(w, 1)
    data = good("status", "-w", w, "--as-of", iso(NOW + INTERVAL))
    (market,) = data["markets"]
    assert data["issues"] == market["issues"] == []
    assert market["forecast"]["version"] == "2"
    assert market["forecast"]["lag_seconds"] == 0
    assert [step["step"] for step in market["forecast"]["steps"]] == [1, 12, 24]
    for step in market["forecast"]["steps"]:
        assert step["low"] < step["median"] < step["high"]
    assert set(data) >= {"now", "next_tick", "production", "markets", "credits", "health", "loop"}
