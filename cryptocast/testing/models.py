"""What a model kind promises (`seams.ModelKind`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from cryptocast.bundles import Forecaster
from cryptocast.dataset import Part, cut, lay_out
from cryptocast.seams import ModelKind, Params, TrainingRun
from cryptocast.sources.sim import simulate
from cryptocast.testing.claims import check, check_refused
from cryptocast.values import Fitted, Market, Windows

LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
LEAST_GAP = 0.005
"""Neighbouring quantiles of a graph are at least so far apart, in units of sigma * sqrt(step)."""
_LOOKBACK, _HORIZON = 16, 6
_DAY = 20_000  # since 1970; any day of the simulated exchange will do


def check_model(model: ModelKind, params: Params | None = None) -> None:
    """Assert that a model kind can be tuned, trained and served.

    It is fitted seven times to a day of candles. `params` take the place of defaults and
    suggestions of the same names: fewer epochs or trees make it quick.
    """
    material, quick = _material(), dict(params or {})
    usual = {**model.defaults(), **quick}
    fitted = _fit(model, material, usual)
    check(fitted.kind == model.kind, f"a fitted {model.kind} calls itself {fitted.kind}")
    check(dict(fitted.params) == usual, "it does not keep the parameters that it was given")
    _check_graph(fitted, material[2])
    again = _fit(model, material, usual)
    check(again.onnx == fitted.onnx, "the same data and seed give another graph")
    least = model.least_bars(_LOOKBACK, _HORIZON)
    check(least > 0, "least_bars is not positive")
    few = _fit(model, material, usual, levels=(0.25, 0.5, 0.75))
    _check_graph(few, material[2], levels=3)
    _check_graph(_fit(model, _with_unknown_targets(material), usual), material[2])
    _check_search(model, material, quick)
    check_refused(
        lambda: _fit(model, material, {**usual, "no_such": 1}),
        "config.params",
        "a parameter that it does not have",
    )


def _check_search(model: ModelKind, material: Sequence[Windows], quick: Params) -> None:
    """Assert that a model kind can be fitted with whatever it suggests."""
    for share in (0.0, 0.4, 1.0):
        trial = _Suggestions(share)
        suggested = {**model.suggest(trial)}
        asked = set(trial.asked)
        check(len(asked) == len(trial.asked), "it asks for a parameter twice")
        check(asked <= set(suggested), "it asks for a parameter and does not use it")
        check(asked <= set(model.defaults()), "it searches a parameter without a default")
        if asked:
            given = suggested | {name: quick[name] for name in quick if name in suggested}
            kept = _fit(model, material, given).params
            check(dict(kept) == given, "it does not keep the parameters that it suggested")


@dataclass
class _Suggestions:
    """A trial that answers each question at the same share of the way from low to high."""

    share: float
    asked: list[str] = field(default_factory=list)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number in `[low, high]`."""
        check(low < high, f"the range of {name} is empty")
        self.asked.append(name)
        return float(low * (high / low) ** self.share if log else low + self.share * (high - low))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Return a whole number in `[low, high]`."""
        check(low < high, f"the range of {name} is empty")
        self.asked.append(name)
        return low + round(self.share * (high - low) / step) * step


def _material() -> tuple[Windows, Windows, Windows]:
    """Return windows to train on, to stop early by, and that a model has not seen."""
    market = Market.of("BTC/EUR", "sim", "5m")
    start, bar = _DAY * 86_400, market.interval_seconds
    bars = lay_out(simulate(0, market, np.arange(_DAY, _DAY + 2)), market, start, start + 480 * bar)
    edges = (_LOOKBACK, 340, 420, 480)
    train, validation, unseen = (
        cut(
            bars,
            Part(start + first * bar, start + end * bar),
            lookback=_LOOKBACK,
            horizon=_HORIZON,
            max_stale_bars=3,
        )
        for first, end in pairwise(edges)
    )
    return train, validation, unseen


def _with_unknown_targets(material: Sequence[Windows]) -> tuple[Windows, ...]:
    """Return the windows without step 4, and without each fifth origin's targets."""

    def spoilt(part: Windows) -> Windows:
        unknown = (np.arange(_HORIZON) == 3) | (np.arange(len(part)) % 5 == 0)[:, None]
        return replace(part, targets=np.where(unknown, np.nan, part.targets))

    return tuple(spoilt(part) for part in material)


def _fit(
    model: ModelKind, material: Sequence[Windows], params: Params, levels: Sequence[float] = LEVELS
) -> Fitted:
    run = TrainingRun(3)
    return model.fit(material[0], material[1], levels=levels, params=params, run=run)


def _check_graph(fitted: Fitted, unseen: Windows, levels: int = len(LEVELS)) -> None:
    """Assert that a graph answers any windows in any number with quantiles that rise."""
    forecaster = Forecaster(fitted.onnx)
    wild = np.random.default_rng(1).uniform(-8, 8, size=(500, *unseen.inputs.shape[1:]))
    for inputs in (unseen.inputs, wild):
        found = forecaster(inputs)
        shape = (len(inputs), _HORIZON, levels)
        check(found.shape == shape, f"the graph answers {found.shape}, not {shape}")
        check(bool(np.isfinite(found).all()), "the graph answers with numbers that are not finite")
        rising = bool((np.diff(found, axis=-1) >= LEAST_GAP).all())
        check(rising, f"the quantiles do not rise by {LEAST_GAP} or more from level to level")
    alone = forecaster(unseen.inputs[7:8])[0]
    same = np.allclose(alone, forecaster(unseen.inputs)[7], atol=1e-6)
    check(same, "a window alone is answered otherwise than among others")
    check(forecaster(unseen.inputs[:0]).shape[1:] == (_HORIZON, levels), "the shape is not fixed")
