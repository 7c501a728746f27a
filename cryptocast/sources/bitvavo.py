"""Bitvavo: candles of its EUR and USDC markets back to 2019, no key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _faults
from cryptocast.sources._faults import Refusal
from cryptocast.sources._http import PATIENCE, Http, Patience, refuse_future
from cryptocast.sources._rows import MILLISECONDS, between, candles_from, is_number, windows
from cryptocast.values import Candles, Market, Page

BASE_URL = "https://api.bitvavo.com/v2"
ROWS_A_CALL = 1440
_UNKNOWN_MARKET = 205
_BANNED = 105
_COLUMNS = 6


class Source:
    """Candles of Bitvavo's public API. A bar in which nobody traded is no row there."""

    name = "bitvavo"
    publishes_late = True
    metered = False
    bars_a_call = ROWS_A_CALL - 1
    bars_back = None

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],  # noqa: ARG002 - every source is made alike
        secrets: Secrets,  # noqa: ARG002
        *,
        clock: Clock,
        meter: Meter | None = None,  # noqa: ARG002
        patience: Patience = PATIENCE,
    ) -> None:
        self._clock = clock
        self._http = Http(
            self.name, settings.base_url or BASE_URL, explain=_explain, patience=patience
        )

    def pages(
        self, market: Market, start: int, end: int, *, deadline: float = math.inf
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)`, oldest page first.

        Bitvavo names its intervals as we do. Raises ConfigError (`config.symbol`) for a
        market that is not there, and SourceError: source.bad_answer, what `Http.get` raises.
        """
        refuse_future(self.name, self._clock)
        return self._pages(market, start, end, deadline)

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def _pages(self, market: Market, start: int, end: int, deadline: float) -> Iterator[Page]:
        path = f"/{market.base}-{market.quote}/candles"
        # One bar less than the limit: the newest come first, so if `end` were inclusive,
        # a full window would push its oldest bar out of the answer.
        seconds = (ROWS_A_CALL - 1) * market.interval_seconds
        for first, last in windows(start, end, seconds):
            query: dict[str, str | int] = {
                "interval": market.interval,
                "limit": ROWS_A_CALL,
                "start": first * MILLISECONDS,
                "end": last * MILLISECONDS,
            }
            candles = _read(path, self._http.get(path, query, deadline=deadline))
            yield Page(first, last, between(candles, first, last), self._http.skew_seconds)


def _read(path: str, answer: object) -> Candles:
    """The candles of an answer, oldest first; SourceError that names what else was found."""
    if not isinstance(answer, list):
        raise _bad(path, f"with {_faults.kind(answer)} instead of a list of candles")
    for number, row in enumerate(answer):
        if not isinstance(row, list) or len(row) != _COLUMNS:
            raise _bad(path, f"with a candle {number} that is no list of {_COLUMNS}")
        if not is_number(row[0]):
            raise _bad(path, f"with {_faults.kind(row[0])} for the time of candle {number}")
        for value in row[1:]:
            if not (is_number(value) or _is_numeric(value)):
                raise _bad(path, f"with {_faults.kind(value)} for a price of candle {number}")
    table = np.array([[float(value) for value in row] for row in reversed(answer)])
    table = table.reshape(-1, _COLUMNS)
    return candles_from("bitvavo", path, table[:, 0], table[:, 1:])


def _bad(path: str, found: str) -> SourceError:
    return _faults.bad_answer("bitvavo", path, found)


def _is_numeric(text: object) -> bool:
    if not isinstance(text, str) or "_" in text:  # float() reads 1_000, no exchange writes it
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _explain(refusal: Refusal) -> ConfigError | SourceError | None:
    """What Bitvavo means by a refusal; None where it means what everybody means."""
    number = refusal.body.get("errorCode") if isinstance(refusal.body, dict) else None
    if refusal.status == 404 or (refusal.status == 400 and number == _UNKNOWN_MARKET):
        return ConfigError(
            f"bitvavo does not know this market (HTTP {refusal.status}: {refusal.said})",
            code="config.symbol",
            hint="check [market] symbols: BTC/EUR, ETH/EUR and others in EUR; and base_url",
        )
    if number == _BANNED:
        hint = f"wait until the ban ends, {_faults.or_another('bitvavo')}"
        return refusal.error("source.rate_limited", "has banned this address for a while", hint)
    return None
