"""cryptocast init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import MOST_SEED, Run, Start
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

NAME = "init"
EXAMPLE = "cryptocast init -w btc --source bitvavo --symbol BTC/EUR"


def command(
    run: Run,
    config: Annotated[
        Path | None, typer.Option(help="Settings to start from, as those in configs/.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where candles come from.")] = None,
    path: Annotated[
        Path | None, typer.Option(help="Source file: a file, folder or glob of candles.")
    ] = None,
    symbol: Annotated[
        list[str] | None,
        typer.Option(help="BASE/QUOTE, repeatable; adds a market to a finished workspace."),
    ] = None,
    days: Annotated[float | None, typer.Option(help="Days of candles to learn from.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the search.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MOST_SEED, help="Seed of search and training.")
    ] = None,
    start: Start = None,
) -> Answer:
    """Make a workspace with a promoted model: fetch, split, tune, train, evaluate, promote.

    Interrupted, the same command goes on where it was.
    """
    import os

    from cryptocast.cli._shared import (
        SHOWN_MARKETS,
        candidates_table,
        candles_data,
        candles_table,
        decision_lines,
        failure_code,
        failure_warnings,
        fetch_warnings,
        pipeline_data,
        scores_tables,
        split_line,
    )
    from cryptocast.workflows.init import InitOptions, init

    options = {
        "source.name": source,
        "source.path": None if path is None else str(path),
        "data.days": days,
        "tune.trials": trials,
        "model.start": start,
    }
    given = {key: value for key, value in options.items() if value is not None}
    report = init(
        run.folder,
        InitOptions(config, given, tuple(symbol or ()), seed),
        environ=os.environ,
        clock=run.clock,
        progress=run.progress,
    )
    data = {
        "workspace": str(report.folder),
        "source": report.source,
        "source_reason": report.source_reason,
        "added": list(report.added),
        "cost": report.cost,
        "finished_before": report.pipeline is None or bool(report.added),
    }
    made, candles = report.pipeline, report.candles
    if made is None or candles is None:
        told = (
            f"{report.folder}: {', '.join(report.added)} added"
            if report.added
            else f"{report.folder} is a finished workspace: nothing to do"
        )
        ignored = config is not None or seed is not None or any(options.values())
        warnings = (
            ["only --symbol does something to a finished workspace; settings are in its toml file"]
            if ignored
            else []
        )
        brought = [] if report.candles is None else candles_data(report.candles)
        # What a first run tells, of a run that trained and decided nothing.
        version, model = report.production
        nothing: dict[str, Any] = {
            **{"candles": brought, "split": {}, "scores": [], "candidates": [], "decisions": []},
            "tuning": {"trials": 0, "best": None, "value": None},
            "decision": {"promoted": False, "version": version, "model": model, "reason": told},
        }
        return Answer(data | nothing, lambda console: console.print(told), warnings)
    found = pipeline_data(candles, made)
    failed = {failure.decision.market: failure.error for failure in made.failures}
    why = [f"source {report.source}: {report.source_reason}"] if report.source_reason else []

    def show(console: Console) -> None:
        for line in why:
            console.print(line)
        console.print(candles_table(candles))
        console.print(split_line(found["split"]))
        console.print(*scores_tables(found["scores"], "Scores on the test set"))
        for renewal in made.renewals[:SHOWN_MARKETS]:
            console.print(candidates_table(renewal))
            if renewal.no_base is not None:
                console.print(f"No candidate: {renewal.no_base}", markup=False)
        console.print("\n".join(decision_lines(made.decisions)))
        if report.cost is not None:
            console.print(
                f"{report.source}: {report.cost} ([source] monthly_credits)", markup=False
            )
        at = "" if run.as_of is None else f" --as-of {run.as_of}"
        console.print(f"Next: cryptocast forecast --once -w {report.folder}{at}")

    # A fetch that failed is told once.
    warnings = list(dict.fromkeys(fetch_warnings(candles) + failure_warnings(failed)))
    return Answer(data | found, show, warnings, failure_code(failed))
