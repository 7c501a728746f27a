"""Does renewing help? `make renewal DATA=FOLDER` replays 30 days with and without it (an hour).

Of each case, a file of candles in the folder and a day: `init` on the 7 days before, then every
5 minutes the live tick, every hour `monitor`, and `retrain --if-needed` where it says declined;
beside it the same 30 days with the first model alone. All on the virtual clock: no command sees
a candle that closed after it. Skills are against the random walk that learned from the 7 days,
over all steps; standard errors by a bootstrap in blocks of a day.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryptocast import cli
from cryptocast.clock import VirtualClock
from cryptocast.compute.scoring import WALK, baseline
from cryptocast.errors import StateError
from cryptocast.evaluation.comparison import Resampling, resampled_sums, standard_error
from cryptocast.evaluation.metrics import crps_bp
from cryptocast.values import FloatArray, iso, parse_time
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.monitor import monitor
from cryptocast.workflows.replay import plan, replay
from cryptocast.workflows.retrain import retrain
from cryptocast.workflows.watching.served import REPLAYED, ServedReader, TrackRecord
from cryptocast.workspace import Workspace

DAY, HOUR, BAR = 86_400, 3_600, 300
DECLINED = "declined"
CASES = (
    "binance_BTC-USDT_5m_2020@2021-05-03",
    "binance_XRP-USDT_5m_2020@2021-04-05",
    "bitfinex_BTC-USD_5m_2018@2018-11-05",
)
"""How a file's name begins, and the day on which it starts to serve.

Chosen because the monitor declines the first model in them. In three others that were looked at
it never does: LINK-USDT from 2024-03-04 and 2024-06-03, BTC-USDT from 2021-01-04.
"""


@dataclass(frozen=True)
class Case:
    """One market and where its 30 days begin."""

    file: Path
    symbol: str
    start: int

    @classmethod
    def of(cls, text: str, folder: Path) -> Case:
        name, _, day = text.partition("@")
        (file,) = sorted(folder.glob(f"{name}*.parquet"))
        pair = re.search(r"_([A-Z]+)-([A-Z]+)_", file.name)
        assert pair is not None
        return cls(file, "/".join(pair.groups()), parse_time(day))

    def __str__(self) -> str:
        return f"{self.symbol} from {iso(self.start)[:10]}"


@dataclass(frozen=True)
class Renewal:
    """One retraining: when, why, and what came of it."""

    at: int
    reason: str
    finding: str
    decision: str


def made(case: Case, folder: Path, days: float, trials: int) -> Path:
    """A workspace of `init` at the start, with the candles of the days that follow."""
    options = ("--source", "file", "--path", case.file, "--symbol", case.symbol)
    words = ("init", "-w", folder, *options, "--trials", trials, "--as-of", iso(case.start), "-q")
    if code := cli.run([str(word) for word in words]):
        sys.exit(code)
    end = case.start + round(days * DAY)
    with opened(folder, end) as ws:
        fetch(ws, start=case.start, end=end).demand_all()
    return folder


def opened(folder: Path, now: int) -> Workspace:
    return Workspace.open(folder, environ={}, clock=VirtualClock(now))


def served(folder: Path, first: int, last: int) -> None:
    """The live tick at every origin from the first to the last."""
    with opened(folder, last) as ws:
        for _ in replay(ws, plan(ws, first, last)):
            pass


def renewed(folder: Path, start: int, end: int) -> Iterator[Renewal | str]:
    """Serve hour by hour, renewing where the monitor says so; each change of its verdict too."""
    before, first = "", start
    for hour in range(start, end, HOUR):
        try:
            served(folder, first, hour + HOUR - BAR)
        except StateError:
            continue  # the exchange was down: these origins come with its next candles
        first = hour + HOUR
        with opened(folder, hour + HOUR) as ws:
            report = monitor(ws)
            if report.verdict != before:
                yield f"{iso(hour + HOUR)} {report.verdict}: {report.reason}"
            before = report.verdict
            if report.verdict != DECLINED:
                continue
            done = retrain(ws, if_needed=True)
            if done.pipeline is None:
                continue  # the cool-down, or the day's budget
            decision = done.pipeline.decision
            verb = "is production" if decision.promoted else "stays"
            told = f"version {decision.version} ({decision.model}) {verb}: {decision.reason}"
            yield Renewal(hour + HOUR, done.reason, done.findings.get(decision.market) or "-", told)


def losses(folder: Path, start: int, end: int) -> tuple[TrackRecord, FloatArray, FloatArray]:
    """[N, H] CRPS of what was served and of the random walk that learned before the start."""
    with opened(folder, end) as ws, ws.store.read() as reader:
        served = ServedReader(reader, ws.settings, ws.clock.now())
        found = served.track_record(ws.markets()[0], start, end, REPLAYED)
    assert found is not None
    walk = baseline(
        WALK, found.before, found.windows, found.levels, found.market.interval_seconds
    ).quantiles
    mine, theirs = (crps_bp(q, found.targets, found.levels) for q in (found.quantiles, walk))
    return found, mine, theirs


def skill(mine: FloatArray, theirs: FloatArray) -> tuple[float, float]:
    """The mean over steps of 1 - CRPS / CRPS of the other, and its standard error; per cent."""
    relative = (theirs - mine) / np.nanmean(theirs, axis=0)
    series = np.nanmean(relative[np.isfinite(relative).any(axis=1)], axis=1)
    plan = Resampling.of(len(series), DAY // BAR, 2000)
    drawn = resampled_sums(series[:, None], plan)[:, 0] / len(series)
    return 100 * float(series.mean()), 100 * standard_error(drawn, plan)


def study(case: Case, base: Path, days: float, trials: int) -> tuple[list[Renewal], list[str]]:
    """Both runs of a case: its renewals, and a row of skills."""
    end = case.start + round(days * DAY)
    kept = made(case, base / "kept", days, trials)
    other = Path(shutil.copytree(kept, base / "renewed"))
    renewals = []
    for told in renewed(other, case.start, end):
        print(told, flush=True)
        if isinstance(told, Renewal):
            renewals.append(told)
    served(kept, case.start, end - BAR)
    found, without, walk = losses(kept, case.start, end)
    _, with_it, _ = losses(other, case.start, end)
    # Where production changed: before the first renewal both runs are one.
    later = found.served.origins >= (renewals[0].at if renewals else end)
    pairs = [(without, walk), (with_it, walk), (with_it, without)]
    row = [str(case), str(len(without)), str(len(renewals))]
    row += [_told(*skill(mine, theirs)) for mine, theirs in pairs]
    row.append(_told(*skill(with_it[later], without[later])) if later.any() else "-")
    return renewals, row


def _short(text: str) -> str:
    """A reason without its market, its figures and what every row has."""
    return re.sub(r"declined: |file:\S+: | \((?:skill|\d)[^;]*|, shrunken[^;]*", "", text)


def _told(value: float, error: float) -> str:
    return f"{value:+.2f} ({error:.2f})"


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Run every case and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="Parquet files of candles")
    parser.add_argument("--case", action="append", help="BEGIN_OF_A_FILE'S_NAME@DATE")
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--trials", type=int, default=10)
    given = parser.parse_args()
    rows, retrains = [], []
    for case in (Case.of(text, given.folder) for text in given.case or CASES):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as base:
            renewals, row = study(case, Path(base), given.days, given.trials)
        rows.append(row)
        retrains += [
            [str(case), iso(r.at), *map(_short, (r.reason, r.finding, r.decision))]
            for r in renewals
        ]
        print(f"{' | '.join(row)} ({time.monotonic() - started:.0f} s)", flush=True)
    print(_table(["market", "time", "reason", "finding", "decision"], retrains), "\n")
    columns = ["market", "origins", "retrains", "skill without", "with", "with against without"]
    print(_table([*columns, "after the first retraining"], rows))


if __name__ == "__main__":
    main()
