"""cryptocast tune."""

from __future__ import annotations

from typing import Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, number, percent, table

NAME = "tune"
EXAMPLE = "cryptocast tune --trials 30 --timeout 600"


def command(
    run: Run,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials that the study shall hold in the end.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Stop after that many seconds.")] = None,
    model: Annotated[str | None, typer.Option(help="The model kind to tune.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of search and trainings.")] = 0,
) -> Answer:
    """Search the best parameters over rolling-origin folds; a stopped study goes on.

    `cryptocast train` uses what was found.
    """
    from cryptocast.workflows.tune import tune

    with run.open() as ws:
        report = tune(ws, kind=model, trials=trials, timeout_seconds=timeout, seed=seed)
    rows = [
        [name, number(v, 4) if isinstance(v, float) else str(v)] for name, v in report.best.items()
    ]
    title = (
        f"Best of {report.trials} trials of {report.kind}: "
        f"validation skill against the random walk {percent(1 - report.value, 2)}"
    )
    data = {
        "study": report.study,
        "kind": report.kind,
        "trials": report.trials,
        "best": dict(report.best),
        "value": report.value,
    }
    return Answer(data, lambda console: console.print(table(title, ("parameter", "value"), rows)))
