"""A worker with a workspace: `ledgers.py WORKSPACE` makes copies of it, and answers.

{"do": "year"} fills a copy with a year's ledger, {"do": "rows"} one with 100,000 forecasts;
{"do": "tick_empty"} and {"do": "tick_year"} make one tick in this process, {"do": "many"} one of
500 markets that {"do": "spread"} has made, {"do": "replay"} replays a week. {"do": "year_bytes"}
tells the size of the file. {"do": "grow_markets", "count": 100}, and the same with candles and
ledger, make a copy that has grown to so much.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import duckdb
from sizes import size

from cryptocast.clock import VirtualClock
from cryptocast.values import parse_time
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.forecast import tick
from cryptocast.workflows.replay import plan, replay
from cryptocast.workspace import Workspace

START = "2024-06-08T00:00:00Z"
BAR = 300
YEAR, ROWS = size(105_120, 2_000), size(100_000, 4_800)
MARKETS, REPLAYED, DAYS = size(500, 10), size(2_016, 48), 5

# As a year of ticks would have left them: prices to 9 digits, a widening for each step.
_SETS = """
INSERT INTO forecast_sets BY NAME
SELECT s.market, to_timestamp($end - ($n - i) * 300) AS origin, s.interval_seconds,
    s.model_version, s.model_kind, s.level_set,
    list_transform(s.quantiles, lambda q: round(q * (1 + 0.05 * sin(i / 500) + 1e-5 * random()), 4))
        AS quantiles,
    round(s.last_close * (1 + 0.05 * sin(i / 500)), 2) AS last_close, 0 AS stale_bars,
    list_transform(range($h), lambda h: round(1 + 0.1 * random(), 6)) AS scale,
    to_timestamp($end - ($n - i) * 300 + 2) AS issued_at,
    to_timestamp($end - ($n - i) * 300 + 3) AS written_at,
    'live' AS mode, false AS late, true AS served, NULL AS fallback
FROM (SELECT * FROM forecast_sets WHERE served ORDER BY origin LIMIT 1) AS s,
    range($first, least($first + 288, $n)) AS t(i)
"""
_TICKS = """
INSERT INTO ticks
SELECT t.market, to_timestamp($end - ($n - i) * 300), to_timestamp($end - ($n - i) * 300 + 2),
    to_timestamp($end - ($n - i) * 300 + 3), 'ok', NULL, NULL
FROM (SELECT market FROM ticks LIMIT 1) AS t, range($n) AS r(i)
"""

# Candles that reach beyond the ticks, a day later than those of the first market; and a set of
# each of the steps before, from which a tick takes up its calibration.
_SPREAD = (
    """
    CREATE TEMP TABLE days AS
    SELECT * REPLACE (open_time + INTERVAL 1 DAY AS open_time) FROM candles
    WHERE open_time >= to_timestamp($end) - to_days($days)
    """,
    "DELETE FROM candles",
    """
    INSERT INTO candles
    SELECT days.* REPLACE ('file:' || s || ':5m' AS market)
    FROM days, unnest($symbols) AS t(s) ORDER BY 1, 2
    """,
    "CREATE TEMP TABLE sets AS FROM forecast_sets WHERE served ORDER BY origin DESC LIMIT 1",
    "DELETE FROM forecast_sets",
    """
    INSERT INTO forecast_sets
    SELECT sets.* REPLACE (
        'file:' || s || ':5m' AS market, to_timestamp($end - i * 300) AS origin)
    FROM sets, range(24, -1, -1) AS t(i), unnest($symbols) AS u(s) ORDER BY origin, market
    """,
)


class Ledgers:
    """Copies of one workspace that has served `START`."""

    def __init__(self, workspace: Path) -> None:
        self.first = workspace
        self.end = parse_time(START)
        self.ticked = 0

    def copy(self, name: str) -> Path:
        folder = self.first.with_name(name)
        shutil.copytree(self.first, folder)
        return folder

    def fill(self, folder: Path, sets: int) -> float:
        """Put that many sets before the first one; returns the seconds it took."""
        started = time.perf_counter()
        with duckdb.connect(folder / "cryptocast.duckdb") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for first in range(0, sets, 288):
                given = {"end": self.end, "n": sets, "first": first, "h": 24}
                connection.execute(_SETS, given)
            connection.execute(_TICKS, {"end": self.end, "n": sets})
        return time.perf_counter() - started

    def year(self) -> float:
        self.copy("empty")
        return self.fill(self.copy("year"), YEAR)

    def rows(self) -> float:
        return self.fill(self.first, ROWS // 24)

    def year_bytes(self) -> float:
        return (self.first.with_name("year") / "cryptocast.duckdb").stat().st_size

    def tick_empty(self) -> float:
        self.ticked += 1
        return self._tick(self.first.with_name("empty"))

    def tick_year(self) -> float:
        return self._tick(self.first.with_name("year"))

    def _tick(self, folder: Path, *, fetch: bool = True) -> float:
        started = time.perf_counter()
        with Workspace.open(folder, clock=VirtualClock(self.end + self.ticked * BAR)) as ws:
            report = tick(ws, fetch=fetch)
        assert report.new
        return time.perf_counter() - started

    def spread(self) -> float:
        """Make the workspace of 500 markets."""
        self._spread(self.copy("many"), MARKETS)
        return 0.0

    def grow_markets(self, count: int) -> float:
        """Make a workspace of so many markets."""
        self._spread(self.copy(f"markets{count}"), count)
        return 0.0

    def grow_ledger(self, count: int) -> float:
        """Make a workspace with so many sets before the first one."""
        return self.fill(self.copy(f"ledger{count}"), count)

    def grow_candles(self, count: int) -> float:
        """Make a workspace with so many candles before the first one."""
        with duckdb.connect(self.copy(f"candles{count}") / "cryptocast.duckdb") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(
                """
                INSERT INTO candles
                SELECT market, open_time - to_seconds(i * 300), open, high, low, close, volume,
                    provenance, fetched_at
                FROM (FROM candles ORDER BY open_time LIMIT 1), range($n, 0, -1) AS t(i)
                """,
                {"n": count},
            )
        return 0.0

    def many(self) -> float:
        """One tick of 500 markets, imports aside."""
        self.ticked += 1
        return self._tick(self.first.with_name("many"), fetch=False)

    def _spread(self, folder: Path, count: int) -> None:
        """Give the first market's candles to others, so that there are so many markets."""
        symbols = ["BTC/EUR", *(f"C{number}/EUR" for number in range(count - 1))]
        file = folder / "cryptocast.toml"
        lines = file.read_text().splitlines()
        named = f"symbols = {json.dumps(symbols)}"
        lines = [named if line.startswith("symbols") else line for line in lines]
        file.write_text("\n".join(lines) + "\n")
        with duckdb.connect(folder / "cryptocast.duckdb") as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for statement in _SPREAD:
                named = {"symbols": symbols, "end": self.end, "days": DAYS}
                named = {name: given for name, given in named.items() if f"${name}" in statement}
                connection.execute(statement, named)

    def peak_mebibytes(self) -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def replay(self) -> float:
        """The week after `START`."""
        folder = self.first.with_name("replayed")
        shutil.rmtree(folder, ignore_errors=True)
        self.copy("replayed")
        last = self.end + REPLAYED * BAR
        with Workspace.open(folder, clock=VirtualClock(last)) as ws:
            fetch(ws, start=self.end, end=last)
            started = time.perf_counter()
            planned = plan(ws, self.end + BAR, last)
            made = sum(len(block.sets) for block in replay(ws, planned))
        assert made == REPLAYED, made
        return time.perf_counter() - started


def main(workspace: Path) -> None:
    """Answer until the input ends."""
    ledgers = Ledgers(workspace)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        found = getattr(ledgers, asked.pop("do"))(**asked)
        print(json.dumps({"found": found}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
