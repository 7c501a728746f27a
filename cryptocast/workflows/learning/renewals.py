"""Renew every model of a workspace: one for all markets, or one per market.

If each market has a model of its own (`[model] scope`), one that fails stops none of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptocast.compute.ahead import Ahead
from cryptocast.compute.scoring import WALK
from cryptocast.config import Settings
from cryptocast.errors import CryptocastError
from cryptocast.evaluation import Verdict
from cryptocast.values import BUILTIN_RANDOM_WALK, Market
from cryptocast.workflows.learning.ahead import for_each_ahead
from cryptocast.workflows.learning.deployment import Decision, promised_at
from cryptocast.workflows.learning.scope import Group, per_market
from cryptocast.workflows.learning.versions import frozen_bundle
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.workflows.learning.pipeline import Renewal


@dataclass(frozen=True, slots=True)
class FailedRenewal:
    """A market that got no new model, and why; the decision says what serves it instead."""

    error: CryptocastError
    decision: Decision


@dataclass(frozen=True, slots=True)
class Renewals:
    """The result for each model."""

    renewals: tuple[Renewal, ...]  # one for all markets, or one per market
    failures: tuple[FailedRenewal, ...] = ()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decision for all markets, or one per market: those that failed come first."""
        failed = (failure.decision for failure in self.failures)
        return (*failed, *(renewal.decision for renewal in self.renewals))

    @property
    def decision(self) -> Decision:
        """The worst decision: the first that promoted nothing, or else simply the first."""
        return min(self.decisions, key=lambda decision: decision.promoted)


def renew_groups(
    ws: Workspace,
    groups: Iterable[Group],
    fetch_errors: Mapping[str, CryptocastError],
    renew: Callable[[Group], Renewal],
    ahead: Callable[[Group], Ahead | None],
) -> Renewals:
    """Renew the model of each group of markets; `ahead` says what workers can compute before.

    `fetch_errors` holds the error of each market, by id, whose candles could not be fetched: its
    group fails with that error. Raises the first error if every group failed.
    """

    def fetched(markets: Group) -> Group:
        for market in markets:
            if market.id in fetch_errors:
                raise fetch_errors[market.id]
        return markets

    renewals, errors = for_each_ahead(
        ws, list(groups), lambda markets: ahead(fetched(markets)), lambda ms: renew(fetched(ms))
    )
    failures = (
        FailedRenewal(error, _unchanged(ws, market, f"failed: {error.message}"))
        for market, error in errors.items()
    )
    return Renewals(tuple(renewals), tuple(failures))


def pipeline_name(settings: Settings, name: str, markets: Group) -> str:
    """Return the name of the pipeline of these markets, which ends with a single market's id."""
    return f"{name} {markets[0].id}" if per_market(settings) else name


def _unchanged(ws: Workspace, market: Market, reason: str) -> Decision:
    """Return the decision for a market without a new model: what served it still does.

    If nothing did, the random walk that is built in serves it.
    """
    with ws.store.read() as reader:
        row = reader.productions().at(market.id)
    version, kind = BUILTIN_RANDOM_WALK, WALK
    if row is not None:
        version, kind = row.model_version, frozen_bundle(ws, row.model_version).card.kind
    verdict, promised = Verdict(False, reason), promised_at(ws, market.id)
    return Decision(False, version, kind, reason, verdict, market.id, promised)
