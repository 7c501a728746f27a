"""What every HTTP source shares: bounded retries, paid calls, and errors that hold no secret."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable

from cryptocast.errors import CryptocastError, SourceError, UsageError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._pace import PATIENCE, Pace, Patience, Waits
from cryptocast.sources._session import Answer, Query, Session
from cryptocast.values import iso

__all__ = ["PATIENCE", "Http", "Pace", "Patience", "refuse_future", "usable_key"]

Explain = Callable[[Refusal], CryptocastError | None]
Judge = Callable[[object], CryptocastError | None]

BYTES_A_CREDIT = 2500
"""What a metered answer costs beyond its call: CoinCap's rule, the only one there is."""

_HEADER_VALUE = re.compile(r"^[\x21-\x7e]+$")
_log = logging.getLogger(__name__)


class Http:
    """A session with one API: `get` returns decoded JSON or raises a typed error.

    `explain` turns a refusal that only this API words so into its error; None leaves it
    to the general rules; `judge` finds the error in the JSON of a 2xx, where an API puts
    some there. Asked again are faults whose error says `retry`, and no others.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        explain: Explain,
        judge: Judge = lambda _: None,
        key: str | None = None,
        patience: Patience = PATIENCE,
        pace: Pace | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._source = source
        self._explain = explain
        self._judge = judge
        self._key = key
        self._patience = patience
        self._pace = pace
        self._meter = meter
        self._session = Session(source, base_url, key, patience)
        self._last = threading.local()

    @property
    def skew_seconds(self) -> float | None:
        """How far the server's `Date` was ahead of this machine at this thread's last answer."""
        skew: float | None = getattr(self._last, "skew_seconds", None)
        return skew

    def get(
        self, path: str, params: Query, *, deadline: float = math.inf, credits: int = 1
    ) -> object:
        """The decoded JSON of one GET, which takes no longer than to the monotonic `deadline`.

        After it nothing is asked or waited for, but for a server that falls silent in the
        midst of a body: that is noticed within one read time-out. `credits` is what the
        answer will probably cost, where a meter pays. May be called by several threads.
        Raises SourceError: source.unreachable, source.timeout, source.http,
        source.rate_limited, source.quota, source.bad_answer, or what `explain` and
        `judge` make of an answer.
        """
        deadline = min(deadline, time.monotonic() + self._patience.total_seconds)
        waits = Waits(self._patience)
        error: CryptocastError | None = None
        while True:
            if time.monotonic() > deadline or (self._pace and not self._pace.wait(deadline)):
                raise error or _faults.out_of_time(self._source, path)
            try:
                answer = self._pay(path, params, deadline, credits)
            except SourceError as fault:
                error, wait = fault, waits.after_fault(None)
            else:
                if 200 <= answer.status < 300:
                    decoded = self._decode(path, answer.body)
                    error = self._judge(decoded)
                    if error is None:
                        return decoded
                    wait = waits.after_fault(answer.retry_after_seconds)
                else:
                    error, wait = self._refused(path, answer, waits)
                if self._meter is not None and error.code == "source.quota":
                    self._meter.refused(self._source)
            if not error.retry or time.monotonic() + wait > deadline:
                raise error
            _log.info("%s; asked again in %.1f s", error.message, wait)
            time.sleep(wait)

    def close(self) -> None:
        """Give back the connections; a later `get` makes new ones."""
        self._session.close()

    def _pay(self, path: str, params: Query, deadline: float, credits: int) -> Answer:
        """Book a call, ask, and settle what it cost: nothing where it never left this machine."""
        if self._meter is None:
            return self._ask(path, params, deadline)
        self._meter.book(self._source, credits)
        spent = 1
        try:
            answer = self._ask(path, params, deadline)
            spent += len(answer.body) // BYTES_A_CREDIT
        except SourceError as fault:
            if _faults.never_sent(fault):
                spent = 0
            raise
        finally:
            self._meter.settle(self._source, credits, spent)
        return answer

    def _ask(self, path: str, params: Query, deadline: float) -> Answer:
        answer = self._session.ask(path, params, deadline)
        self._last.skew_seconds = answer.skew_seconds
        return answer

    def _decode(self, path: str, body: bytes) -> object:
        try:
            decoded: object = json.loads(body)
        except (ValueError, RecursionError):
            raise _faults.bad_answer(self._source, path, _faults.describe(body)) from None
        return decoded

    def _refused(self, path: str, answer: Answer, waits: Waits) -> tuple[CryptocastError, float]:
        """The error of an answer that is no 2xx, and how long to wait before asking again."""
        asked = answer.retry_after_seconds
        refusal = _faults.read_refusal(
            self._source, answer.status, answer.body, self._key, asked or 0.0, path
        )
        error = self._explain(refusal) or _faults.general(refusal)
        if asked is None and refusal.per_minute:
            return error, waits.after_limit(answer.skew_seconds)
        return error, waits.after_fault(asked)


def usable_key(key: str, variable: str, source: str) -> str:
    """The key without blanks around it; SourceError where it can be no key at all.

    Such a value would otherwise end up, whole, in the text of an exception of requests.
    """
    key = key.strip()
    if not _HEADER_VALUE.match(key):
        raise SourceError(
            f"the key in {variable} holds characters that no {source} key has",
            code="source.bad_key",
            hint=f"set {variable} again, to the key alone",
        )
    return key


def refuse_future(source: str, clock: Clock) -> None:
    """UsageError where a virtual clock stands in the future: no exchange knows its candles."""
    if clock.virtual and clock.now() > time.time():
        raise UsageError(
            f"--as-of {iso(clock.now())} is in the future, which {source} does not know",
            code="usage.as_of",
            hint="leave --as-of out, or give a past time",
        )
