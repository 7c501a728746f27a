"""The path model of recorded series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from cryptocast import __version__, paths
from cryptocast.compute.pretraining import Recorded
from cryptocast.paths import PathCard, PathModel
from cryptocast.paths.fitting import WARM_UP_DAYS, fill_library, fit_curve
from cryptocast.values import INTERVAL_SECONDS

_MOST_PATHS = 12_000  # some 2 MB
_STRIDE_SECONDS = 4 * 3600  # about: between origins of the library, at least
_LEAST_ORIGINS = 100
_COVERED = 0.9  # of the common time: a series that lacks more is left out


def path_model(series: Sequence[Recorded], origin: str) -> PathModel | None:
    """Return the curve and library of the series that share the most time, or None if too little.

    The curve learns from every series that is long enough. Paths are made of candles of the
    intervals that are shipped; of another there is none. `origin` says where the candles come
    from.
    """
    interval, shared = series[0].market.interval, _shared(series)
    if interval not in paths.shipped_intervals():
        return None
    seconds = INTERVAL_SECONDS[interval]
    day = paths.day_bars(seconds)
    bars = (min(r.end for r in shared) - max(r.start for r in shared)) // seconds
    room = bars - (WARM_UP_DAYS + 1) * day
    least = _stride(_STRIDE_SECONDS // seconds)
    if room < _LEAST_ORIGINS * least:
        return None
    curve = fit_curve([r.bars for r in series if len(r.bars) > (WARM_UP_DAYS + 2) * day])
    stride = max(least, _stride(room * len(shared) // _MOST_PATHS))
    curve = replace(curve, name=f"paths-{interval}")
    library = fill_library([recorded.bars for recorded in shared], curve, stride)
    digest = hashlib.sha256("".join(recorded.fingerprint for recorded in series).encode())
    card = PathCard(
        name=curve.name,
        interval=interval,
        coins=tuple(recorded.market.symbol for recorded in shared),
        data_start=min(recorded.start for recorded in series),
        data_end=max(recorded.end for recorded in series),
        library_origins=len(library.codes),
        fingerprint=digest.hexdigest()[:16],
        origin=origin,
        code_version=__version__,
    )
    return PathModel(card, curve, library)


def _stride(bars: int) -> int:
    """Return about so many bars, but no factor of a day's: every time of the day comes."""
    return -(-bars // 12) * 12 - 1


def _shared(series: Sequence[Recorded]) -> list[Recorded]:
    """Return the series of one time: of those that cover one of them, the most bars together."""
    groups = []
    for one in series:
        length = one.end - one.start
        group = [
            r for r in series if min(r.end, one.end) - max(r.start, one.start) >= _COVERED * length
        ]
        groups.append((length * len(group), group))
    return max(groups, key=lambda pair: pair[0])[1]
