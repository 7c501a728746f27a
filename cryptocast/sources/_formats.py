"""How DuckDB reads the rows of a file of any format.

Recorders of candles write many formats: Parquet, Feather (Arrow IPC), CSV and JSON, the last two
also compressed or in UTF-16, and a CSV in a ZIP. DuckDB reads most of them as they are; of the
others it gets a plain copy.
"""

from __future__ import annotations

import glob
import io
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cryptocast.errors import SourceError
from cryptocast.sources import _sql, _text
from cryptocast.sources._content import (
    BROKEN,
    Content,
    bad_file,
    broken,
    empty_file,
    sniff,
    stream_of,
)
from cryptocast.sources._text import Rows

SUFFIXES = tuple(
    ".parquet .pq .feather .arrow .ipc .csv .csv.gz .json .json.gz .zip .zst .bz2 .xz".split()  # noqa: SIM905 - shorter
)
"""Endings of the names of candle files: a folder is searched for these."""

ARROW = "arrow_rows"
"""The name under which `Rows.arrow` is registered."""

MAX_UNPACKED_BYTES = 2**30
MAX_ROWS = 10_000_000
"""Nineteen years of 1m; so many rows take some gigabytes."""

_PACKED = ("bz2", "xz", "zstd")  # DuckDB reads gzip itself
_CHUNK_BYTES = 2**20
_DEEPEST = 4  # a plain copy of UTF-16 in bz2 with words before its header takes 3 steps


def expand(path: Path, option: str = "[source] path") -> list[Path]:
    """Return the files that a path, folder or glob stands for.

    Raise SourceError (source.no_file) with a hint to `option` if there is none.
    """
    if path.is_dir():
        files = [f for f in sorted(path.iterdir()) if f.name.lower().endswith(SUFFIXES)]
        missing = f"{path} holds no file that ends in {', '.join(SUFFIXES)}"
    elif path.exists():
        files, missing = [path], ""
    else:
        # Path.glob would not do: the path is absolute, and any part of it may be a pattern.
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207
        matching = [f for m in sorted(matches) if (f := Path(m)).is_file()]
        # `BTCUSDT*` also finds checksums; if no match has a known suffix, all matches are meant.
        files = [f for f in matching if f.name.lower().endswith(SUFFIXES)] or matching
        missing = f"there is no file {path}"
    if not files:
        raise SourceError(missing, code="source.no_file", hint=f"check {option}")
    return files


@contextmanager
def opened(file: Path) -> Iterator[Rows]:
    """Yield the rows of a file; anything copied for them is removed at the end of the context.

    Raise SourceError: source.bad_file, source.empty_file.
    """
    with _plain(file) as (path, content):
        yield _rows(file, path, content)


def check(file: Path) -> None:
    """Look for damage that DuckDB does not notice: gzip with wrong bytes, JSON that ends early.

    Raise SourceError (`source.bad_file`).
    """
    with _plain(file) as (path, content):
        if content.kind != "json" and (content.kind, content.compression) != ("csv", "gzip"):
            return
        end, size = b"", 0
        try:
            with stream_of(path, content.compression) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    end, size = chunk.rstrip()[-1:] or end, size + len(chunk)
                    if size > MAX_UNPACKED_BYTES and content.compression != "none":
                        raise too_large(file, f"{MAX_UNPACKED_BYTES:,} bytes")
        except BROKEN as error:
            raise broken(file, error) from None
        if content.kind == "json" and end not in (b"]", b"}"):
            raise broken(file, "its JSON ends early")


@contextmanager
def _plain(file: Path) -> Iterator[tuple[Path, Content]]:
    """Yield the path of what DuckDB can read of a file, and its content.

    It is the file itself if possible, else a copy: unpacked, as UTF-8, with one kind of line
    ends and without words before the header.
    """
    content = sniff(file, file)
    if _is_plain(content):
        yield file, content
        return
    with tempfile.TemporaryDirectory(prefix="cryptocast-") as folder:
        path = file
        for number in range(_DEEPEST):
            copy = Path(folder) / str(number)  # its name in a ZIP may lead outside
            try:
                _copy(file, path, content, copy)
            except BROKEN as error:
                raise broken(file, error) from None
            path, content = copy, sniff(file, copy)
            if _is_plain(content):
                break
        yield path, content


def _is_plain(content: Content) -> bool:
    if content.kind == "csv":
        return not _text.lines_before(content.head) and not _text.mixes_line_ends(content.head)
    zipped = content.kind == "zip" and content.compression == "none"
    return not zipped and content.kind not in (*_PACKED, "utf-16")


def _copy(file: Path, path: Path, content: Content, copy: Path) -> None:
    """Write to `copy` what is one step plainer than the content at `path`."""
    if content.kind == "zip":
        _unpack(file, path, copy)
        return
    packing = content.kind if content.kind in _PACKED else content.compression
    with stream_of(path, packing) as stream, copy.open("wb") as out:
        if content.kind in _PACKED:
            _write(file, iter(lambda: stream.read(_CHUNK_BYTES), b""), out)
            return
        encoding = "utf-8-sig" if content.kind == "csv" else "utf-16"
        # Every line end becomes `\n`; bytes that are no UTF-8 stay as they are.
        text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline=None)
        for _ in range(_text.lines_before(content.head) if content.kind == "csv" else 0):
            text.readline()
        pieces = iter(lambda: text.read(_CHUNK_BYTES), "")
        _write(file, (piece.encode("utf-8", "surrogateescape") for piece in pieces), out)


def _write(file: Path, chunks: Iterator[bytes], out: IO[bytes]) -> None:
    """Write chunks; raise SourceError if they are more than `MAX_UNPACKED_BYTES`."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_UNPACKED_BYTES:
            raise too_large(file, f"{MAX_UNPACKED_BYTES:,} bytes")
        out.write(chunk)


def too_large(file: Path, limit: str) -> SourceError:
    """Return the error of a file that unpacks to so much that it may be meant to do harm."""
    return bad_file(
        f"{file} unpacks to more than {limit}",
        hint="unpack it yourself, or cut it into smaller files, and set [source] path to these",
    )


def _rows(file: Path, path: Path, content: Content) -> Rows:
    """Return the rows of a file whose content lies at `path`."""
    if content.kind == "csv":
        rows = _text.csv_rows(path, content.head, content.compression)
        if rows is None:
            raise empty_file(file)
        return rows
    if content.kind == "json":
        return _text.json_rows(path, content.head, content.compression)
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


def _unpack(file: Path, path: Path, unpacked: Path) -> None:
    """Write the only CSV of a ZIP at `path` to `unpacked`, piece by piece."""
    with zipfile.ZipFile(path) as archive:
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
            raise too_large(file, f"{MAX_UNPACKED_BYTES:,} bytes")
        with archive.open(member) as packed, unpacked.open("wb") as out:
            shutil.copyfileobj(packed, out, _CHUNK_BYTES)


def _arrow(file: Path) -> object:
    """Return the table in a Feather file."""
    # pyarrow is slow to import, and DuckDB reads all other formats.
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import feather, ipc

    try:
        with file.open("rb") as head:
            first_version = head.read(4) == b"FEA1"
        if first_version:
            with warnings.catch_warnings(action="ignore"):  # as long as pyarrow reads it
                return feather.read_table(str(file), memory_map=False)
        with pa.OSFile(str(file)) as stream:
            reader, batches, size = ipc.open_file(stream), [], 0
            for number in range(reader.num_record_batches):
                batches.append(reader.get_batch(number))
                size += batches[-1].nbytes
                if size > MAX_UNPACKED_BYTES:
                    raise too_large(file, f"{MAX_UNPACKED_BYTES:,} bytes")
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from None
