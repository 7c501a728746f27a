"""Worlds whose law is known, each made so that one baseline ought to win in it."""

from __future__ import annotations

from functools import cache

import numpy as np

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.dataset import Bars, lay_out
from cryptocast.evaluation import crps_bp
from cryptocast.models.baselines._baseline import PastOrigins
from cryptocast.seams import TrainingRun
from cryptocast.values import Candles, Fitted, Windows
from support.synthetic import BAR, LEVELS, MARKET, START, windows

LEARNED, SEEN, HORIZON = 2_016, 6_000, 12
UNIT = 1e-3  # a typical return
_INSIDE = 12  # moves within a bar


def laid(returns: np.ndarray, scale: np.ndarray, seed: int) -> Bars:
    """Bars with these log-returns, and ranges of a path that is as volatile as `scale`."""
    n = len(returns)
    moves = np.random.default_rng(seed).normal(size=(n, _INSIDE)) * scale[:, None] / _INSIDE**0.5
    moves += ((returns - moves.sum(axis=1)) / _INSIDE)[:, None]
    path = np.log(60_000) + np.cumsum(moves).reshape(n, _INSIDE)
    close = np.exp(path[:, -1])
    opening = np.concatenate(([60_000.0], close[:-1]))
    made = Candles.of(
        START + BAR * np.arange(n),
        opening,
        np.maximum(np.exp(path.max(axis=1)), opening),
        np.minimum(np.exp(path.min(axis=1)), opening),
        close,
        np.ones(n),
    )
    return lay_out(made, MARKET, START, START + n * BAR)


@cache
def noise(seed: int = 4) -> Bars:
    """Independent returns, all alike."""
    scale = np.full(SEEN, UNIT)
    return laid(np.random.default_rng(seed).normal(size=SEEN) * scale, scale, seed + 1)


@cache
def echoing(slope: float, seed: int = 5) -> Bars:
    """AR(1) returns."""
    shocks = np.random.default_rng(seed).normal(size=SEEN) * UNIT
    returns = shocks.copy()
    for bar in range(1, SEEN):
        returns[bar] += slope * returns[bar - 1]
    return laid(returns, np.full(SEEN, UNIT), seed + 1)


@cache
def hourly(swing: float, seed: int = 6) -> Bars:
    """Log-volatility that swings with the time of day, on two harmonics."""
    angle = 2 * np.pi * (START % 86_400 + BAR * np.arange(SEEN)) / 86_400
    scale = UNIT * np.exp(swing * (np.sin(angle) + np.cos(2 * angle)))
    return laid(np.random.default_rng(seed).normal(size=SEEN) * scale, scale, seed + 1)


@cache
def clustered(alpha: float, beta: float, seed: int = 7) -> Bars:
    """GARCH(1,1) returns with normal shocks."""
    shocks = np.random.default_rng(seed).normal(size=SEEN)
    variance = np.full(SEEN, UNIT**2)
    for bar in range(1, SEEN):
        before = variance[bar - 1]
        variance[bar] = UNIT**2 * (1 - alpha - beta) + before * (
            alpha * shocks[bar - 1] ** 2 + beta
        )
    scale = np.sqrt(variance)
    return laid(shocks * scale, scale, seed + 1)


@cache
def layered(seed: int = 8) -> Bars:
    """Log-volatility that is the sum of a fast and a slow wander."""
    random = np.random.default_rng(seed)
    total = np.zeros(SEEN)
    for keep, size in ((0.6, 0.35), (0.995, 0.35)):
        level, shocks = 0.0, random.normal(size=SEEN) * size * (1 - keep**2) ** 0.5
        for bar in range(SEEN):
            level = keep * level + shocks[bar]
            total[bar] += level
    scale = UNIT * np.exp(total)
    return laid(random.normal(size=SEEN) * scale, scale, seed + 1)


@cache
def parts(world: Bars) -> tuple[Windows, Windows, Windows]:
    """Seven days to learn from (the last is held out), and the rest to be judged by."""
    cuts = ((16, LEARNED - 288), (LEARNED - 288, LEARNED), (LEARNED, SEEN))
    before, held_out, unseen = (windows(world, a, b, horizon=HORIZON) for a, b in cuts)
    return before, held_out, unseen


@cache
def learned(kind: str, world: Bars) -> Fitted:
    """The kind, fit on the seven days."""
    before, held_out, _ = parts(world)
    return models.get(kind).fit(before, held_out, levels=LEVELS, params={}, run=TrainingRun(0))


def past(world: Bars) -> PastOrigins:
    """What a baseline learns from."""
    return PastOrigins(parts(world)[:2])


@cache
def loss(graph: bytes, world: Bars) -> np.ndarray:
    """[H] mean CRPS in bp on what is to be judged by."""
    unseen = parts(world)[2]
    found = crps_bp(Forecaster(graph).log_returns(unseen), unseen.targets, LEVELS)
    return np.nanmean(found, axis=0)


def skill(kind: str, world: Bars) -> np.ndarray:
    """[H] `1 - CRPS / CRPS of the random walk` on what is to be judged by."""
    return 1 - loss(learned(kind, world).onnx, world) / loss(
        learned("random_walk", world).onnx, world
    )
