"""An LSTM over the window (Hochreiter and Schmidhuber 1997)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cryptocast.models._corrector import Corrector
from cryptocast.models._graphs import Graph
from cryptocast.models._network import Encoder, Shape


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
                _gates(getattr(self.lstm, f"{name}_l{i}").detach().numpy())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            bias = np.concatenate([bias_ih + bias_hh, np.zeros_like(bias_ih)])
            weights = [graph.fixed(array[None]) for array in (weight_ih, weight_hh, bias)]
            states = graph.LSTM(layer, *weights, hidden_size=weight_hh.shape[1])
            layer = graph.Squeeze(states, graph.axis(1))
        return graph.Gather(layer, graph.whole(-1), axis=0)


class Model(Corrector):
    """The LSTM as a model kind."""

    kind = "lstm"
    encoder = LstmEncoder


def _gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the gates from torch's (input, forget, cell, output) to ONNX's (i, o, f, c)."""
    i, f, c, o = np.split(weights, 4)
    return np.concatenate([i, o, f, c])
