"""The names of what serves in MLflow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_model_alias_name

from cryptocast.values import INTERVAL_SECONDS, Deployment, Market
from cryptocast.workflows.learning.deployment import alias, aliases_of

sources = st.from_regex(r"(ccxt:)?[a-z0-9_]{1,12}", fullmatch=True)
coins = st.from_regex(r"[A-Z0-9]{1,8}", fullmatch=True)
markets = st.builds(Market, sources, coins, coins, st.sampled_from(sorted(INTERVAL_SECONDS)))


@pytest.mark.parametrize(
    ("market", "name"),
    [
        ("*", "production"),
        ("kraken:BTC/EUR:5m", "production-kraken-BTC_EUR-5m"),
        ("ccxt:okx:BTC/USDT:1h", "production-ccxt-okx-BTC_USDT-1h"),
    ],
)
def test_a_markets_alias_is_its_role_and_its_id(market: str, name: str) -> None:
    assert alias("production", market) == name


@given(markets, markets)
def test_mlflow_takes_each_and_no_two_markets_share_one(one: Market, other: Market) -> None:
    _validate_model_alias_name(alias("production", one.id))
    assert re.fullmatch(r"previous-[A-Za-z0-9_-]+", alias("previous", one.id))
    assert (alias("production", one.id) == alias("production", other.id)) == (one == other)


def test_a_deployment_asks_for_as_many_as_it_has_versions() -> None:
    first = Deployment(1, 0.0, "*", "3", None, "promote", "x", "{}")
    second = Deployment(2, 0.0, "sim:A/USD:5m", "4", "3", "promote", "x", "{}")
    assert aliases_of(first) == {"production": "3"}
    assert aliases_of(second) == {"production-sim-A_USD-5m": "4", "previous-sim-A_USD-5m": "3"}
