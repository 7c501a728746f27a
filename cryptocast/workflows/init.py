"""init: make an empty folder a workspace with a promoted model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from msgspec.structs import replace

from cryptocast import config, workspace
from cryptocast.clock import VirtualClock
from cryptocast.compute.ahead import Ahead
from cryptocast.config import Secrets, Settings
from cryptocast.drafts import replacing, swapping
from cryptocast.errors import CryptocastError, StateError
from cryptocast.locks import alone, lock_file
from cryptocast.metering import calls_a_tick, loop_cost
from cryptocast.seams import Clock, Inline, Progress, Steps
from cryptocast.sources import resolve_auto
from cryptocast.store import Store
from cryptocast.values import DAY_SECONDS, Market, iso
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.keeping.undo import make_folders, refusals_named, undone_if_useless
from cryptocast.workflows.learning.pipeline import Renewal, pipeline
from cryptocast.workflows.learning.preparing import ahead_of
from cryptocast.workflows.learning.renewals import (
    Renewals,
    pipeline_name,
    renew_groups,
)
from cryptocast.workflows.learning.scope import Group, model_groups, per_market
from cryptocast.workflows.learning.versions import production_of
from cryptocast.workflows.serving.fetching import FetchReport
from cryptocast.workspace import Workspace

STARTED = "init.started"
FINISHED = "init.finished"


@dataclass(frozen=True, slots=True)
class InitOptions:
    """The options that a person gave `init`."""

    file: Path | None = None  # settings to start from
    settings: Mapping[str, Any] = field(default_factory=dict)  # by full key
    symbols: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class InitReport:
    """A finished workspace."""

    folder: Path
    source: str
    source_reason: str | None  # why `auto` chose it
    added: tuple[str, ...]  # markets added to a workspace that was finished before
    cost: str | None  # the cost of a loop per month, if the source is metered
    candles: FetchReport | None  # None: nothing was to do
    pipeline: Renewals | None  # None: no model was made, as the workspace was finished before
    production: tuple[str | None, str | None] = (None, None)  # then: version and kind that serve


@dataclass(frozen=True, slots=True)
class _Start:
    """The first start of a workspace: an interrupted `init` keeps its clock, range and seed."""

    name: str
    as_of: float
    start: int  # open times
    end: int
    seed: int


def init(
    folder: Path,
    options: InitOptions,
    *,
    environ: Mapping[str, str],
    clock: Clock,
    progress: Progress,
    steps: Steps | None = None,
) -> InitReport:
    """Make the workspace, then bring candles, tune, train, evaluate, select and promote.

    Its clock and range are fixed at the first start: after an interruption it goes on where it
    was. On a finished workspace only the symbols among the options have an effect: they are
    added. If no candle could be brought, or too few for any forecast, everything that was made
    is removed again.
    """
    steps = steps or Inline()
    reopen = functools.partial(
        Workspace.open, folder, environ=environ, clock=clock, progress=progress, steps=steps
    )
    if (folder / config.FILE_NAME).is_file() and _is_finished(folder, reopen):
        return _add_markets(reopen, options.symbols)
    environ = workspace.with_dotenv(folder, environ)
    settings, source_reason = _initial_settings(folder, options, environ)
    with Workspace(folder, settings, Secrets(environ), clock, progress, steps) as ws:
        for market in ws.markets():
            ws.source(market.source)  # a source that cannot be opened leaves nothing behind
        with undone_if_useless(ws):
            make_folders(folder)
            with alone(folder, "init"):
                if ws.file.is_file() and _is_finished(folder, reopen):
                    return _finished_report(ws)  # another process has just done it
                with refusals_named(folder), swapping(ws.file) as draft:
                    draft.write_text(config.render(settings), encoding="utf-8")
                candles, renewals = _first_pipeline(ws, options.seed)
                lock_file(folder, "init").unlink(missing_ok=True)  # no other run needs it again
        return InitReport(
            folder, settings.source.name, source_reason, (), _loop_cost(ws), candles, renewals
        )


def _initial_settings(
    folder: Path, options: InitOptions, environ: Mapping[str, str]
) -> tuple[Settings, str | None]:
    """Read the settings and resolve `auto`; return them with the reason for the source.

    The markets are checked, so that a bad one is reported before anything is made.
    """
    symbols = {"market.symbols": list(options.symbols)} if options.symbols else {}
    file = options.file
    if file is None and (folder / config.FILE_NAME).is_file():
        file = folder / config.FILE_NAME
    settings, _ = config.load(file, environ, {**options.settings, **symbols})
    reason = None
    if settings.source.name == "auto":
        name, reason = resolve_auto(settings.source, settings.markets(), Secrets(environ))
        source = replace(settings.source, name=name)
        settings = replace(settings, source=source)
    workspace.require_plugins(settings)
    return settings, reason


def _first_pipeline(ws: Workspace, seed: int | None) -> tuple[FetchReport, Renewals]:
    """Fetch the candles and make the models, on the clock of the first start.

    Notes that the workspace is finished, unless a second start could give a market more than
    this one did.
    """
    clock = ws.clock
    started = _fixed_start(ws.store, ws.settings, clock.now(), seed)
    ws.clock = VirtualClock(started.as_of)
    candles = ws.step("fetch candles", lambda: fetch(ws, start=started.start, end=started.end))
    renewals = _renew(ws, started.name, ws.markets(), candles, started.seed)
    # If a market lacks candles now, it lacks them at a second start too; other failures may pass.
    if all(isinstance(failure.error, StateError) for failure in renewals.failures):
        with ws.store.write() as writer:
            writer.put_event(clock.now(), FINISHED, None, {"name": started.name})
    return candles, renewals


def _fixed_start(store: Store, settings: Settings, now: float, seed: int | None) -> _Start:
    """Return the first start that stored a candle, or else this one."""
    with store.read() as reader:
        events = reader.events(STARTED)
        stored = reader.stored_markets()
    if events and stored:
        return _Start(**events[-1].detail)
    market = settings.markets()[0]
    end = market.floor(now)
    first = market.floor(end - settings.data.days * DAY_SECONDS)
    started = _Start(f"init {iso(end)}", now, first, end, seed or 0)
    with store.write() as writer:
        writer.put_event(now, STARTED, None, dataclasses.asdict(started))
    return started


def _renew(
    ws: Workspace, name: str, markets: Sequence[Market], candles: FetchReport, seed: int
) -> Renewals:
    """Make the models of these markets."""

    def renew(group: Group) -> Renewal:
        return pipeline(ws, pipeline_name(ws.settings, name, group), group, seed=seed)

    def ahead(group: Group) -> Ahead | None:
        return ahead_of(ws, pipeline_name(ws.settings, name, group), group, seed)

    return renew_groups(ws, model_groups(ws.settings, markets), candles.errors, renew, ahead)


def _is_finished(folder: Path, reopen: Callable[..., Workspace]) -> bool:
    if not (folder / "cryptocast.duckdb").is_file():
        return False
    with reopen() as ws, ws.store.read() as reader:
        return bool(reader.events(FINISHED))


def _add_markets(reopen: Callable[..., Workspace], symbols: Sequence[str]) -> InitReport:
    """Add the markets that are new; bring their candles before the settings name them.

    If each market has a model of its own, theirs are made too.
    """
    with reopen() as ws:
        configured = {name for m in ws.markets() for name in (m.symbol, m.id)}
        added = tuple(symbol for symbol in symbols if symbol not in configured)
        if not added:
            return _finished_report(ws)
        every = [*ws.settings.market.symbols, *added]
    with reopen(options={"market.symbols": every}) as ws:
        candles = ws.step("fetch candles", lambda: fetch(ws, days=ws.settings.data.days))
        candles.demand_all()
        document = tomlkit.parse(config.read_text(ws.file))
        document["market"]["symbols"] = every
        with replacing(ws.file) as draft:
            draft.write_text(tomlkit.dumps(document), encoding="utf-8")
        renewals = None
        if per_market(ws.settings):
            name = f"init {iso(ws.markets()[0].floor(ws.clock.now()))}"
            renewals = _renew(ws, name, ws.markets(added), candles, seed=0)
        return _finished_report(ws, added, candles, renewals)


def _finished_report(
    ws: Workspace,
    added: tuple[str, ...] = (),
    candles: FetchReport | None = None,
    renewals: Renewals | None = None,
) -> InitReport:
    """Build the report for an already initialised workspace."""
    production: tuple[str | None, str | None] = (None, None)
    with suppress(CryptocastError):  # a store that is gone is no reason to fail here
        production = production_of(ws)
    source = ws.settings.source.name
    return InitReport(ws.folder, source, None, added, _loop_cost(ws), candles, renewals, production)


def _loop_cost(ws: Workspace) -> str | None:
    """Return the cost of a loop per month in words, or None if no source is metered."""
    metered = [market for market in ws.markets() if ws.source(market.source).metered]
    if not metered:
        return None
    settings = ws.settings
    calls = calls_a_tick(metered)
    return loop_cost(calls, settings.market.interval, settings.source.monthly_credits)
