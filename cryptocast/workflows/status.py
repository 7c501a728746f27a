"""status: what a person, or a machine that watches, wants to know at a glance."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cryptocast import store
from cryptocast.store import (
    CandleSummary,
    Credits,
    Reader,
    ServedCoverage,
    StandIn,
    Tick,
)
from cryptocast.values import DAY_SECONDS, Candles, Deployment, ForecastSet, Market
from cryptocast.workflows.serving.housekeeping import HEALTH_FILE
from cryptocast.workflows.watching.facts import MONITOR, promised_skill, shown_steps
from cryptocast.workspace import Workspace

SHADOW = "shadow"
"""The kind of the events that say which version shadows (serving/shadows.py loads ONNX)."""

_DRAWN_BARS = 1000  # as many as any chart draws


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """One market: its candles of the last `[data] days`, newest forecast, last day of ticks."""

    market: Market
    production: Deployment | None
    stored: CandleSummary | None
    behind_bars: int | None  # closed bars that the store does not have yet
    candles: Candles  # the newest, to be drawn; none where many markets are shown
    forecast: ForecastSet | None
    overdue_bars: int  # origins since it that have no forecast yet; the present one may be due
    stand_in: StandIn | None
    tick: Tick | None
    ticks: Mapping[str, int]  # of the last day, by how they ended
    coverage: ServedCoverage | None  # of the last day, at the steps that are shown
    skill: float | None  # against the random walk, over the monitor's day
    issues: tuple[str, ...]  # worst first

    @property
    def widening(self) -> float | None:
        """Calibration's mean factor on the newest forecast; None where there is none."""
        scale = None if self.forecast is None else self.forecast.scale
        return None if scale is None else float(scale.mean())


@dataclass(frozen=True, slots=True)
class Health:
    """What the monitor said last."""

    at: float
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The workspace at a moment."""

    now: float
    next_tick: float
    markets: tuple[MarketStatus, ...]  # worst first, else as configured
    credits: Mapping[str, Credits]  # of each source that has cost any this month
    monthly_credits: int
    health: Health | None
    shadow: str | None
    promised: Mapping[int, float | None]  # skill, by the id of a deployment that is production
    loop: Mapping[str, Any] | None  # its health file

    @property
    def productions(self) -> tuple[Deployment, ...]:
        """What serves the markets, the newest first."""
        rows = {m.production.id: m.production for m in self.markets if m.production is not None}
        return tuple(rows[number] for number in sorted(rows, reverse=True))

    @property
    def issues(self) -> tuple[str, ...]:
        """What a person should look at, worst first; what markets share once."""
        found = [] if self.productions else ["no production model: cryptocast init"]
        if self.health is not None and self.health.verdict == "declined":
            found.append(f"the forecasts have declined: {self.health.reason}")
        shared: dict[str, list[str]] = {}
        for each in self.markets:
            for issue in each.issues:
                shared.setdefault(issue, []).append(each.market.symbol)
        for issue, symbols in shared.items():
            name = symbols[0] if len(symbols) == 1 else f"{len(symbols)} markets"
            found.append(f"{name}: {issue}" if len(self.markets) > 1 else issue)
        return tuple(found)


def status(ws: Workspace, *, symbols: tuple[str, ...] = ()) -> StatusReport:
    """Look at the store; nothing is fetched. Candles are there only for a single market.

    Raises ConfigError for a symbol that is not configured.
    """
    markets, now = ws.markets(symbols), ws.clock.now()
    with ws.store.read() as reader:
        verdict = reader.newest_event(MONITOR, now)
        shadow = reader.newest_event(SHADOW, now)
        found = _markets(ws, reader, markets, now, {} if verdict is None else verdict.detail)
        sources = dict.fromkeys(market.source for market in ws.markets())
        spent = reader.credits(list(sources), time.time())
        deployments = reader.deployments()
    market = markets[0]
    productions = [m.production for m in found if m.production is not None]
    return StatusReport(
        now=now,
        next_tick=market.floor(now) + market.interval_seconds + ws.settings.loop.delay_seconds,
        markets=tuple(sorted(found, key=_badness)),
        credits={source: cost for source, cost in spent.items() if cost.used},
        monthly_credits=ws.settings.source.monthly_credits,
        health=None
        if verdict is None
        else Health(
            verdict.at,
            str(verdict.detail.get("verdict", "unknown")),
            str(verdict.detail.get("reason") or ""),
        ),
        shadow=None if shadow is None else shadow.detail.get("version"),
        promised={row.id: promised_skill(row, deployments) for row in productions},
        loop=_loop(ws),
    )


def _markets(
    ws: Workspace,
    reader: Reader,
    markets: tuple[Market, ...],
    now: float,
    verdict: Mapping[str, Any],
) -> list[MarketStatus]:
    interval, closed = markets[0].interval_seconds, markets[0].floor(now)
    newest = reader.ledger.newest(markets, now)
    horizon = max((len(s.quantiles) for s in newest.values()), default=1)
    stored = store.candle_summaries(
        reader, markets, closed - round(ws.settings.data.days * DAY_SECONDS), closed
    )
    stand_ins = store.stand_ins(reader, markets, now)
    last = store.last_ticks(reader, markets, now)
    ticks = store.tick_counts(reader, markets, now - DAY_SECONDS, now)
    serving = reader.productions().of_markets(markets)
    skills = _skills(verdict)
    coverage = store.coverage(
        reader, markets, now - DAY_SECONDS, now, shown_steps(markets[0], horizon)
    )
    found = []
    for market in markets:
        summary, forecast = stored.get(market), newest.get(market)
        overdue = 0 if forecast is None else (closed - forecast.origin) // interval
        behind = None if summary is None else max(0, (closed - summary.last) // interval - 1)
        production = serving.get(market)
        parts = forecast, overdue, stand_ins.get(market), last.get(market), behind
        drawn = Candles.empty()
        if len(markets) == 1:
            drawn = reader.candles([market], closed - _DRAWN_BARS * interval, closed)[market]
        found.append(
            MarketStatus(
                market=market,
                production=production,
                stored=summary,
                behind_bars=behind,
                candles=drawn,
                forecast=forecast,
                overdue_bars=overdue,
                stand_in=stand_ins.get(market),
                tick=last.get(market),
                ticks=ticks.get(market, {}),
                coverage=coverage.get(market),
                skill=skills.get(market.id),
                issues=tuple(_issues(ws, *parts, unserved=bool(serving) and production is None)),
            )
        )
    return found


def _issues(
    ws: Workspace,
    forecast: ForecastSet | None,
    overdue: int,
    stand_in: StandIn | None,
    tick: Tick | None,
    behind: int | None,
    *,
    unserved: bool,
) -> list[str]:
    """What is wrong with a market, worst first; `unserved`: others have a model, it has none."""
    issues = []
    if unserved:
        issues.append("it has no model yet: cryptocast retrain")
    if behind is None:
        issues.append("no candles yet: cryptocast fetch")
    if forecast is None:
        issues.append("no forecast yet: cryptocast forecast --once")
    elif overdue >= 2:
        issues.append(f"no forecast for the last {overdue} origins: does anything tick?")
    if tick is not None and tick.status == "failed":
        issues.append(f"the last tick failed: {tick.detail or tick.error_code}")
    if stand_in is not None:
        issues.append(f"a stand-in serves: {stand_in.reason}")
    if behind is not None and behind > ws.settings.loop.max_stale_bars:
        issues.append(f"the newest candle is {behind} bars old")
    return issues


def _badness(found: MarketStatus) -> tuple[int, float]:
    """The order of markets: by the number of issues, then by how far coverage is off."""
    cover = found.coverage.in90 if found.coverage is not None else None
    return -len(found.issues), 0.0 if cover is None else -round(abs(cover - 0.9), 2)


def _skills(verdict: Mapping[str, Any]) -> dict[str, float]:
    """The skill of each market in the monitor's window of a day."""
    days = (w for w in verdict.get("windows") or () if w.get("window") == "day")
    found = {str(w.get("market")): w.get("skill_vs_random_walk") for w in days}
    return {market: float(skill) for market, skill in found.items() if skill is not None}


def _loop(ws: Workspace) -> Mapping[str, Any] | None:
    """The health file of `serve-loop`; None where there is none that can be read."""
    with suppress(OSError, ValueError):
        found = json.loads((ws.folder / "logs" / HEALTH_FILE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    return None
