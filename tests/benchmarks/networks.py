"""Networks that the product does not have, for `variants.py`: what was tried beside its perceptron.

Each takes the scaled columns of the newest bar [N, P], or of a window [N, L, P], and gives
quantiles [N, H, Q] in units of sigma * sqrt(step).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cryptocast.models._base import LARGEST
from cryptocast.models._pretraining import Perceptron
from cryptocast.values import FloatArray

_HIDDEN = 32  # of the perceptron, as shipped
_DROPOUT = 0.2


class Scaled(Perceptron):
    """The shipped network; its quantiles are taken anew when it is trained."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start, _HIDDEN)


class Linear(Scaled):
    """No hidden layer: a linear map to level, slope and bend of the log-scale."""

    def log_scale(self, seen: Tensor) -> Tensor:
        return torch.clamp(self.linear(seen) @ self.basis, -LARGEST, LARGEST)


class Mixture(Perceptron):
    """Two shapes of the distribution, mixed by the state: calm tails and heavy ones."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start, _HIDDEN)
        bend = torch.linspace(-0.4, 0.4, self.gaps.shape[1])
        self.other = nn.Parameter(self.gaps.detach() + bend)
        self.share = nn.Linear(width, 1)

    def forward(self, seen: Tensor) -> Tensor:
        share = torch.sigmoid(self.share(seen))[..., None]
        shapes = (mirrored(torch.cumsum(softplus(each), 1)) for each in (self.gaps, self.other))
        one, two = shapes
        return (share * one + (1 - share) * two) * torch.exp(self.log_scale(seen))[..., None]


class Median(Perceptron):
    """A median that is learned, too, instead of the last price."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start, _HIDDEN)
        self.middle = nn.Linear(width, 2)
        nn.init.zeros_(self.middle.weight)
        nn.init.zeros_(self.middle.bias)

    def forward(self, seen: Tensor) -> Tensor:
        quantiles: Tensor = super().forward(seen)
        middle: Tensor = self.middle(seen) @ self.basis[:2]
        return quantiles + 0.3 * middle[..., None]


class Beside(Scaled):
    """The perceptron, and an LSTM over the window that adds to its log-scale."""

    hidden = 8

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start)
        self.lstm = nn.LSTM(width, self.hidden, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.added = nn.Linear(self.hidden, 3)
        nn.init.zeros_(self.added.weight)
        nn.init.zeros_(self.added.bias)

    def log_scale(self, seen: Tensor) -> Tensor:
        states, _ = self.lstm(seen)
        added: Tensor = self.added(self.dropout(states[:, -1])) @ self.basis
        return super().log_scale(seen[:, -1]) + added


class Alone(Beside):
    """An LSTM over the window with a linear map of the newest bar, and no perceptron."""

    hidden = 32

    def log_scale(self, seen: Tensor) -> Tensor:
        states, _ = self.lstm(seen)
        numbers = self.added(self.dropout(states[:, -1])) + self.linear(seen[:, -1])
        return torch.clamp(numbers @ self.basis, -LARGEST, LARGEST)


class Free(nn.Module):
    """An LSTM with one number for each step and level: the median, and steps outwards from it."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__()
        self.horizon, self.levels = start.shape
        self.lstm = nn.LSTM(width, 32, batch_first=True)
        self.dropout = nn.Dropout(_DROPOUT)
        self.head = nn.Linear(32, start.size)
        gaps = torch.tensor(start, dtype=torch.float32).diff(dim=1)
        numbers = torch.log(torch.expm1(gaps))
        middle = self.levels // 2
        zero = torch.zeros(self.horizon, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            whole = torch.cat([numbers[:, :middle], zero, numbers[:, middle:]], dim=1)
            self.head.bias.copy_(whole.reshape(-1))

    def forward(self, seen: Tensor) -> Tensor:
        states, _ = self.lstm(seen)
        numbers = self.head(self.dropout(states[:, -1])).view(-1, self.horizon, self.levels)
        low, median, high = numbers.split([self.levels // 2, 1, self.levels // 2], dim=-1)
        down = torch.cumsum(softplus(low.flip(-1)), -1).flip(-1)
        return torch.cat([median - down, median, median + torch.cumsum(softplus(high), -1)], -1)


def mirrored(side: Tensor) -> Tensor:
    """[H, Q] about a median of 0, from the upper half."""
    return torch.cat([-side.flip(-1), torch.zeros_like(side[..., :1]), side], dim=-1)
