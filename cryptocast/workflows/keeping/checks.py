"""The checks of doctor: folders, disk, database, sources, candles, aliases and bundles."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cryptocast import store, workspace
from cryptocast.bundles import load
from cryptocast.config import Secrets, Settings
from cryptocast.display import first_few
from cryptocast.errors import CryptocastError
from cryptocast.metering import calls_a_tick, loop_cost, monthly_cost
from cryptocast.seams import CandleSource
from cryptocast.store import Credits, Store
from cryptocast.values import DAY_SECONDS, FAILED, OK, WARNING, Check, Gap, Market, Page, iso
from cryptocast.workflows.learning.deployment import PRODUCTION, alias
from cryptocast.workflows.learning.versions import mismatch
from cryptocast.workspace import Workspace

if TYPE_CHECKING:
    from cryptocast.registry import Registry  # loads MLflow, which an image that serves lacks

_LITTLE_DISK_BYTES = 1_000_000_000
_NO_DISK_BYTES = 50_000_000
_SMALL_SKEW_SECONDS = 5.0
_STORE_WAIT_SECONDS = 2.0
_SHOWN_GAPS = 3
_SHOWN_BUNDLES = 8


def failure(name: str, error: CryptocastError) -> Check:
    """Return the failed check that an error makes."""
    return Check(name, FAILED, error.message, error.hint)


def folders(folder: Path) -> Iterator[Check]:
    """Check that the workspace can be written to, and that no killed process left drafts."""
    needed = [folder, *(folder / name for name in workspace.FOLDERS)]
    closed = [str(f) for f in needed if f.exists() and not os.access(f, os.W_OK | os.X_OK)]
    if closed:
        hint = "give the user that runs cryptocast the right to write there"
        yield Check("workspace", FAILED, f"{', '.join(closed)} cannot be written to", hint)
    else:
        yield Check("workspace", OK, str(folder))
    drafts = sorted(folder.glob(".*.new*"))
    if drafts:
        names = ", ".join(str(draft) for draft in drafts)
        yield Check("leftovers", WARNING, f"a killed process left {names}", f"rm {names}")


def disk(folder: Path) -> Iterator[Check]:
    """Check that there is some disk space left."""
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:,.1f} GB free"
    if free < _LITTLE_DISK_BYTES:
        status = FAILED if free < _NO_DISK_BYTES else WARNING
        yield Check("disk", status, detail, f"free some space on the disk of {folder}")
    else:
        yield Check("disk", OK, detail)


def database(configured: Store) -> Iterator[Check]:
    """Check that the database can be opened; if another process holds it, say which."""
    impatient = Store(configured.path, min(_STORE_WAIT_SECONDS, configured.wait_seconds))
    try:
        with impatient.read() as reader:
            markets = reader.stored_markets()
    except CryptocastError as error:
        status = WARNING if error.retry else FAILED
        yield Check("store", status, error.message, error.hint)
        return
    size = impatient.path.stat().st_size / 1e6
    names = f"{', '.join(markets[:5]) or 'no market'}{' ...' if len(markets) > 5 else ''}"
    yield Check("store", OK, f"{size:,.1f} MB, candles of {names}; nobody holds it")


def sources(ws: Workspace) -> Iterator[Check]:
    """Check each source in use: whether it answers, its clock, and what it costs."""
    settings, now = ws.settings.source, ws.clock.now()
    markets = {market.source: market for market in reversed(ws.markets())}
    names = dict.fromkeys(market.source for market in ws.markets())
    for fallback in settings.fallback:
        names.setdefault(fallback.name)
        markets.setdefault(fallback.name, replace(ws.markets()[0], source=fallback.name))
    for name in names:
        source = ws.source(name)
        if source.metered:
            yield _key(settings.api_key, ws.secrets)
            ws.budget.lift(name)
        yield from _answer(source, markets[name], now)
        if source.metered:
            calls = calls_a_tick(m for m in ws.markets() if m.source == name)
            with ws.store.read() as reader:
                spent = reader.credits([name], time.time())[name]
            yield _credits(spent, settings.monthly_credits, calls, ws.settings.market.interval)


def _key(reference: str, secrets: Secrets) -> Check:
    variable = reference.removeprefix("env:")
    if secrets.resolve(reference) is None:
        hint = f"put {variable}=... into the environment or the workspace's .env file"
        return Check("key", FAILED, f"{variable} is not set", hint)
    return Check("key", OK, f"{variable} is set")


def _answer(source: CandleSource, market: Market, now: float) -> Iterator[Check]:
    """Check whether a source answers for a market (and so accepts the key), and its clock."""
    name, interval = f"source {market.source}", market.interval_seconds
    end = market.floor(now)
    pages: list[Page] = []
    try:
        pages = list(source.pages(market, end - 4 * interval, end))
    except CryptocastError as error:
        yield failure(name, error)
        return
    rows = sum(len(page.candles) for page in pages)
    yield Check(name, OK, f"answers for {market.symbol}: {rows} of its last 4 candles")
    skews = [page.skew_seconds for page in pages if page.skew_seconds is not None]
    if not skews:
        return
    detail = f"{abs(skews[-1]):,.1f} s {'behind' if skews[-1] > 0 else 'ahead of'} {market.source}"
    hint = "set this machine's clock, for example: sudo timedatectl set-ntp true"
    if abs(skews[-1]) <= _SMALL_SKEW_SECONDS:
        yield Check("clock", OK, detail)
    else:
        yield Check("clock", FAILED if abs(skews[-1]) > interval else WARNING, detail, hint)


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


def stored_candles(database: Store, settings: Settings, now: float) -> Iterator[Check]:
    """Check how old each market's candles are, and which are missing."""
    markets = settings.markets()
    closed = markets[0].floor(now)
    start = closed - round(settings.data.days * DAY_SECONDS)
    with database.read() as reader:
        spans = reader.spans(markets, closed)
        ranges = {m: (max(s.first, start), s.last) for m, s in spans.items()}
        gaps, confirmed = store.gaps(reader, ranges), store.confirmed_missing(reader, ranges)
    for market in markets:
        if market not in spans:
            hint = "cryptocast fetch"
            yield Check(f"candles {market.id}", FAILED, "none is stored", hint)
            continue
        span = spans[market]
        behind = (closed - span.last) // market.interval_seconds - 1
        stale = behind > settings.loop.max_stale_bars
        yield Check(
            f"candles {market.id}",
            WARNING if stale else OK,
            f"{span.rows:,}, the newest of {iso(span.last)}, {behind} behind",
            "cryptocast fetch, or for recorded candles --as-of" if stale else "",
        )
        yield _gaps(market, gaps[market], confirmed[market])


def _gaps(market: Market, gaps: Sequence[Gap], confirmed: int) -> Check:
    name = f"gaps {market.id}"
    missing = sum(gap.bars for gap in gaps)
    if missing == 0:
        return Check(name, OK, "no bar is missing")
    runs = [f"{iso(gap.start)} to {iso(gap.end)} ({gap.bars})" for gap in gaps]
    shown = first_few(runs, _SHOWN_GAPS)
    if confirmed == missing:
        detail = f"the source lacks {missing} of the bars: {shown}"
        return Check(name, OK, detail, gaps=tuple(gaps))
    counts = f"{missing - confirmed} bars to ask for, {confirmed} that the source lacks"
    return Check(name, WARNING, f"{counts}: {shown}", "cryptocast fetch", tuple(gaps))


def aliases(registry: Registry, database: Store, markets: Sequence[Market]) -> Iterator[Check]:
    """Check that MLflow can be read, and that its aliases name what serves."""
    versions = registry.versions()
    yield Check("mlflow", OK, f"{len(versions)} versions")
    with database.read() as reader:
        productions = reader.productions().of_markets(markets)
    named = {name: version.version for version in versions for name in version.aliases}
    for row in dict.fromkeys(productions.values()):
        name, serves = alias(PRODUCTION, row.market), row.model_version
        if named.get(name) != serves:
            version = f"version {named[name]}" if name in named else "no version"
            yield Check(
                "alias",
                WARNING,
                f"MLflow's alias {name} names {version}, but version {serves} serves",
                f"cryptocast promote {serves}",
            )


def bundles(folder: Path, database: Store, settings: Settings) -> Iterator[Check]:
    """Check each version that serves a market, or served it before; of many show only the faults.

    `folder` holds the bundles.
    """
    with database.read() as reader:
        rows = reader.productions().of_markets(settings.markets()).values()
    if not rows:
        yield Check("production", FAILED, "there is no production model", "cryptocast init")
        return
    serving = dict.fromkeys(row.model_version for row in rows)
    previous = dict.fromkeys(row.previous_version for row in rows if row.previous_version)
    checks = [
        _bundle("production", folder / v, settings, FAILED, f"cryptocast promote {v}")
        for v in serving
    ]
    hint = "cryptocast rollback freezes it anew when it is needed"
    checks += [
        _bundle("previous", folder / v, settings, WARNING, hint)
        for v in previous
        if v not in serving
    ]
    if len(checks) <= _SHOWN_BUNDLES:
        yield from checks
        return
    sound = sum(check.status == OK for check in checks)
    yield Check("production", OK, f"{sound} of {len(checks)} frozen versions are whole")
    yield from (check for check in checks if check.status != OK)


def _bundle(role: str, folder: Path, settings: Settings, status: str, hint: str) -> Check:
    """Check a frozen version; `status` and `hint` hold if it is missing or damaged."""
    try:
        card = load(folder).card
    except CryptocastError as error:
        return Check(role, status, error.message, hint)
    detail = f"version {folder.name} ({card.kind}), its hash is right"
    if (reason := mismatch(card, settings)) is not None:
        detail += f"; it does not fit the settings ({reason}), so a stand-in serves"
        return Check(role, WARNING, detail, "cryptocast retrain")
    return Check(role, OK, detail)
