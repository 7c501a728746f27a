"""Graphs written operator by operator with `onnx.helper`.

`torch.onnx.export` takes 4.6 s a model (dynamo) or is deprecated (TorchScript); these are a
few operators, written in milliseconds, and a test holds them equal to torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cryptocast.values import FEATURES, FloatArray

_OPSET = 17
_IR_VERSION = 8


def constant(quantiles: FloatArray, lookback: int) -> bytes:
    """A graph that answers every window with the same quantiles [H, Q]."""
    horizon, levels = quantiles.shape
    nodes = [
        # The number of windows decides the number of answers.
        helper.make_node("Shape", ["inputs"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "inner"], ["shape"], axis=0),
        helper.make_node("Expand", ["base", "shape"], ["quantiles"]),
    ]
    tensors: dict[str, NDArray[np.generic]] = {
        "base": quantiles.astype(np.float32)[None],
        "inner": np.array([horizon, levels], dtype=np.int64),
    }
    return serialise(nodes, tensors, (lookback, len(FEATURES)), (horizon, levels))


def serialise(
    nodes: Sequence[onnx.NodeProto],
    tensors: Mapping[str, NDArray[np.generic]],
    window: tuple[int, int],
    answer: tuple[int, int],
) -> bytes:
    """A checked model from `inputs` [N, *window] to `quantiles` [N, *answer]."""
    graph = helper.make_graph(
        nodes,
        "cryptocast",
        [helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["N", *window])],
        [helper.make_tensor_value_info("quantiles", TensorProto.FLOAT, ["N", *answer])],
        [numpy_helper.from_array(t.copy(order="C"), name) for name, t in tensors.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="cryptocast"
    )
    model.ir_version = _IR_VERSION
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
