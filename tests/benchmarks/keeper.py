"""A worker that keeps candles: `keeper.py FOLDER ROOT KEY START` asks the server at ROOT.

{"do": NAME} takes one of `Keeper`'s measures and answers with its seconds. START is the
open time of the server's first candle, KEY is for its CoinCap.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from unittest.mock import patch

import duckdb
import numpy as np
import polars as pl
import requests
from candles import BEHIND, MARKETS, MILLION, PAGE, SYMBOLS, TIMES, WEEK
from weeks import NEWEST
from weeks import candles as simulated

from cryptocast.candles import normalise
from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.sources import Setup, open_source
from cryptocast.sources._http import Http, HttpReply, Query
from cryptocast.store import Store
from cryptocast.values import Market
from cryptocast.workflows.fetch import fetch, import_files
from cryptocast.workspace import Workspace

BAR = 300
DATABASE = "cryptocast.duckdb"
COLUMNS = ("open", "high", "low", "close", "volume")
IMPORTED = "bitvavo:BTC/EUR:5m"


class Keeper:
    """What is measured; each measure returns its seconds, and asserts that it did its work."""

    def __init__(self, folder: Path, root: str, key: str, start: int) -> None:
        self.folder = folder
        self.root = root
        self.secrets = Secrets({"COINCAP_API_KEY": key})
        self.start = start
        self.now = start + WEEK * BAR
        self.answers: dict[tuple[str, str, str], HttpReply] = {}
        self.file = self._recorded()
        self.empty = self._store("empty.duckdb").path
        self.many = self._many()
        self.behind = self._behind()

    def bring_in(self) -> float:
        """Import a million candles into an empty store, as `fetch --source file` does."""
        folder = self._workspace("import", self.empty)
        started = time.perf_counter()
        with Workspace.open(folder, environ={}) as ws:
            report = import_files(ws, self.file, IMPORTED)
        seconds = time.perf_counter() - started
        assert report.markets[0].new == MILLION
        return seconds

    def insert(self) -> float:
        """The floor of that: the same file into the same table, by DuckDB alone."""
        database = self.folder / "insert.duckdb"
        shutil.copy(self.empty, database)
        started = time.perf_counter()
        with duckdb.connect() as engine:
            engine.execute(f"ATTACH '{database}' AS store")
            engine.execute(
                f"INSERT INTO store.candles SELECT '{IMPORTED}', open_time, {', '.join(COLUMNS)}, "
                f"'imported', now() FROM read_parquet('{self.file}')"
            )
            engine.execute("DETACH store")
        return time.perf_counter() - started

    def imported(self) -> int:
        """The size of the database that `bring_in` made."""
        return (self.folder / "import" / DATABASE).stat().st_size

    def inserted(self) -> int:
        """The size of the database that `insert` made."""
        return (self.folder / "insert.duckdb").stat().st_size

    def read(self) -> float:
        """The newest week of one market among many."""
        market = Market.of(f"C{MARKETS // 2}/EUR", "bitvavo", "5m")
        end = self.start + TIMES * BAR
        started = time.perf_counter()
        with self.many.read() as reader:
            found = reader.candles([market], end - WEEK * BAR, end)[market]
        seconds = time.perf_counter() - started
        assert len(found) == WEEK
        return seconds

    def select(self) -> float:
        """The floor of that: the same rows by DuckDB alone."""
        end = self.start + TIMES * BAR
        started = time.perf_counter()
        with duckdb.connect(self.many.path) as connection:
            found = connection.execute(
                f"SELECT epoch(open_time)::BIGINT AS open_time, {', '.join(COLUMNS)} FROM candles "
                f"WHERE market = 'bitvavo:C{MARKETS // 2}/EUR:5m' AND open_time >= "
                f"to_timestamp({end - WEEK * BAR}) AND open_time < to_timestamp({end}) ORDER BY 1"
            ).fetchnumpy()
        seconds = time.perf_counter() - started
        assert len(found["open_time"]) == WEEK
        return seconds

    def bitvavo(self) -> float:
        """Parse and normalise one answer of 1,440 rows: a page, and its inclusive end."""
        return self._parse("bitvavo", "BTC/EUR", PAGE - 1)

    def coincap(self) -> float:
        """The same of CoinCap, which gives them in five answers."""
        return self._parse("coincap", "BTC/USD", PAGE)

    def bitvavo_decoded(self) -> float:
        """The floor of that: the same answer as an array of numbers."""
        return self._decoded("bitvavo")

    def coincap_decoded(self) -> float:
        """The same of CoinCap."""
        return self._decoded("coincap")

    def catch_up(self) -> float:
        """Fetch what many markets lack, a page each."""
        folder = self._workspace("behind", self.behind)
        started = time.perf_counter()
        with self._opened(folder, self.now) as ws:
            report = fetch(ws)
        seconds = time.perf_counter() - started
        assert [market.new for market in report.markets] == [BEHIND] * len(SYMBOLS)
        return seconds

    def ask(self) -> float:
        """The same answers asked for one by one, and decoded."""
        end = self.now * 1000
        start = end - (PAGE - 1) * BAR * 1000
        query = {"interval": "5m", "limit": str(PAGE), "start": str(start), "end": str(end)}
        started = time.perf_counter()
        with requests.Session() as session:
            session.trust_env = False  # no proxy of this machine lies between
            for symbol in SYMBOLS:
                url = f"{self.root}/bitvavo/{symbol.replace('/', '-')}/candles"
                rows = json.loads(session.get(url, params=query).content)
                assert len(rows) == PAGE - 1
        return time.perf_counter() - started

    def _parse(self, name: str, symbol: str, bars: int) -> float:
        """A source without its network: what the server said the first time is said again."""
        market = Market.of(symbol, name, "5m")
        settings = SourceSettings(name=name, base_url=f"{self.root}/{name}")
        clock = VirtualClock(self.now)
        source = open_source(Setup(settings, [market], self.secrets, clock=clock))
        ask = Http._ask

        def remembered(http: Http, path: str, query: Query, deadline: float) -> HttpReply:
            key = name, path, json.dumps(dict(query))
            if key not in self.answers:
                self.answers[key] = ask(http, path, query, deadline)
            return self.answers[key]

        end = self.start + bars * BAR
        with patch.object(Http, "_ask", remembered):
            started = time.perf_counter()
            kept = [
                normalise(page.candles, market, now=self.now, start=page.start, end=page.end)
                for page in source.pages(market, self.start, end)
            ]
            seconds = time.perf_counter() - started
        source.close()
        assert sum(len(page.candles) for page in kept) == bars
        return seconds

    def _decoded(self, name: str) -> float:
        """Make arrays of what `_parse` remembers of a source."""
        if not any(key[0] == name for key in self.answers):
            getattr(self, name)()
        bodies = [reply.body for key, reply in self.answers.items() if key[0] == name]
        started = time.perf_counter()
        for body in bodies:
            answer = json.loads(body)
            rows = answer["candles"] if isinstance(answer, dict) else answer
            np.array([[*row.values()] if isinstance(row, dict) else row for row in rows], float)
        return time.perf_counter() - started

    def _recorded(self) -> Path:
        """A million simulated candles as a Parquet file; some bars in between are missing."""
        _, made = simulated("BTC/EUR", range(NEWEST - 3520, NEWEST))
        made = made.take(slice(-MILLION, None))
        columns = {name: getattr(made, name) for name in COLUMNS}
        opened = pl.from_epoch(pl.Series(made.open_time)).dt.replace_time_zone("UTC")
        file = self.folder / "million.parquet"
        pl.DataFrame({"open_time": opened, **columns}).write_parquet(file)
        return file

    def _store(self, name: str) -> Store:
        """An empty one."""
        store = Store(self.folder / name, 30.0)
        with store.read():
            return store

    def _many(self) -> Store:
        """Bars of many markets, in the order in which a loop would have stored them."""
        store = self._store("many.duckdb")
        prices = ", ".join(f"100 + {place} * random()" for place in range(len(COLUMNS)))
        with duckdb.connect(store.path) as connection:
            connection.execute(
                f"""
                INSERT INTO candles SELECT
                    'bitvavo:C' || i % {MARKETS} || '/EUR:5m',
                    to_timestamp({self.start} + i // {MARKETS} * {BAR}),
                    {prices}, 'live', to_timestamp({self.start} + i // {MARKETS} * {BAR} + 310)
                FROM range({MARKETS * TIMES}) AS rows(i)
                """
            )
        return store

    def _behind(self) -> Path:
        """The database of many markets that lack a page, but for what is asked for twice."""
        folder = self._workspace("caught-up", self.empty)
        with self._opened(folder, self.now - BEHIND * BAR) as ws:
            fetch(ws, start=self.start)
        return folder / DATABASE

    def _opened(self, folder: Path, now: int) -> Workspace:
        options = {
            "market.symbols": SYMBOLS,
            "source.name": "bitvavo",
            "source.base_url": f"{self.root}/bitvavo",
        }
        clock = VirtualClock(now)
        return Workspace.open(folder, environ={}, options=options, clock=clock)

    def _workspace(self, name: str, database: Path) -> Path:
        """A fresh one with a copy of a database."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "cryptocast.toml").touch()
        shutil.copy(database, folder / DATABASE)
        return folder


def main(folder: Path, root: str, key: str, start: int) -> None:
    """HttpReply until the input ends."""
    keeper = Keeper(folder, root, key, start)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        answer = getattr(keeper, json.loads(line)["do"])()
        print(json.dumps({"found": answer}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
