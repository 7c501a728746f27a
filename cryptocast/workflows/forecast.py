"""forecast: one tick for all markets, or the newest served forecasts.

A tick always serves: production, else the version before it, else the random walk that
needs no training. Whatever is not production is labelled with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cryptocast.errors import CryptocastError, StateError, StoreError, no_production
from cryptocast.values import ForecastSet, iso
from cryptocast.workflows.serving.afterwards import cast_shadow, make_up
from cryptocast.workflows.serving.catch_up import CaughtUp, catch_up
from cryptocast.workflows.serving.events import refuse_gone
from cryptocast.workflows.serving.ladder import Ladder, production_versions
from cryptocast.workflows.serving.recordings import refuse_running
from cryptocast.workflows.serving.sets import Question
from cryptocast.workflows.serving.tick import (
    Forecasts,
    TickReport,
    as_questions,
    forecast_newest,
    look_up,
    store_forecasts,
    tick_warnings,
)
from cryptocast.workflows.watching.metrics import write_metrics
from cryptocast.workspace import Workspace


def newest(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> TickReport:
    """Return the newest served set of every market. Raises StateError if there is none."""
    markets = ws.markets(symbols)
    with ws.store.read() as reader:
        sets = reader.ledger.newest(markets, ws.clock.now())
    if not sets:
        raise StateError(
            "nothing has been forecast yet",
            code="state.no_forecast",
            hint="cryptocast forecast --once",
        )
    return TickReport(False, tuple(sets[m] for m in markets if m in sets))


def tick(ws: Workspace, *, fetch: bool = True, symbols: tuple[str, ...] = ()) -> TickReport:
    """Catch up, forecast every market at the clock's origin, store one set per market, and report.

    What is served already is left as it is. A source that fails costs a warning, not the
    forecast. When the newest origin is safe, earlier origins without a forecast are made up for,
    and the shadow, if there is one, forecasts too. Alerts are sent and metrics written at
    the end, of a failure as well. Raises StateError without a production model, or if no
    market has 24 candles.
    """
    try:
        report = _serve(ws, fetch=fetch, symbols=symbols)
    except CryptocastError:
        _tell(ws)
        raise
    return replace(report, warnings=(*report.warnings, *_tell(ws)))


def _serve(ws: Workspace, *, fetch: bool, symbols: tuple[str, ...]) -> TickReport:
    """Run the steps of a tick up to the newest origin's commit, and what comes afterwards."""
    step = ws.steps.step
    markets, started = ws.markets(symbols), ws.clock.now()
    with ws.store.read() as reader:
        start = look_up(reader, markets, started)
        if ws.clock.virtual:  # the system's clock never goes back so far
            refuse_gone(reader, markets, start.origin)
            refuse_running(reader, ws.settings, started)
    if not start.productions:
        raise no_production()
    if not start.missing:
        return TickReport(False, tuple(start.served[m] for m in start.markets))
    caught = {market: CaughtUp(market) for market in start.missing}
    if fetch:
        caught = step(
            "get candles into the database", lambda: catch_up(ws, start.missing, start.started)
        )
    ladder = step(
        "load the production model",
        lambda: Ladder(ws.settings, ws.bundle, production_versions(start.productions)),
    )
    forecasts = step("forecast", lambda: forecast_newest(ws, start, caught, ladder))
    report = step(
        "store the forecast", lambda: store_forecasts(ws.store, start, forecasts, ws.clock)
    )
    if forecasts.failed_everywhere and not start.served:
        # The reason why no candle came says more than that there are too few.
        first = forecasts.failures[0]
        raise caught[first.market].error or first.error
    warnings = tuple(tick_warnings(caught, forecasts))
    questions = [
        question
        for question in as_questions(start, caught)
        if question.market not in start.productions
        or start.productions[question.market].model_version != forecasts.shadow
    ]
    return replace(report, warnings=(*warnings, *_afterwards(ws, forecasts, questions)))


def _afterwards(
    ws: Workspace, forecasts: Forecasts, questions: Sequence[Question]
) -> Iterator[str]:
    """Do what waits until the newest origin is served; if the store fails now, only warn."""
    step, shadow = ws.steps.step, forecasts.shadow
    try:
        if forecasts.unserved:
            yield from step("make up for missed origins", lambda: make_up(ws, forecasts.unserved))
        if shadow is not None and questions:
            yield from step("let the shadow forecast", lambda: cast_shadow(ws, shadow, questions))
    except StoreError as error:
        yield f"{error.message} ({error.hint})"


def _tell(ws: Workspace) -> list[str]:
    """Send alerts, write metrics and renew the mirror; return what failed of them."""
    step = ws.steps.step
    failures: list[str] = []
    if ws.settings.notify.receiver:
        # Imported late: most workspaces have no receiver, and every tick pays for its imports.
        from cryptocast.workflows.watching.alerts import send_alerts

        failures += step("send alerts", lambda: send_alerts(ws))
    if ws.settings.metrics.file is not None:
        failures += step("write the metrics", lambda: write_metrics(ws))
    if ws.settings.store.mirror:
        # Late as well: few have one.
        from cryptocast.workflows.serving.mirror import renew_mirror

        failures += step("renew the mirror", lambda: renew_mirror(ws.store, ws.folder))
    return failures


def documents(report: TickReport) -> Iterator[dict[str, object]]:
    """Yield the document of every set of a report."""
    return map(document, report.forecasts)


def document(forecast: ForecastSet) -> dict[str, object]:
    """Return a set as the JSON document that the contract describes."""
    return {
        "market": forecast.market.id,
        "origin": iso(forecast.origin),
        "issued_at": iso(forecast.issued_at),
        "last_close": forecast.last_close,
        "stale_bars": forecast.stale_bars,
        "late": forecast.late,
        "mode": forecast.mode,
        "model": {
            "version": forecast.model.version,
            "kind": forecast.model.kind,
            "fallback": forecast.model.fallback,
        },
        "levels": list(forecast.levels),
        "steps": [
            {
                "step": step,
                "target_time": iso(forecast.target_time(step)),
                "quantiles": quantiles.tolist(),
            }
            for step, quantiles in enumerate(forecast.quantiles, start=1)
        ],
    }
