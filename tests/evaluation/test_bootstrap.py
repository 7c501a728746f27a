from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.gate_curve import HORIZON, against, noise, promoted
from cryptocast.config import GateSettings
from cryptocast.evaluation.comparison import (
    Resampling,
    block_length,
    bounds,
    resampled_sums,
    standard_error,
    stretch,
)
from cryptocast.values import FloatArray

SERIES = 200


def slowly(values: FloatArray, plan: Resampling) -> FloatArray:
    """The same draws, block by block and row by row."""
    n = len(values)
    draws = -(-n // plan.block)
    starts = np.random.default_rng(plan.seed).integers(0, n, (plan.resamples, draws))
    rows = [
        [np.nan_to_num(values[(s + i) % n]) for s in each for i in range(plan.block)]
        for each in starts.tolist()
    ]
    return np.array([np.sum(row, axis=0) for row in rows]) * n / (draws * plan.block)


@given(st.integers(2, 40), st.integers(1, 60), st.integers(1, 3), st.integers(0, 99))
def test_resampled_sums_are_those_of_a_slow_loop(
    n: int, block: int, columns: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(n, columns))
    values[random.random(values.shape) < 0.1] = np.nan
    plan = Resampling.of(n, block, 5)
    np.testing.assert_allclose(resampled_sums(values, plan), slowly(values, plan), atol=1e-9)


@given(st.integers(2, 500), st.integers(1, 500))
def test_a_series_always_holds_two_blocks(n: int, block: int) -> None:
    plan = Resampling.of(n, block, 100)
    assert 1 <= plan.block <= block
    assert plan.blocks >= 2


def test_columns_are_resampled_together() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    drawn = resampled_sums(np.hstack([values, 2 * values]), Resampling.of(50, 5, 100))
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0])


def test_the_same_series_gives_the_same_bounds() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1))
    plan = Resampling.of(50, 5, 100)
    np.testing.assert_array_equal(resampled_sums(values, plan), resampled_sums(values, plan))


def test_blocks_are_twice_the_overlap_and_grow_with_the_series() -> None:
    assert [block_length(n, 24) for n in (24, 312, 200_000)] == [48, 48, 59]
    assert [block_length(n, 1) for n in (24, 1000)] == [3, 10]


def test_few_blocks_stretch_the_bounds_by_students_t() -> None:
    assert stretch(Resampling(96, 48, 100), 0.9) == pytest.approx(
        np.sqrt(2) * stats.t.ppf(0.9, 1) / stats.norm.ppf(0.9)
    )
    assert stretch(Resampling(48_000, 48, 100), 0.9) == pytest.approx(1, abs=2e-3)


def test_the_standard_error_of_independent_values_is_the_textbooks() -> None:
    values = np.random.default_rng(1).normal(size=(400, 1))
    plan = Resampling.of(400, 1, 4000)
    found = standard_error(resampled_sums(values, plan)[:, 0] / 400, plan)
    assert found == pytest.approx(values.std(ddof=1) / 20, rel=0.05)


def missed(series: FloatArray, block: int) -> float:
    """The share of series [S, N] of mean 0 whose 90 % interval does not hold it."""
    n = series.shape[1]
    plan = Resampling.of(n, block, 300)
    count = 0
    for one in series:
        drawn = resampled_sums(one[:, None], plan)[:, 0] / n
        low, high = bounds(float(one.mean()), drawn, plan, 0.95)
        count += not low <= 0 <= high
    return count / len(series)


def overlapping(shared: int, n: int) -> FloatArray:
    """[SERIES, n] differences of which neighbours share all shocks but one."""
    shocks = np.random.default_rng(shared).normal(size=(SERIES, n + shared))
    total = np.cumsum(shocks, axis=1)
    return np.asarray(total[:, shared:] - total[:, :-shared])


def autoregressive(n: int) -> FloatArray:
    random = np.random.default_rng(5)
    series = random.normal(size=(SERIES, n + 50))
    for t in range(1, n + 50):
        series[:, t] += 0.3 * series[:, t - 1]
    return series[:, 50:]


# With 200 series the standard error of a share of 0.1 is 0.02. Blocks of twice the overlap cut
# off a little of what neighbours share: where targets overlap, 11 to 17 % are missed, not 10 %.
@pytest.mark.parametrize(
    ("series", "overlap"),
    [
        (overlapping(1, 300), 1),
        (autoregressive(300), 1),
        (overlapping(6, 300), 6),
        (overlapping(24, 300), 24),
        (noise(np.random.default_rng(3), SERIES, 312), 24),
    ],
    ids=["independent", "autoregressive", "6 steps", "24 steps", "the gate's noise"],
)
def test_an_interval_of_90_percent_is_nearly_that(series: FloatArray, overlap: int) -> None:
    assert 0.03 <= missed(series, block_length(series.shape[1], overlap)) <= 0.20


def test_a_short_series_says_little_rather_than_too_much() -> None:
    # Two blocks shorter than they should be: the bounds are wide, not wrong.
    short = noise(np.random.default_rng(4), SERIES, 60)
    assert missed(short, 48) <= 0.15


RULE = GateSettings(resamples=200)


def test_the_gate_keeps_out_what_is_two_percent_worse_and_lets_in_what_is_one_better() -> None:
    # The requirement: at most 5 %, and at least 80 %. `gate_curve.py` finds 0 % and 93 %.
    noises = against(np.random.default_rng(1), 1, 150, 2000)
    assert promoted(-0.02, noises, RULE) <= 0.02
    assert promoted(0.01, noises, RULE) >= 0.84


def test_a_week_cannot_tell_one_percent_from_none() -> None:
    noises = against(np.random.default_rng(2), 1, 150, 312)
    shares = [promoted(skill, noises, RULE) for skill in (-0.02, 0.0, 0.01)]
    assert shares[0] <= 0.10
    assert 0.2 <= shares[1] <= 0.45
    assert 0.4 <= shares[2] <= 0.7


def test_the_simulated_noise_is_the_measured_one() -> None:
    series = noise(np.random.default_rng(6), 400, 576)
    assert series.mean(axis=1).std() == pytest.approx(0.013, rel=0.15)
    assert series.std() == pytest.approx(0.075, rel=0.15)
    assert HORIZON == 24
