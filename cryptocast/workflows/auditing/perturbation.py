"""Does anything that is known at an origin depend on what came later?

The real road from candles to quantiles is walked twice, before and after every candle at and
after an origin is replaced, and the bits are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.bundles import Bundle
from cryptocast.dataset import Part
from cryptocast.errors import StateError
from cryptocast.values import FAILED, FEATURES, OK, Candles, Check, FloatArray, Windows
from cryptocast.workflows.learning.material import Material

ORIGINS = 200
WORLDS = 3
_AHEAD_BARS = 128  # of each origin's other future; beyond it there is none at all
_PRICE_MOVE, _RANGE, _GONE = 0.3, 1.5, 0.1
_HINT = "a bug: do not trust what this version scored; mend cryptocast/dataset, then train anew"


@dataclass(frozen=True, slots=True)
class _Place:
    """An origin of one of the markets."""

    market: int
    origin: int


def perturbation(material: Material, bundle: Bundle, *, seed: int = 0) -> Iterator[Check]:
    """Three checks: of the inputs, of the tick's path, and of the targets' purge.

    Raises StateError where the candles hold no usable window.
    """
    places, trained = _sample(material, seed)
    told = f"{len(places)} origins"
    found: set[str] = set()
    at: set[int] = set()
    for world in range(WORLDS):
        changed = _walk(material, places, bundle.card.context_bars, seed + world)
        names, where = _differences(trained, changed, bundle)
        found, at = found | names, at | where
    after = f"{told} with every later candle changed, {WORLDS} times"
    same = "the same inputs, sigma and quantiles, bit by bit"
    yield _check("look-ahead", after, same, found, at, "know the future")

    ticked = _walk(material, places, bundle.card.context_bars, None)
    found, at = _differences(trained, ticked, bundle)
    alone = f"{told} from their last {bundle.card.context_bars:,} bars alone, as a tick sees them"
    yield _check("tick", alone, "the same as in training", found, at, "differ from training")

    leaks = [name for name in ("train", "validation", "gate") if _leaks(material, name, seed)]
    if leaks:
        detail = f"targets of the part {', '.join(leaks)} reach into the part that comes next"
        yield Check("purge", FAILED, detail, _HINT)
    else:
        yield Check("purge", OK, "no target of a part reaches into the part that comes next")


def _check(
    name: str,
    what: str,
    same: str,
    found: set[str],
    at: set[int],
    verb: str,
) -> Check:
    if not found:
        return Check(name, OK, f"{what}: {same}")
    known = [
        n
        for n in (*FEATURES, "sigma", "last close", "choice of origins", "quantiles")
        if n in found
    ]
    return Check(name, FAILED, f"{what}: {', '.join(known)} {verb} at {len(at)} of them", _HINT)


def _sample(material: Material, seed: int) -> tuple[list[_Place], Windows]:
    """Origins spread over all candles, and their windows as training sees them."""
    whole = Part(material.start, material.end)
    random = np.random.default_rng(seed)
    share = max(1, ORIGINS // len(material.markets))
    places, windows = [], []
    for market in range(len(material.markets)):
        every = material.market_windows(market, whole)
        rows = np.sort(random.choice(len(every), min(share, len(every)), replace=False))
        places += [_Place(market, int(origin)) for origin in every.origin[rows]]
        windows.append(_rows(every, rows))
    if not places:
        raise StateError(
            f"the candles hold no window of {material.lookback} bars to audit by",
            code="state.not_enough_candles",
            hint="cryptocast fetch",
        )
    return places, Windows.concatenate(windows)


def _walk(
    material: Material, places: list[_Place], context_bars: int, seed: int | None
) -> list[Windows]:
    """Each origin's window from its context alone: with another future, or (None) with none."""
    found = []
    for number, place in enumerate(places):
        market = material.markets[place.market]
        step = market.interval_seconds
        start = place.origin - context_bars * step
        candles = material.candles[place.market]
        if seed is None:
            bars = dataset.lay_out(candles, market, start, place.origin)
            found.append(dataset.at_origin(bars, material.lookback))
            continue
        end = place.origin + _AHEAD_BARS * step
        candles = candles.take((candles.open_time >= start) & (candles.open_time < end))
        other = _changed(candles, place.origin, np.random.default_rng((seed, number)))
        bars = dataset.lay_out(other, market, start, end)
        found.append(
            dataset.cut(
                bars,
                Part(place.origin, place.origin + step),
                lookback=material.lookback,
                horizon=material.horizon,
                max_stale_bars=material.max_stale_bars,
            )
        )
    return found


def _changed(candles: Candles, moment: int, random: np.random.Generator) -> Candles:
    """The candles, those at and after a moment with other values, some of them gone."""
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
    trained: Windows, found: list[Windows], bundle: Bundle
) -> tuple[set[str], set[int]]:
    """What differs, and at which rows of the origins."""
    kept = np.array([row for row, window in enumerate(found) if len(window)], dtype=np.intp)
    rows = set(range(len(found))) - set(kept.tolist())
    names = {"choice of origins"} if rows else set()
    if not len(kept):
        return names, rows
    # Both are asked in batches of one shape, so that equal inputs give equal bits.
    one, other = _rows(trained, kept), Windows.concatenate([found[row] for row in kept])
    per_feature = np.any(_differ(one.inputs, other.inputs), axis=1)  # [N, F]
    differs = {
        **{name: per_feature[:, i] for i, name in enumerate(FEATURES)},
        "sigma": _differ(one.sigma, other.sigma),
        "last close": _differ(one.log_close, other.log_close),
        "quantiles": _differ(
            bundle.forecaster.log_returns(one), bundle.forecaster.log_returns(other)
        ).any(axis=(1, 2)),
    }
    for name, at in differs.items():
        if at.any():
            names.add(name)
            rows.update(kept[at].tolist())
    return names, rows


def _leaks(material: Material, name: str, seed: int) -> bool:
    """Whether the windows of a part change with the candles that come after it."""
    part: Part = getattr(material.split, name)
    random = np.random.default_rng(seed)
    candles = tuple(_changed(c, part.end, random) for c in material.candles)
    bars = tuple(
        dataset.lay_out(c, market, material.start, material.end)
        for c, market in zip(candles, material.markets, strict=True)
    )
    other = dataclasses.replace(material, candles=candles, bars=bars).windows(part)
    one = material.windows(part)
    return len(one) != len(other) or bool(_differ(one.targets, other.targets).any())


def _differ(one: FloatArray, other: FloatArray) -> NDArray[np.bool_]:
    """Which values have other bits; NaN is like NaN."""
    bits = (np.ascontiguousarray(a, dtype=np.float64).view(np.uint64) for a in (one, other))
    return np.asarray(np.not_equal(*bits))


def _rows(windows: Windows, rows: NDArray[np.intp]) -> Windows:
    fields = (getattr(windows, field.name)[rows] for field in dataclasses.fields(Windows))
    return Windows(*fields)
