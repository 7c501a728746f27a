from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cryptocast.store import (
    Reader,
    Store,
    Tick,
    Unserved,
    as_json,
    coverage,
    last_ticks,
    ticks,
    unserved_origins,
)
from cryptocast.values import Candles, Deployment, ForecastSet, Market, Past

START = 1_717_372_800
BAR = 300
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))

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
        return writer.ledger.put_sets([forecast], served=served, **more) == [True]


def served(reader: Reader, market: Market, origin: int) -> ForecastSet | None:
    return reader.ledger.served([market], origin).get(market)


def newest(reader: Reader, market: Market) -> ForecastSet | None:
    return reader.ledger.newest([market], 4e9).get(market)


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
        for found in (served(reader, market, forecast.origin), newest(reader, market)):
            assert found is not None
            np.testing.assert_array_equal(found.quantiles, forecast.quantiles)
            for name in (
                "market", "origin", "issued_at", "last_close", "stale_bars",
                "mode", "late", "model", "levels",
            ):  # fmt: skip
                assert getattr(found, name) == getattr(forecast, name)
        assert served(reader, market, forecast.origin + BAR) is None
        assert newest(reader, Market("kraken", "BTC", "EUR", "5m")) is None


def test_the_newest_set_is_the_served_one_with_the_greatest_origin(
    store: Store, market: Market, make_set: Make
) -> None:
    for bar in (7, 9, 3):
        put(store, make_set(bar))
    put(store, make_set(11), served=False)
    with store.read() as reader:
        found = newest(reader, market)
    assert found is not None
    assert found.origin == START + 9 * BAR


def test_a_set_is_never_rewritten(store: Store, market: Market, make_set: Make) -> None:
    first = make_set(0, last_close=100.0)
    assert put(store, first)
    assert not put(store, make_set(0, last_close=200.0))
    with store.read() as reader:
        found = served(reader, market, START)
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
    forecast = replace(forecast, scale=scale)
    put(store, forecast, written_at=START + 700.25)
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
            assert writer.ledger.put_sets([forecast], served=True) == [True]
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


def test_of_many_sets_each_tells_whether_it_was_stored(
    store: Store, market: Market, make_set: Make
) -> None:
    other = replace(market, base="ETH")
    with store.write() as writer:
        assert writer.ledger.put_sets([], served=True) == []
        assert writer.ledger.put_sets([make_set(1), make_set(2)], served=True) == [True, True]
        many = [make_set(2), make_set(3, "2"), make_set(2, market=other), make_set(1, "2")]
        assert writer.ledger.put_sets(many, served=True) == [False, True, True, False]
        assert writer.ledger.put_sets(many, served=False) == [False, False, False, True]


def test_a_day_of_sets_is_put_and_found_at_once(
    store: Store, market: Market, make_set: Make
) -> None:
    with store.write() as writer:
        assert (
            writer.ledger.put_sets([make_set(k) for k in range(288)], served=True) == [True] * 288
        )
        assert writer.ledger.origins(market, START + BAR, START + 3 * BAR) == {
            START + BAR,
            START + 2 * BAR,
        }


def test_markets_are_asked_for_together(store: Store, market: Market, make_set: Make) -> None:
    eth, sol = replace(market, base="ETH"), replace(market, base="SOL")
    for forecast in (make_set(1), make_set(4), make_set(2, market=eth)):
        put(store, forecast)
    put(store, make_set(3, market=sol), served=False)
    with store.read() as reader:
        found = reader.ledger.newest([sol, eth, market], START + 3 * BAR)
        assert {m: s.origin for m, s in found.items()} == {
            market: START + BAR,
            eth: START + 2 * BAR,
        }
        assert set(reader.ledger.served([sol, eth, market], START + 2 * BAR)) == {eth}
        assert reader.ledger.served([], START) == {}


def test_a_scale_comes_back_as_it_was_and_none_as_none(
    store: Store, market: Market, make_set: Make
) -> None:
    scale = np.array([1.000001, 0.4, 2.5])
    put(store, replace(make_set(0), scale=scale, body=scale / 2))
    put(store, make_set(1))
    with store.read() as reader:
        first, second = (served(reader, market, START + k * BAR) for k in (0, 1))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.scale, scale)
    np.testing.assert_array_equal(first.body, scale / 2)
    assert (second.scale, second.body) == (None, None)


def past(reader: Reader, market: Market, bar: int, **more: Any) -> Past | None:
    given = {"since": START, "shape": (3, len(LEVELS)), "inner": 4, "served": True} | more
    return reader.ledger.past([(market, "1")], START + bar * BAR, **given).get((market, "1"))


def targets(found: Past) -> list[tuple[int, int]]:
    """The bar and step of each target that is still to come."""
    bars = (found.ranges.origin - START) // BAR
    return list(zip(bars.tolist(), found.ranges.step.tolist(), strict=True))


def test_the_past_of_a_version_is_what_its_next_set_goes_on_from(
    store: Store, market: Market, make_set: Make
) -> None:
    # Each knew the candles up to two bars before its origin.
    for bar in range(10):
        scale, body = np.full(3, 1 + bar / 100), np.full(3, 1 + bar / 1000)
        put(store, replace(make_set(bar), scale=scale, body=body))
    put(store, make_set(10, "2"))
    put(store, make_set(10), served=False)
    with store.read() as reader:
        found = past(reader, market, 11)
        assert found is not None
        np.testing.assert_array_equal(found.scale, np.full(3, 1.09))
        assert found.known_until == START + 7 * BAR
        assert found.origin == START + 9 * BAR
        # The targets after that moment: of step 3 those of origins after the fourth.
        after = [(bar, step) for bar in range(10) for step in (1, 2, 3) if bar + step > 7]
        assert targets(found) == after
        assert [bar for bar, step in after if step == 3] == [5, 6, 7, 8, 9]
        quantiles = np.stack([make_set(bar).quantiles[step - 1] for bar, step in after])
        ranges = found.ranges
        np.testing.assert_array_equal(ranges.low, quantiles[:, 0])
        np.testing.assert_array_equal(ranges.high, quantiles[:, -1])
        np.testing.assert_array_equal(ranges.inner_low, quantiles[:, 4])
        np.testing.assert_array_equal(ranges.inner_high, quantiles[:, -5])
        np.testing.assert_array_equal(found.body, np.full(3, 1.009))
        whole = past(reader, market, 11, inner=None)
        assert whole is not None
        np.testing.assert_array_equal(whole.ranges.inner_low, ranges.low)
        np.testing.assert_array_equal(whole.ranges.inner_high, ranges.high)
        soon = past(reader, market, 11, until=START + 11 * BAR)
        assert soon is not None
        assert targets(soon) == [(bar, step) for bar, step in after if bar + step <= 11]


def test_the_past_ends_before_the_origin_and_begins_where_it_is_asked_from(
    store: Store, market: Market, make_set: Make
) -> None:
    for bar in range(10):
        put(store, make_set(bar))
    with store.read() as reader:
        found = past(reader, market, 5)
        assert found is not None
        assert targets(found) == [(b, s) for b in range(5) for s in (1, 2, 3) if b + s > 2]
        np.testing.assert_array_equal(found.scale, np.ones(3))  # NULL is no widening
        np.testing.assert_array_equal(found.body, np.ones(3))
        late = past(reader, market, 9, since=START + 8 * BAR)
        assert late is not None
        # The newest must not lie before it; those that it goes on with may.
        assert {bar for bar, _ in targets(late)} == {4, 5, 6, 7, 8}
        assert past(reader, market, 20, since=START + 10 * BAR) is None
        assert past(reader, market, 0) is None
        assert past(reader, market, 9, served=False) is None
        assert past(reader, market, 9, shape=(4, len(LEVELS))) is None
        assert past(reader, market, 9, shape=(3, 3)) is None
        assert past(reader, replace(market, base="ETH"), 9) is None


def test_the_past_of_many_markets_and_versions_is_each_ones_own(
    store: Store, market: Market, make_set: Make
) -> None:
    eth = replace(market, base="ETH")
    for bar in range(9):
        put(store, make_set(bar))
    for bar in range(4):
        put(store, replace(make_set(bar, market=eth), scale=np.full(3, 1.5)))
    for bar in (4, 5):
        put(store, make_set(bar, "2", market=eth))
    one, other, third = (market, "1"), (eth, "1"), (eth, "2")
    with store.read() as reader:
        found = reader.ledger.past(
            [one, other, third],
            START + 9 * BAR,
            since=START,
            shape=(3, len(LEVELS)),
            inner=4,
            served=True,
        )
        alone, later = past(reader, eth, 9), past(reader, eth, 500)
    assert alone is not None
    assert later is not None  # however long ago: it is looked for further back
    assert (targets(later), later.known_until) == (targets(alone), alone.known_until)
    assert set(found) == {one, other, third}  # nobody asked for BTC by version 2
    assert targets(found[other]) == targets(alone)
    assert found[other].known_until == alone.known_until == START + BAR
    assert found[one].known_until == START + 6 * BAR
    assert {bar for bar, _ in targets(found[third])} == {4, 5}
    np.testing.assert_array_equal(found[other].scale, np.full(3, 1.5))


def test_origins_are_those_served_or_those_of_a_version(
    store: Store, market: Market, make_set: Make
) -> None:
    put(store, make_set(1, "1"))
    put(store, make_set(2, "2"))
    put(store, make_set(1, "2"), served=False)
    with store.read() as reader:

        def bars(**more: str) -> set[int]:
            found = reader.ledger.origins(market, START, START + 3 * BAR, **more)
            return {(origin - START) // BAR for origin in found}

        assert bars() == {1, 2}
        assert bars(version="1") == {1}
        assert bars(version="2") == {1, 2}
        assert reader.ledger.origins(market, START, START + 2 * BAR) == {START + BAR}


def missed(market: Market, bar: int) -> Tick:
    moment = START + bar * BAR
    return Tick(market.id, moment, moment, moment, "missed")


def unserved(reader: Reader, market: Market, first: int, end: int) -> tuple[Any, ...] | None:
    """The bars without a set, and the run before them."""
    found = unserved_origins(reader, [market], START + first * BAR, START + end * BAR, virtual=True)
    if not found:
        return None
    (one,) = found
    earlier = one.earlier and tuple((origin - START) // BAR for origin in one.earlier)
    return [(origin - START) // BAR for origin in one.origins], earlier


def test_what_nobody_served_is_what_lies_between_served_origins_and_the_end(
    store: Store, market: Market, make_set: Make
) -> None:
    with store.write() as writer:
        assert unserved(writer, market, 0, 10) is None  # never served: nothing was missed
        writer.ledger.put_sets([make_set(bar) for bar in (3, 4, 7)], served=True)
        writer.ledger.put_sets([make_set(5)], served=False)
        assert unserved(writer, market, 0, 10) == ([5, 6, 8, 9], None)
        assert unserved(writer, market, 3, 5) is None
        writer.ledger.put_ticks([missed(market, 6), missed(market, 8)])
        assert unserved(writer, market, 0, 10) == ([5, 9], None)
        failed = replace(missed(market, 9), status="failed")
        writer.ledger.put_ticks([failed])
        assert unserved(writer, market, 0, 10) == ([5, 9], None)
        assert unserved(writer, replace(market, base="ETH"), 0, 10) is None


def test_what_nobody_served_is_looked_for_some_markets_at_a_time(
    store: Store, market: Market, make_set: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    markets = [market, replace(market, base="SOL"), replace(market, base="ETH")]
    asked: list[int] = []
    by_market = Reader.by_market

    def counted(self: Reader, some: Sequence[Market], sql: str, **given: Any) -> Any:
        asked.append(len(some))
        return by_market(self, some, sql, **given)

    with store.write() as writer:
        for i, each in enumerate(markets):
            ones = [replace(make_set(bar), market=each) for bar in (0, 3 + i)]
            writer.ledger.put_sets(ones, served=True)

        def missing() -> list[Unserved]:
            return unserved_origins(writer, markets, START, START + 6 * BAR, virtual=True)

        at_once = missing()
        monkeypatch.setattr(ticks, "_MARKETS_PER_QUERY", 1)
        monkeypatch.setattr(Reader, "by_market", counted)
        assert missing() == at_once
    assert [one.market for one in at_once] == markets
    assert set(asked) == {1}


def test_a_run_before_the_range_is_told_until_its_last_origin_is_called_missed(
    store: Store, market: Market, make_set: Make
) -> None:
    with store.write() as writer:
        writer.ledger.put_sets([make_set(2)], served=True)
        assert unserved(writer, market, 20, 23) == ([20, 21, 22], (3, 19))
        assert unserved(writer, market, 3, 5) == ([3, 4], None)
        writer.ledger.put_ticks([missed(market, bar) for bar in (19, 20, 21, 22)])
        assert unserved(writer, market, 20, 23) is None
        assert unserved(writer, market, 21, 24) == ([23], None)
        assert unserved(writer, market, 24, 25) == ([24], (23, 23))


def test_nothing_was_missed_before_the_first_set_of_a_real_clock(
    store: Store, market: Market, make_set: Make
) -> None:
    with store.write() as writer:
        writer.ledger.put_sets([make_set(1)], served=True, virtual=True)
        assert unserved_origins(writer, [market], START, START + 9 * BAR, virtual=False) == []
        writer.ledger.put_sets([make_set(5)], served=True)
        (one,) = unserved_origins(writer, [market], START, START + 8 * BAR, virtual=False)
        assert (one.origins, one.earlier) == ((START + 6 * BAR, START + 7 * BAR), None)


def test_sets_of_a_virtual_clock_count_only_where_there_are_no_others(
    store: Store, market: Market, make_set: Make, make_candles: Callable[..., Candles]
) -> None:
    def counted(reader: Reader) -> tuple[list[int], int]:
        read = reader.ledger.between(
            market, START, START + 9 * BAR, modes=("live",), levels=LEVELS, horizon=3
        )
        covered = coverage(reader, [market], START, START + 9 * BAR, [1])[market]
        return [(origin - START) // BAR for origin in read.origins.tolist()], covered.n

    with store.write() as writer:
        writer.put_candles(market, make_candles(range(9)), provenance="live", fetched_at=1.0)
        writer.ledger.put_sets([make_set(1), make_set(2)], served=True, virtual=True)
        assert counted(writer) == ([1, 2], 2)
        writer.ledger.put_sets([make_set(3)], served=True)
        assert counted(writer) == ([3], 1)


def test_what_is_missing_of_many_markets_is_found_at_once(
    store: Store, market: Market, make_set: Make
) -> None:
    eth, sol = replace(market, base="ETH"), replace(market, base="SOL")
    with store.write() as writer:
        for one, bars in ((market, (0, 1, 2, 3)), (eth, (0, 3))):
            sets = [make_set(bar, market=one) for bar in bars]
            writer.ledger.put_sets(sets, served=True)
        found = unserved_origins(writer, [market, eth, sol], START, START + 4 * BAR, virtual=True)
    assert [(one.market, len(one.origins)) for one in found] == [(eth, 2)]


def test_ticks_of_one_origin_are_appended(store: Store, market: Market) -> None:
    with store.write() as writer:
        assert last_ticks(writer, [market], 4e9) == {}
        writer.ledger.put_ticks(
            [Tick(market.id, START, START + 1.5, START + 2.5, "failed", "source.down", "no")]
        )
        writer.ledger.put_ticks([Tick(market.id, START, START + 8.5, START + 9.25, "ok")])
        writer.ledger.put_ticks([Tick("kraken:BTC/EUR:5m", START, START + 99, START + 99, "ok")])
    with store.read() as reader:
        found = last_ticks(reader, [market], 4e9)
    assert found[market] == Tick(market.id, START, START + 8.5, START + 9.25, "ok", None, None)


def test_the_deployment_with_the_greatest_id_rules_whatever_the_clock(
    store: Store, market: Market
) -> None:
    with store.write() as writer:
        assert writer.productions().at(market.id) is None
        first = writer.put_deployment(
            Deployment(
                0,
                START + 500.5,
                "*",
                "1",
                None,
                "promote",
                "better",
                as_json({"skill": 0.01, "p": float("nan")}),
            ),
            written_at=START + 1000,
        )
        second = writer.put_deployment(
            Deployment(0, START, "*", "2", "1", "force", "because", "{}"), written_at=START + 2000
        )
    assert first == Deployment(
        1, START + 500.5, "*", "1", None, "promote", "better", '{"skill": 0.01, "p": null}'
    )
    with store.read() as reader:
        assert reader.deployments() == [first, second]
        assert reader.rulings() == [(START + 1000, first), (START + 2000, second)]
        assert reader.productions().at(market.id) == second


def test_events_are_read_by_kind(store: Store) -> None:
    with store.write() as writer:
        writer.put_event(START + 0.5, "gate.refused", None, {"scores": [float("inf"), 1]})
        writer.put_event(START + 1, "other", "m", {})
    with store.read() as reader:
        (event,) = reader.events("gate.refused")
    assert (event.at, event.kind, event.market) == (START + 0.5, "gate.refused", None)
    assert event.detail == {"scores": [None, 1]}
