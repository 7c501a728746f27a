"""Judge paths beside three rivals by what came, in the units of the league Synth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from cryptocast.dataset import Bars
from cryptocast.evaluation import trajectories
from cryptocast.evaluation.metrics import BP
from cryptocast.paths import MarketPaths, day_bars, touches
from cryptocast.paths.rivals import GBM, PAST_DAYS, RIVALS
from cryptocast.values import FloatArray, Market, iso

OURS = "cryptocast"
"""The name of our paths among the entrants."""

Entrants = Mapping[str, FloatArray]
"""The paths [N, D + 1] of one market by the entrant's name, relative to the last close."""

_LEVELS = (-1.0, -0.5, 0.5, 1.0)  # of questions, in standard deviations of the rival GBM's day
_MOST_MISSING = 0.05  # of the day
_FURTHEST = 5.0  # a log-return: volatility that feeds on itself has no bound
_BLOCK_DAYS = 7
_FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The bars of one market around an origin, and the highest and lowest price of the day after.

    Prices are relative to the last close.
    """

    market: Market
    past: FloatArray  # log-returns up to the origin
    closes: FloatArray  # [D + 1] from the origin on
    high: float
    low: float

    @classmethod
    def of(cls, bars: Bars, at: int) -> Truth | None:
        """Return what came after the bar before `at`, or None if too much of it is missing.

        High and low are those of the bars' ranges: a bar's place in its range tells both.
        """
        day = day_bars(bars.market.interval_seconds)
        after = slice(at, at + day)
        if at + day > len(bars) or bars.missing[after].sum() > _MOST_MISSING * day:
            return None
        closes = np.exp(bars.log_close[at - 1 : at + day] - bars.log_close[at - 1])
        lows = closes[1:] / (1 + (bars.place[after] + 0.5) * np.expm1(bars.log_range[after]))
        high, low = float((lows * np.exp(bars.log_range[after])).max()), float(lows.min())
        past = bars.log_return[max(1, at - PAST_DAYS * day) : at]
        return cls(bars.market, past, closes, high, low)


@dataclass(frozen=True, slots=True, eq=False)
class _Marks:
    """The scores of one entrant at one origin, over M markets together."""

    crps: FloatArray  # [K] mean over markets, bp
    inside: FloatArray  # [2, K] shares inside the 80 and 90 % range, mean over markets
    basket: FloatArray  # [K] share inside the basket's 90 % range
    energy: float
    above: FloatArray  # [M * levels] probabilities
    touch: FloatArray  # [M * levels]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """The scores of all entrants at one origin, with what came of the questions."""

    origin: int
    scales: tuple[str, ...]
    marks: Mapping[str, _Marks]
    above: FloatArray  # [M * levels] 1 if it came
    touch: FloatArray


class Rivals:
    """The rivals' paths from one origin: each draws on from market to market."""

    def __init__(self, origin: int) -> None:
        """Seed every rival by the origin."""
        self._rngs = {name: np.random.default_rng([origin, i]) for i, name in enumerate(RIVALS)}

    def beside(self, ours: MarketPaths, truth: Truth) -> Entrants:
        """Return our paths of the next market, and as many of each rival."""
        shape = len(ours.prices), len(truth.closes) - 1
        entrants = {OURS: ours.prices / ours.last_close}
        for name, simulate in RIVALS.items():
            walks = np.cumsum(simulate(truth.past, shape, self._rngs[name]), axis=1)
            entrants[name] = np.exp(np.clip(walks, -_FURTHEST, _FURTHEST))
        return {name: np.insert(each, 0, 1.0, axis=1) for name, each in entrants.items()}


@dataclass(slots=True, eq=False)
class _Sums:
    """Sums of one entrant over the markets so far: their scores and some points, no paths."""

    basket: FloatArray  # [N, D + 1] sum of the paths of all markets
    scores: list[trajectories.Increments] = field(default_factory=list)
    points: list[FloatArray] = field(default_factory=list)  # [N, K] log-returns at the scales, bp
    above: list[FloatArray] = field(default_factory=list)  # [levels] probabilities
    touch: list[FloatArray] = field(default_factory=list)

    def add(
        self, paths: FloatArray, truth: Truth, levels: FloatArray, scales: Sequence[int]
    ) -> None:
        """Score the paths [N, D + 1] of the next market at scales in steps."""
        self.basket += paths
        self.scores.append(trajectories.increments(paths, truth.closes, scales))
        self.points.append(BP * np.log(paths[:, scales]))
        self.above.append(np.array([(paths[:, -1] > level).mean() for level in levels]))
        self.touch.append(touches(paths[:, 1:] - 1, levels - 1).mean(axis=1))

    def marks(self, actual: FloatArray, points: FloatArray, scales: Sequence[int]) -> _Marks:
        """Return the scores over all markets.

        `actual` [D + 1] is what came of the basket, `points` [M * K] of all markets at the scales.
        """
        basket = trajectories.increments(self.basket / len(self.scores), actual, scales)
        return _Marks(
            np.mean([one.crps for one in self.scores], axis=0),
            np.mean([one.inside for one in self.scores], axis=0),
            basket.inside[1],
            trajectories.energy(np.hstack(self.points), points),
            np.concatenate(self.above),
            np.concatenate(self.touch),
        )


class Judging:
    """Judges the paths of markets from one origin by what came, one market after the other.

    The paths of a market are gone when the next one comes: those of 500 would take 5 GB.
    """

    def __init__(self, origin: int, market: Market) -> None:
        """Take the interval, which all share, from one of the markets."""
        self._origin = origin
        self._scales = trajectories.day_scales(market.interval, market.interval_seconds)
        self._sums: dict[str, _Sums] = {}
        self._truths: list[FloatArray] = []  # closes [D + 1]
        self._above: list[FloatArray] = []  # [levels] 1 if it came
        self._touch: list[FloatArray] = []

    def add(self, entrants: Entrants, truth: Truth) -> None:
        """Judge the paths of the next market, those of every entrant."""
        levels = np.exp(float(np.log(entrants[GBM][:, -1]).std()) * np.array(_LEVELS))
        for name, paths in entrants.items():
            sums = self._sums.setdefault(name, _Sums(np.zeros_like(paths)))
            sums.add(paths, truth, levels, [*self._scales.values()])
        touched = np.where(levels > 1, truth.high >= levels, truth.low <= levels)
        self._truths.append(truth.closes)
        self._above.append((truth.closes[-1] > levels) * 1.0)
        self._touch.append(touched * 1.0)

    def result(self) -> Judged:
        """Return the scores over the markets so far."""
        steps = [*self._scales.values()]
        actual = np.mean(self._truths, axis=0)
        points = BP * np.log(np.concatenate([closes[steps] for closes in self._truths]))
        marks = {name: sums.marks(actual, points, steps) for name, sums in self._sums.items()}
        above, touch = np.concatenate(self._above), np.concatenate(self._touch)
        return Judged(self._origin, tuple(self._scales), marks, above, touch)


def table(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return a row per entrant: figures of all origins, relative to GBM, with standard errors.

    The errors are a jackknife over weeks, or days if there are few weeks.
    """
    origins = np.array([one.origin for one in judged])
    weeks, days = origins // (_BLOCK_DAYS * 86_400), origins // 86_400
    blocks = weeks if len(np.unique(weeks)) >= _FEWEST_BLOCKS else days
    return [_row(name, judged, blocks) for name in judged[0].marks]


def _row(name: str, judged: Sequence[Judged], blocks: Any) -> dict[str, Any]:
    """Return the figures of one entrant."""
    own, gbm = ([one.marks[entrant] for one in judged] for entrant in (name, GBM))
    crps, theirs = (np.array([m.crps for m in marks]) for marks in (own, gbm))
    gain, error = trajectories.relative(crps.sum(axis=1), theirs.sum(axis=1), blocks)
    energies, their_energies = (np.array([m.energy for m in marks]) for marks in (own, gbm))
    energy = trajectories.relative(energies, their_energies, blocks)
    inside = np.mean([m.inside for m in own], axis=0)
    named = partial(_named, judged[0].scales)
    row: dict[str, Any] = {
        "entrant": name,
        "origins": len(judged),
        "first": iso(judged[0].origin),
        "last": iso(judged[-1].origin),
        "crps_bp": float(crps.sum(axis=1).mean()),
        "vs_gbm": gain,
        "vs_gbm_error": error,
        "vs_gbm_by_scale": named(crps.sum(axis=0) / theirs.sum(axis=0) - 1),
        "coverage80": named(inside[0]),
        "coverage90": named(inside[1]),
        "basket_coverage90": named(np.mean([m.basket for m in own], axis=0)),
        "energy_vs_gbm": energy[0],
        "energy_vs_gbm_error": energy[1],
    }
    for kind in ("above", "touch"):
        said = np.stack([getattr(m, kind) for m in own])
        base = np.stack([getattr(m, kind) for m in gbm])
        came = np.stack([getattr(one, kind) for one in judged])
        loss, their_loss = (((p - came) ** 2).mean(axis=1) for p in (said, base))
        brier = trajectories.relative(loss, their_loss, blocks)
        bias = said.mean(axis=1) - came.mean(axis=1)
        row[kind] = {
            "brier": float(((said - came) ** 2).mean()),
            "vs_gbm": brier[0],
            "vs_gbm_error": brier[1],
            "bias": float(bias.mean()),
            "bias_error": trajectories.jackknife(blocks, _mean_of(bias)),
            "reliability": trajectories.reliability(said.ravel(), came.ravel()),
        }
    return row


def _mean_of(values: FloatArray) -> trajectories.Figure:
    """Return the figure that is the mean of the values of the origins kept."""
    return lambda kept: float(values[kept].mean())


def _named(scales: Sequence[str], values: FloatArray) -> dict[str, float]:
    return dict(zip(scales, values.tolist(), strict=True))
