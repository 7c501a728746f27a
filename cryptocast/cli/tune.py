"""cryptocast tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import MOST_SEED, Run
from cryptocast.cli._output import Answer, number, percent, table

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.workflows.learning.search import TuneReport

NAME = "tune"
EXAMPLE = "cryptocast tune --trials 30 --timeout 600"

_PICTURE_WIDTH = 72


def command(
    run: Run,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials that the study shall hold in the end.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="No trial begins after that many seconds.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model kind to tune.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of search and trainings.")
    ] = 0,
    symbol: Annotated[
        list[str] | None, typer.Option(help="Only on this market, repeatable; default all.")
    ] = None,
) -> Answer:
    """Search the best parameters over rolling-origin folds; a stopped study goes on.

    `cryptocast train` uses what was found. One study of all markets, or one of each ([model]
    scope).
    """
    from cryptocast.cli._shared import failure_code, failure_warnings
    from cryptocast.workflows.tune import tune

    with run.open() as ws:
        made, failed_markets = tune(
            ws,
            kind=model,
            trials=trials,
            timeout_seconds=timeout,
            seed=seed,
            symbols=tuple(symbol or ()),
        )
    failed = {market.id: error for market, error in failed_markets.items()}

    def show(console: Console) -> None:
        for report in made:
            if len(made) > 1:
                console.print(f"\n{', '.join(report.markets)}", style="bold")
            if report.idle is not None:
                console.print(report.idle)
            else:
                _show(console, report)

    data = _data(made[0]) | {"studies": [_data(report) for report in made]}
    return Answer(data, show, failure_warnings(failed), failure_code(failed))


def _data(report: TuneReport) -> dict[str, Any]:
    return {
        "study": report.study,
        "kind": report.kind,
        "markets": list(report.markets),
        "folds": report.folds,
        "trials": report.trials,
        "pruned": report.ended("pruned"),
        "diverged": report.ended("diverged"),
        "best": dict(report.best),
        "value": report.value,
        "importance": dict(report.importance),
        "seconds": round(report.seconds, 3),
        "history": [
            {"trial": trial.number, "state": trial.state, "value": trial.value}
            for trial in report.history
        ],
    }


def _show(console: Console, report: TuneReport) -> None:
    from cryptocast.cli._shared import counted
    from cryptocast.reports import terminal

    ends = ", ".join(
        f"{count} {state}"
        for state in ("pruned", "diverged")
        if (count := report.ended(state)) or state == "pruned"
    )
    console.print(
        f"Best of {counted(report.trials, 'trial')} of {report.kind} ({ends}) "
        f"over {counted(report.folds, 'fold')}: "
        f"validation skill against the random walk {percent(1 - report.value, 2)}"
    )
    rows = [
        [name, number(v, 4) if isinstance(v, float) else str(v)] for name, v in report.best.items()
    ]
    console.print(table("Best parameters", ("parameter", "value"), rows))
    width = min(console.width, _PICTURE_WIDTH)
    skills = [
        1 - trial.value if trial.state == "complete" else float("nan") for trial in report.history
    ]
    console.print("Skill of each trial, first to last (a dot: pruned or diverged)")
    console.print(terminal.sparkline(skills, width), markup=False)
    if report.importance:
        console.print("\nWhat set the better trials apart")
        for line in terminal.bars(report.importance, width):
            console.print(line, markup=False)
