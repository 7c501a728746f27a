"""forecast: one tick for all markets, or the newest served forecasts.

A tick always serves: production, else the version before it, else the random walk that
needs no training. Whatever is not production is labelled with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

from cryptocast.compute.ladder import Ladder, production_versions
from cryptocast.compute.sets import Question
from cryptocast.compute.tracks import Tracks
from cryptocast.display import ago
from cryptocast.errors import CryptocastError, StateError, StoreError, no_production
from cryptocast.values import Market, iso
from cryptocast.workflows.serving.afterwards import cast_shadow, make_up
from cryptocast.workflows.serving.blocks import blocks
from cryptocast.workflows.serving.catch_up import (
    TICK_SECONDS,
    CaughtUp,
    CaughtUpSoon,
    catch_up,
    catch_up_soon,
)
from cryptocast.workflows.serving.events import refuse_gone
from cryptocast.workflows.serving.recordings import is_recorded, refuse_running
from cryptocast.workflows.serving.tick import (
    Forecasts,
    TickReport,
    TickStart,
    as_questions,
    forecast_newest,
    look_back,
    look_up,
    store_forecasts,
    tick_warnings,
)
from cryptocast.workflows.watching.metrics import write_metrics
from cryptocast.workspace import Workspace

_OLD_BARS = 2  # the present origin's forecast may be due still


def newest(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> TickReport:
    """Return the newest served set of every market, with a warning about each that is old.

    Raises StateError if there is none.
    """
    markets, now = ws.markets(symbols), ws.clock.now()
    with ws.store.read() as reader:
        sets = reader.ledger.newest(markets, now)
    if not sets:
        raise StateError(
            "nothing has been forecast yet",
            code="state.no_forecast",
            hint="cryptocast forecast --once",
        )
    hint = "cryptocast forecast --once makes a new one"
    if is_recorded(ws.settings):
        hint = "recorded candles are looked at with --as-of"
    old = tuple(
        f"{m.id}: the newest forecast is of {iso(s.origin)}, {ago(now - s.origin)} ({hint})"
        for m, s in sets.items()
        if now - s.origin >= _OLD_BARS * m.interval_seconds
    )
    return TickReport(False, tuple(sets[m] for m in markets if m in sets), old)


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
    return replace(report, warnings=(*report.warnings, *_tell(ws, report)))


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
    caught: dict[Market, CaughtUp] = {}
    served, new = dict(start.served), False
    forecasts, ladder, tracks = Forecasts(), None, Tracks(ws.settings, served=True)
    for ready in _caught_up(ws, start, fetch=fetch):
        caught |= ready
        ladder = ladder or step(
            "load the production model",
            lambda: Ladder(
                ws.settings,
                ws.bundle,
                production_versions(start.productions),
                graphs=start.graphs,
            ),
        )
        for block in blocks(sorted(start.only(ready).missing, key=attrgetter("id"))):
            part = start.only(frozenset(block))
            made = step("forecast", partial(forecast_newest, ws, part, ready, ladder, tracks))
            stored = step(
                "store the forecast", partial(store_forecasts, ws.store, part, made, ws.clock)
            )
            served |= {s.market: s for s in stored.forecasts}
            new, forecasts = new or stored.new, forecasts.joined(made)
    if forecasts.failed_everywhere and not start.served:
        # The reason why no candle came says more than that there are too few.
        first = forecasts.failures[0]
        raise caught[first.market].error or first.error
    warnings = (*tick_warnings(caught, forecasts), *_afterwards(ws, start, caught))
    return TickReport(new, tuple(served[m] for m in markets if m in served), warnings)


def _shadowed(
    start: TickStart, caught: Mapping[Market, CaughtUp], shadow: str | None
) -> Iterator[Question]:
    """Yield what is asked of the shadow: the markets that it does not serve itself."""
    for question in as_questions(start, caught):
        production = start.productions.get(question.market)
        if production is None or production.model_version != shadow:
            yield question


def _caught_up(
    ws: Workspace, start: TickStart, *, fetch: bool
) -> Iterator[Mapping[Market, CaughtUp]]:
    """Yield the markets that have their candles; last those that were waited for.

    What is yielded first is forecast and stored while the others' sources keep us waiting.
    """
    if not fetch:
        yield {market: CaughtUp(market) for market in start.missing}
        return
    get, deadline = "get candles into the database", time.monotonic() + TICK_SECONDS
    soon = CaughtUpSoon({}, {})
    if len(start.missing) > 1:
        soon = ws.steps.step(get, lambda: catch_up_soon(ws, start.missing, start.started))
    if soon.ready:
        yield soon.ready
    rest = [market for market in start.missing if market not in soon.ready]
    if rest:
        late = partial(catch_up, ws, rest, start.started, deadline, soon.failed)
        yield ws.steps.step(get, late)


def _afterwards(
    ws: Workspace, start: TickStart, caught: Mapping[Market, CaughtUp]
) -> Iterator[str]:
    """Do what waits until the newest origin is served; if the store fails now, only warn."""
    step = ws.steps.step
    try:
        with ws.store.read() as reader:
            bars = ws.settings.loop.backfill_bars
            left = look_back(reader, start, bars, virtual=ws.clock.virtual)
        if left.unserved:
            yield from step("make up for missed origins", lambda: make_up(ws, left.unserved))
        shadow, questions = left.shadow, list(_shadowed(start, caught, left.shadow))
        if shadow is not None and questions:
            yield from step("let the shadow forecast", lambda: cast_shadow(ws, shadow, questions))
    except StoreError as error:
        yield f"{error.message} ({error.hint})"


def _tell(ws: Workspace, report: TickReport | None = None) -> list[str]:
    """Send alerts, write metrics, renew the mirror and sum paths up; return what failed of them."""
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
    if ws.settings.simulate.store and report is not None and report.new:
        # Late, as few ask for it: paths would cost every tick their library.
        from cryptocast.workflows.futures.summaries import kept_summaries

        now = ws.clock.now()
        keep = partial(
            kept_summaries, ws.store, report.forecasts, ws.settings, now, ws.frozen_curve
        )
        failures += step("keep a summary of paths", keep)
    return failures
