from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from cryptocast import models
from cryptocast.bundles import Forecaster
from cryptocast.models import _graphs
from cryptocast.models._encoders import Encoder
from cryptocast.models._network import Network, to_onnx
from cryptocast.models._shape import Shape
from cryptocast.models.baselines._baseline import Correction
from cryptocast.values import FEATURES

LOOKBACK, HORIZON, LEVELS = 12, 6, 5
RANDOM = np.random.default_rng(7)
START = Correction(RANDOM.normal(size=(len(FEATURES), HORIZON)), np.ones(HORIZON), 0.4)


KINDS: dict[str, type[Encoder]] = {
    kind: models.get(kind).encoder()  # type: ignore[attr-defined]  # what correctors have besides
    for kind in ("lstm", "gru", "tcn")
}


def network(
    layers: int, hidden: int = 16, seed: int = 0, features: str = "usual", kind: str = "lstm"
) -> Network:
    """A network with weights as a training might leave them: none is zero."""
    # Wide enough that the graph, which keeps quantiles apart, need not do so.
    base = np.linspace(-2, 2, LEVELS) * np.random.default_rng(seed).uniform(0.5, 2, (HORIZON, 1))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = Shape(hidden=hidden, layers=layers, features=features)
        made = Network(KINDS[kind], shape, base, 0.15)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        made.centre.copy_(torch.randn(HORIZON) * 0.1)
        made.shrink.fill_(0.75)
    return made.eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("windows", [1, 3, 200])
def test_the_graph_equals_the_network_in_torch(kind: str, layers: int, windows: int) -> None:
    made = network(layers, seed=layers, kind=kind)
    inputs = np.random.default_rng(layers).uniform(-8, 8, (windows, LOOKBACK, len(FEATURES)))
    start = torch.tensor(START.log_scale(inputs[:, -1]), dtype=torch.float32)
    with torch.no_grad():
        expected = made(torch.tensor(inputs[..., made.places], dtype=torch.float32), start).numpy()
    graph = to_onnx(made, START, made.base.numpy(), LOOKBACK)
    # The states of convolutions have no bound: their sums round more.
    rtol = 5e-5 if kind == "tcn" else 1e-5
    np.testing.assert_allclose(Forecaster(graph)(inputs), expected, rtol=rtol, atol=5e-6)


def test_the_correction_is_bounded_however_wild_the_window() -> None:
    made = network(1)
    inputs = np.full((1, LOOKBACK, len(FEATURES)), 8.0)
    outermost = made.base.numpy()[:, -1]
    answer = Forecaster(to_onnx(made, START, made.base.numpy(), LOOKBACK))(inputs)
    ratio = answer[..., -1] / outermost
    assert (np.abs(np.log(ratio)) <= START.bound + 0.75 * made.bound + 1e-6).all()


def test_a_constant_answers_every_window_alike() -> None:
    quantiles = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.5]])
    forecaster = Forecaster(_graphs.Graph(LOOKBACK).constant(quantiles))
    for windows in (0, 1, 5):
        found = forecaster(np.zeros((windows, LOOKBACK, len(FEATURES))))
        np.testing.assert_array_equal(found, np.tile(quantiles, (windows, 1, 1)))


def test_more_windows_than_go_at_once_are_answered_in_order() -> None:
    made = network(1, hidden=4)
    forecaster = Forecaster(to_onnx(made, START, made.base.numpy(), LOOKBACK))
    inputs = np.random.default_rng(1).normal(size=(5_000, LOOKBACK, len(FEATURES)))
    found = forecaster(inputs)
    assert found.shape == (5_000, HORIZON, LEVELS)
    np.testing.assert_allclose(forecaster(inputs[4_990:]), found[4_990:], atol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_a_graph_is_plain_onnx_with_named_ends(layers: int) -> None:
    made = (
        to_onnx(network(layers), START, np.zeros((HORIZON, LEVELS)), LOOKBACK)
        if layers
        else _graphs.Graph(LOOKBACK).constant(np.zeros((HORIZON, LEVELS)))
    )
    model = onnx.load_from_string(made)
    onnx.checker.check_model(model, full_check=True)
    ends = {
        end.name: [d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim]
        for end in (*model.graph.input, *model.graph.output)
    }
    assert ends == {"inputs": ["N", LOOKBACK, len(FEATURES)], "quantiles": ["N", HORIZON, LEVELS]}
    assert {node.domain for node in model.graph.node} == {""}


def test_the_same_network_gives_the_same_bytes() -> None:
    one, other = (to_onnx(m, START, m.base.numpy(), LOOKBACK) for m in (network(2), network(2)))
    assert one == other


def test_the_graph_looks_at_no_feature_but_those_that_it_is_told_to() -> None:
    made = network(1, features="range, place")
    blind = Correction(np.zeros_like(START.weights), START.centre, START.bound)
    model = Forecaster(to_onnx(made, blind, made.base.numpy(), LOOKBACK))
    inputs = np.random.default_rng(0).uniform(-2, 2, (5, LOOKBACK, len(FEATURES)))
    whole = model(inputs)
    seen = [FEATURES.index(name) for name in ("range", "place")]
    inputs[..., [i for i in range(len(FEATURES)) if i not in seen]] = 3.0
    np.testing.assert_array_equal(model(inputs), whole)
    inputs[..., seen[0]] += 1.0
    assert (model(inputs) != whole).any()
