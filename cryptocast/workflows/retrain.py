"""retrain: renew the model where that helps, and clear the past away first where asked to.

Production serves throughout; it changes only in the transaction that promotes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cryptocast.errors import CryptocastError
from cryptocast.values import iso
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.keeping.flush import Flushed, flush
from cryptocast.workflows.learning.deployment import Decision, mend
from cryptocast.workflows.learning.lock import alone
from cryptocast.workflows.learning.pipeline import Renewal, pipeline
from cryptocast.workflows.learning.renewals import Renewals, for_each, own_name
from cryptocast.workflows.learning.scope import Group, groups, is_apart, study_market
from cryptocast.workflows.learning.versions import production_of
from cryptocast.workflows.serving.fetching import FetchReport
from cryptocast.workflows.watching.due import ATTEMPT, is_due, look
from cryptocast.workspace import Workspace

_NAMED = 3


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """What an attempt came to; `pipeline` None: there was no reason for one."""

    reason: str  # why it ran, or why it did not
    production: str | None  # the version that serves now; None: several do
    model: str | None  # its kind
    flushed: Flushed | None
    candles: FetchReport | None  # None if none were fetched
    pipeline: Renewals | None
    findings: Mapping[str, str | None]  # by a decision's market: aged, or has the market changed?


def retrain(
    ws: Workspace, *, seed: int = 0, clear: bool = False, if_needed: bool = False
) -> RetrainReport:
    """Renew the model from the newest candles; production stays where nothing is better.

    Or each market's model (`[model] scope`). `clear`: after the newest candles are in, archive
    the old ones and resolved forecasts. `if_needed`: only where the monitor says `declined`, no
    cool-down holds and the day's budget is not spent. Raises StoreError (`retrain.running`)
    where another one is under way, and the first error where every model failed.
    """
    with alone(ws, "retrain"):
        wanted = dict.fromkeys(groups(ws), "asked for")
        if if_needed:
            wanted, reason = _due(ws)
            if not wanted:
                return RetrainReport(reason, *production_of(ws), None, None, None, {})
        # A dead source ends it here: nothing is archived, and no attempt was made.
        ws.progress.stage("fetch candles")
        candles = fetch(ws, days=ws.settings.data.days)
        if clear or not is_apart(ws):
            candles.demand_all()
        flushed = None
        if clear:
            ws.progress.stage("archive old candles and forecasts")
            flushed = flush(ws)
        findings: dict[str, str | None] = {}

        def work(markets: Group) -> Renewal:
            with _attempt(ws, wanted[markets], study_market(ws, markets)) as attempt:
                mend(ws)
                name = own_name(ws, f"retrain {attempt.started}", markets)
                made = pipeline(ws, name, markets, trials=None, seed=seed)
                decision = made.decision
                attempt.promoted, attempt.told = decision.promoted, decision.reason
                attempt.finding = _finding(decision, ws.settings.gate.least_origins)
                findings[decision.market] = attempt.finding
            return made

        made = for_each(ws, candles.errors, wanted, work)
        return RetrainReport(_named(wanted), *production_of(ws), flushed, candles, made, findings)


def _due(ws: Workspace) -> tuple[dict[Group, str], str]:
    """Whose model should be renewed now, each with the reason; and why the others should not."""
    known = look(ws)
    if not is_apart(ws):
        due, why = is_due(ws, known=known)
        return ({ws.markets(): why} if due else {}), why
    found: dict[Group, tuple[bool, str]] = {
        (market,): is_due(ws, market, known=known) for market in ws.markets()
    }
    wanted = {markets: why for markets, (due, why) in found.items() if due}
    return wanted, _named({markets: why for markets, (due, why) in found.items() if not due})


def _named(reasons: Mapping[Group, str]) -> str:
    """Reasons as one: what is the same for all once, else some of the markets with theirs."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    told = [f"{markets[0].id}: {why}" for markets, why in reasons.items()]
    more = len(told) - _NAMED
    return "; ".join([*told[:_NAMED], *([f"and {more} more"] if more > 0 else [])])


def _finding(decision: Decision, least_origins: int) -> str | None:
    """What the comparison with production on the newest purged candles says of the decline."""
    for found in decision.verdict.comparisons:
        if found.opponent.startswith("production") and found.n >= least_origins:
            if found.shrunken > 0:
                told = "the model has aged: a fresh one does better on the newest candles"
                return told if decision.promoted else f"{told}, though not well enough to serve"
            return "the market has changed: a fresh model does no better on the newest candles"
    return None


@dataclass(slots=True)
class _Attempt:
    """What is noted of an attempt when it has ended."""

    started: str
    market: str | None  # None: of all together
    promoted: bool = False
    told: str = "it did not end"
    finding: str | None = None


@contextmanager
def _attempt(ws: Workspace, reason: str, market: str | None) -> Iterator[_Attempt]:
    """Note an attempt when it begins, so that a killed one counts, and what came of it."""
    attempt = _Attempt(iso(ws.clock.now()), market)
    _note(ws, reason, attempt)
    try:
        yield attempt
    except BaseException as error:
        attempt.told = f"failed: {str(error) or type(error).__name__}"
        with suppress(CryptocastError):  # what ended it says more
            _note(ws, reason, attempt)
        raise
    _note(ws, reason, attempt)


def _note(ws: Workspace, reason: str, attempt: _Attempt) -> None:
    detail = {
        "started": attempt.started,
        "reason": reason,
        "promoted": attempt.promoted,
        "finding": attempt.finding,
        "told": attempt.told,
    }
    with ws.store.write() as writer:
        writer.put_event(ws.clock.now(), ATTEMPT, attempt.market, detail)
