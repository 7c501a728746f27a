"""forecast: one tick for all markets, or what was served last.

A tick always serves: production, else the version before it, else the random walk that
needs no training; what is not production is labelled with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptocast import dataset
from cryptocast.errors import CryptocastError, StateError
from cryptocast.values import (
    MIN_CANDLES,
    ForecastSet,
    Market,
    iso,
)
from cryptocast.workflows.catch_up import CaughtUp, catch_up
from cryptocast.workflows.ladder import Ladder
from cryptocast.workspace import Workspace


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
    caught = {market: CaughtUp(market) for market in missing}
    if fetch:
        caught = catch_up(ws, missing, started)
    ladder = Ladder(ws, deployment, started)
    made, failures = [], []
    for market in missing:
        try:
            made.append(_forecast(ws, market, caught[market].series, market.floor(started), ladder))
        except StateError as error:
            failures.append(Failure(market, error))
    new, kept = _keep(ws, made, failures, started)
    if failures and not made:
        # Why no candle came says more than that there are too few.
        raise caught[failures[0].market].error or failures[0].error
    served = {s.market: s for s in (*there, *kept) if s is not None}
    return TickReport(
        new,
        tuple(served[m] for m in markets if m in served),
        tuple(_warnings(caught, failures, made)),
    )


def _warnings(
    caught: Mapping[Market, CaughtUp], failures: Sequence[Failure], made: Sequence[ForecastSet]
) -> Iterator[str]:
    """What a person should know of a tick: failed sources, markets without one, stand-ins."""
    for market, found in caught.items():
        if found.error is not None:
            yield f"{market.id}: {found.error.message} ({found.error.hint})"
    for failure in failures:
        yield f"{failure.market.id}: {failure.error.message} ({failure.error.hint})"
    for made_set in made:
        version, reason = made_set.model.version, made_set.model.fallback
        if reason is None:
            continue
        series = caught[made_set.market].series
        if series == made_set.market or reason != f"source:{series.source}":
            yield f"{made_set.market.id}: served by {version} instead of production ({reason})"
        else:
            yield f"{made_set.market.id}: forecast from the candles of {series.id}"


def _forecast(
    ws: Workspace, market: Market, series: Market, origin: int, ladder: Ladder
) -> ForecastSet:
    """The forecasts of a market at an origin, from the candles of a series of the same pair."""
    start = origin - ladder.context_bars * market.interval_seconds
    with ws.store.read() as reader:
        candles = reader.candles(series, start, origin)
        enough = len(candles) >= MIN_CANDLES
        span = None if enough else reader.span(series, origin)
    if not enough:
        hint = "cryptocast fetch"
        if span is not None:
            hint += f", or for recorded candles --as-of {iso(span.last + market.interval_seconds)}"
        raise StateError(
            f"{series.id} has {len(candles)} candles before {iso(origin)}, "
            f"at least {MIN_CANDLES} are needed",
            code="state.not_enough_candles",
            hint=hint,
        )
    bars = dataset.lay_out(candles, series, start, origin)
    model, log_quantiles = ladder.answer(bars)
    if series != market:
        reasons = [f"source:{series.source}", model.fallback]
        model = replace(model, fallback=", ".join(reason for reason in reasons if reason))
    issued_at = ws.clock.now()
    last_close = float(candles.close[-1])
    return ForecastSet(
        market=market,
        origin=origin,
        issued_at=issued_at,
        last_close=last_close,
        stale_bars=int(bars.age[-1]),
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
