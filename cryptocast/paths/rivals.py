"""What paths are compared with: three ways to simulate from a market's own past alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import lfilter
from scipy.special import gammaln

from cryptocast.values import FloatArray

GBM, GARCH, FHS = "gbm", "garch_t", "fhs"

PAST_DAYS = 28
"""Of how many days before the origin each of them looks at the log-returns, at most."""

_GBM_DECAY, _FHS_DECAY = 0.94, 0.98
_WEEK_DAYS = 7
_SMOOTH_SHARE = 48  # of a day: half an hour
_ALPHAS = np.array([0.01, 0.03, 0.05, 0.08, 0.12, 0.17, 0.25, 0.35])
_PERSISTENCES = np.array([0.80, 0.90, 0.95, 0.97, 0.985, 0.993, 0.998])
_FREEDOMS = np.array([2.5, 3.0, 3.5, 4.0, 5.0, 7.0, 10.0, 30.0])
_LEAST = 1e-6  # 0.01 bp

Shape = tuple[int, int]
"""How many paths, N, and the bars of a day, D."""

Rival = Callable[[FloatArray, Shape, np.random.Generator], FloatArray]


def gbm(past: FloatArray, shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Return log-returns [N, D] of geometric Brownian motion with an EWMA volatility (0.94)."""
    volatility = float(np.sqrt(_decayed(past**2, _GBM_DECAY)[-1] + _LEAST**2))
    return volatility * rng.standard_normal(shape)


def garch_t(past: FloatArray, shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Return log-returns [N, D] of a GARCH(1,1) with t-distributed shocks, fitted on 7 days.

    By maximum likelihood on a grid of parameters; the mean variance is that of the 7 days.
    """
    count, day = shape
    past = past[-_WEEK_DAYS * day :]
    mean = float(np.mean(past**2)) + _LEAST**2
    alpha, persistence = (a.ravel() for a in np.meshgrid(_ALPHAS, _PERSISTENCES))
    possible = alpha < persistence
    alpha, persistence = alpha[possible], persistence[possible]
    beta = persistence - alpha
    variances = np.empty((len(past) + 1, len(alpha)))
    variances[0] = mean
    for t, square in enumerate(past**2):
        variances[t + 1] = (1 - persistence) * mean + alpha * square + beta * variances[t]
    squares = past[:, None] ** 2 / variances[:-1]
    spread = np.log(variances[:-1]).sum(axis=0) / 2
    scores = np.stack([_t_loss(squares, nu) + spread for nu in _FREEDOMS])  # [nu, parameters]
    nu, best = np.unravel_index(int(np.argmin(scores)), scores.shape)
    freedom = float(_FREEDOMS[nu])
    shocks = rng.standard_t(freedom, (day, count)) * np.sqrt((freedom - 2) / freedom)
    moves, variance = np.empty((day, count)), np.full(count, variances[-1, best])
    for step, shock in enumerate(shocks):
        moves[step] = np.sqrt(variance) * shock
        variance = (
            (1 - persistence[best]) * mean + alpha[best] * moves[step] ** 2 + beta[best] * variance
        )
    return moves.T


def _t_loss(squares: FloatArray, freedom: float) -> FloatArray:
    """Return minus the log-likelihood [P] of squared shocks [T, P] of variance 1."""
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom - 2) / 2
    logs = np.log1p(squares / (freedom - 2)).sum(axis=0)
    return np.asarray((freedom + 1) / 2 * logs - len(squares) * constant)


def fhs(past: FloatArray, shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Return log-returns [N, D] by filtered historical simulation (Barone-Adesi 1999).

    Shocks of the last 7 days, in units of an EWMA volatility (0.98) and the time of day's size,
    are drawn anew, less their mean; the volatility goes on along each path.
    """
    count, day = shape
    profile = _day_profile(past, day)  # of the bars that follow, and so of those a day before
    sizes = np.resize(profile[::-1], len(past))[::-1]
    even = past / sizes
    variances = _decayed(even**2, _FHS_DECAY) + _LEAST**2
    shocks = (even[1:] / np.sqrt(variances[:-1]))[-_WEEK_DAYS * day :]
    drawn = rng.choice(shocks - shocks.mean(), (day, count))
    moves, variance = np.empty((day, count)), np.full(count, variances[-1])
    for step, shock in enumerate(drawn):
        moves[step] = np.sqrt(variance) * shock
        variance = _FHS_DECAY * variance + (1 - _FHS_DECAY) * moves[step] ** 2
    return (moves * profile[:, None]).T


RIVALS: Mapping[str, Rival] = {GBM: gbm, GARCH: garch_t, FHS: fhs}


def _decayed(values: FloatArray, decay: float) -> FloatArray:
    """Return the exponentially weighted mean [T] of what came up to each value."""
    ones = np.ones(len(values))
    above, below = (lfilter([1 - decay], [1, -decay], v) for v in (values, ones))
    return np.asarray(above / below)


def _day_profile(past: FloatArray, day: int) -> FloatArray:
    """Return the mean relative size [D] of the moves at each time of day after the origin."""
    days = len(past) // day
    if days < 2:
        return np.ones(day)
    size = np.abs(past[-days * day :]).reshape(days, day).mean(axis=0) + _LEAST
    span = range(-(day // _SMOOTH_SHARE), day // _SMOOTH_SHARE + 1)
    smooth = sum(np.roll(size, shift) for shift in span)
    return np.asarray(smooth / np.mean(smooth))
