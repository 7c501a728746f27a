"""`make soak`: a month of ticks in one process, and ticks killed at random. Exits 1 on a loss.

Linux only, for /proc. `soak.py --ticks 8640 --kills 200` is the whole of it; `--workspace`
names one with a production model whose candles go on after `--start` (it is copied).
"""

from __future__ import annotations

import argparse
import calendar
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import duckdb
from processes import environment, run

COMMAND = (sys.executable, "-m", "cryptocast")
BAR = 300
TICKS, KILLS = 8640, 200
SETTLED_TICKS = 500
MOST_GROWTH = 1.10
LOOP_TICKS = 4  # of a loop that is to be killed
STUCK_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure and whether it is as promised."""

    name: str
    figure: str
    good: bool


def stamp(moment: int) -> str:
    """Unix seconds as the commands take them."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def loop(folder: Path, moment: int, ticks: int, *options: str) -> tuple[str, ...]:
    """The command of a loop on the virtual clock."""
    when = ("--as-of", stamp(moment), "--max-ticks", str(ticks))
    return (*COMMAND, "serve-loop", "-w", str(folder), *when, *options)


def once(folder: Path, moment: int) -> tuple[str, ...]:
    """The command of one tick."""
    return (*COMMAND, "forecast", "--once", "-w", str(folder), "--as-of", stamp(moment), "--quiet")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds."""

    mebibytes: float
    files: int


def sample(pid: int) -> Sample:
    """Look at a process that lives."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), files)


def long_run(folder: Path, start: int, ticks: int) -> Iterator[Finding]:
    """So many ticks in one process: its memory and open files after the first and at the end."""
    settled = min(SETTLED_TICKS, ticks // 3)
    samples: list[Sample] = []
    began = time.monotonic()
    with subprocess.Popen(
        loop(folder, start, ticks, "--json"), env=environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for _ in process.stdout:  # a line a tick; the last is the summary
            if len(samples) < ticks:
                samples.append(sample(process.pid))
    seconds = time.monotonic() - began
    yield Finding(
        "ticks in one process", f"{len(samples):,} in {seconds:,.0f} s", len(samples) == ticks
    )
    yield Finding("its exit code", str(process.returncode), process.returncode == 0)
    held = [s.mebibytes for s in samples]
    # Between ticks: a sample that falls into the next tick is none of the middle ones.
    width = max(4, settled // 10)
    windows = range(settled, len(held) - width + 1, width)
    early = median(held[settled - width : settled])
    most = max(median(held[i : i + width]) for i in windows)
    told = f"{early:.0f} MiB after {settled}, at most {most:.0f} later: x {most / early:.3f}"
    yield Finding("memory between ticks", told, most / early <= MOST_GROWTH)
    yield Finding("memory at any moment looked at", f"{max(held):.0f} MiB", True)
    first, last = (min(s.files for s in part) for part in (samples[:width], samples[-width:]))
    yield Finding("open files", f"{first} at the start, {last} at the end", last <= first)
    with database(folder) as ledger:
        served = ledger.execute(SERVED).fetchall()[0][0]
    yield Finding("origins that it served", f"{served:,}", served >= ticks)


@contextmanager
def database(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The ledger, as somebody with plain DuckDB opens it."""
    with duckdb.connect(str(folder / "cryptocast.duckdb"), read_only=True) as connection:
        yield connection


SERVED = "SELECT count(DISTINCT origin) FROM forecasts WHERE served"
FORECASTS = """
SELECT market, epoch(origin), model_version, step, hash(quantiles, served) FROM forecasts"""
KEPT = (FORECASTS, "SELECT market, epoch(open_time) FROM candles")
# A set is whole or absent: of every served (market, origin) all steps are there.
BROKEN = """
SELECT count(*) FROM (
    SELECT 1 FROM forecasts WHERE served GROUP BY market, origin
    HAVING count(DISTINCT step) <> (SELECT max(step) FROM forecasts)
)"""
DUPLICATES = """
SELECT count(*) FROM (
    SELECT 1 FROM forecasts GROUP BY market, origin, model_version, step HAVING count(*) > 1
    UNION ALL
    SELECT 1 FROM forecasts WHERE served GROUP BY market, origin, step HAVING count(*) > 1
    UNION ALL
    SELECT 1 FROM ticks WHERE status IN ('ok', 'late')
    GROUP BY market, origin HAVING count(*) > 1
)"""
STUCK = """
SELECT count(*) FROM ticks
WHERE finished_at IS NULL OR status NOT IN ('ok', 'late', 'missed', 'failed')"""


class Killing:
    """Ticks that are killed in one workspace, each followed by a new one."""

    def __init__(self, folder: Path, start: int, seed: int) -> None:
        self.folder = folder
        self.moment = start
        self.kills = self.unhealed = self.lost = self.unopened = 0
        self._draw = random.Random(seed)
        self._rows: set[tuple[object, ...]] = set()
        # A tick first, so that ever less of a process is its start: its usual length.
        self._seconds = {
            kind: run(command, folder).seconds
            for kind, command in (("once", once(folder, start)), ("loop", self._loop()))
        }
        self.moment += LOOP_TICKS * BAR

    def _loop(self) -> tuple[str, ...]:
        return loop(self.folder, self.moment, LOOP_TICKS, "--quiet")

    def kill(self, number: int) -> None:
        """One kill -9 at a random moment, then a tick at the same origin, and a look."""
        self.moment += BAR
        kind = "loop" if number % 2 else "once"
        command = self._loop() if kind == "loop" else once(self.folder, self.moment)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=environment(), **quiet) as process:
            try:
                process.wait(self._draw.uniform(0.2, 1.0) * self._seconds[kind])
            except subprocess.TimeoutExpired:
                process.kill()
                self.kills += 1
        if kind == "loop":
            self.moment += (LOOP_TICKS - 1) * BAR
        try:
            healed = subprocess.run(
                once(self.folder, self.moment),
                env=environment(),
                timeout=STUCK_SECONDS,
                capture_output=True,
                text=True,
                check=False,
            )
            if healed.returncode:
                self.unhealed += 1
                print(healed.stderr, file=sys.stderr)
        except subprocess.TimeoutExpired:
            self.unhealed += 1
        self._look()

    def _look(self) -> None:
        """Whether the database opens, and all is there that ever was."""
        try:
            with database(self.folder) as ledger:
                rows = {row for sql in KEPT for row in ledger.execute(sql).fetchall()}
        except duckdb.Error:
            self.unopened += 1
            return
        self.lost += len(self._rows - rows)
        self._rows |= rows

    def findings(self) -> Iterator[Finding]:
        """What is to be zero."""
        yield Finding(
            "kills survived", f"{self.kills - self.unhealed} of {self.kills}", self.unhealed == 0
        )
        yield Finding("databases that did not open", str(self.unopened), self.unopened == 0)
        yield Finding("lost rows", f"{self.lost} of {len(self._rows):,}", self.lost == 0)
        with database(self.folder) as ledger:
            for name, sql in (
                ("sets neither whole nor absent", BROKEN),
                ("duplicates", DUPLICATES),
                ("ticks stuck", STUCK),
            ):
                found = ledger.execute(sql).fetchall()[0][0]
                yield Finding(name, str(found), found == 0)
        litter = sorted(p.name for p in self.folder.rglob(".*") if p.is_file() and p.name != ".env")
        yield Finding("files left behind", ", ".join(litter) or "0", not litter)


def killing(folder: Path, start: int, kills: int, seed: int) -> Iterator[Finding]:
    """Kill until so many processes were alive when they were killed."""
    found = Killing(folder, start, seed)
    number = 0
    while found.kills < kills:
        found.kill(number)
        number += 1
    yield from found.findings()


def made(folder: Path, start: int) -> Path:
    """A workspace on the simulated exchange whose LSTM serves."""
    options = ("--source", "sim", "--trials", "0", "--as-of", stamp(start), "--quiet")
    run((*COMMAND, "init", "-w", str(folder), *options), folder.parent)
    forced = ("--force", "--reason", "soak", "--as-of", stamp(start), "--quiet")
    run((*COMMAND, "promote", "2", "-w", str(folder), *forced), folder.parent)
    return folder


def main() -> int:
    """Run both parts and print a line a figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=int, default=TICKS)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--start", default="2024-06-03T00:00:00Z", help="its last candle's close")
    options = parser.parse_args()
    start = calendar.timegm(time.strptime(options.start, "%Y-%m-%dT%H:%M:%SZ"))
    good = True
    with tempfile.TemporaryDirectory(prefix="cryptocast-soak-") as name:
        folder = Path(name)
        template = options.workspace or made(folder / "template", start)
        parts = (
            long_run(shutil.copytree(template, folder / "long"), start + BAR, options.ticks),
            killing(
                shutil.copytree(template, folder / "killed"),
                start + BAR,
                options.kills,
                options.seed,
            ),
        )
        for part in parts:
            for finding in part:
                print(f"{'ok  ' if finding.good else 'BAD '} {finding.name}: {finding.figure}")
                sys.stdout.flush()
                good &= finding.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
