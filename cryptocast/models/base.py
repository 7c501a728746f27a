"""The base network as it is: it knows other markets, and learns nothing from this one.

It was trained once over many markets (`cryptocast pretrain`), so it can serve before there are
candles to learn from, and a training on a market's own candles has to beat it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.models import _shipped
from cryptocast.seams import Params, Trial
from cryptocast.values import Epoch, Fitted, Windows


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
        seed: int,
        on_epoch: Callable[[Epoch, int], None] | None = None,
        checkpoint: Path | None = None,
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
        network = _shipped.base(str(chosen["network"]), train.targets.shape[1])
        return Fitted(self.kind, chosen, network.graph(train.inputs.shape[1], levels))
