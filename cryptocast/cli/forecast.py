"""cryptocast forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cryptocast.cli._options import Run
from cryptocast.cli._output import Answer, price, table

if TYPE_CHECKING:
    from rich.console import Console

    from cryptocast.values import ForecastSet

NAME = "forecast"
EXAMPLE = "cryptocast forecast --once"
_SHOWN_SECONDS = (3600, 7200)


def command(
    run: Run,
    once: Annotated[
        bool, typer.Option("--once", help="Make one tick: catch up, forecast, store.")
    ] = False,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="With --once: forecast from what is stored.")
    ] = False,
    symbol: Annotated[list[str] | None, typer.Option(help="Only this market, repeatable.")] = None,
) -> Answer:
    """Show the newest served forecast; with --once make one.

    Repeated for the same 5 minutes it changes nothing.
    """
    from cryptocast.errors import UsageError
    from cryptocast.workflows.forecast import documents, newest, tick

    if no_fetch and not once:
        raise UsageError(
            "--no-fetch goes with --once", hint="cryptocast forecast --once --no-fetch"
        )
    with run.open() as ws:
        symbols = tuple(symbol or ())
        report = (
            tick(ws, fetch=not no_fetch, symbols=symbols) if once else newest(ws, symbols=symbols)
        )
    data = {"new": report.new, "forecasts": list(documents(report))}

    def show(console: Console) -> None:
        for forecast in report.forecasts:
            show_set(console, forecast)

    return Answer(data, show, report.warnings)


def show_set(console: Console, forecast: ForecastSet) -> None:
    """One set: the price now, the next bar, one hour, two hours, with their ranges."""
    from cryptocast.values import iso

    market, levels = forecast.market, list(forecast.levels)
    horizon = len(forecast.quantiles)
    wanted = {s // market.interval_seconds for s in _SHOWN_SECONDS}
    steps = sorted({1} | {s for s in wanted if 1 <= s <= horizon} or {horizon})
    ends = [(label, *_ends(levels, share)) for label, share in (("80 %", 0.8), ("90 %", 0.9))]
    ends = [end for end in ends if None not in end]
    rows = []
    for step in steps:
        row = forecast.quantiles[step - 1]
        minutes = step * market.interval_seconds // 60
        ahead = f"{minutes} min" if minutes < 60 else f"{minutes / 60:g} h"
        middle = row[levels.index(0.5)]
        ranges = [f"{price(row[low])} .. {price(row[high])}" for _, low, high in ends]
        rows.append([ahead, iso(forecast.target_time(step))[11:16] + "Z", price(middle), *ranges])
    by = f"version {forecast.model.version} ({forecast.model.kind})"
    if forecast.model.fallback:
        by += f", standing in: {forecast.model.fallback}"
    bars = "bar" if forecast.stale_bars == 1 else "bars"
    stale = f", {forecast.stale_bars} {bars} old" if forecast.stale_bars else ""
    title = (
        f"{market.symbol}  {price(forecast.last_close)} {market.quote}{stale}  "
        f"at {iso(forecast.origin)}  by {by}"
    )
    columns = ("ahead", "at", "median", *(label for label, *_ in ends))
    console.print(table(title, columns, rows))


def _ends(levels: list[float], share: float) -> tuple[int | None, int | None]:
    wanted = round((1 - share) / 2, 9), round((1 + share) / 2, 9)
    low, high = (levels.index(w) if w in levels else None for w in wanted)
    return low, high
