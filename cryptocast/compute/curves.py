"""Fit a version's own curve of the size of moves on the candles that it learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptocast import __version__, paths
from cryptocast.compute.material import Material
from cryptocast.dataset import Bars


@dataclass(frozen=True, slots=True)
class CurveFitting:
    """The curve to begin with: the one beside a base network's folder, else the shipped one."""

    base: str | None

    @property
    def key(self) -> str:
        """A name that the same fit on the same material has again."""
        return f"curve {self.base}"


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """The curve that a version's simulated paths rest on: its facts for the card, and its text."""

    card: Mapping[str, Any] | None  # None: there are no paths of candles of this interval
    document: Mapping[str, Any] | None  # see `paths.curve_document`


@dataclass(frozen=True, slots=True, eq=False)
class _Learned(Sequence[Bars]):
    """The bars that are learned from, of each market; laid out when they are asked for."""

    material: Material

    def __len__(self) -> int:
        return len(self.material.markets)

    def __getitem__(self, index: Any) -> Any:
        bars = self.material.bars(index)
        return bars.part(0, bars.index(self.material.learned.end))


def fit_curve(fitting: CurveFitting, material: Material) -> FittedCurve:
    """Fit a curve on the training and validation parts; see `paths.fitting.adapt_curve`."""
    from cryptocast.paths.fitting import adapt_curve  # late: what serves imports this room too

    interval = material.markets[0].interval
    if interval not in paths.shipped_intervals():
        return FittedCurve(None, None)
    learned = material.learned
    shared = paths.beside(fitting.base, interval)
    made = adapt_curve(_Learned(material), shared.curve)
    card = {
        "library": shared.card.name,
        "library_sha256": shared.card.sha256,
        "curve": shared.card.name if made.curve is None else "own",
        "reason": made.reason,
        "gain": made.gain,
        "gain_error": made.error,
    }
    if made.curve is None:
        return FittedCurve(card, None)
    facts = {
        **card,
        "interval": interval,
        "markets": [market.id for market in material.markets],
        "data_start": learned.start,
        "data_end": learned.end,
        "fingerprint": material.fingerprint(learned),
        "code_version": __version__,
    }
    document = paths.curve_document(made.curve, facts)
    return FittedCurve({**card, "curve_sha256": document["sha256"]}, document)
