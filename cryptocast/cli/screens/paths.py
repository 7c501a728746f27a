"""The tables of `evaluate --paths`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptocast.cli.root.output import Answer, table
from cryptocast.display import counted, number, percent

if TYPE_CHECKING:
    from rich.table import Table

    from cryptocast.workflows.futures.stored import PathsReport

_CRPS_LEGEND = (
    "CRPS of increments in bp, summed over a day, and against gbm (standard error); below 0 is "
    "better. Energy: the joint score of all markets from a step to 24 h"
)
_ASKED_LEGEND = (
    "share of increments inside the 90% range; basket: of all markets in equal parts; Brier "
    "scores against gbm's, and bias: the mean probability less how often it came"
)


def paths_answer(report: PathsReport) -> Answer:
    """Return the document and the tables of judged paths."""
    from cryptocast.documents import document

    data = document(report, times=("start", "end"))
    title = (
        f"Paths from {counted(report.entrants[0]['origins'], 'origin')}, {data['start']} to "
        f"{data['end']}, {counted(len(report.markets), 'market')}"
    )
    warnings = [f"{market} is left out: too few candles" for market in report.left_out]
    warnings += [
        f"version {version} learned from some of these candles: its scores are too good"
        for version in report.in_sample
    ]
    if report.skipped:
        skipped = counted(report.skipped, "origin")
        warnings.append(f"{skipped} left out: a market has no forecast, or no whole day after it")
    return Answer(data, lambda console: console.print(*_tables(report.entrants, title)), warnings)


def _tables(rows: Sequence[Mapping[str, Any]], title: str) -> Iterable[Table]:
    """Yield the scores against GBM, then ranges and questions."""
    scales = tuple(rows[0]["vs_gbm_by_scale"])
    scores = table(
        title,
        ("paths", "CRPS", "against gbm", *scales, "energy"),
        (
            [
                row["entrant"],
                number(row["crps_bp"], 0),
                _with_error(row["vs_gbm"], row["vs_gbm_error"]),
                *(percent(share) for share in row["vs_gbm_by_scale"].values()),
                _with_error(row["energy_vs_gbm"], row["energy_vs_gbm_error"]),
            ]
            for row in rows
        ),
    )
    scores.caption = _CRPS_LEGEND
    yield scores
    asked = table(
        "Ranges and questions",
        ("paths", *scales, "basket", "above", "bias", "touch", "bias"),
        (
            [
                row["entrant"],
                *(percent(share, sign=False) for share in row["coverage90"].values()),
                percent(row["basket_coverage90"][scales[-1]], sign=False),
                *(
                    text
                    for kind in ("above", "touch")
                    for text in (percent(row[kind]["vs_gbm"]), percent(row[kind]["bias"]))
                ),
            ]
            for row in rows
        ),
    )
    asked.caption = _ASKED_LEGEND
    yield asked


def _with_error(share: float, error: float | None) -> str:
    return (
        percent(share, 2)
        if error is None
        else f"{percent(share, 2)} ({percent(error, 2, sign=False)})"
    )
