"""Recorded candles of every common format: read alike, chosen by name, refused when damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyarrow.feather import write_feather  # type: ignore[import-untyped]

from cryptocast.sources import _formats
from cryptocast.values import Market, parse_time
from support.recorded import (
    BTC,
    FAR,
    NAMES,
    START,
    Row,
    csv_text,
    fails,
    read,
    rows_of,
    source,
    transposed,
)

# --- the formats, as their makers write them ---


def frame(rows: Sequence[Row], time: str) -> pl.DataFrame:
    made = pl.DataFrame(dict(zip((time, *NAMES), transposed(rows), strict=True)))
    return made.with_columns((pl.col(time) * 1000).cast(pl.Datetime("ms", "UTC")))


def parquet(file: Path, rows: Sequence[Row]) -> None:
    frame(rows, "open_time").write_parquet(file)


def feather(file: Path, rows: Sequence[Row]) -> None:
    """Freqtrade's: `date` in ms."""
    frame(rows, "date").write_ipc(file, compression="lz4")


def zst(file: Path, rows: Sequence[Row]) -> None:
    packed = pa.compress(csv_text(rows).encode(), codec="zstd", asbytes=True)
    file.write_bytes(packed)


def csv_bz2(file: Path, rows: Sequence[Row]) -> None:
    file.write_bytes(bz2.compress(csv_text(rows).encode()))


def json_xz(file: Path, rows: Sequence[Row]) -> None:
    json_lists(file, rows)
    file.write_bytes(lzma.compress(file.read_bytes()))


def csv_utf16(file: Path, rows: Sequence[Row]) -> None:
    """Excel's "Unicode text"."""
    text = csv_text(rows, delimiter="\t").replace("\n", "\r\n")
    file.write_bytes(text.encode("utf-16"))


def feather_first(file: Path, rows: Sequence[Row]) -> None:
    """Feather as it was until 2020."""
    with warnings.catch_warnings(action="ignore"):
        write_feather(frame(rows, "date").to_arrow(), str(file), version=1)


def csv(file: Path, rows: Sequence[Row]) -> None:
    file.write_text(csv_text(rows), encoding="utf-8")


def csv_gz(file: Path, rows: Sequence[Row]) -> None:
    file.write_bytes(gzip.compress(csv_text(rows).encode()))


def kraken(file: Path, rows: Sequence[Row]) -> None:
    """Kraken's OHLCVT: seconds and a number of trades, no header."""
    file.write_text("".join(",".join(map(repr, (*row, 7))) + "\n" for row in rows), "utf-8")


def klines(rows: Sequence[Row], unit: int = 1000, header: bool = False) -> str:
    """Binance's twelve columns: times in ms, since 2025 in microseconds."""
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    names += "taker_buy_volume,taker_buy_quote_volume,ignore\n"
    lines = (
        f"{row[0] * unit},{','.join(map(repr, row[1:]))},{(row[0] + 300) * unit - 1},1.5,9,1,1,0\n"
        for row in rows
    )
    return (names if header else "") + "".join(lines)


def binance(file: Path, rows: Sequence[Row], unit: int = 1000, header: bool = False) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{file.stem}.csv", klines(rows, unit, header))


def binance_now(file: Path, rows: Sequence[Row]) -> None:
    binance(file, rows, unit=10**6, header=True)


def json_lists(file: Path, rows: Sequence[Row]) -> None:
    """Freqtrade's."""
    file.write_text(json.dumps([[row[0] * 1000, *row[1:]] for row in rows]), encoding="utf-8")


def json_gz(file: Path, rows: Sequence[Row]) -> None:
    json_lists(file, rows)
    file.write_bytes(gzip.compress(file.read_bytes()))


def json_texts(file: Path, rows: Sequence[Row]) -> None:
    """As Binance's API answers: prices as text."""
    texts = [[row[0] * 1000, *map(repr, row[1:]), row[0] * 1000 + 299_999] for row in rows]
    file.write_text(json.dumps(texts), encoding="utf-8")


def json_objects(file: Path, rows: Sequence[Row]) -> None:
    made = [dict(zip(("timestamp", *NAMES), row, strict=True)) for row in rows]
    file.write_text(json.dumps(made, indent=1), encoding="utf-8")


def json_lines(file: Path, rows: Sequence[Row]) -> None:
    made = [json.dumps(dict(zip(("ts", *NAMES), row, strict=True))) for row in rows]
    file.write_text("\n".join(made), encoding="utf-8")


WRITERS: dict[str, tuple[str, Callable[[Path, Sequence[Row]], None]]] = {
    "parquet": ("binance_BTC-USDT_5m.parquet", parquet),
    "csv": ("BTC-USDT.csv", csv),
    "csv.gz": ("BTC-USDT.csv.gz", csv_gz),
    "feather": ("BTC_USDT-5m.feather", feather),
    "feather of futures": ("BTC_USDT_USDT-5m-futures.feather", feather),
    "kraken": ("XBTUSDT_5.csv", kraken),
    "binance": ("BTCUSDT-5m-2024-06.zip", binance),
    "binance since 2025": ("BTCUSDT-5m-2025-01.zip", binance_now),
    "csv.zst": ("BTC-USDT.csv.zst", zst),
    "csv.bz2": ("BTC-USDT.csv.bz2", csv_bz2),
    "json.xz": ("BTC-USDT.json.xz", json_xz),
    "csv in utf-16": ("BTC-USDT.csv", csv_utf16),
    "feather of 2019": ("BTC_USDT-5m.feather", feather_first),
    "json lists": ("BTC_USDT-5m.json", json_lists),
    "json.gz": ("BTC_USDT-5m.json.gz", json_gz),
    "json texts": ("BTC_USDT-5m.json", json_texts),
    "json objects": ("btcusdt.json", json_objects),
    "json lines": ("btcusdt.json", json_lines),
}
every_format = pytest.mark.parametrize("kind", WRITERS)


def write(folder: Path, kind: str, rows: Sequence[Row], name: str | None = None) -> Path:
    usual, writer = WRITERS[kind]
    file = folder / (name or usual)
    writer(file, rows)
    return file


@every_format
def test_every_format_gives_the_candles_that_were_written(tmp_path: Path, kind: str) -> None:
    rows = rows_of()
    file = write(tmp_path, kind, rows)
    assert read(file) == transposed(rows)
    assert read(tmp_path) == transposed(rows)
    assert read(file, start=START + 300, end=START + 900) == transposed(rows[1:3])


@every_format
@pytest.mark.parametrize("name", ["wrong.csv", "wrong.parquet", "wrong.zip", "none"])
def test_a_wrong_suffix_does_not_matter(tmp_path: Path, kind: str, name: str) -> None:
    rows = rows_of()
    assert read(write(tmp_path, kind, rows, name)) == transposed(rows)


PRICE = st.floats(1e-8, 1e9)


# Not shrunk: an example costs 13 files.
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    st.lists(
        st.tuples(
            st.integers(0, 500_000),
            PRICE,
            PRICE,
            PRICE,
            PRICE,
            st.floats(0, 1e12) | st.just(5e-324),
        ),
        min_size=1,
        max_size=20,
        unique_by=lambda row: row[0],
    )
)
def test_the_same_candles_are_identical_from_every_format(drawn: list[tuple[Any, ...]]) -> None:
    rows = rows_of(2)  # a bar apart, so that the others' distances never say another interval
    for bar, *prices, volume in drawn:
        low, first, second, high = sorted(prices)
        rows.append((START + 300 * bar, first, high, low, second, volume))
    rows.sort()  # the file is not one with its newest row first
    wanted = transposed(rows)
    for kind in WRITERS:
        with tempfile.TemporaryDirectory() as folder:
            assert read(write(Path(folder), kind, rows)) == wanted, kind


# --- which files are a market's ---


def test_months_of_binance_are_joined_though_their_units_differ(tmp_path: Path) -> None:
    new_year = parse_time("2025-01-01")
    rows = rows_of(24, start=new_year - 12 * 300)
    binance(tmp_path / "BTCUSDT-5m-2024-12.zip", rows[:12])
    binance(tmp_path / "BTCUSDT-5m-2025-01.zip", rows[12:], unit=10**6)
    binance(tmp_path / "ETHUSDT-5m-2025-01.zip", rows_of(price=7), unit=10**6)
    assert read(tmp_path) == transposed(rows)
    assert read(tmp_path / "BTC*.zip") == transposed(rows)
    (tmp_path / "BTCUSDT-5m-2025-01.zip.CHECKSUM").write_text("0a1b  BTCUSDT-5m-2025-01.zip\n")
    assert read(tmp_path / "BTC*") == transposed(rows)


def test_of_overlapping_files_the_later_one_comes_last(tmp_path: Path) -> None:
    binance(tmp_path / "BTCUSDT-5m-2024-06.zip", rows_of(2))
    binance(tmp_path / "BTCUSDT-5m-2024-07.zip", rows_of(2, price=50))
    assert read(tmp_path)[0] == [START, START + 300, START, START + 300]
    assert read(tmp_path)[1] == [100, 101, 50, 51]


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("BTC/EUR", "XBTEUR"), ("DOGE/EUR", "XDGEUR"), ("ETH/BTC", "ETHXBT"), ("ETH/EUR", "ETHEUR")],
)
@pytest.mark.parametrize(("interval", "minutes"), [("1m", 1), ("5m", 5), ("1h", 60), ("1d", 1440)])
def test_krakens_names_say_the_coin_and_the_minutes(
    tmp_path: Path, symbol: str, name: str, interval: str, minutes: int
) -> None:
    market = Market.of(symbol, "kraken", interval)
    for number in (1, 5, 15, 60, 720, 1440):
        price = 1000 + 10 * number
        kraken(tmp_path / f"{name}_{number}.csv", rows_of(step=60 * number, price=price))
    kraken(tmp_path / "SOLEUR_5.csv", rows_of(price=3))
    wanted = rows_of(step=60 * minutes, price=1000 + 10 * minutes)
    assert read(tmp_path, market) == transposed(wanted)


@pytest.mark.parametrize("names", [("1h", "5m"), ("1d", "5m"), ("5m", "1M"), ("1H", "5min")])
def test_of_several_intervals_the_one_in_the_name_is_taken(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        ours = name.startswith("5")
        rows = rows_of(step=300 if ours else 3600, price=100 if ours else 900)
        feather(tmp_path / f"BTC_USDT-{name}.feather", rows)
    assert read(tmp_path) == transposed(rows_of())


def test_other_intervals_alone_are_named(tmp_path: Path) -> None:
    feather(tmp_path / "BTC_USDT-1h.feather", rows_of(step=3600))
    feather(tmp_path / "BTC_USDT-4h.feather", rows_of(step=14_400))
    error = fails(tmp_path)
    assert (error.code, error.exit_code) == ("config.interval", 2)
    assert error.message == "no file of BTC/USDT holds 5m by its name; there is 1h, 4h"
    assert error.hint == (
        "set [market] interval to one of these, get the file of yours, "
        "or rename it if its name is wrong"
    )


def test_the_name_goes_before_the_rows_unless_they_are_closer_together(tmp_path: Path) -> None:
    for name in ("BTC_USDT-1d.feather", "candles_1h.csv", "BTC-USDT-daily.csv"):
        error = fails(write(tmp_path, "feather", rows_of(), name))
        assert error.code == "config.interval"
    wrong = write(tmp_path, "feather", rows_of(step=60), "BTC_USDT-5m.feather")
    error = fails(wrong)
    assert error.message == f"{wrong} holds a candle every 60 s, not every 300 s (5m)"


def test_the_interval_is_known_even_where_few_candles_are_asked_for(tmp_path: Path) -> None:
    file = write(tmp_path, "json lists", rows_of(step=14_400), "candles.json")
    error = fails(file, start=START, end=START + 300)
    assert error.message == f"{file} holds a candle every 14400 s, not every 300 s (5m)"


@pytest.mark.parametrize("parts", [("1", "2"), ("2023", "2024"), ("30d", "7d")])
def test_numbered_parts_are_no_intervals(tmp_path: Path, parts: tuple[str, str]) -> None:
    rows = rows_of()
    csv(tmp_path / f"BTCUSDT_{parts[0]}.csv", rows[:6])
    csv(tmp_path / f"BTCUSDT_{parts[1]}.csv", rows[6:])
    assert read(tmp_path) == transposed(rows)


def test_spot_futures_and_mark_prices_are_not_joined(tmp_path: Path) -> None:
    spot, futures, mark = rows_of(), rows_of(price=200), rows_of(price=300)
    feather(tmp_path / "BTC_USDT_USDT-5m-mark.feather", mark)
    feather(tmp_path / "BTC_USDT_USDT-5m-futures.feather", futures)
    assert read(tmp_path) == transposed(futures)
    feather(tmp_path / "BTC_USDT-5m.feather", spot)
    assert read(tmp_path) == transposed(spot)


def test_files_of_any_format_lie_side_by_side(tmp_path: Path) -> None:
    rows = rows_of(36)
    binance(tmp_path / "BTCUSDT-5m-2024-06.zip", rows[:12])
    feather(tmp_path / "BTC_USDT-5m.feather", rows[12:24])
    parquet(tmp_path / "btc-usdt.parquet", rows[24:])
    (tmp_path / "BTC_USDT.md").write_text("notes", encoding="utf-8")
    assert sorted(read(tmp_path)[0]) == transposed(rows)[0]


def test_files_are_imported_into_a_market_of_another_source(tmp_path: Path) -> None:
    rows = rows_of()
    kraken(tmp_path / "XBTEUR_5.csv", rows)
    market = Market.of("bitvavo:BTC/EUR:5m", "file", "5m")
    assert read(tmp_path, market) == transposed(rows)


def test_the_span_is_that_of_all_files_of_the_market(tmp_path: Path) -> None:
    binance(tmp_path / "BTCUSDT-5m-2024-06.zip", rows_of(3, start=START + 90_000))
    binance(tmp_path / "BTCUSDT-5m-2024-07.zip", rows_of(3, start=START + 7), unit=10**6)
    binance(tmp_path / "ETHUSDT-5m-2024-07.zip", rows_of(3, start=0))
    with source(tmp_path) as made:
        assert made.span(BTC) == (START, START + 90_600)
    csv(tmp_path / "SOL-USDT.csv", [])
    sol = Market.of("SOL/USDT", "file", "5m")
    with source(tmp_path, sol) as made:
        assert made.span(sol) is None


# --- headers and columns ---


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("first", [0, 1], ids=["with a header", "without"])
@pytest.mark.parametrize("before", ["", "\ufeff", "\r\n\r\n"])
def test_a_header_is_known_by_what_it_holds(
    tmp_path: Path, delimiter: str, first: int, before: str
) -> None:
    rows = rows_of()
    lines = csv_text(rows, delimiter=delimiter).splitlines()[first:]
    file = tmp_path / "c.csv"
    file.write_text(before + "\r\n".join(lines), encoding="utf-8", newline="")
    assert read(file) == transposed(rows)


def test_lines_before_the_header_that_are_no_rows_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("https://www.CryptoDataDownload.com\n" + csv_text(rows_of()), encoding="utf-8")
    assert read(file) == transposed(rows_of())


BEFORE = {
    "U+2028": "candles\u2028of BTC\n",
    "form feed": "candles\x0cof BTC\n\x0b\n",
    "a quoted line end": '"candles\nof BTC"\n',
    "a quoted line end later": 'candles "of\nBTC" as\n"such\n"\n',
    "an open quote": '6" of candles\n',
    "blank lines of two kinds": "\n\r\n\r",
    "other line ends": "candles\r\nof BTC\r",
    "next line": "candles\x85of\x1cBTC\n",
    "Latin-1": "Donn\u00e9es\n",
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("first", [0, 1], ids=["with a header", "without"])
def test_no_words_before_the_candles_eat_a_row(
    tmp_path: Path, before: str, first: int, packed: bool
) -> None:
    rows = rows_of()
    text = BEFORE[before] + "\n".join(csv_text(rows).splitlines()[first:])
    content = text.encode("latin-1" if before == "Latin-1" else "utf-8")
    file = tmp_path / "c.csv"
    file.write_bytes(gzip.compress(content) if packed else content)
    assert read(file) == transposed(rows)


def test_line_ends_of_two_kinds_are_read_and_refused_where_they_change_late(
    tmp_path: Path,
) -> None:
    rows = rows_of(3000)
    lines = csv_text(rows).splitlines()
    file = tmp_path / "c.csv"
    ends = ("\n", "\r\n", "\r")
    file.write_text("".join(line + ends[i % 3] for i, line in enumerate(lines)), newline="")
    assert read(file) == transposed(rows)
    file.write_text("\n".join(lines[:2900]) + "\n" + "\r\n".join(lines[2900:]), newline="")
    assert fails(file).message == (
        f"{file} cannot be read: its lines end in more than one way, or a quote is left open"
    )


def test_what_is_packed_too_tightly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_formats, "MAX_UNPACKED_BYTES", 1_000_000)
    for pack in (bz2.compress, lzma.compress):
        file = tmp_path / "bomb.csv"
        file.write_bytes(pack(b"0" * 3_000_000))
        assert fails(file).message == f"{file} unpacks to more than 1,000,000 bytes"


@pytest.mark.parametrize("ending", ["csv.gz", "json.gz", "parquet", "feather"])
def test_many_rows_in_little_room_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    file = tmp_path / f"bomb.{ending}"
    times = START + 300 * np.arange(40_000)
    rows = pl.DataFrame({"open_time": times}).with_columns(
        *(pl.lit(1.5).alias(name) for name in NAMES)
    )
    if ending == "parquet":
        rows.write_parquet(file)
    elif ending == "feather":
        rows.write_ipc(file, compression="zstd")
    else:
        text = rows.write_csv() if ending == "csv.gz" else rows.write_json()
        file.write_bytes(gzip.compress(text.encode()))
    assert len(read(file)[0]) == 40_000
    assert file.stat().st_size < 400_000
    with monkeypatch.context() as patch:
        patch.setattr(_formats, "MAX_ROWS", 39_999)
        assert fails(file).message == f"{file} unpacks to more than 39,999 rows"
    if ending != "parquet":  # whose runs of equal values are packed by its encoding
        monkeypatch.setattr(_formats, "MAX_UNPACKED_BYTES", 1_000_000)
        assert fails(file).message == f"{file} unpacks to more than 1,000,000 bytes"


def test_damage_in_any_packing_is_refused(tmp_path: Path) -> None:
    for kind in ("csv.zst", "csv.bz2", "json.xz", "csv in utf-16", "feather of 2019"):
        whole = write(tmp_path, kind, rows_of(50))
        content = whole.read_bytes()
        file = tmp_path / "cut"
        for size in range(9, len(content) - 3, len(content) // 6):
            file.write_bytes(content[:size])
            assert fails(file).code in ("source.bad_file", "source.empty_file")


def test_a_row_of_times_in_words_is_no_header(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("2024-06-01 00:00:00,2,4,1,3,5\n2024-06-01 00:05:00,3,5,2,4,\n", "utf-8")
    found = read(file)
    assert found[:5] == [[START, START + 300], [2, 3], [4, 5], [1, 2], [3, 4]]
    assert found[5][0] == 5
    assert np.isnan(found[5][1])


def test_columns_without_names_in_another_order_are_refused_until_named(tmp_path: Path) -> None:
    # Coinbase's order: time, low, high, open, close, volume.
    rows = rows_of()
    lists = [[t, low, high, first, last, volume] for t, first, high, low, last, volume in rows]
    file = tmp_path / "candles.json"
    file.write_text(json.dumps(lists), encoding="utf-8")
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == (
        f"{file} names no columns, and they are not time, open, high, low, close, volume"
    )
    assert error.hint == (
        'say which is which: [source] columns = { open = "column3", low = "column1" }'
    )
    names = {"low": "column1", "high": "column2", "open": "column3"}
    assert read(file, columns=names) == transposed(rows)


def test_times_in_two_units_within_one_file_are_refused(tmp_path: Path) -> None:
    rows = rows_of()
    file = tmp_path / "c.csv"
    file.write_text(klines(rows[:6]) + klines(rows[6:], unit=10**6), encoding="utf-8")
    assert fails(file).message == (
        f"{file}: column 'column0' holds {START * 1000} and 1.7172033e+15, "
        "which are no times in one unit"
    )


@pytest.mark.parametrize(
    ("content", "column"),
    [
        ("[[1717200000000, 2, 3, 1, 2, 5], [1717200300000, 2, 3, 1, {}, 5]]", "column4"),
        ('[{{"ts": 1717200000, "open": 2, "high": 3, "low": 1, "close": 2}},'
         '{{"ts": 1717200300, "open": 2, "high": 3, "low": 1, "close": {}}}]', "close"),
        ("1717200000,2,3,1,2,5\n1717200300,2,3,1,{},5\n", "column4"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_named_by_row_and_value(
    tmp_path: Path, content: str, column: str
) -> None:
    file = tmp_path / "c"
    file.write_text(content.format('"n/a"'), encoding="utf-8")
    assert fails(file).message == (
        f"{file}: column '{column}' of row 2 holds 'n/a', which is not a number"
    )


def test_what_is_no_time_in_json_is_named_by_row_and_value(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    lists = [[row[0] * 1000, *row[1:]] for row in rows_of(4)]
    lists[2][0] = None  # type: ignore[call-overload]  # the fault
    file.write_text(json.dumps(lists), encoding="utf-8")
    assert fails(file).message == (
        f"{file}: column 'column0' of row 3 holds nothing, which is not a time from 2001 to 2286"
    )


# --- damage ---


def test_a_file_cut_short_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    for kind in ("parquet", "feather", "binance", "csv.gz", "json.gz", "json lists"):
        whole = write(tmp_path, kind, rows_of(4))
        content = whole.read_bytes()
        file = tmp_path / "cut"
        for size in range(9, len(content) - 1, max(1, len(content) // 40)):
            file.write_bytes(content[:size])
            error = fails(file)
            assert error.code == "source.bad_file", (kind, size)
            assert str(file) in error.message
        whole.unlink()


@pytest.mark.parametrize("cut", ["[[1,2,3,1,2,5],", '[{"ts":1},', "[[1,2,3,1,2,5]", "[", "{"])
def test_json_without_an_end_is_refused(tmp_path: Path, cut: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(cut, encoding="utf-8")
    error = fails(file)
    assert error.message.startswith(f"{file} cannot be read: ")
    assert error.hint == "check that it is whole, or write it again"


def test_a_flipped_byte_in_a_packed_file_is_found(tmp_path: Path) -> None:
    for kind in ("csv.gz", "json.gz", "binance"):
        file = write(tmp_path, kind, rows_of(50))
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0x10
        file.write_bytes(content)
        assert fails(file).code == "source.bad_file"
        file.unlink()


def test_a_first_row_with_values_missing_is_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("1717200000,2,3\n1717200300,2,3,1,2,5\n", encoding="utf-8")
    assert fails(file).code == "source.bad_file"


def test_a_csv_row_with_another_number_of_values_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("1717200000,2,3,1,2,5\n1717200300,2,3,1\n", encoding="utf-8")
    assert fails(file).message == (
        f"{file} cannot be read: CSV Error on Line: 2 Original Line: 1717200300,2,3,1 "
        "Expected Number of Columns: 6 Found: 4"
    )


@pytest.mark.parametrize(
    ("names", "there"),
    [([], "no CSV file"), (["notes.txt"], "no CSV file"), (["a.csv", "b.CSV"], "2 CSV files")],
)
def test_a_zip_holds_one_csv(tmp_path: Path, names: list[str], there: str) -> None:
    file = tmp_path / "c.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, klines(rows_of()))
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == f"{file} holds {there}, not one"
    assert error.hint == "unpack it into a folder, and set [source] path to that"


def test_a_zip_is_unpacked_into_a_place_of_ours_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    file = tmp_path / "c.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../outside.csv", klines(rows_of()))
        archive.writestr("__MACOSX/._outside.csv", "resource fork")
    assert read(file) == transposed(rows_of())
    assert {p.name for p in tmp_path.rglob("*")} == {"temporary", "c.zip"}
    file.write_bytes(file.read_bytes().replace(b",1.5,", b",2.5,"))  # its checksum is wrong now
    assert fails(file).message.startswith(f"{file} cannot be read: Bad CRC-32")
    assert {p.name for p in tmp_path.rglob("*")} == {"temporary", "c.zip"}


def test_a_zip_that_unpacks_to_too_much_is_refused_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _formats.MAX_UNPACKED_BYTES == 2**30
    monkeypatch.setattr(_formats, "MAX_UNPACKED_BYTES", 1_000_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"0" * 1_000_001)
    assert file.stat().st_size < 5000
    error = fails(file)
    assert error.message == f"{file} unpacks to more than 1,000,000 bytes"
    assert error.hint.startswith("unpack it yourself, or cut it into smaller files")


def test_a_zip_that_lies_about_its_size_is_read_no_further(tmp_path: Path) -> None:
    file = tmp_path / "lie.zip"
    text = klines(rows_of(1000)).encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", text)
    size = len(text).to_bytes(4, "little")
    file.write_bytes(file.read_bytes().replace(size, (100).to_bytes(4, "little")))
    assert fails(file).message.startswith(f"{file} cannot be read: Bad CRC-32")


def test_gzip_of_something_else_is_refused(tmp_path: Path) -> None:
    inner = write(tmp_path, "parquet", rows_of())
    file = tmp_path / "c.csv.gz"
    file.write_bytes(gzip.compress(inner.read_bytes()))
    assert fails(file).message == f"{file} holds neither Parquet, Feather, CSV nor JSON"


@pytest.mark.parametrize("content", ["[]", "[ ]", "\n\n", "open_time,open,high,low,close\n"])
def test_a_file_without_a_row_is_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "c"
    file.write_text(content, encoding="utf-8")
    assert fails(file).code == "source.empty_file"


def test_json_of_another_shape_says_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"candles": [{"time": 1}], "status": "ok"}', encoding="utf-8")
    assert fails(file).message == (
        f"{file} has no time column ('open_time' or 'ts' or 'date' or 'timestamp'); "
        "its columns are candles, status"
    )


# --- what it costs ---


def test_a_source_may_be_read_from_several_threads(tmp_path: Path) -> None:
    markets = [Market.of(f"{coin}/USDT", "file", "5m") for coin in ("AAA", "BBB", "CCC", "DDD")]
    kinds = (feather, binance, csv, parquet)
    suffixes = ("feather", "zip", "csv", "parquet")
    for i, market in enumerate(markets):
        kinds[i](tmp_path / f"{market.base}-USDT.{suffixes[i]}", rows_of(price=10.0 + i))
    with source(tmp_path, markets[0]) as made, ThreadPoolExecutor(4) as pool:
        asked = markets * 10
        found = pool.map(lambda m: next(made.pages(m, 0, FAR)).candles.open[0], asked)
        assert list(found) == [10.0, 11.0, 12.0, 13.0] * 10


def test_only_feather_imports_pyarrow_and_nothing_is_ever_installed(tmp_path: Path) -> None:
    for kind in ("csv", "json lists", "binance", "parquet", "feather"):
        (tmp_path / kind).mkdir()
        write(tmp_path / kind, kind, rows_of())
    program = f"""
import sys
from pathlib import Path
from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.values import Market
market = Market.of("BTC/USDT", "file", "5m")
heavy = ("pyarrow", "polars", "pandas", "pyarrow.dataset", "fsspec")
for kind in ("csv", "json lists", "binance", "parquet", "feather"):
    settings = SourceSettings(name="file", path=str(Path({str(tmp_path)!r}) / kind))
    source = Source(Setup(settings, [market], Secrets({{}}), clock=SystemClock()))
    assert len(next(source.pages(market, {START}, {FAR})).candles) == 12
    print(kind, [m for m in heavy if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "csv []",
        "json lists []",
        "binance []",
        "parquet []",
        "feather ['pyarrow']",
    ]
    assert not (tmp_path / ".duckdb").exists()


RECORDED = Path(__file__).parents[2] / "../shared/candles"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded candles are not on this machine")
def test_recorded_candles_are_the_same_in_every_format(tmp_path: Path) -> None:
    market = Market.of("BTC/EUR", "file", "5m")
    recorded = RECORDED / "kraken_BTC-EUR_5m_20160101_20160112.parquet"
    wanted = read(recorded, market)
    assert len(wanted[0]) == 3234
    rows = list(zip(*wanted, strict=True))
    for kind in WRITERS:
        assert read(write(tmp_path, kind, rows, kind.replace(" ", "_")), market) == wanted, kind
