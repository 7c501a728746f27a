"""cryptocast evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

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
) -> Answer:
    """Score versions and baselines on stored candles, all on the same origins.

    Default: the last [data] test_bars candles. Kept in the table `scores` and in MLflow.
    """
    from cryptocast.cli._shared import scores_tables
    from cryptocast.values import iso, parse_time
    from cryptocast.workflows.evaluate import evaluate

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
