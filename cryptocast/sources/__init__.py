"""Sources of candles: each public module here is one source, named after its file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import cast

from cryptocast import plugins
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import UsageError
from cryptocast.seams import CandleSource, Clock, Meter
from cryptocast.sources._pace import PATIENCE, Patience
from cryptocast.values import Market, iso


@dataclass(frozen=True, slots=True)
class Setup:
    """The parts that a source is made from; each kind takes those that it needs."""

    settings: SourceSettings
    markets: Sequence[Market]  # the configured ones
    secrets: Secrets
    _: KW_ONLY
    clock: Clock
    meter: Meter | None = None  # pays for calls that cost credits; None: they are not counted
    patience: Patience = PATIENCE


def open_source(setup: Setup) -> CandleSource:
    """Load the source that the settings name; no request is made yet.

    The part of the name after a colon is interpreted by the plugin (`ccxt:kraken`). Raise
    ConfigError (`config.source`) that lists all sources if none has that name. `auto` is not a
    source: see `resolve_auto`.
    """
    name = setup.settings.name.partition(":")[0]
    return cast(CandleSource, plugins.make(plugins.SOURCES, name, CandleSource, setup))


def refuse_future(source: str, clock: Clock) -> None:
    """Raise UsageError (`usage.as_of`) if a virtual clock is in the future.

    Its candles are not there yet, and what is made of invented ones would stay.
    """
    if clock.virtual and clock.now() > time.time():
        raise UsageError(
            f"--as-of {iso(clock.now())} is in the future, which {source} does not know",
            code="usage.as_of",
            hint="leave --as-of out, or give a past time",
        )


def resolve_auto(
    settings: SourceSettings, markets: Sequence[Market], secrets: Secrets
) -> tuple[str, str]:
    """Return what `auto` stands for, and the reason: coincap if it can serve, else bitvavo."""
    variable = settings.api_key.removeprefix("env:")
    if secrets.resolve(settings.api_key) is None:
        return "bitvavo", f"bitvavo needs no key, and {variable} is not set"
    other = [market.symbol for market in markets if market.quote != "USD"]
    if other:
        return "bitvavo", f"{variable} is set, but coincap quotes only USD, not {', '.join(other)}"
    return "coincap", f"{variable} is set and every market is quoted in USD"
