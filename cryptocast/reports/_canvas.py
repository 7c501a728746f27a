"""The parts that all pictures share: size, labels, colours, baseline, legend and rendering.

The colours are those of Okabe & Ito (2008), which colour-blind people can tell apart; lines also
differ in their dashes. Figures are plain matplotlib objects: no global state of pyplot is used.
"""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryptocast.drafts import confine_libraries

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P = ParamSpec("_P")

BLUE, RED, GREY = "#0072B2", "#D55E00", "#555555"
_COLOURS = (BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", "-.", ":")
_INCHES = (8.0, 5.0)
_DPI = 100


def png(draw: Callable[_P, Figure]) -> Callable[_P, bytes]:
    """Decorate a function that draws a figure, so that it returns PNG bytes.

    The function that returns the figure itself stays available as `__wrapped__`.
    """

    @functools.wraps(draw)
    def render(*args: _P.args, **kwargs: _P.kwargs) -> bytes:
        # Otherwise matplotlib reports, once per machine, that it builds its font cache.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        return _painted(draw(*args, **kwargs))

    return render


def _painted(drawn: Figure) -> bytes:
    """Return a figure as PNG bytes."""
    buffer = io.BytesIO()
    # Without the version of matplotlib in the file, equal pictures have equal bytes.
    drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def figure() -> Figure:
    """Return an empty figure of 800 x 500 pixels."""
    confine_libraries()
    from matplotlib.figure import Figure  # late: a tick draws nothing

    return Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")


def canvas(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with one pair of labelled axes."""
    drawn = figure()
    axes = drawn.subplots()
    label(axes, title, x, y)
    return drawn, axes


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Add a title, labels and a quiet grid."""
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def baseline(axes: Axes, name: str, at: float = 0.0) -> None:
    """Draw the line that everything is compared with."""
    axes.axhline(at, color=GREY, linewidth=1, linestyle=(0, (6, 3)), label=name)


def style(i: int) -> dict[str, Any]:
    """Return the colour and dash of line `i`; the first twelve lines differ."""
    return {"color": _COLOURS[i % len(_COLOURS)], "linestyle": _DASHES[i % len(_DASHES)]}


def count(axes: Axes, n: int) -> None:
    """Put whole numbers from 1 to n on the x axis."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, max(n, 1) + 0.5)


def clock(axes: Axes) -> None:
    """Put times on the x axis, written as briefly as possible."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator()  # type: ignore[no-untyped-call]  # matplotlib has no types for these yet
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]  # nor for this
    axes.xaxis.set_major_formatter(formatter)


def moments(seconds: ArrayLike) -> NDArray[np.datetime64]:
    """Convert Unix seconds [N] to the times that matplotlib understands."""
    return np.asarray(seconds, dtype=np.int64).reshape(-1).astype("datetime64[s]")


def finish(axes: Axes, *, empty: bool, beside: bool = False) -> None:
    """Add the legend (`beside` the axes if there are many lines), or say that there is nothing."""
    if empty:
        axes.set(xticks=[], yticks=[])
        box = {"facecolor": "white", "edgecolor": "none"}
        place = axes.transAxes
        axes.text(0.5, 0.5, "nothing to show", transform=place, ha="center", bbox=box)
    elif beside and axes.figure is not None:
        axes.figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    else:
        axes.legend(frameon=False, fontsize="small")
