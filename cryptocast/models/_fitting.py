"""The fit of a network that corrects a start: train, centre, shrink, take the quantiles anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cryptocast.models import _quantiles, base
from cryptocast.models._base import Base
from cryptocast.models._encoders import Encoder
from cryptocast.models._lightning import Training, shuffled, train
from cryptocast.models._network import Network, Start, one_thread, pinball, to_onnx
from cryptocast.models._shape import Shape
from cryptocast.models.base import HAR
from cryptocast.models.baselines import har
from cryptocast.models.baselines._baseline import PastOrigins
from cryptocast.seams import TrainingRun
from cryptocast.values import FEATURES, Epoch, FloatArray, Windows

_Rows = tuple[Tensor, Tensor, Tensor]
"""The features of windows [N, L, P], the log-scale to start at [N, H], and targets [N, H]."""

_CLIP = 12.0  # standardised targets are clipped here, so that one crash is not the gradient
_BOUND_FROM_BASE = 0.25  # a base network leaves less to correct than HAR
_SHRINKS = (1.0, 0.75, 0.5, 0.25, 0.0)


def fit(
    encoder: type[Encoder],
    shape: Shape,
    parts: list[Windows],
    levels: Sequence[float],
    run: TrainingRun,
) -> tuple[bytes, tuple[Epoch, ...]]:
    """Return the ONNX graph of a trained network, and the epochs of the training.

    `parts` are the windows to learn from, then those that stop it early. They are taken out of
    the list: of many markets they are 0.1 GB each, which goes when their rows are there.
    """
    past, lookback = PastOrigins(tuple(p.newest() for p in parts)), parts[0].inputs.shape[1]
    start = _start(shape, past)
    learned, held_out = (_rows(parts.pop(0), start, shape.places) for _ in range(2))
    quantiles, bound = _at_start(start, shape, past.parts[0], levels)
    level = torch.tensor(levels, dtype=torch.float32)
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(run.seed)
        network = Network(encoder, shape, quantiles, bound)
        history = train(
            network,
            Training(
                loss=lambda quantiles, targets: pinball(quantiles, targets, level),
                batches=shuffled(learned, shape.batch_size),
                held_out=held_out,
                shape=shape,
                run=run,
            ),
        )
    with one_thread(), torch.no_grad():
        network.centre.copy_(network.raw(learned[0]).mean(0))
        _shrink(network, held_out, level)
        if not isinstance(start, Base):
            quantiles = _left(network, (learned, held_out), past, levels)
    return to_onnx(network, start, quantiles, lookback), history


def _at_start(
    start: Start, shape: Shape, train: Windows, levels: Sequence[float]
) -> tuple[FloatArray, float]:
    """Return the base quantiles [H, Q] of the untrained network, and its bound."""
    if isinstance(start, Base):  # it knows the ratios of many markets, better than a week of one
        return start.at(levels), shape.bound * _BOUND_FROM_BASE
    ratios = train.standardised / np.exp(start.log_scale(_newest(train)))
    return _quantiles.symmetric(ratios, levels), shape.bound


def _left(
    network: Network, parts: Sequence[_Rows], past: PastOrigins, levels: Sequence[float]
) -> FloatArray:
    """Return [H, Q], quantiles of the ratios that remain after the network's scale."""
    stretched = torch.cat([network.log_scale(seen, start) for seen, start, _ in parts])
    return _quantiles.symmetric(
        past.origins.standardised / np.exp(stretched.double().numpy()), levels
    )


def _start(shape: Shape, past: PastOrigins) -> Start:
    """Return what the network corrects: HAR, fitted to the past, or a base network as it is."""
    if shape.start_at == HAR:
        return har.correction(past.newest(*FEATURES), past.origins.standardised)
    return base.load(shape.start_at, past.horizon)


def _rows(windows: Windows, start: Start, places: Sequence[int]) -> _Rows:
    """Return the rows of one part of the candles, with clipped targets."""
    targets = np.clip(windows.standardised, -_CLIP, _CLIP)
    seen = np.empty((*windows.inputs.shape[:2], len(places)), dtype=np.float32)
    for column, place in enumerate(places):  # no copy of all windows on the way
        seen[..., column] = windows.inputs[..., place]
    return (
        torch.from_numpy(seen),
        torch.tensor(start.log_scale(_newest(windows)), dtype=torch.float32),
        torch.tensor(targets, dtype=torch.float32),
    )


def _newest(windows: Windows) -> FloatArray:
    """Return the newest bar's features [N, F], for sums in doubles."""
    return windows.inputs[:, -1].astype(np.float64)


def _shrink(network: Network, held_out: _Rows, levels: Tensor) -> None:
    """Keep the share of the correction that scores best on the validation part."""
    losses = []
    for shrink in _SHRINKS:
        network.shrink.fill_(shrink)
        losses.append(float(pinball(network(*held_out[:2]), held_out[2], levels)))
    network.shrink.fill_(_SHRINKS[int(np.argmin(losses))])
