"""cryptocast retrain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.evaluate import SHOWN_MARKETS
from cryptocast.cli.root.options import Engine, Run, Seed, Trials
from cryptocast.cli.root.output import (
    Answer,
    sentences,
)
from cryptocast.cli.screens.renewals import (
    Scores,
    renewals_code,
    renewals_document,
    renewals_warnings,
    show_renewals,
)
from cryptocast.display import counted, first_few

if TYPE_CHECKING:
    from cryptocast.workflows.keeping.flush import Flushed
    from cryptocast.workflows.learning.renewals import Renewals
    from cryptocast.workflows.retrain import RetrainPlan, RetrainReport
    from cryptocast.workflows.serving.fetching import FetchReport

NAME = "retrain"
EXAMPLE = "cryptocast retrain --if-needed"


def command(
    run: Run,
    seed: Seed = None,
    if_needed: Annotated[
        bool,
        typer.Option(
            "--if-needed", help="Only if the monitor says declined and no cool-down holds."
        ),
    ] = False,
    flush: Annotated[
        bool,
        typer.Option("--flush", help="First archive old candles and resolved forecasts."),
    ] = False,
    trials: Trials = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be renewed, and why.")
    ] = False,
    engine: Engine = None,
    scores: Scores = False,
) -> Answer:
    """Renew the model: fetch, split, tune, train, evaluate, select, promote.

    Production stays if the gate finds nothing better; that is exit 0 too. If each market has a
    model of its own, they are renewed one after the other.
    """
    from cryptocast.workflows.retrain import foresee, retrain

    with run.open({"tune.trials": trials, "engine.kind": engine}) as ws:
        if dry_run:
            return _foreseen(foresee(ws, if_needed=if_needed), flush=flush)
        report = retrain(ws, seed=seed or 0, clear=flush, if_needed=if_needed)
    if report.candles is None or report.pipeline is None:
        return _not_renewed(report)
    texts = [*_findings(report.findings), "Next: cryptocast status"]
    if report.flushed is not None:
        texts.insert(0, _flushed_sentence(report.flushed))
    return _renewed(report, report.candles, report.pipeline, texts, with_scores=scores)


def _not_renewed(report: RetrainReport) -> Answer:
    decision = {
        "promoted": False,
        "version": report.production,
        "model": report.model,
        "reason": report.reason,
    }
    data: dict[str, Any] = {
        "decision": decision,
        "decisions": [],
        "reason": report.reason,
        "finding": None,
        "flushed": _flushed_document(report.flushed),
    }
    return Answer(data, sentences(f"Not renewed: {report.reason}"))


def _foreseen(plan: RetrainPlan, *, flush: bool) -> Answer:
    """Answer for a dry run."""
    data = {
        "dry_run": True,
        "would": bool(plan.models),
        "reason": plan.reason,
        "models": [[market.id for market in markets] for markets in plan.models],
        "days": plan.days,
        "trials": plan.trials,
        "production": plan.production,
        "flush": flush and bool(plan.models),
    }
    if not plan.models:
        return Answer(data, sentences(f"Would renew nothing: {plan.reason}"))
    markets = ", ".join(market.symbol for group in plan.models for market in group)
    first = "archive old candles and resolved forecasts, then " if flush else ""
    return Answer(
        data,
        sentences(
            f"Would {first}renew {counted(len(plan.models), 'model')} ({markets}): {plan.reason}",
            f"from {plan.days:g} days of candles, with {counted(plan.trials, 'trial')}; "
            "the gate would decide whether it serves",
        ),
    )


def _renewed(
    report: RetrainReport,
    candles: FetchReport,
    renewals: Renewals,
    texts: Sequence[str],
    *,
    with_scores: bool,
) -> Answer:
    data = renewals_document(candles, renewals)
    for decision in data["decisions"]:
        decision["finding"] = report.findings.get(decision["market"])
    data |= {
        "reason": report.reason,
        "finding": report.findings.get(renewals.decision.market),
        "flushed": _flushed_document(report.flushed),
    }
    return Answer(
        data,
        lambda console: show_renewals(console, candles, renewals, texts, with_scores=with_scores),
        renewals_warnings(candles, renewals),
        renewals_code(renewals),
    )


def _findings(findings: Mapping[str, str | None]) -> Iterator[str]:
    """Yield each finding once, with some of the markets that it holds for."""
    from cryptocast.store import ALL_MARKETS

    for finding in dict.fromkeys(filter(None, findings.values())):
        markets = [m for m, text in findings.items() if text == finding and m != ALL_MARKETS]
        names = f" for {first_few(markets, SHOWN_MARKETS)}" if markets else ""
        yield f"Finding{names}: {finding}"


def _flushed_document(flushed: Flushed | None) -> dict[str, Any] | None:
    """Return what was archived, or None if that was not asked for."""
    if flushed is None:
        return None
    return {
        "folder": flushed.folder,
        "rows": {table.table: table.rows for table in flushed.tables},
    }


def _flushed_sentence(flushed: Flushed) -> str:
    if flushed.folder is None:
        return "Nothing was old enough to be archived"
    rows = {table.table: table.rows for table in flushed.tables}
    return (
        f"Archived {counted(rows['candles'], 'candle')} and "
        f"{counted(rows['forecast_sets'], 'forecast set')} in {flushed.folder}"
    )
