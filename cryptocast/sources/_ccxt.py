"""ccxt over our own transport: it words the requests and reads the replies, `Http` does the rest.

ccxt's own transport was tried and is not used, because it loses what is wrong with a reply. HTML
or cut JSON with a 200 looks like a reply without candles; 400, 403, 404 and 451 all raise
`ExchangeNotAvailable`, as a passing 503 does, and 418 the same error as a passing limit;
redirects and TLS raise a bare `ExchangeError`; its texts hold the URL with its query; and neither
the length nor the total time of a body is limited. So the exchange object gets another `fetch`
here, and hands over every row that a reply holds.
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptocast.errors import ConfigError, CryptocastError, SourceError
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import Http
from cryptocast.sources._pace import Limits, Patience

_ADDRESS = re.compile(r"https?://\S+")
_log = logging.getLogger(__name__)


class CcxtExchange:
    """One exchange of ccxt, without a key; used by one thread at a time, at the pace of ccxt.

    `ccxt` is the library, `exchange` its object; neither has types.
    """

    def __init__(
        self, source: str, ccxt: Any, exchange: Any, base_url: str | None, patience: Patience
    ) -> None:
        self._source = source
        self._base_url = base_url
        self._limits = Limits(patience)
        self._ccxt = ccxt
        self._exchange = exchange
        self._replace_transport()
        self._https: dict[str, Http] = {}
        self._turn = threading.Lock()
        self._deadline = math.inf
        self._path = "/"  # of the last request, without its query
        self._answer: object = None  # decoded JSON of the reply
        self._skew_seconds: float | None = None
        self._parsed: list[list[object]] = []

    def symbols(self, deadline: float) -> tuple[str, ...]:
        """Return every symbol that is traded there, requested once; raise what `candles` raises."""
        with self._asking(deadline):
            markets = self._call(self._exchange.load_markets)
            if not markets:
                raise _faults.bad_answer(self._source, self._path, "with no market at all")
            return tuple(markets)

    def candles(
        self, symbol: str, interval: str, since: int, limit: int, deadline: float
    ) -> tuple[str, list[object], float | None]:
        """Return the path of a call from Unix second `since`, all rows of its reply, and the skew.

        A row is [time in ms, open, high, low, close, volume], unchecked. Raise ConfigError
        (`config.symbol`, `config.source`) and SourceError: whatever `Http.get` raises, and
        source.bad_answer if the reply holds neither a row nor an empty list to say so.
        """
        with self._asking(deadline):
            self._parsed.clear()
            fetch = self._exchange.fetch_ohlcv
            returned = self._call(lambda: fetch(symbol, interval, since * 1000, limit))
            rows = self._parsed[-1] if self._parsed else returned
            if not rows and not _says_none(self._answer):
                content = f"with {_faults.kind(self._answer)} that holds no list of candles"
                raise _faults.bad_answer(self._source, self._path, content)
            return self._path, list(rows or []), self._skew_seconds

    def close(self) -> None:
        """Close the connections."""
        for http in self._https.values():
            http.close()

    def _replace_transport(self) -> None:
        """Make the exchange object send its requests through `_fetch`, and keep what it parses."""
        parse = self._exchange.parse_ohlcvs

        def keep_every_row(rows: object, market: object = None, *_cut: object) -> object:
            # ccxt itself drops rows without a time and rows before `since`, and its callers
            # may fill bars without a trade with copies of the previous bar.
            self._parsed.append(parse(rows, market))
            return self._parsed[-1]

        self._exchange.parse_ohlcvs = keep_every_row
        self._exchange.fetch = self._fetch

    @contextmanager
    def _asking(self, deadline: float) -> Iterator[None]:
        """Wait for the exchange object, which keeps state between request and reply."""
        left = -1 if math.isinf(deadline) else max(deadline - time.monotonic(), 0.0)
        if not self._turn.acquire(timeout=left):
            raise _faults.out_of_time(self._source, self._path)
        try:
            self._deadline = deadline
            yield
        finally:
            self._turn.release()

    def _call(self, method: Callable[[], Any]) -> Any:
        """Return what a method of ccxt returns; whatever it raises becomes an error of ours."""
        try:
            return method()
        except CryptocastError:
            raise
        except self._ccxt.BaseError as fault:
            if isinstance(fault, self._ccxt.AuthenticationError | self._ccxt.ArgumentsRequired):
                raise self._wants_key() from None
            reason = _faults.clean(_ADDRESS.sub("its address", str(fault)))
            raise SourceError(
                f"ccxt gave up on {self._source}: {reason}", hint=elsewhere(self._source)
            ) from None
        except Exception as fault:
            # JSON of an unexpected shape makes ccxt fail in many ways.
            _log.debug("ccxt failed to read a reply of %s", self._source, exc_info=fault)
            raise self._unreadable() from None

    def _fetch(
        self,
        url: str,
        method: str = "GET",
        headers: object = None,  # noqa: ARG002 - without a key they only name the client
        body: object = None,
    ) -> object:
        """Send a request and return the decoded JSON, in place of the transport of ccxt."""
        if method != "GET" or body:
            raise unusable(self._source, f"is asked by {method}, which is not supported")
        if self._base_url is not None and not url.startswith(self._base_url + "/"):
            host = urlsplit(url).netloc
            raise unusable(self._source, f"also asks {host}, which base_url does not stand for")
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc}"
        if root not in self._https:
            self._https[root] = Http(
                self._source,
                root,
                explain=self._explain,
                judge=self._judge,
                limits=self._limits,
            )
        http = self._https[root]
        self._path, self._answer = parts.path, None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._answer = http.get(parts.path, query, deadline=self._deadline)
        self._skew_seconds = http.skew_seconds
        return self._answer

    def _explain(self, refusal: Refusal) -> CryptocastError | None:
        """Return the error of a refusal if ccxt knows more than its status says, or None."""
        if refusal.status == 401:
            return self._wants_key()
        if refusal.status in (403, 451):
            return None
        fault = self._fault_in(refusal.status, refusal.body)
        telling = (self._ccxt.RateLimitExceeded, self._ccxt.DDoSProtection, self._ccxt.BadSymbol)
        return self._translated(refusal, fault) if isinstance(fault, telling) else None

    def _judge(self, answer: object) -> CryptocastError | None:
        """Return the error in the content of a 2xx, as this exchange words it, or None."""
        fault = self._fault_in(200, answer)
        if fault is None:
            return None
        if not isinstance(fault, self._ccxt.BaseError):
            self._answer = answer
            return self._unreadable()
        said = _faults.said_in(answer) or json.dumps(answer)
        return self._translated(Refusal(self._source, 200, _faults.clean(said), answer), fault)

    def _fault_in(self, status: int, answer: object) -> Exception | None:
        """Return what ccxt raises about a reply, or None if it finds no fault."""
        text = json.dumps(answer)
        try:
            self._exchange.handle_errors(status, "", "", "GET", {}, text, answer, {}, None)
        except Exception as fault:
            return fault
        return None

    def _translated(self, refusal: Refusal, fault: Exception) -> CryptocastError:
        """Return our error for the error that ccxt found in a reply."""
        ccxt, source = self._ccxt, self._source
        if isinstance(fault, ccxt.BadSymbol):
            return refusal.unknown_market()
        if isinstance(fault, ccxt.AuthenticationError | ccxt.ArgumentsRequired):
            return self._wants_key()
        if isinstance(fault, ccxt.RateLimitExceeded | ccxt.DDoSProtection):
            # 418 is a ban, which further requests make longer.
            return refusal.limited(retry=refusal.status != 418)
        if isinstance(fault, ccxt.OperationFailed):
            return refusal.broken()
        return refusal.refused(elsewhere(source))

    def _unreadable(self) -> SourceError:
        content = f"with {_faults.kind(self._answer)} that ccxt cannot read"
        return _faults.bad_answer(self._source, self._path, content)

    def _wants_key(self) -> SourceError:
        return SourceError(
            f"{self._source} gives no candles without a key, and ccxt is never given one",
            code="source.forbidden",
            hint=elsewhere(self._source),
        )


def unusable(source: str, why: str) -> ConfigError:
    """Return the error of an exchange that cannot be a source, or not with these settings."""
    return ConfigError(f"{source} {why}", code="config.source", hint=elsewhere(source))


def elsewhere(source: str) -> str:
    """Return a hint: another exchange to use instead of the one at fault."""
    other = "bitvavo" if source.endswith(":kraken") else "kraken"
    return f"take another source, for example --source ccxt:{other}"


def _says_none(answer: object) -> bool:
    """Return whether JSON holds an empty list, which is how an API says that it has no candle."""
    if isinstance(answer, dict):
        return any(_says_none(v) for k, v in answer.items() if not k.startswith("error"))
    return answer == [] or (isinstance(answer, list) and any(map(_says_none, answer)))
