from __future__ import annotations

import numpy as np
import pytest

from cryptocast.models.baselines._baseline import learn_correction

N, P, H, C = 200, 3, 4, 2
RANDOM = np.random.default_rng(3)
PREDICTORS = RANDOM.normal(size=(N, P)) + 1.0
PATHS = RANDOM.normal(size=(H, P, C))
TRUTH = PREDICTORS @ np.einsum("hpc,c->ph", PATHS, [0.1, -0.05])
RATIOS = np.where(RANDOM.random((N, H)) < 0.1, np.nan, RANDOM.normal(size=(N, H)) * np.exp(TRUTH))


def slowly() -> np.ndarray:
    """[P, H] the weights by the definition: every (origin, step) a row of one regression."""
    rows, answers, counts = [], [], []
    mean = PREDICTORS.mean(axis=0)
    for step in range(H):
        known = [n for n in range(N) if not np.isnan(RATIOS[n, step])]
        typical = np.mean([abs(RATIOS[n, step]) for n in known])
        for n in known:
            rows.append((PREDICTORS[n] - mean) @ PATHS[step])
            answers.append(abs(RATIOS[n, step]) / typical - 1)
            counts.append(1 / (step + 1))
    x, y, w = np.array(rows), np.array(answers), np.array(counts)[:, None]
    found = np.linalg.solve((w * x).T @ x + 400.0 * np.eye(C), (w * x).T @ y)
    return np.stack([path @ found for path in PATHS], axis=1)


def test_the_weights_are_those_of_a_ridge_regression_of_sizes() -> None:
    found = learn_correction(PREDICTORS, PATHS, RATIOS, 1.0)
    np.testing.assert_allclose(found.weights, slowly(), atol=1e-12)


def test_a_correction_is_zero_on_average_and_bounded() -> None:
    found = learn_correction(PREDICTORS, PATHS, RATIOS, 5.0)
    np.testing.assert_allclose(found.log_scale(PREDICTORS).mean(axis=0), 0, atol=1e-12)
    found = learn_correction(PREDICTORS, PATHS, RATIOS, 0.5)
    assert np.abs(found.log_scale(1e6 * PREDICTORS)).max() == 0.5


@pytest.mark.parametrize(
    "ratios", [np.zeros((N, H)), np.full((N, H), np.nan)], ids=["nothing moved", "nothing known"]
)
def test_without_anything_to_learn_there_is_no_correction(ratios: np.ndarray) -> None:
    assert not learn_correction(PREDICTORS, PATHS, ratios, 1.0).log_scale(PREDICTORS).any()


def test_without_an_origin_there_is_no_correction() -> None:
    found = learn_correction(PREDICTORS[:0], PATHS, RATIOS[:0], 1.0)
    assert not found.log_scale(PREDICTORS).any()


def test_one_crash_does_not_rule() -> None:
    crashed = RATIOS.copy()
    crashed[50] = -1e4
    far = learn_correction(PREDICTORS, PATHS, crashed, 10.0).weights
    crashed[50] = -12.0
    np.testing.assert_array_equal(far, learn_correction(PREDICTORS, PATHS, crashed, 10.0).weights)
