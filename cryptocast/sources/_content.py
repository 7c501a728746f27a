"""The content of a file, by its first bytes rather than its name; and errors of files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from cryptocast.errors import SourceError

BOM = b"\xef\xbb\xbf"
_MAGIC = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "arrow",  # the first version of Feather
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without a member
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
_HEAD_BYTES = 2**16
# Errors that reading a damaged or encrypted gzip or ZIP raises.
BROKEN = (
    *(OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError),
    *(lzma.LZMAError, ValueError),
)


@dataclass(frozen=True, slots=True)
class Content:
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


def sniff(file: Path, path: Path) -> Content:
    """Return the content of a file that lies at `path`."""
    try:
        with stream_of(path, "none") as stream:
            head = stream.read(_HEAD_BYTES)
        if _kind(head) != "gzip":
            return Content(_kind(head), head, "none")
        with stream_of(path, "gzip") as stream:
            head = stream.read(_HEAD_BYTES)
    except BROKEN as error:
        raise broken(file, error) from None
    return Content(_kind(head), head, "gzip")


def _kind(head: bytes) -> str:
    binary = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if binary is not None:
        return binary
    if b"\0" in head:
        return "unknown"
    return "json" if head.removeprefix(BOM).lstrip()[:1] in (b"[", b"{") else "csv"


def stream_of(path: Path, compression: str) -> IO[bytes]:
    if compression == "zstd":
        import pyarrow as pa  # type: ignore[import-untyped]  # slow to import; it ships no types

        return cast(IO[bytes], pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    # The types of these are an IO[bytes] in all but name.
    if compression == "gzip":
        return cast(IO[bytes], gzip.open(path))
    if compression == "bz2":
        return cast(IO[bytes], bz2.open(path))
    return cast(IO[bytes], lzma.open(path)) if compression == "xz" else path.open("rb")
