"""What `status` has to say besides price, ranges and chart: a label and a text each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cryptocast.cli._shared import counted
from cryptocast.values import iso

if TYPE_CHECKING:
    from cryptocast.store import CandleSummary
    from cryptocast.workflows.status import MarketStatus, StatusReport

_SHOWN_GAPS = 3
_LONGEST_REASON = 60
_ACTIONS = {"promote": "promoted", "force": "forced", "rollback": "rolled back to"}


def facts(report: StatusReport) -> Iterator[tuple[str, str]]:
    """All facts, the most telling first."""
    if report.health is not None:
        age = ago(report.now - report.health.at)
        reason = f": {report.health.reason}" if report.health.reason else ""
        yield "Health", f"{report.health.verdict}, {age}{reason}"
    if len(report.markets) == 1:
        yield from _market(report.markets[0])
    total: dict[str, int] = {}
    for market in report.markets:
        for status, count in market.ticks.items():
            total[status] = total.get(status, 0) + count
    yield "Last day", _ticks(total)
    if report.productions:
        yield "Production", _production(report)
    if report.shadow is not None:
        yield "Shadow", f"version {report.shadow} forecasts beside it"
    for source, spent in report.credits.items():
        share = spent.credits / report.monthly_credits
        told = f"{source} {spent.credits:,} of {report.monthly_credits:,} this month"
        yield "Credits", f"{told} ({100 * share:.0f} %)"
    if report.loop is not None:
        yield "Loop", _loop(report.loop)
    minutes, seconds = divmod(round(max(report.next_tick - report.now, 0)), 60)
    yield "Next tick", f"{iso(int(report.next_tick))[11:]}, in {minutes}:{seconds:02}"


def ago(seconds: float) -> str:
    """An age in its largest unit that it holds twice."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _market(market: MarketStatus) -> Iterator[tuple[str, str]]:
    """The facts of the only market that is shown."""
    cover, forecast, stand = market.coverage, market.forecast, market.stand_in
    if cover is not None:
        shares = ((name, share) for name, share in (("80", cover.in80), ("90", cover.in90)))
        shown = [f"{100 * s:.1f} % in the {name} % range" for name, s in shares if s is not None]
        replayed = "" if cover.live else ", replayed"
        yield "Coverage", f"{', '.join(shown)} ({counted(cover.n, 'outcome')} of a day{replayed})"
    if market.skill is not None:
        yield "Skill", f"{100 * market.skill:+.2f} % against the random walk over the last day"
    if market.widening is not None:
        yield "Widths", f"calibration makes them {market.widening:.2f} times as wide"
    if stand is not None:
        version = "" if forecast is None else f"{forecast.model.version}, "
        told = f"{version}{counted(stand.sets, 'forecast')} since {iso(stand.since)[:16]}Z"
        yield "Stand-in", f"{told}: {stand.reason}"
    if forecast is not None:
        told_at = f"{iso(forecast.origin)[11:16]}Z"
        lag = f"{forecast.issued_at - forecast.origin:.0f} s after the close"
        bars = counted(forecast.stale_bars, "bar")
        stale = f", from a candle {bars} old" if forecast.stale_bars else ""
        yield "Forecast", f"{told_at}, issued {lag}{stale}"
    if market.stored is not None:
        yield "Candles", _candles(market.stored, market.behind_bars)


def _candles(stored: CandleSummary, behind_bars: int | None) -> str:
    told = f"{stored.rows:,} to {iso(stored.last)[:16]}Z"
    if behind_bars:
        told += f", {counted(behind_bars, 'bar')} behind"
    if stored.gaps:
        missing = sum(gap.bars for gap in stored.gaps)
        ends = [f"{iso(gap.start)[:16]}Z ({gap.bars})" for gap in stored.gaps[-_SHOWN_GAPS:]]
        told += f", {missing:,} missing ({stored.confirmed:,} confirmed), last at {', '.join(ends)}"
    else:
        told += ", none missing"
    if derived := stored.provenances.get("derived"):
        told += f", {derived:,} derived from two series"
    return told


def _ticks(counts: Mapping[str, int]) -> str:
    told = [f"{number:,} {status}" for status, number in sorted(counts.items())]
    return f"ticks: {', '.join(told) or 'none'}"


def _production(report: StatusReport) -> str:
    production, *others = report.productions
    action = _ACTIONS[production.action]
    told = f"version {production.model_version}, {action} {ago(report.now - production.at)}"
    if others:
        of = "" if production.market == "*" else f" for {production.market}"
        return f"{len(others) + 1} versions, the newest{of}: {told}"
    if (skill := report.promised.get(production.id)) is not None:
        told += f", promised skill {100 * skill:+.2f} %"
    return f"{told}: {textwrap.shorten(production.reason, _LONGEST_REASON, placeholder=' ...')}"


def _loop(health: Mapping[str, object]) -> str:
    told = f"{health.get('state')}, pid {health.get('pid')}"
    if failures := health.get("consecutive_failures"):
        told += f", {failures} failed in a row"
    return f"{told}, as of {health.get('updated_at')}"
