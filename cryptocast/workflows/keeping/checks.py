"""The checks of doctor: folders, disk, database, candles, aliases and bundles."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cryptocast import paths, plugins, store, workspace
from cryptocast.bundles import frozen_curve, load_version
from cryptocast.compute.ladder import mismatch
from cryptocast.config import Settings
from cryptocast.display import first_few
from cryptocast.errors import CryptocastError
from cryptocast.store import Store
from cryptocast.values import DAY_SECONDS, FAILED, OK, WARNING, Check, Gap, Market, iso
from cryptocast.workflows.learning.deployment import PRODUCTION, alias

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


def plug_ins() -> Iterator[Check]:
    """Name the plug-ins of installed packages, which are not imported; a refused one fails."""
    for group in plugins.GROUPS:
        for plugin in plugins.installed(group):
            name = f"plug-in {plugin.name}"
            told = f"a {group.what} of the package {plugin.package} ({plugin.module})"
            if plugin.refusal is None:
                yield Check(name, OK, told)
            else:
                hint = f"rename it in {plugin.package}, or pip uninstall {plugin.package}"
                yield Check(name, FAILED, f"{told} is refused: {plugin.refusal}", hint)


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


def secrets_file(folder: Path) -> Iterator[Check]:
    """Check that nobody else can read the keys in the workspace's `.env` file."""
    file = folder / ".env"
    if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
        yield Check("secrets", WARNING, f"others can read {file}", f"chmod 600 {file}")


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
        graphs = reader.graphs()
    if not rows:
        yield Check("production", FAILED, "there is no production model", "cryptocast init")
        return
    serving = dict.fromkeys(row.model_version for row in rows)
    previous = dict.fromkeys(row.previous_version for row in rows if row.previous_version)
    checks = [
        _bundle("production", folder / v, graphs, settings, FAILED, f"cryptocast promote {v}")
        for v in serving
    ]
    hint = "cryptocast rollback freezes it anew when it is needed"
    checks += [
        _bundle("previous", folder / v, graphs, settings, WARNING, hint)
        for v in previous
        if v not in serving
    ]
    if len(checks) <= _SHOWN_BUNDLES:
        yield from checks
        return
    sound = sum(check.status == OK for check in checks)
    yield Check("production", OK, f"{sound} of {len(checks)} frozen versions are whole")
    yield from (check for check in checks if check.status != OK)


def _bundle(
    role: str,
    folder: Path,
    graphs: Mapping[str, str],
    settings: Settings,
    status: str,
    hint: str,
) -> Check:
    """Check a frozen version; `status` and `hint` hold if it is missing or damaged."""
    try:
        card = load_version(folder, graphs.get(folder.name)).card
        if (curve := frozen_curve(folder)) is not None:
            paths.own_curve(curve, folder.name)
    except CryptocastError as error:
        return Check(role, status, error.message, hint)
    detail = f"version {folder.name} ({card.kind}), its hash is right"
    if (reason := mismatch(card, settings)) is not None:
        detail += f"; it does not fit the settings ({reason}), so a stand-in serves"
        return Check(role, WARNING, detail, "cryptocast retrain")
    return Check(role, OK, detail)
