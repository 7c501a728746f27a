from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cryptocast.evaluation import crps_bp, metrics
from support.synthetic import LEVELS

NAN = float("nan")


@st.composite
def forecasts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Quantiles [N, H, Q], targets [N, H] with some unknown, and the levels."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, h = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    levels = draw(st.sampled_from([LEVELS, (0.1, 0.5, 0.9), (0.25, 0.5, 0.75)]))
    quantiles = np.sort(random.normal(size=(n, h, len(levels))), axis=2) * 1e-3
    targets = random.normal(size=(n, h)) * 1e-3
    targets[random.random((n, h)) < 0.2] = NAN
    return quantiles, targets, levels


@given(forecasts())
def test_the_crps_is_that_of_a_slow_loop(
    forecast: tuple[np.ndarray, np.ndarray, tuple[float, ...]],
) -> None:
    quantiles, targets, levels = forecast
    found = crps_bp(quantiles, targets, levels)
    assert found.shape == targets.shape
    for n, h in np.ndindex(targets.shape):
        y = float(targets[n, h])
        losses = [
            2 * max(q * (y - f), (q - 1) * (y - f))
            for q, f in zip(levels, quantiles[n, h].tolist(), strict=True)
        ]
        slow = NAN if math.isnan(y) else 1e4 * sum(losses) / len(losses)
        assert found[n, h] == pytest.approx(slow, nan_ok=True)


@given(forecasts(), st.sampled_from([0.5, 0.8, 0.9]))
def test_what_lies_inside_is_what_a_slow_loop_finds(
    forecast: tuple[np.ndarray, np.ndarray, tuple[float, ...]], share: float
) -> None:
    quantiles, targets, levels = forecast
    found = metrics.inside(quantiles, targets, levels, share)
    assert found.shape == targets.shape
    low, high = (round(0.5 + s * share / 2, 9) for s in (-1, 1))
    held = low in levels and high in levels
    for n, h in np.ndindex(targets.shape):
        if not held or math.isnan(targets[n, h]):
            assert math.isnan(found[n, h])
        else:
            ends = quantiles[n, h, levels.index(low)], quantiles[n, h, levels.index(high)]
            assert found[n, h] == float(ends[0] <= targets[n, h] <= ends[1])


@given(forecasts())
def test_the_median_is_the_quantile_in_the_middle(
    forecast: tuple[np.ndarray, np.ndarray, tuple[float, ...]],
) -> None:
    quantiles, _, levels = forecast
    np.testing.assert_array_equal(
        metrics.median(quantiles, levels), quantiles[..., len(levels) // 2]
    )


def test_the_crps_of_a_sharp_hit_is_zero_and_grows_with_the_miss() -> None:
    sharp = np.zeros((1, 1, 19))
    losses = [crps_bp(sharp, np.array([[miss]]), LEVELS)[0, 0] for miss in (0.0, 1e-4, -1e-4, 2e-4)]
    assert losses == pytest.approx([0, 1, 1, 2])  # of a point forecast it is the absolute error


def test_the_crps_comes_close_to_the_integral_of_a_normal() -> None:
    levels = tuple(k / 1000 for k in range(1, 1000))
    quantiles = stats.norm.ppf(levels)[None, None]
    for y in (-1.5, 0.0, 0.7):
        exact = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / math.sqrt(math.pi)
        found = crps_bp(quantiles, np.array([[y]]), levels)[0, 0] / 1e4
        assert found == pytest.approx(exact, rel=0.01)


def test_the_true_quantiles_score_best() -> None:
    seen = np.random.default_rng(1).normal(size=(20_000, 1))
    true = stats.norm.ppf(LEVELS)
    scores = [
        crps_bp(np.broadcast_to(true * scale, (20_000, 1, 19)), seen, LEVELS).mean()
        for scale in (1.0, 0.8, 1.25)
    ]
    assert min(scores) == scores[0]


def test_the_end_of_an_interval_lies_inside() -> None:
    quantiles = np.array([[[-1.0, 0.0, 1.0]]])
    ends = [metrics.inside(quantiles, np.array([[y]]), (0.1, 0.5, 0.9), 0.8)[0, 0] for y in
            (-1.0, 1.0, 1.0 + 1e-12)]  # fmt: skip
    assert ends == [1, 1, 0]


@given(forecasts())
def test_what_lies_below_is_what_a_slow_loop_counts(
    forecast: tuple[np.ndarray, np.ndarray, tuple[float, ...]],
) -> None:
    quantiles, targets, levels = forecast
    found = metrics.below(quantiles, targets)
    assert found.shape == (targets.shape[1], len(levels))
    for h, q in np.ndindex(found.shape):
        assert found[h, q] == sum(
            y <= f for y, f in zip(targets[:, h], quantiles[:, h, q], strict=True)
        )


def test_a_normal_forecast_implies_its_own_variance() -> None:
    sigma, target = 2e-3, 1e-3
    quantiles = sigma * stats.norm.ppf(LEVELS)[None, None]
    found = metrics.qlike(quantiles, np.array([[target]]), LEVELS)
    variance = (1e4 * sigma) ** 2
    assert found[0, 0] == pytest.approx(math.log(variance) + (1e4 * target) ** 2 / variance)


def test_qlike_is_lowest_for_the_true_variance() -> None:
    returns = np.random.default_rng(1).normal(size=(20_000, 1)) * 1e-3
    shape = stats.norm.ppf(LEVELS)[None, None]
    scores = [
        metrics.qlike(np.repeat(1e-3 * factor * shape, 20_000, 0), returns, LEVELS).mean()
        for factor in (0.8, 1.0, 1.25)
    ]
    assert scores[1] == min(scores)


def test_qlike_needs_a_target_and_a_spread() -> None:
    flat = np.zeros((1, 1, len(LEVELS)))
    assert math.isnan(metrics.qlike(flat, np.array([[1e-3]]), LEVELS)[0, 0])
    assert math.isnan(metrics.qlike(flat + LEVELS, np.array([[NAN]]), LEVELS)[0, 0])
