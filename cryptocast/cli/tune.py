"""cryptocast tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast import plugins
from cryptocast.cli.root.options import Engine, Run, Seed, Symbols, completing
from cryptocast.cli.root.output import Answer, failure_code, failure_warnings, table
from cryptocast.display import counted, number, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from cryptocast.errors import CryptocastError
    from cryptocast.workflows.learning.search import TuneReport


def kinds() -> tuple[str, ...]:
    """Return the kinds of models, without loading any."""
    return plugins.names(plugins.MODELS)


Kind = Annotated[
    str | None,
    typer.Option(
        "--model",
        autocompletion=completing(kinds),
        help="The kind of model: {choices}. Default: [model] kind (lstm).",
    ),
]
"""`--model` of the commands that search or train."""

NAME = "tune"
EXAMPLE = "cryptocast tune --trials 30 --timeout 600"

_PICTURE_WIDTH = 72


def command(
    run: Run,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trials that the study holds in the end. Default: [tune] trials (10)."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Begin no trial after this many seconds. Default: [tune] timeout_seconds (none)."
        ),
    ] = None,
    model: Kind = None,
    seed: Seed = None,
    symbols: Symbols = None,
    engine: Engine = None,
) -> Answer:
    """Search the best parameters over rolling-origin folds; a stopped study continues.

    `cryptocast train` uses the result. One study for all markets, or one for each ([model]
    scope).
    """
    from cryptocast.engines import TRAINS

    with run.open({"engine.kind": engine}) as ws:
        ws.engine.prepare(TRAINS)
        from cryptocast.workflows.tune import tune  # takes seconds, as the workers' imports do

        reports, failed_markets = tune(
            ws,
            kind=model,
            trials=trials,
            timeout_seconds=timeout,
            seed=seed or 0,
            symbols=tuple(symbols or ()),
        )
    return _answer(reports, {market.id: error for market, error in failed_markets.items()})


def _answer(reports: Sequence[TuneReport], failed: Mapping[str, CryptocastError]) -> Answer:
    def show(console: Console) -> None:
        for report in reports:
            if len(reports) > 1:
                console.print(f"\n{', '.join(report.markets)}", style="bold")
            if report.idle is not None:
                console.print(report.idle)
            else:
                _show(console, report)

    documents = [_document(report) for report in reports]
    data = documents[0] | {"studies": documents}
    return Answer(data, show, failure_warnings(failed), failure_code(failed))


def _document(report: TuneReport) -> dict[str, Any]:
    return {
        "study": report.study,
        "kind": report.kind,
        "markets": report.markets,
        "folds": report.folds,
        "trials": report.trials,
        "pruned": report.ended("pruned"),
        "diverged": report.ended("diverged"),
        "best": report.best,
        "value": report.value,
        "importance": report.importance,
        "seconds": round(report.seconds, 3),
        "history": [
            {"trial": trial.number, "state": trial.state, "value": trial.value}
            for trial in report.history
        ],
    }


def _show(console: Console, report: TuneReport) -> None:
    from cryptocast.reports import terminal

    ends = [f"{report.ended('pruned')} pruned"]
    if diverged := report.ended("diverged"):
        ends.append(f"{diverged} diverged")
    console.print(
        f"Best of {counted(report.trials, 'trial')} of {report.kind} ({', '.join(ends)}) "
        f"over {counted(report.folds, 'fold')}: "
        f"validation skill against the random walk {percent(1 - report.value, 2)}"
    )
    rows = [
        [name, number(value, 4) if isinstance(value, float) else str(value)]
        for name, value in report.best.items()
    ]
    console.print(table("Best parameters", ("parameter", "value"), rows))
    width = min(console.width, _PICTURE_WIDTH)
    skills = [
        1 - trial.value if trial.state == "complete" else float("nan") for trial in report.history
    ]
    console.print("Skill of each trial, first to last (a dot: pruned or diverged)")
    console.print(terminal.sparkline(skills, width), markup=False)
    if report.importance:
        console.print("\nWhat made the better trials better")
        for line in terminal.bars(report.importance, width):
            console.print(line, markup=False)
