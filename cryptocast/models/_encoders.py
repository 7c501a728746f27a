"""The part of a network that reads the window: an LSTM, a GRU, or causal convolutions.

Each draws its own part of the ONNX graph; a test holds the two equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cryptocast.models._graphs import Graph
from cryptocast.models._shape import Shape

_KERNEL = 3


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
        self.lstm = nn.LSTM(
            len(shape.places),
            shape.hidden,
            shape.layers,
            batch_first=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Return the last state [N, hidden]."""
        states, _ = self.lstm(seen)  # [N, L, hidden]
        return torch.as_tensor(states[:, -1])

    def draw(self, graph: Graph, seen: str) -> str:
        """Add a node for each layer."""
        layer = graph.Transpose(seen, perm=[1, 0, 2])
        for i in range(self.lstm.num_layers):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                _lstm_gates(getattr(self.lstm, f"{name}_l{i}").detach().numpy())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            bias = np.concatenate([bias_ih + bias_hh, np.zeros_like(bias_ih)])
            weights = [graph.fixed(array[None]) for array in (weight_ih, weight_hh, bias)]
            states = graph.LSTM(layer, *weights, hidden_size=weight_hh.shape[1])
            layer = graph.Squeeze(states, graph.axis(1))
        return graph.Gather(layer, graph.whole(-1), axis=0)


class GruEncoder(Encoder):
    """A GRU whose last state is read."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.gru = nn.GRU(
            len(shape.places),
            shape.hidden,
            shape.layers,
            batch_first=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )

    def forward(self, seen: Tensor) -> Tensor:
        """Return the last state [N, hidden]."""
        states, _ = self.gru(seen)  # [N, L, hidden]
        return torch.as_tensor(states[:, -1])

    def draw(self, graph: Graph, seen: str) -> str:
        """Add a node for each layer; as in torch, the reset gate acts after the matrix."""
        layer = graph.Transpose(seen, perm=[1, 0, 2])
        for i in range(self.gru.num_layers):
            weight_ih, weight_hh, bias_ih, bias_hh = (
                _gru_gates(getattr(self.gru, f"{name}_l{i}").detach().numpy())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            weights = (weight_ih, weight_hh, np.concatenate([bias_ih, bias_hh]))
            held = [graph.fixed(array[None]) for array in weights]
            size = weight_hh.shape[1]
            states = graph.GRU(layer, *held, hidden_size=size, linear_before_reset=1)
            layer = graph.Squeeze(states, graph.axis(1))
        return graph.Gather(layer, graph.whole(-1), axis=0)


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


def _lstm_gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the gates from torch's (input, forget, cell, output) to ONNX's (i, o, f, c)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])


def _gru_gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the gates from torch's (reset, update, new) to ONNX's (update, reset, new)."""
    reset, update, new = np.split(weights, 3)
    return np.concatenate([update, reset, new])


def _before(block: int) -> int:
    """Return how many bars a block looks back: with as many zeros before it, none is lost."""
    return (_KERNEL - 1) << block
