"""What was tried for the base network, a row of the table each."""

from __future__ import annotations

import columns
import networks
from columns import Columns
from eras import LOOKBACK
from learning import Network, Own, Product, Variant

_CLOCK = ("day_sin", "day_cos")
_RANGES = ("range", "fast_range_volatility", "range_volatility", "place")
_VOLATILITIES = ("fast_volatility", "medium_volatility", "slow_volatility")
_SIZES = ("size", "fast_size", "medium_size", "slow_size")
_DOWNSIDES = ("downside", "fast_downside", "medium_downside", "slow_downside")


def _windowed(network: Network, first: Columns = columns.shipped, lookback: int = LOOKBACK) -> Own:
    return Own(network, first=first, lookback=lookback, batch_size=512, weight_decay=0.05)


SHIPPED = "as shipped"
VARIANTS: dict[str, Variant] = {
    SHIPPED: Product(),
    "another seed": Product(seeds=(1,)),
    "a third seed": Product(seeds=(2,)),
    "3 seeds averaged": Product(seeds=(0, 1, 2)),
    "width 8": Product({"hidden": 8}),
    "width 64": Product({"hidden": 64}),
    "width 128, 4,000 steps": Product({"hidden": 128, "steps": 4000}),
    "300 steps": Product({"steps": 300}),
    "learned from BTC alone": Product(only="BTC"),
    "without the clock": Product(blank=_CLOCK),
    "without volume": Product(blank=("volume",)),
    "without ranges": Product(blank=_RANGES),
    "without sizes of moves": Product(blank=_SIZES),
    "without downsides": Product(blank=_DOWNSIDES),
    "without either": Product(blank=_SIZES + _DOWNSIDES),
    "without spans but sigma's": Product(blank=(*_VOLATILITIES, *_SIZES[1:], *_DOWNSIDES[1:])),
    "no hidden layer": Own(networks.Linear),
    "+ 11 more spans": Own(more=(columns.spans,)),
    "+ bipower variation": Own(more=(columns.bipower,)),
    "+ BTC's newest bar": Own(more=(columns.leader,)),
    "+ the basket's": Own(more=(columns.basket,)),
    "+ day and week harmonics": Own(more=(columns.calendar,)),
    "+ profile of 7 days": Own(more=(columns.profile,)),
    "+ spans, bipower variation, profile": Own(
        more=(columns.spans, columns.bipower, columns.profile)
    ),
    "+ all of these": Own(
        more=(
            columns.spans,
            columns.bipower,
            columns.leader,
            columns.basket,
            columns.calendar,
            columns.profile,
        )
    ),
    "mixture of two shapes": Own(networks.Mixture),
    "learned median": Own(networks.Median),
    "LSTM of 64 bars, free head": _windowed(networks.Free, columns.usual),
    "LSTM of 64 bars, scale head": _windowed(networks.Alone, columns.usual),
    "perceptron and LSTM": _windowed(networks.Beside),
    "the same, 128 bars back": _windowed(networks.Beside, lookback=2 * LOOKBACK),
}
