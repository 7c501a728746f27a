"""The LSTM's network, and the same as an ONNX graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryptocast.models import _onnx
from cryptocast.models._shape import Shape
from cryptocast.models.baselines._correction import Correction
from cryptocast.values import FloatArray


class Network(nn.Module):
    """The window [N, L, F] to quantiles [N, H, Q] in units of sigma * sqrt(step)."""

    places: Tensor  # [F] of the features that it looks at
    base: Tensor  # [H, Q]
    basis: Tensor  # [K, H]
    known: Tensor  # [all features, H]
    known_centre: Tensor  # [H]
    centre: Tensor  # [H]
    shrink: Tensor

    def __init__(self, shape: Shape, base: FloatArray, known: Correction) -> None:
        super().__init__()
        horizon, features = base.shape[0], len(shape.places)
        self.bound = shape.bound
        self.lstm = nn.LSTM(
            features,
            shape.hidden,
            shape.layers,
            batch_first=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(shape.dropout)
        # Three numbers say how the correction runs over the steps: level, slope and bend in
        # log(step). A number a step would be noise: the targets of neighbouring steps overlap.
        steps = torch.log(torch.arange(1, horizon + 1.0)) / math.log(max(horizon, 2))
        slope = 2 * steps - 1
        self.register_buffer("places", torch.tensor(shape.places))
        self.register_buffer("basis", torch.stack([torch.ones(horizon), slope, slope**2]))
        self.register_buffer("base", torch.tensor(base, dtype=torch.float32))
        self.known_bound = known.bound
        self.register_buffer("known", torch.tensor(known.weights, dtype=torch.float32))
        self.register_buffer("known_centre", torch.tensor(known.centre, dtype=torch.float32))
        self.register_buffer("centre", torch.zeros(horizon))
        self.register_buffer("shrink", torch.ones(()))
        self.head = nn.Linear(shape.hidden, 3)
        self.skip = nn.Linear(features, 3, bias=False)
        for parameter in (self.head.weight, self.head.bias, self.skip.weight):
            nn.init.zeros_(parameter)

    def raw(self, inputs: Tensor) -> Tensor:
        """[N, H] the correction of log-volatility before it is centred and bounded."""
        seen = inputs[..., self.places]
        states, _ = self.lstm(seen)  # [N, L, hidden]
        coefficients = self.head(self.dropout(states[:, -1])) + self.skip(seen[:, -1])
        return torch.as_tensor(coefficients @ self.basis)

    def log_scale(self, inputs: Tensor) -> Tensor:
        """[N, H] log of the factor that the base quantiles are stretched by."""
        start = inputs[:, -1] @ self.known - self.known_centre
        relative = (self.raw(inputs) - self.centre) / self.bound
        learned = self.shrink * self.bound * torch.tanh(relative)
        return start.clamp(-self.known_bound, self.known_bound) + learned

    def forward(self, inputs: Tensor) -> Tensor:
        """[N, L, F] to [N, H, Q]."""
        return self.base * torch.exp(self.log_scale(inputs))[..., None]


def to_onnx(network: Network, base: FloatArray, lookback: int) -> bytes:
    """The trained network with the base quantiles [H, Q] as an ONNX graph."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    layers = [
        (
            state[f"lstm.weight_ih_l{i}"],
            state[f"lstm.weight_hh_l{i}"],
            state[f"lstm.bias_ih_l{i}"] + state[f"lstm.bias_hh_l{i}"],
        )
        for i in range(network.lstm.num_layers)
    ]
    head = _onnx.VolatilityHead(
        skip=state["skip.weight"].T,
        head=state["head.weight"].T,
        bias=state["head.bias"],
        basis=state["basis"],
        centre=state["centre"],
        bound=network.bound,
        shrink=float(network.shrink),
        known=state["known"],
        known_centre=state["known_centre"],
        known_bound=network.known_bound,
    )
    return _onnx.lstm(layers, head, base, lookback, state["places"].tolist())
