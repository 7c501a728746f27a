"""The random walk: the last price, EWMA volatility, empirical quantiles of what came before.

Filtered historical simulation (Barone-Adesi et al. 1999): the returns to each step are
divided by the volatility known at their origin; the quantiles of those ratios times
today's volatility are the forecast. It is the baseline, and the last fallback.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cryptocast.errors import ConfigError
from cryptocast.models import _quantiles
from cryptocast.seams import Trial
from cryptocast.values import Epoch, Fitted, Windows


class Model:
    """The random walk as a model kind. It has nothing to tune and nothing random."""

    kind = "random_walk"

    def least_bars(self, lookback: int, horizon: int) -> int:
        """Any number of training bars will do."""
        return 1

    def defaults(self) -> Mapping[str, float | int | str]:
        """No parameters."""
        return {}

    def suggest(self, trial: Trial) -> Mapping[str, float | int | str]:
        """Nothing to search."""
        return {}

    def fit(
        self,
        train: Windows,
        validation: Windows,
        *,
        levels: Sequence[float],
        params: Mapping[str, float | int | str],
        seed: int,
        on_epoch: Callable[[Epoch, int], None] | None = None,
    ) -> Fitted:
        """Take the quantiles of both parts; nothing is selected, so nothing is held out."""
        from cryptocast.models import _onnx  # late: onnx is slow to import and the tick needs none

        if params:
            raise ConfigError(
                f"the random_walk has no parameter '{min(params)}'",
                code="config.params",
                hint="it takes none",
            )
        both = Windows.concatenate([train, validation])
        lookback = both.inputs.shape[1]
        quantiles = _quantiles.symmetric(both.standardised, levels)
        return Fitted(self.kind, dict(params), _onnx.constant(quantiles, lookback))
