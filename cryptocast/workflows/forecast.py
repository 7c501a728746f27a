"""forecast: one tick for all markets, or what was served last.

A tick always serves: production, else the version before it, else the random walk that
needs no training; what is not production is labelled with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cryptocast import dataset
from cryptocast.candles import normalise
from cryptocast.errors import CryptocastError, StateError
from cryptocast.values import (
    MIN_CANDLES,
    Candles,
    FloatArray,
    ForecastSet,
    Market,
    ServedModel,
    iso,
)
from cryptocast.workflows.ladder import Ladder
from cryptocast.workspace import Workspace

_ASK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A market that got no forecast, and why."""

    market: Market
    error: CryptocastError


@dataclass(frozen=True, slots=True)
class TickReport:
    """The sets of an origin; `new` is False where all of them were there before."""

    new: bool
    forecasts: tuple[ForecastSet, ...]
    warnings: tuple[str, ...] = ()


def newest(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> TickReport:
    """The newest served set of every market. Raises StateError where there is none."""
    with ws.store.read() as reader:
        found = [reader.newest(market, ws.clock.now()) for market in ws.markets(symbols)]
    sets = tuple(f for f in found if f is not None)
    if not sets:
        raise StateError(
            "nothing was forecast yet", code="state.no_forecast", hint="cryptocast forecast --once"
        )
    return TickReport(False, sets)


def tick(ws: Workspace, *, fetch: bool = True, symbols: tuple[str, ...] = ()) -> TickReport:
    """Catch up, forecast every market at the clock's origin, store one set a market.

    What is served already is left as it is. A source that fails costs a warning, not the
    forecast. Raises StateError without a production model or where no market has 24 candles.
    """
    markets = ws.markets(symbols)
    started = ws.clock.now()
    with ws.store.read() as reader:
        deployment = reader.deployment()
        there = [reader.served(m, m.floor(started)) for m in markets]
    if deployment is None:
        raise StateError(
            "there is no production model", code="state.no_production", hint="cryptocast init"
        )
    missing = [m for m, served in zip(markets, there, strict=True) if served is None]
    if not missing:
        return TickReport(False, tuple(s for s in there if s is not None))
    broken: dict[Market, CryptocastError] = {}
    if fetch:
        for market in missing:
            try:
                _catch_up(ws, market, market.floor(started))
            except CryptocastError as error:
                if error.code.startswith("store."):
                    raise
                broken[market] = error
    ladder = Ladder(ws, deployment, started)
    made, failures = [], []
    for market in missing:
        try:
            made.append(_forecast(ws, market, market.floor(started), ladder))
        except StateError as error:
            failures.append(Failure(market, error))
    new, kept = _keep(ws, made, failures, started)
    if failures and not made:
        # Why no candle came says more than that there are too few.
        raise broken.get(failures[0].market, failures[0].error)
    warnings = [f"{market.id}: {e.message} ({e.hint})" for market, e in broken.items()]
    warnings += [f"{f.market.id}: {f.error.message} ({f.error.hint})" for f in failures]
    warnings += [
        f"{s.market.id}: served by {s.model.version} instead of production ({s.model.fallback})"
        for s in made
        if s.model.fallback
    ]
    served = {s.market: s for s in (*there, *kept) if s is not None}
    return TickReport(new, tuple(served[m] for m in markets if m in served), tuple(warnings))


def _catch_up(ws: Workspace, market: Market, origin: int) -> None:
    """Bring the candles after the newest stored one.

    Where the source publishes with a delay the newest candle is waited for, up to
    `[loop] wait_seconds` after the origin.
    """
    source = ws.source(market.source)
    interval = market.interval_seconds
    with ws.store.read() as reader:
        span = reader.span(market, origin)
    context = dataset.context_bars(ws.settings.model.lookback) * interval
    start = origin - context if span is None else span.last + interval
    deadline = origin + ws.settings.loop.wait_seconds
    while start < origin:
        for page in source.pages(market, start, origin):
            clean = normalise(
                page.candles, market, now=ws.clock.now(), start=page.start, end=page.end
            )
            if len(clean.candles):
                with ws.store.write() as writer:
                    writer.put_candles(
                        market, clean.candles, provenance="live", fetched_at=ws.clock.now()
                    )
                start = int(clean.candles.open_time[-1]) + interval
        waits = source.publishes_late and not ws.clock.virtual
        if not waits or start >= origin or ws.clock.now() + _ASK_AGAIN_SECONDS > deadline:
            return
        ws.clock.sleep_until(ws.clock.now() + _ASK_AGAIN_SECONDS)


def _forecast(ws: Workspace, market: Market, origin: int, ladder: Ladder) -> ForecastSet:
    interval = market.interval_seconds
    start = origin - ladder.context_bars * interval
    with ws.store.read() as reader:
        candles = reader.candles(market, start, origin)
        enough = len(candles) >= MIN_CANDLES
        span = None if enough else reader.span(market, origin)
    if not enough:
        hint = "cryptocast fetch"
        if span is not None:
            hint += f", or for recorded candles --as-of {iso(span.last + interval)}"
        raise StateError(
            f"{market.id} has {len(candles)} candles before {iso(origin)}, "
            f"at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint=hint,
        )
    bars = dataset.lay_out(candles, market, start, origin)
    model, log_quantiles = ladder.answer(bars)
    return _set(ws, market, origin, candles, int(bars.age[-1]), model, log_quantiles)


def _set(
    ws: Workspace,
    market: Market,
    origin: int,
    candles: Candles,
    stale_bars: int,
    model: ServedModel,
    log_quantiles: FloatArray,
) -> ForecastSet:
    issued_at = ws.clock.now()
    last_close = float(candles.close[-1])
    return ForecastSet(
        market=market,
        origin=origin,
        issued_at=issued_at,
        last_close=last_close,
        stale_bars=stale_bars,
        mode="late" if issued_at - origin > ws.settings.loop.late_seconds else "live",
        model=model,
        levels=ws.settings.model.levels,
        quantiles=dataset.to_prices(log_quantiles, last_close),
    )


def _keep(
    ws: Workspace, made: list[ForecastSet], failures: list[Failure], started: float
) -> tuple[bool, list[ForecastSet | None]]:
    """Write every set with its tick in one transaction; a set that is there already stays.

    Returns whether any was written, and what is served now.
    """
    new = False
    kept: list[ForecastSet | None] = []
    finished = ws.clock.now()
    with ws.store.write() as writer:
        for forecast in made:
            if not writer.put_set(forecast, served=True):
                kept.append(writer.served(forecast.market, forecast.origin))
            else:
                new = True
                kept.append(forecast)
                status = "late" if forecast.late else "ok"
                writer.put_tick(
                    forecast.market.id,
                    forecast.origin,
                    started,
                    finished,
                    status,
                    detail=forecast.model.fallback,
                )
        for failure in failures:
            writer.put_tick(
                failure.market.id,
                failure.market.floor(started),
                started,
                finished,
                "failed",
                error_code=failure.error.code,
                detail=failure.error.message,
            )
    return new, kept


def documents(report: TickReport) -> Iterator[dict[str, object]]:
    """The sets as the contract writes them."""
    for s in report.forecasts:
        yield {
            "market": s.market.id,
            "origin": iso(s.origin),
            "issued_at": iso(s.issued_at),
            "last_close": s.last_close,
            "stale_bars": s.stale_bars,
            "late": s.late,
            "mode": s.mode,
            "model": {
                "version": s.model.version,
                "kind": s.model.kind,
                "fallback": s.model.fallback,
            },
            "levels": list(s.levels),
            "steps": [
                {
                    "step": step,
                    "target_time": iso(s.target_time(step)),
                    "quantiles": quantiles.tolist(),
                }
                for step, quantiles in enumerate(s.quantiles, start=1)
            ],
        }
