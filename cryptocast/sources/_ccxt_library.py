"""ccxt itself: loaded late, and its exchange objects found by name and made ready."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from cryptocast.errors import ConfigError

_ROOTS = ("public", "rest", "spot")


def library() -> Any:
    """ccxt, which ships no types; ConfigError (`config.extra`) where it is not installed."""
    try:
        return importlib.import_module("ccxt")  # late: it takes 0.4 s
    except ImportError:
        raise ConfigError(
            "cryptocast[ccxt] is not installed, which every source ccxt:... needs",
            code="config.extra",
            hint="pip install 'cryptocast[ccxt]'",
        ) from None


def made(ccxt: Any, source: str, base_url: str | None) -> Any:
    """The exchange object of `ccxt:NAME`; ConfigError (`config.source`) where it can't serve."""
    name = source.partition(":")[2]
    if name not in ccxt.exchanges:
        close = difflib.get_close_matches(name, ccxt.exchanges, 3)
        guess = f"did you mean {' or '.join(f'ccxt:{other}' for other in close)}? " if close else ""
        known = f"python -c 'import ccxt; print(ccxt.exchanges)' lists all {len(ccxt.exchanges)}"
        raise ConfigError(
            f"ccxt knows no exchange '{name}'", code="config.source", hint=guess + known
        )
    exchange = getattr(ccxt, name)({"enableRateLimit": True})
    if exchange.has.get("fetchOHLCV") is not True:
        raise unusable(source, "has no candles")
    if base_url is not None and not _point(exchange.urls.get("api"), base_url):
        raise unusable(source, "has no single address that base_url could stand for")
    _spare(exchange.options)
    return exchange


def unusable(source: str, why: str) -> ConfigError:
    """The error of an exchange that cannot serve as a source, or not as it is set up."""
    return ConfigError(f"{source} {why}", code="config.source", hint=elsewhere(source))


def elsewhere(source: str) -> str:
    """A hint: an exchange to turn to that is not the one at fault."""
    other = "bitvavo" if source.endswith(":kraken") else "kraken"
    return f"take another source, for example --source ccxt:{other}"


def _point(api: object, base_url: str) -> bool:
    """Put another root where ccxt has that of the public API; False where it has none such.

    It is found at `public`, `rest` or `spot`, or one such level deeper (`spot.public`).
    """
    if not isinstance(api, dict):
        return False
    place = next((root for root in _ROOTS if root in api), None)
    if place is None or not isinstance(api[place], str):
        return place is not None and _point(api[place], base_url)
    api[place] = base_url
    return True


def _spare(options: dict[str, Any]) -> None:
    """Have ccxt load spot markets alone, and nothing from a page that is made for people."""
    for option in options.values():
        if isinstance(option, dict) and "webApiEnable" in option:
            option["webApiEnable"] = False
    wanted = options.get("fetchMarkets")
    if isinstance(wanted, dict) and isinstance(wanted.get("types"), list):
        wanted["types"] = [kind for kind in wanted["types"] if kind == "spot"] or wanted["types"]
