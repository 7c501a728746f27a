"""Pictures in plain text: they need no colour and fit the width that they are given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

_EIGHTHS = "▏▎▍▌▋▊▉█"
_HEIGHTS = "▁▂▃▄▅▆▇█"
_NONE = "·"


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Values as a line of blocks, the lowest flat, the highest full; one that is none is a dot.

    Where there are more values than `width`, neighbours are shown by their mean.
    """
    shown = _squeezed(values, max(width, 1))
    known = [v for v in shown if math.isfinite(v)]
    if not known:
        return _NONE * len(shown)
    low, span = min(known), max(known) - min(known)

    def block(value: float) -> str:
        if not math.isfinite(value):
            return _NONE
        share = (value - low) / span if span > 0 else 0.5
        return _HEIGHTS[min(int(share * len(_HEIGHTS)), len(_HEIGHTS) - 1)]

    return "".join(block(v) for v in shown)


def bars(
    values: Mapping[str, float],
    width: int = 60,
    show: Callable[[float], str] = lambda value: f"{value:.0%}",
) -> list[str]:
    """A line each: the name, a bar from zero, and the value as `show` writes it.

    The greatest value fills what the widest name and value leave of `width`; none that is
    negative or no number has a bar. Names that leave no room for a bar are kept whole.
    """
    if not values:
        return []
    figures = {name: show(v) if math.isfinite(v) else "-" for name, v in values.items()}
    names, numbers = (max(map(len, texts)) for texts in (figures, figures.values()))
    room = max(width - names - numbers - 2, 1)
    most = max((v for v in values.values() if math.isfinite(v)), default=0.0)
    drawn = {name: bar(v / most if most > 0 else 0.0, room) for name, v in values.items()}
    return [f"{name:<{names}} {drawn[name]:<{room}} {figures[name]:>{numbers}}" for name in values]


def bar(share: float, width: int) -> str:
    """A bar that fills a share (0 to 1) of `width`, to an eighth of a character."""
    if not math.isfinite(share) or share <= 0:
        return ""
    eighths = round(min(share, 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return _EIGHTHS[-1] * full + (_EIGHTHS[rest - 1] if rest else "")


def _squeezed(values: Sequence[float], width: int) -> list[float]:
    n = len(values)
    if n <= width:
        return [float(v) for v in values]
    groups = (values[i * n // width : (i + 1) * n // width] for i in range(width))
    known = ([float(v) for v in group if math.isfinite(v)] for group in groups)
    return [sum(group) / len(group) if group else math.nan for group in known]
