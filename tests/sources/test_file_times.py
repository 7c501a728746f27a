"""Times in files: joined, refused where rows would collapse unseen, told where only a few do."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from cryptocast.values import Market, iso, parse_time
from support.recorded import BTC, START, Row, fails, page_of, read, rows_of, transposed

HEADER = "ts,open,high,low,close,volume\n"
UTC_HINT = "a row's time says when its candle of 5m opens, in UTC; "


def text_of(rows: list[Row], time: Callable[[int], object], header: str = HEADER) -> str:
    lines = (f"{time(row[0])},{','.join(map(repr, row[1:]))}\n" for row in rows)
    return header + "".join(lines)


def written(folder: Path, rows: list[Row], time: Callable[[int], object], **more: str) -> Path:
    file = folder / "c.csv"
    file.write_text(text_of(rows, time, **more), encoding="utf-8")
    return file


def stamp(form: str, zone: str = "UTC") -> Callable[[int], str]:
    return lambda time: datetime.fromtimestamp(time, ZoneInfo(zone)).strftime(form)


@pytest.mark.parametrize(
    "time",
    [
        stamp("%Y-%m-%d"),
        stamp("%Y-%m-%d %H:00"),
        lambda time: f"{time * 1000:.4E}",
        lambda time: f"{time * 1000:.5e}",
        lambda time: f"{time:.4E}",
        lambda time: np.float32(time),
        lambda time: np.float32(time * 1000),
        lambda time: time - time % 900,
        lambda time: time + 7,
        lambda time: START,
        stamp("%Y-%m-%d,%I:%M %p"),
    ],
    ids=["days", "hours", "1.7172E+12", "1.71720e+12", "1.7172E+09", "float32 s", "float32 ms",
         "quarters", "off by 7 s", "one time", "date and AM/PM"],
)  # fmt: skip
def test_times_too_coarse_for_the_interval_are_refused(
    tmp_path: Path, time: Callable[[int], object]
) -> None:
    header = HEADER.replace("ts", "date,time") if "," in str(time(START)) else HEADER
    error = fails(written(tmp_path, rows_of(40), time, header=header))
    assert (error.code, error.exit_code) == ("source.bad_file", 4)
    assert "rows share their candle" in error.message or "rows lie between" in error.message
    assert ", the first at 2024-0" in error.message
    assert error.hint.startswith(UTC_HINT)


def test_a_column_of_32_bit_floats_holds_no_times(tmp_path: Path) -> None:
    names = ("ts", "open", "high", "low", "close", "volume")
    frame = pl.DataFrame(dict(zip(names, transposed(rows_of()), strict=True)))
    file = tmp_path / "c.parquet"
    frame.with_columns(pl.col("ts").cast(pl.Float32)).write_parquet(file)
    assert fails(file).message == (
        f"{file}: column 'ts' holds 32-bit numbers, too coarse for times"
    )


@pytest.mark.parametrize(("interval", "refused"), [("5m", True), ("15m", True), ("1h", False)])
def test_the_hour_that_comes_twice_shows_local_times(
    tmp_path: Path, interval: str, refused: bool
) -> None:
    market = Market.of("BTC/USDT", "file", interval)
    step = market.interval_seconds
    rows = rows_of(86_400 // step, start=parse_time("2024-10-26T12:00"), step=step)
    file = written(tmp_path, rows, stamp("%Y-%m-%d %H:%M:%S", "Europe/Berlin"))
    told = f"rows share their candle with a row of other values, the first at {iso(1729994400)}"
    if refused:
        message = fails(file, market).message
        assert message == f"{file}: {3600 // step} of {len(rows)} {told}"
    else:
        page = page_of(file, market)
        assert page.remarks == (f"{file}: 1 of 24 {told}",)


def test_days_by_a_clock_that_changes_are_days_whatever_the_name_says(tmp_path: Path) -> None:
    rows = rows_of(300, step=86_400)
    file = tmp_path / "BTC-USDT-5m.csv"
    local = ZoneInfo("America/New_York")
    midnights = (datetime(2024, 1, 1, tzinfo=local) + timedelta(days=i) for i in range(300))
    moved = [(int(day.timestamp()), *row[1:]) for day, row in zip(midnights, rows, strict=True)]
    file.write_text(text_of(moved, int), encoding="utf-8")
    assert fails(file).message == f"{file} holds a candle every 86400 s, not every 300 s (5m)"


def test_a_few_odd_times_hide_no_other_interval(tmp_path: Path) -> None:
    rows = rows_of(40, step=900)
    for place in (5, 17, 30):
        rows[place] = (rows[place][0] + 11, *rows[place][1:])
    file = written(tmp_path, rows, int)
    assert fails(file).message == f"{file} holds a candle every 900 s, not every 300 s (5m)"


def test_a_few_odd_times_are_counted_and_told(tmp_path: Path) -> None:
    rows = rows_of(20)
    rows[3] = (rows[3][0] + 60, *rows[3][1:])
    rows[8:8] = [(rows[8][0], 1.0, 2.0, 1.0, 2.0, 3.0)]
    page = page_of(written(tmp_path, rows, int))
    assert len(page.candles) == 21
    assert [remark.partition(": ")[2] for remark in page.remarks] == [
        "1 of 21 rows lie between the times at which candles open, the first at "
        "2024-06-01T00:16:00Z",
        "1 of 21 rows share their candle with a row of other values, the first at "
        "2024-06-01T00:40:00Z",
    ]


def test_rows_that_are_repeated_as_they_are_or_impossible_are_not_odd(tmp_path: Path) -> None:
    rows = rows_of(20)
    rows += [*rows[5:15], *((row[0], 0.0, *row[2:]) for row in rows[5:15])]
    assert page_of(written(tmp_path, rows, int)).remarks == ()


@pytest.mark.parametrize("names", ["Date,Time", "<DATE>,<TIME>", "date,time"])
@pytest.mark.parametrize("form", ["%Y-%m-%d,%H:%M:%S", "%Y/%m/%d,%H:%M"])
def test_the_day_and_the_time_of_day_are_joined(tmp_path: Path, names: str, form: str) -> None:
    rows = rows_of(400)
    header = HEADER.replace("ts", names)
    file = written(tmp_path, rows, stamp(form), header=header)
    assert read(file) == transposed(rows)
    assert read(file, start=START + 86_400) == transposed(rows[288:])


def test_dates_and_times_of_a_typed_file_are_joined(tmp_path: Path) -> None:
    rows = rows_of(300)
    frame = pl.DataFrame(dict(zip("abcdef", transposed(rows), strict=True)))
    moment = pl.from_epoch("a")
    frame.select(
        moment.dt.date().alias("Date"), moment.dt.time().alias("Time"),
        open="b", high="c", low="d", close="e", volume="f",
    ).write_parquet(tmp_path / "c.parquet")  # fmt: skip
    assert read(tmp_path / "c.parquet") == transposed(rows)


@pytest.mark.parametrize(
    "value", ["yesterday", "", "20240601", "45444.0035", "1717200", "1970-01-01", "2999-01-01"]
)
def test_a_time_that_no_candle_has_is_named_with_its_row_even_in_a_whole_file(
    tmp_path: Path, value: str
) -> None:
    rows = rows_of(12)
    file = written(tmp_path, rows, lambda time: value if time == START + 600 else iso(time))
    shown = repr(value) if value else "nothing"
    expected = f"{file}: column 'ts' of row 3 holds {shown}, which is not a time from 2001 to 2286"
    assert fails(file).message == expected
    assert fails(file, start=START + 1200).message == expected


def test_numbers_that_are_no_times_are_named_with_the_first_row(tmp_path: Path) -> None:
    for number in (lambda time: stamp("%Y%m%d")(time), lambda time: time / 86_400 + 25_569):
        error = fails(written(tmp_path, rows_of(12), number))
        assert "column 'ts' of row 1 holds" in error.message


def test_a_file_with_its_newest_row_first_keeps_the_newer_of_two_rows(tmp_path: Path) -> None:
    rows = rows_of(20)
    stale = [(rows[19][0], 1.0, 2.0, 1.0, 1.5, 3.0)]
    backwards = [*rows[::-1][:1], *stale, *rows[::-1][1:]]
    file = tmp_path / "c.json"
    file.write_text(json.dumps([list(row) for row in backwards]), encoding="utf-8")
    assert read(file) == transposed([*rows[:19], *stale, rows[19]])


def test_files_that_say_different_things_of_the_same_time_are_refused(tmp_path: Path) -> None:
    for number, price in ((1, 100.0), (2, 200.0)):
        file = tmp_path / f"BTC-USDT_{number}.csv"
        file.write_text(text_of(rows_of(12, price=price), int), encoding="utf-8")
    assert fails(tmp_path).message == (
        f"{tmp_path}/BTC-USDT_1.csv and 1 more: 12 of 24 rows share their candle with a row of "
        "other values, the first at 2024-06-01T00:00:00Z"
    )


def test_times_without_an_offset_are_utc(tmp_path: Path) -> None:
    local = datetime(2024, 6, 1, tzinfo=UTC) + timedelta(minutes=5)
    file = written(tmp_path, rows_of(2), stamp("%Y-%m-%d %H:%M"))
    assert read(file, BTC)[0][1] == int(local.timestamp())
