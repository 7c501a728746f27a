from __future__ import annotations

import numpy as np
import pytest

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.errors import ConfigError
from cryptocast.models import _graphs, reference_shape
from cryptocast.models._quantiles import symmetric
from cryptocast.models.baselines import random_walk
from cryptocast.models.baselines._baseline import PastOrigins
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, Fitted, Windows
from models.worlds import HORIZON, LEARNED, SEEN, clustered, learned, loss, noise, parts, past
from support.synthetic import LEVELS, bars, windows

LAID = bars(300, 2)
TRAIN, VALIDATION = windows(LAID, 16, 150), windows(LAID, 150, 155)
DECAYS = ("fast_volatility", "medium_volatility", "slow_volatility")


def fit(train: Windows, validation: Windows) -> Fitted:
    return models.get("random_walk").fit(
        train, validation, levels=LEVELS, params={}, run=TrainingRun(0)
    )


def chosen(seen: PastOrigins) -> np.ndarray:
    log_scales = np.insert(seen.newest(*DECAYS), 0, 0.0, axis=1)
    return random_walk.choose(seen.origins.standardised, log_scales, seen, LEVELS)


def plain(seen: PastOrigins) -> bytes:
    """The walk in sigma's own decay."""
    return _graphs.Graph(seen.lookback).constant(symmetric(seen.origins.standardised, LEVELS))


def test_few_windows_get_the_quantiles_of_all_that_came_before() -> None:
    assert fit(TRAIN, VALIDATION).onnx == plain(PastOrigins((TRAIN, VALIDATION)))


def test_the_forecast_is_as_wide_as_the_volatility_now() -> None:
    log_returns = Forecaster(fit(TRAIN, VALIDATION).onnx).log_returns(VALIDATION)
    per_sigma = log_returns[:, 3, -1] / VALIDATION.sigma / np.sqrt(4)
    np.testing.assert_allclose(per_sigma, per_sigma[0])


def test_without_a_single_window_it_is_the_reference() -> None:
    none = windows(LAID, 0, 0)
    found = Forecaster(fit(none, none).onnx)(VALIDATION.inputs[:1])[0]
    np.testing.assert_allclose(found, reference_shape(LEVELS, 6), atol=1e-6)


def test_each_step_is_measured_in_the_volatility_that_it_chose() -> None:
    seen, unseen = past(noise()), parts(noise())[2]
    choice = chosen(seen)
    assert choice.any()
    found = Forecaster(learned("random_walk", noise()).onnx)(unseen.inputs[:50])
    for step in range(HORIZON):
        unit, now = np.ones(len(seen.origins)), np.ones(50)
        if choice[step]:
            place = FEATURES.index(DECAYS[choice[step] - 1])
            unit = np.exp(seen.newest(FEATURES[place])[:, 0])
            now = np.exp(unseen.inputs[:50, -1, place])
        ratios = seen.origins.standardised / unit[:, None]
        expected = now[:, None] * symmetric(ratios, LEVELS)[step]
        np.testing.assert_allclose(found[:, step], expected, rtol=1e-5, atol=1e-6)


def test_where_volatility_stands_still_the_slow_decays_win() -> None:
    assert (chosen(past(noise())) >= 2).mean() > 0.8
    walk, fixed = learned("random_walk", noise()).onnx, plain(past(noise()))
    gain = 1 - loss(walk, noise()) / loss(fixed, noise())
    assert gain.mean() > 0.002


def test_where_volatility_is_quick_the_fast_decay_wins() -> None:
    assert chosen(past(clustered(0.25, 0.6)))[0] == 1


def test_the_decay_is_kept_but_for_cause() -> None:
    # In these worlds sigma's own decay is about right: the best in the past is an accident.
    kept = [(chosen(past(clustered(0.06, 0.93, seed))) == 0).mean() for seed in range(20, 26)]
    assert np.mean(kept) > 0.6


def test_a_choice_needs_windows_in_every_stretch_of_time() -> None:
    before, held_out, _ = parts(noise())
    few = windows(noise(), 16, 16 + 7 * 20 - 1, horizon=HORIZON)
    assert not chosen(PastOrigins((few, held_out_of(held_out, 0)))).any()
    gone = before.targets.copy()
    gone[: len(gone) // 5] = np.nan
    assert not chosen(PastOrigins((replaced(before, gone), held_out))).any()


def held_out_of(held_out: Windows, n: int) -> Windows:
    return windows(noise(), SEEN - 1, SEEN - 1 + n, horizon=held_out.targets.shape[1])


def replaced(before: Windows, targets: np.ndarray) -> Windows:
    return Windows(
        before.inputs, before.sigma, before.log_close, before.origin, targets, before.market
    )


def test_the_stretches_are_of_time_whatever_the_order_of_the_windows() -> None:
    before, held_out, _ = parts(noise())
    np.testing.assert_array_equal(
        chosen(PastOrigins((before, held_out))), chosen(PastOrigins((held_out, before)))
    )
    assert len(before) + len(held_out) == LEARNED - 16


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
