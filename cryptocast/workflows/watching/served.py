"""What was served in a range and what came, as the store holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.store import Reader, Served
from cryptocast.values import FloatArray, Market, Windows
from cryptocast.workflows.watching.live import LIVE, REPLAYED, outcome
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Served sets and what came, as they were read: nothing is computed yet."""

    mode: str
    served: Served
    targets: FloatArray  # [N, H] log-returns; NaN where the candle is not there (yet)
    learned: tuple[Windows, Windows] | None  # before the first set, and at each; None: too few


def find(ws: Workspace, reader: Reader, market: Market, start: int, end: int) -> Found | None:
    """The served sets with origins in `[start, end]`: live ones, or where none has an outcome
    yet, replayed ones. None where nothing was served.
    """
    first = None
    for modes in (LIVE, REPLAYED):
        found = _read(ws, reader, market, (start, end + 1), modes)
        if found is not None and np.isfinite(found.targets).any():
            return found
        first = first or found
    return first


def _read(
    ws: Workspace, reader: Reader, market: Market, span: tuple[int, int], modes: Sequence[str]
) -> Found | None:
    whole = outcome(ws, reader, market, *span, modes=modes)
    if whole is not None:
        return Found(modes[0], whole.served, whole.targets, (whole.before, whole.windows))
    model = ws.settings.model
    served = reader.ledger.between(
        market, *span, modes=modes, levels=model.levels, horizon=model.horizon
    )
    if not len(served):
        return None
    targets = _targets(ws, reader, market, served, model.horizon)
    return Found(modes[0], served, targets, None)


def _targets(
    ws: Workspace, reader: Reader, market: Market, served: Served, horizon: int
) -> FloatArray:
    """[N, H] log-returns from the last close as served; NaN where the candle is not there."""
    now, interval = market.floor(ws.clock.now()), market.interval_seconds
    candles = reader.candles([market], int(served.origins[0]), now)[market]
    if not len(candles):
        return np.full((len(served), horizon), np.nan)
    wanted = served.origins[:, None] + interval * np.arange(horizon)
    row = np.minimum(np.searchsorted(candles.open_time, wanted), len(candles) - 1)
    known = candles.open_time[row] == wanted
    return np.where(known, np.log(candles.close[row] / served.last_close[:, None]), np.nan)
