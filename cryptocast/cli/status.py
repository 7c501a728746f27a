"""cryptocast status."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.values import Deployment, ForecastSet
    from cryptocast.workflows.status import MarketStatus, StatusReport

NAME = "status"
EXAMPLE = "cryptocast status --watch"


def command(
    run: Run,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it anew as it changes, until Ctrl-C.")
    ] = False,
    symbol: Annotated[list[str] | None, typer.Option(help="Only this market, repeatable.")] = None,
) -> Answer | None:
    """Show price, forecast, health and what is wrong on one screen.

    One market is drawn; several are a table, the worst first (--symbol draws one of them).
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows.status import status

    symbols = tuple(symbol or ())
    if watch:
        from cryptocast.cli._status_watch import watch as draw

        if run.as_json or run.quiet or not sys.stdout.isatty():
            raise UsageError(
                "--watch draws on a terminal", hint="for a script: cryptocast status --json"
            )
        with run.open() as ws:
            draw(ws, symbols)
        return None
    with run.open() as ws:
        report = status(ws, symbols=symbols)

    def show(console: Console) -> None:
        from cryptocast.cli._status_screen import is_plain, screen

        height = console.height if sys.stdout.isatty() else None
        for line in screen(report, width=console.width, height=height, plain=is_plain(console)):
            console.print(line, no_wrap=True, crop=False)

    return Answer(_data(report), show)


def _data(report: StatusReport) -> dict[str, Any]:
    """The report as plain data."""
    from cryptocast.values import iso

    health = report.health
    productions = [_production_data(row, report) for row in report.productions]
    return {
        "now": iso(report.now),
        "next_tick": iso(report.next_tick),
        "issues": list(report.issues),
        "health": None
        if health is None
        else {"verdict": health.verdict, "reason": health.reason, "at": iso(health.at)},
        "production": productions[0] if productions else None,
        "productions": productions,
        "shadow": report.shadow,
        "loop": report.loop,
        "markets": [_market_data(market) for market in report.markets],
        "credits": {
            source: {
                "calls": spent.calls,
                "credits": spent.credits,
                "monthly": report.monthly_credits,
            }
            for source, spent in report.credits.items()
        },
    }


def _production_data(row: Deployment, report: StatusReport) -> dict[str, Any]:
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


def _market_data(m: MarketStatus) -> dict[str, Any]:
    from cryptocast.cli._shared import gaps_data
    from cryptocast.values import iso

    stored, cover, stand_in = m.stored, m.coverage, m.stand_in
    return {
        "market": m.market.id,
        "version": None if m.production is None else m.production.model_version,
        "issues": list(m.issues),
        "rows": stored.rows if stored else 0,
        "first": iso(stored.first) if stored else None,
        "last": iso(stored.last) if stored else None,
        "behind_bars": m.behind_bars,
        "gaps": gaps_data(stored.gaps) if stored else [],
        "confirmed": stored.confirmed if stored else 0,
        "provenances": dict(stored.provenances) if stored else {},
        "forecast_origin": None if m.forecast is None else iso(m.forecast.origin),
        "fallback": None if m.forecast is None else m.forecast.model.fallback,
        "forecast": None if m.forecast is None else _forecast_data(m.forecast),
        "overdue_bars": m.overdue_bars,
        "widening": m.widening,
        "stand_in": None
        if stand_in is None
        else {"reason": stand_in.reason, "since": iso(stand_in.since), "forecasts": stand_in.sets},
        "coverage": None
        if cover is None
        else {
            "mode": "live" if cover.live else "replay",
            "n": cover.n,
            "coverage80": cover.in80,
            "coverage90": cover.in90,
        },
        "skill_vs_random_walk": m.skill,
        "ticks": dict(m.ticks),
        "last_tick": None
        if m.tick is None
        else {
            "origin": iso(m.tick.origin),
            "status": m.tick.status,
            "error_code": m.tick.error_code,
            "detail": m.tick.detail,
        },
    }


def _forecast_data(forecast: ForecastSet) -> dict[str, Any]:
    """The newest forecast in short: price, lag, and the range of the steps that are shown."""
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
                "low": float(forecast.quantiles[step - 1, 0]),
                "median": float(forecast.quantiles[step - 1, middle]),
                "high": float(forecast.quantiles[step - 1, -1]),
            }
            for step in shown_steps(forecast.market, len(forecast.quantiles))
        ],
    }
