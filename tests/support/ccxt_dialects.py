"""What ccxt asks an exchange besides candles, on top of `dialects`: its markets and currencies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from support.dialects import APIS, bitvavo, kraken
from support.replies import Reply, Request, as_json

if TYPE_CHECKING:
    from support.loopback import Loopback


def ccxt_bitvavo(server: Loopback, request: Request) -> Reply:
    """Bitvavo with its root where ccxt has it, above `/v2`."""
    path = request.path.removeprefix("/v2")
    pairs = [symbol.split("/") for symbol in server.candles]
    if path == "/markets":
        return as_json([{"market": f"{b}-{q}", "base": b, "quote": q} for b, q in pairs])
    if path == "/assets":
        return as_json([{"symbol": code} for code in sorted({c for pair in pairs for c in pair})])
    return bitvavo(server, replace(request, path=path))


def ccxt_kraken(server: Loopback, request: Request) -> Reply:
    """Kraken with its root where ccxt has it, above `/0/public`; pairs by their long names."""
    path = request.path.removeprefix("/0/public")
    pairs = [symbol.replace("BTC", "XBT").split("/") for symbol in server.candles]
    if path == "/AssetPairs":
        long = {
            f"X{b}Z{q}": {"altname": b + q, "base": f"X{b}", "quote": f"Z{q}"} for b, q in pairs
        }
        decimals = {"pair_decimals": 1, "lot_decimals": 8}
        return as_json({"error": [], "result": {k: v | decimals for k, v in long.items()}})
    if path == "/Assets":
        codes = {f"X{b}" for b, _ in pairs} | {f"Z{q}" for _, q in pairs}
        assets = {code: {"altname": code[1:], "decimals": 8} for code in sorted(codes)}
        return as_json({"error": [], "result": assets})
    pair = request.query.get("pair", "")
    short = {f"X{b}Z{q}": b + q for b, q in pairs}.get(pair, pair)
    return kraken(server, replace(request, path=path, query={**request.query, "pair": short}))


APIS |= {"ccxt:bitvavo": ccxt_bitvavo, "ccxt:kraken": ccxt_kraken}
