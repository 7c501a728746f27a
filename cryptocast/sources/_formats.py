"""The format of a file, by its first bytes rather than its name, and how DuckDB reads its rows.

Recorders of candles write many formats: Parquet, Feather (Arrow IPC), CSV and JSON, the last two
also compressed with gzip, and a CSV in a ZIP.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from cryptocast.errors import SourceError
from cryptocast.sources import _sql
from cryptocast.sources._sql import Rows

SUFFIXES = tuple(
    ".parquet .pq .feather .arrow .ipc .csv .csv.gz .json .json.gz .zip".split()  # noqa: SIM905 - shorter
)
"""Endings of the names of candle files: a folder is searched for these."""

ARROW = "arrow_rows"
"""The name under which `Rows.arrow` is registered."""

MAX_UNPACKED_BYTES = 2**30

_MAGIC = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",  # the first version of Feather: pyarrow reports that it cannot read it
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
    b"\x1f\x8b": "gzip",
}
_HEAD_BYTES = 2**16
_CHUNK_BYTES = 2**20
# Errors that reading a damaged or encrypted gzip or ZIP raises.
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of a file, under its compression (`none` or `gzip`)."""

    kind: str
    head: bytes
    compression: str


def bad_file(message: str, *, hint: str) -> SourceError:
    """Return the error of a file that cannot be used."""
    return SourceError(message, code="source.bad_file", hint=hint)


def broken(file: Path, why: object) -> SourceError:
    """Return the error of a damaged file, in one line."""
    reason = " ".join(str(why).split())[:200] or type(why).__name__
    return bad_file(
        f"{file} cannot be read: {reason}", hint="check that it is whole, or write it again"
    )


def empty_file(file: Path) -> SourceError:
    """Return the error of a file that holds nothing."""
    return SourceError(f"{file} is empty", code="source.empty_file", hint="check [source] path")


@contextmanager
def opened(file: Path) -> Iterator[Rows]:
    """Yield the rows of a file; anything unpacked for them is removed at the end of the context.

    Raise SourceError: source.bad_file, source.empty_file.
    """
    content = _sniff(file)
    if content.kind == "zip" and content.compression == "none":
        with tempfile.TemporaryDirectory(prefix="cryptocast-") as folder:
            unpacked = Path(folder) / "candles.csv"  # its name in the ZIP may lead outside
            _unpack(file, unpacked)
            yield _rows(file, unpacked, _sniff(unpacked))
    else:
        yield _rows(file, file, content)


def check(file: Path) -> None:
    """Look for damage that DuckDB does not notice: gzip with wrong bytes, JSON that ends early.

    Raise SourceError (`source.bad_file`).
    """
    content = _sniff(file)
    if content.kind != "json" and (content.kind, content.compression) != ("csv", "gzip"):
        return
    end = b""
    try:
        with _stream(file, content.compression) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                end = chunk.rstrip()[-1:] or end
    except _BROKEN as error:
        raise broken(file, error) from None
    if content.kind == "json" and end not in (b"]", b"}"):
        raise broken(file, "its JSON ends early")


def _rows(file: Path, path: Path, content: _Content) -> Rows:
    """Return the rows of a file whose content lies at `path`."""
    if content.kind == "csv":
        rows = _sql.csv_rows(path, content.head, content.compression)
        if rows is None:
            raise empty_file(file)
        return rows
    if content.kind == "json":
        return _sql.json_rows(path, content.head, content.compression)
    if path == file and content.compression == "none":
        if content.kind == "parquet":
            # A folder may look like a column (`date=2024-01-01`): only those of the file count.
            return Rows(f"read_parquet({_sql.path_literal(path)}, hive_partitioning=false)")
        if content.kind == "arrow":
            return Rows(ARROW, arrow=_arrow(file))
    raise bad_file(
        f"{file} holds neither Parquet, Feather, CSV nor JSON",
        hint="take another file, or write it as Parquet or CSV",
    )


def _sniff(file: Path) -> _Content:
    try:
        with _stream(file, "none") as stream:
            head = stream.read(_HEAD_BYTES)
        if _kind(head) != "gzip":
            return _Content(_kind(head), head, "none")
        with _stream(file, "gzip") as stream:
            head = stream.read(_HEAD_BYTES)
    except _BROKEN as error:
        raise broken(file, error) from None
    return _Content(_kind(head), head, "gzip")


def _kind(head: bytes) -> str:
    binary = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if binary is not None:
        return binary
    if b"\0" in head:
        return "unknown"
    return "json" if head.removeprefix(_sql.BOM).lstrip()[:1] in (b"[", b"{") else "csv"


def _stream(file: Path, compression: str) -> IO[bytes]:
    # The type of gzip.open is GzipFile, which is an IO[bytes] in all but its type.
    return cast(IO[bytes], gzip.open(file)) if compression == "gzip" else file.open("rb")


def _unpack(file: Path, unpacked: Path) -> None:
    """Write the only CSV of a ZIP to `unpacked`, piece by piece."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [
                name
                for name in archive.namelist()
                if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")
            ]
            if len(names) != 1:
                raise bad_file(
                    f"{file} holds {len(names) or 'no'} CSV file{'s' if len(names) > 1 else ''}, "
                    "not one",
                    hint="unpack it into a folder, and set [source] path to that",
                )
            member = archive.getinfo(names[0])
            # zipfile reads no more than this size, whatever follows in the file.
            if member.file_size > MAX_UNPACKED_BYTES:
                raise bad_file(
                    f"{file} unpacks to {member.file_size:,} bytes, more than "
                    f"{MAX_UNPACKED_BYTES:,}",
                    hint="unpack it yourself, and set [source] path to the CSV",
                )
            with archive.open(member) as packed, unpacked.open("wb") as out:
                shutil.copyfileobj(packed, out, _CHUNK_BYTES)
    except _BROKEN as error:
        raise broken(file, error) from None


def _arrow(file: Path) -> object:
    """Return the table in a Feather file."""
    # pyarrow is slow to import, and DuckDB reads all other formats.
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import ipc

    try:
        with pa.OSFile(str(file)) as stream:
            return ipc.open_file(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from None
