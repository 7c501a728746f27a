"""Which markets share a model: all of a workspace, or each has its own (`[model] scope`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from cryptocast.bundles import Card
from cryptocast.errors import CryptocastError, ModelError, SourceError, StateError
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Market
from cryptocast.workspace import Workspace

T = TypeVar("T")

Group = tuple[Market, ...]
"""Markets that have a model together."""


def groups(ws: Workspace, symbols: tuple[str, ...] = ()) -> list[Group]:
    """The markets (default: all) in groups that have a model together.

    Raises ConfigError for a symbol that is not configured.
    """
    markets = ws.markets(symbols)
    return [(market,) for market in markets] if is_apart(ws) else [markets]


def each(
    together: Iterable[Group], work: Callable[[Group], T]
) -> tuple[list[T], dict[Market, CryptocastError]]:
    """Do the work for one group after the other: what came of it, and whose failed, and why.

    A group that fails stops none of the others. Raises the first error where none is done.
    """
    done: list[T] = []
    failed: dict[Market, CryptocastError] = {}
    for markets in together:
        try:
            done.append(work(markets))
        except (StateError, ModelError, SourceError) as error:  # another one fails them all
            failed[markets[0]] = error
    if not done:
        raise next(iter(failed.values()))
    return done, failed


def is_apart(ws: Workspace) -> bool:
    """Whether each market has a model of its own."""
    return ws.settings.model.scope == "market"


def study_market(ws: Workspace, markets: Sequence[Market]) -> str | None:
    """The market whose events tell of a search on these markets; None: of all of them."""
    return markets[0].id if is_apart(ws) else None


def meant_for(ws: Workspace, card: Card) -> str:
    """The market of the deployment that a version of this card gets: an id, or `*`.

    A version that learned from several markets, or from one that is not configured here, is
    for all of them, as every version is where markets share one.
    """
    configured = {market.id for market in ws.markets()}
    own = is_apart(ws) and len(card.markets) == 1 and card.markets[0] in configured
    return card.markets[0] if own else ALL_MARKETS


def markets_of(ws: Workspace, card: Card) -> tuple[Market, ...]:
    """The configured markets that a version of this card is meant for."""
    name = meant_for(ws, card)
    return tuple(market for market in ws.markets() if name in (ALL_MARKETS, market.id))
