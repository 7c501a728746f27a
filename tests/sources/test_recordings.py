"""Whole files of candles for `pretrain`: markets by their names, intervals by their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.sources.file import recordings
from cryptocast.values import INTERVAL_SECONDS, Candles, Market, Recording
from support.synthetic import START, candles

KNOWN = "known: " + ", ".join(INTERVAL_SECONDS)


def spaced(step: int, n: int = 40) -> Candles:
    """Candles so many seconds apart."""
    return replace(candles(n, 1), open_time=START + step * np.arange(n))


def keep(file: Path, rows: Candles | None = None) -> Path:
    """A file of candles in the format that its name says."""
    rows = spaced(300) if rows is None else rows
    names = ("open_time", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame({name: getattr(rows, name) for name in names})
    file.parent.mkdir(parents=True, exist_ok=True)
    writers = {
        ".parquet": frame.write_parquet,
        ".feather": frame.write_ipc,
        ".csv": frame.write_csv,
        ".json": frame.write_json,
    }
    writers[file.suffix](file)
    return file


def read(*paths: Path | str, columns: Mapping[str, str] | None = None) -> list[Recording]:
    return list(recordings([str(path) for path in paths], columns or {}))


def refused(*paths: Path | str) -> CryptocastError:
    with pytest.raises(CryptocastError) as caught:
        read(*paths)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize("suffix", ["parquet", "feather", "csv", "json"])
def test_a_file_is_read_whole_whatever_its_format(tmp_path: Path, suffix: str) -> None:
    truth = spaced(300)
    (found,) = read(keep(tmp_path / f"BTC-USDT.{suffix}", truth))
    assert found.file == tmp_path / f"BTC-USDT.{suffix}"
    assert found.market == Market("file", "BTC", "USDT", "5m")
    np.testing.assert_array_equal(found.candles.open_time, truth.open_time)
    np.testing.assert_allclose(found.candles.close, truth.close)
    np.testing.assert_allclose(found.candles.volume, truth.volume)


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("BTC-USDT.parquet", "BTC/USDT"),
        ("binance_ETHUSDT_5m_2024.parquet", "ETH/USDT"),
        ("SOL_EUR-5m.parquet", "SOL/EUR"),
        ("XBTUSD_5.parquet", "BTC/USD"),
    ],
)
def test_the_name_says_the_market(tmp_path: Path, name: str, symbol: str) -> None:
    (found,) = read(keep(tmp_path / name))
    assert found.market.symbol == symbol


@pytest.mark.parametrize("interval", sorted(INTERVAL_SECONDS))
def test_the_rows_say_the_interval_not_the_name(tmp_path: Path, interval: str) -> None:
    seconds = INTERVAL_SECONDS[interval]
    (found,) = read(keep(tmp_path / "BTC-USDT-5m.parquet", spaced(seconds)))
    assert found.market.interval == interval


def test_a_gap_hides_no_interval(tmp_path: Path) -> None:
    gappy = spaced(900).take(np.delete(np.arange(40), [3, 4, 20]))
    (found,) = read(keep(tmp_path / "BTC-USDT.parquet", gappy))
    assert (found.market.interval, len(found.candles)) == ("15m", 37)


def test_folders_globs_and_files_together_are_read_each_once_in_order(tmp_path: Path) -> None:
    for name in ("b/SOL-EUR.csv", "a/ETH-EUR.parquet", "a/BTC-EUR.parquet"):
        keep(tmp_path / name)
    (tmp_path / "a" / "README.md").write_text("not a candle", encoding="utf-8")
    found = read(tmp_path / "a", tmp_path / "a" / "*.parquet", tmp_path / "b" / "SOL-EUR.csv")
    assert [each.market.symbol for each in found] == ["BTC/EUR", "ETH/EUR", "SOL/EUR"]


def test_files_are_read_one_at_a_time(tmp_path: Path) -> None:
    """A year of many markets need not lie in memory at once, or be whole for the first to come."""
    keep(tmp_path / "BTC-EUR.parquet")
    (tmp_path / "ETH-EUR.parquet").write_bytes(b"PAR1 and no more")
    found = recordings([str(tmp_path)], {})
    assert next(found).market.symbol == "BTC/EUR"
    with pytest.raises(SourceError):
        next(found)


def test_columns_go_by_the_names_in_the_settings(tmp_path: Path) -> None:
    frame = pl.read_parquet(keep(tmp_path / "x" / "BTC-EUR.parquet")).rename({"close": "last"})
    frame.write_parquet(tmp_path / "BTC-EUR.parquet")
    (found,) = read(tmp_path / "BTC-EUR.parquet", columns={"close": "last"})
    np.testing.assert_allclose(found.candles.close, spaced(300).close)


def test_a_name_that_says_no_pair_is_refused(tmp_path: Path) -> None:
    error = refused(keep(tmp_path / "candles.parquet"))
    assert isinstance(error, ConfigError)
    assert (error.message, error.code) == (
        "the name of candles.parquet says no pair",
        "config.symbol",
    )
    assert error.hint == "name it like BTC-USDT.parquet"


@pytest.mark.parametrize("rows", [spaced(300, 5), spaced(300, 0), spaced(77)])
def test_rows_that_are_no_candles_are_refused(tmp_path: Path, rows: Candles) -> None:
    file = keep(tmp_path / "BTC-EUR.parquet", rows)
    error = refused(file)
    assert isinstance(error, SourceError)
    assert (error.code, error.exit_code) == ("source.bad_file", 4)
    assert error.message == f"the rows of {file} are not candles of a known interval"
    assert error.hint == KNOWN


def test_what_matches_nothing_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "*.parquet")
    assert (error.message, error.code) == (
        f"there is no file {tmp_path}/*.parquet",
        "source.no_file",
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty).message.startswith(f"{empty} holds no file that ends in .parquet, ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "{file} is empty"),
        (b"PAR1 and no more", "{file} cannot be read: "),
        (b"\x00\x01\x02\x03", "{file} holds neither Parquet, Feather, CSV nor JSON"),
        (b"a,b\n1,2\n", "{file} has no column 'high'; its columns are "),
    ],
)
def test_a_file_without_candles_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "BTC-EUR.parquet"
    file.write_bytes(content)
    error = refused(file)
    assert isinstance(error, SourceError)
    assert error.exit_code == 4
    assert error.message.startswith(message.format(file=file))
