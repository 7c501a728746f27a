"""rollback: make the previous version production again, for all markets or for those named."""

from __future__ import annotations

from collections.abc import Mapping

from cryptocast.display import first_few
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
    """Put the previous version back; doing it a second time restores the first.

    `symbols` names the markets to roll back; without any, a single version must serve all
    markets. Raises UsageError if several versions do, and StateError if one of them has no
    previous version; then nothing has changed.
    """
    markets = ws.markets()
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets(symbols))
    if not serving:
        raise no_production()
    rows = _rows_to_undo(serving, markets, named=bool(symbols))
    for market, row in rows.items():
        if row.previous_version is None:
            of = f" of {market}" if market != ALL_MARKETS and len(markets) > 1 else ""
            raise StateError(
                f"version {row.model_version} is the first{of}: there is none before it",
                code="state.no_previous",
                hint="cryptocast models lists what could be promoted",
            )
    decisions = []
    for market, row in rows.items():
        previous = registered_bundle(ws, str(row.previous_version))
        why = reason or f"rolled back from version {row.model_version}"
        decisions.append(deploy(ws, previous, market, "rollback", why, Verdict(True, why)))
    return decisions


def _rows_to_undo(
    serving: Mapping[Market, Deployment], markets: tuple[Market, ...], *, named: bool
) -> dict[str, Deployment]:
    """Return the deployments to undo, by the market that the new one is for: an id, or `*`."""
    rows = list(dict.fromkeys(serving.values()))
    if len(rows) == 1 and len(serving) == len(markets):
        return {rows[0].market: rows[0]}
    if named:
        return {market.id: row for market, row in serving.items()}
    names = [market.symbol for market in serving]
    raise UsageError(
        f"several versions serve, those of {first_few(names, _NAMED)}",
        code="usage.market",
        hint=f"cryptocast rollback --symbol {names[0]}",
    )
