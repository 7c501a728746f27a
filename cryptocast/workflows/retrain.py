"""retrain: renew the model where that helps, and clear the past away first where asked to.

Production serves throughout; it changes only in the transaction that promotes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from filelock import FileLock, Timeout

from cryptocast.errors import CryptocastError, StateError, StoreError, no_production
from cryptocast.evaluation import Verdict
from cryptocast.evaluation.monitoring import DECLINED
from cryptocast.store import Event
from cryptocast.store.connection import translate
from cryptocast.values import Deployment, iso
from cryptocast.workflows._facts import MONITOR
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.flush import Flushed, flush
from cryptocast.workflows.monitor import monitor
from cryptocast.workflows.pipeline import PipelineReport, pipeline
from cryptocast.workflows.scoring import version_bundle
from cryptocast.workspace import Workspace

ATTEMPT = "retrain"
"""The kind of the events of an attempt: one when it begins, one when it has ended."""

_HOUR = 3600
_FRESH_SECONDS = _HOUR
_DOUBLINGS = 5


@dataclass(frozen=True, slots=True)
class RetrainReport:
    """What an attempt came to; `pipeline` None: there was no reason for one."""

    reason: str  # why it ran, or why it did not
    production: str  # the version that serves now
    flushed: Flushed | None
    pipeline: PipelineReport | None
    finding: str | None  # has the model aged, or has the market changed?


def retrain(
    ws: Workspace, *, seed: int = 0, clear: bool = False, if_needed: bool = False
) -> RetrainReport:
    """Renew the model from the newest candles; production stays where nothing is better.

    `clear`: after the newest candles are in, archive the old ones and resolved forecasts.
    `if_needed`: only where the monitor says `declined`, no cool-down holds and the day's
    budget is not spent. Raises StoreError (`retrain.running`) where another one is under way.
    """
    with _alone(ws):
        reason = "asked for"
        if if_needed:
            due, reason = is_due(ws)
            if not due:
                return RetrainReport(reason, _production(ws).model_version, None, None, None)
        # A dead source ends it here: nothing is archived, and no attempt was made.
        ws.progress.stage("fetch candles")
        fetched = fetch(ws, days=ws.settings.data.days)
        fetched.demand_all()
        flushed = None
        if clear:
            ws.progress.stage("archive old candles and forecasts")
            flushed = flush(ws)
        with _attempt(ws, reason) as attempt:
            _mend(ws)
            made = pipeline(ws, f"retrain {attempt.started}", fetched, trials=None, seed=seed)
            finding = _finding(made.decision.verdict, ws.settings.gate.least_origins)
            attempt.promoted = made.decision.promoted
            attempt.told = made.decision.reason
            attempt.finding = finding
        return RetrainReport(reason, made.decision.version, flushed, made, finding)


def is_due(ws: Workspace) -> tuple[bool, str]:
    """Whether the model should be renewed now, and why, or why not.

    The monitor is asked anew where its newest verdict is older than an hour, or than what
    serves.
    """
    verdict, why = _verdict(ws)
    if verdict != DECLINED:
        return False, f"the monitor says {verdict}: {why}"
    settings, now = ws.settings.retrain, ws.clock.now()
    with ws.store.read() as reader:
        events = [event for event in reader.events(ATTEMPT) if event.at <= now]
    # Of each attempt the last word; one that was killed has only its first.
    attempts = list({event.detail["started"]: event for event in events}.values())
    today = [event for event in attempts if event.at > now - 24 * _HOUR]
    if len(today) >= settings.daily:
        return False, f"[retrain] daily allows {settings.daily} in 24 hours: {len(today)} were made"
    until = _cool_until(attempts, settings.cooldown_hours)
    if now < until:
        return False, f"the cool-down holds until {iso(round(until))}"
    return True, f"declined: {why}"


def _verdict(ws: Workspace) -> tuple[str, str]:
    production, now = _production(ws), ws.clock.now()
    with ws.store.read() as reader:
        newest = reader.incidents.newest(MONITOR, now)
    if newest is None or newest.at < max(production.at, now - _FRESH_SECONDS):
        report = monitor(ws)
        return report.verdict, report.reason
    return str(newest.detail["verdict"]), str(newest.detail["reason"])


def _production(ws: Workspace) -> Deployment:
    with ws.store.read() as reader:
        production = reader.deployment()
    if production is None:
        raise no_production()
    return production


def _cool_until(attempts: Sequence[Event], hours: float) -> float:
    """When the next attempt may be: each one in a row that changed nothing doubles the wait."""
    if not attempts:
        return 0.0
    vain = 0
    for event in reversed(attempts):
        if event.detail["promoted"]:
            break
        vain += 1
    return attempts[-1].at + hours * _HOUR * (1 << min(vain, _DOUBLINGS))


def _finding(verdict: Verdict, least_origins: int) -> str | None:
    """What the comparison with production on the newest purged candles says of the decline."""
    for found in verdict.comparisons:
        if found.opponent.startswith("production") and found.n >= least_origins:
            if found.shrunken > 0:
                return "the model has aged: a fresh one does better on the newest candles"
            return "the market has changed: a fresh model does no better on the newest candles"
    return None


def _mend(ws: Workspace) -> None:
    """Let the aliases name what serves: a promotion may have been killed before it counted."""
    with ws.store.read() as reader:
        production = reader.deployment()
    if production is None:
        return
    named = {"production": production.model_version, "previous": production.previous_version}
    for alias, version in named.items():
        if version is not None:
            with suppress(StateError):  # a store that was replaced does not hold it
                ws.registry().point(alias, version_bundle(ws, version).card.version)


@dataclass(slots=True)
class _Attempt:
    """What is noted of an attempt when it has ended."""

    started: str
    promoted: bool = False
    told: str = "it did not end"
    finding: str | None = None


@contextmanager
def _attempt(ws: Workspace, reason: str) -> Iterator[_Attempt]:
    """Note an attempt when it begins, so that a killed one counts, and what came of it."""
    attempt = _Attempt(iso(ws.clock.now()))
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
        writer.put_event(ws.clock.now(), ATTEMPT, None, detail)


@contextmanager
def _alone(ws: Workspace) -> Iterator[None]:
    """One attempt at a time; the lock goes with the process, however that ends."""
    file = ws.folder / "logs" / "retrain.lock"
    lock = FileLock(file)
    try:
        file.parent.mkdir(exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise StoreError(
            f"another retrain of {ws.folder} is under way",
            code="retrain.running",
            hint="try again when it is done",
            retry=True,
        ) from None
    except OSError as error:
        raise translate(error, file) or error from error
    try:
        yield
    finally:
        lock.release()
