"""retrain: renew the model if that helps, after archiving old candles if asked to.

Production serves throughout; it changes only in the transaction that promotes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from cryptocast.config import Settings
from cryptocast.display import chance, counted, percent
from cryptocast.errors import ConfigError, CryptocastError
from cryptocast.locks import alone
from cryptocast.seams import Clock
from cryptocast.store import Store
from cryptocast.values import iso
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.keeping.flush import Flushed, flush
from cryptocast.workflows.learning.deployment import Decision, mend_aliases
from cryptocast.workflows.learning.material import without_candles
from cryptocast.workflows.learning.pipeline import Renewal, pipeline
from cryptocast.workflows.learning.preparing import ahead_of
from cryptocast.workflows.learning.renewals import (
    Renewals,
    pipeline_name,
    renew_groups,
)
from cryptocast.workflows.learning.scope import Group, model_groups, per_market, study_market
from cryptocast.workflows.learning.versions import production_of
from cryptocast.workflows.serving.fetching import FetchReport
from cryptocast.workflows.watching.due import ATTEMPT, has_declined, is_due, look
from cryptocast.workspace import Workspace

_NAMED = 3


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """The result of an attempt; without a pipeline there was no reason for one."""

    reason: str  # why it ran, or why it did not
    production: str | None  # the version that serves now; None: several do
    model: str | None  # its kind
    flushed: Flushed | None
    candles: FetchReport | None
    pipeline: Renewals | None
    findings: Mapping[str, str | None]  # by a decision's market: did the model age, or the market?


def retrain(
    ws: Workspace, *, seed: int = 0, clear: bool = False, if_needed: bool = False
) -> RetrainReport:
    """Renew the model from the newest candles; production stays if nothing is better.

    If each market has a model of its own (`[model] scope`), each is renewed. A market that its
    source no longer knows, or that has no candles, fails alone. `clear`: after the newest candles
    have been fetched, archive the old ones and resolved forecasts. `if_needed`: only if the monitor
    says `declined`, no cool-down holds and the day's budget is not spent.
    Raises StoreError (`retrain.running`) if another one is under way, and the first error if
    every model failed.
    """
    with alone(ws.folder, "retrain"):
        reasons = dict.fromkeys(model_groups(ws.settings, ws.markets()), "asked for")
        if if_needed:
            reasons, reason = _due(ws)
            if not reasons:
                return RetrainReport(reason, *production_of(ws), None, None, None, {})
        # If the source is down it ends here: nothing is archived, and no attempt is noted.
        candles = ws.step("fetch candles", lambda: fetch(ws, days=ws.settings.data.days))
        dead = _dead(ws, candles)
        if clear or not per_market(ws.settings):
            candles.demand_all(but=dead)
        reasons = _set_apart(reasons, dead)

        def archive() -> Flushed:
            return flush(ws.store, ws.folder, ws.settings, ws.clock.now())

        flushed = ws.step("archive old candles and forecasts", archive) if clear else None
        findings: dict[str, str | None] = {}

        def renew(markets: Group) -> Renewal:
            renewal, finding = _attempt(ws, markets, reasons[markets], seed)
            findings[renewal.decision.market] = finding
            return renewal

        ahead = partial(ahead_of, ws, None, seed=seed)
        renewals = renew_groups(ws, reasons, {**dead, **candles.errors}, renew, ahead)
        production = production_of(ws)
        return RetrainReport(_joined(reasons), *production, flushed, candles, renewals, findings)


def _dead(ws: Workspace, candles: FetchReport) -> dict[str, CryptocastError]:
    """Return the markets, by id, that no later fetch helps: unknown there, or without candles."""
    errors = {m: e for m, e in candles.errors.items() if isinstance(e, ConfigError)}
    alive = [market for market in ws.markets() if market.id not in candles.errors]
    return {**errors, **(without_candles(ws, alive) if alive else {})}


def _set_apart(reasons: Mapping[Group, str], dead: Collection[str]) -> dict[Group, str]:
    """Return the groups with their dead markets in groups of their own: those fail alone."""
    apart: dict[Group, str] = {}
    for markets, reason in reasons.items():
        living = tuple(market for market in markets if market.id not in dead)
        apart |= {(market,): reason for market in markets if market.id in dead}
        if living:
            apart[living] = reason
    return apart


@dataclass(frozen=True, slots=True)
class RetrainPlan:
    """The work that an attempt would do now."""

    reason: str  # why it would run, or why it would not
    models: tuple[Group, ...]  # the markets of each model that would be renewed
    days: float  # of candles to learn from
    trials: int
    production: str | None  # the version that serves now; None: several do


def foresee(ws: Workspace, *, if_needed: bool = False) -> RetrainPlan:
    """Return what `retrain` would renew now. At most, a new verdict of the monitor is kept."""
    reasons = dict.fromkeys(model_groups(ws.settings, ws.markets()), "asked for")
    reason = "asked for"
    if if_needed:
        reasons, reason = _due(ws)
        reason = _joined(reasons) if reasons else reason
    settings = ws.settings
    version, _ = production_of(ws)
    return RetrainPlan(reason, tuple(reasons), settings.data.days, settings.tune.trials, version)


def _due(ws: Workspace) -> tuple[dict[Group, str], str]:
    """Return the groups to renew now, each with the reason; and why the others are not renewed."""
    facts, rule = look(ws), ws.settings.retrain
    if not per_market(ws.settings):
        due, reason = is_due(facts, rule)
        return ({ws.markets(): reason} if due else {}), reason
    wanted: dict[Group, str] = {}
    others: dict[Group, str] = {}
    for market in ws.markets():
        due, reason = is_due(facts, rule, market)
        (wanted if due else others)[(market,)] = reason
    return wanted, _joined(others)


def _joined(reasons: Mapping[Group, str]) -> str:
    """Return the reasons as one: a common one once, else those of the first few markets."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    named = [f"{markets[0].id}: {reason}" for markets, reason in reasons.items()]
    more = len(named) - _NAMED
    return "; ".join([*named[:_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _attempt(ws: Workspace, markets: Group, reason: str, seed: int) -> tuple[Renewal, str | None]:
    """Renew the model of these markets as an attempt that events keep; see `_finding`."""
    with _noted(ws.store, ws.clock, reason, study_market(ws.settings, markets)) as attempt:
        mend_aliases(ws)
        since = _served_since(ws, markets)
        declined = since is not None and has_declined(ws, markets, since)
        name = pipeline_name(ws.settings, f"retrain {attempt.started}", markets)
        renewal = pipeline(ws, name, markets, seed=seed)
        decision = renewal.decision
        attempt.promoted, attempt.outcome = decision.promoted, decision.reason
        if since is not None:
            new_origins = int((ws.clock.now() - since) // markets[0].interval_seconds)
            attempt.finding = _finding(decision, ws.settings, new_origins, declined=declined)
    return renewal, attempt.finding


def _served_since(ws: Workspace, markets: Group) -> float | None:
    """Return when the newest version that serves these markets was deployed, or None."""
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(markets)
    return max((row.at for row in serving.values()), default=None)


def _finding(
    decision: Decision, settings: Settings, new_origins: int, *, declined: bool
) -> str | None:
    """Return what the newest candles say of production, which served `new_origins`, or None.

    They say something only if targets of enough new origins do not overlap, as many as the
    gate's bootstrap takes as one block. That the model has aged is the test of the gate's
    comparison with a fresh one; that the market has changed, the monitor's (`declined`).
    """
    rule = settings.gate
    opponents = decision.verdict.comparisons
    found = next((c for c in opponents if c.opponent.startswith("production")), None)
    if found is None:
        return None
    if new_origins < (needed := rule.block_bars or 2 * settings.model.horizon):
        return (
            f"nothing new to learn from yet: {counted(new_origins, 'origin')} since "
            f"{found.opponent} was promoted, {needed} are needed"
        )
    p = found.p_value
    seen = f"skill {percent(found.skill, 2)} on {found.n} origins"
    if p is not None and p <= 1 - rule.confidence and found.n >= rule.least_origins:
        aged = f"the model has aged: a fresh one does better ({seen}, {chance(p)})"
        return aged if decision.promoted else f"{aged}, though not well enough to serve"
    if declined:
        return (
            f"the market has changed: the forecasts declined, a fresh model is no better ({seen})"
        )
    return None


@dataclass(slots=True)
class _Attempt:
    """The events' entry on one attempt."""

    started: str
    promoted: bool = False
    outcome: str = "it did not end"
    finding: str | None = None


@contextmanager
def _noted(store: Store, clock: Clock, reason: str, market: str | None) -> Iterator[_Attempt]:
    """Note an attempt when it begins, so that a killed one counts, and again when it ends.

    `market` is None if the attempt is for all markets.
    """
    attempt = _Attempt(iso(clock.now()))

    def note() -> None:
        detail = {
            "started": attempt.started,
            "reason": reason,
            "promoted": attempt.promoted,
            "finding": attempt.finding,
            "told": attempt.outcome,
        }
        with store.write() as writer:
            writer.put_event(clock.now(), ATTEMPT, market, detail)

    note()
    try:
        yield attempt
    except BaseException as error:
        attempt.outcome = f"failed: {str(error) or type(error).__name__}"
        with suppress(CryptocastError):  # the error that ended the attempt says more
            note()
        raise
    note()
