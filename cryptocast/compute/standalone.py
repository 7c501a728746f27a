"""Forecast with a version's own files alone: candles in, a table of quantiles out.

MLflow keeps this file and those that it imports with each version, under a package name of their
own (`workflows.learning.packing`). So a version answers where no cryptocast is installed, and
beside versions of other releases. It needs numpy, pandas and ONNX Runtime only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cryptocast import bundles, calibration, dataset
from cryptocast.bundles import Card, Forecaster
from cryptocast.candles import normalise
from cryptocast.values import (
    INTERVAL_SECONDS,
    MIN_CANDLES,
    Candles,
    FloatArray,
    IntArray,
    Market,
    iso,
    parse_time,
    quantile_name,
)

_COLUMNS = ("open", "high", "low", "close", "volume")
_LATEST = 2**33  # Unix seconds of the year 2242: what is greater is in milliseconds
_MAX_STALE_BARS = 3  # of cards that do not say


class Model:
    """A version behind MLflow's `predict`."""

    def __init__(self, card: Card, forecaster: Forecaster) -> None:
        self._card = card
        self._forecaster = forecaster
        self._interval = INTERVAL_SECONDS[card.interval]

    def predict(self, candles: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
        """Return a row for each market and step, with a column for each quantile (`q0.5`).

        `candles` has the columns `open_time` (start of the bar: a time, or Unix seconds; UTC),
        `open`, `high`, `low`, `close`, and if there are any `volume` and `market`. About 10,300
        bars per market (36 days of five minutes) are what forecasts rest on; with fewer, averages
        are over those. `params`
        may have `origin`, the moment to forecast from (default: the close of the newest candle),
        and `scale` and `body`, the widening about the median by which calibration corrected the
        version so far: a number for every step, or one for all. Raises ValueError, which names the
        market, if there are too few candles, if the newest are too old, or if too many are missing.
        """
        given = params or {}
        times = _seconds(candles["open_time"])
        wanted = given.get("origin")
        origin = int(times.max()) + self._interval if wanted is None else parse_time(str(wanted))
        widening = self._widening(given, "scale"), self._widening(given, "body")
        markets = candles["market"].to_numpy() if "market" in candles else np.full(len(times), "")
        rows: list[dict[str, Any]] = []
        for name in dict.fromkeys(markets):
            own = markets == name
            rows += self._rows(str(name), _candles(candles[own], times[own]), origin, widening)
        return pd.DataFrame(rows)

    def _widening(self, given: Mapping[str, Any], name: str) -> FloatArray:
        """Return a parameter [H]; raise ValueError if it has another length."""
        found = np.asarray(given.get(name, 1.0), dtype=np.float64)
        if found.size not in (1, self._card.horizon):
            raise ValueError(f"{name} has {found.size} numbers, not 1 or {self._card.horizon}")
        return np.broadcast_to(found, (self._card.horizon,))

    def _rows(
        self, name: str, candles: Candles, origin: int, widening: tuple[FloatArray, FloatArray]
    ) -> Iterator[dict[str, Any]]:
        """Yield the rows of one market."""
        card, shown = self._card, name or "the market"
        market = Market("", name, "", card.interval)
        origin = market.floor(origin)
        start = origin - card.context_bars * self._interval
        known = normalise(candles, market, now=origin, start=start).candles
        if len(known) < MIN_CANDLES:
            raise ValueError(
                f"{shown} has {len(known)} candles before {iso(origin)}, "
                f"at least {MIN_CANDLES} are needed"
            )
        bars = dataset.lay_out(known, market, start, origin)
        stale = _MAX_STALE_BARS if card.max_stale_bars is None else card.max_stale_bars
        (reason,) = dataset.unfit(bars, np.array([len(bars)]), card.lookback, stale)
        if reason is not None:
            raise ValueError(f"{shown} cannot be forecast at {iso(origin)}: {reason}")
        scale, body = widening
        (log_quantiles,) = self._forecaster.log_returns(dataset.at_origin(bars, card.lookback))
        widened = calibration.widen(log_quantiles, scale, body, card.levels)
        last_close = float(known.close[-1])
        for step, prices in enumerate(dataset.to_prices(widened, last_close), start=1):
            yield {
                "market": name,
                "origin": pd.Timestamp(origin, unit="s", tz="UTC"),
                "step": step,
                "target_time": pd.Timestamp(origin + step * self._interval, unit="s", tz="UTC"),
                "last_close": last_close,
                "in_sample": origin < card.data_end,
                **{quantile_name(q): float(p) for q, p in zip(card.levels, prices, strict=True)},
            }


def _seconds(times: pd.Series) -> IntArray:
    """Return open times as Unix seconds; those without an offset are UTC."""
    if pd.api.types.is_numeric_dtype(times):
        seconds = times.to_numpy().astype(np.int64)
    else:
        utc = pd.to_datetime(times, utc=True).dt.tz_localize(None)
        seconds = utc.to_numpy().astype("datetime64[s]").astype(np.int64)
    if not len(seconds) or seconds.min() < 0 or seconds.max() > _LATEST:
        raise ValueError("open_time holds no times: give times, or Unix seconds")
    return np.asarray(seconds)


def _candles(rows: pd.DataFrame, times: IntArray) -> Candles:
    """Return the rows of one market as candles; without a volume it is NaN."""
    names = [name for name in _COLUMNS if name in rows]
    return Candles.of(times, **{name: rows[name].to_numpy(dtype=np.float64) for name in names})


def _load_pyfunc(folder: str) -> Model:
    """Read a version as MLflow has downloaded it. MLflow looks for a function of this name."""
    card = json.loads((Path(folder) / "card.json").read_text(encoding="utf-8"))
    graph = (Path(folder) / "model.onnx").read_bytes()
    known = bundles.from_document(card)
    return Model(known, Forecaster(graph, known.features))
