from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
from arch.univariate import ZeroMean
from arch.univariate.base import ARCHModelResult

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.models._quantiles import spread, symmetric
from cryptocast.models.baselines import garch
from cryptocast.models.baselines._baseline import PastOrigins
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, LEVEL_UNIT
from models.worlds import HORIZON, clustered, learned, noise, parts, past, skill
from support.synthetic import LEVELS

SEEN = 25  # windows that the slow loops go through


def of(window: np.ndarray, name: str) -> np.ndarray:
    """[L] a feature of one window."""
    return window[:, FEATURES.index(name)]


def slow_variances(law: garch.Law, window: np.ndarray) -> list[float]:
    """The expected variance of each bar ahead, bar by bar, as the definition says."""
    sigma = LEVEL_UNIT * np.exp(of(window, "level"))
    variance = sigma[0] ** 2
    for bar in range(len(window)):
        moved = variance_of(window, bar, sigma[bar])
        variance = law.omega * LEVEL_UNIT**2 + law.alpha * moved + law.beta * variance
    found = [variance]
    for _ in range(HORIZON - 1):
        found.append(law.omega * LEVEL_UNIT**2 + (law.alpha + law.beta) * found[-1])
    return found


def variance_of(window: np.ndarray, bar: int, sigma: float) -> float:
    if of(window, "missing")[bar]:
        return float(sigma**2)
    return float((of(window, "return")[bar] * sigma) ** 2)


def test_garch_is_as_wide_as_its_recursion_says() -> None:
    world = clustered(0.25, 0.6)
    seen, unseen = past(world), parts(world)[2]
    law = garch.estimate(garch.returns(seen))
    assert law is not None
    base = symmetric(seen.origins.standardised / np.exp(law.log_scale(seen, HORIZON)), LEVELS)
    holes = unseen.inputs[:SEEN].copy()
    holes[:, 5, FEATURES.index("return")] = 0.0
    holes[:, 5, FEATURES.index("missing")] = 1.0
    found = Forecaster(learned("garch", world).onnx)(holes)
    for window, quantiles in zip(holes, found, strict=True):
        sigma = LEVEL_UNIT * math.exp(of(window, "level")[-1])
        sums = np.cumsum(slow_variances(law, window))
        scale = np.sqrt(sums / np.arange(1, HORIZON + 1)) / sigma
        np.testing.assert_allclose(quantiles, spread(base * scale[:, None]), rtol=1e-4, atol=1e-5)


def test_garch_finds_the_law_and_wins_in_its_world() -> None:
    law = garch.estimate(garch.returns(past(clustered(0.25, 0.6))))
    assert law is not None
    assert law.alpha == pytest.approx(0.25, abs=0.08)
    assert law.beta == pytest.approx(0.6, abs=0.12)
    assert law.omega == pytest.approx(0.15, abs=0.08)
    found = skill("garch", clustered(0.25, 0.6))
    assert found[0] > 0.003
    assert found.mean() > 0.003


def test_garch_reads_the_returns_market_after_market_and_closes_gaps_up() -> None:
    before, held_out, _ = parts(noise())
    targets = held_out.targets.copy()
    targets[3, 0] = np.nan
    holed = dataclasses.replace(held_out, targets=targets)
    expected = np.concatenate([before.targets[:, 0], targets[:, 0]]) / LEVEL_UNIT
    found = garch.returns(PastOrigins((holed, before)))
    np.testing.assert_array_equal(found, expected[np.isfinite(expected)])
    other = dataclasses.replace(before, market=before.market + 1)
    both = garch.returns(PastOrigins((other, before)))
    np.testing.assert_array_equal(both[: len(both) // 2], both[len(both) // 2 :])


def test_garch_has_no_law_for_too_few_or_unmoving_returns() -> None:
    moves = np.random.default_rng(1).normal(size=250)
    assert garch.estimate(moves) is not None
    assert garch.estimate(moves[:249]) is None
    assert garch.estimate(np.zeros(1_000)) is None
    assert garch.estimate(np.array([])) is None


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, np.linalg.LinAlgError])
def test_garch_without_a_law_answers_as_the_random_walk_and_says_so(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ZeroMean, "fit", fail)
    before, held_out, _ = parts(noise())
    model = models.get("garch")
    found = model.fit(before, held_out, levels=LEVELS, params={}, run=TrainingRun(0))
    assert found.onnx == learned("random_walk", noise()).onnx
    assert found.kind == "garch"
    assert dict(found.params) == {"fallback": "random_walk"}
    # A training can be repeated with what it told.
    again = model.fit(before, held_out, levels=LEVELS, params=found.params, run=TrainingRun(0))
    assert again == found


def test_a_fit_that_does_not_converge_is_no_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHModelResult, "convergence_flag", 9)
    assert garch.estimate(np.random.default_rng(1).normal(size=500)) is None


def test_a_fit_leaves_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    garch.estimate(np.random.default_rng(1).normal(size=500))
    assert list(warnings.filters) == before
