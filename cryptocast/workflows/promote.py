"""promote: make a version production, if the gate agrees or a person insists."""

from __future__ import annotations

from cryptocast.errors import GateRefused, UsageError
from cryptocast.evaluation import Verdict
from cryptocast.workflows.learning.deployment import Decision, deploy, freeze, promised_at
from cryptocast.workflows.learning.judging import judge
from cryptocast.workflows.learning.material import gather
from cryptocast.workflows.learning.scope import deployment_market, served_markets
from cryptocast.workflows.learning.versions import registered_bundle, version_named
from cryptocast.workspace import Workspace


def promote(
    ws: Workspace, version: str, *, force: bool = False, reason: str | None = None
) -> Decision:
    """Make a version production if the gate agrees, or by force with a reason.

    `version` is a number, also as `v4`, or an alias such as `challenger`.
    It becomes production of all markets, or of the one that it is meant for (`[model] scope`).
    Raises GateRefused if the gate says no, StateError if there is no such version, and
    UsageError for a force without a reason.
    """
    if force and not (reason or "").strip():
        raise UsageError("--force needs --reason", hint='--reason "why the gate is overruled"')
    version = version_named(ws, version)
    challenger = registered_bundle(ws, version)
    card = challenger.card
    market, markets = deployment_market(ws.settings, card), served_markets(ws.settings, card)
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
    if [row.model_version for row in serving.values()] == [version] * len(markets):
        freeze(ws, challenger, market)  # restores a bundle or an alias that was lost
        already = "it was already"
        verdict, promised = Verdict(True, already), promised_at(ws, market)
        return Decision(True, version, card.kind, already, verdict, market, promised)
    verdict = judge(ws, gather(ws, markets, lookback=card.lookback), challenger)
    if not verdict.promoted and not force:
        raise GateRefused(
            f"version {version} is not promoted: {verdict.reason}",
            hint=f'cryptocast promote {version} --force --reason "..." overrules the gate',
        )
    why = f"{reason} (the gate said: {verdict.reason})" if force else verdict.reason
    return deploy(ws, challenger, market, "force" if force else "promote", why, verdict)
