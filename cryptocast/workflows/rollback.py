"""rollback: the version before is production again, of all markets or of those that are named."""

from __future__ import annotations

from collections.abc import Mapping

from cryptocast.errors import StateError, UsageError, no_production
from cryptocast.evaluation import Verdict
from cryptocast.store import ALL_MARKETS
from cryptocast.values import Deployment, Market
from cryptocast.workflows.learning.deployment import Decision, deploy
from cryptocast.workflows.learning.versions import registered_bundle
from cryptocast.workspace import Workspace

_NAMED = 5


def rollback(
    ws: Workspace, *, symbols: tuple[str, ...] = (), reason: str | None = None
) -> list[Decision]:
    """Put the version before back; a second time that gives back the first.

    `symbols` names the markets whose production it is about; left out, one version must serve
    them all. Raises UsageError where several do, StateError where there is none before, and
    then nothing has changed.
    """
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets(symbols))
    if not serving:
        raise no_production()
    chosen = _shared(ws, serving, symbols)
    for market, row in chosen.items():
        if row.previous_version is None:
            of = f" of {market}" if market != ALL_MARKETS and len(ws.markets()) > 1 else ""
            raise StateError(
                f"version {row.model_version} is the first{of}: there is none before it",
                code="state.no_previous",
                hint="cryptocast models lists what could be promoted",
            )
    return [_back(ws, market, row, reason) for market, row in chosen.items()]


def _shared(
    ws: Workspace, serving: Mapping[Market, Deployment], symbols: tuple[str, ...]
) -> dict[str, Deployment]:
    """The deployment to take back, by the market that the new one is for: an id, or `*`."""
    rows = list(dict.fromkeys(serving.values()))
    if len(rows) == 1 and len(serving) == len(ws.markets()):
        return {rows[0].market: rows[0]}
    if symbols:
        return {market.id: row for market, row in serving.items()}
    names = [market.symbol for market in serving]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise UsageError(
        f"several versions serve, those of {', '.join(names[:_NAMED])}{more}",
        code="usage.market",
        hint=f"cryptocast rollback --symbol {names[0]}",
    )


def _back(ws: Workspace, market: str, row: Deployment, reason: str | None) -> Decision:
    chosen = registered_bundle(ws, str(row.previous_version))
    told = reason or f"rolled back from version {row.model_version}"
    deploy(ws, chosen, market, "rollback", told, Verdict(True, told))
    return Decision(True, chosen.card.version, chosen.card.kind, told, Verdict(True, told), market)
