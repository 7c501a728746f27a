"""Candles into the store and out of it: what each takes against what was promised."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from processes import Summary, Usage, Worker
from rows import Row, sized, timed
from sizes import size

HERE = Path(__file__).resolve().parent
MILLION = size(1_000_000, 20_000)
WEEK, PAGE = 2_016, 1_440
MARKETS, TIMES = 500, size(20_000, 2_100)  # ten million rows
SYMBOLS = [f"C{number}/EUR" for number in range(size(100, 4))]
BEHIND = PAGE - 1 - 3  # a page of Bitvavo, less the stored bars that are asked for again
IMPORT, IMPORT_SIZE, READ, CATCH_UP = 2.0, 1.3, 2.0, 6.0
PARSE = {"bitvavo": 6.0, "coincap": 6.0}
MEASURES = (
    *("insert", "bring_in", "select", "read", "ask", "catch_up"),
    *(name + what for name in PARSE for what in ("_decoded", "")),
)

Measure = Callable[[dict[str, Callable[[int], Usage]]], dict[str, Summary]]


def kept(folder: Path, threads: int, measure: Measure) -> Iterator[Row]:
    """The rows. All is done in one process; the server has its own, as servers do."""
    served = sys.executable, str(HERE / "server.py"), str(WEEK), "BTC/EUR", "BTC/USD", *SYMBOLS
    with Worker(served, folder, threads) as server:
        told = (str(server.ready[name]) for name in ("root", "key", "start"))
        command = sys.executable, str(HERE / "keeper.py"), str(folder), *told
        with Worker(command, folder, threads) as keeper:

            def taken(what: str) -> Callable[[int], Usage]:
                return lambda _: Usage(keeper.ask(do=what)["found"], 0.0, "")

            found = measure({what: taken(what) for what in MEASURES})
            sizes = [keeper.ask(do=what)["found"] / 1e6 for what in ("imported", "inserted")]
    what = f"import of {MILLION:,} candles"
    yield timed(what, found["bring_in"], "DuckDB's INSERT", found["insert"], IMPORT)
    yield sized(f"{what}: file", "MB", sizes[0], "that INSERT's file", sizes[1], IMPORT_SIZE)
    what = f"last {WEEK:,} of {MARKETS * TIMES:,} rows"
    yield timed(what, found["read"], "DuckDB's SELECT", found["select"], READ)
    for name, limit in PARSE.items():
        what = f"{PAGE:,} rows of {name}, parsed"
        yield timed(
            what, found[name], "decoding them into an array", found[f"{name}_decoded"], limit
        )
    what = f"{len(SYMBOLS)} markets caught up"
    yield timed(what, found["catch_up"], "asking and decoding", found["ask"], CATCH_UP)
