"""Ways to learn from tracks and to forecast others: the product's own, and other networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import columns
import networks
import numpy as np
import torch
from columns import Columns
from eras import LEVELS, TAUGHT_LOOKBACK, Forecast, Learned, Track
from msgspec.structs import replace
from networks import recipe
from torch import Tensor, nn

from cryptocast.models import Series, _quantiles
from cryptocast.models._base import FURTHEST, STILL, Base
from cryptocast.models._base import read as read_base
from cryptocast.models._lightning import Training, train
from cryptocast.models._network import pinball
from cryptocast.models._pretraining import balanced, pretrain
from cryptocast.models._shape import Shape
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, FloatArray, IntArray

Network = Callable[[int, FloatArray], nn.Module]
"""Made from the number of columns and the quantiles [H, Q] to start at."""

_CLIP = 12.0  # targets, as pretrain has it
_EPOCH_BATCHES = 50
_MOST_JUDGES = 6000  # rows that say which epoch is kept


class Variant(Protocol):
    """A way to learn."""

    def learn(self, tracks: Sequence[Track]) -> Learned:
        """Learn from these tracks, all of them."""


def of_base(base: Base) -> Learned:
    """A network that is trained already."""
    return _averaged([base], ())


@dataclass(frozen=True)
class Product:
    """`cryptocast pretrain` itself: other settings, other seeds, features that it cannot see."""

    settings: Mapping[str, float] = field(default_factory=dict)
    blank: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def learn(self, tracks: Sequence[Track]) -> Learned:
        series = []
        for track in tracks:
            rows = track.taught()
            targets = track.targets(rows).astype(np.float32)
            series.append(Series(_newest(track, rows, self.blank), targets))
        settings = replace(recipe(), **dict(self.settings))
        bases = [
            read_base(
                pretrain(
                    series,
                    recipe=settings,
                    levels=LEVELS,
                    lookback=TAUGHT_LOOKBACK,
                    run=TrainingRun(seed),
                ).onnx
            )
            for seed in self.seeds
        ]
        return _averaged(bases, self.blank)


def _averaged(bases: Sequence[Base], blank: Sequence[str]) -> Learned:
    quantiles = np.mean([base.quantiles for base in bases], axis=0)

    def learned(track: Track, peers: Sequence[Track]) -> Forecast:
        def forecast(rows: IntArray) -> FloatArray:
            newest = _newest(track, rows, blank).astype(np.float64)
            log_scale = np.mean([base.log_scale(newest) for base in bases], axis=0)
            return np.asarray(quantiles * np.exp(log_scale)[..., None])

        return forecast

    return learned


def _newest(track: Track, rows: IntArray, blank: Sequence[str]) -> np.ndarray:
    newest = track.features[rows]
    newest[:, [FEATURES.index(name) for name in blank]] = 0
    return newest


@dataclass(frozen=True)
class Own:
    """Another network or other columns, trained as `pretrain` trains."""

    network: Network = networks.Scaled
    more: tuple[Columns, ...] = ()
    first: Columns = columns.shipped
    lookback: int = 1
    batch_size: int = 1024
    weight_decay: float = 0.01
    seed: int = 0

    def learn(self, tracks: Sequence[Track]) -> Learned:
        own = list(tracks)
        rows = [track.taught() for track in own]
        rows = [each[each >= self.lookback - 1] for each in rows]
        tables = [self._columns(track, _peers(track, own)) for track in own]
        seen = np.concatenate([t[r] for t, r in zip(tables, rows, strict=True)])
        mean, spread = seen.mean(axis=0), seen.std(axis=0)
        spread = np.where(spread > 1e-4, spread, STILL)
        starts = np.cumsum([0, *(len(table) for table in tables)])
        at = [each + start for each, start in zip(rows, starts[:-1], strict=True)]
        targets = np.concatenate(
            [t.targets(r).clip(-_CLIP, _CLIP) for t, r in zip(own, rows, strict=True)]
        )
        table = _scaled(np.concatenate(tables), mean, spread)
        index = torch.from_numpy(np.concatenate(at))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            start = _quantiles.symmetric(targets, LEVELS)
            looked = _Looked(self.network(seen.shape[1], start), table, self.lookback)
            self._train(looked, index, targets, [len(each) for each in at])
        final = _anew(looked, index, targets)

        def learned(track: Track, peers: Sequence[Track]) -> Forecast:
            table = _scaled(self._columns(track, peers), mean, spread)
            mine = _Looked(looked.inner, table, self.lookback)
            return lambda rows: mine.quantiles(torch.from_numpy(rows), final)

        return learned

    def _columns(self, track: Track, peers: Sequence[Track]) -> FloatArray:
        return np.hstack([made(track, peers) for made in (self.first, *self.more)])

    def _train(
        self, looked: _Looked, index: Tensor, targets: FloatArray, many: Sequence[int]
    ) -> None:
        settings = recipe()
        epochs = settings.steps // _EPOCH_BATCHES
        shape = Shape(
            learning_rate=settings.learning_rate,
            weight_decay=self.weight_decay,
            epochs=epochs,
            patience=epochs,
        )
        rows = index, torch.tensor(targets, dtype=torch.float32)
        groups = np.split(np.arange(len(index)), np.cumsum(many)[:-1])
        step = -(-len(index) // _MOST_JUDGES)
        level = torch.tensor(LEVELS, dtype=torch.float32)
        training = Training(
            loss=lambda quantiles, targets: pinball(quantiles, targets, level),
            batches=balanced(rows, groups, self.batch_size),
            held_out=tuple(each[::step] for each in rows),
            shape=shape,
            run=TrainingRun(self.seed),
        )
        train(looked, training)
        looked.eval()


class _Looked(nn.Module):
    """A network that looks up its rows, or the windows that end at them, in a table [T, P]."""

    def __init__(self, inner: nn.Module, table: Tensor, lookback: int) -> None:
        super().__init__()
        self.inner = inner
        self.table = table
        self.offsets = torch.arange(1 - lookback, 1)

    def forward(self, index: Tensor) -> Tensor:
        return self.inner(self.seen(index))  # type: ignore[no-any-return]  # torch's own type

    def seen(self, index: Tensor) -> Tensor:
        if len(self.offsets) == 1:
            return self.table[index]
        return self.table[index[:, None] + self.offsets]

    @torch.no_grad()
    def quantiles(self, index: Tensor, final: FloatArray | None) -> FloatArray:
        """[N, H, Q]; the final ones stretched, where there are such."""
        if final is None or not isinstance(self.inner, networks.Scaled):
            return np.asarray(self(index).double().numpy())
        seen = self.seen(index)
        scale, middle = torch.exp(self.inner.log_scale(seen)), self.inner.middle(seen)
        return np.asarray(final * scale.double().numpy()[..., None] + middle.numpy()[..., None])


@torch.no_grad()
def _anew(looked: _Looked, index: Tensor, targets: FloatArray) -> FloatArray | None:
    """[H, Q] of the ratios that are left, as `pretrain` takes them; None for a head of its own."""
    if not isinstance(looked.inner, networks.Scaled):
        return None
    left = []
    for chosen in torch.split(torch.arange(0, len(index), 5), 8192):
        seen = looked.seen(index[chosen])
        scale, middle = torch.exp(looked.inner.log_scale(seen)), looked.inner.middle(seen)
        left.append((targets[chosen.numpy()] - middle.numpy()) / scale.double().numpy())
    return _quantiles.symmetric(np.concatenate(left), LEVELS)


def _scaled(columns: FloatArray, mean: FloatArray, spread: FloatArray) -> Tensor:
    """[T, P] as the shipped network scales its inputs."""
    return torch.tensor(
        np.clip((columns - mean) / spread, -FURTHEST, FURTHEST), dtype=torch.float32
    )


def _peers(track: Track, tracks: Sequence[Track]) -> list[Track]:
    return [each for each in tracks if each.era == track.era]
