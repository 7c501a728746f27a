from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cryptocast.errors import StoreError
from cryptocast.store import Store, Tick, schema
from cryptocast.store.connection import translate
from cryptocast.values import Candles, Market
from support.commands import process

Query = Callable[[str], list[tuple[Any, ...]]]
HINT = "restore a copy, or move the file and its .wal away and run cryptocast init"


def failure(store: Store, *, write: bool = False) -> StoreError:
    with pytest.raises(StoreError) as caught, store.write() if write else store.read():
        pass
    return caught.value


def test_a_file_of_random_bytes_is_corrupt(store: Store) -> None:
    store.path.write_bytes(random.Random(3).randbytes(50_000))
    for write in (False, True):
        error = failure(store, write=write)
        assert (error.code, error.hint, error.exit_code, error.retry) == (
            "store.corrupt", HINT, 4, False
        )  # fmt: skip
        assert f"{store.path} is damaged, or is no database of cryptocast: " in error.message
        assert "\n" not in error.message


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0" + bytes(4096)])
def test_a_file_of_another_kind_is_corrupt_and_stays_as_it_is(store: Store, content: bytes) -> None:
    store.path.write_bytes(content)
    assert failure(store, write=True).code == "store.corrupt"
    assert store.path.read_bytes() == content


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.6])
def test_a_truncated_database_is_corrupt(
    store: Store, market: Market, make_candles: Callable[..., Candles], share: float
) -> None:
    with store.write() as writer:
        writer.put_candles(market, make_candles(range(5_000)), provenance="live", fetched_at=1)
    content = store.path.read_bytes()
    store.path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(StoreError) as caught, store.read() as reader:
        reader.candles([market], 0, 2**33)[market]
    assert caught.value.code == "store.corrupt"


def test_a_flipped_byte_is_found_and_never_read_as_a_candle(
    store: Store, market: Market, make_candles: Callable[..., Candles]
) -> None:
    given = make_candles(range(5_000))
    with store.write() as writer:
        writer.put_candles(market, given, provenance="live", fetched_at=1)
    content = bytearray(store.path.read_bytes())
    at = content.index(given.close[100].tobytes()[:6])
    content[at] ^= 0xFF
    store.path.write_bytes(content)
    with pytest.raises(StoreError) as caught, store.read() as reader:
        reader.candles([market], 0, 2**33)[market]
    assert caught.value.code == "store.corrupt"


def test_somebody_elses_database_is_left_alone(store: Store, query: Query) -> None:
    query("CREATE TABLE theirs (a INT)")
    for write in (False, True):
        error = failure(store, write=write)
        assert error.code == "store.corrupt"
        assert error.message == f"{store.path} is a DuckDB database, but not one of cryptocast"
    assert query("SELECT table_name FROM duckdb_tables()") == [("theirs",)]


def test_a_newer_schema_asks_for_an_upgrade(store: Store, query: Query) -> None:
    with store.write():
        pass
    query("INSERT INTO schema_version VALUES (99, now())")
    for write in (False, True):
        error = failure(store, write=write)
        assert (error.code, error.hint) == ("store.newer", "upgrade cryptocast")
        assert error.message == (
            f"{store.path} has schema 99, newer than this cryptocast's {schema.CURRENT}"
        )


@pytest.mark.parametrize("use", ["read", "write"])
def test_an_older_schema_is_migrated_when_it_is_opened(
    store: Store, query: Query, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    with store.write() as writer:
        writer.put_event(1.0, "kept", None, {})
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE extra (a INT)"))
    monkeypatch.setattr(schema, "CURRENT", schema.CURRENT + 1)
    with getattr(store, use)() as opened:
        assert len(opened.events("kept")) == 1
    assert query("SELECT count(*) FROM extra") == [(0,)]
    assert query("SELECT max(version) FROM schema_version") == [(schema.CURRENT,)]


def test_a_migration_that_fails_half_way_changes_nothing(
    store: Store, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write():
        pass
    broken = "CREATE TABLE extra (a INT); INSERT INTO extra VALUES ('no number')"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    monkeypatch.setattr(schema, "CURRENT", schema.CURRENT + 1)
    with pytest.raises(duckdb.ConversionException), store.write():
        pass
    assert query("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'extra'") == [(0,)]
    assert query("SELECT max(version) FROM schema_version") == [(schema.CURRENT - 1,)]


def test_a_missing_folder_is_unwritable(tmp_path: Path) -> None:
    error = failure(Store(tmp_path / "no" / "cryptocast.duckdb", 1))
    assert error.code == "store.unwritable"
    assert error.hint == "check that the folder exists and that you may write in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_unwritable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert failure(Store(tmp_path / "cryptocast.duckdb", 1)).code == "store.unwritable"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (duckdb.IOException('IO Error: Cannot open file "x": Permission denied'), "unwritable"),
        (duckdb.IOException('IO Error: Cannot open file "x": Read-only file system'), "unwritable"),
        (PermissionError(13, "Permission denied"), "unwritable"),
        (duckdb.IOException('Could not write file "x": No space left on device'), "full"),
        (OSError(28, "No space left on device"), "full"),
        (
            duckdb.IOException(
                "Trying to read a database file with version number 99, but we can only read\n"
                "The database file was created with an newer version of DuckDB."
            ),
            "newer",
        ),
        (duckdb.IOException("IO Error: the disk is on fire"), "failed"),
    ],
)
def test_what_duckdb_and_the_system_say_becomes_an_error_of_ours(
    error: Exception, code: str
) -> None:
    found = translate(error, Path("x.duckdb"))
    assert found is not None
    assert found.code == f"store.{code}"
    assert found.hint


def test_a_bug_of_ours_is_not_dressed_up_as_a_failing_store() -> None:
    assert translate(duckdb.ParserException("Parser Error: syntax error"), Path("x")) is None


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from cryptocast.errors import StoreError
from cryptocast.store import Store
from cryptocast.values import Candles, Market
store = Store(Path(sys.argv[1]), 60)
with store.write() as writer:
    writer.put_event(1.0, "kept", None, {})
limit = store.path.stat().st_size + 100_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
n = 200_000
price = 100 + np.random.default_rng(0).random(n)
candles = Candles.of(300 * np.arange(n), price, price, price, price, price)
market = Market("bitvavo", "BTC", "EUR", "5m")
try:
    with store.write() as writer:
        writer.put_candles(market, candles, provenance="backfill", fetched_at=1)
except StoreError as error:
    print(error.code)
with store.read() as reader:
    print(reader.spans([market]).get(market), len(reader.events("kept")))
"""


def test_a_full_disk_is_said_to_be_full_and_takes_nothing_away(
    store: Store, child: Callable[..., subprocess.Popen[str]]
) -> None:
    output, errors = child(FILL, str(store.path)).communicate()
    assert (output.splitlines(), errors) == (["store.full", "None 1"], "")


USE = """
import sys
from pathlib import Path
from cryptocast import candles
from cryptocast.store import Store, Tick, gaps, last_ticks
from cryptocast.values import Candles, Market
market = Market("bitvavo", "BTC", "EUR", "5m")
raw = Candles.of([0, 300], [1, 1], [1, 1], [1, 1], [1, 1])
with Store(Path(sys.argv[1]), 60).write() as writer:
    clean = candles.normalise(raw, market, now=1e9).candles
    writer.put_candles(market, clean, provenance="live", fetched_at=1.0)
    writer.ledger.put_ticks([Tick(market.id, 300, 300.0, 301.0, "ok")])
with Store(Path(sys.argv[1]), 60).read() as reader:
    reader.candles([market], 0, 900), gaps(reader, {market: (0, 900)})
    reader.ledger.newest([market], 4e9)
    last_ticks(reader, [market], 4e9), reader.productions(), reader.spans([market])
heavy = {"pandas", "pytz", "pyarrow", "polars", "scipy", "torch"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_the_store_works_without_pandas_pytz_pyarrow_and_polars(store: Store) -> None:
    done = process(store.path, script=USE)
    assert (done.out, done.err) == ("[]\n", "")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("DROP VIEW forecast_scores; DROP TABLE ticks", "the table ticks is missing"),
        (
            "ALTER TABLE ticks DROP COLUMN detail",
            "the column detail of ticks is missing",
        ),
        (
            "ALTER TABLE ticks ALTER COLUMN detail TYPE INTEGER",
            "the column detail of ticks is INTEGER, not VARCHAR",
        ),
        (
            "ALTER TABLE ticks ADD COLUMN mine INTEGER",
            "the column mine of ticks is new",
        ),
    ],
)
def test_a_table_that_a_person_altered_is_named(tmp_path: Path, change: str, told: str) -> None:
    file = tmp_path / "x.duckdb"
    store = Store(file, 5)
    with store.write():
        pass
    store.rest()
    with duckdb.connect(str(file)) as connection:
        connection.execute(change)
    with pytest.raises(StoreError) as caught, store.write() as writer:
        writer.ledger.put_ticks([Tick("file:BTC/EUR:5m", 300, 301.0, 302.0, "ok", detail="x")])
    assert caught.value.code == "store.altered"
    assert caught.value.message == f"{file} was altered: {told}"
