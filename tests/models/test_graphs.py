from __future__ import annotations

import numpy as np
import pytest

from cryptocast.bundles import Forecaster
from cryptocast.models._graphs import Graph
from cryptocast.models._quantiles import MIN_STEP, reference_shape, spread
from cryptocast.values import FEATURES
from support.synthetic import LEVELS

LOOKBACK, HORIZON = 5, 4
BASE = reference_shape(LEVELS, HORIZON) * np.linspace(0.5, 2, HORIZON)[:, None]
INPUTS = np.random.default_rng(1).uniform(-8, 8, (40, LOOKBACK, len(FEATURES)))
WEIGHTS = np.random.default_rng(2).normal(size=(len(FEATURES), HORIZON)) * 0.2


def stretched() -> Forecaster:
    graph = Graph(LOOKBACK)
    return Forecaster(graph.stretched(BASE, graph.MatMul(graph.newest(), graph.fixed(WEIGHTS))))


def test_stretched_quantiles_are_the_base_times_the_scale_and_apart() -> None:
    scale = np.exp(INPUTS[:, -1] @ WEIGHTS)
    assert scale.min() < 0.01  # so that the least step matters
    np.testing.assert_allclose(
        stretched()(INPUTS), spread(BASE * scale[..., None]), rtol=2e-5, atol=2e-6
    )


def test_the_median_of_stretched_quantiles_is_exactly_zero() -> None:
    found = stretched()(INPUTS)
    assert (found[..., 9] == 0).all()
    assert (np.diff(found, axis=-1) >= MIN_STEP * (1 - 1e-3)).all()


def test_shifted_quantiles_are_the_base_and_the_shift() -> None:
    graph = Graph(LOOKBACK)
    made = graph.shifted(BASE, graph.MatMul(graph.newest(), graph.fixed(WEIGHTS)))
    expected = BASE + (INPUTS[:, -1] @ WEIGHTS)[..., None]
    np.testing.assert_allclose(Forecaster(made)(INPUTS), expected, atol=1e-5)


def test_features_are_found_by_their_names() -> None:
    graph = Graph(LOOKBACK)
    sums = graph.ReduceSum(graph.feature("level"), keepdims=1)
    places = graph.Add(graph.Mul(sums, graph.fixed(0.0)), graph.newest_feature("place"))
    made = graph.shifted(BASE[:1], places)
    found = Forecaster(made)(INPUTS)[:, 0, 9]
    np.testing.assert_allclose(found, INPUTS[:, -1, FEATURES.index("place")], rtol=1e-6)


def test_what_is_no_operator_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="gather"):
        Graph(LOOKBACK).gather  # noqa: B018 - asking for it is the test
