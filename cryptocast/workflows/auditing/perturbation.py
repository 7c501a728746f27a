"""Check that nothing known at an origin depends on what came later.

The real path from candles to quantiles is run twice, before and after every candle at and
after an origin is replaced, and the results are compared bit by bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.bundles import Bundle
from cryptocast.compute.material import Material
from cryptocast.dataset import Part
from cryptocast.errors import StateError
from cryptocast.values import FAILED, FEATURES, OK, Candles, Check, FloatArray, InputArray, Windows

ORIGINS = 200
WORLDS = 3
_AHEAD_BARS = 128  # length of each origin's changed future; nothing follows it
_PRICE_MOVE, _RANGE, _GONE = 0.3, 1.5, 0.1
_HINT = "a bug: do not trust what this version scored; mend cryptocast/dataset, then train anew"


@dataclass(frozen=True, slots=True)
class Place:
    """An origin on one of the markets."""

    market: int  # index
    origin: int


def perturbation(material: Material, bundle: Bundle, *, seed: int = 0) -> Iterator[Check]:
    """Yield three checks: of the inputs, of the tick's path, and of the targets' purge.

    Raises StateError if the candles hold no usable window.
    """
    places, trained = sample(material, seed)
    context_bars = bundle.card.context_bars
    names: set[str] = set()
    rows: set[int] = set()
    for world in range(WORLDS):
        changed = _with_other_future(material, places, context_bars, seed + world)
        other_names, other_rows = _differences(trained, changed, bundle)
        names, rows = names | other_names, rows | other_rows
    tested = f"{len(places)} origins with every later candle changed, {WORLDS} times"
    if names:
        detail = f"{tested}: {_listed(names)} know the future at {len(rows)} of them"
        yield Check("look-ahead", FAILED, detail, _HINT)
    else:
        detail = f"{tested}: the same inputs, sigma and quantiles, bit by bit"
        yield Check("look-ahead", OK, detail)

    ticked = [_as_in_a_tick(material, place, context_bars) for place in places]
    names, rows = _differences(trained, ticked, bundle)
    tested = (
        f"{len(places)} origins from their last {context_bars:,} bars alone, as a tick sees them"
    )
    if names:
        detail = f"{tested}: {_listed(names)} differ from training at {len(rows)} of them"
        yield Check("tick", FAILED, detail, _HINT)
    else:
        yield Check("tick", OK, f"{tested}: the same as in training")

    leaks = [name for name in ("train", "validation", "gate") if _leaks(material, name, seed)]
    if leaks:
        detail = f"targets of the part {', '.join(leaks)} reach into the part that comes next"
        yield Check("purge", FAILED, detail, _HINT)
    else:
        yield Check("purge", OK, "no target of a part reaches into the part that comes next")


def _listed(names: set[str]) -> str:
    """Return the names of what differs, in the order of the features."""
    order = (*FEATURES, "sigma", "last close", "choice of origins", "quantiles")
    return ", ".join(name for name in order if name in names)


def sample(material: Material, seed: int) -> tuple[list[Place], Windows]:
    """Return origins spread over all candles, and their windows as training sees them."""
    whole = Part(material.start, material.end)
    random = np.random.default_rng(seed)
    share = max(1, ORIGINS // len(material.markets))
    places, windows = [], []
    for market in range(len(material.markets)):
        every = material.market_windows(market, whole)
        rows = np.sort(random.choice(len(every), min(share, len(every)), replace=False))
        places += [Place(market, int(origin)) for origin in every.origin[rows]]
        windows.append(every.take(rows))
    if not places:
        raise StateError(
            f"the candles hold no window of {material.lookback} bars to audit by",
            code="state.not_enough_candles",
            hint="cryptocast fetch",
        )
    return places, Windows.concatenate(windows)


def _with_other_future(
    material: Material, places: list[Place], context_bars: int, seed: int
) -> list[Windows]:
    """Return each origin's window, if one is usable, from its context and a changed future."""
    windows = []
    for number, place in enumerate(places):
        market = material.markets[place.market]
        step = market.interval_seconds
        start = place.origin - context_bars * step
        end = place.origin + _AHEAD_BARS * step
        candles = material.candles[place.market]
        candles = candles.take((candles.open_time >= start) & (candles.open_time < end))
        changed = changed_after(candles, place.origin, np.random.default_rng((seed, number)))
        windows.append(
            dataset.cut(
                dataset.lay_out(changed, market, start, end),
                Part(place.origin, place.origin + step),
                lookback=material.lookback,
                horizon=material.horizon,
                max_stale_bars=material.max_stale_bars,
            )
        )
    return windows


def _as_in_a_tick(material: Material, place: Place, context_bars: int) -> Windows:
    """Return an origin's window from its context alone."""
    market = material.markets[place.market]
    start = place.origin - context_bars * market.interval_seconds
    bars = dataset.lay_out(material.candles[place.market], market, start, place.origin)
    return dataset.at_origin(bars, material.lookback)


def changed_after(candles: Candles, moment: int, random: np.random.Generator) -> Candles:
    """Return the candles with other values at and after a moment, some of those removed."""
    later = candles.open_time >= moment
    factor = np.where(later, np.exp(random.normal(0, _PRICE_MOVE, len(later))), 1.0)
    wide = np.where(later, _RANGE, 1.0)
    return dataclasses.replace(
        candles,
        open=candles.open * factor,
        high=candles.high * factor * wide,
        low=candles.low * factor / wide,
        close=candles.close * factor,
        volume=candles.volume * factor,
    ).take(~later | (random.random(len(later)) >= _GONE))


def _differences(
    trained: Windows, others: list[Windows], bundle: Bundle
) -> tuple[set[str], set[int]]:
    """Return the names of what differs, and the rows of the origins where it does."""
    kept = np.array([row for row, window in enumerate(others) if len(window)], dtype=np.intp)
    rows = set(range(len(others))) - set(kept.tolist())
    names = {"choice of origins"} if rows else set()
    if not len(kept):
        return names, rows
    # The model gets both in batches of one shape, so that equal inputs give equal bits.
    one, other = trained.take(kept), Windows.concatenate([others[row] for row in kept])
    per_feature = np.any(_differ(one.inputs, other.inputs), axis=1)  # [N, F]
    differs = {
        **{name: per_feature[:, i] for i, name in enumerate(FEATURES)},
        "sigma": _differ(one.sigma, other.sigma),
        "last close": _differ(one.log_close, other.log_close),
        "quantiles": _differ(
            bundle.forecaster.log_returns(one), bundle.forecaster.log_returns(other)
        ).any(axis=(1, 2)),
    }
    for name, differing in differs.items():
        if differing.any():
            names.add(name)
            rows.update(kept[differing].tolist())
    return names, rows


def _leaks(material: Material, name: str, seed: int) -> bool:
    """Return whether the windows of a part change with the candles that come after it."""
    part: Part = getattr(material.split, name)
    random = np.random.default_rng(seed)
    candles = [changed_after(c, part.end, random) for c in material.candles]
    other = material.replaced(material.markets, candles).windows(part)
    one = material.windows(part)
    return len(one) != len(other) or bool(_differ(one.targets, other.targets).any())


def _differ(one: FloatArray | InputArray, other: FloatArray | InputArray) -> NDArray[np.bool_]:
    """Return which values differ in any bit; a NaN equals the same NaN."""
    bits = (np.ascontiguousarray(a, dtype=np.float64).view(np.uint64) for a in (one, other))
    return np.asarray(np.not_equal(*bits))
