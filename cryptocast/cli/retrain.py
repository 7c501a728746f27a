"""cryptocast retrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console


NAME = "retrain"
EXAMPLE = "cryptocast retrain --if-needed"


def command(
    run: Run,
    seed: Annotated[int, typer.Option(help="Seed of search and training.")] = 0,
    if_needed: Annotated[
        bool,
        typer.Option(
            "--if-needed", help="Only where the monitor says declined and no cool-down holds."
        ),
    ] = False,
    flush: Annotated[
        bool,
        typer.Option("--flush", help="Archive old candles and resolved forecasts before."),
    ] = False,
) -> Answer:
    """Renew the model: fetch, split, tune, train, evaluate, select, promote.

    Production stays where the gate finds nothing better; that too is exit 0.
    """
    from cryptocast.cli._shared import (
        candles_table,
        decision_line,
        fetch_warnings,
        flushed_data,
        flushed_line,
        pipeline_data,
        scores_tables,
    )
    from cryptocast.workflows.retrain import retrain

    with run.open() as ws:
        report = retrain(ws, seed=seed, clear=flush, if_needed=if_needed)
    told = {
        "reason": report.reason,
        "finding": report.finding,
        "flushed": flushed_data(report.flushed),
    }
    made = report.pipeline
    if made is None:
        stays = {"promoted": False, "version": report.production, "reason": report.reason}
        return Answer(
            {"decision": stays, **told},
            lambda console: console.print(f"Not renewed: {report.reason}"),
        )

    def show(console: Console) -> None:
        if report.flushed is not None:
            console.print(flushed_line(report.flushed))
        console.print(candles_table(made.candles))
        console.print(*scores_tables(made.scores, "Scores on the test set"))
        console.print(decision_line(made.decision))
        if report.finding is not None:
            console.print(f"Finding: {report.finding}")

    return Answer(pipeline_data(made) | told, show, fetch_warnings(made.candles))
