"""What was tried for the base network: `make ablation DATA=FOLDER` (half an hour).

Each variant learns from all eras but one, and is scored on that one. Skill is against H, the random
walk that knows in hindsight the best of 13 decays for each step of each series, and its quantiles.
A standard error is a jackknife over weeks, all coins of an era together. Then the shipped networks,
coin by coin. The tables go into results/ablation.md.
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
from eras import EVERY, HORIZON
from lab import Lab
from record import record
from sums import Sums, told
from variants import SHIPPED, VARIANTS

LABS: list[Lab] = []
"""The lab of a worker process."""


def begin(folder: Path, stride: int) -> None:
    """Make a worker ready: every one reads the files itself."""
    import torch

    torch.set_num_threads(1)
    LABS[:] = [Lab(folder, "5m", stride)]


def attempt(name: str) -> tuple[str, dict[str, Sums]]:
    """Score a variant."""
    (lab,) = LABS
    return name, lab.score(VARIANTS[name].learn)


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


def alike(found: dict[str, dict[str, Sums]]) -> dict[str, dict[str, Sums]]:
    """The same with every week weighing as much."""
    return {
        name: {era: sums.weeks_alike() for era, sums in eras.items()}
        for name, eras in found.items()
    }


def heads(found: dict[str, dict[str, Sums]]) -> list[str]:
    """The first two lines of both tables."""
    eras = list(found[SHIPPED])
    names = [f"{era}: {what}" for era in eras for what in ("step 1", "mean")]
    return [f"| variant | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]


def report(lab: Lab, found: dict[str, dict[str, Sums]]) -> str:
    """Everything as Markdown."""
    return "\n\n".join(
        [
            f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make ablation DATA=FOLDER`, each era by"
            f" what was learned from the others, one origin in {lab.every}. CRPS skill in per cent"
            f" (standard error) at step 1 and as the mean of {HORIZON} steps, against H, a mean"
            " over coins:",
            "\n".join(skills(found)),
            "The same less the shipped one's, on the same origins:",
            "\n".join(differences(found)),
            "Both once more with every week of a coin weighing as much, however wild it was, from"
            " where the profile has all its days before it:",
            "\n".join(skills(alike(found))),
            "\n".join(differences(alike(found))),
            *worth.report(lab),
        ]
    )


def main() -> None:
    """Try all variants, print the tables, and record them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="these variants, besides the shipped one")
    parser.add_argument("--every", type=int, default=EVERY, help="of the origins one in so many")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--no-record", action="store_true", help="only print")
    options = parser.parse_args()
    lab = Lab(options.folder, "5m", options.every)
    if len(lab.eras) < 2:
        sys.exit(f"{options.folder} holds no month of candles of two eras")
    wanted = [n for n in VARIANTS if options.only is None or n in (SHIPPED, *options.only)]
    began, done = time.monotonic(), {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, begin, (options.folder, options.every)) as pool:
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
