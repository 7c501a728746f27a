"""GARCH(1,1) with Student's t (Bollerslev 1987), by package `arch`.

`v[t+1] = omega + alpha * r[t]**2 + beta * v[t]`. The variance over h bars is the sum of its
expectations, in closed form; the quantiles are those of the past returns divided by its
root (filtered historical simulation), so the t only serves to find the three numbers.
If they can't be found the answer is the random walk's, and the parameters say so.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cryptocast.drafts import confine_libraries
from cryptocast.models import _graphs, _quantiles
from cryptocast.models.baselines import random_walk
from cryptocast.models.baselines._baseline import Baseline, PastOrigins
from cryptocast.values import LEVEL_UNIT, Fitted, FloatArray

_LEAST_RETURNS = 250  # with fewer, three numbers and a tail are guesswork


class Model(Baseline):
    """GARCH(1,1)-t as a model kind."""

    kind = "garch"
    notes = ("fallback",)

    def learn(self, past: PastOrigins, levels: Sequence[float]) -> Fitted:
        """Fit the three numbers, then take the quantiles of what they leave unexplained."""
        law = estimate(returns(past))
        if law is None:
            walk = random_walk.Model().learn(past, levels)
            return dataclasses.replace(walk, kind=self.kind, params={"fallback": walk.kind})
        ratios = past.origins.standardised
        log_scale = law.log_scale(past, ratios.shape[1])
        base = _quantiles.symmetric(ratios / np.exp(log_scale), levels)
        graph = _graphs.Graph(past.lookback)
        drawn = law.draw(graph, past.lookback, ratios.shape[1])
        return Fitted(self.kind, {}, graph.stretched(base, drawn))


@dataclass(frozen=True, slots=True)
class Law:
    """The three numbers of a GARCH(1,1), for returns in units of `LEVEL_UNIT`."""

    omega: float
    alpha: float
    beta: float

    def memory(self, lookback: int) -> tuple[FloatArray, FloatArray, float]:
        """Return what the next bar's variance consists of.

        These are the weights [L] of squared returns, the weights [L] of sigma**2, and a
        constant. The variance before the window is taken to be the one that EWMA saw at its
        first bar: that is nearer than the unconditional one, which runs away as alpha + beta
        nears 1.
        """
        power = self.beta ** np.arange(lookback - 1, -1, -1, dtype=np.float64)
        before = np.zeros(lookback)
        before[0] = self.beta**lookback
        return self.alpha * power, before, self.omega * float(power.sum())

    def path(self, horizon: int) -> tuple[FloatArray, FloatArray]:
        """Return [H] the mean variance up to a step: a factor of the next bar's, and a constant."""
        steps = np.arange(1, horizon + 1)
        kept = (self.alpha + self.beta) ** (steps - 1.0)
        grown = np.cumsum(kept)
        return grown / steps, self.omega * np.cumsum(grown - kept) / steps

    def log_scale(self, past: PastOrigins, horizon: int) -> FloatArray:
        """Return [N, H] the log of the volatility to each step in units of sigma * sqrt(step)."""
        weights, before, constant = self.memory(past.lookback)
        level = past.feature("level")
        unit = np.exp(-2 * level[:, -1:])
        sigmas = np.exp(2 * level) * unit  # [N, L] squared, over that of the origin
        # A missing bar moved as EWMA expected: `missing` is 0 or 1, and so is its square.
        squares = sigmas * (past.feature("return") ** 2 + past.feature("missing") ** 2)
        following = (squares @ weights + sigmas @ before)[:, None] + constant * unit
        factor, added = self.path(horizon)
        return np.asarray(np.log(following * factor + unit * added) / 2)

    def draw(self, graph: _graphs.Graph, lookback: int, horizon: int) -> str:
        """Draw `log_scale` into a graph; return the name of its output."""
        weights, before, constant = self.memory(lookback)
        factor, added = self.path(horizon)
        two = graph.fixed(2.0)
        now = graph.newest_feature("level")
        unit = graph.Exp(graph.Neg(graph.Mul(two, now)))
        sigmas = graph.Exp(graph.Mul(two, graph.Sub(graph.feature("level"), now)))
        moved, missing = graph.feature("return"), graph.feature("missing")
        moves = graph.Add(graph.Mul(moved, moved), graph.Mul(missing, missing))
        squares = graph.MatMul(graph.Mul(sigmas, moves), graph.fixed(weights[:, None]))
        seen = graph.Add(squares, graph.MatMul(sigmas, graph.fixed(before[:, None])))
        following = graph.Add(seen, graph.Mul(unit, graph.fixed(constant)))
        variance = graph.Add(
            graph.Mul(following, graph.fixed(factor[None])),
            graph.Mul(unit, graph.fixed(added[None])),
        )
        return graph.Div(graph.Log(variance), two)


def returns(past: PastOrigins) -> FloatArray:
    """Return [T] the bars' known returns, market after market, in units of `LEVEL_UNIT`.

    A gap is closed up: one pair of bars that are not neighbours costs less than losing the rest.
    """
    origins = past.origins
    in_time = np.lexsort((origins.origin, origins.market))
    following = origins.targets[in_time, 0] / LEVEL_UNIT
    return np.asarray(following[np.isfinite(following)])


def estimate(moves: FloatArray) -> Law | None:
    """Return the law of these returns, or None if it can't be found."""
    typical = float(moves.std()) if len(moves) >= _LEAST_RETURNS else 0.0
    if not typical > 0:
        return None
    with warnings.catch_warnings():
        # Its imports show warnings and change their filters; its fits warn of what is checked here.
        warnings.simplefilter("ignore")
        confine_libraries()
        # late: arch imports pandas, statsmodels and matplotlib, which takes seconds
        from arch.univariate import GARCH, StudentsT, ZeroMean

        model = ZeroMean(
            moves / typical, volatility=GARCH(1, 0, 1), distribution=StudentsT(), rescale=False
        )
        try:
            fit = model.fit(disp="off", show_warning=False)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            return None
    omega, alpha, beta, _ = np.asarray(fit.params, dtype=np.float64)
    if fit.convergence_flag != 0 or not np.isfinite([omega, alpha, beta]).all():
        return None
    return Law(float(omega) * typical**2, float(alpha), float(beta))
