"""ONNX graphs of the models, written operator by operator with `onnx.helper`.

`torch.onnx.export` takes 4.6 s per model (dynamo) or is deprecated (TorchScript). These graphs
are a few operators, written in milliseconds, and a test holds them equal to torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cryptocast.models._quantiles import MIN_STEP
from cryptocast.values import FEATURES, FloatArray

_OPSET = 17
_IR_VERSION = 8
_NEWEST = -1


class Graph:
    """An ONNX graph under construction; tensors are referred to by name.

    The graph reads `inputs` [N, L, F] and answers `quantiles` [N, H, Q].
    """

    def __init__(self, lookback: int) -> None:
        self._lookback = lookback
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, NDArray[np.generic]] = {}

    def fixed(self, values: NDArray[np.floating] | float, name: str | None = None) -> str:
        """Hold fitted numbers in single precision, under `name` if they are to be read back."""
        return self._hold(np.asarray(values, dtype=np.float32), name)

    def whole(self, *numbers: int) -> str:
        """Hold whole numbers (places, axes, sizes); a single one is a scalar."""
        return self._hold(np.array(numbers[0] if len(numbers) == 1 else numbers))

    def axis(self, number: int) -> str:
        """Hold the one axis that an operator works along, and return its name."""
        return self._hold(np.array([number]))

    def __getattr__(self, operator: str) -> Callable[..., str]:
        """Return any ONNX operator by its name: `graph.Add(a, b)` returns the name of the sum."""
        if not operator[:1].isupper():
            raise AttributeError(operator)

        def apply(*inputs: str, **attributes: Any) -> str:
            name = f"{operator.lower()}{len(self._nodes)}"
            self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
            return name

        return apply

    def newest(self) -> str:
        """Return the features [N, F] of the last bar."""
        return self.Gather("inputs", self.whole(_NEWEST), axis=1)

    def feature(self, name: str) -> str:
        """Return one feature of every bar, [N, L]."""
        return self.Gather("inputs", self.whole(FEATURES.index(name)), axis=2)

    def newest_feature(self, name: str) -> str:
        """Return one feature of the last bar, [N, 1]."""
        return self.column(self.newest(), FEATURES.index(name))

    def column(self, tensor: str, place: int) -> str:
        """Return one column [N, 1] of a tensor [N, C]."""
        return self.Gather(tensor, self.axis(place), axis=1)

    def stretched(self, base: FloatArray, log_scale: str) -> bytes:
        """Finish with the quantiles `base` [H, Q] about zero times `exp(log_scale)` [N, H].

        The gaps between neighbours are stretched, held at `MIN_STEP` or more, and summed
        outwards from the median: however narrow, quantiles stay apart and the median is 0.
        """
        horizon, levels = base.shape
        scale = self._over_levels(self.Exp(log_scale))
        gaps = self.Mul(self.fixed(np.diff(base, axis=1)[None]), scale)
        apart = self.Max(gaps, self.fixed(MIN_STEP))
        quantiles = self.MatMul(apart, self.fixed(_outwards(levels)))
        return self._finish(quantiles, horizon, levels)

    def shifted(self, base: FloatArray, shift: str) -> bytes:
        """Finish with the quantiles `base` [H, Q] moved by `shift` [N, H]."""
        quantiles = self.Add(self.fixed(base[None]), self._over_levels(shift))
        return self._finish(quantiles, *base.shape)

    def constant(self, quantiles: FloatArray) -> bytes:
        """Finish with the same quantiles [H, Q] for every window."""
        # The number of windows decides the number of answers.
        count = self.Shape("inputs", start=0, end=1)
        shape = self.Concat(count, self.whole(*quantiles.shape), axis=0)
        return self._finish(self.Expand(self.fixed(quantiles[None]), shape), *quantiles.shape)

    def _over_levels(self, values: str) -> str:
        return self.Unsqueeze(values, self.axis(2))

    def _hold(self, values: NDArray[Any], name: str | None = None) -> str:
        name = name or f"fixed{len(self._tensors)}"
        self._tensors[name] = values
        return name

    def _finish(self, quantiles: str, horizon: int, levels: int) -> bytes:
        """Return the checked model that answers with these quantiles [N, H, Q]."""
        self._nodes.append(helper.make_node("Identity", [quantiles], ["quantiles"]))
        window, answer = (self._lookback, len(FEATURES)), (horizon, levels)
        graph = helper.make_graph(
            self._nodes,
            "cryptocast",
            [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["N", *window])],
            [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["N", *answer])],
            [numpy_helper.from_array(t.copy(order="C"), name) for name, t in self._tensors.items()],
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="cryptocast"
        )
        model.ir_version = _IR_VERSION
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _outwards(levels: int) -> FloatArray:
    """Return [Q - 1, Q], which turns gaps between neighbours into distances from the median."""
    gap, level, middle = np.arange(levels - 1)[:, None], np.arange(levels), levels // 2
    above = (gap >= middle) & (gap < level)
    below = (gap < middle) & (gap >= level)
    return above.astype(np.float64) - below.astype(np.float64)
