"""Recorded candles: what is read, what is refused, and how it is told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.values import Candles, Market, iso, parse_time

START = parse_time("2024-06-01")
END = START + 3000
BTC = Market.of("BTC/USDT", "file", "5m")
ETH = Market.of("ETH/USDT", "file", "5m")
PRICES = "100 + i AS open, 102 + i AS high, 99 + i AS low, 101 + i AS close, 7.5 AS volume"
TIMES = {
    "TIMESTAMPTZ": "make_timestamptz((1717200000 + 300 * i) * 1000000)",
    "TIMESTAMP": "make_timestamp((1717200000 + 300 * i) * 1000000)",
    "TIMESTAMP_NS": "make_timestamp((1717200000 + 300 * i) * 1000000)::TIMESTAMP_NS",
    "DATE": "DATE '2024-06-01' + i::INTEGER",
    "ISO text": "strftime(make_timestamp((1717200000 + 300 * i) * 1000000), '%Y-%m-%dT%H:%M:%SZ')",
    "text with an offset": "strftime(make_timestamp((1717207200 + 300 * i) * 1000000), "
    "'%Y-%m-%d %H:%M:%S+02:00')",
    "text without an offset": "strftime(make_timestamp((1717200000 + 300 * i) * 1000000), "
    "'%Y-%m-%d %H:%M:%S')",
    "seconds": "(1717200000 + 300 * i)::INTEGER",
    "unsigned seconds": "(1717200000 + 300 * i)::UINTEGER",
    "float seconds": "(1717200000 + 300 * i)::DOUBLE",
    "milliseconds": "(1717200000 + 300 * i) * 1000",
    "microseconds": "(1717200000 + 300 * i) * 1000000",
    "nanoseconds": "(1717200000 + 300 * i) * 1000000000",
    "seconds as text": "((1717200000 + 300 * i)::VARCHAR)",
}


def write(
    file: Path,
    *,
    time_sql: str = TIMES["TIMESTAMPTZ"],
    columns: str = PRICES,
    time_column: str = "open_time",
    bars: int = 10,
) -> Path:
    """A file of candles from START on, Parquet or CSV by its name."""
    rows = f'SELECT {time_sql} AS "{time_column}", {columns} FROM range({bars}) t(i)'
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        connection.execute(f"COPY ({rows}) TO '{file}'")
    return file


def read(
    path: Path | Sequence[Path],
    market: Market = BTC,
    start: int = START,
    end: int = END,
    *,
    markets: Sequence[Market] | None = None,
    **settings: Any,
) -> Candles:
    paths = str(path) if isinstance(path, Path) else [str(p) for p in path]
    source = Source(
        Setup(
            SourceSettings(name="file", path=paths, **settings),
            markets or [market],
            Secrets({}),
            clock=SystemClock(),
        )
    )
    try:
        (page,) = source.pages(market, start, end)
    finally:
        source.close()
    assert (page.start, page.end) == (start, end)
    return page.candles


def fails(path: Path | Sequence[Path], market: Market = BTC, **more: Any) -> CryptocastError:
    with pytest.raises(CryptocastError) as caught:
        read(path, market, **more)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("suffix", ["parquet", "csv", "csv.gz"])
@pytest.mark.parametrize("kind", [kind for kind in TIMES if kind != "DATE"])
def test_every_kind_of_time_is_read_as_utc(tmp_path: Path, kind: str, suffix: str) -> None:
    file = write(tmp_path / f"candles.{suffix}", time_sql=TIMES[kind])
    candles = read(file)
    assert candles.open_time.tolist() == [START + 300 * i for i in range(10)]
    assert candles.open.tolist() == [100 + i for i in range(10)]
    assert candles.high[0] == 102
    assert candles.low[0] == 99
    assert candles.close[0] == 101
    assert candles.volume[0] == 7.5
    inside = read(file, start=START + 300, end=START + 900)
    assert inside.open_time.tolist() == [START + 300, START + 600]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_days_are_dates(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"days.{suffix}", time_sql=TIMES["DATE"], time_column="Date")
    daily = Market.of("BTC/USDT", "file", "1d")
    candles = read(file, daily, end=START + 2 * 86_400)
    assert candles.open_time.tolist() == [START, START + 86_400]


@pytest.mark.parametrize("name", ["open_time", "ts", "date", "timestamp", "Timestamp", "OPEN_TIME"])
def test_the_time_column_is_found_by_name(tmp_path: Path, name: str) -> None:
    assert len(read(write(tmp_path / "c.parquet", time_column=name))) == 10


def test_foreign_column_names_are_mapped(tmp_path: Path) -> None:
    foreign = '1 AS "o""1", 2 AS "Hi gh", 0.5 AS l, 1.5 AS "select"'
    file = write(tmp_path / "c.csv", columns=foreign, time_column="when; DROP TABLE x")
    candles = read(
        file,
        columns={
            "open_time": "when; DROP TABLE x",
            "open": 'o"1',
            "high": "Hi gh",
            "low": "L",
            "close": "select",
        },
    )
    assert [candles.open[0], candles.high[0], candles.low[0], candles.close[0]] == [1, 2, 0.5, 1.5]


def test_volume_may_be_missing_and_a_price_empty(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("ts,open,high,low,close\n2024-06-01T00:00:00Z,1,2,,nan\n", encoding="utf-8")
    candles = read(file)
    assert candles.open.tolist() == [1]
    assert np.isnan([candles.low[0], candles.close[0], candles.volume[0]]).all()


def test_rows_pass_as_they_are_unsorted_and_repeated(tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text(
        f"ts;open;high;low;close\n{START};1;1;1;1\n{START + 600};2;2;2;2\n"
        f"{START + 300};3;3;3;3\n{START + 300};4;4;4;4\n",
        encoding="utf-8",
    )
    candles = read(file)
    assert candles.open_time.tolist() == [START, START + 600, START + 300, START + 300]
    assert candles.open.tolist() == [1, 2, 3, 4]


def test_a_folder_a_glob_and_a_list_are_read_in_order(tmp_path: Path) -> None:
    early = write(tmp_path / "x_BTC-USDT_1.parquet", bars=2)
    later = write(tmp_path / "x_btcusdt_2.csv", time_sql="1717200600 + 300 * i", bars=2)
    write(tmp_path / "x_ETH-USDT.parquet", columns="1 AS open, 1 AS high, 1 AS low, 1 AS close")
    write(tmp_path / "x_BTC-USD.parquet")
    write(tmp_path / "x_WBTC-USDT.parquet")
    (tmp_path / "README.md").write_text("not candles", encoding="utf-8")
    times = [START, START + 300, START + 600, START + 900]
    assert read(tmp_path).open_time.tolist() == times
    assert read(tmp_path / "x_*").open_time.tolist() == times
    assert read([later, early, early]).open_time.tolist() == times[2:] + times[:2]
    assert read(tmp_path, ETH).open.tolist() == [1] * 10


def test_a_name_with_the_marks_of_a_glob_is_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "a[1]"
    folder.mkdir()
    assert len(read(write(folder / "c*d.parquet"))) == 10


def test_one_file_and_one_market_belong_together(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "my_data_5m.parquet"))) == 10


@pytest.mark.parametrize(
    ("name", "pair"),
    [("binance_BTC-USDT_5m", "BTC/USDT"), ("ETH_EUR", "ETH/EUR"), ("SOLUSDT-5m", "SOL/USDT")],
)
def test_a_file_that_names_another_pair_is_refused(tmp_path: Path, name: str, pair: str) -> None:
    file = write(tmp_path / f"{name}.parquet")
    error = fails(file, Market.of("BTC/EUR", "file", "5m"))
    assert isinstance(error, ConfigError)
    assert error.code == "config.symbol"
    assert error.message == f"{name}.parquet holds {pair}, not BTC/EUR"
    assert error.hint == f"--symbol {pair}, or a file of BTC/EUR"


def test_a_symbol_without_a_file_is_answered_with_what_there_is(tmp_path: Path) -> None:
    write(tmp_path / "BTC-USDT.parquet")
    write(tmp_path / "ETH_USDT.parquet")
    error = fails(tmp_path, Market.of("SOL/USDT", "file", "5m"))
    assert error.code == "config.symbol"
    assert error.message == "no file has SOL/USDT in its name; there is BTC/USDT, ETH/USDT"


def test_one_nameless_file_cannot_serve_two_markets(tmp_path: Path) -> None:
    error = fails(write(tmp_path / "c.parquet"), markets=[BTC, ETH])
    assert error.message == "no file has BTC/USDT in its name; there is c.parquet"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.csv", tmp_path / "*.csv"):
        error = fails(path)
        assert (error.code, error.exit_code) == ("source.no_file", 4)
        assert error.message == f"there is no file {path}"
    assert fails(tmp_path).message == (
        f"{tmp_path} holds no file that ends in .parquet, .pq, .feather, .arrow, .ipc, .csv, "
        ".csv.gz, .json, .json.gz, .zip, .zst, .bz2, .xz"
    )


def test_no_path_at_all_is_a_setting_to_mend() -> None:
    source = Source(Setup(SourceSettings(name="file"), [BTC], Secrets({}), clock=SystemClock()))
    with pytest.raises(ConfigError, match="source file needs to know which files"):
        list(source.pages(BTC, START, END))


@pytest.mark.parametrize("content", [None, "open_time,open,high,low,close\n", ""])
def test_a_file_without_a_candle_is_empty(tmp_path: Path, content: str | None) -> None:
    if content is None:
        file = write(tmp_path / "c.parquet", bars=0)
    else:
        file = tmp_path / "c.csv"
        file.write_text(content, encoding="utf-8")
    assert fails(file).code == "source.empty_file"


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", columns="1 AS open, 2 AS high, 1 AS low, 1 AS last")
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == (
        f"{file} has no column 'close'; its columns are open_time, open, high, low, last"
    )
    assert error.hint == 'name the right one: [source] columns = { close = "its name" }'


def test_a_missing_time_column_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "c.csv", time_column="when")
    error = fails(file)
    assert error.message == (
        f"{file} has no time column ('open_time' or 'ts' or 'date' or 'timestamp'); "
        "its columns are when, open, high, low, close, volume"
    )
    assert error.hint == 'name the right one: [source] columns = { open_time = "its name" }'
    mapped = fails(file, columns={"open_time": "whenn"})
    assert mapped.message.startswith(f"{file} has no time column ('whenn')")


def test_a_mapped_volume_must_be_there(tmp_path: Path) -> None:
    error = fails(write(tmp_path / "c.csv"), columns={"volume": "amount"})
    assert "has no column 'amount'" in error.message


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_text_in_a_price_is_named_by_row_and_value(tmp_path: Path, suffix: str) -> None:
    text = "CASE i WHEN 3 THEN 'n/a' ELSE '1.5' END"
    file = write(
        tmp_path / f"c.{suffix}", columns=f"{text} AS open, 2 AS high, 1 AS low, 1 AS close"
    )
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == (f"{file}: column 'open' of row 4 holds 'n/a', which is not a number")
    assert error.hint == "mend or remove that row"


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("value", ["'yesterday'", "NULL"])
def test_an_unreadable_time_is_named_by_row_and_value(
    tmp_path: Path, suffix: str, value: str
) -> None:
    sql = f"CASE i WHEN 3 THEN {value} ELSE {TIMES['ISO text']} END"
    file = write(tmp_path / f"c.{suffix}", time_sql=sql)
    shown = "nothing" if value == "NULL" else value
    assert fails(file).message == (
        f"{file}: column 'open_time' of row 4 holds {shown}, which is not a time from 2001 to 2286"
    )


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    truth = write(tmp_path / "d.parquet", columns="1 AS open, 1 AS high, 1 AS low, true AS close")
    assert fails(truth).code == "source.bad_file"
    assert fails(truth).message == f"{truth}: column 'close' holds BOOLEAN, not numbers"
    when = write(tmp_path / "e.parquet", time_sql="true")
    assert fails(when).message == f"{when}: column 'open_time' holds BOOLEAN, not times"


@pytest.mark.parametrize("name", ["c.parquet", "c.csv"])
def test_a_broken_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"PAR1\x00\xff\xfe\x00 torn")
    error = fails(file)
    assert error.code == "source.bad_file"
    assert "\n" not in error.message
    assert str(file) in error.message


@pytest.mark.parametrize("content", [b"PNG\0\0", b"1\x002\x003\x00"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "candles.csv"
    file.write_bytes(content)
    error = fails(file)
    assert error.code == "source.bad_file"
    assert error.message == f"{file} holds neither Parquet, Feather, CSV nor JSON"
    assert error.hint == "take another file, or write it as Parquet or CSV"


def test_candles_of_a_shorter_interval_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", time_sql="1717200000 + 60 * i", bars=50)
    assert fails(file).message == f"{file} holds a candle every 60 s, not every 300 s (5m)"


def test_candles_of_a_longer_interval_are_refused(tmp_path: Path) -> None:
    long = write(tmp_path / "c.parquet", time_sql="1717200000 + 900 * i", bars=50)
    assert (
        fails(long, end=START + 45_000).message
        == f"{long} holds a candle every 900 s, not every 300 s (5m)"
    )


def test_a_range_that_the_files_do_not_reach_names_theirs(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet")
    late, last = parse_time("2026-01-01"), START + 2700
    error = fails(file, start=last + 1, end=late)
    assert isinstance(error, SourceError)
    assert error.code == "source.out_of_range"
    assert error.message == (
        f"no candle of BTC/USDT from {iso(last + 1)} to 2026-01-01T00:00:00Z: {file} holds only "
        "2024-06-01T00:00:00Z to 2024-06-01T00:45:00Z"
    )
    assert error.hint == (
        "recorded candles are used with --as-of, for example --as-of 2024-06-01T00:45:00Z"
    )
    assert fails(file, start=0, end=86_400).code == "source.out_of_range"


def test_a_gap_and_the_edges_of_the_files_are_no_error(tmp_path: Path) -> None:
    file = write(tmp_path / "c-5m.parquet", time_sql="1717200000 + 86400 * i")
    last = START + 9 * 86_400
    assert len(read(file, start=START + 300, end=START + 600)) == 0
    assert len(read(file, start=last + 1, end=last + 900)) == 0
    assert len(read(file, start=START - 3600, end=START)) == 0
    assert len(read(file, start=START - 90 * 86_400, end=START)) == 0
    assert len(read(file, start=last, end=parse_time("2026-01-01"))) == 1


def test_a_file_that_grows_is_read_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", bars=2)
    settings = SourceSettings(name="file", path=str(file))
    source = Source(Setup(settings, [BTC], Secrets({}), clock=SystemClock()))
    assert [len(p.candles) for p in source.pages(BTC, START, END)] == [2]
    write(file, time_sql=TIMES["milliseconds"], bars=5)
    assert [len(p.candles) for p in source.pages(BTC, START, END)] == [5]
    source.close()


def test_a_tick_on_half_a_year_is_quick(tmp_path: Path) -> None:
    file = write(tmp_path / "c.parquet", bars=72_000)
    settings = SourceSettings(name="file", path=str(file))
    source = Source(Setup(settings, [BTC], Secrets({}), clock=SystemClock()))
    spans = []
    for _ in range(4):
        before = time.process_time()
        list(source.pages(BTC, START + 15_000_000, START + 15_003_000))
        spans.append(time.process_time() - before)
    source.close()
    assert min(spans) < 0.05  # 6 ms on the machine it was written on


def test_reading_files_imports_neither_polars_nor_pandas_nor_requests(tmp_path: Path) -> None:
    file = write(tmp_path / "c.csv")
    program = f"""
import sys
from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.sources import Setup, open_source
from cryptocast.values import Market
market = Market.of("BTC/USDT", "file", "5m")
settings = SourceSettings(name="file", path={str(file)!r})
source = open_source(Setup(settings, [market], Secrets({{}}), clock=SystemClock()))
print(len(next(source.pages(market, {START}, {END})).candles))
print([m for m in ("polars", "pandas", "pyarrow", "requests", "scipy") if m in sys.modules])
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["10", "[]"]


RECORDED = Path(__file__).parents[2] / "../shared/candles"


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded candles are not on this machine")
def test_a_folder_of_many_recorded_symbols_serves_each() -> None:
    start = parse_time("2024-03-01")
    for symbol in ("BTC/USDT", "DOGE/USDT"):
        market = Market.of(symbol, "file", "5m")
        candles = read(RECORDED, market, start, start + 86_400, markets=[BTC, ETH])
        assert len(candles) == 288
