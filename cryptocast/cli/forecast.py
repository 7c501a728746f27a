"""cryptocast forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli.root.options import Run, Symbols
from cryptocast.cli.root.output import Answer, table
from cryptocast.display import ago, ahead, counted, last_price, price, price_range

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cryptocast.values import ForecastSet

NAME = "forecast"
EXAMPLE = "cryptocast forecast --once"
_SHOWN_SHARES = {"80%": 0.8, "90%": 0.9}


def command(
    run: Run,
    once: Annotated[
        bool, typer.Option("--once", help="Make one tick: catch up, forecast, store.")
    ] = False,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="With --once: forecast from stored candles.")
    ] = False,
    symbols: Symbols = None,
) -> Answer:
    """Show the newest served forecast; with --once, make one.

    Repeated within the same 5 minutes it changes nothing.
    """
    from cryptocast.answers.forecasts import forecast_document
    from cryptocast.errors import UsageError
    from cryptocast.values import iso
    from cryptocast.workflows.forecast import newest, tick

    if no_fetch and not once:
        raise UsageError(
            "--no-fetch goes with --once", hint="cryptocast forecast --once --no-fetch"
        )
    chosen = tuple(symbols or ())
    with run.open() as ws:
        if once:
            report = tick(ws, fetch=not no_fetch, symbols=chosen)
        else:
            report = newest(ws, symbols=chosen)
        now = ws.clock.now()
    data = {
        "new": report.new,
        "now": iso(now),
        "age_seconds": now - min(forecast.origin for forecast in report.forecasts),
        # Of thousands of markets these take longer than all that is stored.
        "forecasts": [forecast_document(each) for each in report.forecasts if run.as_json],
    }

    def show(console: Console) -> None:
        for forecast in report.forecasts:
            # No title of the table: that would be wrapped at the table's width.
            console.print(_title(forecast, now), style="bold", soft_wrap=True, markup=False)
            console.print(_table(forecast))

    return Answer(data, show, report.warnings)


def _table(forecast: ForecastSet) -> Table:
    """Return one set: for some steps the median and the ranges."""
    from cryptocast.values import iso
    from cryptocast.workflows.watching.facts import shown_steps

    market, levels, width = forecast.market, list(forecast.levels), forecast.narrowest
    ranges = {name: forecast.ends(share) for name, share in _SHOWN_SHARES.items()}
    ends = {name: pair for name, pair in ranges.items() if pair is not None}
    rows = []
    for step in shown_steps(market, len(forecast.quantiles)):
        row = forecast.quantiles[step - 1]
        when = [ahead(step * market.interval_seconds), iso(forecast.target_time(step))[11:16] + "Z"]
        cells = [price_range(row[low], row[high], width) for low, high in ends.values()]
        rows.append([*when, price(row[levels.index(0.5)], width), *cells])
    return table("", ("ahead", "at", "median", *ends), rows)


def _title(forecast: ForecastSet, now: float) -> str:
    from cryptocast.values import iso

    stale = f", {counted(forecast.stale_bars, 'bar')} old" if forecast.stale_bars else ""
    market = forecast.market
    return (
        f"{market.symbol}  {last_price(forecast)} {market.quote}{stale}  "
        f"at {iso(forecast.origin)}, {ago(now - forecast.origin)}  by {forecast.model}"
    )
