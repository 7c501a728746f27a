"""Training of one network over many markets: `_base.Base` keeps its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cryptocast.config import PretrainSettings
from cryptocast.errors import ModelError
from cryptocast.models import _quantiles
from cryptocast.models._base import FURTHEST, LARGEST, MONTH, STILL, Base, predictors
from cryptocast.models._lightning import Batches, Rows, Training, train
from cryptocast.models._network import one_thread, pinball, step_basis
from cryptocast.models._shape import Shape
from cryptocast.models.base import Series
from cryptocast.seams import TrainingRun
from cryptocast.values import Fitted, FloatArray

_NO_VARIANCE = 1e-4  # float32 rounds the harmonics to some 1e-6
_CLIP = 12.0  # standardised targets are clipped here, so that one crash is not the gradient
_EPOCH_BATCHES = 50  # a training reports its progress after this many
_MOST_JUDGES = 60_000  # rows of the training that decide which epoch is kept
# How late a step is, and the square of it, by level, slope and bend: 0 at step 1, 1 at the last.
_LATE = torch.tensor([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]])
_QUANTILE_ROWS = 200_000  # rows that the quantiles of what is left are taken from


@one_thread()
def pretrain(
    learned: Sequence[Series],
    *,
    recipe: PretrainSettings,
    levels: Sequence[float],
    lookback: int,
    run: TrainingRun,
) -> Fitted:
    """Train a base network; every market is drawn equally often, however long its series.

    Its graph reads windows of `lookback` bars, but only the newest bar counts. The same series,
    settings and seed give the same network; a training that was interrupted continues from its
    checkpoint. Raise ModelError if there is nothing to learn from, or if the training diverges.
    """
    material = _Material.of(learned)
    rows = material.seen, torch.from_numpy(material.targets)
    # The same share of every market, evenly over its time.
    every = -(-len(material.targets) // _MOST_JUDGES)
    step = -(-len(material.targets) // _QUANTILE_ROWS)
    sample = material.targets[::step]
    start = _quantiles.symmetric(sample.astype(np.float64), levels)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        network = Perceptron(material.seen.shape[1], start, recipe.hidden, recipe.dropout)
        level = torch.tensor(levels, dtype=torch.float32)
        history = train(
            network,
            Training(
                loss=lambda quantiles, targets: pinball(quantiles, targets, level),
                batches=balanced(rows, material.groups, recipe.batch_size),
                held_out=(rows[0][::every], rows[1][::every]),
                shape=_shape(recipe),
                run=run,
                mixed=recipe.mixed_precision,
            ),
        )
    with torch.no_grad():
        stretched = torch.exp(network.eval().log_scale(material.seen[::step])).double().numpy()
    base = _kept(network, material, _quantiles.symmetric(sample / stretched, levels), levels)
    return Fitted("base", {}, base.graph(lookback, levels), history)


@dataclass(frozen=True, slots=True, eq=False)
class _Material:
    """The rows of all markets: P standardised predictors and H clipped targets each."""

    seen: Tensor  # [N, P]
    targets: NDArray[np.float32]  # [N, H]
    groups: Sequence[NDArray[np.intp]]  # the rows of each market
    mean: FloatArray  # [P] of the predictors
    spread: FloatArray  # [P]

    @classmethod
    def of(cls, learned: Sequence[Series]) -> _Material:
        """Put the series of all markets together. Raise ModelError if they hold no origin."""
        if not any(len(series.newest) for series in learned):
            raise ModelError(
                "there is no origin to learn from",
                code="model.no_windows",
                hint="give pretrain more candles: --data",
            )
        inputs = np.concatenate(
            [predictors(s.newest.astype(np.float64)).astype(np.float32) for s in learned]
        )
        targets = np.concatenate([np.clip(s.targets, -_CLIP, _CLIP) for s in learned])
        mean, spread = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
        # What hardly varies is the rounding of an input that stands still, such as a harmonic of
        # the hour that is zero at every bar; where it moves later, nothing was learned of it.
        spread = np.where(spread > _NO_VARIANCE, spread, STILL)
        scaled = np.clip((inputs - mean) / spread, -FURTHEST, FURTHEST)
        seen = torch.from_numpy(scaled.astype(np.float32))
        ends = np.cumsum([len(series.newest) for series in learned])[:-1]
        groups = np.split(np.arange(len(inputs)), ends)
        return cls(seen, targets.astype(np.float32), groups, mean, spread)


def _shape(recipe: PretrainSettings) -> Shape:
    epochs = max(1, recipe.steps // _EPOCH_BATCHES)
    return Shape(
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        batch_size=recipe.batch_size,
        epochs=epochs,
        patience=epochs,
    )


class Perceptron(nn.Module):
    """Scaled predictors [N, P] to quantiles [N, H, Q] in units of sigma * sqrt(step).

    The first predictors are `MONTH`.
    """

    basis: Tensor  # [K, H]

    def __init__(self, width: int, start: FloatArray, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        horizon, levels = start.shape
        self.register_buffer("basis", step_basis(horizon))
        width -= len(MONTH)
        self.linear = nn.Linear(width, 3)
        self.later = nn.Parameter(torch.zeros(len(MONTH), len(_LATE)))
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 3, bias=False)
        for parameter in (self.linear.weight, self.linear.bias, self.last.weight):
            nn.init.zeros_(parameter)
        gaps = np.diff(start[:, levels // 2 :], axis=1)
        # softplus of these gives the gaps: quantiles start as in `start` and cannot cross
        self.gaps = nn.Parameter(torch.tensor(np.log(np.expm1(gaps)), dtype=torch.float32))

    def log_scale(self, seen: Tensor) -> Tensor:
        """Return [N, H], the log of the factor that stretches the quantiles."""
        month, now = seen[:, : len(MONTH)], seen[:, len(MONTH) :]
        state = self.dropout(nn.functional.silu(self.first(now)))
        state = self.dropout(nn.functional.silu(self.second(state)))
        numbers = self.linear(now) + self.last(state) + month @ self.later @ _LATE
        return torch.clamp(numbers @ self.basis, -LARGEST, LARGEST)

    def forward(self, seen: Tensor) -> Tensor:
        """Return quantiles [N, H, Q] for predictors [N, P]."""
        side = torch.cumsum(nn.functional.softplus(self.gaps), dim=1)
        quantiles = torch.cat([-side.flip(1), torch.zeros_like(side[:, :1]), side], dim=1)
        return quantiles * torch.exp(self.log_scale(seen))[..., None]


def balanced(rows: Rows, groups: Sequence[NDArray[np.intp]], size: int) -> Batches:
    """Return batches in which every group of rows has an equal share, drawn with replacement."""
    indices = [torch.from_numpy(group) for group in groups if len(group)]
    share = -(-size // len(indices))

    def draw() -> Iterator[Tensor]:
        for _ in range(_EPOCH_BATCHES):
            yield torch.cat([group[torch.randint(len(group), (share,))] for group in indices])

    return Batches(rows, draw, _EPOCH_BATCHES, _EPOCH_BATCHES * share * len(indices))


def _kept(
    network: Perceptron, material: _Material, quantiles: FloatArray, levels: Sequence[float]
) -> Base:
    """Return the numbers of a trained network, with the quantiles [H, Q] that it stretches."""

    def numbers(tensor: Tensor) -> FloatArray:
        return tensor.detach().double().numpy()

    # The network proper does not hear the predictors of `MONTH`: their weights are 0.
    month = numbers(network.later @ _LATE)
    deaf = np.zeros((len(month), network.first.out_features))
    return Base(
        mean=material.mean,
        spread=material.spread,
        linear=np.vstack([month, numbers(network.linear.weight).T]),
        first=np.vstack([deaf, numbers(network.first.weight).T]),
        first_bias=numbers(network.first.bias),
        second=numbers(network.second.weight).T,
        second_bias=numbers(network.second.bias),
        last=numbers(network.last.weight).T,
        bias=numbers(network.linear.bias),
        basis=numbers(network.basis),
        quantiles=quantiles,
        levels=np.asarray(levels),
    )
