"""simulate: whole price paths of all markets, from the newest served forecasts on."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from cryptocast import paths
from cryptocast.drafts import replacing
from cryptocast.errors import UsageError
from cryptocast.paths import Simulation
from cryptocast.values import DAY_SECONDS, Market, iso
from cryptocast.workflows.forecast import newest
from cryptocast.workflows.futures.asking import PathsFile
from cryptocast.workflows.futures.simulating import (
    path_models,
    places,
    require_interval,
    simulated,
)
from cryptocast.workspace import Workspace, output_file

SYNTH = "synth"
"""The name of the league's format."""

MOST_PATHS = 20_000

_UNIT_SECONDS = {"m": 60, "h": 3600, "d": DAY_SECONDS}


def horizon_steps(text: str, interval_seconds: int) -> int:
    """Return the steps of paths whose length is written as 24h, 90m or 1d.

    Raises UsageError for anything that is not a number of steps up to a day.
    """
    match = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else 0
    if not 0 < seconds <= DAY_SECONDS or seconds % interval_seconds:
        minutes = interval_seconds // 60
        raise UsageError(
            f"'{text}' is not a horizon of paths",
            code="usage.horizon",
            hint=f"write {minutes}m to 24h, in steps of {minutes} minutes: --horizon 24h",
        )
    return seconds // interval_seconds


def simulate(
    ws: Workspace,
    *,
    count: int = 1000,
    horizon: str = "24h",
    symbols: tuple[str, ...] = (),
    seed: int = 0,
) -> Simulation:
    """Return paths that continue the newest served forecast of every market.

    All markets start at one origin, the newest that any of them has a forecast at, and path n
    of each happens together; a market whose forecast is older is left out, with a warning. At
    the steps that a forecast covers, the paths have its quantiles. Nothing is stored. The same
    stored candles and forecasts, number of paths and seed give the same paths.

    Raises UsageError for an impossible number or horizon, ConfigError for an unknown symbol,
    and StateError without a forecast, without candles, or with candles of another interval.
    """
    _require_count(count)
    markets = ws.markets(symbols)
    require_interval(markets)
    steps = horizon_steps(horizon, markets[0].interval_seconds)
    report = newest(ws, symbols=symbols)
    origin = max(forecast.origin for forecast in report.forecasts)
    joint = [forecast for forecast in report.forecasts if forecast.origin == origin]
    versions = (forecast.model.version for forecast in joint)
    base, interval = ws.settings.model.base, markets[0].interval
    models = path_models(base, interval, versions, ws.frozen_curve)
    made = simulated(ws.store, joint, places(ws.markets()), (count, steps), seed, models)
    there = {one.market for one in made.markets}
    return replace(made, warnings=(*report.warnings, *_left_out(markets, there, origin)))


def write(simulation: Simulation, file: Path, ending: str, form: str | None) -> PathsFile:
    """Write a simulation into a file, which is replaced as a whole or stays as it was.

    `file` and `ending` are those that `output` returned. Raises StoreError if the disk refuses.
    """
    with replacing(file) as draft:
        if form == SYNTH:
            paths.write_synth(draft, simulation)
        else:
            paths.write(draft, ending, simulation)
        return PathsFile(file, form or ending.removeprefix("."), draft.stat().st_size)


def output(
    markets: Sequence[Market], out: Path | None, form: str | None
) -> tuple[Path, str] | None:
    """Return the file to write paths of markets into and its ending, or None.

    It is checked before any work. Raises UsageError for a file that cannot be written, an
    unknown format, and the league's format for several markets: it holds one.
    """
    if form not in (None, SYNTH):
        raise UsageError(
            f"there is no format '{form}'",
            code="usage.format",
            hint=f"--format {SYNTH}; other formats follow from the ending of --out",
        )
    if form is not None and out is None:
        raise UsageError("--format goes with --out", hint="--format synth --out paths.json")
    if form is not None and len(markets) > 1:
        raise UsageError(
            f"the format synth holds one market, not {len(markets)}",
            code="usage.format",
            hint=f"choose one: --symbol {markets[0].symbol}",
        )
    if out is None:
        return None
    return output_file(out, paths.ENDINGS if form is None else (".json",))


def _require_count(count: int) -> None:
    """Raise UsageError for a number of paths that cannot be made."""
    if not 1 <= count <= MOST_PATHS:
        raise UsageError(
            f"{count} paths cannot be made",
            code="usage.paths",
            hint=f"--paths 1 to --paths {MOST_PATHS}",
        )


def _left_out(markets: Sequence[Market], there: Collection[Market], origin: int) -> list[str]:
    """Return a warning for each market that has no paths."""
    return [
        f"{market.id} is left out: it has no forecast or too few candles at {iso(origin)} "
        "(cryptocast forecast --once)"
        for market in markets
        if market not in there
    ]
