"""Calls of all HTTP sources: bounded retries, paid calls, and errors that hold no secret."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptocast.errors import CryptocastError, SourceError
from cryptocast.seams import Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._pace import PATIENCE, Pace, Patience, Waits
from cryptocast.sources._session import HttpReply, Query, Session

Explain = Callable[[Refusal], CryptocastError | None]
Judge = Callable[[object], CryptocastError | None]

BYTES_A_CREDIT = 2500
"""Bytes of a metered reply that cost one credit beyond its call: the rule of CoinCap."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Patience of one call, pace of many, and the meter that counts their credits, if any."""

    patience: Patience = PATIENCE
    pace: Pace | None = None
    meter: Meter | None = None


class Http:
    """A session with one API: `get` returns decoded JSON or raises a typed error.

    `explain` returns the error of a refusal that this API words in its own way, or None to leave
    it to the general rules. `judge` returns the error in the JSON of a 2xx, for an API that puts
    errors there, or None. A call is repeated only if its error says `retry`.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        explain: Explain,
        judge: Judge = lambda _: None,
        key: str | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._source = source
        self._explain = explain
        self._judge = judge
        self._key = key
        self._limits = limits
        self._session = Session(source, base_url, key, limits.patience)
        self._last = threading.local()

    @property
    def skew_seconds(self) -> float | None:
        """Server's `Date` minus the clock of this machine, at this thread's last reply."""
        skew: float | None = getattr(self._last, "skew_seconds", None)
        return skew

    def get(
        self, path: str, params: Query, *, deadline: float = math.inf, credits: int = 1
    ) -> object:
        """Return the decoded JSON of one GET request, made before the monotonic `deadline`.

        After it nothing is requested or waited for, except that a server which falls silent in
        the middle of a body is noticed within one read time-out. `credits` is the probable cost
        of the reply, if a meter pays. Several threads may call this. Raise SourceError:
        source.unreachable, source.timeout, source.http, source.rate_limited, source.quota,
        source.bad_answer, or the error that `explain` or `judge` returns.
        """
        patience, pace, meter = self._limits.patience, self._limits.pace, self._limits.meter
        deadline = min(deadline, time.monotonic() + patience.total_seconds)
        waits = Waits(patience)
        error: CryptocastError | None = None
        while True:
            if time.monotonic() > deadline or (pace and not pace.wait(deadline)):
                raise error or _faults.out_of_time(self._source, path)
            try:
                reply = self._pay(path, params, deadline, credits)
            except SourceError as fault:
                error, wait = fault, waits.after_fault(None)
            else:
                if 200 <= reply.status < 300:
                    decoded = self._decode(path, reply.body)
                    error = self._judge(decoded)
                    if error is None:
                        return decoded
                    wait = waits.after_fault(reply.retry_after_seconds)
                else:
                    error, wait = self._refused(path, reply, waits)
                if meter is not None and error.code == "source.quota":
                    meter.refused(self._source)
            if not error.retry or time.monotonic() + wait > deadline:
                raise error
            _log.info("%s; asking again in %.1f s", error.message, wait)
            time.sleep(wait)

    def close(self) -> None:
        """Close the connections; a later `get` opens new ones."""
        self._session.close()

    def _pay(self, path: str, params: Query, deadline: float, credits: int) -> HttpReply:
        """Book a call, ask, and settle its cost: nothing if it never left this machine."""
        meter = self._limits.meter
        if meter is None:
            return self._ask(path, params, deadline)
        meter.book(self._source, credits)
        spent = 1
        try:
            reply = self._ask(path, params, deadline)
            spent += len(reply.body) // BYTES_A_CREDIT
        except SourceError as fault:
            if _faults.never_sent(fault):
                spent = 0
            raise
        finally:
            meter.settle(self._source, credits, spent)
        return reply

    def _ask(self, path: str, params: Query, deadline: float) -> HttpReply:
        reply = self._session.ask(path, params, deadline)
        self._last.skew_seconds = reply.skew_seconds
        return reply

    def _decode(self, path: str, body: bytes) -> object:
        try:
            decoded: object = json.loads(body)
        except (ValueError, RecursionError):
            raise _faults.bad_answer(self._source, path, _faults.describe(body)) from None
        return decoded

    def _refused(self, path: str, reply: HttpReply, waits: Waits) -> tuple[CryptocastError, float]:
        """Return the error of a reply that is no 2xx, and the seconds to wait before a retry."""
        pause = reply.retry_after_seconds
        refusal = _faults.read_refusal(
            self._source, reply.status, reply.body, self._key, pause or 0.0, path
        )
        error = self._explain(refusal) or refusal.general()
        if pause is None and refusal.per_minute:
            return error, waits.after_limit(reply.skew_seconds)
        return error, waits.after_fault(pause)
