"""The database file, which is open only while something is read or written."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb

from cryptocast.drafts import disk_error, take_name
from cryptocast.errors import CryptocastError, StoreError
from cryptocast.store import schema
from cryptocast.store.connection import ALIAS, attach, busy, new_engine, translated, turn_for
from cryptocast.store.reader import Reader
from cryptocast.store.statements import parsed
from cryptocast.store.writer import Writer


class Store:
    """The database of a workspace: a file that is open only inside `read()` or `write()`.

    `wait_seconds` is how long to wait for another process (or thread) that holds the file,
    on the monotonic clock. Threads of one process take turns, readers too. Opening it again
    inside an open `read()` or `write()` of the same thread is a RuntimeError. Do not carry a
    Store across a fork.

    It keeps one empty in-memory DuckDB and attaches the file to it for each use: that costs
    0.3 ms, while opening the file as a database of its own would cost 9 ms each time.

    Both methods raise StoreError: `store.busy` (retry), `store.corrupt`, `store.unwritable`,
    `store.full`, `store.newer`, `store.failed`.
    """

    def __init__(self, path: Path, wait_seconds: float) -> None:
        """Name the file; nothing is opened yet."""
        self.path = Path(os.path.realpath(path))  # unlike resolve, it lets loops of links pass
        self.wait_seconds = wait_seconds
        self._turn = turn_for(self.path)
        self._engine: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Open read-only; the database is made or migrated first if necessary."""
        with self._ready() as deadline:
            with self._attached(self.path, deadline, read_only=True) as connection:
                if self._is_current(connection):
                    yield Reader(connection)
                    return
            with self._attached(self.path, deadline) as connection:
                self._migrate(connection)
            with self._attached(self.path, deadline, read_only=True) as connection:
                yield Reader(connection)

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """Open for one transaction: committed at the end, rolled back on any exception."""
        with self._ready() as deadline, self._attached(self.path, deadline) as connection:
            if not self._is_current(connection):
                self._migrate(connection)
            connection.begin()
            try:
                yield Writer(connection)
            except BaseException:
                # A connection that has failed has no transaction left to roll back.
                with suppress(duckdb.Error):
                    connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def hold(self, *, read_only: bool) -> Iterator[tuple[duckdb.DuckDBPyConnection, ExitStack]]:
        """Hold the file for work on it as a whole; if read-only, others may read it too.

        Anything else that opens the file must be entered in the stack, which is closed after
        the file was detached and before anybody else's turn: closing any descriptor of a file
        ends all locks that the process has on it (POSIX).
        """
        with (
            self._ready() as deadline,
            ExitStack() as after,
            self._attached(self.path, deadline, read_only=read_only) as connection,
        ):
            yield connection, after

    def rest(self) -> None:
        """Give back the in-memory DuckDB, which keeps tens of MiB; the next use makes another.

        If another thread is using the file, nothing is given back.
        """
        with suppress(StoreError), self._turn.taken(self.path, time.monotonic()):
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    @contextmanager
    def _ready(self) -> Iterator[float]:
        """Wait for our turn, make the file if necessary, and yield the deadline for its lock."""
        deadline = time.monotonic() + self.wait_seconds
        with self._turn.taken(self.path, deadline), translated(self.path):
            if not _exists(self.path):
                self._make(deadline)
            yield deadline

    def _make(self, deadline: float) -> None:
        """Make the database under another name first, so that nobody sees it unfinished.

        Of two processes that do this at once, the first one's file stays.
        """
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            draft.unlink(missing_ok=True)
            with self._attached(draft, deadline) as connection:
                self._migrate(connection)
            take_name(draft, self.path)
            draft.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, self.path) from error

    def _is_current(self, connection: duckdb.DuckDBPyConnection) -> bool:
        """Return whether the schema is this code's. Raises StoreError if it is newer."""
        version = schema.version(connection)
        if version > schema.CURRENT:
            raise StoreError(
                f"{self.path} has schema {version}, newer than this cryptocast's {schema.CURRENT}",
                code="store.newer",
                hint="upgrade cryptocast",
            )
        return version == schema.CURRENT

    def _migrate(self, connection: duckdb.DuckDBPyConnection) -> None:
        if schema.is_foreign(connection):
            raise StoreError(
                f"{self.path} is a DuckDB database, but not one of cryptocast",
                code="store.corrupt",
                hint="move it away, or name another workspace",
            )
        schema.migrate(connection)

    @contextmanager
    def _attached(
        self, path: Path, deadline: float, *, read_only: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """Yield a connection to the file, which is locked until the end of the block."""
        if self._engine is None:
            self._engine = new_engine(self.path)
        attach(self._engine, path, deadline, read_only=read_only)
        try:
            with self._engine.cursor() as connection:
                connection.execute(parsed(connection, f"USE {ALIAS}"))
                yield connection
        except CryptocastError:
            raise
        except Exception as error:
            if (alteration := _alteration(self._engine)) is not None:
                raise StoreError(
                    f"{path} was altered: {alteration}",
                    code="store.altered",
                    hint="undo that, or restore a backup",
                ) from error
            raise
        finally:
            try:
                self._engine.execute(parsed(self._engine, f"DETACH {ALIAS}"))
            except duckdb.Error:
                # After a fatal error this DuckDB is unusable: drop it, and the lock with it.
                self._engine.close()
                self._engine = None


class GuestStore(Store):
    """The database of a workspace for many readers at once, who must keep nobody from writing.

    It makes and migrates nothing. Its readers take turns, and the file rests after each of them
    for as long as it was open: whoever writes finds it free at least half of the time. If it was
    busy for `wait_seconds`, everybody is told so at once for the next `PAUSE_SECONDS`.
    """

    PAUSE_SECONDS = 1.0

    def __init__(self, path: Path, wait_seconds: float) -> None:
        """Name the file; nothing is opened yet."""
        super().__init__(path, wait_seconds)
        self._door = threading.Lock()
        self._rests_until = self._refuses_until = 0.0  # on the monotonic clock
        self._refusal = busy(self.path, "other readers")

    @contextmanager
    def read(self) -> Iterator[Reader]:
        """Open read-only; raises also `store.missing` and `store.older`, both with `retry`."""
        with self._admitted() as deadline, translated(self.path):
            if not _exists(self.path):
                raise _unready(self.path, "store.missing", "is not there", "cryptocast init")
            with self._attached(self.path, deadline, read_only=True) as connection:
                began = time.monotonic()
                try:
                    if not self._is_current(connection):
                        what, hint = "has an older schema", "the next tick migrates it"
                        raise _unready(self.path, "store.older", what, hint)
                    yield Reader(connection)
                finally:
                    ended = time.monotonic()
                    self._rests_until = 2 * ended - began

    @contextmanager
    def _admitted(self) -> Iterator[float]:
        """Wait for our turn among the guests, then among all; yield the deadline for the lock."""
        deadline = time.monotonic() + self.wait_seconds
        if not self._door.acquire(timeout=self.wait_seconds):
            raise self._refusal
        try:
            if time.monotonic() < self._refuses_until:
                raise self._refusal
            time.sleep(max(0.0, self._rests_until - time.monotonic()))
            with self._turn.taken(self.path, deadline):
                yield deadline
        except StoreError as error:
            if error.code == "store.busy" and error is not self._refusal:
                self._refusal = error
                self._refuses_until = time.monotonic() + self.PAUSE_SECONDS
            raise
        finally:
            self._door.release()


def _unready(path: Path, code: str, what: str, hint: str) -> StoreError:
    return StoreError(f"{path} {what}", code=code, hint=hint, retry=True)


def _alteration(engine: duckdb.DuckDBPyConnection) -> str | None:
    """Return how the attached file differs from our schema, or None, also if it cannot be read."""
    with suppress(duckdb.Error), engine.cursor() as connection:
        connection.execute(f"USE {ALIAS}")
        if schema.version(connection) == schema.CURRENT:
            return schema.alteration(connection)
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise disk_error(error, path) from error
