"""The facts that `status` shows below price, ranges and chart: a label and a text each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cryptocast.display import ago, counted, percent
from cryptocast.values import iso
from cryptocast.workflows.watching.ticking import NOTHING

if TYPE_CHECKING:
    from cryptocast.store import CandleSummary
    from cryptocast.workflows.status import MarketStatus, StatusReport

_SHOWN_GAPS = 3
_LONGEST_REASON = 60
_ACTIONS = {"promote": "promoted", "force": "forced", "rollback": "rolled back to"}


def facts(report: StatusReport) -> Iterator[tuple[str, str]]:
    """Yield all facts, the most important first."""
    if report.health is not None:
        age = ago(report.now - report.health.at)
        reason = f": {report.health.reason}" if report.health.reason else ""
        yield "Health", f"{report.health.verdict}, {age}{reason}"
    if len(report.markets) == 1:
        yield from _market_facts(report.markets[0])
    ticks: dict[str, int] = {}
    for market in report.markets:
        for status, count in market.ticks.items():
            ticks[status] = ticks.get(status, 0) + count
    yield "Last day", _ticks(ticks)
    if report.productions:
        yield "Production", _production(report)
    if report.shadow is not None:
        yield "Shadow", f"version {report.shadow} forecasts beside it"
    for source, spent in report.credits.items():
        share = percent(spent.credits / report.monthly_credits, 0, sign=False)
        budget = f"{spent.credits:,} of {report.monthly_credits:,} this month"
        yield "Credits", f"{source} {budget} ({share})"
    if report.loop is not None:
        yield "Loop", _loop(report.loop)
    yield "Next tick", _next_tick(report)


def _next_tick(report: StatusReport) -> str:
    if report.recorded_until is not None and report.ticked_by is None:
        moment = iso(report.next_tick or report.recorded_until)
        return f"of recorded candles: cryptocast forecast --once --as-of {moment}"
    if report.next_tick is None:
        return NOTHING
    minutes, seconds = divmod(round(max(report.next_tick - report.now, 0)), 60)
    by = "" if report.ticked_by is None else f", by {report.ticked_by}"
    return f"{iso(int(report.next_tick))[11:]}, in {minutes}:{seconds:02}{by}"


def _market_facts(market: MarketStatus) -> Iterator[tuple[str, str]]:
    """Yield the facts of the only market that is shown."""
    coverage, forecast, stand_in = market.coverage, market.forecast, market.stand_in
    if coverage is not None:
        shares = (("80", coverage.in80), ("90", coverage.in90))
        shown = [
            f"{percent(share, sign=False)} in the {name}% range"
            for name, share in shares
            if share is not None
        ]
        replayed = "" if coverage.live else ", replayed"
        outcomes = counted(coverage.n, "outcome")
        yield "Coverage", f"{', '.join(shown)} ({outcomes} of a day at the steps shown{replayed})"
    if market.skill is not None:
        yield "Skill", f"{percent(market.skill, 2)} against the random walk over the last day"
    if market.widening is not None:
        yield "Widths", f"calibration makes them {market.widening:.2f} times as wide"
    if stand_in is not None:
        version = "" if forecast is None else f"{forecast.model.version}, "
        forecasts = counted(stand_in.sets, "forecast")
        since = f"{iso(stand_in.since)[:16]}Z"
        yield "Stand-in", f"{version}{forecasts} since {since}: {stand_in.reason}"
    if forecast is not None:
        origin = f"{iso(forecast.origin)[11:16]}Z"
        lag = f"{forecast.issued_at - forecast.origin:.0f} s after the close"
        bars = counted(forecast.stale_bars, "bar")
        stale = f", from a candle {bars} old" if forecast.stale_bars else ""
        yield "Forecast", f"{origin}, issued {lag}{stale}"
    if market.stored is not None:
        yield "Candles", _candles(market.stored, market.behind_bars)


def _candles(stored: CandleSummary, behind_bars: int | None) -> str:
    text = f"{stored.rows:,} to {iso(stored.last)[:16]}Z"
    if behind_bars:
        text += f", {counted(behind_bars, 'bar')} behind"
    if stored.gaps:
        missing = sum(gap.bars for gap in stored.gaps)
        gaps = [f"{iso(gap.start)[:16]}Z ({gap.bars})" for gap in stored.gaps[-_SHOWN_GAPS:]]
        text += f", {missing:,} missing ({stored.confirmed:,} confirmed), last at {', '.join(gaps)}"
    else:
        text += ", none missing"
    if derived := stored.provenances.get("derived"):
        text += f", {derived:,} derived from two series"
    return text


def _ticks(counts: Mapping[str, int]) -> str:
    parts = [f"{count:,} {status}" for status, count in sorted(counts.items())]
    return f"ticks: {', '.join(parts) or 'none'}"


def _production(report: StatusReport) -> str:
    newest, *others = report.productions
    text = (
        f"version {newest.model_version}, {_ACTIONS[newest.action]} {ago(report.now - newest.at)}"
    )
    if others:
        market = "" if newest.market == "*" else f" for {newest.market}"
        return f"{len(others) + 1} versions, the newest{market}: {text}"
    if (skill := report.promised.get(newest.id)) is not None:
        text += f", promised skill {percent(skill, 2)}"
    return f"{text}: {textwrap.shorten(newest.reason, _LONGEST_REASON, placeholder=' ...')}"


def _loop(health: Mapping[str, object]) -> str:
    text = f"{health.get('state')}, pid {health.get('pid')}"
    if failures := health.get("consecutive_failures"):
        text += f", {failures} failed in a row"
    return f"{text}, as of {health.get('updated_at')}"
