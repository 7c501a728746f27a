"""The part of a network that reads the window: an LSTM, a GRU, or causal convolutions.

Each draws its own part of the ONNX graph; a test holds the two equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cryptocast.models._graphs import Graph
from cryptocast.models._shape import Shape

_Array = NDArray[np.float32]
_Layers = TypeVar("_Layers", nn.LSTM, nn.GRU)
_Node = Callable[[Graph, str, Sequence[_Array]], str]

_KERNEL = 3
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # of a layer, by torch's names


class Encoder(nn.Module, ABC):
    """The part of a network that reads the window; it is made from a `Shape`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, seen: Tensor) -> Tensor:
        """Return the state [N, hidden] after windows [N, L, P]."""

    @abstractmethod
    def draw(self, graph: Graph, seen: str) -> str:
        """Add the encoder to a graph with the windows `seen` and return the state's tensor."""


class LstmEncoder(Encoder):
    """An LSTM whose last state is read."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.lstm = _layers(nn.LSTM, shape)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the last state [N, hidden]."""
        return _last_state(self.lstm, seen)

    def draw(self, graph: Graph, seen: str) -> str:
        """Add a node for each layer."""
        return _drawn(graph, seen, self.lstm, _lstm_node)


class GruEncoder(Encoder):
    """A GRU whose last state is read."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.gru = _layers(nn.GRU, shape)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the last state [N, hidden]."""
        return _last_state(self.gru, seen)

    def draw(self, graph: Graph, seen: str) -> str:
        """Add a node for each layer; as in torch, the reset gate acts after the matrix."""
        return _drawn(graph, seen, self.gru, _gru_node)


class TcnEncoder(Encoder):
    """Causal convolutions, dilated by powers of two, each with a residual connection."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.mix = nn.Conv1d(len(shape.places), shape.hidden, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(shape.hidden, shape.hidden, _KERNEL, dilation=2**i)
            for i in range(shape.layers)
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Return what the last bar sees, [N, hidden]."""
        state = self.mix(seen.transpose(1, 2))  # [N, hidden, L]
        for i, block in enumerate(self.blocks):
            state = state + torch.relu(block(functional.pad(state, (_before(i), 0))))
        return torch.as_tensor(state[..., -1])

    def draw(self, graph: Graph, seen: str) -> str:
        """Add a node for each convolution."""
        state = self._conv(graph, graph.Transpose(seen, perm=[0, 2, 1]), self.mix)
        for i, block in enumerate(self.blocks):
            pads, dilations = [_before(i), 0], [2**i]
            learned = self._conv(graph, state, block, pads=pads, dilations=dilations)
            state = graph.Add(state, graph.Relu(learned))
        return graph.Gather(state, graph.whole(-1), axis=2)

    def _conv(self, graph: Graph, inputs: str, conv: Any, **options: list[int]) -> str:
        weights = (conv.weight.detach().numpy(), conv.bias.detach().numpy())
        return graph.Conv(inputs, *(graph.fixed(array) for array in weights), **options)


def _layers(kind: type[_Layers], shape: Shape) -> _Layers:
    """Return recurrent layers with the sizes of a shape."""
    return kind(
        len(shape.places),
        shape.hidden,
        shape.layers,
        batch_first=True,
        dropout=shape.dropout if shape.layers > 1 else 0.0,
    )


def _last_state(layers: nn.RNNBase, seen: Tensor) -> Tensor:
    """Return the last state [N, hidden] of recurrent layers."""
    states, _ = layers(seen)  # [N, L, hidden]
    return torch.as_tensor(states[:, -1])


def _drawn(graph: Graph, seen: str, layers: nn.RNNBase, node: _Node) -> str:
    """Add a node for each recurrent layer, and return the last state's tensor."""
    inputs = graph.Transpose(seen, perm=[1, 0, 2])
    for i in range(layers.num_layers):
        weights = [getattr(layers, f"{name}_l{i}").detach().numpy() for name in _WEIGHTS]
        inputs = graph.Squeeze(node(graph, inputs, weights), graph.axis(1))
    return graph.Gather(inputs, graph.whole(-1), axis=0)


def _lstm_node(graph: Graph, inputs: str, weights: Sequence[_Array]) -> str:
    """Add a layer; torch's gates are (input, forget, cell, output), those of ONNX (i, o, f, c)."""
    split = (np.split(each, 4) for each in weights)
    from_input, from_state, *biases = (np.concatenate([i, o, f, c]) for i, f, c, o in split)
    bias = np.concatenate([biases[0] + biases[1], np.zeros_like(biases[0])])
    held = [graph.fixed(array[None]) for array in (from_input, from_state, bias)]
    return graph.LSTM(inputs, *held, hidden_size=from_state.shape[1])


def _gru_node(graph: Graph, inputs: str, weights: Sequence[_Array]) -> str:
    """Add a layer; torch's gates are (reset, update, new), those of ONNX (update, reset, new)."""
    split = (np.split(each, 3) for each in weights)
    from_input, from_state, *biases = (np.concatenate([u, r, n]) for r, u, n in split)
    held = [graph.fixed(a[None]) for a in (from_input, from_state, np.concatenate(biases))]
    size = from_state.shape[1]
    return graph.GRU(inputs, *held, hidden_size=size, linear_before_reset=1)


def _before(block: int) -> int:
    """Return how many bars a block looks back: with as many zeros before it, none is lost."""
    return (_KERNEL - 1) << block
