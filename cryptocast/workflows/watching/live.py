"""live: what was served against what came, with the baselines on the same origins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cryptocast import calibration, dataset, evaluation
from cryptocast.dataset import Bars, Part
from cryptocast.errors import StateError
from cryptocast.evaluation import Candidate
from cryptocast.store import Reader, Served
from cryptocast.values import DAY_SECONDS, FloatArray, Market, Windows
from cryptocast.workflows.learning.scoring import baseline, score_rows
from cryptocast.workspace import Workspace

LIVE = ("live",)
REPLAYED = ("replay",)

_ROUNDING = 1e-8  # of 9 significant digits; a hundredth of the narrowest gap between quantiles


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """N served sets of a market as log-returns, and what came."""

    market: Market
    served: Served
    targets: FloatArray  # [N, H] NaN where the candle is not there (yet)
    quantiles: FloatArray  # [N, H, Q] as served
    plain: FloatArray  # [N, H, Q] without calibration
    windows: Windows  # of the same origins
    before: Windows  # of the days before the first
    bars: Bars  # that all of it was cut from


@dataclass(frozen=True, slots=True)
class LiveReport:
    """Scores (`schemas.SCORES`) of what was served at origins of `[start, end)`."""

    start: int
    end: int
    modes: tuple[str, ...]  # live, or replay where nothing was served live
    scores: pl.DataFrame
    scale: dict[str, FloatArray]  # [H] of each market: the mean widening

    def rows(self) -> list[dict[str, Any]]:
        """The scores as the contract writes them."""
        return score_rows(self.scores)


def live(ws: Workspace, *, days: float | None = None) -> LiveReport:
    """Score what was served in the last `days` (default `[data] days`), by market and step.

    The rows: `served`, the same without calibration, and the baselines that learned from the
    `[data] days` before. Sets of mode `live` count; where there are none, those of a replay.
    Raises StateError where nothing that was served has an outcome yet.
    """
    market = ws.markets()[0]
    end = market.floor(ws.clock.now())
    start = end - round((days or ws.settings.data.days) * DAY_SECONDS)
    with ws.store.read() as reader:
        for modes in (LIVE, REPLAYED):
            found = [outcome(ws, reader, m, start, end, modes=modes) for m in ws.markets()]
            outcomes = [o for o in found if o is not None and np.isfinite(o.targets).any()]
            if outcomes:
                break
    if not outcomes:
        raise StateError(
            "nothing that was served has an outcome yet",
            code="state.no_outcomes",
            hint="cryptocast forecast --once, and wait for its candles; or cryptocast replay",
        )
    frames = [_scored(ws, each) for each in outcomes]
    scale = {each.market.id: each.served.scale.mean(axis=0) for each in outcomes}
    return LiveReport(start, end, modes, pl.concat(frames), scale)


def outcome(
    ws: Workspace, reader: Reader, market: Market, start: int, end: int, *, modes: Sequence[str]
) -> Outcome | None:
    """The served sets of a market with origins in `[start, end)`; None where there are none.

    Or where fewer candles came before the first than a baseline can learn from.
    """
    model, interval = ws.settings.model, market.interval_seconds
    levels, horizon = model.levels, model.horizon
    served = reader.ledger.between(market, start, end, modes=modes, levels=levels, horizon=horizon)
    if not len(served):
        return None
    first = int(served.origins[0])
    learn = first - round(ws.settings.data.days * DAY_SECONDS)
    low = learn - dataset.context_bars(model.lookback) * interval
    now = market.floor(ws.clock.now())
    candles = reader.candles([market], low, now)[market]
    if not len(candles):
        return None
    bars = dataset.lay_out(candles, market, low, now)
    before = dataset.cut(
        bars,
        Part(learn, first),
        lookback=model.lookback,
        horizon=horizon,
        max_stale_bars=ws.settings.loop.max_stale_bars,
    )
    if not len(before):
        return None
    returns = np.log(served.quantiles / served.last_close[:, None, None])
    # Prices are served rounded: a median that is the last price but for that is no direction.
    returns[np.abs(returns) < _ROUNDING] = 0.0
    plain = calibration.widen(returns, 1 / served.scale, levels.index(0.5))
    windows = _windows(bars, served, model.lookback, horizon)
    # From what was served as the last price: a candle may have been revised since.
    targets = windows.targets + (windows.log_close - np.log(served.last_close))[:, None]
    windows = dataclasses.replace(windows, targets=targets)
    return Outcome(market, served, targets, returns, plain, windows, before, bars)


def _windows(bars: Bars, served: Served, lookback: int, horizon: int) -> Windows:
    at = (served.origins - bars.first) // bars.market.interval_seconds
    windows = dataset.before(bars, at, lookback)
    return dataclasses.replace(windows, targets=dataset.log_returns(bars, at, horizon, len(bars)))


def _scored(ws: Workspace, found: Outcome) -> pl.DataFrame:
    levels = ws.settings.model.levels
    candidates = [Candidate("served", None, found.quantiles)]
    if (found.served.scale != 1).any():
        candidates.append(Candidate("served, uncalibrated", None, found.plain))
    candidates += [
        baseline(kind, found.before, found.windows, levels) for kind in ("random_walk", "constant")
    ]
    return evaluation.score(candidates, found.targets, levels, found.market.id)
