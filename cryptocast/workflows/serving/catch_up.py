"""catch_up: the first half of a tick. Bring what the newest forecasts need, from whoever has it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptocast import dataset
from cryptocast.errors import CryptocastError
from cryptocast.store import fillable_gaps
from cryptocast.values import Market
from cryptocast.workflows.serving.bring import OVERLAP_BARS, Errand, bring
from cryptocast.workspace import Workspace

TICK_SECONDS = 60.0
"""So long all sources together are waited for in a tick."""

_ASK_AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Where a market's forecast is made from, and why its own source failed (None: it did not)."""

    series: Market  # the market itself, or the same pair at a fallback source
    error: CryptocastError | None = None
    refused: str | None = None  # rows of its source that no candle can be made of


def catch_up(ws: Workspace, markets: Sequence[Market], started: float) -> dict[Market, CaughtUp]:
    """Bring the candles up to each market's origin, and ask again for holes close by.

    A newest candle that a source publishes with a delay is waited for, up to
    `[loop] wait_seconds` after the origin. Where a source fails and leaves its series without
    the newest candle, the fallback sources are tried in their order; their candles are kept
    under their own market. Raises SourceError (`clock.skew`) where this machine's clock and
    that of a source disagree: nothing may be forecast by such a clock.
    """
    deadline = time.monotonic() + TICK_SECONDS
    fallbacks = ws.settings.source.fallback
    share = deadline - TICK_SECONDS * len(fallbacks) / (len(fallbacks) + 1)
    origins = {market: market.floor(started) for market in markets}
    errors, refused = _bring_newest(ws, origins, share)
    caught = {m: CaughtUp(m, errors.get(m), refused.get(m)) for m in markets}
    for number, fallback in enumerate(fallbacks, start=1):
        down = _without_newest(ws, {m: origins[m] for m in errors if caught[m].series == m})
        stands_in = {
            m: Market(fallback.name, m.base, m.quote, m.interval)
            for m in down
            if m.source != fallback.name
        }
        if not stands_in:
            continue
        left = deadline - time.monotonic()
        share = deadline - left * (len(fallbacks) - number) / (len(fallbacks) - number + 1)
        # Only what came to have the newest candle is better than the stale series.
        missed, _ = _bring_newest(ws, {s: origins[m] for m, s in stands_in.items()}, share)
        behind = _without_newest(ws, {s: origins[m] for m, s in stands_in.items()})
        for market, series in stands_in.items():
            if series not in behind and series not in missed:
                caught[market] = CaughtUp(series, errors[market], refused.get(market))
    return caught


def _bring_newest(
    ws: Workspace, origins: Mapping[Market, int], deadline: float
) -> tuple[dict[Market, CryptocastError], dict[Market, str]]:
    """Catch each series up to its origin; the errors of those that failed, and refused rows."""
    _await_metered(ws, origins)
    until = min(deadline, time.monotonic() + _patience_seconds(ws, origins))
    errors: dict[Market, CryptocastError] = {}
    refused: dict[Market, str] = {}
    errands = _errands(ws, origins)
    late = dict(origins)
    while late:
        asked = [errand for errand in errands if errand.ranges]
        if asked:
            for market, result in bring(ws, asked, provenance="live", deadline=deadline).items():
                if result.error is not None:
                    if result.error.code == "clock.skew":
                        raise result.error
                    errors[market] = result.error
                if result.refused is not None:
                    refused[market] = result.refused
        late = {m: origin for m, origin in late.items() if _waits(ws, m, errors)}
        if not late or time.monotonic() + _ASK_AGAIN_SECONDS > until:
            break
        late = _without_newest(ws, late)
        if late:
            ws.clock.sleep_until(ws.clock.now() + _ASK_AGAIN_SECONDS)
            errands = [
                Errand(ws.source(m.source), m, ((origin - m.interval_seconds, origin),))
                for m, origin in late.items()
            ]
    return errors, refused


def _errands(ws: Workspace, origins: Mapping[Market, int]) -> list[Errand]:
    """One range of each: the bars after the newest stored one, an overlap, holes within a call.

    A series that has nothing yet is brought as far back as the features look, those of the
    origins too that may have been missed.
    """
    loop, needed = ws.settings.loop, {}
    for market in origins:
        needed[market] = dataset.context_bars(ws.settings.model.lookback)
        needed[market] += loop.backfill_bars if loop.backfill_missed else 0
        if (bars_back := ws.source(market.source).bars_back) is not None:
            needed[market] = min(needed[market], bars_back)
    with ws.store.read() as reader:
        spans = reader.spans(list(origins), max(origins.values(), default=0))
        ranges = {}
        for market, span in spans.items():
            bars = min(needed[market], ws.source(market.source).bars_a_call)
            reach = max(span.first, origins[market] - bars * market.interval_seconds)
            ranges[market] = (reach, origins[market])
        missing = fillable_gaps(reader, ranges)
    errands = []
    for market, origin in origins.items():
        source, interval = ws.source(market.source), market.interval_seconds
        oldest = origin - needed[market] * interval
        start, end = oldest, origin
        if market in spans:
            span, holes = spans[market], missing[market]
            start, end = (holes[0].start, holes[-1].end) if holes else (origin, origin)
            if span.last + interval < origin:
                tail = span.last + interval - OVERLAP_BARS * interval
                start = max(min(start, tail), span.first, oldest)
        errands.append(Errand(source, market, ((start, end),) if start < end else ()))
    return errands


def _without_newest(ws: Workspace, origins: Mapping[Market, int]) -> dict[Market, int]:
    """Those series whose newest closed candle is not stored."""
    with ws.store.read() as reader:
        spans = reader.spans(list(origins), max(origins.values(), default=0))
    return {
        market: origin
        for market, origin in origins.items()
        if (span := spans.get(market)) is None or span.last + market.interval_seconds < origin
    }


def _waits(ws: Workspace, market: Market, errors: Mapping[Market, CryptocastError]) -> bool:
    """Whether a newest candle that is not there yet is worth asking for again."""
    source = ws.source(market.source)
    return source.publishes_late and not source.metered and market not in errors


def _patience_seconds(ws: Workspace, origins: Mapping[Market, int]) -> float:
    """How long from now newest candles are waited for; on a virtual clock nothing comes late."""
    if ws.clock.virtual:
        return 0.0
    return max(origins.values()) + ws.settings.loop.wait_seconds - ws.clock.now()


def _await_metered(ws: Workspace, origins: Mapping[Market, int]) -> None:
    """A call that costs is made once: not before the newest candle has had time to appear."""
    if not ws.clock.virtual and any(ws.source(market.source).metered for market in origins):
        ws.clock.sleep_until(max(origins.values()) + ws.settings.loop.delay_seconds)
