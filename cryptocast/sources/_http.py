"""What every HTTP source shares: time-outs, bounded retries, and errors that hold no secret."""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import count
from urllib.parse import urlsplit

import requests
import urllib3

from cryptocast import __version__
from cryptocast.errors import CryptocastError, SourceError, UsageError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.values import iso

Explain = Callable[[Refusal], CryptocastError | None]

BYTES_A_CREDIT = 2500
"""What a metered answer costs beyond its call: CoinCap's rule, the only one there is."""

LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_LOOPBACK = re.compile(r"^(localhost|127\.[\d.]+|::1)$")
_HEADER_VALUE = re.compile(r"^[\x21-\x7e]+$")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one answer is waited for, and how often it is asked for again."""

    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    tries: int = 4
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 8.0
    total_seconds: float = 45.0


PATIENCE = Patience()


class Pace:
    """At most `calls` in any `seconds`, over all threads; a burst of them may come at once."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._seconds = seconds
        self._turns: deque[float] = deque(maxlen=calls)
        self._lock = threading.Lock()

    def wait(self, deadline: float) -> bool:
        """Sleep until the next call may be made; False, at once, where that is past `deadline`."""
        with self._lock:
            now = time.monotonic()
            full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._seconds) if full else now
            if turn > deadline:
                return False
            self._turns.append(turn)
        time.sleep(turn - now)
        return True


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """A session with one API: `get` returns decoded JSON or raises a typed error.

    `explain` turns a refusal that only this API words so into its error; None leaves it
    to the general rules. Asked again are faults whose error says `retry`, and no others.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        explain: Explain,
        key: str | None = None,
        patience: Patience = PATIENCE,
        pace: Pace | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._source = source
        self._base_url = base_url.rstrip("/")
        self._host = urlsplit(self._base_url).netloc
        self._explain = explain
        self._key = key
        self._patience = patience
        self._pace = pace
        self._meter = meter
        self._session: requests.Session | None = None
        self.skew_seconds: float | None = None
        """How far the server's `Date` was ahead of this machine at the last answer."""

    def get(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        deadline: float = math.inf,
        credits: int = 1,
    ) -> object:
        """The decoded JSON of one GET, which takes no longer than to the monotonic `deadline`.

        `credits` is what the answer will probably cost, where a meter pays. Raises
        SourceError: source.unreachable, source.timeout, source.http, source.rate_limited,
        source.quota, source.bad_answer, or what `explain` makes of a refusal.
        """
        deadline = min(deadline, time.monotonic() + self._patience.total_seconds)
        for attempt in count(1):
            wait = 0.0
            try:
                answer = self._pay(path, params, deadline, credits)
            except SourceError as fault:
                error: CryptocastError = fault
            else:
                if 200 <= answer.status < 300:
                    return self._decode(path, answer)
                wait = _retry_after(answer.headers)
                error = self._refused(answer, wait)
            wait = max(wait, self._pause(attempt))
            late = time.monotonic() + wait > deadline
            if not error.retry or attempt >= self._patience.tries or late:
                raise error
            time.sleep(wait)
        raise AssertionError("unreachable: the loop above has no end")

    def _pay(
        self, path: str, params: Mapping[str, str | int], deadline: float, credits: int
    ) -> _Answer:
        """Wait for our turn, book the call, ask, and settle what it cost."""
        if time.monotonic() > deadline or (self._pace and not self._pace.wait(deadline)):
            raise _faults.out_of_time(self._source, path)
        if self._meter is None:
            return self._ask(path, params, deadline)
        self._meter.book(self._source, credits)
        cost = 1  # of a call that brought nothing
        try:
            answer = self._ask(path, params, deadline)
            cost += len(answer.body) // BYTES_A_CREDIT
        finally:
            self._meter.settle(self._source, credits, cost)
        return answer

    def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _open(self) -> requests.Session:
        session = requests.Session()
        session.headers["User-Agent"] = f"cryptocast/{__version__}"
        session.headers["Accept"] = "application/json"
        session.max_redirects = 3
        # A proxy from the environment never serves this machine itself.
        session.trust_env = not _LOOPBACK.match(urlsplit(self._base_url).hostname or "")
        # Any `auth` keeps a .netrc out; requests drops the header on the way to another host.
        session.auth = self._authorize
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _ask(self, path: str, params: Mapping[str, str | int], deadline: float) -> _Answer:
        """One request and its whole body; a fault of the network raises SourceError."""
        if self._session is None:
            self._session = self._open()
        left = max(deadline - time.monotonic(), 0.01)
        patience = self._patience
        try:
            with self._session.get(
                self._base_url + path,
                params=params,
                timeout=(min(patience.connect_seconds, left), min(patience.read_seconds, left)),
                stream=True,
            ) as response:
                body = self._body(path, response, min(deadline, time.monotonic() + left))
                answer = _Answer(response.status_code, dict(response.headers.lower_items()), body)
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise _faults.timed_out(self._source, path, patience.read_seconds) from None
        except requests.TooManyRedirects:
            raise _faults.bad_answer(
                self._source, path, "with one redirect after another"
            ) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as fault:
            # Their texts hold the URL with its query: only the bare reason is kept.
            raise _faults.unreachable(self._source, self._host, fault) from None
        self._note_date(answer.headers)
        return answer

    def _body(self, path: str, response: requests.Response, deadline: float) -> bytes:
        """The body, read piece by piece: a server that drips cannot outlive the deadline."""
        pieces: list[bytes] = []
        size = 0
        while piece := response.raw.read1(65536, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > deadline:
                raise requests.ReadTimeout
            if size > LARGEST_ANSWER_BYTES:
                raise _faults.bad_answer(self._source, path, "with more than 32 MiB")
        return b"".join(pieces)

    def _decode(self, path: str, answer: _Answer) -> object:
        try:
            decoded: object = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = _faults.describe(answer.body)
            raise _faults.bad_answer(self._source, path, found) from None
        return decoded

    def _refused(self, answer: _Answer, wait: float) -> CryptocastError:
        refusal = _faults.read_refusal(self._source, answer.status, answer.body, self._key, wait)
        error = self._explain(refusal) or _faults.general(refusal)
        if self._meter is not None and error.code == "source.quota":
            self._meter.refused(self._source)
        return error

    def _pause(self, attempt: int) -> float:
        """Capped exponential back-off, jittered so that many clients don't come back at once."""
        patience = self._patience
        doubled = patience.first_pause_seconds * 2.0 ** (attempt - 1)
        longest = min(patience.longest_pause_seconds, doubled)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def _note_date(self, headers: Mapping[str, str]) -> None:
        try:
            stamp = parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return
        self.skew_seconds = stamp - time.time()


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


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the server asks to wait: a number or an HTTP date; 0 where it says nothing."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return 0.0
