from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cryptocast.store import Store, Tick
from cryptocast.values import Candles, Deployment, ForecastSet, Market

START = 1_717_372_800
BAR = 300

Make = Callable[..., Any]
Query = Callable[[str], list[tuple[Any, ...]]]

VIEWS = {
    "forecasts": "market, origin, step, target_time, model_version, levels, quantiles, last_close, "
    "scale, issued_at, written_at, mode, late, served, fallback",
    "forecast_scores": "market, origin, step, target_time, model_version, served, mode, late, "
    "fallback, last_close, actual, median, crps_bp, abs_error_bp, naive_abs_error_bp, in80, in90",
}
TABLES = {
    "candles": "market, open_time, open, high, low, close, volume, provenance, fetched_at",
    "ticks": "market, origin, started_at, finished_at, status, error_code, detail",
    "deployments": "id, at, written_at, market, model_version, previous_version, action, reason, "
    "scores",
    "events": "at, kind, market, detail",
}


def put(store: Store, forecast: ForecastSet, *, served: bool = True, **more: Any) -> bool:
    with store.write() as writer:
        return writer.put_set(forecast, served=served, **more)


def columns(query: Query, name: str) -> list[str]:
    return [row[0] for row in query(f"SELECT column_name FROM (DESCRIBE {name})")]


def test_tables_and_views_have_the_columns_of_the_contract_in_its_order(
    store: Store, query: Query
) -> None:
    with store.read():
        pass
    for name, expected in (VIEWS | TABLES).items():
        assert columns(query, name) == expected.split(", ")


def test_every_time_is_a_moment_in_utc(store: Store, query: Query) -> None:
    with store.read():
        pass
    found = query(
        "SELECT DISTINCT data_type FROM duckdb_columns()"
        " WHERE column_name IN ('at', 'origin', 'target_time') OR column_name LIKE '%_at'"
        " OR column_name = 'open_time'"
    )
    assert ("TIMESTAMP WITH TIME ZONE",) in found
    assert not [kind for (kind,) in found if kind.startswith("TIMESTAMP") and "ZONE" not in kind]


def test_a_served_set_comes_back_as_it_was_put(
    store: Store, market: Market, make_set: Make
) -> None:
    forecast = make_set(4, fallback="stale: newest candle 4 bars old", mode="late")
    assert put(store, forecast)
    with store.read() as reader:
        for found in (reader.served(market, forecast.origin), reader.newest(market)):
            assert found is not None
            np.testing.assert_array_equal(found.quantiles, forecast.quantiles)
            for name in (
                "market", "origin", "issued_at", "last_close", "stale_bars",
                "mode", "late", "model", "levels",
            ):  # fmt: skip
                assert getattr(found, name) == getattr(forecast, name)
        assert reader.served(market, forecast.origin + BAR) is None
        assert reader.newest(Market("kraken", "BTC", "EUR", "5m")) is None


def test_the_newest_set_is_the_served_one_with_the_greatest_origin(
    store: Store, market: Market, make_set: Make
) -> None:
    for bar in (7, 9, 3):
        put(store, make_set(bar))
    put(store, make_set(11), served=False)
    with store.read() as reader:
        newest = reader.newest(market)
    assert newest is not None
    assert newest.origin == START + 9 * BAR


def test_a_set_is_never_rewritten(store: Store, market: Market, make_set: Make) -> None:
    first = make_set(0, last_close=100.0)
    assert put(store, first)
    assert not put(store, make_set(0, last_close=200.0))
    with store.read() as reader:
        found = reader.served(market, START)
    assert found is not None
    assert found.last_close == 100.0


def test_one_origin_has_one_served_set_even_with_two_versions(
    store: Store, make_set: Make, query: Query
) -> None:
    assert put(store, make_set(0, "1"))
    assert not put(store, make_set(0, "2"))
    assert put(store, make_set(0, "2"), served=False)
    assert not put(store, make_set(0, "2"), served=False)
    assert put(store, make_set(0, "3"), served=False)
    assert query("SELECT model_version, served FROM forecast_sets ORDER BY 1") == [
        ("1", True), ("2", False), ("3", False)
    ]  # fmt: skip


def test_the_database_itself_refuses_a_second_served_set(
    store: Store, make_set: Make, query: Query
) -> None:
    put(store, make_set(0, "1"))
    with pytest.raises(Exception, match=r"[Dd]uplicate key|Constraint"):
        query(
            "INSERT INTO forecast_sets SELECT * REPLACE ('2' AS model_version) FROM forecast_sets"
        )


def test_the_view_unfolds_a_set_into_its_steps(store: Store, make_set: Make, query: Query) -> None:
    forecast = make_set(2, "7", horizon=3)
    scale = np.array([1.1, 1.2, 1.3])
    put(store, forecast, written_at=START + 700.25, scale=scale)
    put(store, make_set(3, "7", levels=(0.25, 0.5, 0.75), horizon=1))
    found = query(
        "SELECT market, epoch(origin), step, epoch(target_time), model_version, levels, quantiles,"
        " last_close, scale, epoch(issued_at), epoch(written_at), mode, late, served, fallback"
        f" FROM forecasts WHERE epoch(origin) = {forecast.origin} ORDER BY step"
    )
    assert found == [
        (
            "bitvavo:BTC/EUR:5m", forecast.origin, step, forecast.target_time(step), "7",
            list(forecast.levels), forecast.quantiles[step - 1].tolist(), 100.0, scale[step - 1],
            forecast.issued_at, START + 700.25, "live", False, True, None,
        )
        for step in (1, 2, 3)
    ]  # fmt: skip
    assert query("SELECT levels, scale, step FROM forecasts WHERE len(levels) = 3") == [
        ([0.25, 0.5, 0.75], 1.0, 1)
    ]


def test_levels_are_kept_once(store: Store, make_set: Make, query: Query) -> None:
    for bar in range(5):
        put(store, make_set(bar))
    put(store, make_set(9, levels=(0.25, 0.5, 0.75)))
    assert query("SELECT count(*) FROM level_sets") == [(2,)]


def test_the_set_is_written_now_by_the_systems_clock(
    store: Store, make_set: Make, query: Query
) -> None:
    before = time.time()
    put(store, make_set(0))
    ((written,),) = query("SELECT epoch(written_at) FROM forecast_sets")
    assert before - 1e-5 <= written <= time.time() + 1e-5


def slow_scores(forecast: ForecastSet, step: int, actual: float) -> tuple[float | bool | None, ...]:
    levels, row = forecast.levels, forecast.quantiles[step - 1]
    y = math.log(actual / forecast.last_close)
    losses = []
    for q, price in zip(levels, row, strict=True):
        f = math.log(price / forecast.last_close)
        losses.append(2 * max(q * (y - f), (q - 1) * (y - f)))
    quantile = dict(zip(levels, row.tolist(), strict=True))
    median = quantile[0.5]
    in80 = quantile[0.1] <= actual <= quantile[0.9] if 0.1 in quantile else None
    in90 = quantile[0.05] <= actual <= quantile[0.95] if 0.05 in quantile else None
    return (
        actual, median, sum(losses) / len(losses) * 1e4, abs(math.log(actual / median)) * 1e4,
        abs(y) * 1e4, in80, in90,
    )  # fmt: skip


def test_scores_are_those_of_a_slow_loop_and_only_where_there_is_a_candle(
    store: Store, market: Market, make_set: Make, make_candles: Make, query: Query
) -> None:
    daily = Market("bitvavo", "BTC", "EUR", "1d")
    sets = [make_set(bar, horizon=24) for bar in range(0, 40, 3)]
    sets += [make_set(1, levels=(0.1, 0.3, 0.5, 0.7, 0.9), horizon=4, last_close=95.0)]
    sets += [make_set(2, levels=(0.25, 0.5, 0.75), horizon=4, last_close=107.0)]
    sets += [make_set(0, levels=(0.25, 0.5, 0.75), horizon=30, market=daily)]
    bars = [bar for bar in range(45) if bar % 5]
    candles = {market: make_candles(bars)}
    days = make_candles(range(20))
    candles[daily] = Candles(
        START + (days.open_time - START) * 288, *(getattr(days, n) for n in
        ("open", "high", "low", "close", "volume")),
    )  # fmt: skip
    with store.write() as writer:
        for one, rows in candles.items():
            writer.put_candles(one, rows, provenance="backfill", fetched_at=1)
        for forecast in sets:
            assert writer.put_set(forecast, served=True)
    closes = {
        (one.id, int(moment) + one.interval_seconds): float(close)
        for one, rows in candles.items()
        for moment, close in zip(rows.open_time, rows.close, strict=True)
    }
    expected = {}
    for forecast in sets:
        for step in range(1, len(forecast.quantiles) + 1):
            actual = closes.get((forecast.market.id, forecast.target_time(step)))
            if actual is not None:
                key = (forecast.market.id, forecast.origin, step)
                expected[key] = slow_scores(forecast, step, actual)
    found = query(
        "SELECT market, epoch(origin)::BIGINT, step, actual, median, crps_bp, abs_error_bp,"
        " naive_abs_error_bp, in80, in90 FROM forecast_scores"
    )
    assert len(found) == len(expected) > 200
    for market_id, origin, step, *scores in found:
        slow = expected[market_id, origin, step]
        assert scores[:5] == pytest.approx(slow[:5], rel=1e-9, abs=1e-9)
        assert tuple(scores[5:]) == slow[5:]


def test_ticks_of_one_origin_are_appended(store: Store, market: Market) -> None:
    with store.write() as writer:
        assert writer.last_tick(market) is None
        writer.put_tick(market.id, START, START + 1.5, START + 2.5, "failed", "source.down", "no")
        writer.put_tick(market.id, START, START + 8.5, START + 9.25, "ok")
        writer.put_tick("kraken:BTC/EUR:5m", START, START + 99, START + 99, "ok")
    with store.read() as reader:
        found = reader.last_tick(market)
    assert found == Tick(market.id, START, START + 8.5, START + 9.25, "ok", None, None)


def test_the_deployment_with_the_greatest_id_rules_whatever_the_clock(store: Store) -> None:
    with store.write() as writer:
        assert writer.deployment() is None
        first = writer.put_deployment(
            at=START + 500.5, market="m", model_version="1", previous_version=None,
            action="promote", reason="better", scores={"skill": 0.01, "p": float("nan")},
            written_at=START + 1000,
        )  # fmt: skip
        second = writer.put_deployment(
            at=START, market="m", model_version="2", previous_version="1",
            action="force", reason="because", written_at=START + 2000,
        )  # fmt: skip
    assert first == Deployment(
        1, START + 500.5, "m", "1", None, "promote", "better", '{"skill": 0.01, "p": null}'
    )
    with store.read() as reader:
        assert reader.deployments() == [first, second]
        assert reader.deployment() == second
        assert reader.deployment_at(START + 1999) == first
        assert reader.deployment_at(START + 999) is None


def test_events_are_read_by_kind(store: Store) -> None:
    with store.write() as writer:
        writer.put_event(START + 0.5, "gate.refused", None, {"scores": [float("inf"), 1]})
        writer.put_event(START + 1, "other", "m", {})
    with store.read() as reader:
        (event,) = reader.events("gate.refused")
    assert (event.at, event.kind, event.market) == (START + 0.5, "gate.refused", None)
    assert event.detail == {"scores": [None, 1]}
