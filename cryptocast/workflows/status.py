"""status: the state of the workspace at a glance, for people and for machines."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryptocast import store
from cryptocast.config import Settings
from cryptocast.store import CandleSummary, Credits, Reader, ServedCoverage, StandIn, Tick
from cryptocast.values import (
    DAY_SECONDS,
    Candles,
    Deployment,
    ForecastSet,
    Market,
    MonitorVerdict,
    iso,
)
from cryptocast.workflows.learning.deployment import promised_skill
from cryptocast.workflows.serving.events import SHADOW
from cryptocast.workflows.serving.housekeeping import loop_health
from cryptocast.workflows.serving.recordings import is_recorded
from cryptocast.workflows.watching.facts import MONITOR, level_shifts, shift_words, shown_steps
from cryptocast.workflows.watching.ticking import missed_words, ticked_by
from cryptocast.workspace import Workspace

_DRAWN_BARS = 1000  # as many as any chart draws


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """One market: its candles of the last `[data] days`, newest forecast, last day of ticks."""

    market: Market
    production: Deployment | None
    stored: CandleSummary | None
    behind_bars: int | None  # closed bars that the store does not have yet
    candles: Candles  # the newest, to be drawn; empty if many markets are shown
    forecast: ForecastSet | None
    overdue_bars: int  # origins after it that have no forecast yet; the present one may be due
    stand_in: StandIn | None
    tick: Tick | None
    ticks: Mapping[str, int]  # of the last day, by how they ended
    coverage: ServedCoverage | None  # of the last day, at the steps that are shown
    skill: float | None  # against the random walk, over the monitor's day
    issues: tuple[str, ...]  # worst first

    @property
    def widening(self) -> float | None:
        """Calibration's mean factor on the newest forecast, or None if there is none."""
        scale = None if self.forecast is None else self.forecast.scale
        return None if scale is None else float(scale.mean())


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The workspace at a moment."""

    now: float
    next_tick: float | None  # None: nothing ticks by itself
    ticked_by: str | None  # what ticks by itself; None on a virtual clock
    recorded_until: int | None  # the end of recorded candles; None: the source goes on
    markets: tuple[MarketStatus, ...]  # worst first, else as configured
    credits: Mapping[str, Credits]  # of each source that has cost any this month
    monthly_credits: int
    health: MonitorVerdict | None
    shadow: str | None
    promised: Mapping[int, float | None]  # skill, by the id of a deployment that is production
    loop: Mapping[str, Any] | None  # its health file

    @property
    def productions(self) -> tuple[Deployment, ...]:
        """The deployments that serve the markets, newest first."""
        rows = {m.production.id: m.production for m in self.markets if m.production is not None}
        return tuple(rows[number] for number in sorted(rows, reverse=True))

    @property
    def issues(self) -> tuple[str, ...]:
        """The issues for a person to look at, worst first; one that markets share appears once."""
        issues = [] if self.productions else ["no production model: cryptocast init"]
        if self.health is not None and self.health.verdict == "declined":
            issues.append(f"the forecasts have declined: {self.health.reason}")
        shared: dict[str, list[str]] = {}
        for market in self.markets:
            for issue in market.issues:
                shared.setdefault(issue, []).append(market.market.symbol)
        for issue, symbols in shared.items():
            name = symbols[0] if len(symbols) == 1 else f"{len(symbols)} markets"
            issues.append(f"{name}: {issue}" if len(self.markets) > 1 else issue)
        return tuple(issues)


def status(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> StatusReport:
    """Read the state of the workspace from the store, without fetching anything.

    Candles are included for a single market only. Raises ConfigError for a symbol that is not
    configured.
    """
    markets, now, settings = ws.markets(symbols), ws.clock.now(), ws.settings
    with ws.store.read() as reader:
        verdict = reader.newest_event(MONITOR, now)
        shadow = reader.newest_event(SHADOW, now)
        health = loop_health(ws.folder / "logs")
        by = None if ws.clock.virtual else ticked_by(reader, ws.folder, markets[0], health, now)
        skills = {} if verdict is None else _skills_by_market(verdict.detail)
        played = is_recorded(settings) and not ws.clock.virtual
        statuses = _market_statuses(reader, markets, now, settings, skills, played=played)
        sources = dict.fromkeys(market.source for market in ws.markets())
        spent = reader.credits(list(sources), time.time())
        deployments = reader.deployments()
    market = markets[0]
    productions = [m.production for m in statuses if m.production is not None]
    return StatusReport(
        now=now,
        next_tick=market.floor(now) + market.interval_seconds + settings.loop.delay_seconds
        if by is not None or ws.clock.virtual
        else None,
        ticked_by=by,
        recorded_until=_recorded_until(statuses) if is_recorded(settings) else None,
        markets=tuple(sorted(statuses, key=_badness)),
        credits={source: cost for source, cost in spent.items() if cost.used},
        monthly_credits=settings.source.monthly_credits,
        health=MonitorVerdict.of(verdict),
        shadow=None if shadow is None else shadow.detail.get("version"),
        promised={row.id: promised_skill(row, deployments) for row in productions},
        loop=health,
    )


def _market_statuses(
    reader: Reader,
    markets: tuple[Market, ...],
    now: float,
    settings: Settings,
    skills: Mapping[str, float],
    *,
    played: bool,
) -> list[MarketStatus]:
    """Read the status of every market, by one query each for all of them."""
    closed, yesterday = markets[0].floor(now), now - DAY_SECONDS
    newest = reader.ledger.newest(markets, now)
    horizon = max((len(s.quantiles) for s in newest.values()), default=1)
    start = closed - round(settings.data.days * DAY_SECONDS)
    stored = store.candle_summaries(reader, markets, start, closed)
    stand_ins = store.stand_ins(reader, markets, now)
    last_ticks = store.last_ticks(reader, markets, now)
    ticks = store.tick_counts(reader, markets, yesterday, now)
    productions = reader.productions().of_markets(markets)
    steps = shown_steps(markets[0], horizon)
    coverage = store.coverage(reader, markets, yesterday, now, steps)
    shifts = level_shifts(reader, markets, now)
    statuses = []
    for market in markets:
        status = MarketStatus(
            market=market,
            production=productions.get(market),
            stored=stored.get(market),
            behind_bars=_bars_behind(market, stored.get(market), closed),
            candles=_drawn(reader, market, closed) if len(markets) == 1 else Candles.empty(),
            forecast=newest.get(market),
            overdue_bars=_bars_overdue(market, newest.get(market), closed),
            stand_in=stand_ins.get(market),
            tick=last_ticks.get(market),
            ticks=ticks.get(market, {}),
            coverage=coverage.get(market),
            skill=skills.get(market.id),
            issues=(),
        )
        unserved = bool(productions) and market not in productions
        issues = _issues(status, settings.loop.max_stale_bars, unserved=unserved, played=played)
        if market in shifts:
            issues.append(shift_words(shifts[market]))
        statuses.append(replace(status, issues=tuple(issues)))
    return statuses


def _recorded_until(markets: Sequence[MarketStatus]) -> int | None:
    """Return when the newest of the recorded candles closed, or None if there is none."""
    ends = [m.stored.last + m.market.interval_seconds for m in markets if m.stored is not None]
    return max(ends, default=None)


def _bars_behind(market: Market, stored: CandleSummary | None, closed: int) -> int | None:
    if stored is None:
        return None
    return max(0, (closed - stored.last) // market.interval_seconds - 1)


def _bars_overdue(market: Market, forecast: ForecastSet | None, closed: int) -> int:
    return 0 if forecast is None else (closed - forecast.origin) // market.interval_seconds


def _drawn(reader: Reader, market: Market, closed: int) -> Candles:
    start = closed - _DRAWN_BARS * market.interval_seconds
    return reader.candles([market], start, closed)[market]


def _issues(
    market: MarketStatus, max_stale_bars: int, *, unserved: bool, played: bool
) -> list[str]:
    """Return what is wrong with a market, worst first.

    `unserved` says that other markets have a model, and this one has none; `played` that recorded
    candles are looked at by the system's clock.
    """
    issues = []
    behind, overdue, tick = market.behind_bars, market.overdue_bars, market.tick
    if unserved:
        issues.append("it has no model yet: cryptocast retrain")
    if behind is None:
        issues.append("no candles yet: cryptocast fetch")
    if played and market.stored is not None and behind:
        end = iso(market.stored.last + market.market.interval_seconds)
        return [*issues, f"the stored candles end at {end}: look at them with --as-of {end}"]
    if market.forecast is None:
        issues.append("no forecast yet: cryptocast forecast --once")
    elif overdue >= 2:
        issues.append(f"no forecast for the last {overdue} origins: does anything tick?")
    if (missed := missed_words(market.ticks)) is not None:
        issues.append(missed)
    if tick is not None and tick.status == "failed":
        issues.append(f"the last tick failed: {tick.detail or tick.error_code}")
    if market.stand_in is not None:
        issues.append(f"a stand-in serves: {market.stand_in.reason}")
    if behind is not None and behind > max_stale_bars:
        issues.append(f"the newest candle is {behind} bars old")
    return issues


def _badness(market: MarketStatus) -> tuple[int, float]:
    """Return the sort key of a market: its number of issues, then how far coverage is off."""
    in90 = None if market.coverage is None else market.coverage.in90
    return -len(market.issues), 0.0 if in90 is None else -round(abs(in90 - 0.9), 2)


def _skills_by_market(verdict: Mapping[str, Any]) -> dict[str, float]:
    """Return the skill of each market in the monitor's window of a day."""
    days = (w for w in verdict.get("windows") or () if w.get("window") == "day")
    skills = {str(w.get("market")): w.get("skill_vs_random_walk") for w in days}
    return {market: float(skill) for market, skill in skills.items() if skill is not None}
