"""Graphs of the models that stretch and shift fixed quantiles, written as one reads a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from cryptocast.models._onnx import serialise
from cryptocast.models._quantiles import MIN_STEP
from cryptocast.values import FEATURES, FloatArray

_NEWEST = -1


class Graph:
    """An ONNX graph under construction; tensors go by their names.

    The graph reads `inputs` [N, L, F] and answers `quantiles` [N, H, Q].
    """

    def __init__(self, lookback: int) -> None:
        self._lookback = lookback
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, NDArray[np.generic]] = {}

    def fixed(self, values: NDArray[np.floating] | float, name: str | None = None) -> str:
        """A tensor that the fit found, in single precision; `name` lets it be read back."""
        return self._hold(np.asarray(values, dtype=np.float32), name)

    def whole(self, *numbers: int) -> str:
        """A tensor of whole numbers: places, axes, sizes; one alone is a scalar."""
        return self._hold(np.array(numbers[0] if len(numbers) == 1 else numbers))

    def axis(self, number: int) -> str:
        """The one axis that an operator works along, as it takes it."""
        return self._hold(np.array([number]))

    def __getattr__(self, operator: str) -> Callable[..., str]:
        """Any ONNX operator by its name: `graph.Add(a, b)` is the name of the sum."""
        if not operator[:1].isupper():
            raise AttributeError(operator)

        def apply(*inputs: str, **attributes: Any) -> str:
            name = f"{operator.lower()}{len(self._nodes)}"
            self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
            return name

        return apply

    def newest(self) -> str:
        """[N, F] the features of the last bar."""
        return self.Gather("inputs", self.whole(_NEWEST), axis=1)

    def feature(self, name: str) -> str:
        """[N, L] one feature of every bar."""
        return self.Gather("inputs", self.whole(FEATURES.index(name)), axis=2)

    def newest_feature(self, name: str) -> str:
        """[N, 1] one feature of the last bar."""
        return self.column(self.newest(), FEATURES.index(name))

    def column(self, tensor: str, place: int) -> str:
        """[N, 1] one column of a tensor [N, C]."""
        return self.Gather(tensor, self.axis(place), axis=1)

    def stretched(self, base: FloatArray, log_scale: str) -> bytes:
        """The quantiles `base` [H, Q] about zero times `exp(log_scale)` [N, H].

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
        """The quantiles `base` [H, Q] moved by `shift` [N, H]."""
        quantiles = self.Add(self.fixed(base[None]), self._over_levels(shift))
        return self._finish(quantiles, *base.shape)

    def _over_levels(self, values: str) -> str:
        return self.Unsqueeze(values, self.axis(2))

    def _hold(self, values: NDArray[Any], name: str | None = None) -> str:
        name = name or f"fixed{len(self._tensors)}"
        self._tensors[name] = values
        return name

    def _finish(self, quantiles: str, horizon: int, levels: int) -> bytes:
        self._nodes.append(helper.make_node("Identity", [quantiles], ["quantiles"]))
        window = (self._lookback, len(FEATURES))
        return serialise(self._nodes, self._tensors, window, (horizon, levels))


def _outwards(levels: int) -> FloatArray:
    """[Q - 1, Q] what turns the gaps between neighbours into distances from the median."""
    gap, level, middle = np.arange(levels - 1)[:, None], np.arange(levels), levels // 2
    above = (gap >= middle) & (gap < level)
    below = (gap < middle) & (gap >= level)
    return above.astype(np.float64) - below.astype(np.float64)
