"""The standard streams of the process, made fit for whatever a caller has done to them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress


def hold_streams() -> None:
    """Let closed streams lead nowhere, and the others print every character.

    A file that is opened later must not get the number of a closed stream: what a library prints
    would land in the database. Talk on stderr is written line by line, also where Python is told
    not to buffer; if stderr is full or gone, it is lost, and stops nothing.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8")  # noqa: SIM115 - for the whole process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - as above
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115 - as above
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        encoding, unbothered = sys.stderr.encoding, _Unbothered(2, "wb", closefd=False)
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(unbothered), encoding, "backslashreplace", line_buffering=True
        )


class _Unbothered(io.FileIO):
    """A stream that swallows what it cannot write."""

    def write(self, data: object) -> int:
        """Write, or do as if."""
        with suppress(OSError):
            return super().write(data)  # type: ignore[arg-type]  # bytes of any kind
        return len(data)  # type: ignore[arg-type]  # as above
