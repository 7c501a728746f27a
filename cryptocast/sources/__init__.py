"""Where candles come from: each public module here is one source, named after its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cryptocast import plugins
from cryptocast.config import Secrets, SourceSettings
from cryptocast.seams import CandleSource, Clock, Meter
from cryptocast.sources._recordings import Recording, recordings
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
    """Load the one source that is called `name`; nothing is asked of it yet.

    What stands after a colon is the plugin's own (`ccxt:kraken`). `markets` are the
    configured ones; `meter` pays for calls that cost credits (None: nobody counts). Raises
    ConfigError (`config.source`) that lists what there is when nothing has that name.
    `auto` is none: see `resolve_auto`.
    """
    module = plugins.load(PACKAGE, name.partition(":")[0], what="source")
    settings = settings.model_copy(update={"name": name})
    source = module.Source(settings, markets, secrets, clock=clock, meter=meter)
    return cast(CandleSource, source)


def resolve_auto(
    settings: SourceSettings, markets: Sequence[Market], secrets: Secrets
) -> tuple[str, str]:
    """What `auto` stands for, and why in one sentence: coincap where it can serve, else bitvavo."""
    variable = settings.api_key.removeprefix("env:")
    if secrets.resolve(settings.api_key) is None:
        return "bitvavo", f"bitvavo needs no key, and {variable} is not set"
    other = [market.symbol for market in markets if market.quote != "USD"]
    if other:
        return "bitvavo", f"{variable} is set, but coincap quotes only USD, not {', '.join(other)}"
    return "coincap", f"{variable} is set and every market is quoted in USD"
