"""The month's budget of a metered source, kept in the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryptocast import metering
from cryptocast.errors import SourceError
from cryptocast.metering import (
    Budget,
    calls_a_tick,
    fitting_interval,
    loop_cost,
    monthly_cost,
)
from cryptocast.store import Credits, Store
from cryptocast.values import Market, parse_time

NOW = float(parse_time("2024-05-20T12:00:00Z"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cryptocast.duckdb", 60)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The system's clock, as a list of one moment that tests move."""
    moment = [NOW]
    monkeypatch.setattr(metering.time, "time", lambda: moment[0])
    return moment


def spent(store: Store, at: float = NOW) -> Credits:
    with store.read() as reader:
        return reader.credits(["coincap"], at)["coincap"]


def test_a_call_is_paid_before_it_is_made_and_corrected_after(store: Store) -> None:
    budget = Budget(store, 100)
    budget.book("coincap", 13)
    assert spent(store) == Credits(1, 13, None)
    budget.settle("coincap", 13, 12)
    assert spent(store) == Credits(1, 12, None)
    budget.settle("coincap", 1, 1)
    assert spent(store) == Credits(1, 12, None)


def test_a_call_that_the_budget_does_not_pay_for_is_not_made(store: Store) -> None:
    budget = Budget(store, 20)
    budget.book("coincap", 13)
    with pytest.raises(SourceError) as caught:
        budget.book("coincap", 8)
    assert (caught.value.code, caught.value.exit_code) == ("source.quota", 4)
    assert caught.value.message == (
        "coincap has cost 13 of 20 credits this month, and this call would cost about 8"
    )
    assert caught.value.hint == (
        "set [source] monthly_credits to what your plan pays for, or add a [[source.fallback]]"
    )
    assert not caught.value.retry
    budget.book("coincap", 7)
    assert spent(store) == Credits(2, 20, None)


def test_a_new_month_has_a_new_budget(store: Store, clock: list[float]) -> None:
    budget = Budget(store, 10)
    budget.book("coincap", 10)
    clock[0] = float(parse_time("2024-06-01"))
    budget.book("coincap", 10)
    assert spent(store) == spent(store, clock[0]) == Credits(1, 10, None)


def test_after_a_refusal_nothing_is_asked_for_a_day(store: Store, clock: list[float]) -> None:
    budget = Budget(store, 1000)
    budget.book("coincap", 1)
    budget.refused("coincap")
    clock[0] += metering.QUIET_SECONDS - 1
    with pytest.raises(SourceError) as caught:
        budget.book("coincap", 1)
    assert caught.value.code == "source.quota"
    assert caught.value.message == (
        "coincap said at 2024-05-20T12:00:00Z that its plan is used up, "
        "and is not asked again before 2024-05-21T12:00:00Z"
    )
    clock[0] += 2
    budget.book("coincap", 1)


def test_a_refusal_can_be_lifted(store: Store) -> None:
    budget = Budget(store, 1000)
    budget.refused("coincap")
    budget.lift("coincap")
    budget.book("coincap", 1)
    assert spent(store) == Credits(1, 1, None)


@pytest.mark.parametrize(
    ("calls", "credits", "interval"),
    [
        (1, 500, "2h"),
        (1, 4_000, "15m"),
        (1, 8_927, "15m"),
        (1, 8_928, "5m"),
        (2, 4_000, "30m"),
        (1, 44_640, "1m"),
        (40, 1_000, None),
    ],
)
def test_the_interval_that_fits_a_plan(calls: int, credits: int, interval: str | None) -> None:
    assert fitting_interval(calls, credits) == interval
    if interval is not None:
        assert monthly_cost(calls, interval) <= credits


def test_a_five_minute_loop_on_one_coin_costs_8928_calls_in_a_long_month() -> None:
    assert monthly_cost(1, "5m") == 8_928
    assert loop_cost(1, "5m", 9_000) == "a tick every 5m costs 8,928 credits a month"
    assert loop_cost(1, "5m", 500) == (
        "a tick every 5m costs 8,928 credits a month; 500 pay for one every 2h"
    )
    assert loop_cost(40, "5m", 500) == (
        "a tick every 5m costs 357,120 credits a month; 500 pay for not even one a day"
    )


def test_a_derived_market_costs_two_calls_a_tick() -> None:
    markets = [Market.of(symbol, "coincap", "5m") for symbol in ("BTC/USD", "BTC/EUR")]
    assert calls_a_tick(markets) == 3


def test_what_a_call_found_out_is_kept_for_later_processes(store: Store) -> None:
    Budget(store, 1).note("coincap", "slug SOL", "sol")
    Budget(store, 1).note("coincap", "slug SOL", "solana")
    later = Budget(store, 1)
    assert later.recall("coincap", "slug SOL") == "solana"
    assert later.recall("coincap", "slug XRP") is None
    assert later.recall("other", "slug SOL") is None
