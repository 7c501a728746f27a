"""Candles into the store and out of it: what each takes against what was promised."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from processes import Summary, Usage, Worker
from rows import Row

HERE = Path(__file__).resolve().parent
MILLION = 1_000_000
WEEK, PAGE = 2_016, 1_440
MARKETS, TIMES = 500, 20_000  # ten million rows
SYMBOLS = [f"C{number}/EUR" for number in range(100)]
BEHIND = PAGE - 1 - 3  # a page of Bitvavo, less the stored bars that are asked for again
IMPORT_SECONDS, IMPORT, IMPORT_MB = 3.0, 2.0, 80.0
READ_SECONDS, PARSE_SECONDS, CATCH_UP_SECONDS = 0.060, 0.010, 3.0
MEASURES = ("insert", "bring_in", "read", "bitvavo", "coincap", "ask", "catch_up")

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
            megabytes = keeper.ask(do="imported_bytes")["found"] / 1e6
    yield from _imported(found["bring_in"], found["insert"], megabytes)
    yield _within("last 2,016 of 10,000,000 rows", found["read"], READ_SECONDS)
    yield _within("1,440 rows of Bitvavo, parsed", found["bitvavo"], PARSE_SECONDS)
    yield _within("1,440 rows of CoinCap, parsed", found["coincap"], PARSE_SECONDS)
    mine, floor = found["catch_up"], found["ask"]
    what = f"{len(SYMBOLS)} markets caught up"
    bare = f", {mine.times(floor):.2f} x asking and decoding {floor}"
    yield _within(what, mine, CATCH_UP_SECONDS, bare)


def _imported(mine: Summary, floor: Summary, megabytes: float) -> Iterator[Row]:
    what = f"import of {MILLION:,} candles"
    yield _within(what, mine, IMPORT_SECONDS)
    budget = f"at most {IMPORT:g} x DuckDB's INSERT {floor}"
    yield Row(what, str(mine), budget, mine.times(floor), IMPORT)
    size = f"{megabytes:.0f} MB"
    yield Row(f"{what}: file", size, f"at most {IMPORT_MB:g} MB", megabytes / IMPORT_MB, 1.0)


def _within(what: str, found: Summary, seconds: float, beside: str = "") -> Row:
    """A row with a budget in seconds; `beside` is told, and binds nothing."""
    budget = f"at most {seconds:g} s{beside}"
    return Row(what, str(found), budget, found.median / seconds, 1.0)
