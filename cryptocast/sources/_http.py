"""Calls of all HTTP sources: bounded retries, paid calls, and errors that hold no secret."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
import urllib3

from cryptocast import __version__
from cryptocast.errors import CryptocastError, SourceError
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._pace import Limits, Waits
from cryptocast.wire import limit_replies

limit_replies()

Query = Mapping[str, str | int]

BYTES_A_CREDIT = 2500
"""Bytes of a metered reply that cost one credit beyond its call: the rule of CoinCap."""

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_LOOPBACK = re.compile(r"^(localhost|127\.[\d.]+|::1)$")
_LIMIT_HEADER = re.compile(r"credit|limit|quota|usage|retry-after")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """The complete reply of a server."""

    status: int
    body: bytes
    retry_after_seconds: float | None  # how long it asks to wait


class Http:
    """A session with one API: `get` returns decoded JSON or raises a typed error.

    Its connections are kept for the next request and shared by threads.
    `explain` returns the error of a refusal that this API words in its own way, or None to leave
    it to the general rules. `judge` returns the error in the JSON of a 2xx, for an API that puts
    errors there, or None. A call is repeated only if its error says `retry`.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        explain: Callable[[Refusal], CryptocastError | None],
        judge: Callable[[object], CryptocastError | None] = lambda _: None,
        key: str | None = None,
        limits: Limits,
    ) -> None:
        self._source = source
        self._base_url = base_url.rstrip("/")
        self._key = key
        self._explain = explain
        self._judge = judge
        self._limits = limits
        self._last = threading.local()
        self._requests = requests.Session()
        self._requests.headers["User-Agent"] = f"cryptocast/{__version__}"
        self._requests.headers["Accept"] = "application/json"
        self._requests.max_redirects = 3
        # A proxy from the environment cannot reach this machine itself.
        host = urlsplit(self._base_url).hostname or ""
        self._requests.trust_env = not _LOOPBACK.match(host)
        # Setting `auth` keeps .netrc out; requests drops the header when redirected elsewhere.
        self._requests.auth = self._authorize

    @property
    def skew_seconds(self) -> float | None:
        """Server's `Date` minus the clock of this machine, at this thread's last reply.

        None if the server sent no time.
        """
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
        pace, meter, waits = self._limits.pace, self._limits.meter, Waits(self._limits.patience)
        deadline = min(deadline, time.monotonic() + self._limits.patience.total_seconds)
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
        self._requests.close()

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
        """Make one GET request and read its whole body, until the monotonic `deadline`.

        Errors of the HTTP library become ours here. Raise SourceError: source.unreachable,
        source.timeout, source.bad_answer.
        """
        patience = self._limits.patience
        left = max(deadline - time.monotonic(), 0.01)
        connect = min(patience.connect_seconds, left)
        read = min(patience.read_seconds, left)
        try:
            with self._requests.get(
                self._base_url + path, params=params, timeout=(connect, read), stream=True
            ) as response:
                headers = dict(response.headers.lower_items())
                skew = _skew(headers)  # before the body, which may take its time
                body = self._body(path, response, deadline)
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as fault:
            seconds = connect if isinstance(fault, requests.ConnectTimeout) else read
            what = f"did not answer within {seconds:.3g} s"
            raise _faults.timed_out(self._source, path, what) from None
        except requests.TooManyRedirects:
            content = "with one redirect after another"
            raise _faults.bad_answer(self._source, path, content) from None
        except urllib3.exceptions.DecodeError:
            content = "with a body that cannot be unpacked"
            raise _faults.bad_answer(self._source, path, content) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as fault:
            # The texts of these errors hold the URL with its query: only the bare reason is kept.
            host = urlsplit(self._base_url).netloc
            raise _faults.unreachable(self._source, host, fault) from None
        self._last.skew_seconds = skew
        self._note(path, response.status_code, headers, body)
        return HttpReply(response.status_code, body, _retry_after(headers))

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _body(self, path: str, response: requests.Response, deadline: float) -> bytes:
        """Return the body, read in pieces so that neither a drip nor a flood goes on for ever."""
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(65536, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > deadline:
                what = "did not finish its answer in time"
                raise _faults.timed_out(self._source, path, what)
            if size > LARGEST_ANSWER_BYTES:
                raise _faults.bad_answer(self._source, path, "with more than 32 MiB")
        return b"".join(pieces)

    def _note(self, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Log what is not documented: the size of replies, and headers about limits."""
        limits = [f"{k}: {v}" for k, v in headers.items() if _LIMIT_HEADER.search(k)]
        _log.debug(
            "%s answered HTTP %d with %d bytes (GET %s) %s",
            *(self._source, status, len(body), path),
            _faults.clean("; ".join(limits), self._key),
        )

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
            self._source, path, reply.status, reply.body, self._key, pause or 0.0
        )
        error = self._explain(refusal) or refusal.general()
        if pause is None and refusal.per_minute:
            return error, waits.after_limit(self.skew_seconds)
        return error, waits.after_fault(pause)


def _skew(headers: Mapping[str, str]) -> float | None:
    """Return the server's clock minus ours; a cache in between says how old its reply is."""
    age = headers.get("age", "")
    try:
        stamp = parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
    return stamp + (int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0) - time.time()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, given as a number or as a date."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None
