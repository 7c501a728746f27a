"""Origins that passed while nobody forecast: noted, and served after all, honestly labelled."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from cryptocast.errors import StoreError
from cryptocast.store import LedgerWriter, Tick, unserved_origins
from cryptocast.values import iso
from cryptocast.workflows import forecast
from cryptocast.workflows.replay import plan, replay
from cryptocast.workflows.serving import blocks
from cryptocast.workflows.serving.afterwards import make_up
from support.commands import INTERVAL, NOW, query
from support.ticks import BTC, at, change, deploy, drop, origin, sets, spoil_from, tick_rows, ticked

WALK = "builtin:random_walk"


def copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.parent / name))


def test_what_passed_is_noted_as_missed_and_made_up_for(w: Path) -> None:
    ticked(w, 1)
    report = ticked(w, 6)
    assert report.new is True
    assert [made.origin for made in report.forecasts] == [origin(6)]
    assert report.warnings == ("file:BTC/EUR:5m: 4 origins missed, 4 of them forecast afterwards",)
    assert sets(w, "bar, mode, late, served, model_version, fallback") == [
        (1, "live", False, True, "2", None),
        *((bar, "backfill", False, True, "2", None) for bar in range(2, 6)),
        (6, "live", False, True, "2", None),
    ]
    assert tick_rows(w, "bar, status, error_code, detail") == [
        (1, "ok", None, None),
        (6, "ok", None, None),
        *((bar, "missed", None, None) for bar in range(2, 6)),
    ]


def test_what_was_made_up_for_says_when(w: Path) -> None:
    ticked(w, 1)
    ticked(w, 6.5)
    assert query(w, "SELECT DISTINCT epoch(issued_at) FROM forecasts WHERE mode = 'backfill'") == [
        (NOW + 6.5 * INTERVAL,)
    ]
    assert query(w, "SELECT count(*) FROM forecasts WHERE written_at < now() - INTERVAL 1 DAY") == [
        (0,)
    ]


def test_the_newest_origin_is_committed_before_any_that_was_missed(w: Path) -> None:
    ticked(w, 1)
    ticked(w, 5)
    order = query(
        w, f"SELECT (epoch(origin) - {NOW}) / {INTERVAL} FROM forecast_sets ORDER BY rowid"
    )
    assert order == [(1,), (5,), (2,), (3,), (4,)]


def test_a_set_made_later_knows_no_candle_after_its_origin(w: Path) -> None:
    columns = "bar, model_version, quantiles::VARCHAR, scale::VARCHAR, last_close"
    other = copy(w, "other")
    for folder in (w, other):
        ticked(folder, 1)
    for bar in (4, 7):  # whatever comes after an origin, it changes nothing up to it
        spoilt = copy(other, f"spoilt-{bar}")
        spoil_from(spoilt, bar)
        ticked(spoilt, 20)
        spoilt_sets = sets(spoilt, columns, f"bar <= {bar}")
        honest = copy(w, f"honest-{bar}")
        ticked(honest, 20)
        assert spoilt_sets == sets(honest, columns, f"bar <= {bar}")
        assert sets(spoilt, columns, f"bar > {bar}") != sets(honest, columns, f"bar > {bar}")


def test_it_equals_what_ticks_in_time_would_have_served(w: Path) -> None:
    # Calibration apart: a tick in time knew other sets than one that was made later.
    columns = "bar, model_version, quantiles::VARCHAR, fallback, last_close, stale_bars"
    drop(w, range(5, 10))
    other = copy(w, "other")
    ticked(w, *range(1, 13), calibration__enabled=False)
    ticked(other, 1, 12, calibration__enabled=False)
    assert sets(other, columns) == sets(w, columns)


def test_the_version_that_ruled_at_an_origin_makes_its_set(w: Path) -> None:
    ticked(w, 1)
    deploy(w, "1", "2", bar=4)
    ticked(w, 7)
    assert sets(w, "bar, model_version, fallback") == [
        (1, "2", None), (2, "2", None), (3, "2", None),
        (4, "1", None), (5, "1", None), (6, "1", None), (7, "1", None),
    ]  # fmt: skip


def test_when_a_deployment_was_written_counts_not_when_it_says_it_was(w: Path) -> None:
    ticked(w, 1)
    change(w, f"UPDATE deployments SET written_at = to_timestamp({origin(4)})")
    ticked(w, 6)
    assert sets(w, "bar, model_version, fallback", "mode = 'backfill'") == [
        (2, WALK, "deployed_later"),
        (3, WALK, "deployed_later"),
        (4, "2", None),
        (5, "2", None),
    ]


def test_where_only_ticks_are_wanted_no_set_is_made(w: Path) -> None:
    ticked(w, 1)
    report = ticked(w, 5, loop__backfill_missed=False)
    assert report.warnings == ("file:BTC/EUR:5m: 3 origins missed, 0 of them forecast afterwards",)
    assert sets(w, "bar, mode") == [(1, "live"), (5, "live")]
    assert tick_rows(w) == [(1, "ok"), (5, "ok"), (2, "missed"), (3, "missed"), (4, "missed")]
    assert ticked(w, 6).warnings == ()  # nor later, when they are wanted again
    assert len(tick_rows(w)) == 6


def test_what_lies_further_back_gets_one_summary_row(w: Path) -> None:
    ticked(w, 1)
    report = ticked(w, 20, loop__backfill_bars=5)
    assert report.warnings == ("file:BTC/EUR:5m: 18 origins missed, 5 of them forecast afterwards",)
    assert tick_rows(w, "bar, status, detail") == [
        (1, "ok", None),
        (20, "ok", None),
        (14, "missed", f"13 origins from {iso(origin(2))} to {iso(origin(14))} were missed"),
        *((bar, "missed", None) for bar in range(15, 20)),
    ]
    assert [bar for (bar,) in sets(w, "bar")] == [1, *range(15, 21)]


def test_nothing_is_noted_or_made_twice(w: Path) -> None:
    ticked(w, 1)
    ticked(w, 20, loop__backfill_bars=5)
    before = sets(w, "bar, quantiles::VARCHAR"), tick_rows(w)
    report = ticked(w, 20, loop__backfill_bars=5)
    assert (report.new, report.warnings) == (False, ())
    assert (sets(w, "bar, quantiles::VARCHAR"), tick_rows(w)) == before
    for bar in range(21, 26):
        assert ticked(w, bar, loop__backfill_bars=5).warnings == ()


def test_a_tick_that_dies_after_the_newest_commit_is_made_up_for_by_the_next(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked(w, 1)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forecast, "make_up", die)
        with pytest.raises(KeyboardInterrupt):
            ticked(w, 5)
    assert sets(w, "bar, mode") == [(1, "live"), (5, "live")]
    assert ticked(w, 5).new is False
    ticked(w, 6)
    assert sets(w, "bar, mode") == [
        (1, "live"), (2, "backfill"), (3, "backfill"), (4, "backfill"), (5, "live"), (6, "live"),
    ]  # fmt: skip
    assert sorted(tick_rows(w)) == [
        (1, "ok"), (2, "missed"), (3, "missed"), (4, "missed"), (5, "ok"), (6, "ok"),
    ]  # fmt: skip


def test_a_market_is_made_up_for_whole_or_not_at_all(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "SETS", 1)  # a market is a block
    both = ["BTC/EUR", "ETH/EUR"]
    ticked(w, 1, market__symbols=both)
    put = LedgerWriter.put_ticks

    def full(self: LedgerWriter, ticks: Iterable[Tick]) -> None:
        rows = list(ticks)
        if any(row.status == "missed" and "ETH" in row.market for row in rows):
            raise StoreError("the disk is full", code="store.full", hint="free some space")
        put(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(LedgerWriter, "put_ticks", full)
        report = ticked(w, 4, market__symbols=both)
    assert report.warnings == ("the disk is full (free some space)",)
    assert sets(w, "market, bar") == [
        *(("file:BTC/EUR:5m", bar) for bar in (1, 2, 3, 4)),
        *(("file:ETH/EUR:5m", bar) for bar in (1, 4)),
    ]
    report = ticked(w, 5, market__symbols=both)
    assert report.warnings == ("file:ETH/EUR:5m: 2 origins missed, 2 of them forecast afterwards",)


def test_a_market_that_is_added_later_has_missed_nothing(w: Path) -> None:
    ticked(w, 1, 2)
    report = ticked(w, 10, market__symbols=["BTC/EUR", "ETH/EUR"])
    assert report.warnings == ("file:BTC/EUR:5m: 7 origins missed, 7 of them forecast afterwards",)
    assert query(w, "SELECT count(*) FROM ticks WHERE market LIKE '%ETH%'") == [(1,)]
    report = ticked(w, 12, market__symbols=["BTC/EUR", "ETH/EUR"])
    assert len(report.warnings) == 2


def test_the_first_tick_of_all_has_missed_nothing(w: Path) -> None:
    assert ticked(w, 50).warnings == ()
    assert tick_rows(w) == [(50, "ok")]


def test_origins_that_were_replayed_are_not_missed(w: Path) -> None:
    ticked(w, 1)
    with at(w, 9) as ws:
        list(replay(ws, plan(ws, origin(3), origin(7))))
    report = ticked(w, 10)
    assert report.warnings == ("file:BTC/EUR:5m: 3 origins missed, 3 of them forecast afterwards",)
    assert sets(w, "bar", "mode = 'backfill'") == [(2,), (8,), (9,)]


def test_an_origin_without_candles_is_noted_with_the_reason(w: Path) -> None:
    ticked(w, 1)
    drop(w, range(-2016, 2))
    report = ticked(w, 30)
    assert report.warnings[-1] == (
        "file:BTC/EUR:5m: 28 origins missed, 4 of them forecast afterwards"
    )
    assert tick_rows(w, "bar, status, error_code")[2:] == [
        *((bar, "missed", "state.not_enough_candles") for bar in range(2, 26)),
        *((bar, "missed", None) for bar in range(26, 30)),
    ]


def test_a_stale_stretch_is_labelled_as_a_tick_in_time_would_have_been(w: Path) -> None:
    ticked(w, 1)
    drop(w, range(3, 9))
    ticked(w, 12)
    assert sets(w, "bar, stale_bars, fallback", "bar BETWEEN 3 AND 10") == [
        (3, 0, None), (4, 1, None), (5, 2, None), (6, 3, None), (7, 4, "stale_data"),
        (8, 5, "stale_data"), (9, 6, "stale_data"), (10, 0, None),
    ]  # fmt: skip


def test_a_long_outage_of_many_markets_leaves_the_rest_to_the_next_tick(
    w: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the system's clock half of the time to the next close is the most that it takes."""
    monkeypatch.setattr(blocks, "SETS", 1)  # a market is a block
    both = ["BTC/EUR", "ETH/EUR"]
    ticked(w, 1, market__symbols=both)
    change(w, 'UPDATE forecast_sets SET "virtual" = false')  # as if on the system's clock

    class Slow:
        """A clock by which every look costs 100 s."""

        virtual = False
        shows = float(origin(5))

        def now(self) -> float:
            self.shows += 100
            return self.shows

    with at(w, 5, market__symbols=both) as ws:
        with ws.store.read() as reader:
            unserved = unserved_origins(
                reader, ws.markets(), origin(-283), origin(5), virtual=False
            )
        ws.clock = Slow()  # type: ignore[assignment]
        assert len(make_up(ws, unserved)) == 1
    assert sets(w, "market, bar", "mode = 'backfill'") == [(BTC.id, bar) for bar in (2, 3, 4)]
