from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from cryptocast.evaluation import crps_bp
from cryptocast.models import reference_shape
from cryptocast.models._quantiles import MIN_STEP, crps, reference, spread, symmetric
from support.synthetic import LEVELS

odd_levels = st.integers(1, 30).map(
    lambda k: tuple(round(i / (2 * k + 2), 9) for i in range(1, 2 * k + 2))
)
values = arrays.arrays(
    np.float64,
    st.tuples(st.integers(0, 60), st.integers(1, 4)),
    elements=st.floats(-50, 50) | st.just(float("nan")),
)


@given(values, odd_levels)
def test_quantiles_are_apart_symmetric_and_zero_in_the_middle(
    found: np.ndarray, levels: tuple[float, ...]
) -> None:
    quantiles = symmetric(found, levels)
    assert quantiles.shape == (found.shape[1], len(levels))
    assert (np.diff(quantiles, axis=1) >= MIN_STEP * (1 - 1e-9)).all()
    assert (quantiles[:, len(levels) // 2] == 0).all()
    np.testing.assert_allclose(quantiles, -quantiles[:, ::-1], atol=1e-9)


@given(values, odd_levels)
def test_the_sign_of_what_was_seen_does_not_matter(
    found: np.ndarray, levels: tuple[float, ...]
) -> None:
    np.testing.assert_array_equal(symmetric(found, levels), symmetric(-found, levels))


def test_enough_values_give_their_own_quantiles() -> None:
    seen = np.random.default_rng(1).normal(size=(50_000, 2)) * np.array([1.0, 2.0])
    expected = stats.norm.ppf(LEVELS)
    np.testing.assert_allclose(symmetric(seen, LEVELS), [expected, 2 * expected], atol=0.06)


def test_a_step_with_too_few_targets_of_its_own_takes_the_shape_before() -> None:
    seen = np.random.default_rng(1).normal(size=(59, 3))
    found = symmetric(seen, LEVELS)  # 20 a step are needed: 59 are enough for two
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[1], found[2])
    np.testing.assert_array_equal(symmetric(seen[:19], LEVELS), reference_shape(LEVELS, 3))


def test_the_crps_is_that_of_the_evaluation() -> None:
    seen = np.random.default_rng(1).normal(size=(30, 2))
    seen[4, 1] = np.nan
    quantiles = reference_shape(LEVELS, 2)
    expected = crps_bp(np.broadcast_to(quantiles, (30, 2, 19)), seen, LEVELS) / 1e4
    np.testing.assert_allclose(crps(quantiles, seen, LEVELS), expected, rtol=1e-12)


def test_the_reference_is_students_t_of_unit_variance() -> None:
    expected = stats.t.ppf(LEVELS, 4) / np.sqrt(2)
    np.testing.assert_allclose(reference(LEVELS), expected, atol=1e-12)
    assert reference_shape(LEVELS, 5).shape == (5, 19)
    assert (reference_shape(LEVELS, 5) == reference_shape(LEVELS, 5)[0]).all()


@given(odd_levels)
def test_the_reference_is_finite_and_ordered_for_all_levels(levels: tuple[float, ...]) -> None:
    assert (np.diff(reference(levels)) > 0).all()


@given(
    arrays.arrays(np.float64, (3, 7), elements=st.floats(-5, 5)).map(
        lambda rows: np.sort(rows, axis=1)
    )
)
def test_spreading_never_moves_the_median_and_never_narrows(rows: np.ndarray) -> None:
    found = spread(rows)
    np.testing.assert_array_equal(found[:, 3], rows[:, 3])
    assert (np.diff(found, axis=1) >= np.maximum(np.diff(rows, axis=1), MIN_STEP) - 1e-12).all()
    np.testing.assert_allclose(spread(found), found, atol=1e-12)


def test_quantiles_that_are_apart_stay_as_they_are() -> None:
    apart = np.array([[-3.0, -1.0, 0.0, 0.5, 9.0]])
    np.testing.assert_allclose(spread(apart), apart, atol=1e-12)
    assert spread(np.zeros((1, 3))).tolist() == [[-MIN_STEP, 0.0, pytest.approx(MIN_STEP)]]
