"""A GRU over the window (Cho et al. 2014): three quarters of an LSTM's weights."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cryptocast.models._corrector import Corrector
from cryptocast.models._graphs import Graph
from cryptocast.models._network import Encoder, Shape


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
                _gates(getattr(self.gru, f"{name}_l{i}").detach().numpy())
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            weights = (weight_ih, weight_hh, np.concatenate([bias_ih, bias_hh]))
            held = [graph.fixed(array[None]) for array in weights]
            size = weight_hh.shape[1]
            states = graph.GRU(layer, *held, hidden_size=size, linear_before_reset=1)
            layer = graph.Squeeze(states, graph.axis(1))
        return graph.Gather(layer, graph.whole(-1), axis=0)


class Model(Corrector):
    """The GRU as a model kind."""

    kind = "gru"
    encoder = GruEncoder


def _gates(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder the gates from torch's (reset, update, new) to ONNX's (update, reset, new)."""
    reset, update, new = np.split(weights, 3)
    return np.concatenate([update, reset, new])
