"""Take turns, wait for a busy database, attach it, and translate what DuckDB raises."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from cryptocast.drafts import REFUSALS
from cryptocast.errors import StoreError, UsageError
from cryptocast.store.statements import parsed

ALIAS = "store"
"""The name that the file is attached under."""

_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.25
_LOCKED = re.compile(r"Could not set lock on file")
_HOLDER = re.compile(r"held in (?:(?P<command>.+?) )?\(?PID (?P<pid>\d+)")

# What DuckDB says (its exception classes don't distinguish these) -> our code, words and hint.
_TRANSLATIONS = (
    REFUSALS[0],
    (
        r"newer version of DuckDB|older version of DuckDB|with version number",
        "store.newer",
        "was written by another version of DuckDB",
        "upgrade cryptocast",
    ),
    (
        r"not a valid DuckDB database|[Cc]orrupt|Could not read enough bytes|checksum|"
        r"replaying WAL|WAL (was created|does not match)|WAL checkpoint iteration|"
        r"[Dd]eserializ|Catalog Error",
        "store.corrupt",
        "is damaged, or is no database of cryptocast",
        "restore a copy, or move the file and its .wal away and run cryptocast init",
    ),
    REFUSALS[1],
)


# Whatever they say, these are no bugs of ours.
_OUTSIDE = (OSError, duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException)


def translate(error: Exception, path: Path) -> StoreError | None:
    """Return the StoreError for what DuckDB or the file system raised, or None for our own bugs."""
    detail = str(error).partition("\n")[0]
    for pattern, code, words, hint in _TRANSLATIONS:
        if re.search(pattern, str(error)):
            return StoreError(f"{path} {words}: {detail}", code=code, hint=hint)
    if isinstance(error, _OUTSIDE):
        return StoreError(f"{path} failed: {detail}", hint="check the disk and the folder")
    return None


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what DuckDB raises in the block as StoreError, but let our own bugs through."""
    try:
        yield
    except duckdb.Error as error:
        translation = translate(error, path)
        if translation is None:
            raise
        raise translation from error
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error  # this is how DuckDB reports Ctrl-C


class Turn:
    """The turn of one thread of this process at a file.

    DuckDB refuses a second use of an attached file inside a process, so threads queue here.
    """

    def __init__(self) -> None:
        """Start with nobody's turn."""
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self, path: Path, deadline: float) -> Iterator[None]:
        """Take the turn for the block. Raises StoreError if it does not come in time."""
        if self._owner == threading.get_ident():
            raise RuntimeError(f"{path} is already open in this thread; close it first")
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise busy(path, f"another thread of this process (PID {os.getpid()})")
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()


_turns: dict[Path, Turn] = {}
_turns_guard = threading.Lock()


def turn_for(path: Path) -> Turn:
    """Return the one Turn of this process for a file."""
    with _turns_guard:
        return _turns.setdefault(path, Turn())


def new_engine(path: Path) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB to attach the file to."""
    engine = duckdb.connect(
        ":memory:",
        config={
            "threads": 2,
            # Give memory back after a query: of 300 markets' candles 45 MB would be kept for good.
            "allocator_flush_threshold": "1MB",
            "allocator_bulk_deallocation_flush_threshold": "1MB",
            # Spill next to the database, not into whatever folder we are started in.
            "temp_directory": f"{path}.tmp",
            # Download nothing, and never take a mistyped table for a Python variable.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    engine.execute("SET GLOBAL TimeZone = 'UTC'")
    return engine


def attach(
    engine: duckdb.DuckDBPyConnection, path: Path, deadline: float, *, read_only: bool
) -> None:
    """Attach the file; while another process holds it, try again until the deadline."""
    options = "TYPE duckdb, READ_ONLY" if read_only else "TYPE duckdb"
    pause = _FIRST_PAUSE_SECONDS
    while True:
        before = _identity(path)
        try:
            engine.execute(parsed(engine, f"ATTACH ? AS {ALIAS} ({options})"), [str(path)])
            if before in (None, _identity(path)):
                return
            # Compaction has put another file in its place: nobody uses the attached one any more.
            engine.execute(parsed(engine, f"DETACH {ALIAS}"))
            continue
        except duckdb.IOException as error:
            if not _LOCKED.search(str(error)):
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                raise busy(path, _holder(str(error))) from error
        time.sleep(min(pause, left))
        pause = min(pause * 1.6, _LONGEST_PAUSE_SECONDS)


@contextmanager
def one_select(
    copy: Path, sql: str, seconds: float, out: Path | None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Yield a connection that reads a copy, may write `out`, and nothing else; and rows to select.

    The rows are those of the only statement in `sql`. Memory, disk and time have bounds. Raises
    UsageError (`usage.sql`) for anything but one SELECT, for its errors, and after `seconds`.
    """
    with translated(copy), new_engine(copy) as engine:
        attach(engine, copy, time.monotonic(), read_only=True)
        engine.execute(f"USE {ALIAS}")
        engine.execute("SET memory_limit = '512MB'; SET max_temp_directory_size = '2GB'")
        if out is not None:
            engine.execute(f"SET allowed_paths = ['{quoted(out)}']")
        engine.execute("SET enable_external_access = false; SET lock_configuration = true")
        timer = threading.Timer(seconds, engine.interrupt)
        timer.start()
        try:
            statements = engine.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise _no_query("a query is one SELECT: nothing else is run")
            yield engine, f"(\n{statements[0].query.rstrip().rstrip(';')}\n) AS t"
        except duckdb.InterruptException as error:
            raise _no_query(f"the query took longer than {seconds:g} s") from error
        except duckdb.PermissionException as error:
            raise _no_query("a query reads this database and nothing else") from error
        except duckdb.Error as error:
            if out is not None and out.name in str(error):
                raise translate(error, out) or error from error
            detail = re.split(r"\n\n|\nLINE ", str(error))[0]
            raise _no_query(" ".join(detail.split())) from error
        finally:
            timer.cancel()


def _no_query(message: str) -> UsageError:
    return UsageError(
        message, code="usage.sql", hint='cryptocast query "SHOW TABLES" lists tables and views'
    )


def quoted(file: Path) -> str:
    """Return the name of a file as a text in SQL, where no parameter can stand."""
    return str(file).replace("'", "''")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file has the name, or None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _holder(text: str) -> str:
    holder = _HOLDER.search(text)
    if holder is None:
        return "another process"
    return f"{holder['command'] or 'another process'} (PID {holder['pid']})"


def busy(path: Path, holder: str) -> StoreError:
    """Return the error of a database that somebody else uses."""
    return StoreError(
        f"{path} is in use by {holder}",
        code="store.busy",
        hint="close it there, or wait: the next tick makes up for what was missed. "
        "cryptocast query and [store] mirror read without blocking anybody",
        retry=True,
    )
