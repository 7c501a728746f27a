"""What was tried for the base network, a row of the table each."""

from __future__ import annotations

import columns
import networks
from eras import LOOKBACK
from learning import Network, Own, Product, Variant

from cryptocast.models._base import MONTH
from cryptocast.values import FEATURES

_PROFILE = tuple(name for name in FEATURES if name.endswith("profile"))
_RANGES = ("range", "fast_range_volatility", "range_volatility", "place")
_SIZES = ("size", "fast_size", "medium_size", "slow_size")
_DOWNSIDES = ("downside", "fast_downside", "medium_downside", "slow_downside")


def _windowed(network: Network) -> Own:
    return Own(network, lookback=LOOKBACK, batch_size=512)


SHIPPED = "as shipped"
VARIANTS: dict[str, Variant] = {
    SHIPPED: Product(),
    "another seed": Product(seeds=(1,)),
    "without the profile": Product(blank=_PROFILE),
    "without the last month": Product(blank=MONTH),
    "without the minute of the hour": Product(blank=("day_sin", "day_cos")),
    "without ranges": Product(blank=_RANGES),
    "without sizes of moves": Product(blank=_SIZES),
    "without downsides": Product(blank=_DOWNSIDES),
    "without dropout, 1,000 steps": Product({"dropout": 0.0, "steps": 1000}),
    "dropout 0.3, weight decay 1": Product({"dropout": 0.3, "weight_decay": 1.0}),
    "width 32": Product({"hidden": 32}),
    "+ the level of volatility": Own(more=(columns.level,)),
    "+ clock of day and week": Own(more=(columns.calendar,)),
    "+ 11 more spans": Own(more=(columns.spans,)),
    "+ bipower variation": Own(more=(columns.bipower,)),
    "+ Rogers-Satchell, Garman-Klass": Own(more=(columns.estimators,)),
    "+ lagged sizes and ranges": Own(more=(columns.lagged,)),
    "+ volume of three spans": Own(more=(columns.volumes,)),
    "+ volatility of volatility": Own(more=(columns.unsteady,)),
    "the last month for every step": Own(more=(columns.month,)),
    "+ BTC's newest bar": Own(more=(columns.leader,)),
    "learned tails": Own(networks.Tails),
    "learned median": Own(networks.Median),
    "learned reversal": Own(networks.Reversal),
    "perceptron and LSTM of 64 bars": _windowed(networks.Beside),
    "perceptron and GRU of 64 bars": _windowed(networks.Gated),
}
