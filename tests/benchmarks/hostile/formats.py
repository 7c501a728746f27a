"""Candles as files of any format, encoding and compression, and whole or not."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import warnings
import zipfile
from typing import Any

from cases import Case
from rows import Draft

PREAMBLES = ('"a quoted\nnewline"\n', "made by\u2028someone\n", "page\x0cbreak\n", "# comment\n",
             "sep=;\n", "https://www.example.org\n", "\n\n", "Symbol: BTC\x1b[31m red\n",
             "Zürich\n", '"', "a,b\n", "x\x85y\n", ",,,,,\n")  # fmt: skip


def as_csv(case: Case, draft: Draft) -> bytes:
    """Words before, any delimiter, quotes, line ends and encoding."""
    draw = case.draw
    delimiter = draw.choice(",,,;\t|")
    quoted, comma = case.chance(0.1), delimiter != "," and case.chance(0.05)

    def cell(value: object) -> str:
        text = "" if value != value else repr(value) if isinstance(value, float) else str(value)
        text = text.replace(".", ",") if comma and isinstance(value, float) else text
        return f'"{text}"' if quoted else text

    lines = [delimiter.join(map(cell, row)) for row in zip(*draft.columns.values(), strict=True)]
    if draft.header:
        lines.insert(0, delimiter.join(map(cell, draft.columns)))
    if case.chance(0.15):
        edited(case, draft, lines, delimiter)
    before = draw.choice(PREAMBLES) if case.chance(0.25) else ""
    ends = draw.choice(("\n", "\n", "\n", "\r\n", "\r", "mixed"))
    text = before + "\n".join(lines) + draw.choice(("\n", "", "\n\n\n", "\n,,,,\n"))
    if ends == "mixed":
        text = "".join(draw.choice(("\r\n", "\n")) if c == "\n" else c for c in text)
    elif ends != "\n":
        text = text.replace("\n", ends)
    encoding = draw.choices(
        ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32"), (9, 2, 2, 1, 1, 1)
    )[0]
    draft.plain &= not (before or comma) and encoding not in ("utf-16-le", "utf-32")
    draft.plain &= not text.rstrip().endswith(",") and ends != "\r"
    case.notes += [repr(delimiter), repr(ends), encoding, repr(before), "quoted" * quoted]
    return text.encode(encoding, errors="replace")


def edited(case: Case, draft: Draft, lines: list[str], delimiter: str) -> None:
    """Do to some lines what people, spreadsheets and failing disks do."""
    draw = case.draw
    how = draw.choice(("again", "comment", "blank", "total", "fewer", "more", "NA", "quote",
    "space",
                       "1,234.5", "$", "wide", "nul", "cr", "unit"))  # fmt: skip
    case.notes += [f"edited: {how}"]
    draft.plain = False
    for _ in range(draw.choice((1, 1, 3))):
        at = draw.randrange(1, len(lines))
        cells = lines[at].split(delimiter)
        one = draw.randrange(len(cells))
        if how in ("again", "comment", "blank", "total"):
            added = {"again": lines[0], "comment": "# a word", "blank": "", "total": "Total"}[how]
            lines.insert(at, added + (delimiter * 5 if how == "total" else ""))
            continue
        if how in ("fewer", "NA", "quote", "$", "1,234.5", "nul"):  # whatever becomes of the row
            draft.truth.needed = set()
        if how == "fewer":
            del cells[one]
        elif how in ("more", "NA", "1,234.5"):
            cells[one:one] = [] if how != "more" else [draw.choice(("", "7", "x"))]
            cells[one] = how if how != "more" else cells[one]
        else:
            changed = {"quote": '"{}', "space": " {} ", "$": "${}", "wide": "{}" + "0" * 100_000,
                       "nul": "{}\0", "cr": "{}\r", "unit": "{} USDT"}[how]  # fmt: skip
            cells[one] = changed.format(cells[one])
        if (how == "more" and one < 6) or how == "wide":
            draft.truth.loose = True
        lines[at] = delimiter.join(cells)


def as_json(case: Case, draft: Draft) -> bytes:
    """Lists, objects, or objects in sequence."""
    how = case.draw.choice(("lists", "objects", "lines", "under a key"))
    rows = [list(row) for row in zip(*draft.columns.values(), strict=True)]
    objects = [dict(zip(draft.columns, row, strict=True)) for row in rows]
    draft.plain &= how in ("objects", "lines") and "" not in draft.columns
    draft.header = how != "lists"
    case.notes += [how]
    if how == "lines":
        return "\n".join(map(json.dumps, objects)).encode()
    held = {"lists": rows, "objects": objects, "under a key": {"data": objects}}[how]
    return json.dumps(held, indent=case.draw.choice((None, 1))).encode()


def as_table(case: Case, draft: Draft) -> bytes:
    """Parquet or either version of Feather, of 32-bit prices at times."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    columns = {name: typed(case, draft, name, cells) for name, cells in draft.columns.items()}
    table = pa.table(columns)
    draft.header = True
    out = io.BytesIO()
    if case.chance(0.5):
        parquet.write_table(table, out, compression=case.draw.choice(("snappy", "zstd", "none")))
    else:
        version = case.draw.choice((1, 2)) if draft.plain else 2
        with warnings.catch_warnings(action="ignore"):  # of its first version
            compression = None if version == 1 else "lz4"
            feather.write_feather(table, out, version=version, compression=compression)
    return out.getvalue()


def typed(case: Case, draft: Draft, name: str, cells: list[Any]) -> Any:
    """A column of a type that holds its cells, now and then an unusual one."""
    import pyarrow as pa

    if max((abs(c) for c in cells if isinstance(c, int)), default=0) >= 2**63:
        return pa.array(list(map(str, cells)))
    array = pa.array(cells)
    if case.chance(0.85):
        return array
    kinds = (pa.float32(), pa.string(), pa.large_string(), pa.float16(), pa.decimal128(38, 18),
             pa.dictionary(pa.int32(), pa.string()), pa.timestamp("s"), pa.timestamp("ms", "UTC"),
             pa.timestamp("ns"), pa.timestamp("us", "America/New_York"), pa.date32(), pa.binary(),
             pa.list_(pa.float64()), pa.uint64(), pa.bool_())  # fmt: skip
    kind = case.draw.choice(kinds)
    case.notes += [f"{name}: {kind}"]
    draft.plain = False
    draft.truth.loose |= kind == pa.uint64()  # which keeps no fractions
    if kind in (pa.float32(), pa.float16()):
        draft.truth.tolerance = max(draft.truth.tolerance, 1e-6 if kind == pa.float32() else 1e-3)
    with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return array.cast(kind, safe=False)
    return array


def packed(case: Case, draft: Draft, content: bytes, name: str) -> tuple[bytes, str]:
    """Under a compression, or in a ZIP."""
    import pyarrow as pa

    how = case.draw.choices(
        ("", "gz", "bz2", "xz", "zst", "zip", "gz gz"), (8, 1, 1, 1, 1, 1, 0.3)
    )[0]
    case.notes += [how]
    draft.plain &= how != "gz gz"
    if how == "zip":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
            if case.chance(0.2):
                archive.writestr("README.txt", "hello")
        return out.getvalue(), ".zip"
    for step in how.split():
        pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(step)
        content = pack(content) if pack else pa.compress(content, codec="zstd", asbytes=True)
    return content, f".{how.split()[0]}" if how else ""


def damaged(case: Case, draft: Draft, content: bytes) -> bytes:
    """Cut off, or with flipped bits, or with rubbish at its end."""
    draw = case.draw
    how = draw.choices(("cut", "flipped", "followed", "bomb"), (5, 5, 5, 0.5))[0]
    draft.plain = False
    draft.truth.needed = set()
    draft.truth.loose = True
    case.notes += [how]
    if how == "cut":
        return content[: draw.randrange(len(content))]
    if how == "bomb":  # gigabytes
        return gzip.compress(content) + gzip.compress(b"0,1,1,1,1,1\n" * 10**6) * 300
    if how == "followed":
        return content + draw.randbytes(draw.choice((1, 7, 5000)))
    flipped = bytearray(content)
    for _ in range(draw.choice((1, 3, 50))):
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def written(case: Case, draft: Draft) -> bytes:
    kind = case.draw.choices((as_csv, as_json, as_table), (5, 2, 2))[0]
    case.notes += [kind.__name__]
    content = kind(case, draft)
    suffix = {as_csv: ".csv", as_json: ".json"}.get(kind, ".parquet")
    content, more = packed(case, draft, content, f"{draft.name}{suffix}")
    draft.plain &= not more or kind is as_csv or (kind is as_json and more != ".zip")
    draft.name += suffix + more
    return damaged(case, draft, content) if case.chance(0.12) else content
