"""Groups of markets that share a model: one that fails stops none of the others."""

from __future__ import annotations

import pytest

from cryptocast.errors import ConfigError, SourceError, StateError
from cryptocast.values import Market
from cryptocast.workflows.learning.scope import Group, for_each_group

BTC, ETH = (Market.of(symbol, "sim", "5m") for symbol in ("BTC/EUR", "ETH/EUR"))


def failing(error: Exception, *markets: Market) -> str:
    def work(group: Group) -> str:
        if group[0] in markets:
            raise error
        return group[0].symbol

    results, failures = for_each_group([(BTC,), (ETH,)], work)
    assert failures == dict.fromkeys(markets, error)
    return " ".join(results)


def test_a_group_that_fails_is_reported_and_the_others_go_on() -> None:
    assert failing(StateError("no candles"), BTC) == "ETH/EUR"


def test_a_market_that_its_source_does_not_know_stops_no_other() -> None:
    assert failing(ConfigError("unknown", code="config.symbol"), BTC) == "ETH/EUR"


def test_if_every_group_fails_the_first_error_is_raised() -> None:
    with pytest.raises(SourceError, match="down"):
        failing(SourceError("down"), BTC, ETH)


def test_an_error_that_would_fail_every_group_ends_it_at_once() -> None:
    with pytest.raises(ConfigError, match="no such kind"):
        failing(ConfigError("no such kind"), BTC)
