"""doctor: is the installation sound? Each check is one line, with what to do where it isn't."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from cryptocast import bundles, store, workspace
from cryptocast.errors import CryptocastError
from cryptocast.metering import calls_a_tick, loop_cost, monthly_cost
from cryptocast.notify import open_notifier
from cryptocast.store import Store
from cryptocast.values import FAILED, OK, WARNING, Check, Gap, Market, Page, iso
from cryptocast.workflows.learning.deployment import PRODUCTION, alias
from cryptocast.workflows.learning.versions import mismatch
from cryptocast.workflows.watching import alerts
from cryptocast.workspace import Workspace

_DAY = 86_400
_LITTLE_DISK_BYTES = 1_000_000_000
_NO_DISK_BYTES = 50_000_000
_SMALL_SKEW_SECONDS = 5.0
_STORE_WAIT_SECONDS = 2.0
_SHOWN_GAPS = 3
_SHOWN_BUNDLES = 8


def doctor(ws: Workspace) -> list[Check]:
    """Look at everything that a forecast needs; raises nothing that a check can tell.

    Each source in use is asked for one bar (one credit where calls cost), which also lifts
    a block after an earlier refusal for want of credits.
    """
    checks: list[Check] = []
    parts: tuple[tuple[str, Callable[[Workspace], Iterator[Check]]], ...] = (
        ("workspace", _workspace),
        ("disk", _disk),
        ("store", _store),
        ("source", _sources),
        ("candles", _candles),
        ("mlflow", _registry),
        ("production", _bundles),
        ("receivers", _receivers),
    )
    for done, (name, part) in enumerate(parts):
        ws.progress.advance(done, len(parts), name)
        try:
            checks += part(ws)
        except CryptocastError as error:
            checks.append(_failure(name, error))
    ws.progress.advance(len(parts), len(parts), f"{len(checks)} checks")
    return checks


def _failure(name: str, error: CryptocastError) -> Check:
    return Check(name, FAILED, error.message, error.hint)


def _workspace(ws: Workspace) -> Iterator[Check]:
    folders = [ws.folder, *(ws.folder / name for name in workspace.FOLDERS)]
    closed = [str(f) for f in folders if f.exists() and not os.access(f, os.W_OK | os.X_OK)]
    if closed:
        hint = "give the user that runs cryptocast the right to write there"
        yield Check("workspace", FAILED, f"{', '.join(closed)} cannot be written to", hint)
    else:
        yield Check("workspace", OK, str(ws.folder))
    drafts = sorted(ws.folder.glob(".*.new*"))
    if drafts:
        names = ", ".join(str(draft) for draft in drafts)
        yield Check("leftovers", WARNING, f"a killed process left {names}", f"rm {names}")


def _disk(ws: Workspace) -> Iterator[Check]:
    free = shutil.disk_usage(ws.folder).free
    detail = f"{free / 1e9:,.1f} GB free"
    if free < _LITTLE_DISK_BYTES:
        status = FAILED if free < _NO_DISK_BYTES else WARNING
        yield Check("disk", status, detail, f"free some space where {ws.folder} lies")
    else:
        yield Check("disk", OK, detail)


def _store(ws: Workspace) -> Iterator[Check]:
    """Whether the database can be opened; where another process holds it, which."""
    database = Store(ws.store.path, min(_STORE_WAIT_SECONDS, ws.store.wait_seconds))
    try:
        with database.read() as reader:
            markets = reader.stored_markets()
    except CryptocastError as error:
        status = WARNING if error.retry else FAILED
        yield Check("store", status, error.message, error.hint)
        return
    size = database.path.stat().st_size / 1e6
    held = f"candles of {', '.join(markets[:5]) or 'no market'}{' ...' if len(markets) > 5 else ''}"
    yield Check("store", OK, f"{size:,.1f} MB, {held}; nobody holds it")


def _sources(ws: Workspace) -> Iterator[Check]:
    """Ask each source in use for its newest bar; what it costs; what its clock says."""
    asked = dict.fromkeys(market.source for market in ws.markets())
    first = {market.source: market for market in reversed(ws.markets())}
    for fallback in ws.settings.source.fallback:
        asked.setdefault(fallback.name)
        own = replace(ws.markets()[0], source=fallback.name)
        first.setdefault(fallback.name, own)
    for name in asked:
        source = ws.source(name)
        if source.metered:
            yield _key(ws)
            ws.budget.lift(name)
        yield from _answer(ws, first[name])
        if source.metered:
            yield _credits(ws, name)


def _key(ws: Workspace) -> Check:
    variable = ws.settings.source.api_key.removeprefix("env:")
    if ws.secrets.resolve(ws.settings.source.api_key) is None:
        hint = f"put {variable}=... into the environment or the workspace's .env file"
        return Check("key", FAILED, f"{variable} is not set", hint)
    return Check("key", OK, f"{variable} is set")


def _answer(ws: Workspace, market: Market) -> Iterator[Check]:
    """Whether a source answers for a market (and so accepts the key), and its clock."""
    name, interval = f"source {market.source}", market.interval_seconds
    end = market.floor(ws.clock.now())
    pages: list[Page] = []
    try:
        pages = list(ws.source(market.source).pages(market, end - 4 * interval, end))
    except CryptocastError as error:
        yield _failure(name, error)
        return
    rows = sum(len(page.candles) for page in pages)
    yield Check(name, OK, f"answers for {market.symbol}: {rows} of its last 4 candles")
    skews = [page.skew_seconds for page in pages if page.skew_seconds is not None]
    if not skews:
        return
    detail = f"{abs(skews[-1]):,.1f} s {'behind' if skews[-1] > 0 else 'ahead of'} {market.source}"
    hint = "set this machine's clock, for example: sudo timedatectl set-ntp true"
    if abs(skews[-1]) > interval:
        yield Check("clock", FAILED, detail, hint)
    elif abs(skews[-1]) > _SMALL_SKEW_SECONDS:
        yield Check("clock", WARNING, detail, hint)
    else:
        yield Check("clock", OK, detail)


def _credits(ws: Workspace, source: str) -> Check:
    """What a metered source has cost this month, and what a loop will."""
    monthly, interval = ws.settings.source.monthly_credits, ws.settings.market.interval
    calls = calls_a_tick(m for m in ws.markets() if m.source == source)
    with ws.store.read() as reader:
        spent = reader.credits([source], time.time())[source]
    detail = (
        f"{spent.credits:,} of {monthly:,} credits this month in {spent.calls:,} calls; "
        f"{loop_cost(calls, interval, monthly)}"
    )
    larger = "take a larger plan and set [source] monthly_credits"
    if spent.refused_at is not None or spent.credits >= monthly:
        return Check("credits", FAILED, detail, f"{larger}, or add a [[source.fallback]]")
    if monthly_cost(calls, interval) > monthly:
        hint = f"tick more seldom, {larger}, or add a [[source.fallback]]"
        return Check("credits", WARNING, detail, hint)
    return Check("credits", OK, detail)


def _candles(ws: Workspace) -> Iterator[Check]:
    """What is stored of each market: how old, and what is missing."""
    now = ws.clock.now()
    with ws.store.read() as reader:
        closed = ws.markets()[0].floor(now)
        start = closed - round(ws.settings.data.days * _DAY)
        spans = reader.spans(ws.markets(), closed)
        ranges = {m: (max(s.first, start), s.last) for m, s in spans.items()}
        gaps, confirmed = store.gaps(reader, ranges), store.confirmed_missing(reader, ranges)
    for market in ws.markets():
        if market not in spans:
            hint = "cryptocast fetch"
            yield Check(f"candles {market.id}", FAILED, "none is stored", hint)
            continue
        span = spans[market]
        behind = (closed - span.last) // market.interval_seconds - 1
        stale = behind > ws.settings.loop.max_stale_bars
        yield Check(
            f"candles {market.id}",
            WARNING if stale else OK,
            f"{span.rows:,}, the newest of {iso(span.last)}, {behind} behind",
            "cryptocast fetch, or for recorded candles --as-of" if stale else "",
        )
        yield _gaps(market, gaps[market], confirmed[market])


def _gaps(market: Market, gaps: list[Gap], confirmed: int) -> Check:
    name = f"gaps {market.id}"
    missing = sum(gap.bars for gap in gaps)
    if missing == 0:
        return Check(name, OK, "no bar is missing")
    shown = ", ".join(f"{iso(g.start)} to {iso(g.end)} ({g.bars})" for g in gaps[:_SHOWN_GAPS])
    more = f" and {len(gaps) - _SHOWN_GAPS} more" if len(gaps) > _SHOWN_GAPS else ""
    if confirmed == missing:
        told = f"the source lacks {missing} of the bars: {shown}{more}"
        return Check(name, OK, told, gaps=tuple(gaps))
    told = f"{missing - confirmed} bars to ask for, {confirmed} that the source lacks: "
    return Check(name, WARNING, f"{told}{shown}{more}", "cryptocast fetch", tuple(gaps))


def _registry(ws: Workspace) -> Iterator[Check]:
    versions = {version.version: version for version in ws.registry().versions()}
    yield Check("mlflow", OK, f"{len(versions)} versions")
    with ws.store.read() as reader:
        serving = reader.productions().of_markets(ws.markets())
    named = {name: version.version for version in versions.values() for name in version.aliases}
    for row in dict.fromkeys(serving.values()):
        name, serves = alias(PRODUCTION, row.market), row.model_version
        if named.get(name) != serves:
            there = f"version {named[name]}" if name in named else "no version"
            yield Check(
                "alias",
                WARNING,
                f"MLflow's alias {name} names {there}, but version {serves} serves",
                f"cryptocast promote {serves}",
            )


def _bundles(ws: Workspace) -> Iterator[Check]:
    """Each frozen version that serves a market, or would in its stead; of many only the faults."""
    with ws.store.read() as reader:
        rows = reader.productions().of_markets(ws.markets()).values()
    if not rows:
        yield Check("production", FAILED, "there is no production model", "cryptocast init")
        return
    first = dict.fromkeys(row.model_version for row in rows)
    before = dict.fromkeys(row.previous_version for row in rows if row.previous_version)
    checks = [_bundle(ws, "production", v, f"cryptocast promote {v}") for v in first]
    told = "cryptocast rollback freezes it anew when it is needed"
    checks += [_bundle(ws, "previous", v, told) for v in before if v not in first]
    if len(checks) <= _SHOWN_BUNDLES:
        yield from checks
        return
    sound = sum(check.status == OK for check in checks)
    yield Check("production", OK, f"{sound} of {len(checks)} frozen versions are whole")
    yield from (check for check in checks if check.status != OK)


def _receivers(ws: Workspace) -> Iterator[Check]:
    """Whether whoever is to be told can be; nothing is sent (`notify --test` does)."""
    found, timeout = alerts.named(ws), ws.settings.notify.timeout_seconds
    for name, receiver in found.items():
        try:
            open_notifier(receiver, ws.secrets, folder=ws.folder, timeout_seconds=timeout)
        except CryptocastError as error:
            yield _failure(f"receiver {name}", error)
        else:
            yield Check(f"receiver {name}", OK, "is set up (cryptocast notify --test tries it)")


def _bundle(ws: Workspace, role: str, version: str, hint: str) -> Check:
    try:
        bundle = bundles.load(ws.bundle_folder(version))
    except CryptocastError as error:
        return Check(role, FAILED if role == "production" else WARNING, error.message, hint)
    told = f"version {version} ({bundle.card.kind}), its hash is right"
    if (why := mismatch(bundle.card, ws.settings)) is not None:
        told += f"; it does not fit the settings ({why}), so a stand-in serves"
        return Check(role, WARNING, told, "cryptocast retrain")
    return Check(role, OK, told)
