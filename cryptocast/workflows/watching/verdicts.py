"""The verdict of the monitor over all markets: found, written as a document, and kept."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryptocast.errors import ModelError, UsageError
from cryptocast.evaluation.monitoring import DECLINED, HEALTHY, UNKNOWN, WATCH
from cryptocast.store import Productions, Reader
from cryptocast.store.exporter import exportable_markets
from cryptocast.values import ForecastSet, Market, iso
from cryptocast.workflows.watching.facts import MONITOR, promised_skill
from cryptocast.workflows.watching.live import LIVE, REPLAYED, Outcome, outcome
from cryptocast.workflows.watching.watch import (
    WINDOWS,
    Known,
    Production,
    Watched,
    learned_from,
    look_back,
    unknown,
    watch,
)
from cryptocast.workspace import Workspace

_NAMED = 3
_ORDER = (UNKNOWN, HEALTHY, WATCH, DECLINED)


@dataclass(frozen=True, slots=True)
class MonitorReport:
    """The verdict over all markets, and what it rests on."""

    now: float
    verdict: str  # healthy, watch, declined; unknown where too little is there
    reason: str
    productions: Mapping[Market, Production]  # what serves each market
    modes: tuple[str, ...]  # live, or replay where nothing was served live
    markets: tuple[Watched, ...]
    warnings: tuple[str, ...] = ()


def look(ws: Workspace, *, window: str | None = None) -> MonitorReport:
    """Compare what was served with what came, for every configured market.

    Live sets count; where none of them has an outcome, those of a replay. The store is open
    only while one market is read. Raises UsageError for a window that does not exist.
    """
    if window not in (None, *WINDOWS):
        raise UsageError(f"'{window}' is no window", hint=f"one of {', '.join(WINDOWS)}")
    markets, now = ws.markets(), ws.clock.now()
    moment = markets[0].floor(now)
    with ws.store.read() as reader:
        deployments = [d for d in reader.deployments() if d.at <= now]
        newest = reader.ledger.newest(markets, now)
        warnings = _left_out(ws, reader, now)
    if not deployments:
        why = "there is no production model yet: cryptocast init"
        return MonitorReport(now, UNKNOWN, why, {}, LIVE, (), warnings)
    productions = {
        market: Production(row.model_version, promised_skill(row, deployments))
        for market, row in Productions.of(deployments).of_markets(markets).items()
    }
    modes, watched = _watch_all(ws, productions, moment, newest, window)
    verdict = max((each.verdict for each in watched), key=_ORDER.index)
    return MonitorReport(
        now, verdict, _reason(watched, verdict), productions, modes, watched, warnings
    )


def keep(ws: Workspace, report: MonitorReport) -> None:
    """Keep the verdict as an event."""
    with ws.store.write() as writer:
        writer.put_event(report.now, MONITOR, None, document(report, steps=False))


def document(report: MonitorReport, *, steps: bool = True) -> dict[str, Any]:
    """The report as plain values; `steps`: the figures of each step too."""
    versions = {market: each.version for market, each in report.productions.items()}
    promised = {market: each.promise for market, each in report.productions.items()}
    rows = [(m.market, m) for m in report.markets]
    return {
        "now": iso(report.now),
        "verdict": report.verdict,
        "reason": report.reason,
        "version": next(iter(versions.values())) if len(set(versions.values())) == 1 else None,
        "modes": list(report.modes),
        "markets": [
            {
                "market": market.id,
                "version": versions.get(market),
                "verdict": m.verdict,
                "reason": m.reason,
            }
            for market, m in rows
        ],
        "windows": [
            {"market": market.id, "window": name, "promised_skill": promised.get(market)}
            | {k: v for k, v in dataclasses.asdict(found).items() if steps or k != "steps"}
            for market, m in rows
            for name, found in m.windows.items()
        ],
        "tests": [
            dataclasses.asdict(test)
            | {
                "market": market.id,
                "verdict": test.verdict,
                "since": None if test.since is None else iso(test.since * market.interval_seconds),
            }
            for market, m in rows
            for test in m.tests
        ],
        "drift": [
            {"market": market.id, "window": name, "feature": feature, "psi": psi}
            for market, m in rows
            for name, features in m.drift.items()
            for feature, psi in features.items()
            if math.isfinite(psi)
        ],
        "scorecard": scorecard_rows(report),
    }


def scorecard_rows(report: MonitorReport) -> list[dict[str, Any]]:
    """A row a market and step, as the scorecard is exported."""
    return [
        {"market": m.market.id, "minutes": card.step * m.market.interval_seconds / 60}
        | dataclasses.asdict(card)
        for m in report.markets
        for card in m.cards
    ]


def _watch_all(
    ws: Workspace,
    productions: Mapping[Market, Production],
    now: int,
    newest: Mapping[Market, ForecastSet],
    window: str | None,
) -> tuple[tuple[str, ...], tuple[Watched, ...]]:
    """Every market by its live sets; where none has an outcome and replayed ones do, by those."""
    live, replayed = (
        functools.partial(_watch, ws, productions, now, modes, window) for modes in (LIVE, REPLAYED)
    )
    found = tuple(live(market, newest.get(market)) for market in ws.markets())
    if not any(each.windows for each in found):
        others = tuple(replayed(market, newest.get(market)) for market in ws.markets())
        if any(each.windows for each in others):
            return REPLAYED, others
    return LIVE, found


def _watch(
    ws: Workspace,
    productions: Mapping[Market, Production],
    now: int,
    modes: Sequence[str],
    window: str | None,
    market: Market,
    newest: ForecastSet | None,
) -> Watched:
    if newest is None:
        return unknown(market, "nothing was served yet: cryptocast forecast --once")
    production = productions.get(market)
    if production is None:
        return unknown(market, "it has no model yet: cryptocast retrain")
    start = now - look_back(market, ws.settings.model.horizon)
    with ws.store.read() as reader:
        found = outcome(ws, reader, market, start, now + 1, modes=modes)
        known = None
        if found is not None:
            with contextlib.suppress(ModelError):  # a bundle that is gone: judged without it
                bundle = ws.bundle(production.version)
                known = Known(bundle, learned_from(reader, market, bundle.card))
    if found is None or not np.isfinite(found.targets).any():
        return unknown(market, _why(found, newest, start))
    return watch(ws, found, production, now, known, window)


def _why(found: Outcome | None, newest: ForecastSet, start: int) -> str:
    if found is not None:
        return "no outcome of a forecast is known yet"
    if newest.origin < start:
        return f"nothing was served since {iso(newest.origin)}"
    if newest.mode not in (*LIVE, *REPLAYED):
        return f"nothing that was served in time is known: the newest forecast is {newest.mode}"
    return "nothing of what was served can be scored: too few candles came before it"


def _reason(watched: Sequence[Watched], verdict: str) -> str:
    if verdict == HEALTHY:
        unclear = [each for each in watched if each.verdict == UNKNOWN]
        fine = len(watched) - len(unclear)
        told = f"no sign of a decline in {fine} market{'s' if fine > 1 else ''}"
        return "; ".join([told, *_named(unclear)])
    return "; ".join(_named([each for each in watched if each.verdict == verdict]))


def _named(chosen: Sequence[Watched]) -> list[str]:
    named = [f"{each.market.id}: {each.reason}" for each in chosen[:_NAMED]]
    rest = len(chosen) - _NAMED
    return [*named, f"and {rest} more"] if rest > 0 else named


def _left_out(ws: Workspace, reader: Reader, now: float) -> tuple[str, ...]:
    """A line for each market that was served once and is not configured any more."""
    configured = {market.id for market in ws.markets()}
    others = [Market.of(m, "", "") for m in exportable_markets(reader) if m not in configured]
    if not others:
        return ()
    served: Mapping[Market, ForecastSet] = reader.ledger.newest(others, now)
    return tuple(
        f"{market.id} is not configured any more: it is not watched"
        for market in others
        if market in served
    )
