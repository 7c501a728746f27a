from __future__ import annotations

import numpy as np
import pytest

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.errors import ConfigError
from cryptocast.models import reference_shape, symmetric
from cryptocast.values import Fitted, Windows
from synthetic import LEVELS, bars, windows

LAID = bars(300, 2)
TRAIN, VALIDATION = windows(LAID, 16, 200), windows(LAID, 200, 300)


def fit(train: Windows, validation: Windows) -> Fitted:
    return models.get("random_walk").fit(
        train, validation, levels=LEVELS, params={}, seed=0, on_epoch=None
    )


def test_every_window_gets_the_quantiles_of_all_that_came_before() -> None:
    both = Windows.concatenate([TRAIN, VALIDATION])
    found = Forecaster(fit(TRAIN, VALIDATION).onnx)(VALIDATION.inputs)
    expected = symmetric(both.standardised, LEVELS).astype(np.float32)
    np.testing.assert_array_equal(found, np.tile(expected, (len(VALIDATION), 1, 1)))


def test_the_forecast_is_as_wide_as_the_volatility_now() -> None:
    log_returns = Forecaster(fit(TRAIN, VALIDATION).onnx).log_returns(VALIDATION)
    per_sigma = log_returns[:, 3, -1] / VALIDATION.sigma / np.sqrt(4)
    np.testing.assert_allclose(per_sigma, per_sigma[0])


def test_without_a_single_window_it_is_the_reference() -> None:
    none = windows(LAID, 0, 0)
    found = Forecaster(fit(none, none).onnx)(VALIDATION.inputs[:1])[0]
    np.testing.assert_allclose(found, reference_shape(LEVELS, 6), atol=1e-6)


def test_it_has_no_history_and_nothing_to_tune() -> None:
    model = models.get("random_walk")
    assert fit(TRAIN, VALIDATION).history == ()
    assert dict(model.defaults()) == {}
    assert model.least_bars(64, 24) == 1


def test_it_has_no_parameter() -> None:
    with pytest.raises(ConfigError) as caught:
        models.get("random_walk").fit(
            TRAIN, VALIDATION, levels=LEVELS, params={"hidden": 3}, seed=0
        )
    assert caught.value.code == "config.params"
    assert caught.value.message == "the random_walk has no parameter 'hidden'"
