"""ccxt over our own wire: it words the requests and reads the answers, `Http` does the rest.

ccxt's own transport loses what is wrong with an answer: HTML or cut JSON with a 200 becomes
no candle at all, a 403 or 451 looks like a passing fault, a 429 like a lasting one. So its
exchange object gets another `fetch` here, and hands over every row that an answer holds.
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
from cryptocast.sources._ccxt_library import elsewhere, library, made, unusable
from cryptocast.sources._faults import Refusal, read_refusal
from cryptocast.sources._http import Http, Patience

_ADDRESS = re.compile(r"https?://\S+")
_log = logging.getLogger(__name__)


class Exchange:
    """One exchange of ccxt, without a key; asked by one thread at a time, at ccxt's pace."""

    def __init__(self, source: str, base_url: str | None, patience: Patience) -> None:
        self._source = source
        self._base_url = base_url.rstrip("/") if base_url else None
        self._patience = patience
        self._ccxt = library()
        self._exchange = made(self._ccxt, source, self._base_url)
        self._put_under()
        self._https: dict[str, Http] = {}
        self._turn = threading.Lock()
        self._deadline = math.inf
        self._path = "/"  # of the last request, without its query
        self._answer: object = None  # its decoded JSON
        self._skew_seconds: float | None = None
        self._parsed: list[list[object]] = []

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The intervals that it has, by the names that ccxt and we share."""
        return tuple(self._exchange.timeframes)

    def limit(self, unless_known: int) -> int:
        """How many candles a call brings, as far as ccxt knows."""
        found: Any = self._exchange.features
        for key in ("spot", "fetchOHLCV", "limit"):
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, int) else unless_known

    def symbols(self, deadline: float) -> tuple[str, ...]:
        """Every symbol that is traded there, asked for once; raises what `candles` raises."""
        with self._asking(deadline):
            markets = self._call(self._exchange.load_markets)
            if not markets:
                raise _faults.bad_answer(self._source, self._path, "with no market at all")
            return tuple(markets)

    def candles(
        self, symbol: str, interval: str, since: int, limit: int, deadline: float
    ) -> tuple[str, list[object], float | None]:
        """The path of one call from Unix second `since`, every row of its answer, and the skew.

        A row is [time in ms, open, high, low, close, volume], unchecked. Raises ConfigError
        (`config.symbol`, `config.source`) and SourceError: what `Http.get` raises, and
        source.bad_answer where there is neither a row nor an empty list that says so.
        """
        with self._asking(deadline):
            self._parsed.clear()
            fetch = self._exchange.fetch_ohlcv
            returned = self._call(lambda: fetch(symbol, interval, since * 1000, limit))
            rows = self._parsed[-1] if self._parsed else returned
            if not rows and not _says_none(self._answer):
                found = f"with {_faults.kind(self._answer)} that holds no list of candles"
                raise _faults.bad_answer(self._source, self._path, found)
            return self._path, list(rows or []), self._skew_seconds

    def close(self) -> None:
        """Give back the connections."""
        for http in self._https.values():
            http.close()

    def _put_under(self) -> None:
        """Have the exchange object ask through us, and keep whatever it parses."""
        parse = self._exchange.parse_ohlcvs

        def keep_every_row(rows: object, market: object = None, *_cut: object) -> object:
            # Left to itself ccxt drops rows without a time and rows before `since`, and what
            # calls this may fill bars without a trade by copies of the one before.
            self._parsed.append(parse(rows, market))
            return self._parsed[-1]

        self._exchange.parse_ohlcvs = keep_every_row
        self._exchange.fetch = self._fetch

    @contextmanager
    def _asking(self, deadline: float) -> Iterator[None]:
        """Our turn with the exchange object, which keeps state from request to answer."""
        left = -1 if math.isinf(deadline) else max(deadline - time.monotonic(), 0.0)
        if not self._turn.acquire(timeout=left):
            raise _faults.out_of_time(self._source, self._path)
        try:
            self._deadline = deadline
            yield
        finally:
            self._turn.release()

    def _call(self, ask: Callable[[], Any]) -> Any:
        """What a method of ccxt returns; whatever it raises becomes ours."""
        try:
            return ask()
        except CryptocastError:
            raise
        except self._ccxt.BaseError as fault:
            if isinstance(fault, self._ccxt.AuthenticationError | self._ccxt.ArgumentsRequired):
                raise self._wants_key() from None
            said = _faults.clean(_ADDRESS.sub("its address", str(fault)))
            raise SourceError(
                f"ccxt gave up on {self._source}: {said}", hint=elsewhere(self._source)
            ) from None
        except Exception as fault:
            # JSON of another shape than it expects makes ccxt stumble in many ways.
            _log.debug("ccxt stumbled over an answer of %s", self._source, exc_info=fault)
            raise self._unreadable() from None

    def _fetch(
        self,
        url: str,
        method: str = "GET",
        headers: object = None,  # noqa: ARG002 - without a key they only say who made the request
        body: object = None,
    ) -> object:
        """What stands where ccxt has its transport."""
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
                patience=self._patience,
            )
        http = self._https[root]
        self._path, self._answer = parts.path, None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self._answer = http.get(parts.path, query, deadline=self._deadline)
        self._skew_seconds = http.skew_seconds
        return self._answer

    def _explain(self, refusal: Refusal) -> CryptocastError | None:
        """What ccxt knows of a refusal that its status alone doesn't tell."""
        if refusal.status == 401:
            return self._wants_key()
        if refusal.status in (403, 451):
            return None
        fault = self._told(refusal.status, refusal.body)
        known = (self._ccxt.RateLimitExceeded, self._ccxt.DDoSProtection, self._ccxt.BadSymbol)
        return self._meant(refusal, fault) if isinstance(fault, known) else None

    def _judge(self, answer: object) -> CryptocastError | None:
        """The error that a 2xx is after all, in the words of this exchange."""
        fault = self._told(200, answer)
        if fault is None:
            return None
        if not isinstance(fault, self._ccxt.BaseError):
            self._answer = answer
            return self._unreadable()
        body = json.dumps(answer).encode()
        return self._meant(read_refusal(self._source, 200, body, None, 0.0), fault)

    def _told(self, status: int, answer: object) -> Exception | None:
        """What ccxt raises about an answer; None where it finds no fault."""
        text = json.dumps(answer)
        try:
            self._exchange.handle_errors(status, "", "", "GET", {}, text, answer, {}, None)
        except Exception as fault:
            return fault
        return None

    def _meant(self, refusal: Refusal, fault: Exception) -> CryptocastError:
        """The error that ccxt's verdict on an answer stands for."""
        ccxt, source = self._ccxt, self._source
        if isinstance(fault, ccxt.BadSymbol):
            return ConfigError(
                f"{source} does not know this market (HTTP {refusal.status}: {refusal.said})",
                code="config.symbol",
                hint="check [market] symbols",
            )
        if isinstance(fault, ccxt.AuthenticationError | ccxt.ArgumentsRequired):
            return self._wants_key()
        if isinstance(fault, ccxt.RateLimitExceeded | ccxt.DDoSProtection):
            hint = "wait a minute, then run the same command again"
            what = "limits how often it is asked"
            # 418 is a ban, which asking again makes longer.
            return refusal.error("source.rate_limited", what, hint, retry=refusal.status != 418)
        if isinstance(fault, ccxt.OperationFailed):
            hint = f"run the same command again in some minutes, {_faults.or_another(source)}"
            return refusal.error("source.http", "has a fault of its own", hint, retry=True)
        return refusal.error("source.http", "refused the request", elsewhere(self._source))

    def _unreadable(self) -> SourceError:
        found = f"with {_faults.kind(self._answer)} that ccxt cannot read"
        return _faults.bad_answer(self._source, self._path, found)

    def _wants_key(self) -> SourceError:
        return SourceError(
            f"{self._source} gives no candles without a key, and ccxt is never given one",
            code="source.forbidden",
            hint=elsewhere(self._source),
        )


def _says_none(answer: object) -> bool:
    """Whether JSON holds an empty list, which is how an API says that there is no candle."""
    if isinstance(answer, dict):
        return any(_says_none(v) for k, v in answer.items() if not k.startswith("error"))
    return answer == [] or (isinstance(answer, list) and any(map(_says_none, answer)))
