"""cryptocast status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli.fetch import gaps_document
from cryptocast.cli.root.options import Run, Symbols
from cryptocast.cli.root.output import Answer

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.store import ServedCoverage, StandIn
    from cryptocast.values import Deployment, ForecastSet
    from cryptocast.workflows.status import MarketStatus, StatusReport

NAME = "status"
EXAMPLE = "cryptocast status --watch"


def command(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw it as it changes, until Ctrl-C.")
    ] = False,
    symbols: Symbols = None,
) -> Answer | None:
    """Show price, forecast, health and problems on one screen.

    One market is drawn as a chart; several are a table, the worst first (--symbol draws one).
    """
    from cryptocast.workflows.status import status

    chosen = tuple(symbols or ())
    if watch:
        _watch(run, chosen)
        return None
    with run.open() as ws:
        report = status(ws, symbols=chosen)

    def show(console: Console) -> None:
        from cryptocast.cli.screens.status import is_plain, screen

        height = console.height if sys.stdout.isatty() else None
        for line in screen(report, width=console.width, height=height, plain=is_plain(console)):
            console.print(line, no_wrap=True, crop=False)

    return Answer(_document(report), show)


def _watch(run: Run, symbols: tuple[str, ...]) -> None:
    from cryptocast.cli.screens.status import watch
    from cryptocast.errors import UsageError

    if run.as_json or run.quiet or not sys.stdout.isatty():
        raise UsageError(
            "--watch draws on a terminal", hint="for a script: cryptocast status --json"
        )
    with run.open() as ws:
        watch(ws, symbols)


def _document(report: StatusReport) -> dict[str, Any]:
    from cryptocast.values import iso

    productions = [_production_document(row, report) for row in report.productions]
    return {
        "now": iso(report.now),
        "next_tick": None if report.next_tick is None else iso(report.next_tick),
        "ticked_by": report.ticked_by,
        "issues": report.issues,
        "health": None
        if report.health is None
        else {
            "verdict": report.health.verdict,
            "reason": report.health.reason,
            "at": iso(report.health.at),
        },
        "production": productions[0] if productions else None,
        "productions": productions,
        "shadow": report.shadow,
        "loop": report.loop,
        "markets": [_market_document(market) for market in report.markets],
        "credits": {
            source: {
                "calls": spent.calls,
                "credits": spent.credits,
                "monthly": report.monthly_credits,
            }
            for source, spent in report.credits.items()
        },
    }


def _production_document(row: Deployment, report: StatusReport) -> dict[str, Any]:
    from cryptocast.values import iso

    return {
        "market": row.market,
        "version": row.model_version,
        "previous": row.previous_version,
        "at": iso(row.at),
        "action": row.action,
        "reason": row.reason,
        "promised_skill": report.promised.get(row.id),
    }


def _market_document(m: MarketStatus) -> dict[str, Any]:
    from cryptocast.documents import document
    from cryptocast.values import iso

    stored, forecast = m.stored, m.forecast
    hidden = ("market", "started_at", "finished_at")
    tick = None if m.tick is None else document(m.tick, times=("origin",), without=hidden)
    return {
        "market": m.market.id,
        "version": None if m.production is None else m.production.model_version,
        "issues": m.issues,
        "rows": stored.rows if stored else 0,
        "first": iso(stored.first) if stored else None,
        "last": iso(stored.last) if stored else None,
        "behind_bars": m.behind_bars,
        "gaps": gaps_document(stored.gaps) if stored else [],
        "confirmed": stored.confirmed if stored else 0,
        "provenances": stored.provenances if stored else {},
        "forecast_origin": None if forecast is None else iso(forecast.origin),
        "fallback": None if forecast is None else forecast.model.fallback,
        "forecast": None if forecast is None else _forecast_document(forecast),
        "overdue_bars": m.overdue_bars,
        "widening": m.widening,
        "stand_in": None if m.stand_in is None else _stand_in_document(m.stand_in),
        "coverage": None if m.coverage is None else _coverage_document(m.coverage),
        "skill_vs_random_walk": m.skill,
        "ticks": m.ticks,
        "last_tick": tick,
    }


def _stand_in_document(stand_in: StandIn) -> dict[str, Any]:
    from cryptocast.values import iso

    return {
        "reason": stand_in.reason,
        "since": iso(stand_in.since),
        "forecasts": stand_in.sets,
    }


def _coverage_document(coverage: ServedCoverage) -> dict[str, Any]:
    return {
        "mode": "live" if coverage.live else "replay",
        "n": coverage.n,
        "coverage80": coverage.in80,
        "coverage90": coverage.in90,
    }


def _forecast_document(forecast: ForecastSet) -> dict[str, Any]:
    """Return the newest forecast in short: price, lag, and the range of the shown steps."""
    from cryptocast.values import iso
    from cryptocast.workflows.watching.facts import shown_steps

    middle = len(forecast.levels) // 2
    return {
        "version": forecast.model.version,
        "last_close": forecast.last_close,
        "lag_seconds": forecast.issued_at - forecast.origin,
        "stale_bars": forecast.stale_bars,
        "steps": [
            {
                "step": step,
                "target_time": iso(forecast.target_time(step)),
                "low": forecast.quantiles[step - 1, 0],
                "median": forecast.quantiles[step - 1, middle],
                "high": forecast.quantiles[step - 1, -1],
            }
            for step in shown_steps(forecast.market, len(forecast.quantiles))
        ],
    }
