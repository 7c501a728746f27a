"""export: files that hold what the store holds, whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from cryptocast.cli.root.hints import as_typed
from cryptocast.clock import SystemClock, VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.store import Store, exporter
from cryptocast.values import Candles, ForecastSet, Market, ServedModel, iso, parse_time
from cryptocast.workflows.export import export
from cryptocast.workspace import Workspace
from support.commands import good, listing, process, run, start_loaded

BTC = Market("bitvavo", "BTC", "EUR", "5m")
BTC_HOUR = Market("kraken", "BTC", "EUR", "1h")
ETH = Market("bitvavo", "ETH", "EUR", "5m")
START = parse_time("2024-06-03T00:00:00Z")
ROWS = 600
SUFFIXES = (".parquet", ".csv", ".csv.gz", ".json")
NAMES = ("open", "high", "low", "close", "volume")
VIEWS = {"candles": "candles", "forecasts": "forecasts", "scores": "forecast_scores"}


def some_candles(rows: int, step: int, shift: float = 0.0) -> Candles:
    index = np.arange(rows)
    price = 100 + 10 * np.sin(index / 7) + shift + 1 / 3
    volume = np.where(index % 5 == 0, np.nan, index / 7)
    return Candles.of(START + step * index, price, price + 1, price - 1, price + 0.5, volume)


def a_set(bar: int, *, served: bool = True) -> ForecastSet:
    quantiles = 100 + np.outer(np.sqrt([1, 2, 3]), [-1.25, 0.1, 1.5]) + bar / 300
    origin = START + 300 * bar
    model = ServedModel("2" if served else "3", "lstm", None if served else 'why, "not"?')
    return ForecastSet(
        BTC, origin, origin + 10.25, 100.0, 0, "live", model, (0.05, 0.5, 0.95), quantiles
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of three markets, the first with forecasts. Exporting changes nothing in it."""
    made = tmp_path_factory.mktemp("export") / "w"
    made.mkdir()
    settings = '[source]\nname = "sim"\n[market]\nsymbols = ["DOGE/EUR"]\n'
    (made / "cryptocast.toml").write_text(settings, encoding="utf-8")
    with Store(made / "cryptocast.duckdb", 60).write() as writer:
        candles = some_candles(ROWS, 300)
        for part in (slice(300, None), slice(300)):  # the older ones last: files are sorted
            writer.put_candles(
                BTC, candles.take(part), provenance="backfill", fetched_at=START + 0.123456
            )
        for market, step in ((ETH, 300), (BTC_HOUR, 3600)):
            writer.put_candles(
                market, some_candles(48, step, 7.0), provenance="imported", fetched_at=START
            )
        for bar in (*range(50, 60), 597):
            writer.ledger.put_sets([a_set(bar)], served=True, written_at=START)
        writer.ledger.put_sets([a_set(50, served=False)], served=False, written_at=START)
    return made


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, by polars and json: neither is what wrote it."""
    if file.suffix == ".parquet":
        return pl.read_parquet(file).to_dicts()
    if file.suffix == ".json":

        def refuse(text: str) -> None:
            raise AssertionError(f"{text} is not JSON")

        rows: list[dict[str, Any]] = json.loads(file.read_bytes(), parse_constant=refuse)
        return rows
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return pl.read_csv(raw).to_dicts()


def stored(folder: Path, what: str, where: str = "true") -> list[dict[str, Any]]:
    """The rows of a table or view, as polars shows them."""
    with duckdb.connect(str(folder / "cryptocast.duckdb"), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(f"FROM {VIEWS[what]} WHERE {where}").to_arrow_table()
    frame = pl.DataFrame(table)
    order = ("market", "open_time", "origin", "model_version", "step")
    return frame.sort([name for name in order if name in frame.columns]).to_dicts()


def put_out(folder: Path, what: str, out: Path, *options: str) -> list[dict[str, Any]]:
    data = good("export", what, "--out", out, "-w", folder, *options)
    rows = read(out)
    assert data["rows"] == len(rows)
    assert data["markets"] == sorted({row["market"] for row in rows})
    return rows


def moment(value: Any) -> float:
    return float(value.timestamp() if hasattr(value, "timestamp") else parse_time(value))


@pytest.mark.parametrize("what", VIEWS)
def test_a_parquet_file_holds_the_table_sorted_with_its_types(
    folder: Path, tmp_path: Path, what: str
) -> None:
    assert put_out(folder, what, tmp_path / "x.parquet") == stored(folder, what)
    schema = pl.read_parquet(tmp_path / "x.parquet").schema
    times = [n for n in schema if n in ("open_time", "origin", "target_time", "issued_at")]
    assert {schema[name] for name in times} == {pl.Datetime("us", "UTC")}


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
@pytest.mark.parametrize("what", VIEWS)
def test_text_files_hold_the_same_with_times_in_iso_8601(
    folder: Path, tmp_path: Path, what: str, suffix: str
) -> None:
    expected = stored(folder, what)
    grid = ("open_time", "origin", "target_time")
    for row in expected:
        for name, value in row.items():
            if hasattr(value, "isoformat"):
                spec = "seconds" if name in grid else "microseconds"
                row[name] = value.replace(tzinfo=None).isoformat(timespec=spec) + "Z"
            elif isinstance(value, list) and suffix != ".json":
                row[name] = str(value)
            elif name == "model_version" and suffix != ".json":
                row[name] = int(value)  # CSV has no types
    assert put_out(folder, what, tmp_path / f"x{suffix}") == expected


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
def test_the_file_source_reads_exported_candles_back_as_they_were(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"BTC-EUR{suffix}"
    put_out(folder, "candles", out, "--symbol", BTC.id)
    market = Market("file", "BTC", "EUR", "5m")
    settings = SourceSettings(name="file", path=str(out))
    source = Source(Setup(settings, [market], Secrets({}), clock=SystemClock()))
    (page,) = source.pages(market, START, START + 300 * ROWS)
    source.close()
    expected = some_candles(ROWS, 300)
    assert page.candles.fingerprint() == expected.fingerprint()


def test_a_range_bounds_the_open_time_and_the_origin(folder: Path, tmp_path: Path) -> None:
    first, end = iso(START + 300 * 52), iso(START + 300 * 55)
    bounds = ("--start", first, "--end", end)
    candles = put_out(folder, "candles", tmp_path / "c.parquet", *bounds, "--symbol", BTC.id)
    assert [moment(r["open_time"]) for r in candles] == [START + 300 * b for b in (52, 53, 54)]
    for what in ("forecasts", "scores"):
        rows = put_out(folder, what, tmp_path / "f.parquet", *bounds)
        assert {moment(r["origin"]) for r in rows} == {START + 300 * b for b in (52, 53, 54)}


def test_as_of_hides_what_was_not_known_yet(folder: Path, tmp_path: Path) -> None:
    origin = START + 300 * 55
    before, after = ("--as-of", iso(origin)), ("--as-of", iso(origin + 300))
    rows = put_out(folder, "candles", tmp_path / "c.json", *before)
    last = {m: max(r["open_time"] for r in rows if r["market"] == m) for m in (BTC.id, BTC_HOUR.id)}
    # 04:35 is in the middle of an hour: the hour's candle has not closed.
    assert last == {BTC.id: "2024-06-03T04:30:00Z", BTC_HOUR.id: "2024-06-03T03:00:00Z"}
    for as_of, newest in ((before, origin - 300), (after, origin)):
        rows = put_out(folder, "forecasts", tmp_path / "f.json", *as_of)
        assert max(r["origin"] for r in rows) == iso(newest)
    rows = put_out(folder, "scores", tmp_path / "s.json", *before)
    assert max(r["target_time"] for r in rows) == iso(origin)
    assert max(r["origin"] for r in rows) == iso(origin - 300)
    rows = put_out(folder, "scores", tmp_path / "s.json", *after)
    assert max(r["origin"] for r in rows) == iso(origin)


def test_scores_of_forecasts_that_were_issued_later_are_hidden(
    folder: Path, tmp_path: Path
) -> None:
    """A set that is back-filled has a past origin, and targets that are known."""
    origin = START + 300 * 100
    copy = tmp_path / "w"
    copy.mkdir()
    for name in ("cryptocast.toml", "cryptocast.duckdb"):
        (copy / name).write_bytes((folder / name).read_bytes())
    with duckdb.connect(str(copy / "cryptocast.duckdb")) as connection:
        connection.execute(
            "UPDATE forecast_sets SET issued_at = to_timestamp(?) WHERE model_version = '3'",
            [origin + 1],
        )
    for as_of, versions in ((origin, {"2"}), (origin + 1, {"2", "3"})):
        rows = put_out(copy, "scores", tmp_path / "s.json", "--as-of", iso(as_of))
        assert {r["model_version"] for r in rows} == versions


@pytest.mark.parametrize(
    ("symbols", "markets"),
    [
        ((), {BTC, ETH, BTC_HOUR}),
        (("BTC/EUR",), {BTC, BTC_HOUR}),
        ((BTC_HOUR.id,), {BTC_HOUR}),
        (("ETH/EUR", BTC.id, "ETH/EUR"), {BTC, ETH}),
    ],
)
def test_markets_are_chosen_by_symbol_or_id_among_all_that_are_stored(
    folder: Path, tmp_path: Path, symbols: tuple[str, ...], markets: set[Market]
) -> None:
    options = [word for symbol in symbols for word in ("--symbol", symbol)]
    rows = put_out(folder, "candles", tmp_path / "x.csv", *options)
    ids = ", ".join(f"'{m.id}'" for m in markets)
    assert len(rows) == len(stored(folder, "candles", f"market IN ({ids})"))
    assert {row["market"] for row in rows} == {m.id for m in markets}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_number_that_is_none_is_null_in_text(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "cryptocast.toml").touch()
    store = Store(tmp_path / "cryptocast.duckdb", 60)
    with store.write() as writer:
        writer.put_candles(BTC, some_candles(3, 300), provenance="live", fetched_at=1)
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("UPDATE candles SET volume = 'nan', close = '-inf'")
    rows = put_out(tmp_path, "candles", tmp_path / f"x{suffix}")
    if suffix == ".parquet":
        assert all(np.isnan(row["volume"]) and row["close"] == -np.inf for row in rows)
    else:
        assert all(row["volume"] is None and row["close"] is None for row in rows)


def test_the_answer_names_the_file_and_what_is_in_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("export", "candles", "--out", "all.csv.gz", "-w", folder, "--start", "2024-06-03")
    file = tmp_path / "all.csv.gz"
    assert good(*options) == {
        "what": "candles",
        "file": str(file),
        "format": "csv.gz",
        "rows": ROWS + 96,
        "bytes": file.stat().st_size,
        "markets": [BTC.id, ETH.id, BTC_HOUR.id],
        "start": "2024-06-03T00:00:00Z",
        "end": None,
        "first": "2024-06-03T00:00:00Z",
        "last": "2024-06-05T01:55:00Z",
    }
    done = run(*options)
    size = f"{file.stat().st_size / 1000:,.1f} kB"
    assert done.out == f"696 candles of 3 markets in all.csv.gz ({size})\n"
    assert done.err.startswith("✓ export candles  ")
    one = ("--symbol", BTC.id, "--end", iso(START + 300))
    done = run("export", "candles", "--out", "one.csv", "-w", folder, "-q", *one)
    assert (done.code, done.out, done.err) == (0, "", "")
    done = run("export", "candles", "--out", "one.csv", "-w", folder, *one)
    assert done.out == f"1 candle of 1 market in one.csv ({Path('one.csv').stat().st_size} B)\n"


ALLOWED = "end it in one of .parquet, .csv, .csv.gz, .json"
REFUSED = [
    ("candles --out x.txt", 2, "usage", "{0}/x.txt names no format by its ending", ALLOWED),
    ("candles --out csv", 2, "usage", "{0}/csv names no format by its ending", ALLOWED),
    ("candles --out no/x.csv", 2, "usage", "there is no folder {0}/no", "mkdir -p {0}/no"),
    ("candles --out d.csv", 2, "usage", "{0}/d.csv is a folder", "name the file to write"),
    ("candles", 2, "usage", "Missing option '--out'", "cryptocast export --help"),
    ("--out x.csv", 2, "usage", "Missing argument 'WHAT'", "cryptocast export --help"),
    ("trades --out x.csv", 2, "usage", "'trades' cannot be exported",
     "one of candles, forecasts, scores, evaluations, scorecard"),
    ("candles --out x.csv --start soon", 2, "usage", "'soon' is not a time",
     "write it as 2024-06-03T00:00:00Z"),
    ("scores --out x.csv --start 2024-06-04 --end 2024-06-04", 2, "usage",
     "no time lies between 2024-06-04T00:00:00Z and 2024-06-04T00:00:00Z",
     "--start must come before --end"),
    ("candles --out x.csv --symbol BTC/USD", 2, "config.symbol",
     "'BTC/USD' is not a market of this workspace",
     "there is bitvavo:BTC/EUR:5m, bitvavo:ETH/EUR:5m, kraken:BTC/EUR:1h, sim:DOGE/EUR:5m"),
    ("candles --out x.csv --start 2025-01-01 --end 2025-02-01", 3, "state.no_candles",
     "there are no candles of 4 markets from 2025-01-01T00:00:00Z before 2025-02-01T00:00:00Z",
     "there are some from 2024-06-03T00:00:00Z to 2024-06-05T01:55:00Z"),
    ("candles --out x.csv --symbol DOGE/EUR", 3, "state.no_candles",
     "there are no candles of sim:DOGE/EUR:5m", "cryptocast fetch"),
    ("forecasts --out x.csv --symbol ETH/EUR", 3, "state.no_forecast",
     "there are no forecasts of bitvavo:ETH/EUR:5m",
     "cryptocast forecast --once makes forecasts; they are scored when candles follow"),
    ("evaluations --out x.csv", 3, "state.no_evaluation",
     "there are no evaluations of 4 markets", "cryptocast evaluate"),
    ("scores --out x.csv --as-of 2024-06-03", 3, "state.no_forecast",
     "there are no scores of 4 markets",
     "cryptocast forecast --once makes forecasts; they are scored when candles follow"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "exit_code", "code", "message", "hint"), REFUSED, ids=[r[0] for r in REFUSED]
)
def test_what_cannot_be_exported_is_one_clear_line_and_leaves_no_file(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    exit_code: int,
    code: str,
    message: str,
    hint: str,
) -> None:
    (tmp_path / "d.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    done = run("export", *line.split(), "-w", folder, "--json")
    hint = as_typed(hint.format(tmp_path))
    told = {"code": code, "message": message.format(tmp_path), "hint": hint}
    assert (done.code, done.error) == (exit_code, told)
    assert listing(tmp_path) == {"d.csv"}


def test_a_path_is_a_name_and_no_pattern_or_sql(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "it's {uuid} 100% [a]*?\"; DROP.csv"
    assert len(put_out(folder, "candles", out)) == ROWS + 96
    assert listing(tmp_path) == {out.name}


def test_a_file_is_replaced_as_a_whole_also_behind_a_link(folder: Path, tmp_path: Path) -> None:
    file, link = tmp_path / "x.csv", tmp_path / "link.csv"
    file.write_text("old", encoding="utf-8")
    link.symlink_to(file)
    with file.open(encoding="utf-8") as reader:
        assert len(put_out(folder, "candles", link)) == ROWS + 96
        assert reader.read() == "old"  # who reads it sees no half of two files
    assert link.is_symlink()
    assert len(read(file)) == ROWS + 96
    assert listing(tmp_path) == {"x.csv", "link.csv"}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """A file that a failed export must leave as it was, and alone."""
    file = tmp_path / "x.csv"
    file.write_text("old", encoding="utf-8")
    yield file
    assert file.read_text(encoding="utf-8") == "old"
    assert listing(tmp_path) == {"x.csv"}


def test_a_full_disk_is_told_and_leaves_the_file_as_it_was(folder: Path, old: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    copy = exporter.copy

    def cramped(*arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        copy(*arguments)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporter, "copy", cramped)
            done = run("export", "candles", "--out", old, "-w", folder, "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done.code, done.error["code"]) == (4, "store.full")
    part = old.with_name(f".x.csv.{os.getpid()}.part")
    assert done.error["message"].startswith(f"{part} cannot grow: the disk is full: ")


def test_a_disk_without_room_for_the_copy_of_the_database_is_told(folder: Path, old: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = listing(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        done = run("export", "candles", "--out", old, "-w", folder, "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (done.code, done.error["code"]) == (4, "store.full")
    assert listing(folder) == before


def test_a_long_export_keeps_no_tick_waiting(folder: Path, tmp_path: Path) -> None:
    copy = exporter.copy

    def meanwhile(*arguments: Any) -> None:
        with Store(folder / "cryptocast.duckdb", 0).write() as writer:
            writer.put_event(START, "test", None, {})
        copy(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "copy", meanwhile)
        assert len(put_out(folder, "candles", tmp_path / "x.csv")) == ROWS + 96


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_evaluations_are_exported_as_they_were_found(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "cryptocast.toml").touch()
    row = {"market": BTC.id, "model": "lstm", "version": "2", "n": 24, "in_sample": False}
    rows = [row | {"step": step, "crps_bp": 1.5} for step in (1, 2, None)]
    with Store(tmp_path / "cryptocast.duckdb", 60).write() as writer:
        for at in (START, START + 0.5):
            writer.ledger.put_scores(rows, at=at, start=START - 300, end=START)
    found = put_out(tmp_path, "evaluations", tmp_path / f"x{suffix}", "--start", iso(START))
    assert [(r["evaluation"], r["step"]) for r in found] == [
        (number, step) for number in (1, 2) for step in (1, 2, None)
    ]
    assert {moment(r["end_time"]) for r in found} == {START}
    assert {r["crps_bp"] for r in found} == {1.5}
    if suffix != ".parquet":
        assert found[3]["at"] == "2024-06-03T00:00:00.500000Z"


def test_a_name_that_the_disk_refuses_is_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"{'x' * 245}.csv"  # no room for the hidden name beside it
    done = run("export", "candles", "--out", out, "-w", folder, "--json")
    assert (done.code, done.error["code"]) == (4, "store.failed")
    assert done.error["message"].startswith(f"{out} failed: ")
    assert listing(tmp_path) == set()


def test_ctrl_c_ends_an_export_at_once_and_leaves_the_file_as_it_was(
    folder: Path, old: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    big = tmp_path_factory.mktemp("big")
    (big / "cryptocast.toml").touch()
    with Store(big / "cryptocast.duckdb", 60).write() as writer:
        writer.put_candles(BTC, some_candles(200_000, 300), provenance="live", fetched_at=1)
    copy = exporter.copy

    def interrupted(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def late(*arguments: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        copy(*arguments)

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporter, "copy", late)
            done = run("export", "candles", "--out", f"{old}.gz", "-w", big, "--json")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (done.code, done.error["code"]) == (130, "interrupted")


HALF = """
import sys, time
from cryptocast import cli
from cryptocast.store import exporter

def half(reader, selection, file, suffix):
    file.write_text("half")
    print("here", flush=True)
    time.sleep(3600)

exporter.copy = half
sys.exit(cli.run(sys.argv[1:]))
"""


def test_what_a_killed_export_left_is_removed_by_the_next_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("old", encoding="utf-8")
    others = [tmp_path / name for name in (f".x.csv.{os.getppid()}.part", ".x.csv.mine.part")]
    others += [tmp_path / ".y.csv.99999999.part", tmp_path / f".x.csv.{10**20}.part"]
    for other in others:
        other.touch()
    child = start_loaded("export", "candles", "--out", out, "-w", folder, script=HALF)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "here\n"
        part = tmp_path / f".x.csv.{child.pid}.part"
        child.kill()
        child.communicate()
    finally:
        child.kill()
    assert part.read_text(encoding="utf-8") == "half"
    assert out.read_text(encoding="utf-8") == "old"
    assert len(put_out(folder, "candles", out)) == ROWS + 96
    assert listing(tmp_path) == {"x.csv", *(other.name for other in others)}


def test_exporting_loads_nothing_heavy(folder: Path, tmp_path: Path) -> None:
    script = """
import sys
from cryptocast import cli
code = cli.run(sys.argv[1:])
print([n for n in ("torch", "mlflow", "pandas", "polars", "pyarrow") if n in sys.modules])
sys.exit(code)
"""
    done = process(
        "export", "candles", "--out", tmp_path / "x.parquet", "-w", folder, "-q", script=script
    )
    assert (done.code, done.out, done.err) == (0, "[]\n", "")


def test_the_workflow_reports_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    clock = VirtualClock(START + 3600)
    with Workspace.open(folder, environ={}, clock=clock) as ws:
        report = export(ws, "candles", tmp_path / "x.json", symbols=(BTC.id,), start=START + 600)
    assert (report.what, report.format, report.rows) == ("candles", "json", 10)
    assert (report.start, report.end) == (START + 600, None)
    assert (report.first, report.last) == (START + 600, START + 3300)
    assert report.bytes == (tmp_path / "x.json").stat().st_size
