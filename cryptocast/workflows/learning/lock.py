"""One process at a time, for what two would do twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cryptocast.errors import StoreError
from cryptocast.store.connection import translate
from cryptocast.workspace import Workspace


def lock_file(ws: Workspace, what: str) -> Path:
    """The file that the lock of a command is on."""
    return ws.folder / "logs" / f"{what}.lock"


@contextmanager
def alone(ws: Workspace, what: str) -> Iterator[None]:
    """Hold the lock of a command; it goes with the process, however that ends.

    Raises StoreError (`retrain.running`) where another process holds it.
    """
    file = lock_file(ws, what)
    lock = FileLock(file)
    try:
        file.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"another {what} of {ws.folder} is under way",
            code=f"{what}.running",
            hint="try again when it is done",
            retry=True,
        ) from None
    except OSError as error:
        raise translate(error, file) or error from error
    try:
        yield
    finally:
        lock.release()
