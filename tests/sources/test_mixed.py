"""Files of several markets: nobody gets another's candles."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.values import Market, parse_time

START, BARS = parse_time("2024-06-01"), 20
END = START + BARS * 300
BTC = Market.of("BTC/EUR", "file", "5m")


def write(file: Path, markets: dict[str, float], column: str = "market") -> Path:
    """Rows of each market at its price, in turn, as an export has them."""
    rows = " UNION ALL ".join(
        f"SELECT '{name}' AS {column}, make_timestamptz((1717200000 + 300 * i) * 1000000) AS "
        f"open_time, {price} AS open, {price} AS high, {price} AS low, {price} AS close "
        f"FROM range({BARS}) t(i)"
        for name, price in markets.items()
    )
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY (SELECT * FROM ({rows}) ORDER BY open_time) TO '{file}'")
    return file


def closes(file: Path, market: Market = BTC) -> set[float]:
    settings = SourceSettings(name="file", path=str(file))
    source = Source(Setup(settings, [market], Secrets({}), clock=SystemClock()))
    (page,) = source.pages(market, START, END)
    assert len(page.candles) == BARS
    assert source.span(market) == (START, END - 300)
    source.close()
    return set(page.candles.close.tolist())


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
@pytest.mark.parametrize(
    ("btc", "eth"),
    [
        ("sim:BTC/EUR:5m", "sim:ETH/EUR:5m"),
        ("file:BTC/EUR:5m", "kraken:BTC/EUR:5m"),
        ("kraken:BTC/EUR:5m", "kraken:BTC/EUR:15m"),
        ("BTC/EUR", "ETH/EUR"),
        ("BTC-EUR", "ETH-EUR"),
        ("BTCEUR", "no pair at all"),
    ],
)
def test_a_market_gets_its_own_rows_alone(tmp_path: Path, btc: str, eth: str, suffix: str) -> None:
    file = write(tmp_path / f"candles.{suffix}", {btc: 60_000.0, eth: 2_700.0})
    assert closes(file) == {60_000.0}


@pytest.mark.parametrize("column", ["market", "Symbol", "PAIR"])
def test_the_column_may_be_called(tmp_path: Path, column: str) -> None:
    file = write(tmp_path / "candles.parquet", {"ETH/EUR": 2_700.0, "BTC/EUR": 60_000.0}, column)
    assert closes(file) == {60_000.0}


def test_a_column_that_names_no_market_is_nothing_to_us(tmp_path: Path) -> None:
    assert closes(write(tmp_path / "candles.parquet", {"spot": 60_000.0})) == {60_000.0}


@pytest.mark.parametrize(
    ("markets", "told"),
    [
        (["sim:ETH/EUR:5m"], "candles.csv holds sim:ETH/EUR:5m: not BTC/EUR"),
        (
            [f"sim:SIM{i}/USD:5m" for i in range(1, 8)],
            "candles.csv holds sim:SIM1/USD:5m, sim:SIM2/USD:5m, sim:SIM3/USD:5m, "
            "sim:SIM4/USD:5m, sim:SIM5/USD:5m and 2 more: not BTC/EUR",
        ),
        (
            ["kraken:BTC/EUR:5m", "sim:BTC/EUR:5m"],
            "candles.csv holds kraken:BTC/EUR:5m, sim:BTC/EUR:5m: more than one may be BTC/EUR",
        ),
    ],
)
def test_where_none_is_the_market_or_several_are_it_is_refused(
    tmp_path: Path, markets: list[str], told: str
) -> None:
    file = write(tmp_path / "candles.csv", dict.fromkeys(markets, 1.0))
    with pytest.raises(ConfigError) as caught:
        closes(file)
    assert (caught.value.message, caught.value.code) == (told, "config.symbol")
    assert caught.value.hint == (
        "ask for a market that it holds, or keep the rows of one in a file of its own"
    )
