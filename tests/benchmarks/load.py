"""`make soak`: requests over HTTP beside a loop of real ticks. Exits 1 over a budget or on a loss.

A loop ticks each minute of the system's clock on the simulated exchange, and serves HTTP in its
own process. For the first half of its ticks nobody asks; then /forecast is asked so many times a
second, and listeners follow /stream. Requests start when they are due, whether those before are
answered or not, and each is timed from that moment on: a service that stalls delays all that wait.
With --mixed, other routes are asked once a second besides.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import duckdb
from processes import environment, run
from soak import COMMAND, Finding

BAR = 60
RATE, TICKS, LISTENERS = 50, 10, 5
MOST_SECONDS = 0.3  # of 99 in 100 requests
MOST_LAG_SECONDS = 20.0  # from a close to its stored forecast; the loop waits 1 s, a tick takes 0.1
QUICK = "/forecast"
OTHERS = (
    "/candles?limit=10000",
    "/status",
    "/probability?above=1&horizon=6h",
    "/metrics",
    "/scores",
)
SETTINGS = {"MARKET__INTERVAL": "1m", "MODEL__KIND": "random_walk", "LOOP__DELAY_SECONDS": "1"}


@dataclass(slots=True)
class Client:
    """Asks one service, over connections that are kept."""

    port: int
    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    events: list[set[str]] = field(default_factory=list)  # ids, by listener
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, path: str, due: float, *, timed: bool) -> None:
        """Ask once; an answer that does not come counts as status 0."""
        status = 0
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await self._connection()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            await reader.readexactly(length)
            status = int(head.split()[1])
            self.idle.append((reader, writer))
        if timed:
            self.seconds.append(time.monotonic() - due)
            self.statuses.append(status)

    async def listen(self, number: int) -> None:
        """Follow the stream until it ends."""
        reader, writer = await self._connected()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with suppress(OSError):
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    self.events[number].add(line[4:].decode().strip())

    async def press(self, seconds: float, rate: int, *, mixed: bool) -> None:
        """Ask so many times a second, for so long."""
        began, asking = time.monotonic(), set()
        others = itertools.cycle(OTHERS)
        for number in range(round(seconds * rate)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            asking.add(asyncio.create_task(self.ask(QUICK, due, timed=True)))
            if mixed and number % rate == 0:
                asking.add(asyncio.create_task(self.ask(next(others), due, timed=False)))
        await asyncio.gather(*asking)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is idle and open, or a new one: the service closes what is idle for long."""
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await self._connected()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def pressed(port: int, seconds: float, given: argparse.Namespace) -> Client:
    """A client that has asked and listened for so long."""
    client = Client(port, events=[set() for _ in range(LISTENERS)])
    listeners = [asyncio.create_task(client.listen(number)) for number in range(LISTENERS)]
    await client.press(seconds, given.rate, mixed=given.mixed)
    for listener in listeners:
        listener.cancel()
    return client


def made(folder: Path) -> Path:
    """A workspace on the simulated exchange with bars of a minute."""
    (folder / ".env").parent.mkdir(parents=True)
    words = ("init", "-w", str(folder), "--source", "sim", "--days", "1", "--trials", "0")
    (folder / ".env").write_text("".join(f"CRYPTOCAST_{k}={v}\n" for k, v in SETTINGS.items()))
    run((*COMMAND, *words, "--quiet"), folder.parent)
    return folder


def lags(folder: Path) -> dict[str, float]:
    """Seconds from each origin to its forecast, by the origin."""
    with duckdb.connect(str(folder / "cryptocast.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT strftime(origin AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%SZ'), "
            "epoch(issued_at) - epoch(origin) FROM forecast_sets "
            "WHERE served AND mode IN ('live', 'late') ORDER BY origin"
        ).fetchall()
    return dict(rows)


def findings(folder: Path, client: Client, alone: set[str], lines: list[str]) -> Iterator[Finding]:
    """What is to be within its budget, or zero."""
    ranked = sorted(client.seconds)
    shown = ", ".join(f"p{p} {1000 * ranked[len(ranked) * p // 100]:.1f} ms" for p in (50, 90, 99))
    worst = ranked[len(ranked) * 99 // 100]
    what = f"{len(ranked):,} requests of {QUICK}, {client.statuses.count(200):,} of them 200"
    yield Finding(what, f"{shown}, most {1000 * ranked[-1]:.0f} ms", worst <= MOST_SECONDS)
    lost = len(ranked) - client.statuses.count(200)
    yield Finding("requests without an answer", str(lost), lost == 0)
    ticks = [json.loads(line)["data"] for line in lines]
    failed = sum("error" in tick for tick in ticks)
    yield Finding("ticks that failed", f"{failed} of {len(ticks)}", failed == 0)
    by_origin = lags(folder)
    lag = list(by_origin.values())
    before, during = lag[1 : len(alone)], lag[len(alone) :]  # the first tick comes at any moment
    figure = (
        f"{median(during):.2f} s (most {max(during):.2f}), without requests {median(before):.2f} s"
    )
    yield Finding("lag of a forecast", figure, max(during) <= MOST_LAG_SECONDS)
    with duckdb.connect(str(folder / "cryptocast.duckdb"), read_only=True) as connection:
        [(missed,)] = connection.execute(
            "SELECT count(*) FROM ticks WHERE status IN ('missed', 'late')"
        ).fetchall()
    yield Finding("origins missed or late", str(missed), missed == 0)
    # The last one comes when nobody listens any more.
    unheard = [len(set(list(by_origin)[len(alone) : -1]) - heard) for heard in client.events]
    yield Finding("forecasts that a listener missed", str(max(unheard)), max(unheard) == 0)


def main() -> int:
    """Run it and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=TICKS, help="of the loop, half of them alone")
    parser.add_argument("--rate", type=int, default=RATE, help="requests a second")
    parser.add_argument("--mixed", action="store_true", help="ask other routes too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cryptocast-load-") as name:
        folder = made(Path(name) / "w")
        command = (*COMMAND, "serve-loop", "-w", str(folder), "--api", "0", "--json")
        with subprocess.Popen(
            (*command, "--max-ticks", str(given.ticks + 1)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as loop:
            assert loop.stdout is not None
            assert loop.stderr is not None
            port = int(loop.stderr.readline().rpartition(":")[2])
            lines = [loop.stdout.readline() for _ in range(given.ticks // 2)]
            alone = set(lags(folder))
            seconds = BAR * (given.ticks - given.ticks // 2) + BAR / 4
            client = asyncio.run(pressed(port, seconds, given))
            lines += loop.stdout.readlines()[:-1]  # the last one is the summary
        good = True
        for finding in findings(folder, client, alone, lines):
            print(
                f"{'ok  ' if finding.good else 'BAD '} {finding.name}: {finding.figure}", flush=True
            )
            good &= finding.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
