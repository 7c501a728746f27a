"""The pipeline of every model of a workspace: one of all markets, or one after the other.

Where each market has its own (`[model] scope`), one that fails stops none of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cryptocast.errors import CryptocastError
from cryptocast.evaluation import Verdict
from cryptocast.values import BUILTIN_RANDOM_WALK, Market
from cryptocast.workflows.learning.deployment import Decision
from cryptocast.workflows.learning.pipeline import Renewal, pipeline
from cryptocast.workflows.learning.scope import Group, each, groups, is_apart
from cryptocast.workflows.learning.scoring import WALK
from cryptocast.workflows.learning.versions import frozen_bundle
from cryptocast.workspace import Workspace


@dataclass(frozen=True, slots=True)
class FailedRenewal:
    """A market that got no model, and why; the decision says what serves it all the same."""

    error: CryptocastError
    decision: Decision


@dataclass(frozen=True, slots=True)
class Renewals:
    """What became of each model."""

    renewals: tuple[Renewal, ...]  # one, or one a market
    failures: tuple[FailedRenewal, ...] = ()

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """One for all markets, or one a market: what failed first."""
        failed = (failure.decision for failure in self.failures)
        return (*failed, *(renewal.decision for renewal in self.renewals))

    @property
    def decision(self) -> Decision:
        """The worst: the first that failed, else that changed nothing, else the first."""
        return min(self.decisions, key=lambda decision: decision.promoted)


def renew_all(
    ws: Workspace,
    name: str,
    unfetched: Mapping[str, CryptocastError],
    *,
    seed: int,
    symbols: tuple[str, ...] = (),
) -> Renewals:
    """Renew the models of all markets, or of some, from the candles that were fetched.

    `unfetched` holds the ids of the markets whose candles could not be fetched, and why.
    Interrupted, a second call of the same name goes on where it was. Raises the first error
    where no model came to a decision.
    """

    def work(markets: Group) -> Renewal:
        return pipeline(ws, own_name(ws, name, markets), markets, trials=None, seed=seed)

    return for_each(ws, unfetched, groups(ws, symbols), work)


def own_name(ws: Workspace, name: str, markets: Group) -> str:
    """The name of a pipeline of these markets: of one market it names that too."""
    return f"{name} {markets[0].id}" if is_apart(ws) else name


def for_each(
    ws: Workspace,
    unfetched: Mapping[str, CryptocastError],
    together: Iterable[Group],
    work: Callable[[Group], Renewal],
) -> Renewals:
    """Do the work for each group whose candles have come; see `renew_all`."""

    def with_candles(markets: Group) -> Renewal:
        for market in markets:
            if market.id in unfetched:
                raise unfetched[market.id]
        return work(markets)

    renewals, failed = each(together, with_candles)
    failures = (
        FailedRenewal(error, _serving(ws, market, f"failed: {error.message}"))
        for market, error in failed.items()
    )
    return Renewals(tuple(renewals), tuple(failures))


def _serving(ws: Workspace, market: Market, reason: str) -> Decision:
    """What serves a market that got no model: what did, or the random walk that is built in."""
    with ws.store.read() as reader:
        row = reader.productions().at(market.id)
    version, kind = BUILTIN_RANDOM_WALK, WALK
    if row is not None:
        version, kind = row.model_version, frozen_bundle(ws, row.model_version).card.kind
    return Decision(False, version, kind, reason, Verdict(False, reason), market.id)
