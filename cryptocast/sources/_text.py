"""SQL that reads the rows of CSV and JSON as text, with the names of their columns or without.

All values are read as text: a type guessed from the first rows fails at a later one.
"""

from __future__ import annotations

import csv
import glob
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_DELIMITERS = ",;\t|"
_BOM = b"\xef\xbb\xbf"
_FEWEST_COLUMNS = 5  # a time and four prices


@dataclass(frozen=True, slots=True)
class Rows:
    """SQL of a table that DuckDB reads.

    `positional`: the file names no columns; they are `column0`, `column1`, ... from the left.
    `arrow` is what is to be registered under the name that `scan` then is.
    """

    scan: str
    positional: bool = False
    arrow: object | None = None


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def path_literal(path: Path) -> str:
    """A path in SQL; DuckDB takes it for a glob, so that its own `[` and `*` are escaped."""
    return literal(glob.escape(str(path)))


def is_json(head: bytes) -> bool:
    """Whether a text begins as JSON does."""
    return head.removeprefix(_BOM).lstrip()[:1] in (b"[", b"{")


def csv_rows(path: Path, head: bytes, compression: str) -> Rows | None:
    """How a CSV is read that begins with `head`; None where it holds no line.

    The first line is a header unless each of its values is a number, a time or empty. What
    the dialect leaves open is fixed here, so that DuckDB guesses nothing and skips no row.
    """
    lines = head.decode("utf-8-sig", errors="replace").splitlines()
    filled = [i for i, line in enumerate(lines) if line.strip()]
    if not filled:
        return None
    # Before the header may stand words. What looks like a row with values missing is no such
    # line: it is read, to be told.
    first = next(
        (i for i in filled if len(_fields(lines[i])) >= _FEWEST_COLUMNS or _is_row(lines[i])),
        filled[0],
    )
    line = lines[first]
    delimiter, fields, positional = _delimiter(line), _fields(line), _is_row(line)
    names: list[str] = []
    for i, field in enumerate(fields):
        unnamed = positional or not field or field in names
        names.append(f"column{i}" if unnamed else field)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    return Rows(
        f"read_csv({path_literal(path)}, auto_detect=false, columns={{{columns}}}, "
        f"header={'false' if positional else 'true'}, delim={literal(delimiter)}, quote='\"', "
        f"escape='\"', comment='', skip={first}, compression='{compression}', "
        "hive_partitioning=false)",
        positional,
    )


def json_rows(path: Path, head: bytes, compression: str) -> Rows:
    """How JSON is read: a list of lists, a list of objects, or objects one after another."""
    text = head.removeprefix(_BOM).decode("utf-8", errors="replace")
    kept = f"compression='{compression}', hive_partitioning=false"
    if re.match(r"\s*\[\s*[\[\]]", text):
        # Numbers and numbers in quotes (Binance's) alike become text here.
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


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


def _fields(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)))


def _is_row(line: str) -> bool:
    """Whether a line of CSV holds values, not names of columns."""
    return all(_is_value(field.strip()) for field in _fields(line))


def _width(text: str) -> int:
    """How many values the first list in a list has."""
    try:
        row, _ = json.JSONDecoder().raw_decode(text, text.index("[", text.index("[") + 1))
    except ValueError:
        return _FEWEST_COLUMNS
    return max(len(row), _FEWEST_COLUMNS)


def _is_value(field: str) -> bool:
    """Whether a field is one of a row, not a column's name."""
    for read in (float, datetime.fromisoformat):
        try:
            read(field)
        except ValueError:
            continue
        return True
    return not field
