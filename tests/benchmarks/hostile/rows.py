"""Candles as files have them: what is wrong with some, their times and their columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from cases import Case, Truth

Row = tuple[int, float, float, float, float, float]
Table = dict[str, list[object]]  # a column's name -> its cells

DAY = 86_400
# Among ordinary days those on which clocks go back.
STARTS = ("2024-06-01", "2023-10-29", "2024-11-03", "2024-10-27", "2025-01-01", "2017-12-31")
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
        label = draw.choice(("BTC/USDT", "btcusdt", "BTC-USDT"))
        draft.columns.setdefault("symbol", [label] * len(rows))
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


def draft_of(case: Case, rows: list[Row], step: int, name: str) -> Draft:
    """A file of some rows in any dialect."""
    held = {t: [tuple(values)] for t, *values in rows}
    draft = Draft(list(rows), Truth(held, set(held)), name)  # type: ignore[arg-type]
    spoilt(case, draft, step)
    if case.chance(0.1):
        mingled(case, draft)
    timed(case, draft)
    columned(case, draft)
    return draft


def mingled(case: Case, draft: Draft) -> None:
    """Put rows of another market among them, named in a column."""
    draw = case.draw
    ours = draw.choice(("BTC/USDT", "btcusdt", "BTC-USDT", "binance:BTC/USDT:5m"))
    other = draw.choice(("ETH/USDT", "BTC/USDT:USDT", "WBTC/USDT", "BTCUSDT_240628", "BTC/USD", ""))
    labels: list[object] = [ours] * len(draft.rows)
    for at in sorted(draw.sample(range(len(draft.rows)), 15), reverse=True):
        t, *values = draft.rows[at]
        draft.rows.insert(at, (t, *(3 * value for value in values)))  # type: ignore[arg-type]
        labels.insert(at, other)
    draft.columns[draw.choice(("market", "symbol", "pair", "Symbol"))] = labels
    draft.plain = False
    case.notes += [f"{ours} among {other}"]
