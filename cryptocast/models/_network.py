"""The networks that correct, and their ONNX graph; what every training shares, as its loss."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from cryptocast.models._encoders import Encoder
from cryptocast.models._graphs import Graph
from cryptocast.models._shape import Shape
from cryptocast.values import FloatArray

_AT_ONCE = 512  # windows at a time, whose states fit into the cache: the same bits, sooner


class Start(Protocol):
    """The forecast that the network corrects: a log-scale from the newest bar's features."""

    def log_scale(self, newest: FloatArray) -> FloatArray:
        """Return the log-scale [N, H] for features [N, F]."""

    def draw(self, graph: Graph, newest: str) -> str:
        """Add the log-scale [N, H] to a graph and return its tensor's name."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use a single thread inside the block.

    Matrices this small gain nothing from a second thread, and two trainings on two cores whose
    threads wait for each other take minutes instead of a second.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def collected() -> Iterator[None]:
    """Free what the block leaves in circles.

    Lightning's trainer, module and callbacks refer to each other, and to all rows: those of many
    markets, 70 MB, would stay after each training until Python looks for such circles. Only
    objects that the block made are looked at: to go through all libraries takes half a second.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()


def pinball(quantiles: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Return twice the pinball loss of [N, H, Q] against [N, H], a mean over all of them.

    NaN targets are left out.
    """
    finite = torch.isfinite(targets)
    known = torch.where(finite, targets, 0.0)
    # Some rows at a time: a held-out part of many markets takes 22 MB for each [N, H, Q].
    parts = zip(torch.split(quantiles, _AT_ONCE), torch.split(known, _AT_ONCE), strict=True)
    loss = torch.cat([_mean_loss(part, its, levels) for part, its in parts])
    return (loss * finite).sum() / finite.sum().clamp(min=1)


def _mean_loss(quantiles: Tensor, targets: Tensor, levels: Tensor) -> Tensor:
    """Return twice the pinball loss [N, H], a mean over the levels."""
    error = targets[..., None] - quantiles
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean(-1)


def step_basis(horizon: int) -> Tensor:
    """Return [3, H], the basis over the steps: level, slope and bend in log(step).

    One free number per step would be noise, because targets of neighbouring steps overlap.
    """
    steps = torch.log(torch.arange(1, horizon + 1.0)) / math.log(max(horizon, 2))
    slope = 2 * steps - 1
    return torch.stack([torch.ones(horizon), slope, slope**2])


class Network(nn.Module):
    """A network from P features of windows [N, L, P] to quantiles [N, H, Q].

    Quantiles are in units of sigma * sqrt(step). `places` are the positions of the P features
    among all features.
    """

    base: Tensor  # [H, Q]
    basis: Tensor  # [K, H]
    centre: Tensor  # [H]
    shrink: Tensor

    def __init__(
        self, encoder: type[Encoder], shape: Shape, base: FloatArray, bound: float
    ) -> None:
        super().__init__()
        horizon, features = base.shape[0], len(shape.places)
        self.places = shape.places
        self.bound = bound
        self.encoder = encoder(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.register_buffer("basis", step_basis(horizon))
        self.register_buffer("base", torch.tensor(base, dtype=torch.float32))
        self.register_buffer("centre", torch.zeros(horizon))
        self.register_buffer("shrink", torch.ones(()))
        self.head = nn.Linear(shape.hidden, 3)
        self.skip = nn.Linear(features, 3, bias=False)
        for parameter in (self.head.weight, self.head.bias, self.skip.weight):
            nn.init.zeros_(parameter)

    def raw(self, seen: Tensor) -> Tensor:
        """Return [N, H], the correction of log-volatility before it is centred and bounded."""
        if len(seen) > _AT_ONCE and not torch.is_grad_enabled():
            return torch.cat([self.raw(part) for part in torch.split(seen, _AT_ONCE)])
        coefficients = self.head(self.dropout(self.encoder(seen))) + self.skip(seen[:, -1])
        return torch.as_tensor(coefficients @ self.basis)

    def log_scale(self, seen: Tensor, start: Tensor) -> Tensor:
        """Return [N, H], the log of the factor on the base quantiles; `start` is [N, H]."""
        relative = (self.raw(seen) - self.centre) / self.bound
        return start + self.shrink * self.bound * torch.tanh(relative)

    def forward(self, seen: Tensor, start: Tensor) -> Tensor:
        """Return quantiles [N, H, Q] for windows [N, L, P]."""
        return self.base * torch.exp(self.log_scale(seen, start))[..., None]


def to_onnx(network: Network, start: Start, base: FloatArray, lookback: int) -> bytes:
    """Return the trained network with the base quantiles [H, Q] as an ONNX graph."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    graph = Graph(lookback)
    seen = graph.Gather("inputs", graph.whole(*network.places), axis=2)
    head, skip = (graph.fixed(state[f"{name}.weight"].T) for name in ("head", "skip"))
    from_state = graph.MatMul(network.encoder.draw(graph, seen), head)
    from_newest = graph.MatMul(graph.Gather(seen, graph.whole(-1), axis=1), skip)
    coefficients = graph.Add(graph.Add(from_state, from_newest), graph.fixed(state["head.bias"]))
    raw = graph.MatMul(coefficients, graph.fixed(state["basis"]))
    bound = graph.fixed(network.bound)
    relative = graph.Div(graph.Sub(raw, graph.fixed(state["centre"])), bound)
    most = graph.fixed(network.bound * float(network.shrink))
    learned = graph.Mul(graph.Tanh(relative), most)
    return graph.stretched(base, graph.Add(start.draw(graph, graph.newest()), learned))
