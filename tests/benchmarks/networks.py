"""Networks that the product does not have, for `variants.py`: what was tried beside its perceptron.

Each takes the scaled columns of the newest bar [N, P], or of a window [N, L, P], and gives
quantiles [N, H, Q] in units of sigma * sqrt(step).
"""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cryptocast.config import PretrainSettings
from cryptocast.models import base_folder
from cryptocast.models._base import COLUMNS, MONTH
from cryptocast.models._pretraining import Perceptron
from cryptocast.values import FloatArray

_DROPOUT = 0.2


def recipe() -> PretrainSettings:
    """How the shipped network of five minutes was trained."""
    params = json.loads((base_folder("5m") / "card.json").read_text(encoding="utf-8"))["params"]
    return PretrainSettings(**params)


class Scaled(Perceptron):
    """The shipped network; its quantiles are taken anew when it is trained."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start, recipe().hidden, recipe().dropout)

    def middle(self, seen: Tensor) -> Tensor:
        """[N, H] where the median lies: at the last price."""
        return torch.zeros(len(seen), self.basis.shape[1])


class Tails(Scaled):
    """Outer quantiles that stretch or shrink more than the inner ones, by the inputs."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start)
        self.tilt = nn.Linear(width, 2)
        nn.init.zeros_(self.tilt.weight)
        nn.init.zeros_(self.tilt.bias)

    def forward(self, seen: Tensor) -> Tensor:
        numbers: Tensor = self.tilt(seen) @ self.basis[:2]
        outwards = torch.linspace(-1, 1, self.gaps.shape[1])
        gaps = softplus(self.gaps) * torch.exp(torch.tanh(numbers)[..., None] * outwards)
        return mirrored(torch.cumsum(gaps, -1)) * torch.exp(self.log_scale(seen))[..., None]


class Median(Perceptron):
    """A median that is learned, too, instead of the last price."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start, recipe().hidden, recipe().dropout)
        self.middle = nn.Linear(width, 2)
        nn.init.zeros_(self.middle.weight)
        nn.init.zeros_(self.middle.bias)

    def forward(self, seen: Tensor) -> Tensor:
        quantiles: Tensor = super().forward(seen)
        middle: Tensor = self.middle(seen) @ self.basis[:2]
        return quantiles + 0.3 * middle[..., None]


class Reversal(Scaled):
    """A median that leans with, or against, the newest move and close, by fixed weights a step.

    Unlike `Median` it cannot learn that prices rise: without a move the median is the last price.
    """

    _LEANS = "return", "place"

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start)
        self.lean = nn.Linear(len(self._LEANS), 2, bias=False)
        nn.init.zeros_(self.lean.weight)

    def middle(self, seen: Tensor) -> Tensor:
        newest = seen[:, [len(MONTH) + COLUMNS.index(name) for name in self._LEANS]]
        leans: Tensor = self.lean(newest) @ self.basis[:2]
        return 0.3 * leans

    def forward(self, seen: Tensor) -> Tensor:
        quantiles: Tensor = super().forward(seen)
        return quantiles + self.middle(seen)[..., None]


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


class Gated(Beside):
    """The same with a GRU."""

    def __init__(self, width: int, start: FloatArray) -> None:
        super().__init__(width, start)
        self.lstm = nn.GRU(width, self.hidden, batch_first=True)


def mirrored(side: Tensor) -> Tensor:
    """[H, Q] about a median of 0, from the upper half."""
    return torch.cat([-side.flip(-1), torch.zeros_like(side[..., :1]), side], dim=-1)
