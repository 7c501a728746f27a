"""One process at a time per workspace, for commands that two processes would do twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cryptocast.drafts import disk_error
from cryptocast.errors import StoreError


def lock_file(folder: Path, command: str) -> Path:
    """Return the file in a workspace's folder that the lock of a command is on."""
    return folder / "logs" / f"{command}.lock"


@contextmanager
def alone(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock of a command in a workspace's folder.

    The operating system releases it when the process ends, however that happens. Raises
    StoreError (`<command>.running`) if another process holds it.
    """
    file = lock_file(folder, command)
    lock = FileLock(file)
    try:
        file.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"another {command} of {folder} is under way",
            code=f"{command}.running",
            hint="try again when it is done",
            retry=True,
        ) from None
    except OSError as error:
        raise disk_error(error, file) from error
    try:
        yield
    finally:
        lock.release()
