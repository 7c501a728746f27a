"""What was tried for the base network: `make ablation DATA=FOLDER` (a quarter of an hour).

Each variant learns from the older part of some files and is scored on the newest part of them;
then it learns from all of them and is scored on the files of other eras. Skill is against H, the
random walk that knows in hindsight the best of 13 decays for each step of each series, and its
quantiles. A standard error is a jackknife over weeks, all coins of an era together. Then the
shipped networks, coin by coin. The tables go into results/ablation.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import worth
from eras import HORIZON, Sums, told
from lab import Lab
from record import record
from variants import SHIPPED, VARIANTS

TRAIN = "binance*2024*"


LABS: list[Lab] = []
"""The lab of a worker process."""


def begin(folder: Path, train: str) -> None:
    """Make a worker ready: every one reads the files itself."""
    import torch

    torch.set_num_threads(1)
    LABS[:] = [Lab(folder, train, "5m")]


def attempt(name: str) -> tuple[str, dict[str, Sums]]:
    """Score a variant."""
    (lab,) = LABS
    return name, lab.score(lambda until: VARIANTS[name].learn(lab.tracks, until))


def skills(found: dict[str, dict[str, Sums]]) -> list[str]:
    """A row a variant: what it came to."""
    rows = []
    for name, eras in found.items():
        cells = [cell for sums in eras.values() for cell in told(sums.left_out(), sums.skill())]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [*heads(found), *rows]


def differences(found: dict[str, dict[str, Sums]]) -> list[str]:
    """A row a variant: what it came to less what the shipped one came to."""
    rows = []
    for name, eras in found.items():
        if name == SHIPPED:
            continue
        cells: list[str] = []
        for era, sums in eras.items():
            other = found[SHIPPED][era]
            left_out = sums.left_out() - other.left_out()
            cells += told(left_out, sums.skill() - other.skill())
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return [*heads(found), *rows]


def heads(found: dict[str, dict[str, Sums]]) -> list[str]:
    """The first two lines of both tables."""
    eras = list(found[SHIPPED])
    names = [f"{era}: {what}" for era in eras for what in ("step 1", "mean")]
    return [f"| variant | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]


def report(lab: Lab, found: dict[str, dict[str, Sums]]) -> str:
    """Everything as Markdown."""
    since = datetime.fromtimestamp(lab.cut, UTC)
    return "\n\n".join(
        [
            f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make ablation DATA=FOLDER`, learned from"
            f" `{lab.train}`; held out is the time from {since:%Y-%m-%d} on. CRPS skill in per cent"
            f" (standard error) at step 1 and as the mean of {HORIZON} steps, against H, a mean"
            " over coins:",
            "\n".join(skills(found)),
            "The same less the shipped one's, on the same origins:",
            "\n".join(differences(found)),
            *worth.report(lab),
        ]
    )


def main() -> None:
    """Try all variants, print the tables, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", default=TRAIN, help="the files to learn from, a glob")
    parser.add_argument("--only", nargs="*", help="these variants, besides the shipped one")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--no-record", action="store_true", help="only print")
    options = parser.parse_args()
    lab = Lab(options.folder, options.train, "5m")
    if not any(track.learned for track in lab.tracks):
        sys.exit(f"{options.folder} holds no month of candles in files like {options.train}")
    wanted = [n for n in VARIANTS if options.only is None or n in (SHIPPED, *options.only)]
    began, done = time.monotonic(), {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, begin, (options.folder, options.train)) as pool:
        for name, eras in pool.imap(attempt, wanted):
            done[name] = eras
            cells = [" ".join(told(s.left_out(), s.skill())) for s in eras.values()]
            spent = time.monotonic() - began
            print(
                f"{len(done)}/{len(wanted)} {name}: {' | '.join(cells)}; {spent:.0f} s", flush=True
            )
    text = report(lab, done)
    print(text)
    if not options.no_record:
        record("ablation", text)


if __name__ == "__main__":
    main()
