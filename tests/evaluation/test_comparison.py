from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cryptocast.evaluation.comparison import (
    diebold_mariano,
    effective_n,
    long_run_variance,
    wilson,
)


def slowly(difference: list[float], step: int) -> float | None:
    """The test as the papers write it: autocovariances one by one."""
    d = [x for x in difference if not math.isnan(x)]
    n = len(d)
    if n < 8 or n <= step:
        return None
    mean = sum(d) / n
    most = min(max(step - 1, int(4 * (n / 100) ** (2 / 9))), n - 1)

    def autocovariance(k: int) -> float:
        return sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n

    long_run = autocovariance(0) + 2 * sum(
        (1 - k / (most + 1)) * autocovariance(k) for k in range(1, most + 1)
    )
    small_sample = (n + 1 - 2 * step + step * (step - 1) / n) / n
    if long_run <= 0 or small_sample <= 0:
        return None
    statistic = math.sqrt(small_sample) * mean / math.sqrt(long_run / n)
    return float(1 - stats.t.cdf(statistic, n - 1))


@given(st.integers(0, 2**32 - 1), st.integers(0, 120), st.integers(1, 24))
def test_it_is_the_test_that_the_papers_write_down(seed: int, n: int, step: int) -> None:
    random = np.random.default_rng(seed)
    difference = random.normal(0.1, 1, n + 3)[3:] + random.normal(0, 1)
    difference[random.random(n) < 0.1] = np.nan
    found, expected = diebold_mariano(difference, step), slowly(difference.tolist(), step)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


def lucky(step: int, shocks_of_a_target: int) -> float:
    """The share of 400 pairs of equal forecasts whose p-value is below 5 %."""
    found = []
    for seed in range(400):
        shocks = np.random.default_rng(seed).normal(size=300 + shocks_of_a_target - 1)
        # Targets overlap: neighbouring differences share all shocks but one.
        difference = np.convolve(shocks, np.ones(shocks_of_a_target), "valid")
        found.append(diebold_mariano(difference, step))
    return float(np.mean([p is not None and p < 0.05 for p in found]))


@pytest.mark.parametrize("step", [1, 6, 24])
def test_of_two_equal_forecasts_one_in_twenty_looks_better_by_luck(step: int) -> None:
    assert 0.02 <= lucky(step, 1) <= 0.09


@pytest.mark.parametrize("step", [6, 24])
def test_overlapping_targets_hardly_make_luck_look_like_skill(step: int) -> None:
    # Bartlett weights taper what neighbours share: about 10 % instead of 5 %. Without the lags
    # that the step asks for it would be 24 %.
    assert 0.02 <= lucky(step, step) <= 0.13


def test_a_model_that_is_better_is_found_to_be() -> None:
    better = np.random.default_rng(1).normal(0.3, 1, 300)
    p_value = diebold_mariano(better, 1)
    worse = diebold_mariano(-better, 1)
    assert p_value is not None
    assert worse is not None
    assert p_value < 1e-4
    assert p_value + worse == pytest.approx(1)


def test_the_unit_of_the_loss_does_not_matter() -> None:
    loss = np.random.default_rng(2).normal(0.1, 1, 100)
    assert diebold_mariano(loss, 3) == pytest.approx(diebold_mariano(loss * 1e4, 3))


@pytest.mark.parametrize(
    ("difference", "step"),
    [
        ([], 1),
        ([1.0, 2.0] * 3 + [1.0], 1),  # seven
        ([float("nan")] * 50, 1),
        ([0.0] * 50, 1),  # the same forecasts
        ([1.0, 2.0, 4.0] * 8, 288),  # targets that all overlap
    ],
)
def test_too_little_to_tell_gives_no_p_value(difference: list[float], step: int) -> None:
    assert diebold_mariano(np.array(difference, dtype=float), step) is None


def test_independent_origins_count_fully_and_overlapping_ones_less() -> None:
    shocks = np.random.default_rng(3).normal(size=4023)
    alone, shared = shocks[:4000], np.convolve(shocks, np.ones(24), "valid")[:4000]
    assert effective_n(alone, 1) == pytest.approx(4000, rel=0.1)
    # Bartlett weights see about two thirds of what 24 neighbours share: 1 in 16, not 1 in 24.
    assert effective_n(shared, 24) == pytest.approx(4000 / 16, rel=0.3)


def test_the_effective_number_is_never_above_the_number_and_leaves_nan_out() -> None:
    alternating = np.array([1.0, -1.0] * 20 + [float("nan")] * 5)
    assert effective_n(alternating, 1) == 40
    assert effective_n(np.array([1.0] * 7), 1) is None
    assert effective_n(np.zeros(50), 1) is None


def test_the_long_run_variance_of_what_is_all_the_same_is_none() -> None:
    assert long_run_variance(np.ones(50), 6) is None


@given(st.floats(0, 1), st.floats(0.5, 1e4))
def test_wilsons_interval_holds_the_share(share: float, n: float) -> None:
    low, high = wilson(share, n, 0.9)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_wilsons_interval_is_that_of_scipy() -> None:
    expected = stats.binomtest(27, 50).proportion_ci(0.9, "wilson")
    assert wilson(27 / 50, 50, 0.9) == pytest.approx((expected.low, expected.high))
