"""SQL that reads the rows of CSV and JSON as text.

All values are read as text: a type guessed from the first rows fails at a later one. DuckDB's own
CSV sniffer is not used (tried with 2.0): it skips a first row that is too short, and takes a
first row of times in words for a header, so a candle is lost silently; and if a later row is too
short it chooses another delimiter instead of naming the row.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptocast.sources._content import BOM
from cryptocast.sources._sql import literal, path_literal

_DELIMITERS = ",;\t|"
_FEWEST_COLUMNS = 5  # a time and four prices


@dataclass(frozen=True, slots=True)
class Rows:
    """SQL of a table that DuckDB reads.

    `positional`: the file names no columns; they are `column0`, `column1`, ... from the left.
    `arrow` is the table to register under the name `scan`, for a file that no SQL reads.
    """

    scan: str
    positional: bool = False
    arrow: object | None = None


def lines_before(head: bytes) -> int:
    """Return how many lines of a CSV come before its header or first row: words, or nothing.

    A line that looks like a row with values missing is not one of these: it is read, so that it
    can be reported.
    """
    lines = _lines(head)
    filled = [i for i, line in enumerate(lines) if line.strip()]
    return next(
        (i for i in filled if len(_fields(lines[i])) >= _FEWEST_COLUMNS or _is_row(lines[i])),
        filled[0] if filled else 0,
    )


def mixes_line_ends(head: bytes) -> bool:
    """Return whether a CSV that begins with `head` ends its lines in more than one way."""
    return len(set(re.findall(rb"\r\n|\r|\n", head.rstrip(b"\r")))) > 1


def csv_rows(path: Path, head: bytes, compression: str) -> Rows | None:
    """Return how to read a CSV that begins with `head`, or None if it holds no line.

    The first line is a header unless each of its values is a number, a time or empty. All
    details of the dialect are fixed here, so that DuckDB guesses nothing and skips no row.
    """
    first = _lines(head)[0]
    if not first.strip():
        return None
    positional = _is_row(first)
    names: list[str] = []
    for i, field in enumerate(_fields(first)):
        unnamed = positional or not field or field in names
        names.append(f"column{i}" if unnamed else field)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return Rows(
        f"read_csv({path_literal(path)}, auto_detect=false, columns={{{columns}}}, "
        f"header={'false' if positional else 'true'}, delim={literal(_delimiter(first))}, "
        f"quote='\"', escape='\"', comment='', skip=0, compression='{compression}', "
        "hive_partitioning=false)",
        positional,
    )


def json_rows(path: Path, head: bytes, compression: str) -> Rows:
    """Return how to read JSON: a list of lists, a list of objects, or objects in sequence."""
    text = head.removeprefix(BOM).decode("utf-8", errors="replace")
    kept = f"compression='{compression}', hive_partitioning=false"
    if re.match(r"\s*\[\s*[\[\]]", text):
        # Numbers and quoted numbers (Binance's) both become text here.
        columns = ", ".join(f"json[{i + 1}] AS column{i}" for i in range(_width(text)))
        return Rows(
            f"(SELECT {columns} FROM read_json({path_literal(path)}, format='array', "  # noqa: S608 - a path, quoted
            f"records=false, columns={{json: 'VARCHAR[]'}}, {kept}))",
            positional=True,
        )
    layout = "array" if re.match(r"\s*\[", text) else "unstructured"
    return Rows(
        f"(SELECT COLUMNS(*) ->> '$' FROM read_json({path_literal(path)}, format='{layout}', "  # noqa: S608 - as above
        "records=true, maximum_depth=1, field_appearance_threshold=0, "
        f"map_inference_threshold=-1, {kept}))"
    )


def _lines(head: bytes) -> list[str]:
    """Return the lines of a CSV, as a text file has them: U+2028 and form feeds end none."""
    return re.split("\r\n|\r|\n", head.decode("utf-8-sig", errors="replace"))


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _fields(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)))


def _is_row(line: str) -> bool:
    """Return whether a line of CSV holds values rather than names of columns."""
    fields = [field.strip() for field in _fields(line)]
    return any(fields) and all(map(_is_value, fields))


def _width(text: str) -> int:
    """Return the number of values in the first list of a list."""
    try:
        row, _ = json.JSONDecoder().raw_decode(text, text.index("[", text.index("[") + 1))
    except ValueError:
        return _FEWEST_COLUMNS
    return max(len(row), _FEWEST_COLUMNS)


def _is_value(field: str) -> bool:
    """Return whether a field is a value rather than the name of a column."""
    for read in (float, datetime.fromisoformat):
        try:
            read(field)
        except ValueError:
            continue
        return True
    return not field
