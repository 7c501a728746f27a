"""report: one HTML page that compares forecasts with outcomes, from what the store holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptocast import store
from cryptocast.drafts import replacing
from cryptocast.reports.facts import Incident, MarketFacts, ReportFacts
from cryptocast.reports.page import render
from cryptocast.store import Reader, Trouble
from cryptocast.values import DAY_SECONDS, ForecastSet, Gap, Market, MonitorVerdict
from cryptocast.workflows.learning.deployment import promised_skill
from cryptocast.workflows.watching.facts import MONITOR
from cryptocast.workflows.watching.outcomes import outcomes
from cryptocast.workflows.watching.served import ServedReader
from cryptocast.workspace import Workspace, output_file

DAYS = 30.0
"""How far back a report looks by default."""

_MOST_EVENTS = 100
_QUIET = (MONITOR, "workspace.identity")  # events that are no incident


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
        events = reader.newest_events(start, now, without=_QUIET, most=_MOST_EVENTS)
        others = set(reader.stored_markets()) - {market.id for market in markets}
    facts = [_market(ws, market, (start, end), newest.get(market)) for market in markets]
    return ReportFacts(
        workspace=ws.folder.name,
        now=now,
        start=start,
        end=end,
        horizon=ws.settings.model.horizon,
        interval_seconds=markets[0].interval_seconds,
        markets=sorted(facts, key=_goodness),
        deployments=deployments,
        events=events,
        verdict=MonitorVerdict.of(verdict),
        others=sorted(others),
        promised={row.id: promised_skill(row, deployments) for row in deployments},
    )


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
        newest=newest,
        outcomes=None if served is None else outcomes(market, served),
        gaps=tuple(gaps),
        incidents=tuple(sorted([*missing, *runs], key=lambda each: each.start)),
        ticks=ticks,
    )


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
