"""One network over many markets: `cryptocast pretrain` learns it, `_base.Base` keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cryptocast.config import PretrainSettings
from cryptocast.errors import ModelError
from cryptocast.models import _quantiles
from cryptocast.models._base import LARGEST, Base, predictors
from cryptocast.models._lightning import Rows, train
from cryptocast.models._network import step_basis
from cryptocast.models._pinball import pinball
from cryptocast.models._series import Series
from cryptocast.models._shape import Shape
from cryptocast.models._threads import one_thread
from cryptocast.values import Epoch, Fitted, FloatArray

_CLIP = 12.0  # standardised targets beyond are taken as this, so that one crash is no gradient
_EPOCH_BATCHES = 50  # a training tells how far it is after so many
_MOST_JUDGES = 60_000  # rows of the training that say which epoch is kept
_QUANTILE_ROWS = 200_000  # rows that the quantiles of what is left are taken from


@one_thread()
def pretrain(
    learned: Sequence[Series],
    *,
    recipe: PretrainSettings,
    levels: Sequence[float],
    lookback: int,
    seed: int,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    checkpoint: Path | None = None,
    deadline: float = math.inf,
) -> Fitted:
    """Train a base network; every market is drawn equally often, however long its series.

    Its graph reads windows of `lookback` bars, of which only the newest counts. Same series,
    settings and seed, same network; one that was interrupted goes on from the file `checkpoint`.
    No epoch begins after `deadline`, on the monotonic clock. Raises ModelError where there is
    nothing to learn from, or the training diverges.
    """
    rows = [_rows(series) for series in learned]
    if not any(len(inputs) for inputs, _ in rows):
        raise ModelError(
            "there is no origin to learn from",
            code="model.no_windows",
            hint="give pretrain more candles: --data",
        )
    inputs, targets = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    mean, spread = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
    spread = np.where(spread > 1e-6, spread, 1.0)  # a clock of one bar an hour stands still
    step = -(-len(targets) // _QUANTILE_ROWS)
    start = _quantiles.symmetric(targets[::step].astype(np.float64), levels)
    groups = np.split(np.arange(len(inputs)), np.cumsum([len(i) for i, _ in rows])[:-1])
    epochs = max(1, recipe.steps // _EPOCH_BATCHES)
    shape = Shape(
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        batch_size=recipe.batch_size,
        epochs=epochs,
        patience=epochs,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Perceptron(inputs.shape[1], start, recipe.hidden)
        seen = _scaled(inputs, mean, spread)
        drawn = Balanced((seen, torch.from_numpy(targets)), groups, recipe.batch_size)
        level = torch.tensor(levels, dtype=torch.float32)
        history = train(
            network,
            lambda quantiles, wanted: pinball(quantiles, wanted, level),
            drawn,
            _sample(seen, targets),
            shape,
            on_epoch,
            checkpoint,
            deadline=deadline,
            mixed=recipe.mixed_precision,
        )
    with torch.no_grad():
        stretched = torch.exp(network.log_scale(seen[::step])).double().numpy()
    final = _quantiles.symmetric(targets[::step] / stretched, levels)
    base = _kept(network, mean, spread, final, levels)
    return Fitted("base", {}, base.graph(lookback, levels), history)


class Perceptron(nn.Module):
    """Scaled predictors [N, P] to quantiles [N, H, Q] in units of sigma * sqrt(step)."""

    basis: Tensor  # [K, H]

    def __init__(self, width: int, start: FloatArray, hidden: int) -> None:
        super().__init__()
        horizon, levels = start.shape
        self.register_buffer("basis", step_basis(horizon))
        self.linear = nn.Linear(width, 3)
        self.first = nn.Linear(width, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 3, bias=False)
        for parameter in (self.linear.weight, self.linear.bias, self.last.weight):
            nn.init.zeros_(parameter)
        gaps = np.diff(start[:, levels // 2 :], axis=1)
        # softplus of these is the gaps, so that quantiles start where they should and cannot cross
        self.gaps = nn.Parameter(torch.tensor(np.log(np.expm1(gaps)), dtype=torch.float32))

    def log_scale(self, seen: Tensor) -> Tensor:
        """[N, H] log of the factor that the quantiles are stretched by."""
        state = nn.functional.silu(self.second(nn.functional.silu(self.first(seen))))
        numbers = self.linear(seen) + self.last(state)
        return torch.clamp(numbers @ self.basis, -LARGEST, LARGEST)

    def forward(self, seen: Tensor) -> Tensor:
        """[N, P] to [N, H, Q]."""
        side = torch.cumsum(nn.functional.softplus(self.gaps), dim=1)
        quantiles = torch.cat([-side.flip(1), torch.zeros_like(side[:, :1]), side], dim=1)
        return quantiles * torch.exp(self.log_scale(seen))[..., None]


class Balanced:
    """Batches in which every group of rows has an equal share, drawn with replacement."""

    def __init__(self, rows: Rows, groups: Sequence[NDArray[np.intp]], size: int) -> None:
        self.rows = rows
        self.groups = [torch.from_numpy(group) for group in groups if len(group)]
        self.share = -(-size // len(self.groups))

    @property
    def windows(self) -> int:
        """How many rows an epoch draws."""
        return len(self) * self.share * len(self.groups)

    def __len__(self) -> int:
        return _EPOCH_BATCHES

    def __iter__(self) -> Iterator[Rows]:
        for _ in range(len(self)):
            index = torch.cat(
                [group[torch.randint(len(group), (self.share,))] for group in self.groups]
            )
            yield tuple(tensor[index] for tensor in self.rows)


def _rows(series: Series) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    inputs = predictors(series.newest.astype(np.float64)).astype(np.float32)
    return inputs, np.clip(series.targets, -_CLIP, _CLIP).astype(np.float32)


def _scaled(inputs: NDArray[np.float32], mean: FloatArray, spread: FloatArray) -> Tensor:
    return torch.from_numpy(((inputs - mean) / spread).astype(np.float32))


def _sample(seen: Tensor, targets: NDArray[np.float32]) -> Rows:
    """Rows that tell how an epoch went: the same share of every market's, evenly over its time."""
    step = -(-len(seen) // _MOST_JUDGES)
    return seen[::step], torch.from_numpy(targets[::step])


def _kept(
    network: Perceptron,
    mean: FloatArray,
    spread: FloatArray,
    quantiles: FloatArray,
    levels: Sequence[float],
) -> Base:
    def numbers(tensor: Tensor) -> FloatArray:
        return tensor.detach().double().numpy()

    return Base(
        mean=mean,
        spread=spread,
        linear=numbers(network.linear.weight).T,
        first=numbers(network.first.weight).T,
        first_bias=numbers(network.first.bias),
        second=numbers(network.second.weight).T,
        second_bias=numbers(network.second.bias),
        last=numbers(network.last.weight).T,
        bias=numbers(network.linear.bias),
        basis=numbers(network.basis),
        quantiles=quantiles,
        levels=np.asarray(levels),
    )
