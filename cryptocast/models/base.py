"""A model that already knows markets: the base network as it is, with nothing learned here.

It was trained once over many markets (`cryptocast pretrain`), so it serves where no candles are
to learn from yet, and is what a training on a market's own candles has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.models import _shipped
from cryptocast.seams import Params, Trial
from cryptocast.values import Epoch, Fitted, Windows


class Model:
    """The base network as a model kind; its only parameter `network` names which."""

    kind = "base"

    def __init__(self, network: str = "5m") -> None:
        self._network = network

    def started_at(self, network: str) -> Model:
        """That network."""
        return Model(network)

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Any number of training bars will do."""
        return 1

    def defaults(self) -> Params:
        """The network, by default the shipped one of five minutes."""
        return {"network": self._network}

    def suggest(self, trial: Trial) -> Params:
        """Nothing to search."""
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
        """The network's graph; only the shape of the windows is taken from them.

        Raises ConfigError for another parameter, or a network that is not there.
        """
        chosen = {**self.defaults(), **params}
        if unknown := set(chosen) - {"network"}:
            raise ConfigError(
                f"the base has no parameter '{min(unknown)}'",
                code="config.params",
                hint="known: network",
            )
        found = _shipped.base(str(chosen["network"]), train.targets.shape[1])
        return Fitted(self.kind, chosen, found.graph(train.inputs.shape[1], levels))
