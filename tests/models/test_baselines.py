"""Each baseline against a slow reading of its own definition, and in a world that suits it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.dataset.averages import DECAY
from cryptocast.models._quantiles import spread, symmetric
from cryptocast.models.baselines import ar1, har, seasonal
from cryptocast.models.baselines._baseline import learn_correction
from cryptocast.values import FEATURES, Fitted, Windows
from models.worlds import (
    HORIZON,
    echoing,
    hourly,
    layered,
    learned,
    noise,
    parts,
    past,
    skill,
)
from support.synthetic import LEVELS

BASELINES = models.baseline_kinds()
SEEN = 25  # windows that the slow loops go through


def answers(fitted: Fitted, unseen: Windows) -> np.ndarray:
    return Forecaster(fitted.onnx)(unseen.inputs[:SEEN])


def of(window: np.ndarray, name: str) -> np.ndarray:
    """[L] a feature of one window."""
    return window[:, FEATURES.index(name)]


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("seed", [4, 40])
def test_in_pure_noise_nothing_loses_much(kind: str, seed: int) -> None:
    found = skill(kind, noise(seed))
    assert found[0] > -0.01
    assert found.mean() > -0.01


@pytest.mark.parametrize("kind", sorted(set(BASELINES) - {"ar1"}))
def test_the_median_is_the_last_price(kind: str) -> None:
    assert (answers(learned(kind, layered()), parts(layered())[2])[..., 9] == 0).all()


def test_constant_is_as_wide_whatever_the_volatility_now() -> None:
    unseen = parts(layered())[2]
    found = Forecaster(learned("constant", layered()).onnx).log_returns(unseen)
    assert unseen.sigma.max() > 3 * unseen.sigma.min()
    np.testing.assert_allclose(found, np.broadcast_to(found[0], found.shape), rtol=1e-3, atol=1e-9)
    targets = np.concatenate([w.targets for w in parts(layered())[:2]])
    expected = np.nanquantile(np.abs(targets), 0.9, axis=0)
    np.testing.assert_allclose(found[0, :, 18], expected, rtol=1e-3)


def test_constant_is_right_where_volatility_stands_still() -> None:
    assert skill("constant", noise()).mean() > 0


def test_ar1_expects_the_echo_of_the_last_return() -> None:
    world = echoing(-0.4)
    ratios, returns = past(world).origins.standardised, past(world).newest("return")[:, 0]
    pairs = [(a, b) for a, b in zip(returns, ratios[:, 0], strict=True) if not np.isnan(b)]
    slope = sum(a * b for a, b in pairs) / sum(a * a for a, _ in pairs)
    expected = [slope * (1 - slope**h) / (1 - slope) / math.sqrt(h) for h in range(1, HORIZON + 1)]
    base = symmetric(ratios - returns[:, None] * np.array(expected), LEVELS)
    unseen = parts(world)[2]
    for window, found in zip(unseen.inputs, answers(learned("ar1", world), unseen), strict=False):
        shift = of(window, "return")[-1] * np.array(expected)
        np.testing.assert_allclose(found, base + shift[:, None], atol=1e-5)


@pytest.mark.parametrize("slope", [-0.4, 0.3])
def test_ar1_wins_where_returns_echo(slope: float) -> None:
    world = echoing(slope)
    ratios, returns = past(world).origins.standardised, past(world).newest("return")
    assert ar1.phi(returns[:, 0], ratios[:, 0]) == pytest.approx(slope, abs=0.06)
    assert skill("ar1", world)[0] > 0.03
    assert skill("ar1", world).mean() > 0.005


def test_ar1_takes_no_trend_for_an_echo() -> None:
    up = np.ones(50)
    assert ar1.phi(up, 2 * up) == 0.9
    assert ar1.phi(up, -2 * up) == -0.9
    assert ar1.phi(0 * up, up) == 0.0
    assert ar1.phi(up, np.full(50, np.nan)) == 0.0


def test_the_season_is_its_mean_ahead_less_what_sigma_remembers() -> None:
    weights = np.random.default_rng(1).normal(size=4)
    bar, horizon = 3_600, 6

    def log_season(seconds: float) -> float:
        angle = 2 * math.pi * seconds / 86_400
        waves = (math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle))
        return float(np.dot(weights, waves))

    found = seasonal.paths(horizon, bar)
    for origin in range(0, 86_400, 7 * 3_600):
        angle = 2 * math.pi * origin / 86_400
        clock = [math.sin(angle), math.cos(angle), math.sin(2 * angle), math.cos(2 * angle)]
        kept = [DECAY**age * log_season(origin - age * bar) for age in range(600)]
        for step in range(1, horizon + 1):
            ahead = np.mean([log_season(origin + j * bar) for j in range(1, step + 1)])
            expected = ahead - (1 - DECAY) * sum(kept)
            assert clock @ found[step - 1] @ weights == pytest.approx(expected, abs=1e-9)
    assert seasonal.SIGMA_DECAY == DECAY


@pytest.mark.parametrize("bar_seconds", [0, 86_400])
def test_a_bar_of_a_day_has_no_season(bar_seconds: int) -> None:
    assert np.abs(seasonal.paths(5, bar_seconds)).max() < 1e-12


def test_seasonal_widens_by_the_clock() -> None:
    world = hourly(0.8)
    clock = past(world).newest("day_sin", "day_cos")
    angles = np.arctan2(clock[:, 0], clock[:, 1])

    def waves(angle: np.ndarray) -> np.ndarray:
        return np.stack([f(k * angle) for k in (1, 2) for f in (np.sin, np.cos)], axis=-1)

    ratios = past(world).origins.standardised
    fixed = learn_correction(waves(angles), seasonal.paths(HORIZON, 300), ratios, 0.7)
    base = symmetric(ratios / np.exp(fixed.log_scale(waves(angles))), LEVELS)
    unseen = parts(world)[2]
    for window, found in zip(
        unseen.inputs, answers(learned("seasonal", world), unseen), strict=False
    ):
        now = np.arctan2(of(window, "day_sin")[-1], of(window, "day_cos")[-1])
        scale = np.exp(fixed.log_scale(waves(now[None])))[0]
        np.testing.assert_allclose(found, spread(base * scale[:, None]), rtol=1e-4, atol=1e-5)


def test_seasonal_wins_where_volatility_has_its_hours() -> None:
    found = skill("seasonal", hourly(0.8))
    assert found[0] > 0.003
    assert found.mean() > 0.008


def test_har_widens_by_the_spans() -> None:
    world = layered()
    ratios, spans = past(world).origins.standardised, past(world).newest(*har.SPANS)
    fixed = learn_correction(spans, har.paths(HORIZON), ratios, 0.4)
    base = symmetric(ratios / np.exp(fixed.log_scale(spans)), LEVELS)
    unseen = parts(world)[2]
    for window, found in zip(unseen.inputs, answers(learned("har", world), unseen), strict=False):
        for step in range(HORIZON):
            say = sum(
                of(window, span)[-1] * fixed.weights[i, step] for i, span in enumerate(har.SPANS)
            )
            scale = math.exp(min(max(say - fixed.centre[step], -0.4), 0.4))
            expected = spread(base[step] * scale)
            np.testing.assert_allclose(found[step], expected, rtol=1e-4, atol=1e-5)


def test_har_wins_where_volatility_has_layers() -> None:
    found = skill("har", layered())
    assert found[0] > 0.002
    assert found.mean() > 0.002


def test_a_weight_of_har_runs_smoothly_over_the_steps() -> None:
    found, spans = har.paths(8), len(har.SPANS)
    assert found.shape == (8, spans, 3 * spans)
    np.testing.assert_allclose(found[0, 2, 6:9], [1, -1, 1])
    np.testing.assert_allclose(found[-1, 2, 6:9], [1, 1, 1])
    assert har.paths(1).shape == (1, spans, 3 * spans)
