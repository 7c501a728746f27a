"""Which deployment serves which market."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from cryptocast.store import ALL_MARKETS, Productions, Store, ruling
from cryptocast.values import Deployment, Market

MARKETS = tuple(Market("sim", base, "USD", "5m") for base in ("A", "B", "C"))
NAMES = (ALL_MARKETS, *(market.id for market in MARKETS))
A, B, C = MARKETS

# Which market gets which version, one deployment after the other.
orders = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from("12345")), max_size=12)


def rows_of(order: list[tuple[str, str]]) -> list[Deployment]:
    """The rows that `promote` would write."""
    rows: list[Deployment] = []
    for number, (market, version) in enumerate(order, 1):
        before = Productions.of(rows).at(market)
        previous = before.model_version if before else None
        if before is not None and previous == version:
            previous = before.previous_version
        row = Deployment(number, float(number), market, version, previous, "promote", "x", "{}")
        rows.append(row)
    return rows


def versions_that_served(rows: list[Deployment], market: Market) -> list[str]:
    """By the rule's own words: of the rows for it or for all, each serves until the next."""
    return [row.model_version for row in rows if row.market in (ALL_MARKETS, market.id)]


@given(orders)
def test_production_of_a_market_is_the_greatest_id_among_its_own_and_those_of_all(
    order: list[tuple[str, str]],
) -> None:
    rows = rows_of(order)
    productions = Productions.of(rows)
    for market in MARKETS:
        mine = [row for row in rows if row.market in (ALL_MARKETS, market.id)]
        found = productions.at(market.id)
        assert (found is None) == (not mine)
        if found is not None:
            expected = max(mine, key=lambda row: row.id)
            assert dataclasses.replace(found, previous_version=None) == dataclasses.replace(
                expected, previous_version=None
            )


@given(orders)
def test_the_version_before_is_the_last_other_one_that_served_the_market(
    order: list[tuple[str, str]],
) -> None:
    rows = rows_of(order)
    productions = Productions.of(rows)
    for market in MARKETS:
        served = versions_that_served(rows, market)
        found = productions.at(market.id)
        others = [version for version in served if version != served[-1]]
        if found is not None:
            assert found.previous_version == (others[-1] if others else None)


@given(orders)
def test_the_history_of_a_market_ends_with_what_serves_it(order: list[tuple[str, str]]) -> None:
    rows = rows_of(order)
    for market in MARKETS:
        history = ruling(rows, market)
        assert [row.model_version for row in history] == versions_that_served(rows, market)
        assert (history[-1] if history else None) == Productions.of(rows).at(market.id)
        for number, row in enumerate(history):
            then = [r for r in rows if r.id <= row.id]
            assert history[number] == Productions.of(then).at(market.id)


def test_one_for_all_takes_over_and_a_market_may_part_again() -> None:
    rows = rows_of([(ALL_MARKETS, "1"), (A.id, "2"), (ALL_MARKETS, "3"), (B.id, "4")])
    serving = Productions.of(rows).of_markets(MARKETS)
    told = {m.base: (row.model_version, row.previous_version) for m, row in serving.items()}
    assert told == {"A": ("3", "2"), "B": ("4", "3"), "C": ("3", "1")}
    assert Productions.of(rows).versions() == {"1", "2", "3", "4"}


def test_a_market_without_any_is_left_out(store: Store) -> None:
    with store.write() as writer:
        writer.put_deployment(Deployment(0, 0, A.id, "1", None, "promote", "x", "{}"))
    with store.read() as reader:
        serving = reader.productions().of_markets(MARKETS)
    assert {market: row.model_version for market, row in serving.items()} == {A: "1"}
