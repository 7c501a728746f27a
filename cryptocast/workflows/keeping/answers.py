"""The checks of doctor that ask sources: do they answer, with which clock, at what cost?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import median

from cryptocast.config import Secrets
from cryptocast.errors import CryptocastError
from cryptocast.metering import calls_a_tick, loop_cost, monthly_cost
from cryptocast.seams import CandleSource, Paced
from cryptocast.store import Credits
from cryptocast.values import FAILED, OK, WARNING, Check, Market
from cryptocast.workflows.keeping.checks import failure
from cryptocast.workflows.serving.bring import AT_ONCE
from cryptocast.workflows.serving.catch_up import TICK_SECONDS
from cryptocast.workspace import Workspace

_SMALL_SKEW_SECONDS = 5.0
_MOST_ASKED = 50  # markets of a source: thousands of calls would take longer than they tell


def sources(ws: Workspace) -> Iterator[Check]:
    """Check each source in use: whether it answers for each market, its clock, and its cost."""
    settings, now = ws.settings.source, ws.clock.now()
    markets = ws.markets()
    names = dict.fromkeys(market.source for market in markets)
    names |= dict.fromkeys(fallback.name for fallback in settings.fallback)
    for name in names:
        source = ws.source(name)
        own = [market for market in markets if market.source == name]
        if source.metered:
            yield _key(settings.api_key, ws.secrets)
            ws.budget.lift(name)
        wanted = own or [replace(m, source=name) for m in markets]
        yield from _answers(source, wanted, now)
        if source.metered:
            calls = calls_a_tick(own)
            with ws.store.read() as reader:
                spent = reader.credits([name], time.time())[name]
            yield _credits(spent, settings.monthly_credits, calls, ws.settings.market.interval)


def _key(reference: str, secrets: Secrets) -> Check:
    variable = reference.removeprefix("env:")
    if secrets.resolve(reference) is None:
        hint = f"put {variable}=... into the environment or the workspace's .env file"
        return Check("key", FAILED, f"{variable} is not set", hint)
    return Check("key", OK, f"{variable} is set")


def _answers(source: CandleSource, markets: Sequence[Market], now: float) -> Iterator[Check]:
    """Check whether a source answers for its markets (and so accepts the key), and its clock."""
    skews: list[float] = []
    calls: list[float] = []
    asked = markets[:: -(-len(markets) // _MOST_ASKED)]
    for market in asked:
        name = f"source {market.source if len(markets) == 1 else market.id}"
        interval = market.interval_seconds
        end = market.floor(now)
        began = time.monotonic()
        try:
            pages = list(source.pages(market, end - 4 * interval, end))
        except CryptocastError as error:
            yield failure(name, error)
            continue
        calls.append(time.monotonic() - began)
        rows = sum(len(page.candles) for page in pages)
        yield Check(name, OK, f"answers for {market.symbol}: {rows} of its last 4 candles")
        skews += [page.skew_seconds for page in pages if page.skew_seconds is not None]
    if len(asked) < len(markets):
        told = f"{len(asked)} of its {len(markets):,} markets were asked for"
        yield Check(f"source {source.name}", OK, told)
    if skews:
        yield _clock(source.name, skews[-1], markets[0].interval_seconds)
    if calls and isinstance(source, Paced):
        calls_a_market = calls_a_tick(asked) / len(asked) if source.metered else 1.0
        per_second = min(
            source.pace[0] / source.pace[1] / calls_a_market, AT_ONCE / max(median(calls), 1e-3)
        )
        yield _reach(source.name, per_second, markets)


def _reach(source: str, per_second: float, markets: Sequence[Market]) -> Check:
    """Check that one tick can bring the candles of all these markets of a source.

    It is held up by the limit of the source, or by how long an answer takes.
    """
    window = min(TICK_SECONDS, markets[0].interval_seconds)
    most = math.floor(per_second * window)
    detail = f"a tick brings about {most:,} markets in {window:.0f} s; there are {len(markets):,}"
    if len(markets) <= most:
        return Check(f"reach of {source}", OK, detail)
    hint = "give some of them to another source, or to a workspace of their own elsewhere"
    return Check(f"reach of {source}", WARNING, detail, hint)


def _clock(source: str, skew_seconds: float, interval: int) -> Check:
    """Check that the clocks of this machine and of a source agree."""
    detail = f"{abs(skew_seconds):,.1f} s {'behind' if skew_seconds > 0 else 'ahead of'} {source}"
    if abs(skew_seconds) <= _SMALL_SKEW_SECONDS:
        return Check("clock", OK, detail)
    hint = "set this machine's clock, for example: sudo timedatectl set-ntp true"
    status = FAILED if abs(skew_seconds) > interval else WARNING
    return Check("clock", status, detail, hint)


def _credits(spent: Credits, monthly: int, calls: int, interval: str) -> Check:
    """Check what a metered source has cost this month, and what a loop will cost."""
    detail = (
        f"{spent.credits:,} of {monthly:,} credits this month in {spent.calls:,} calls; "
        f"{loop_cost(calls, interval, monthly)}"
    )
    larger = "take a larger plan and set [source] monthly_credits"
    if spent.refused_at is not None or spent.credits >= monthly:
        return Check("credits", FAILED, detail, f"{larger}, or add a [[source.fallback]]")
    if monthly_cost(calls, interval) > monthly:
        hint = f"tick less often, {larger}, or add a [[source.fallback]]"
        return Check("credits", WARNING, detail, hint)
    return Check("credits", OK, detail)
