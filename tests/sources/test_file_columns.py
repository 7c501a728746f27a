"""Columns of files: their order where no names say it, and which of them is the volume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow.feather import write_feather  # type: ignore[import-untyped]

from support.recorded import BTC, START, Row, fails, page_of, read, rows_of, transposed


def thin(n: int = 3000, every: int = 25) -> list[Row]:
    """Candles of which most are flat, as where nobody trades."""
    rng = np.random.default_rng(7)
    rows: list[Row] = []
    close = 100.0
    for i in range(n):
        first, last = close, close + (rng.normal() if i % every == 0 else 0)
        high, low = max(first, last) + 0.01 * (first != last), min(first, last)
        rows.append((START + 300 * i, first, high, low, last, float(first != last) * (1 + i % 7)))
        close = last
    return rows


ORDERS = {
    "Bitfinex, KuCoin": (0, 1, 4, 2, 3, 5),
    "Coinbase": (0, 3, 2, 1, 4, 5),
    "Gate without its volume": (0, 4, 2, 3, 1, 5),
    "low before open": (0, 3, 1, 2, 4, 5),
    "volume first": (0, 5, 1, 2, 3, 4),
    "a price for the volume": (0, 1, 2, 3, 4, 4),
}


@pytest.mark.parametrize("suffix", ["json", "csv"])
@pytest.mark.parametrize("venue", ORDERS)
def test_columns_in_another_order_are_refused_in_a_thin_market_too(
    tmp_path: Path, venue: str, suffix: str
) -> None:
    lists = [[row[place] for place in ORDERS[venue]] for row in thin()]
    file = write(tmp_path / f"c.{suffix}", lists)
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == (
        f"{file} names no columns, and they are not time, open, high, low, close, volume"
    )


def write(file: Path, lists: Sequence[Sequence[float]]) -> Path:
    if file.suffix == ".json":
        file.write_text(json.dumps(lists), encoding="utf-8")
    else:
        lines = (",".join(map(repr, row)) for row in lists)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("every", [1, 25, 5000])
def test_columns_in_our_order_are_read_however_thin_the_market(
    tmp_path: Path, every: int, backwards: bool
) -> None:
    rows = thin(every=every)
    file = write(tmp_path / "c.json", rows[::-1] if backwards else rows)
    assert read(file) == transposed(rows)


VOLUMES = [
    ("Volume BTC,Volume USDT", 5.0),
    ("Volume USDT,Volume BTC", 6.0),
    ("Volume_(BTC),Volume_(Currency)", 5.0),
    ("vol,trades", 5.0),
    ("quote_volume,base_volume", 6.0),
    ("baseVolume,quoteVolume", 5.0),
    ("taker_buy_base_volume,Volume XBT", 6.0),
    (" Volume ,x", 5.0),
    ("<TICK>,<VOL>", 6.0),
]


def named(file: Path, names: str) -> Path:
    header = f"ts,open,high,low,close,{names}\n"
    file.write_text(f"{header}{START},2,3,1,2,5,6\n{START + 300},2,3,1,2,5,6\n", encoding="utf-8")
    return file


@pytest.mark.parametrize(("names", "volume"), VOLUMES)
def test_the_volume_is_found_where_only_one_column_can_be_it(
    tmp_path: Path, names: str, volume: float
) -> None:
    page = page_of(named(tmp_path / "c.csv", names))
    assert page.candles.volume.tolist() == [volume, volume]
    assert page.remarks == ()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("Volume USDT,x", "Volume USDT"),
        ("volumefrom,volumeto", "volumefrom or volumeto"),
        ("Volume A,Volume B", "Volume A or Volume B"),
        ("quote_volume,taker_buy_volume", "quote_volume or taker_buy_volume"),
    ],
)
def test_a_volume_that_is_not_taken_is_told(tmp_path: Path, names: str, told: str) -> None:
    page = page_of(named(tmp_path / "c.csv", names), BTC)
    assert np.isnan(page.candles.volume).all()
    assert page.remarks == (f"c.csv: no volume is taken, as it may be {told}",)


def test_a_file_without_any_volume_has_nothing_to_tell(tmp_path: Path) -> None:
    page = page_of(named(tmp_path / "c.csv", "x,volatility"))
    assert (np.isnan(page.candles.volume).all(), page.remarks) == (True, ())


def test_a_type_that_nobody_reads_is_told_in_one_line(tmp_path: Path) -> None:
    names = ("ts", "open", "high", "low", "close", "volume")
    table = pa.table(dict(zip(names, transposed(rows_of()), strict=True)))
    halves = table.set_column(5, "volume", table["volume"].cast(pa.float16()))
    file = tmp_path / "c.feather"
    write_feather(halves, str(file), compression="uncompressed")
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message.startswith(f"{file} cannot be read: Not implemented Error: Unsupported")
