"""Files of candles in every dialect, mixed at random, and what they really hold."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import math
import os
import socket
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hostile import AS_OF, Case, Truth, judge

Row = tuple[int, float, float, float, float, float]
Table = dict[str, list[object]]  # a column's name -> its cells

DAY = 86_400
# Among ordinary days those on which clocks go back.
STARTS = ("2024-06-01", "2023-10-29", "2024-11-03", "2024-10-27", "2025-01-01", "2017-12-31")
INTERVALS = {"5m": 300, "1m": 60, "15m": 900, "1h": 3600, "1d": DAY}
NAMELESS = ("candles", "my data é", "%20candles", "?x=1")
PLAIN_NAMES = (*NAMELESS, "BTC-USDT", "BTC_USDT-5m", "BTCUSDT-5m-2024-06", "btcusdt", "XBTUSDT_5",
               "binance_BTC-USDT_5m", "BTC-USDT (1)")  # fmt: skip
OTHER_NAMES = ("BTCUSDT_240628", "BTCUSDT_PERP", "BTC-USDT-SWAP", "BTC_USDT_USDT-5m-futures",
               "BTCUSDT-1h-2024-06", "kraken_BTC-USDT_5m", "BTC-USDT_v2", "BTCUSDT_тест",
               "BTCUSDT.P", "BTCUSDT-mark", "BTCUSDT-trades-2024", "ETH-USDT", "GRTUSD",
               "BTCUSDT-28JUN24", "WBTCUSDT", "BTC-USDT_ask", "BTCUSDTM25")  # fmt: skip
ODD_ONES = ("FIFO", "folder", "socket", "nowhere", "/dev/zero", "BTC-USDT-5m-2020.csv", "/dev/null",
            "/proc/self/mem", "/dev/tty", "..")  # fmt: skip
PREAMBLES = ('"a quoted\nnewline"\n', "made by\u2028someone\n", "page\x0cbreak\n", "# comment\n",
             "sep=;\n", "https://www.example.org\n", "\n\n", "Symbol: BTC\x1b[31m red\n",
             "Zürich\n", '"', "a,b\n", "x\x85y\n", ",,,,,\n")  # fmt: skip
VOLUMES = ("volume", "Volume", "Volume BTC", "Volume_(BTC)", "vol", "baseVolume", "<VOL>")
TIMES = ("open_time", "ts", "date", "timestamp", "Timestamp", " Date ", "OPEN_TIME")


def moment(t: int, form: str) -> str:
    return datetime.fromtimestamp(t, UTC).strftime(form)


def float32(value: float) -> str:
    import numpy as np  # late: as all that reads files

    return repr(float(np.float32(value)))


EXACT: dict[str, Callable[[int], object]] = {
    "s": lambda t: t,
    "ms": lambda t: t * 1000,
    "us": lambda t: t * 10**6,
    "ns": lambda t: t * 10**9,
    "s.0": float,
    "iso": lambda t: moment(t, "%Y-%m-%dT%H:%M:%SZ"),
    "offset": lambda t: datetime.fromtimestamp(t, timezone(timedelta(hours=5.5))).isoformat(),
    "naive": lambda t: moment(t, "%Y-%m-%d %H:%M:%S"),
    "minutes": lambda t: moment(t, "%Y-%m-%d %H:%M"),
    "long E": lambda t: f"{t * 1000:.12E}",
}
"""Ways to write a time that loses nothing."""

COARSE: dict[str, Callable[[int], object]] = {
    "US": lambda t: moment(t, "%m/%d/%Y %H:%M"),
    "German": lambda t: moment(t, "%d.%m.%Y %H:%M"),
    "AM/PM": lambda t: moment(t, "%Y-%m-%d %I:%M %p"),
    "day": lambda t: moment(t, "%Y-%m-%d"),
    "hour": lambda t: moment(t, "%Y-%m-%d %H:00"),
    "E4": lambda t: f"{t * 1000:.4E}",
    "E5": lambda t: f"{t * 1000:.5E}",
    "E6": lambda t: f"{t * 1000:.6E}",
    "float32": lambda t: float32(t),
    "float32 ms": lambda t: float32(t * 1000),
    "Excel's days": lambda t: t / DAY + 25_569,
    "seconds late": lambda t: t + 7,
    "years off": lambda t: t - 50 * 365 * DAY,
    "year 0": lambda t: "0000-00-00 00:00",
    "words": lambda t: moment(t, "%b %d %Y %H:%M"),
    "infinite": lambda t: "inf",
    "huge": lambda t: t * 10**15,
}
"""Ways that lose something or that nobody can be sure of: refused, or read rightly."""


@dataclass
class Draft:
    """A file before it is written."""

    rows: list[Row]
    truth: Truth
    name: str
    columns: Table = field(default_factory=dict)
    header: bool = True
    plain: bool = True  # nothing odd about it so far: it must be read


def series(case: Case, step: int) -> list[Row]:
    """A walk with gaps and flat bars, at any level of prices."""
    draw = case.draw
    day = datetime.fromisoformat(draw.choice(STARTS)).replace(tzinfo=UTC)
    t = int(day.timestamp()) // step * step
    close, flat = 10.0 ** draw.randint(-9, 5), draw.choice((0.0, 0.1, 0.5))
    rows: list[Row] = []
    for _ in range(draw.choice((40, 60, 300, 320))):
        t += step * (1 if case.chance(0.97) else draw.randint(2, 9))
        first = close
        if not case.chance(flat):
            close = float(f"{close * math.exp(draw.gauss(0, 0.003)):.8g}")
        wide = abs(draw.gauss(0, 0.001)) * close if close != first else 0.0
        high, low = max(first, close) + wide, min(first, close) - wide
        rows.append((t, first, high, low, close, float(f"{draw.expovariate(1):.6g}")))
    return rows


def spoilt(case: Case, draft: Draft, step: int) -> None:
    """Rows twice, of other values, off the grid or impossible; in any order."""
    draw, rows, truth = case.draw, draft.rows, draft.truth
    what = draw.choice(("none", "none", "none", "same", "few", "many", "bad", "off"))
    number = draw.choice((1, 3, 4, 30)) if what != "few" else draw.randint(1, 3)
    for row in draw.sample(rows, min(number if what != "none" else 0, len(rows))):
        at = rows.index(row)
        if what == "same":
            rows.insert(at, row)
        elif what in ("few", "many"):
            other = (row[0], *(price * 1.01 for price in row[1:]))
            rows.insert(at + draw.randint(0, 1), other)  # type: ignore[arg-type]
            truth.rows[row[0]].append(other[1:])  # type: ignore[arg-type]
        elif what == "bad":
            price = draw.choice((0.0, -1.0, math.nan, math.inf))
            rows[at] = (row[0], price, *row[2:])
            truth.rows.pop(row[0]), truth.needed.discard(row[0])
        else:
            rows[at] = (row[0] + draw.randint(1, step - 1), *row[1:])
    order = draw.choice(("old first", "old first", "new first", "shuffled"))
    if order == "new first":
        rows.reverse()
    elif order == "shuffled":
        draw.shuffle(rows)
    draft.plain = what in ("none", "same")
    case.notes += [what, order]


def timed(case: Case, draft: Draft) -> None:
    """The column of times, or the two of days and times."""
    draw, rows = case.draw, draft.rows
    how = draw.choices(("exact", "coarse", "two", "local"), (6, 3, 1, 1))[0]
    name = draw.choice(TIMES)
    if how == "exact":
        form = draw.choice(list(EXACT))
        draft.columns[name] = [EXACT[form](row[0]) for row in rows]
    elif how == "coarse":
        form = draw.choice(list(COARSE))
        draft.columns[name] = [COARSE[form](row[0]) for row in rows]
    elif how == "two":
        form = draw.choice(("%H:%M:%S", "%H:%M", "%I:%M %p", "%H%M"))
        day, time = draw.choice((("Date", "Time"), ("<DATE>", "<TIME>"), ("date", "hour")))
        draft.columns[day] = [moment(row[0], "%Y-%m-%d") for row in rows]
        draft.columns[time] = [moment(row[0], form) for row in rows]
    else:
        form = draw.choice(("Europe/Berlin", "America/New_York", "Asia/Kolkata"))
        clocks = [datetime.fromtimestamp(row[0], ZoneInfo(form)) for row in rows]
        draft.columns[name] = [clock.strftime("%Y-%m-%d %H:%M:%S") for clock in clocks]
        # Such times are UTC, as they say no offset; an hour that comes twice is more than a few.
        draft.truth.rows, draft.truth.needed = {}, set()
        for row, clock in zip(rows, clocks, strict=True):
            t = int(clock.replace(tzinfo=UTC).timestamp()) // 300 * 300
            draft.truth.rows.setdefault(t, []).append(row[1:])
    draft.plain &= how == "exact"
    case.notes += [form]


def columned(case: Case, draft: Draft) -> None:
    """The columns of prices, others beside them, in any order; perhaps without names."""
    draw, rows = case.draw, draft.rows
    dress = draw.choice((str, str.title, str.upper, "<{}>".format, " {} ".format))
    for at, name in enumerate(("open", "high", "low", "close"), start=1):
        draft.columns[dress(name)] = [row[at] for row in rows]
    volume = draw.choice((*VOLUMES, *VOLUMES, "", "Volume USDT", "taker_volume"))
    if volume:
        draft.columns[volume] = [row[5] for row in rows]
    if case.chance(0.3):
        draft.columns[draw.choice(("count", "close_time", "x\x1b[2Jy", "trades", ""))] = [7] * len(
            rows
        )
    if case.chance(0.1):
        draft.columns["symbol"] = [draw.choice(("BTC/USDT", "btcusdt", "BTC-USDT"))] * len(rows)
    if case.chance(0.3):
        names = list(draft.columns)
        draw.shuffle(names)
        draft.columns = {name: draft.columns[name] for name in names}
        case.notes += ["columns shuffled"]
    draft.header = case.chance(0.75)
    if not draft.header:
        case.notes += ["no header"]
        draft.plain = False
    case.notes += [volume]


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
    how = draw.choice(("again", "comment", "blank", "total", "fewer", "more", "NA", "quote", "space",
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
        if how == "more" and one < 6 or how == "wide":
            draft.truth.loose = True
        lines[at] = delimiter.join(cells)


def as_json(case: Case, draft: Draft) -> bytes:
    """Lists, objects, or objects in sequence."""
    how = case.draw.choice(("lists", "objects", "lines", "under a key"))
    rows = [list(row) for row in zip(*draft.columns.values(), strict=True)]
    objects = [dict(zip(draft.columns, row, strict=True)) for row in rows]
    draft.plain &= how in ("objects", "lines")
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


def draft_of(case: Case, rows: list[Row], step: int, name: str) -> Draft:
    """A file of some rows in any dialect."""
    held = {t: [tuple(values)] for t, *values in rows}
    draft = Draft(list(rows), Truth(held, set(held)), name)  # type: ignore[arg-type]
    spoilt(case, draft, step)
    timed(case, draft)
    columned(case, draft)
    return draft


def written(case: Case, draft: Draft) -> bytes:
    kind = case.draw.choices((as_csv, as_json, as_table), (5, 2, 2))[0]
    case.notes += [kind.__name__]
    content = kind(case, draft)
    suffix = {as_csv: ".csv", as_json: ".json"}.get(kind, ".parquet")
    content, more = packed(case, draft, content, f"{draft.name}{suffix}")
    draft.plain &= not more or kind is as_csv or (kind is as_json and more != ".zip")
    draft.name += suffix + more
    return damaged(case, draft, content) if case.chance(0.12) else content


def beside(case: Case, folder: Path, rows: list[Row]) -> bool:
    """Other things in the folder; returns whether one of them may be a reason to refuse all."""
    name = case.draw.choice((*OTHER_NAMES, *ODD_ONES, *[""] * 10))
    if not name:
        return False
    case.notes += [f"beside {name}"]
    place = folder / "BTC-USDT-5m-2020.csv"
    if name == "FIFO":
        os.mkfifo(place)
    elif name == "folder":
        place.mkdir()
    elif name == "socket":
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(place))
    elif name in ODD_ONES:
        place.symlink_to(name)
    else:
        head = "ts,open,high,low,close\n"
        lines = (f"{t},{3 * o},{3 * h},{3 * low},{3 * c}\n" for t, o, h, low, c, _ in rows)
        (folder / f"{name}.csv").write_text(head + "".join(lines), encoding="utf-8")
    return True


def files(case: Case) -> None:
    """One file, perhaps beside others, imported or fetched."""
    draw = case.draw
    interval = draw.choices(list(INTERVALS), (12, 1, 1, 1, 1))[0]
    step = INTERVALS[interval]
    rows = series(case, step)
    draft = draft_of(case, rows, step, draw.choice(PLAIN_NAMES))
    content = written(case, draft)
    folder = case.folder / "data"
    folder.mkdir()
    (folder / draft.name).write_bytes(content)
    # A folder is not searched for Parquet in gzip.
    alone = draft.name.startswith(NAMELESS) or draft.name.endswith(".parquet.gz")
    alone = alone or not beside(case, folder, rows)
    case.notes += [draft.name, interval]
    truth = replace(draft.truth, readable=draft.plain and alone and interval == "5m")
    if interval != "5m":  # a workspace of 5 minutes has no use for it
        truth = replace(truth, rows={}, needed=set())
    workspace = case.folder / "w"
    workspace.mkdir()
    path = draw.choice((folder, folder / draft.name)) if alone else folder
    settings = f"[source]\nname = 'file'\npath = {json.dumps(str(path))}\n"
    settings += "[market]\nsymbols = ['BTC/USDT']\n"
    (workspace / "cryptocast.toml").write_text(settings, encoding="utf-8")
    span = ("--start", "2010-01-01T00:00:00Z", "--as-of", AS_OF, "-w", workspace)
    how = draw.choice(
        (("--json",), (), ("--source", "file", "--path", path, "--market", "BTC/USDT"))
    )
    code = case.run("fetch", *span, *how)
    if code == 0 and draft.truth.needed and draft.truth.loose:
        case.notes += ["taken"]
    judge(case, workspace, "file:BTC/USDT:5m", truth, code)
