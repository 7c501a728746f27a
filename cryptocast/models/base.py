"""The base network: it knows other markets, and learns nothing from this one.

It was trained once over many markets (`cryptocast pretrain`), so it can serve before there are
candles to learn from, and a training on a market's own candles has to beat it. One is shipped per
interval; others are named by their folder.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cryptocast.errors import ConfigError, ModelError
from cryptocast.seams import Params, TrainingRun, Trial
from cryptocast.values import Fitted, Windows

if TYPE_CHECKING:
    from cryptocast.models._base import Base

HAR = "har"
"""The start of a network that has not seen other markets."""

_SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """N origins of one market for a base network: the newest bar of each instead of a window."""

    newest: NDArray[np.float32]  # [N, F] features of the bar before the origin
    targets: NDArray[np.float32]  # [N, H] in units of sigma * sqrt(step), NaN where unknown


def base_intervals() -> tuple[str, ...]:
    """Return the intervals for which a base network is shipped."""
    return tuple(sorted(folder.name for folder in _SHIPPED.iterdir() if folder.is_dir()))


def base_folder(name: str) -> Path:
    """Return the folder of a base network: of the shipped one for an interval, or of that name."""
    return _SHIPPED / name if name in base_intervals() else Path(name)


def load(name: str, horizon: int) -> Base:
    """Return the base network for the first `horizon` steps.

    Raise ConfigError if there is none of that name or it has fewer steps, and ModelError if it
    cannot be read.
    """
    try:
        graph = (base_folder(name) / "model.onnx").read_bytes()
    except OSError as error:
        shipped = ", ".join(base_intervals())
        raise ConfigError(
            f"there is no base network '{name}'",
            code="config.base",
            hint=f"shipped: {shipped}; or the folder that cryptocast pretrain wrote",
        ) from error
    network = _read(graph, name)
    if network.horizon < horizon:
        raise ConfigError(
            f"the base network '{name}' knows {network.horizon} steps, not {horizon}",
            code="config.base",
            hint="lower [model] horizon, or train --from scratch",
        )
    return network.of_steps(horizon)


@functools.lru_cache(maxsize=4)
def _read(graph: bytes, name: str) -> Base:
    from cryptocast.models import _base  # late: onnx, which no tick needs

    try:
        return _base.read(graph)
    except Exception as error:  # onnx raises types of protobuf that no package exports
        raise ModelError(
            f"the base network '{name}' cannot be read: {str(error) or type(error).__name__}",
            code="model.base_damaged",
            hint="install cryptocast again, or let cryptocast pretrain write it anew",
        ) from error


class Model:
    """The base network as a model kind; its only parameter, `network`, names the network."""

    kind = "base"

    def __init__(self, network: str = "5m") -> None:
        self._network = network

    def started_at(self, network: str) -> Model:
        """Return the model kind of another network."""
        return Model(network)

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Return 1: any number of training bars is enough."""
        return 1

    def defaults(self) -> Params:
        """Return the network, by default the one shipped for five minutes."""
        return {"network": self._network}

    def suggest(self, trial: Trial) -> Params:
        """Return the defaults: there is nothing to search."""
        return self.defaults()

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Params,
        run: TrainingRun,
    ) -> Fitted:
        """Return the network's graph; only the shape of the windows matters.

        Raise ConfigError for an unknown parameter, or if there is no such network.
        """
        chosen = {**self.defaults(), **params}
        if unknown := set(chosen) - {"network"}:
            raise ConfigError(
                f"the base has no parameter '{min(unknown)}'",
                code="config.params",
                hint="known: network",
            )
        network = load(str(chosen["network"]), train.targets.shape[1])
        return Fitted(self.kind, chosen, network.graph(train.inputs.shape[1], levels))
