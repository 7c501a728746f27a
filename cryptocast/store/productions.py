"""What serves which market, out of the rows of `deployments`.

A row names one market, or all of them. Production of a market is the row with the greatest id
among those that name it or all: so a version that is promoted for all takes over every market,
until one gets a version of its own again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptocast.values import Deployment, Market

ALL_MARKETS = "*"
"""The market of a deployment that serves every market of the workspace."""


@dataclass(frozen=True, slots=True)
class Productions:
    """What serves at one moment: computed once from all rows, asked once a market.

    `previous_version` of a deployment that is given for a market is the version that served
    that market before.
    """

    everywhere: Deployment | None = None
    """The newest row for all markets: what serves those that have none of their own."""

    _own: Mapping[str, Deployment] = field(default_factory=dict)  # where `everywhere` is not all

    @classmethod
    def of(cls, rows: Iterable[Deployment]) -> Productions:
        """What serves after these rows, oldest first."""
        everywhere: Deployment | None = None
        own: dict[str, Deployment] = {}
        for row in rows:
            if row.market != ALL_MARKETS:
                own[row.market] = row
                continue
            everywhere = row
            taken_over = {market: _after(before, row) for market, before in own.items()}
            own = {market: each for market, each in taken_over.items() if each != row}
        return cls(everywhere, own)

    def at(self, market: str) -> Deployment | None:
        """What serves the market of that id; None where nothing was ever deployed for it.

        Of `ALL_MARKETS` it is what serves those that have nothing of their own.
        """
        return self._own.get(market, self.everywhere)

    def of_markets(self, markets: Iterable[Market]) -> dict[Market, Deployment]:
        """What serves each of these markets; those without any are left out."""
        found = {market: self.at(market.id) for market in markets}
        return {market: row for market, row in found.items() if row is not None}

    def versions(self) -> set[str]:
        """All that serves some market, or served it before."""
        rows = [row for row in (self.everywhere, *self._own.values()) if row is not None]
        named = {version for row in rows for version in (row.model_version, row.previous_version)}
        return {version for version in named if version is not None}


def ruling(rows: Sequence[Deployment], market: Market) -> list[Deployment]:
    """The rows that made a version production of a market, oldest first.

    Each with the version that served that market before.
    """
    found: list[Deployment] = []
    apart = False  # whether it ever had a version of its own
    for row in rows:
        if row.market == ALL_MARKETS:
            found.append(_after(found[-1], row) if apart else row)
        elif row.market == market.id:
            apart = True
            found.append(row)
    return found


def _after(before: Deployment, row: Deployment) -> Deployment:
    """A row for all markets as it holds for one that another row ruled before."""
    previous: str | None = before.model_version
    if previous == row.model_version:
        previous = before.previous_version
    return dataclasses.replace(row, previous_version=previous)
