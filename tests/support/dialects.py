"""What each API answers, from the candles of a Loopback: one function an API, in `APIS`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptocast.values import INTERVAL_SECONDS
from support.replies import Reply, Request, as_json

if TYPE_CHECKING:
    from support.loopback import Loopback

KEY = "loopback-key-4f1d9c"
SLUGS = {"bitcoin": "BTC", "ethereum": "ETH", "solana": "SOL", "euro-coin": "EUR"}
FOR_EVER_MS = 10**13
KRAKEN_BARS = 720
COINBASE_ROWS = 300
COINBASE_SECONDS = {
    "ONE_MINUTE": 60,
    "FIVE_MINUTE": 300,
    "FIFTEEN_MINUTE": 900,
    "THIRTY_MINUTE": 1800,
    "ONE_HOUR": 3600,
    "TWO_HOUR": 7200,
    "SIX_HOUR": 21600,
    "ONE_DAY": 86400,
}


def coincap(server: Loopback, request: Request) -> Reply:
    """CoinCap v3: a key, slugs, JSON numbers, USD, no volume."""
    if request.headers.get("authorization") != f"Bearer {KEY}":
        return as_json({"error": "Unauthorized: invalid API key"}, 401)
    if request.path == "/assets":
        wanted = request.query["search"].lower()
        bases = {symbol.split("/")[0] for symbol in server.candles}
        slugs = {base: slug for slug, base in SLUGS.items()}
        assets = [
            {"id": slugs.get(base, base.lower()), "symbol": base, "name": base.title(), "rank": "1"}
            for base in sorted(bases)
            if wanted in base.lower()
        ]
        return as_json({"data": assets[: int(request.query.get("limit", 100))], "timestamp": 1})
    parts = request.path.split("/")
    if len(parts) != 4 or parts[1] != "ta" or parts[3] != "candlesticks":
        return as_json({"error": "Not Found"}, 404)
    symbol = f"{SLUGS.get(parts[2], parts[2].upper())}/USD"
    if symbol not in server.candles:
        return as_json({"error": "Asset history not found"}, 404)
    start, end = int(request.query["start"]), int(request.query["end"])
    if start >= end:
        return Reply(400, b"start must be less than end")
    keys = ("time", "open", "high", "low", "close")
    rows = server.rows(symbol, start, end)
    candles = [dict(zip(keys, row[:5], strict=True)) for row in rows]
    return as_json({"candles": candles, "timestamp": int(time.time() * 1000)})


def bitvavo(server: Loopback, request: Request) -> Reply:
    """Bitvavo v2: no key, rows of strings, newest first, at most `limit`."""
    parts = request.path.split("/")
    symbol = parts[1].replace("-", "/")
    if len(parts) != 3 or parts[2] != "candles" or symbol not in server.candles:
        return as_json({"errorCode": 205, "error": "market parameter is invalid."}, 400)
    query = request.query
    rows = server.rows(symbol, int(query["start"]), int(query["end"]))[::-1]
    rows = rows[: min(int(query.get("limit", 1440)), 1440)]
    return as_json([[row[0], *(repr(value) for value in row[1:])] for row in rows])


def kraken(server: Loopback, request: Request) -> Reply:
    """Kraken: its own pair names, seconds, the newest 720 bars, errors inside a 200."""
    pairs = {_kraken_pair(symbol): symbol for symbol in server.candles}
    pair, query = request.query.get("pair", ""), request.query
    if request.path != "/OHLC":
        return as_json({"error": ["EGeneral:Unknown method"]}, 404)
    if pair not in pairs:
        return as_json({"error": ["EQuery:Unknown asset pair"]})
    minutes = int(query.get("interval", 1))
    if minutes not in (1, 5, 15, 30, 60, 240, 1440, 10080, 21600):
        return as_json({"error": ["EGeneral:Invalid arguments"]})
    rows = server.rows(pairs[pair], 0, FOR_EVER_MS)
    newest = rows[-1][0] / 1000 if rows else 0.0
    since = max(float(query.get("since", 0)), newest - KRAKEN_BARS * minutes * 60)
    inclusive = server.since_inclusive and since == float(query.get("since", 0))
    rows = [row for row in rows if row[0] / 1000 > since or (inclusive and row[0] / 1000 == since)]
    listed = [
        [int(t) // 1000, repr(o), repr(h), repr(lo), repr(c), repr((h + lo) / 2), repr(volume), 7]
        for t, o, h, lo, c, volume in rows
    ]
    last = listed[-2][0] if len(listed) > 1 else int(since)
    base, quote = pair[:-3], pair[-3:]
    key = f"X{base}Z{quote}" if base in ("XBT", "ETH", "XRP", "LTC") else pair
    return as_json({"error": [], "result": {key: listed, "last": last}})


def coinbase(server: Loopback, request: Request) -> Reply:
    """Coinbase: objects of strings, seconds, newest first, at most 300."""
    parts = request.path.split("/")
    symbol = parts[2].replace("-", "/") if len(parts) == 4 else ""
    if symbol not in server.candles or (parts[1], parts[3]) != ("products", "candles"):
        said = "valid product_id is required"
        return as_json({"error": "NOT_FOUND", "error_details": said, "message": said}, 404)
    query = request.query
    if query["granularity"] not in COINBASE_SECONDS:
        said = "unsupported granularity"
        return as_json({"error": "INVALID_ARGUMENT", "error_details": said, "message": said}, 400)
    rows = server.rows(symbol, int(query["start"]) * 1000, int(query["end"]) * 1000)
    keys = ("start", "low", "high", "open", "close", "volume")
    values = ([int(t) // 1000, lo, h, o, c, v] for t, o, h, lo, c, v in rows[::-1][:COINBASE_ROWS])
    candles = [dict(zip(keys, map(repr, row), strict=True)) for row in values]
    return as_json({"candles": candles})


def binance(server: Loopback, request: Request) -> Reply:
    """Binance: rows of twelve, milliseconds, oldest first, at most `limit`."""
    query = request.query
    symbols = {symbol.replace("/", ""): symbol for symbol in server.candles}
    if request.path != "/klines":
        return Reply(404, b"<html>404 Not found</html>")
    if query.get("symbol") not in symbols:
        return as_json({"code": -1121, "msg": "Invalid symbol."}, 400)
    if query.get("interval") not in INTERVAL_SECONDS:
        return as_json({"code": -1120, "msg": "Invalid interval."}, 400)
    rows = server.rows(symbols[query["symbol"]], int(query["startTime"]), int(query["endTime"]))[
        : min(int(query.get("limit", 500)), 1000)
    ]
    close_ms = INTERVAL_SECONDS[query["interval"]] * 1000 - 1
    rest = ["0.0", 7, "0.0", "0.0", "0"]
    return as_json(
        [[row[0], *(repr(v) for v in row[1:]), int(row[0]) + close_ms, *rest] for row in rows]
    )


def _kraken_pair(symbol: str) -> str:
    names = {"BTC": "XBT", "DOGE": "XDG"}
    return "".join(names.get(part, part) for part in symbol.split("/"))


APIS: dict[str, Callable[[Loopback, Request], Reply]] = {
    "binance": binance,
    "bitvavo": bitvavo,
    "coinbase": coinbase,
    "coincap": coincap,
    "kraken": kraken,
}
