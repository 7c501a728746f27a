"""Which markets share a model: all of a workspace, or none (`[model] scope`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cryptocast.bundles import Card
from cryptocast.config import Settings
from cryptocast.errors import ConfigError, CryptocastError, ModelError, SourceError, StateError
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Market

T = TypeVar("T")

Group = tuple[Market, ...]
"""Markets that share one model."""


def per_market(settings: Settings) -> bool:
    """Return whether each market has a model of its own."""
    return settings.model.scope == "market"


def model_groups(settings: Settings, markets: Sequence[Market]) -> list[Group]:
    """Return these markets in groups that share a model: all in one, or each by itself."""
    return [(market,) for market in markets] if per_market(settings) else [tuple(markets)]


def for_each_group(
    groups: Iterable[Group], work: Callable[[Group], T]
) -> tuple[list[T], dict[Market, CryptocastError]]:
    """Do the work for one group after the other and return the results, and the failures.

    A group that fails stops none of the others: its error is returned under its first market.
    Raises the first error if every group failed.
    """
    results: list[T] = []
    failures: dict[Market, CryptocastError] = {}
    for markets in groups:
        try:
            results.append(work(markets))
        except (ConfigError, StateError, ModelError, SourceError) as error:
            if isinstance(error, ConfigError) and error.code != "config.symbol":
                raise  # it would fail every group, as errors of other classes would
            failures[markets[0]] = error
    if not results:
        raise next(iter(failures.values()))
    return results, failures


def study_market(settings: Settings, markets: Sequence[Market]) -> str | None:
    """Return the market that the events of a search on these markets name.

    None: the search is for all markets of the workspace.
    """
    return markets[0].id if per_market(settings) else None


def deployment_market(settings: Settings, card: Card) -> str:
    """Return the market that a deployment of this version names: an id, or `*` for all.

    Even where each market has a model of its own, a version is for all markets if it learned
    from several, or from one that is not configured here.
    """
    configured = {market.id for market in settings.markets()}
    own = per_market(settings) and len(card.markets) == 1 and card.markets[0] in configured
    return card.markets[0] if own else ALL_MARKETS


def served_markets(settings: Settings, card: Card) -> tuple[Market, ...]:
    """Return the configured markets that a version of this card is meant to serve."""
    name = deployment_market(settings, card)
    return tuple(market for market in settings.markets() if name in (ALL_MARKETS, market.id))
