"""Graphs written operator by operator with `onnx.helper`.

`torch.onnx.export` takes 4.6 s a model (dynamo) or is deprecated (TorchScript); these are a
few operators, written in milliseconds, and a test holds them equal to torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cryptocast.values import FEATURES, FloatArray

_OPSET = 17
_IR_VERSION = 8


@dataclass(frozen=True, slots=True, eq=False)
class VolatilityHead:
    """The numbers behind the LSTM's log-volatility correction (see `models.lstm`)."""

    skip: NDArray[np.float32]  # [F, K] last bar's features to coefficients
    head: NDArray[np.float32]  # [hidden, K] last state to coefficients
    bias: NDArray[np.float32]  # [K]
    basis: NDArray[np.float32]  # [K, H] coefficients to steps
    centre: NDArray[np.float32]  # [H] mean over the training origins
    bound: float
    shrink: float
    known: NDArray[np.float32]  # [all features, H] what HAR makes of the last bar
    known_centre: NDArray[np.float32]  # [H]
    known_bound: float


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


def lstm(
    layers: Sequence[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]],
    head: VolatilityHead,
    base: FloatArray,
    lookback: int,
    features: Sequence[int],
) -> bytes:
    """An LSTM whose last state widens or narrows the quantiles `base` [H, Q].

    `features` are the places of those that it looks at among all. `layers` hold torch's
    weight_ih [4h, F], weight_hh [4h, h] and the sum of both biases [4h], in torch's order of
    the gates.
    """
    tensors: dict[str, NDArray[np.generic]] = {
        "last": np.array(-1, dtype=np.int64),
        "skip": head.skip,
        "head": head.head,
        "bias": head.bias,
        "basis": head.basis,
        "centre": head.centre,
        "bound": np.array([head.bound], dtype=np.float32),
        "shrink": np.array([head.shrink], dtype=np.float32),
        "known": head.known,
        "known_centre": head.known_centre,
        "known_high": np.array(head.known_bound, dtype=np.float32),
        "known_low": np.array(-head.known_bound, dtype=np.float32),
        "base": base.astype(np.float32)[None],
        "direction": np.array([1], dtype=np.int64),
        "level_axis": np.array([2], dtype=np.int64),
        "features": np.array(features, dtype=np.int64),
    }
    nodes = [
        helper.make_node("Gather", ["inputs", "features"], ["seen"], axis=2),
        helper.make_node("Transpose", ["seen"], ["layer0"], perm=[1, 0, 2]),
    ]
    for i, (weight_ih, weight_hh, bias) in enumerate(layers):
        hidden = weight_hh.shape[1]
        tensors[f"w{i}"] = _gates(weight_ih)[None]
        tensors[f"r{i}"] = _gates(weight_hh)[None]
        tensors[f"b{i}"] = np.concatenate([_gates(bias), np.zeros_like(bias)])[None]
        nodes += [
            helper.make_node(
                "LSTM", [f"layer{i}", f"w{i}", f"r{i}", f"b{i}"], [f"states{i}"], hidden_size=hidden
            ),
            helper.make_node("Squeeze", [f"states{i}", "direction"], [f"layer{i + 1}"]),
        ]
    nodes += [
        helper.make_node("Gather", [f"layer{len(layers)}", "last"], ["state"], axis=0),
        helper.make_node("Gather", ["seen", "last"], ["newest"], axis=1),
        helper.make_node("MatMul", ["state", "head"], ["from_state"]),
        helper.make_node("MatMul", ["newest", "skip"], ["from_newest"]),
        helper.make_node("Add", ["from_state", "from_newest"], ["both"]),
        helper.make_node("Add", ["both", "bias"], ["coefficients"]),
        helper.make_node("MatMul", ["coefficients", "basis"], ["raw"]),
        helper.make_node("Sub", ["raw", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "bound"], ["relative"]),
        helper.make_node("Tanh", ["relative"], ["squeezed"]),
        helper.make_node("Mul", ["squeezed", "bound"], ["bounded"]),
        helper.make_node("Mul", ["bounded", "shrink"], ["learned"]),
        helper.make_node("Gather", ["inputs", "last"], ["newest_of_all"], axis=1),
        helper.make_node("MatMul", ["newest_of_all", "known"], ["known_raw"]),
        helper.make_node("Sub", ["known_raw", "known_centre"], ["known_centred"]),
        helper.make_node("Clip", ["known_centred", "known_low", "known_high"], ["start"]),
        helper.make_node("Add", ["start", "learned"], ["log_scale"]),
        helper.make_node("Exp", ["log_scale"], ["scale"]),
        helper.make_node("Unsqueeze", ["scale", "level_axis"], ["wide"]),
        helper.make_node("Mul", ["base", "wide"], ["quantiles"]),
    ]
    return serialise(nodes, tensors, (lookback, len(FEATURES)), (base.shape[0], base.shape[1]))


def _gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Torch's order of the gates (input, forget, cell, output) as ONNX's (i, o, f, c)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])


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
