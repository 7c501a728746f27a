"""What a file is by its first bytes, whatever its name says, and how DuckDB reads its rows.

Every recorder of candles has its own format: Parquet, Feather (Arrow IPC), CSV and JSON, each
of the last two also as gzip, and a CSV in a ZIP.
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
from cryptocast.sources import _text
from cryptocast.sources._text import Rows

SUFFIXES = tuple(
    ".parquet .pq .feather .arrow .ipc .csv .csv.gz .json .json.gz .zip".split()  # noqa: SIM905 - shorter
)
"""What names of files of candles end in: a folder is searched for these."""

ARROW = "arrow_rows"
"""What `Rows.arrow` is to be registered as."""

MAX_UNPACKED_BYTES = 2**30

_MAGIC = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",  # Feather's first version: pyarrow says that it does not read it
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # one without a member
    b"\x1f\x8b": "gzip",
}
_HEAD_BYTES = 2**16
_CHUNK_BYTES = 2**20
# What reading a damaged or encrypted gzip or ZIP raises.
_BROKEN = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file holds, under its compression (`none` or `gzip`)."""

    kind: str
    head: bytes
    compression: str

    @property
    def is_text(self) -> bool:
        return self.kind in ("csv", "json")


def bad_file(message: str, *, hint: str) -> SourceError:
    """The error of a file that cannot be used."""
    return SourceError(message, code="source.bad_file", hint=hint)


def broken(file: Path, why: object) -> SourceError:
    """The error of a file that is damaged, in one line."""
    said = " ".join(str(why).split())[:200] or type(why).__name__
    return bad_file(
        f"{file} cannot be read: {said}", hint="check that it is whole, or write it again"
    )


def empty_file(file: Path) -> SourceError:
    """The error of a file that holds nothing."""
    return SourceError(f"{file} is empty", code="source.empty_file", hint="check [source] path")


@contextmanager
def opened(file: Path) -> Iterator[Rows]:
    """A file's rows while the context lasts; what was unpacked for them is removed after it.

    Raises SourceError: source.bad_file, source.empty_file.
    """
    content = _sniff(file)
    if content.kind == "zip" and content.compression == "none":
        with tempfile.TemporaryDirectory(prefix="cryptocast-") as folder:
            unpacked = Path(folder) / "candles.csv"  # not its name in the ZIP: that may lead out
            _unpack(file, unpacked)
            yield _rows(file, unpacked, _sniff(unpacked))
    else:
        yield _rows(file, file, content)


def check(file: Path) -> None:
    """Look for damage that DuckDB reads past: gzip with wrong bytes, JSON that ends early.

    Raises SourceError (`source.bad_file`).
    """
    content = _sniff(file)
    if not content.is_text or (content.kind == "csv" and content.compression == "none"):
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
    """The rows of a file whose content lies at `path`."""
    if content.kind == "csv":
        rows = _text.csv_rows(path, content.head, content.compression)
        if rows is None:
            raise empty_file(file)
        return rows
    if content.kind == "json":
        return _text.json_rows(path, content.head, content.compression)
    if path == file and content.compression == "none":
        if content.kind == "parquet":
            # A folder may be called like a column (`date=2024-01-01`): the file's own counts.
            return Rows(f"read_parquet({_text.path_literal(path)}, hive_partitioning=false)")
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
    known = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if known is not None:
        return known
    if b"\0" in head:
        return "unknown"
    return "json" if _text.is_json(head) else "csv"


def _stream(file: Path, compression: str) -> IO[bytes]:
    # gzip.open is typed as a GzipFile, which is one in all but its type.
    return cast(IO[bytes], gzip.open(file)) if compression == "gzip" else file.open("rb")


def _unpack(file: Path, unpacked: Path) -> None:
    """Write the one CSV of a ZIP to a place of ours, piece by piece."""
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
            # No more than this is read, whatever follows: zipfile stops there by itself.
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
    """The table in a Feather file."""
    # Slow to import, and DuckDB reads everything else; it is untyped.
    import pyarrow as pa  # type: ignore[import-untyped]
    from pyarrow import ipc

    try:
        with pa.OSFile(str(file)) as stream:
            return ipc.open_file(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from None
