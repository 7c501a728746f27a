"""What the tests of the keyless exchanges share; fixtures are in tests/sources/conftest.py."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import CryptocastError
from cryptocast.sources import Setup
from cryptocast.sources._exchange import Exchange
from cryptocast.values import Candles, Market, parse_time
from support.loopback import Loopback, Reply
from support.patience import PATIENT

START = parse_time("2024-06-01")
BARS = 3000
TIMES = START + 300 * np.arange(BARS)


def series() -> Candles:
    """BARS bars without a gap; no two columns of a bar are alike."""
    price = 100.5 + np.arange(BARS)
    return Candles.of(TIMES, price, price + 2, price - 2, price + 1, price / 7)


def opened(kind: type[Exchange], server: Loopback) -> Exchange:
    """The exchange, asked at the server."""
    settings = SourceSettings(name=kind.name, base_url=server.base_url(kind.name))
    return kind(
        Setup(settings, [bitcoin(kind)], Secrets({}), clock=SystemClock(), patience=PATIENT)
    )


def bitcoin(source: Exchange | type[Exchange]) -> Market:
    """The market that all of them have."""
    return Market.of("BTC/EUR", source.name, "5m")


def fails(source: Exchange, market: Market | None = None) -> CryptocastError:
    """The error that asking for two bars ends with; it says what to do."""
    with pytest.raises(CryptocastError) as caught:
        list(source.pages(market or bitcoin(source), START, START + 600))
    assert caught.value.hint
    return caught.value


def check_named(server: Loopback, source: Exchange, reply: Reply, found: str, path: str) -> None:
    """An answer that holds no candles is named in the error."""
    server.faults.append(reply)
    error = fails(source)
    assert error.code == "source.bad_answer"
    assert error.message == f"{source.name} answered {found} (GET {path})"


def check_first(candles: Candles, number: int = 0) -> None:
    """Each value of the first candle, which is the bar with that number, is in its column."""
    price = 100.5 + number
    first = candles.take(slice(1))
    assert first.open_time[0] == TIMES[number]
    assert (first.open[0], first.high[0], first.low[0]) == (price, price + 2, price - 2)
    assert (first.close[0], first.volume[0]) == (price + 1, price / 7)
