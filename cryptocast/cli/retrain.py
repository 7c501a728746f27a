"""cryptocast retrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console


NAME = "retrain"
EXAMPLE = "cryptocast retrain"


def command(
    run: Run,
    seed: Annotated[int, typer.Option(help="Seed of search and training.")] = 0,
) -> Answer:
    """Renew the model: fetch, split, tune, train, evaluate, select, promote.

    Production stays where the gate finds nothing better; that too is exit 0.
    """
    from cryptocast.cli._shared import (
        candles_table,
        decision_line,
        fetch_warnings,
        pipeline_data,
        scores_tables,
    )
    from cryptocast.workflows.retrain import retrain

    with run.open() as ws:
        report = retrain(ws, seed=seed)

    def show(console: Console) -> None:
        console.print(candles_table(report.candles))
        console.print(*scores_tables(report.scores, "Scores on the test set"))
        console.print(decision_line(report.decision))

    return Answer(pipeline_data(report), show, fetch_warnings(report.candles))
