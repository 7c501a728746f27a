"""A temporal convolutional network over the window (Bai, Kolter and Koltun 2018).

Each block looks twice as far back as the one before it and adds to what it was given; five of
them see 63 bars. `layers` is the number of blocks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cryptocast.models._corrector import Corrector
from cryptocast.models._graphs import Graph
from cryptocast.models._network import Encoder, Shape
from cryptocast.seams import Params

_KERNEL = 3


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


class Model(Corrector):
    """The temporal convolutional network as a model kind."""

    kind = "tcn"
    encoder = TcnEncoder

    def defaults(self) -> Params:
        """Return the parameters of a training that was not tuned."""
        return {**super().defaults(), "layers": 5}


def _before(block: int) -> int:
    """Return how many bars a block looks back: with as many zeros before it, none is lost."""
    return (_KERNEL - 1) << block
