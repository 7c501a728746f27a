"""cryptocast evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "evaluate"
EXAMPLE = "cryptocast evaluate --days 1"


def command(
    run: Run,
    version: Annotated[
        list[str] | None,
        typer.Option(help="A version, repeatable; default production and the newest of each kind."),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.01, help="Score the last N days.")] = None,
    test_bars: Annotated[int | None, typer.Option(min=1, help="Score the last N candles.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Score candles from this open time on.")
    ] = None,
    end: Annotated[
        str | None, typer.Option(metavar="TIME", help="Score candles before this; default now.")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Score what was served instead, in the last N days.")
    ] = False,
) -> Answer:
    """Score versions and baselines on stored candles, all on the same origins.

    Default: the last [data] test_bars candles. Kept in the table `scores` and in MLflow.
    With --live the forecasts that were served are scored, with calibration and without.
    """
    from cryptocast.cli._shared import scores_tables
    from cryptocast.errors import UsageError
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.evaluate import evaluate

    if live:
        if version or test_bars or start or end:
            raise UsageError("--live goes with --days alone", hint="cryptocast evaluate --live")
        return _live(run, days)
    with run.open() as ws:
        report = evaluate(
            ws,
            versions=tuple(version or ()),
            days=days,
            test_bars=test_bars,
            start=None if start is None else parse_time(start),
            end=None if end is None else parse_time(end),
        )
    title = f"Scores on the candles from {iso(report.start)} to {iso(report.end)}"
    data = {
        "evaluation": report.evaluation,
        "start": iso(report.start),
        "end": iso(report.end),
        "in_sample": list(report.in_sample),
        "scores": report.rows(),
    }
    warnings = [
        f"version {v} learned from some of these candles: its scores flatter it"
        for v in report.in_sample
    ]
    warnings += report.left_out
    return Answer(
        data, lambda console: console.print(*scores_tables(report.rows(), title)), warnings
    )


def _live(run: Run, days: float | None) -> Answer:
    from cryptocast.cli._shared import scores_tables
    from cryptocast.values import iso
    from cryptocast.workflows.watching.live import LIVE, live

    with run.open() as ws:
        report = live(ws, days=days)
    data = {
        "start": iso(report.start),
        "end": iso(report.end),
        "modes": list(report.modes),
        "scale": {market: scale.tolist() for market, scale in report.scale.items()},
        "scores": report.rows(),
    }
    warnings = [] if report.modes == LIVE else ["nothing was served live: these are replayed"]
    title = f"Served from {iso(report.start)} to {iso(report.end)}"

    def show(console: Console) -> None:
        console.print(*scores_tables(report.rows(), title))
        for market, scale in report.scale.items():
            console.print(
                f"{market}: calibration widened step 1 by {scale[0] - 1:+.1%}, "
                f"the last step by {scale[-1] - 1:+.1%} on average"
            )

    return Answer(data, show, warnings)
