"""Files of candles in every dialect, mixed at random, beside others, through `fetch`."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

from cases import AS_OF, Case, Truth, judge
from formats import written
from rows import Row, draft_of, series

INTERVALS = {"5m": 300, "1m": 60, "15m": 900, "1h": 3600, "1d": 86_400}
NAMELESS = ("candles", "my data é", "%20candles", "?x=1")
PLAIN_NAMES = (*NAMELESS, "BTC-USDT", "BTC_USDT-5m", "BTCUSDT-5m-2024-06", "btcusdt", "XBTUSDT_5",
               "binance_BTC-USDT_5m", "BTC-USDT (1)")  # fmt: skip
OTHER_NAMES = ("BTCUSDT_240628", "BTCUSDT_PERP", "BTC-USDT-SWAP", "BTC_USDT_USDT-5m-futures",
               "BTCUSDT-1h-2024-06", "kraken_BTC-USDT_5m", "BTC-USDT_v2", "BTCUSDT_тест",
               "BTCUSDT.P", "BTCUSDT-mark", "BTCUSDT-trades-2024", "ETH-USDT", "GRTUSD",
               "BTCUSDT-28JUN24", "WBTCUSDT", "BTC-USDT_ask", "BTCUSDTM25")  # fmt: skip
ODD_ONES = ("FIFO", "folder", "socket", "nowhere", "/dev/zero", "BTC-USDT-5m-2020.csv", "/dev/null",
            "/proc/self/mem", "/dev/tty", "..")  # fmt: skip


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


def parted(case: Case, folder: Path, rows: list[Row], step: int) -> Truth:
    """Two files of one series, each in a dialect of its own; returns their truth together."""
    half, truths = len(rows) // 2, []
    for part, some in (("1", rows[: half + 2]), ("2", rows[half:])):
        draft = draft_of(case, some, step, f"BTC-USDT_{part}")
        (folder / draft.name).write_bytes(written(case, draft))
        draft.plain &= not draft.name.endswith(".parquet.gz")
        truths.append(replace(draft.truth, readable=draft.plain))
        case.notes += [draft.name]
    one, other = truths
    shared = {t: one.rows.get(t, []) + other.rows.get(t, []) for t in one.rows | other.rows}
    return Truth(
        shared,
        one.needed | other.needed if one.readable and other.readable else set(),
        one.readable and other.readable,
        one.loose or other.loose,
        max(one.tolerance, other.tolerance),
    )


def single(case: Case, folder: Path, rows: list[Row], step: int) -> tuple[Truth, Path]:
    """One file, perhaps beside others; returns its truth and what to read."""
    draft = draft_of(case, rows, step, case.draw.choice(PLAIN_NAMES))
    content = written(case, draft)
    (folder / draft.name).write_bytes(content)
    # A folder is not searched for Parquet in gzip.
    alone = draft.name.startswith(NAMELESS) or draft.name.endswith(".parquet.gz")
    alone = alone or not beside(case, folder, rows)
    case.notes += [draft.name]
    path = case.draw.choice((folder, folder / draft.name)) if alone else folder
    return replace(draft.truth, readable=draft.plain and alone), path


def files(case: Case) -> None:
    """One file, perhaps beside others, or two of one series, imported or fetched."""
    draw = case.draw
    interval = draw.choices(list(INTERVALS), (12, 1, 1, 1, 1))[0]
    step = INTERVALS[interval]
    case.notes += [interval]
    rows = series(case, step)
    path = folder = case.folder / "data"
    folder.mkdir()
    if case.chance(0.15):
        truth = parted(case, folder, rows, step)
    else:
        truth, path = single(case, folder, rows, step)
    if interval != "5m":  # a workspace of 5 minutes has no use for it
        truth = replace(truth, rows={}, needed=set(), readable=False)
    workspace = case.folder / "w"
    workspace.mkdir()
    settings = f"[source]\nname = 'file'\npath = {json.dumps(str(path))}\n"
    settings += "[market]\nsymbols = ['BTC/USDT']\n"
    (workspace / "cryptocast.toml").write_text(settings, encoding="utf-8")
    span = ("--start", "2010-01-01T00:00:00Z", "--as-of", AS_OF, "-w", workspace)
    how = draw.choice(
        (("--json",), (), ("--source", "file", "--path", path, "--market", "BTC/USDT"))
    )
    code = case.run("fetch", *span, *how)
    judge(case, workspace, "file:BTC/USDT:5m", truth, code)
