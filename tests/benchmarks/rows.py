"""What was measured against what was promised, as rows of a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from statistics import fmean, median

from processes import Summary

TARGETS = ("returns", "level")
"""The series that the peer is given, see peer.py."""


@dataclass(frozen=True, slots=True)
class Row:
    """One promise: `ratio` of what was measured to what it is held against, and its limit."""

    what: str
    measured: str
    against: str
    ratio: float
    limit: float
    at_least: bool = False

    @property
    def budget(self) -> str:
        """The promise in words."""
        return f"at {'least' if self.at_least else 'most'} {self.limit:.3g} x {self.against}"

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit


def timed(what: str, mine: Summary, against: str, floor: Summary, limit: float) -> Row:
    """A row of two times that were measured by turns."""
    return Row(what, str(mine), f"{against} {floor}", mine.times(floor), limit)


def sized(what: str, unit: str, mine: float, against: str, floor: float, limit: float) -> Row:
    """A row of two sizes."""
    return Row(what, f"{mine:.0f} {unit}", f"{against} ({floor:.0f} {unit})", mine / floor, limit)


def grows(
    what: str, counts: Sequence[int], found: Sequence[Summary], limit: float
) -> Iterator[Row]:
    """Rows of how time and memory grow: the exponent between the two largest counts.

    Between smaller ones it is lower, as a process has costs that do not grow.
    """
    steps = log(counts[-1] / counts[-2])
    for name, values, unit in (
        ("time", [summary.median for summary in found], "s"),
        ("peak memory", [summary.mebibytes for summary in found], "MiB"),
    ):
        exponent = log(values[-1] / values[-2]) / steps
        shown = ", ".join(f"{value:.4g}" for value in values)
        against = "growth in proportion to " + ", ".join(f"{count:,}" for count in counts)
        yield Row(f"{what}: growth of {name}", f"{shown} {unit}", against, exponent, limit)


def compare(
    ours: list[dict[str, float]], peers: dict[str, list[dict[str, float]]]
) -> Iterator[Row]:
    """Rows of two models over the same weeks; the peer shows the better of its two targets."""

    def mean(fits: list[dict[str, float]], name: str) -> float:
        return fmean(fit[name] for fit in fits)

    target = min(TARGETS, key=lambda name: mean(peers[name], "validation_bp"))
    peer = peers[target]
    scored = {name: f"{mean(fits, 'validation_bp'):.2f}" for name, fits in peers.items()}
    tell(f"  the peer's validation CRPS in bp by target: {scored}; it is given '{target}'")
    seconds = median(fit["seconds"] for fit in ours)
    peer_seconds = median(fit["seconds"] for fit in peer)
    speed = median(fit["windows_per_second"] for fit in ours)
    peer_speed = median(fit["windows_per_second"] for fit in peer)
    shown = f"{seconds:.2f} s (min {min(fit['seconds'] for fit in ours):.2f})"
    against = f"neuralforecast's {peer_seconds:.2f} s"
    yield Row("lstm fit, 2,016 bars", shown, against, seconds / peer_seconds, 1 / 3)
    yield Row(
        "lstm fit: speed",
        f"{speed:,.0f} windows/s",
        f"neuralforecast's {peer_speed:,.0f}",
        speed / peer_speed,
        1.0,
        at_least=True,
    )
    for name, what in (("validation_bp", "validation"), ("unseen_bp", "gate and test")):
        own, other = mean(ours, name), mean(peer, name)
        against = f"neuralforecast's {other:.2f}"
        yield Row(f"lstm CRPS: {what}", f"{own:.2f} bp", against, own / other, 1.0)


def tell(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def table(rows: list[Row]) -> str:
    """The rows in columns."""
    lines = [("what", "measured", "budget", "ratio", "")]
    for row in rows:
        verdict = "ok" if row.ok else "OVER"
        lines.append((row.what, row.measured, row.budget, f"{row.ratio:.2f}", verdict))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: list[Row]) -> str:
    """The rows as a table of a page."""
    lines = ["| what | measured | budget | ratio | |", "| --- | --- | --- | ---: | --- |"]
    for row in rows:
        verdict = "ok" if row.ok else "OVER"
        lines.append(
            f"| {row.what} | {row.measured} | {row.budget} | {row.ratio:.2f} | {verdict} |"
        )
    return "\n".join(lines)
