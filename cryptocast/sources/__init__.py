"""Sources of candles: each public module here is one source, named after its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cryptocast import plugins
from cryptocast.config import Secrets, SourceSettings
from cryptocast.seams import CandleSource, Clock, Meter
from cryptocast.sources.file import Recording, recordings
from cryptocast.values import Market

__all__ = ["PACKAGE", "Recording", "open_source", "recordings", "resolve_auto"]

PACKAGE = "cryptocast.sources"


def open_source(
    name: str,
    settings: SourceSettings,
    markets: Sequence[Market],
    secrets: Secrets,
    *,
    clock: Clock,
    meter: Meter | None = None,
) -> CandleSource:
    """Load the source called `name`; no request is made yet.

    The part after a colon is interpreted by the plugin (`ccxt:kraken`). `markets` are the
    configured ones; `meter` pays for calls that cost credits (None: they are not counted). Raise
    ConfigError (`config.source`) that lists all sources if none has that name. `auto` is not a
    source: see `resolve_auto`.
    """
    module = plugins.load(PACKAGE, name.partition(":")[0], what="source")
    settings = settings.model_copy(update={"name": name})
    source = module.Source(settings, markets, secrets, clock=clock, meter=meter)
    return cast(CandleSource, source)


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
