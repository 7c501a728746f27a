"""The path model of recorded series."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptocast import __version__, paths
from cryptocast.compute.pretraining import Recorded
from cryptocast.paths import PathCard, PathModel
from cryptocast.paths.fitting import WARM_UP, fill_library, fit_curve
from cryptocast.values import INTERVAL_SECONDS

_MOST_PATHS = 12_000  # some 2 MB
_STRIDE = 47  # bars between origins of the library: coprime with 12, so that every time comes
_LEAST_ORIGINS = 100
_COVERED = 0.9  # of the common time: a series that lacks more is left out


def path_model(series: Sequence[Recorded], origin: str) -> PathModel | None:
    """Return the curve and library of the series that share the most time, or None if too little.

    The curve learns from every series that is long enough. Paths are made of candles of 5m; of
    another interval there is none. `origin` says where the candles come from.
    """
    interval = series[0].market.interval
    shared = _shared(series)
    bars = (min(r.end for r in shared) - max(r.start for r in shared)) // paths.STEP_SECONDS
    room = bars - WARM_UP - paths.LEADS
    if INTERVAL_SECONDS[interval] != paths.STEP_SECONDS or room < _LEAST_ORIGINS * _STRIDE:
        return None
    least = WARM_UP + 2 * paths.LEADS
    curve = fit_curve([recorded.bars for recorded in series if len(recorded.bars) > least])
    # A multiple of 12 and one less shares no factor with the hour.
    stride = max(_STRIDE, -(-room * len(shared) // _MOST_PATHS // 12) * 12 - 1)
    library = fill_library([recorded.bars for recorded in shared], curve, stride)
    digest = hashlib.sha256("".join(recorded.fingerprint for recorded in series).encode())
    card = PathCard(
        name=f"paths-{interval}",
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
