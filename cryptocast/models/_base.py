"""The base network: how far the price may move, from the newest bar's features alone.

It is a perceptron over the volatilities of several spans, the bar's own move, its volume, the
clock, and what is usual at the times of day that come next. What the last month says is added for
the later steps. It is trained once over many markets
(`models._pretraining`) and read back from the named tensors of its ONNX graph. It needs neither
torch nor a window: the spans hold the memory, and if few bars came before, they are seeded from
those.

An LSTM over the window beside it gained at most 0.1 % of CRPS on candles of other times and years
(`make ablation`): the newest bar's features hold what a window of 64 says about volatility.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cryptocast.models import _quantiles
from cryptocast.models._graphs import Graph
from cryptocast.values import FEATURES, FloatArray

MONTH = tuple(name for name in FEATURES if name.startswith(("volatility_", "walk_")))
"""What the last month says: it bears on the later steps alone, in proportion, not on the first.

The network proper does not hear it: one that did lost up to 0.07 % at step 1 (`make ablation`).
"""

COLUMNS = (
    *FEATURES[: FEATURES.index("level")],
    *(name for name in FEATURES if name.endswith("profile")),
)
"""The features that it reads as they are, besides the size of the return and the clock.

More spans of volatility, sizes and ranges, other estimators of volatility, lagged moves and volumes
gave nothing that lasts, and some took: `make ablation`.
"""

HOUR_HARMONICS = 6  # all that 12 bars of 5 minutes an hour can show
_LEAST_LENGTH = 1e-6  # a time of day lies on the circle; a shorter vector must not be blown up
LARGEST = 1.5  # of a log-scale, in either direction
FURTHEST = 6.0  # standard deviations of the training: an input further out counts as this
STILL = 1e30  # the spread of an input that stood still in training: it is never heard

_Pair = tuple[Any, Any]  # cosine and sine of an angle: arrays, or names of tensors in a graph


def predictors(newest: FloatArray) -> FloatArray:
    """Return the predictors [N, P] from the newest bar's features [N, F]."""
    place = {name: i for i, name in enumerate(FEATURES)}
    columns = [newest[:, place[name]] for name in (*MONTH, *COLUMNS)]
    columns.append(np.abs(newest[:, place["return"]]))
    cosine, sine = newest[:, place["day_cos"]], newest[:, place["day_sin"]]
    length = np.maximum(np.sqrt(cosine * cosine + sine * sine), _LEAST_LENGTH)
    for pair in _clock((cosine / length, sine / length), _turned):
        columns += list(pair)
    return np.stack(columns, axis=1)


def _clock(day: _Pair, turned: Any) -> list[_Pair]:
    """Return the harmonics of the hour, by adding angles to the time of day."""
    # The hour turns 24 times a day: 24 = 3 * 2 * 2 * 2.
    hour = turned(turned(day, day), day)
    for _ in range(3):
        hour = turned(hour, hour)
    hours = [hour]
    for _ in range(1, HOUR_HARMONICS):
        hours.append(turned(hours[-1], hour))
    return hours


def _turned(one: _Pair, other: _Pair) -> _Pair:
    """Return the sum of two angles."""
    return one[0] * other[0] - one[1] * other[1], one[1] * other[0] + one[0] * other[1]


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The network's numbers: P predictors, U units per layer, K numbers over H steps."""

    mean: FloatArray  # [P] of the predictors in training
    spread: FloatArray  # [P] their standard deviations, or `STILL`
    linear: FloatArray  # [P, K]
    first: FloatArray  # [P, U]
    first_bias: FloatArray  # [U]
    second: FloatArray  # [U, U]
    second_bias: FloatArray  # [U]
    last: FloatArray  # [U, K]
    bias: FloatArray  # [K]
    basis: FloatArray  # [K, H] how the K numbers run over the steps
    quantiles: FloatArray  # [H, Q] in units of sigma * sqrt(step), at `levels`
    levels: FloatArray  # [Q]

    @property
    def horizon(self) -> int:
        """Number of steps H that it was trained for."""
        return int(self.quantiles.shape[0])

    def log_scale(self, newest: FloatArray) -> FloatArray:
        """Return [N, H], the log of the factor that stretches the quantiles."""
        seen = np.clip((predictors(newest) - self.mean) / self.spread, -FURTHEST, FURTHEST)
        one = _silu(seen @ self.first + self.first_bias)
        two = _silu(one @ self.second + self.second_bias)
        numbers = seen @ self.linear + two @ self.last + self.bias
        return np.clip(numbers @ self.basis, -LARGEST, LARGEST)

    def at(self, levels: Sequence[float]) -> FloatArray:
        """Return the quantiles [H, len(levels)] at other levels.

        Between and beyond the levels of the training, quantiles are straight lines over those of
        Student's t with 4 degrees of freedom.
        """
        own, other = _quantiles.reference(self.levels.tolist()), _quantiles.reference(levels)
        rows = []
        for row in self.quantiles:
            inside = np.interp(other, own, row)
            low = row[0] + (other - own[0]) * (row[1] - row[0]) / (own[1] - own[0])
            high = row[-1] + (other - own[-1]) * (row[-1] - row[-2]) / (own[-1] - own[-2])
            beyond = np.where(other < own[0], low, np.where(other > own[-1], high, inside))
            rows.append(_quantiles.spread(beyond))
        return np.stack(rows)

    def of_steps(self, horizon: int) -> Base:
        """Return the network of the first `horizon` steps only."""
        return dataclasses.replace(
            self, basis=self.basis[:, :horizon], quantiles=self.quantiles[:horizon]
        )

    def draw(self, graph: Graph, newest: str) -> str:
        """Add the log-scale [N, H] of features [N, F] to a graph and return its name."""

        def column(name: str) -> str:
            return graph.column(newest, FEATURES.index(name))

        def turned(one: _Pair, other: _Pair) -> _Pair:
            cosine = graph.Sub(graph.Mul(one[0], other[0]), graph.Mul(one[1], other[1]))
            sine = graph.Add(graph.Mul(one[1], other[0]), graph.Mul(one[0], other[1]))
            return cosine, sine

        columns = [column(name) for name in (*MONTH, *COLUMNS)]
        columns.append(graph.Abs(column("return")))
        cosine, sine = column("day_cos"), column("day_sin")
        squares = graph.Add(graph.Mul(cosine, cosine), graph.Mul(sine, sine))
        length = graph.Max(graph.Sqrt(squares), graph.fixed(_LEAST_LENGTH))
        for pair in _clock((graph.Div(cosine, length), graph.Div(sine, length)), turned):
            columns += list(pair)
        held = {
            field.name: graph.fixed(getattr(self, field.name), field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("quantiles", "levels")
        }
        far = graph.fixed(-FURTHEST), graph.fixed(FURTHEST)
        scaled = graph.Div(graph.Sub(graph.Concat(*columns, axis=1), held["mean"]), held["spread"])
        seen = state = graph.Clip(scaled, *far)
        for weight, bias in (("first", "first_bias"), ("second", "second_bias")):
            total = graph.Add(graph.MatMul(state, held[weight]), held[bias])
            state = graph.Mul(total, graph.Sigmoid(total))
        both = graph.Add(graph.MatMul(seen, held["linear"]), graph.MatMul(state, held["last"]))
        numbers = graph.Add(both, held["bias"])
        bounds = graph.fixed(-LARGEST), graph.fixed(LARGEST)
        return graph.Clip(graph.MatMul(numbers, held["basis"]), *bounds)

    def graph(self, lookback: int, levels: Sequence[float]) -> bytes:
        """Return the network as an ONNX graph over windows [N, lookback, F]."""
        graph = Graph(lookback)
        log_scale = self.draw(graph, graph.newest())
        graph.fixed(self.quantiles, "quantiles_of_training")
        graph.fixed(self.levels, "levels")
        return graph.stretched(self.at(levels), log_scale)


def read(graph: bytes) -> Base:
    """Read the numbers of a graph that `Base.graph` wrote. Raise ValueError for another graph."""
    tensors = {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float64)
        for tensor in onnx.load_model_from_string(graph).graph.initializer
    }
    tensors["quantiles"] = tensors.get("quantiles_of_training", np.empty(0))
    names = [field.name for field in dataclasses.fields(Base)]
    if lacking := [name for name in names if not tensors.get(name, np.empty(0)).size]:
        raise ValueError(f"it has no tensor '{lacking[0]}'")
    width = predictors(np.zeros((1, len(FEATURES)))).shape[1]
    if len(tensors["mean"]) != width:
        raise ValueError(f"it reads {len(tensors['mean'])} inputs, this cryptocast has {width}")
    return Base(**{name: tensors[name] for name in names})


def _silu(values: FloatArray) -> FloatArray:
    return np.asarray(values * (0.5 + 0.5 * np.tanh(values / 2)))  # no exp that could overflow
