"""Files of candles in every dialect, mixed at random, beside others, through `fetch`."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from pathlib import Path

from cases import AS_OF, Case, judge
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
