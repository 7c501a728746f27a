"""report: one HTML page that compares forecasts with outcomes, from what the store holds."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryptocast import paths, store
from cryptocast.drafts import replacing
from cryptocast.reports.facts import MOST_SECTIONS, Incident, MarketFacts, ReportFacts
from cryptocast.reports.page import render
from cryptocast.store import Reader, Store, Trouble
from cryptocast.values import DAY_SECONDS, MIN_CANDLES, ForecastSet, Gap, Market, MonitorVerdict
from cryptocast.workflows.futures.simulating import (
    PATHS_EVENT,
    SUMMARY_EVENT,
    PathModels,
    market_paths,
    path_models,
    paths_start,
)
from cryptocast.workflows.learning.deployment import promised_skill
from cryptocast.workflows.watching.facts import MONITOR
from cryptocast.workflows.watching.outcomes import outcomes
from cryptocast.workflows.watching.served import ServedReader
from cryptocast.workspace import Workspace, output_file

DAYS = 30.0
"""How far back a report looks by default."""

_MOST_EVENTS = 100
_QUIET = (MONITOR, PATHS_EVENT, SUMMARY_EVENT, "workspace.identity")  # events that are no incident
_PATHS = 1000


@dataclass(frozen=True, slots=True)
class ReportReport:
    """The page that was written."""

    file: Path  # absolute
    bytes: int
    facts: ReportFacts  # what it shows


def report(ws: Workspace, *, out: Path | None = None, days: float | None = None) -> ReportReport:
    """Write the page of the last `days` (default DAYS) into `out`, which is replaced as a whole.

    By default that is `reports/report.html` in the workspace. The store is open only while its
    rows are read. Raises UsageError for an `out` that cannot be written, StoreError if the disk
    or the database refuses.
    """
    if out is None:
        file = ws.folder / "reports" / "report.html"
        file.parent.mkdir(parents=True, exist_ok=True)
    else:
        file, _ = output_file(out, (".html", ".htm"), ws.settings.source.paths())
    with replacing(file) as part:
        facts = gather(ws, DAYS if days is None else days)
        part.write_text(render(facts), encoding="utf-8")
        size = part.stat().st_size
    return ReportReport(file, size, facts)


def gather(ws: Workspace, days: float) -> ReportFacts:
    """Read and compute what the page shows of the last `days`; nothing is written."""
    now = ws.clock.now()
    markets = ws.markets()
    end = markets[0].floor(now)
    start = end - round(days * DAY_SECONDS)
    with ws.store.read() as reader:
        newest = reader.ledger.newest(markets, now)
        verdict = reader.newest_event(MONITOR, now)
        deployments = [d for d in reader.deployments() if d.at <= now]
        judged = reader.newest_event(PATHS_EVENT, now)
        events = reader.newest_events(start, now, without=_QUIET, most=_MOST_EVENTS)
        others = set(reader.stored_markets()) - {market.id for market in markets}
    facts = _worst_first(_market(ws, m, (start, end), newest.get(m)) for m in markets)
    if markets[0].interval in paths.shipped_intervals():
        shown = facts[:MOST_SECTIONS]
        versions = (each.newest.model.version for each in shown if each.newest is not None)
        base, interval = ws.settings.model.base, markets[0].interval
        models = path_models(base, interval, versions, ws.frozen_curve)
        facts[:MOST_SECTIONS] = [_with_cone(ws.store, each, models) for each in shown]
    return ReportFacts(
        workspace=ws.folder.name,
        now=now,
        start=start,
        end=end,
        horizon=ws.settings.model.horizon,
        interval_seconds=markets[0].interval_seconds,
        markets=facts,
        deployments=deployments,
        events=events,
        verdict=MonitorVerdict.of(verdict),
        others=sorted(others),
        paths=judged,
        promised={row.id: promised_skill(row, deployments) for row in deployments},
    )


def _worst_first(markets: Iterable[MarketFacts]) -> list[MarketFacts]:
    """Return the markets by their skill; those that will have no pictures in brief, at once.

    With the arrays of a month a market takes 17 MB.
    """
    facts: list[MarketFacts] = []
    for market in markets:
        place = bisect.bisect_right(facts, _goodness(market), key=_goodness)
        facts.insert(place, market)
        no_longer_drawn = max(place, MOST_SECTIONS)  # itself, or the one that it pushed out
        if no_longer_drawn < len(facts):
            facts[no_longer_drawn] = facts[no_longer_drawn].in_brief()
    return facts


def _market(
    ws: Workspace, market: Market, span: tuple[int, int], newest: ForecastSet | None
) -> MarketFacts:
    # Open per market, and closed before the figures are computed: ticks wait while it is open.
    with ws.store.read() as reader:
        candles = reader.candles([market], *span)[market]
        gaps = _gaps(reader, market, *span)
        served = ServedReader(reader, ws.settings, ws.clock.now()).sets(market, *span)
        troubles = store.troubles(reader, market, *span)
        ticks = store.tick_counts(reader, [market], *span).get(market, {})
    missing = [Incident("gap", gap.start, gap.end, gap.bars, "candles missing") for gap in gaps]
    runs = _runs(troubles, market.interval_seconds)
    return MarketFacts(
        market=market,
        candles=candles,
        stored=len(candles),
        newest=newest,
        outcomes=None if served is None else outcomes(market, served),
        gaps=tuple(gaps),
        incidents=tuple(sorted([*missing, *runs], key=lambda each: each.start)),
        ticks=ticks,
    )


def _with_cone(database: Store, market: MarketFacts, models: PathModels) -> MarketFacts:
    """Return a market with a cone of simulated paths, if it has a forecast and enough candles."""
    newest = market.newest
    if newest is None:
        return market
    with database.read() as reader:
        start = paths_start(newest.origin, market.market)
        candles = reader.candles([market.market], start, newest.origin)[market.market]
    if len(candles) < MIN_CANDLES:
        return market
    shape = _PATHS, paths.day_bars(market.market.interval_seconds)
    draw = paths.drawn(_PATHS, models.shared, 0, newest.origin)
    prices = market_paths(models, draw, newest, candles, 0, shape).prices
    quantiles = np.quantile(prices, newest.levels, axis=0).T
    return replace(market, cone=replace(newest, quantiles=quantiles, scale=None))


def _goodness(market: MarketFacts) -> tuple[bool, float]:
    """Return the sort key of a market: its skill; markets without one come last."""
    skill = None if market.outcomes is None else market.outcomes.total.skill
    return skill is None, 0.0 if skill is None else skill


def _gaps(reader: Reader, market: Market, start: int, end: int) -> list[Gap]:
    """Return the missing bars between the first and the last candle of the range."""
    span = reader.spans([market], end, start).get(market)
    return store.gaps(reader, {market: (span.first, span.last)})[market] if span else []


def _runs(troubles: Iterable[Trouble], interval: int) -> Iterator[Incident]:
    """Yield one incident for troubles of one kind and detail at consecutive origins."""
    run: Incident | None = None
    for each in troubles:
        goes_on = run is not None and (run.kind, run.detail) == (each.kind, each.detail)
        if run is not None and goes_on and each.origin <= run.end:
            run = Incident(run.kind, run.start, each.origin + interval, run.count + 1, run.detail)
            continue
        if run is not None:
            yield run
        run = Incident(each.kind, each.origin, each.origin + interval, 1, each.detail)
    if run is not None:
        yield run
