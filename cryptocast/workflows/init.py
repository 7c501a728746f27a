"""init: an empty folder becomes a workspace with a promoted model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import tomlkit

from cryptocast import config, workspace
from cryptocast.clock import VirtualClock
from cryptocast.config import Secrets, Settings
from cryptocast.errors import CryptocastError, StateError, UsageError
from cryptocast.metering import calls_a_tick, loop_cost
from cryptocast.seams import Clock, Progress
from cryptocast.sources import resolve_auto
from cryptocast.values import iso
from cryptocast.workflows.fetch import fetch
from cryptocast.workflows.learning.lock import alone, lock_file
from cryptocast.workflows.learning.renewals import Renewals, renew_all
from cryptocast.workflows.learning.scope import is_apart
from cryptocast.workflows.learning.versions import production_of
from cryptocast.workflows.serving.fetching import FetchReport
from cryptocast.workspace import Workspace

STARTED = "init.started"
FINISHED = "init.finished"
RUNNING = "init.running"


@dataclass(frozen=True, slots=True)
class InitReport:
    """A finished workspace; `pipeline` is None where it was finished before."""

    folder: Path
    source: str
    source_reason: str | None  # why `auto` chose it
    added: tuple[str, ...]  # markets added to an existing workspace
    cost: str | None  # what a loop costs a month, where the source is metered
    pipeline: Renewals | None
    candles: FetchReport | None  # None if no candles were fetched
    production: tuple[str | None, str | None] = (
        None,
        None,
    )  # of a finished workspace: version, kind


def init(
    folder: Path,
    *,
    environ: Mapping[str, str],
    clock: Clock,
    progress: Progress,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    symbols: tuple[str, ...] = (),
    seed: int | None = None,
) -> InitReport:
    """Make the workspace, then bring candles, tune, train, evaluate, select and promote.

    Its clock and range are fixed at the first start: interrupted, it goes on where it was.
    On a finished workspace only `symbols` do something: they are added. Where no candle, or
    too few for any forecast, could be brought, what was made is removed again.
    """
    ours = folder / config.FILE_NAME
    fresh = not ours.is_file()
    if not fresh and _is_finished(folder, environ, clock, progress):
        return _finished(folder, environ, clock, progress, symbols)
    environ = workspace.with_dotenv(folder, environ)
    given = dict(options or {}) | ({"market.symbols": list(symbols)} if symbols else {})
    settings, _ = config.load(file or (None if fresh else ours), environ, given)
    settings, why = _settle(settings, Secrets(environ))
    before = _contents(folder)
    ws = Workspace(folder, settings, Secrets(environ), clock, progress)
    with ws:
        for market in ws.markets():
            ws.source(market.source)  # a source that cannot be opened leaves nothing behind
        try:
            with _making(ws):
                for name in workspace.FOLDERS:
                    (ws.folder / name).mkdir(parents=True, exist_ok=True)
            with alone(ws, "init"):
                if ours.is_file() and _is_finished(folder, environ, clock, progress):
                    return _report(ws, (), None, None)  # another process has just done it
                with _making(ws):
                    _write(ws.file, config.render(ws.settings))
                started = _start(ws, seed)
                ws.clock = VirtualClock(started["as_of"])
                ws.progress.stage("fetch candles")
                candles = fetch(ws, start=started["start"], end=started["end"])
                report = renew_all(ws, started["name"], candles.errors, seed=started["seed"])
                # What a market's candles do not give, no second start gives; all else it may.
                if all(isinstance(failure.error, StateError) for failure in report.failures):
                    with ws.store.write() as writer:
                        writer.put_event(clock.now(), FINISHED, None, {"name": started["name"]})
                lock_file(ws, "init").unlink(missing_ok=True)  # nobody needs it again
        except CryptocastError as error:
            if error.code == RUNNING:
                raise  # what lies there is the other's
            too_few = fresh and error.code == "state.not_enough_candles"
            if too_few or not _has_candles(ws):
                ws.close()
                lock_file(ws, "init").unlink(missing_ok=True)
                _restore(folder, before)
            if too_few:
                error.hint = f"give init more: --days {max(7, ceil(settings.data.days))}, or files"
            raise
    return InitReport(folder, settings.source.name, why, (), _cost(ws), report, candles)


def _cost(ws: Workspace) -> str | None:
    metered = [market for market in ws.markets() if ws.source(market.source).metered]
    if not metered:
        return None
    settings = ws.settings
    calls = calls_a_tick(metered)
    return loop_cost(calls, settings.market.interval, settings.source.monthly_credits)


def _settle(settings: Settings, secrets: Secrets) -> tuple[Settings, str | None]:
    """Resolve `auto`; check the markets, so that a bad one is told before anything is made."""
    why = None
    if settings.source.name == "auto":
        chosen, why = resolve_auto(settings.source, settings.markets(), secrets)
        source = settings.source.model_copy(update={"name": chosen})
        settings = settings.model_copy(update={"source": source})
    workspace.require_plugins(settings)
    return settings, why


@contextmanager
def _making(ws: Workspace) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{ws.folder} cannot become a workspace: {error.strerror}",
            code="usage.workspace",
            hint="name a folder that you may write in: --workspace DIR",
        ) from None


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(file)


def _start(ws: Workspace, seed: int | None) -> dict[str, Any]:
    """The clock, range and seed of the first start that stored a candle, or of this one."""
    with ws.store.read() as reader:
        events = reader.events(STARTED)
        stored = reader.stored_markets()
    if events and stored:
        return dict(events[-1].detail)
    now = ws.clock.now()
    market = ws.markets()[0]
    end = market.floor(now)
    started = {
        "name": f"init {iso(end)}",
        "as_of": now,
        "start": market.floor(end - ws.settings.data.days * 86_400),
        "end": end,
        "seed": seed or 0,
    }
    with ws.store.write() as writer:
        writer.put_event(now, STARTED, None, started)
    return started


def _is_finished(
    folder: Path, environ: Mapping[str, str], clock: Clock, progress: Progress
) -> bool:
    if not (folder / "cryptocast.duckdb").is_file():
        return False
    ws = Workspace.open(folder, environ=environ, clock=clock, progress=progress)
    with ws, ws.store.read() as reader:
        return bool(reader.events(FINISHED))


def _finished(
    folder: Path,
    environ: Mapping[str, str],
    clock: Clock,
    progress: Progress,
    symbols: tuple[str, ...],
) -> InitReport:
    """Add the markets that are new; bring their candles before the settings name them.

    Where each market has a model of its own, they get theirs.
    """
    with Workspace.open(folder, environ=environ, clock=clock, progress=progress) as ws:
        known = {name for m in ws.markets() for name in (m.symbol, m.id)}
        added = tuple(s for s in symbols if s not in known)
        if not added:
            return _report(ws, (), None, None)
        every = [*ws.settings.market.symbols, *added]
        options = {"market.symbols": every}
    with Workspace.open(
        folder, environ=environ, options=options, clock=clock, progress=progress
    ) as ws:
        progress.stage("fetch candles")
        candles = fetch(ws, days=ws.settings.data.days)
        candles.demand_all()
        document = tomlkit.parse(config.read_text(ws.file))
        document["market"]["symbols"] = every
        _write(ws.file, tomlkit.dumps(document))
        report = None
        if is_apart(ws):
            name = f"init {iso(ws.markets()[0].floor(clock.now()))}"
            report = renew_all(ws, name, candles.errors, seed=0, symbols=added)
        return _report(ws, added, report, candles)


def _report(
    ws: Workspace, added: tuple[str, ...], made: Renewals | None, candles: FetchReport | None
) -> InitReport:
    """Of a workspace that was finished before."""
    serves: tuple[str | None, str | None] = (None, None)
    with suppress(CryptocastError):  # a store that is gone is no reason to fail here
        serves = production_of(ws)
    source = ws.settings.source.name
    return InitReport(ws.folder, source, None, added, _cost(ws), made, candles, serves)


def _has_candles(ws: Workspace) -> bool:
    try:
        with ws.store.read() as reader:
            return bool(reader.stored_markets())
    except CryptocastError:
        return True  # unknown: rather leave a file than lose one


def _contents(folder: Path) -> dict[Path, bytes | None] | None:
    """What lies in the folder, with the text of the settings; None where there is no folder."""
    if not folder.is_dir():
        return None
    return {p: p.read_bytes() if p.name == config.FILE_NAME else None for p in folder.iterdir()}


def _restore(folder: Path, before: dict[Path, bytes | None] | None) -> None:
    """Take away what this run made, and give back the settings as they were."""
    for path in folder.iterdir():
        if path in (before or {}):
            if (text := (before or {})[path]) is not None:
                path.write_bytes(text)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if before is None:
        folder.rmdir()
