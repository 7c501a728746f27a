"""Old rows go into files whole, and out of the database exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from cryptocast.errors import StoreError
from cryptocast.store import Reader, Store, retention
from cryptocast.store.retention import FILES, Archived
from cryptocast.values import Candles, ForecastSet, Market

START = 1_717_372_800  # as in conftest.py: 2024-06-03T00:00:00Z
OTHER = Market("bitvavo", "ETH", "EUR", "5m")
LIMIT = START + 300 * 10

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def filled(
    store: Store,
    market: Market,
    make_candles: Callable[..., Candles],
    make_set: Callable[..., ForecastSet],
) -> Store:
    """30 bars of two markets, each with a served set and a shadow's, of two sets of levels."""
    with store.write() as writer:
        for each in (market, OTHER):
            rows = make_candles(range(30))
            writer.put_candles(each, rows, provenance="live", fetched_at=START)
            sets = [make_set(bar, market=each) for bar in range(25)]
            writer.ledger.put_sets(sets, served=True)
            shadows = [make_set(b, "2", market=each, levels=(0.1, 0.5, 0.9)) for b in range(25)]
            writer.ledger.put_sets(shadows, served=False)
    return store


def written(store: Store, folder: Path, limits: dict[str, int]) -> tuple[list[Archived], Any]:
    with store.read() as reader:
        return retention.archivable(reader, limits), retention.archive(reader, limits, folder)


def test_what_is_older_is_in_the_files_to_the_last_digit_and_still_in_the_database(
    filled: Store, market: Market, tmp_path: Path, query: Query
) -> None:
    folder = tmp_path / "archive" / "now"
    found, hashes = written(filled, folder, {market.id: LIMIT})
    assert [(t.table, t.rows) for t in found] == [("candles", 10), ("forecast_sets", 20)]
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    assert hashes == {
        file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()
    }
    assert query("SELECT count(*) FROM candles") == [(60,)]
    old = f"market = '{market.id}' AND epoch(open_time) < {LIMIT} ORDER BY open_time"
    rows = query(f"SELECT * EXCLUDE (open_time, fetched_at) FROM candles WHERE {old}")
    assert (
        pl.read_parquet(folder / "candles.parquet").drop("open_time", "fetched_at").rows() == rows
    )
    sets = pl.read_parquet(folder / "forecast_sets.parquet")
    assert sets["origin"].dtype == pl.Datetime("us", "UTC")
    shadow = sets.filter(~pl.col("served"))
    assert shadow["levels"].to_list() == [[0.1, 0.5, 0.9]] * 10
    ((quantiles,),) = query(
        f"SELECT quantiles FROM forecast_sets WHERE market = '{market.id}'"
        f" AND NOT served AND epoch(origin) = {START}"
    )
    assert shadow["quantiles"][0].to_list() == quantiles


def test_exactly_what_was_written_is_deleted(
    filled: Store, market: Market, tmp_path: Path, query: Query
) -> None:
    written(filled, tmp_path / "a", {market.id: LIMIT, OTHER.id: START + 300})
    with filled.write() as writer:
        retention.delete_archived(writer, {market.id: LIMIT, OTHER.id: START + 300})
    counted = "SELECT count(*), epoch(min({})) FROM {} WHERE market = '{}'"
    for each, first in ((market, LIMIT), (OTHER, START + 300)):
        gone = (first - START) // 300
        found = query(counted.format("open_time", "candles", each.id))
        assert found == [(30 - gone, first)]
        found = query(counted.format("origin", "forecast_sets", each.id))
        assert found == [(50 - 2 * gone, first)]


def test_equal_rows_have_one_fingerprint_in_whatever_order_and_others_another(
    filled: Store, market: Market, make_candles: Callable[..., Candles]
) -> None:
    limits = {market.id: LIMIT}
    with filled.read() as reader:
        before = retention.archivable(reader, limits)
    with filled.write() as writer:  # written anew, the rows lie elsewhere
        writer.query("CREATE TABLE kept AS FROM candles ORDER BY close")
        writer.query("DELETE FROM candles")
    with filled.write() as writer:
        writer.query("INSERT INTO candles FROM kept")
        writer.query("DROP TABLE kept")
        assert retention.archivable(writer, limits) == before
        rows = make_candles([3], shift=0.01)
        writer.put_candles(market, rows, provenance="live", fetched_at=START)
        assert retention.archivable(writer, limits)[0].fingerprint != before[0].fingerprint
        assert retention.archivable(writer, limits)[1] == before[1]


def test_the_newest_origin_that_was_served_is_named_for_each_market(
    filled: Store, market: Market, make_set: Callable[..., ForecastSet]
) -> None:
    with filled.write() as writer:
        shadow = make_set(-1, "2", market=Market("kraken", "BTC", "EUR", "5m"))
        writer.ledger.put_sets([shadow], served=False)
        limits = {market.id: LIMIT, OTHER.id: START, "kraken:BTC/EUR:5m": LIMIT}
        assert retention.last_served(writer, limits) == {market.id: LIMIT - 300}


def test_a_disk_that_gives_back_something_else_leaves_no_archive(
    filled: Store, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_read_again", lambda *_: [])
    folder = tmp_path / "archive" / "now"
    with pytest.raises(StoreError) as caught:
        written(filled, folder, {market.id: LIMIT})
    assert caught.value.code == "store.archive"
    assert caught.value.message == f"{folder} does not hold what was written into it"
    assert list(folder.parent.iterdir()) == []


def test_a_full_disk_is_told_of_the_archive_not_of_the_database(
    filled: Store, market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "archive" / "now"

    def full(reader: Reader, draft: Path) -> list[Archived]:
        raise duckdb.IOException(f'Could not write file "{draft}/x": No space left on device')

    monkeypatch.setattr(retention, "_read_again", full)
    with pytest.raises(StoreError) as caught:
        written(filled, folder, {market.id: LIMIT})
    assert caught.value.code == "store.full"
    assert caught.value.message.startswith(f"{folder} cannot grow: the disk is full: ")
    assert list(folder.parent.iterdir()) == []


def test_a_file_where_the_archives_belong_is_told(
    filled: Store, market: Market, tmp_path: Path
) -> None:
    (tmp_path / "archive").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError):
        written(filled, tmp_path / "archive" / "now", {market.id: LIMIT})


def test_an_archive_is_held_while_all_its_rows_are_in_the_database(
    filled: Store, market: Market, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    written(filled, folder, {market.id: LIMIT})
    with filled.read() as reader:
        assert retention.is_stored(reader, folder)
    with filled.write() as writer:
        writer.query("UPDATE forecast_sets SET last_close = 7 WHERE rowid = 3")
        assert not retention.is_stored(writer, folder)


@pytest.mark.parametrize("harm", ["damaged", "another file", "one file less"])
def test_what_is_not_surely_an_archive_of_these_rows_is_not_held(
    harm: str, filled: Store, market: Market, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    written(filled, folder, {market.id: LIMIT})
    if harm == "damaged":
        (folder / "candles.parquet").write_bytes(b"PAR1 and no more")
    elif harm == "another file":
        (folder / "notes.txt").write_text("mine", encoding="utf-8")
    else:
        (folder / "candles.parquet").unlink()
    with filled.read() as reader:
        assert not retention.is_stored(reader, folder)
