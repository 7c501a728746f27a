"""catch_up: bring what the newest forecasts need, from the first source that has it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast import dataset
from cryptocast.config import Settings
from cryptocast.errors import CryptocastError
from cryptocast.seams import CandleSource
from cryptocast.store import Store, fillable_gaps
from cryptocast.values import Market
from cryptocast.workflows.serving.bring import OVERLAP_BARS, Errand, bring
from cryptocast.workspace import Workspace

TICK_SECONDS = 60.0
"""How long a tick waits for all sources together."""

_SOON_SECONDS = 10.0  # then the markets that are ready are served, and the others waited for
_ASK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """The series that a market's forecast is made from, and why its own source failed, if so."""

    series: Market  # the market itself, or the same pair at a fallback source
    error: CryptocastError | None = None
    told: tuple[str, ...] = ()  # rows of its source that no candle can be made of, and more


@dataclass(frozen=True, slots=True)
class CaughtUpSoon:
    """The markets that are ready, and the errors of sources that need not be asked again."""

    ready: Mapping[Market, CaughtUp]
    failed: Mapping[Market, CryptocastError]


def catch_up_soon(ws: Workspace, markets: Sequence[Market], started: float) -> CaughtUpSoon:
    """Bring the candles of markets whose sources answer at once; raise what `catch_up` raises."""
    origins = {market: market.floor(started) for market in markets}
    errors, told = _bring_newest(ws, origins, time.monotonic() + _SOON_SECONDS)
    behind = _without_newest(ws.store, origins).keys()
    ready = {m: CaughtUp(m, errors.get(m), told.get(m, ())) for m in markets if m not in behind}
    for market in behind - errors.keys():
        if not _may_be_late(ws.source(market.source)):
            ready[market] = CaughtUp(market, None, told.get(market, ()))
    # A source that had no time is asked again, with more.
    failed = {m: e for m, e in errors.items() if m not in ready and e.code != "source.timeout"}
    return CaughtUpSoon(ready, failed)


def catch_up(
    ws: Workspace,
    markets: Sequence[Market],
    started: float,
    deadline: float,
    failed: Mapping[Market, CryptocastError],
) -> dict[Market, CaughtUp]:
    """Bring the candles up to each market's origin, and ask again for holes close by.

    If a source publishes its newest candle with a delay, that is waited for, up to
    `[loop] wait_seconds` after the origin. If a source fails (or is among the `failed`) and
    leaves its series without the newest candle, the fallback sources are tried in their order;
    their candles are kept under their own market. All is over at the monotonic `deadline`.
    Raises SourceError (`clock.skew`) if this machine's clock and that of a source disagree:
    nothing may be forecast by such a clock.
    """
    fallbacks = ws.settings.source.fallback
    origins = {market: market.floor(started) for market in markets}
    share = _share(deadline, len(fallbacks) + 1)
    untried = {m: origin for m, origin in origins.items() if m not in failed}
    errors, told = _bring_newest(ws, untried, share) if untried else ({}, {})
    errors |= failed
    caught = {m: CaughtUp(m, errors.get(m), told.get(m, ())) for m in markets}
    for number, fallback in enumerate(fallbacks):
        behind_now = {m: origins[m] for m in errors if caught[m].series == m}
        if not behind_now:
            break
        stands_in = {
            m: Market(fallback.name, m.base, m.quote, m.interval)
            for m in _without_newest(ws.store, behind_now)
            if m.source != fallback.name
        }
        if not stands_in:
            continue
        # Only a series that got the newest candle is better than the stale one.
        wanted = {series: origins[m] for m, series in stands_in.items()}
        missed, _ = _bring_newest(ws, wanted, _share(deadline, len(fallbacks) - number))
        behind = _without_newest(ws.store, wanted)
        for market, series in stands_in.items():
            if series not in behind and series not in missed:
                caught[market] = CaughtUp(series, errors[market], told.get(market, ()))
    return caught


def _share(deadline: float, sources: int) -> float:
    """Return when the next of so many sources must be done, on the monotonic clock."""
    now = time.monotonic()
    return now + (deadline - now) / sources


def _may_be_late(source: CandleSource) -> bool:
    """Return whether a newest candle that is missing may still appear, and asking costs nothing."""
    return source.publishes_late and not source.metered


def _bring_newest(
    ws: Workspace, origins: Mapping[Market, int], deadline: float
) -> tuple[dict[Market, CryptocastError], dict[Market, tuple[str, ...]]]:
    """Catch each series up to its origin; return the errors of failed ones, and warnings."""
    sources = {market: ws.source(market.source) for market in origins}
    loop, newest = ws.settings.loop, max(origins.values(), default=0)
    patience_seconds = 0.0  # on a virtual clock nothing comes late
    if not ws.clock.virtual:
        if any(source.metered for source in sources.values()):
            # A call that costs is made once: when the newest candle has had time to appear.
            ws.clock.sleep_until(newest + loop.delay_seconds)
        patience_seconds = newest + loop.wait_seconds - ws.clock.now()
    until = min(deadline, time.monotonic() + patience_seconds)
    patient = {m for m, source in sources.items() if _may_be_late(source)}
    errors: dict[Market, CryptocastError] = {}
    told: dict[Market, tuple[str, ...]] = {}
    errands = _errands(ws.store, sources, origins, ws.settings)
    late = dict(origins)
    while late:
        errands = [errand for errand in errands if errand.ranges]
        if errands:
            results = bring(ws, errands, provenance="live", deadline=deadline)
            errors |= {m: result.error for m, result in results.items() if result.error}
            told |= {m: result.told for m, result in results.items() if result.told}
            for error in errors.values():
                if error.code == "clock.skew":
                    raise error
        late = {m: origin for m, origin in late.items() if m in patient and m not in errors}
        if not late or time.monotonic() + _ASK_AGAIN_SECONDS > until:
            break
        late = _without_newest(ws.store, late)
        if late:
            ws.clock.sleep_until(ws.clock.now() + _ASK_AGAIN_SECONDS)
            errands = [
                Errand(sources[market], market, ((origin - market.interval_seconds, origin),))
                for market, origin in late.items()
            ]
    return errors, told


def _errands(
    store: Store,
    sources: Mapping[Market, CandleSource],
    origins: Mapping[Market, int],
    settings: Settings,
) -> list[Errand]:
    """Return one range per market: the newest bars, an overlap, and holes within one call.

    A series that has nothing yet is brought as far back as the features look, also those of
    origins that may have been missed.
    """
    loop, needed = settings.loop, {}
    for market, source in sources.items():
        needed[market] = dataset.recent_bars(settings.model.lookback)
        needed[market] += loop.backfill_bars if loop.backfill_missed else 0
        if source.bars_back is not None:
            needed[market] = min(needed[market], source.bars_back)
    with store.read() as reader:
        spans = reader.spans(list(origins), max(origins.values(), default=0))
        ranges = {}
        for market, span in spans.items():
            bars = min(needed[market], sources[market].bars_a_call)
            reach = max(span.first, origins[market] - bars * market.interval_seconds)
            ranges[market] = (reach, origins[market])
        missing = fillable_gaps(reader, ranges)
    errands = []
    for market, origin in origins.items():
        interval = market.interval_seconds
        oldest = origin - needed[market] * interval
        start, end = oldest, origin
        if market in spans:
            span, holes = spans[market], missing[market]
            start, end = (holes[0].start, holes[-1].end) if holes else (origin, origin)
            if span.last + interval < origin:
                tail = span.last + interval - OVERLAP_BARS * interval
                start = max(min(start, tail), span.first, oldest)
        errands.append(Errand(sources[market], market, ((start, end),) if start < end else ()))
    return errands


def _without_newest(store: Store, origins: Mapping[Market, int]) -> dict[Market, int]:
    """Return those series whose newest closed candle is not stored."""
    with store.read() as reader:
        spans = reader.spans(list(origins), max(origins.values(), default=0))
    return {
        market: origin
        for market, origin in origins.items()
        if (span := spans.get(market)) is None or span.last + market.interval_seconds < origin
    }
