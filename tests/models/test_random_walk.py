from __future__ import annotations

import numpy as np
import pytest

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.errors import ConfigError
from cryptocast.models import reference_shape
from cryptocast.models._quantiles import symmetric
from cryptocast.models.baselines._baseline import PastOrigins
from cryptocast.seams import TrainingRun
from cryptocast.values import Fitted, Windows
from support.synthetic import LEVELS, bars, windows

LAID = bars(300, 2)
TRAIN, VALIDATION = windows(LAID, 16, 150), windows(LAID, 150, 155)


def fit(train: Windows, validation: Windows) -> Fitted:
    return models.get("random_walk").fit(
        train, validation, levels=LEVELS, params={}, run=TrainingRun(0)
    )


def test_it_forecasts_the_quantiles_of_all_that_came_before() -> None:
    before = PastOrigins((TRAIN, VALIDATION)).origins.standardised
    found = Forecaster(fit(TRAIN, VALIDATION).onnx)(VALIDATION.inputs[:1])[0]
    np.testing.assert_allclose(found, symmetric(before, LEVELS), rtol=1e-6)


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
            TRAIN, VALIDATION, levels=LEVELS, params={"hidden": 3}, run=TrainingRun(0)
        )
    assert caught.value.code == "config.params"
    assert caught.value.message == "the random_walk has no parameter 'hidden'"
