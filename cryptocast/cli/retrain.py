"""cryptocast retrain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import MOST_SEED, Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console


NAME = "retrain"
EXAMPLE = "cryptocast retrain --if-needed"


def command(
    run: Run,
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of search and training.")
    ] = 0,
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

    Production stays where the gate finds nothing better; that too is exit 0. Where each market
    has a model of its own, they are renewed one after the other.
    """
    from cryptocast.cli._shared import (
        SHOWN_MARKETS,
        candidates_table,
        candles_table,
        decision_lines,
        failure_code,
        failure_warnings,
        fetch_warnings,
        flushed_data,
        flushed_line,
        pipeline_data,
        scores_tables,
        split_line,
    )
    from cryptocast.store import ALL_MARKETS
    from cryptocast.workflows.retrain import retrain

    with run.open() as ws:
        report = retrain(ws, seed=seed, clear=flush, if_needed=if_needed)
    made, candles, findings = report.pipeline, report.candles, report.findings
    told = {
        "reason": report.reason,
        "finding": None if made is None else findings.get(made.decision.market),
        "flushed": flushed_data(report.flushed),
    }
    if made is None or candles is None:
        stays = {
            "promoted": False,
            "version": report.production,
            "model": report.model,
            "reason": report.reason,
        }
        return Answer(
            {"decision": stays, "decisions": [], **told},
            lambda console: console.print(f"Not renewed: {report.reason}"),
        )
    failed = {failure.decision.market: failure.error for failure in made.failures}
    data = pipeline_data(candles, made) | told
    for decision in data["decisions"]:
        decision["finding"] = findings.get(decision["market"])

    def show(console: Console) -> None:
        if report.flushed is not None:
            console.print(flushed_line(report.flushed))
        console.print(candles_table(candles))
        console.print(split_line(data["split"]))
        console.print(*scores_tables(data["scores"], "Scores on the test set"))
        for renewal in made.renewals[:SHOWN_MARKETS]:
            console.print(candidates_table(renewal))
        console.print("\n".join(decision_lines(made.decisions)))
        for finding in dict.fromkeys(filter(None, findings.values())):
            named = [m for m, found in findings.items() if found == finding and m != ALL_MARKETS]
            whose = f" for {', '.join(named[:SHOWN_MARKETS])}" if named else ""
            more = len(named) - SHOWN_MARKETS
            whose += f" and {more} more" if more > 0 else ""
            console.print(f"Finding{whose}: {finding}", markup=False)

    # A fetch that failed is told once.
    warnings = list(dict.fromkeys(fetch_warnings(candles) + failure_warnings(failed)))
    return Answer(data, show, warnings, failure_code(failed))
