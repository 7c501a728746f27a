"""The monitor's verdict over all markets: reached, written as a document, and kept as an event."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast.errors import ModelError, UsageError
from cryptocast.evaluation.monitoring import DECLINED, HEALTHY, UNKNOWN, WATCH
from cryptocast.store import Productions, Reader
from cryptocast.store.exporter import exportable_markets
from cryptocast.values import ForecastSet, Market, iso
from cryptocast.workflows.learning.deployment import promised_skill
from cryptocast.workflows.watching.facts import MONITOR, level_shifts, shift_words
from cryptocast.workflows.watching.served import LIVE, REPLAYED, ServedReader, TrackRecord
from cryptocast.workflows.watching.watch import (
    WINDOWS,
    Production,
    Watched,
    WatchedModel,
    learned_from,
    look_back,
    unknown,
    watch,
)
from cryptocast.workspace import Workspace

_NAMED = 3  # markets, in the reason
_ORDER = (UNKNOWN, HEALTHY, WATCH, DECLINED)


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """The verdict over all markets, and what it rests on."""

    now: float
    verdict: str  # healthy, watch, declined; unknown if too little is known
    reason: str
    productions: Mapping[Market, Production]  # what serves each market
    modes: tuple[str, ...]  # live, or replay if nothing was served live
    markets: tuple[Watched, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """One market to be judged at a moment on the grid."""

    market: Market
    production: Production | None
    newest: ForecastSet | None  # the newest served set
    now: int


def look(ws: Workspace, *, window: str | None = None) -> MonitorReport:
    """Compare what was served with what came, for every configured market.

    Live sets count, or if none of them has an outcome, those of a replay. The store is open
    only while one market is read. Raises UsageError for a window that does not exist.
    """
    if window not in (None, *WINDOWS):
        raise UsageError(f"'{window}' is no window", hint=f"one of {', '.join(WINDOWS)}")
    markets, now = ws.markets(), ws.clock.now()
    with ws.store.read() as reader:
        deployments = [d for d in reader.deployments() if d.at <= now]
        newest = reader.ledger.newest(markets, now)
        shifts = level_shifts(reader, markets, now)
        warnings = (
            *_unconfigured(reader, markets, now),
            *(f"{market.id}: {shift_words(event)}" for market, event in shifts.items()),
        )
    if not deployments:
        reason = "there is no production model yet: cryptocast init"
        return MonitorReport(now, UNKNOWN, reason, {}, LIVE, (), warnings)
    productions = {
        market: Production(row.model_version, promised_skill(row, deployments))
        for market, row in Productions.of(deployments).of_markets(markets).items()
    }
    moment = markets[0].floor(now)
    cases = [_Case(m, productions.get(m), newest.get(m), moment) for m in markets]
    modes, watched = LIVE, tuple(_watch(ws, case, LIVE, window) for case in cases)
    if not any(each.windows for each in watched):
        replayed = tuple(_watch(ws, case, REPLAYED, window) for case in cases)
        if any(each.windows for each in replayed):
            modes, watched = REPLAYED, replayed
    verdict = max((each.verdict for each in watched), key=_ORDER.index)
    reason = _reason(watched, verdict)
    return MonitorReport(now, verdict, reason, productions, modes, watched, warnings)


def keep(ws: Workspace, report: MonitorReport) -> None:
    """Keep the verdict as an event."""
    with ws.store.write() as writer:
        writer.put_event(report.now, MONITOR, None, document(report, steps=False))


def document(report: MonitorReport, *, steps: bool = True) -> dict[str, Any]:
    """Return the report as plain values; `steps` includes the figures of each step."""
    versions = {market: each.version for market, each in report.productions.items()}
    return {
        "now": iso(report.now),
        "verdict": report.verdict,
        "reason": report.reason,
        "version": next(iter(versions.values())) if len(set(versions.values())) == 1 else None,
        "modes": list(report.modes),
        "markets": [
            {
                "market": m.market.id,
                "version": versions.get(m.market),
                "verdict": m.verdict,
                "reason": m.reason,
            }
            for m in report.markets
        ],
        "windows": [
            row
            for m in report.markets
            for row in _window_rows(m, report.productions.get(m.market), steps=steps)
        ],
        "tests": [row for m in report.markets for row in _test_rows(m)],
        "drift": [
            {"market": m.market.id, "window": name, "feature": feature, "psi": psi}
            for m in report.markets
            for name, features in m.drift.items()
            for feature, psi in features.items()
            if math.isfinite(psi)
        ],
        "scorecard": scorecard_rows(report),
    }


def scorecard_rows(report: MonitorReport) -> list[dict[str, Any]]:
    """Return one row per market and step, as the scorecard is exported."""
    return [
        {"market": m.market.id, "minutes": card.step * m.market.interval_seconds / 60}
        | dataclasses.asdict(card)
        for m in report.markets
        for card in m.cards
    ]


def _window_rows(
    watched: Watched, production: Production | None, *, steps: bool
) -> list[dict[str, Any]]:
    promise = None if production is None else production.promise
    return [
        {"market": watched.market.id, "window": name, "promised_skill": promise}
        | {k: v for k, v in dataclasses.asdict(figures).items() if steps or k != "steps"}
        for name, figures in watched.windows.items()
    ]


def _test_rows(watched: Watched) -> list[dict[str, Any]]:
    market = watched.market
    return [
        dataclasses.asdict(test)
        | {
            "market": market.id,
            "verdict": test.verdict,
            "since": None if test.since is None else iso(test.since * market.interval_seconds),
        }
        for test in watched.tests
    ]


def _watch(ws: Workspace, case: _Case, modes: Sequence[str], window: str | None) -> Watched:
    """Judge one market by its sets of these modes."""
    market, production, newest = case.market, case.production, case.newest
    if newest is None:
        return unknown(market, "nothing was served yet: cryptocast forecast --once")
    if production is None:
        return unknown(market, "it has no model yet: cryptocast retrain")
    start = case.now - look_back(market, ws.settings.model.horizon)
    with ws.store.read() as reader:
        served = ServedReader(reader, ws.settings, ws.clock.now())
        record = served.track_record(market, start, case.now + 1, modes)
        model = None
        if record is not None:
            with contextlib.suppress(ModelError):  # if the bundle is gone, judge without it
                bundle = ws.bundle(production.version)
                model = WatchedModel(bundle, learned_from(reader, market, bundle.card))
    if record is None or not record.has_outcomes:
        return unknown(market, _why_unknown(record, newest, start))
    return watch(record, production, model, ws.settings.monitor, case.now, window)


def _why_unknown(record: TrackRecord | None, newest: ForecastSet, start: int) -> str:
    if record is not None:
        return "no outcome of a forecast is known yet"
    if newest.origin < start:
        return f"nothing was served since {iso(newest.origin)}"
    if newest.mode not in (*LIVE, *REPLAYED):
        return f"nothing that was served in time is known: the newest forecast is {newest.mode}"
    return "nothing of what was served can be scored: too few candles came before it"


def _reason(watched: Sequence[Watched], verdict: str) -> str:
    if verdict == HEALTHY:
        unclear = [each for each in watched if each.verdict == UNKNOWN]
        healthy = len(watched) - len(unclear)
        summary = f"no sign of a decline in {healthy} market{'s' if healthy > 1 else ''}"
        return "; ".join([summary, *_named(unclear)])
    return "; ".join(_named([each for each in watched if each.verdict == verdict]))


def _named(chosen: Sequence[Watched]) -> list[str]:
    named = [f"{each.market.id}: {each.reason}" for each in chosen[:_NAMED]]
    rest = len(chosen) - _NAMED
    return [*named, f"and {rest} more"] if rest > 0 else named


def _unconfigured(reader: Reader, markets: Sequence[Market], now: float) -> tuple[str, ...]:
    """Return a warning for each market that was served once and is not configured any more."""
    configured = {market.id for market in markets}
    others = [Market.of(m, "", "") for m in exportable_markets(reader) if m not in configured]
    served: Mapping[Market, ForecastSet] = reader.ledger.newest(others, now) if others else {}
    return tuple(
        f"{market.id} is not configured any more: it is not watched"
        for market in others
        if market in served
    )
