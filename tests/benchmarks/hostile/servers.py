"""Servers that drip, lie and speak nonsense, and what they really hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cases import Case, Truth, judge

from cryptocast.sources import Setup
from cryptocast.values import Candles, iso
from support import spoil
from support.loopback import (
    KEY,
    Loopback,
    Reply,
    Request,
    as_json,
    continues,
    cut_off,
    drip,
    drip_head,
    hang,
    html,
    redirect,
    reset,
    truncated_json,
)
from support.patience import PATIENT

Answer = Callable[[Request], Reply]
START, STEP = 1717200000, 300
SOURCES = ("binance", "bitvavo", "coinbase", "coincap", "kraken")
RUBBISH: tuple[Any, ...] = (
    None, True, "", "n/a", "NaN", "Infinity", -1, 0, 1e308, 1e400, [], {}, [[]], "1e5000", "\0",
    "\x1b[2J", 10**400, -0.0, "0x10", "١٢٣", [1, 2], {"a": 1}, "1,000",
)  # fmt: skip


def held(draw: random.Random) -> Candles:
    """A walk of closed bars and gaps."""
    import numpy as np

    times = [t for t in range(START, START + 200 * STEP, STEP) if draw.random() < 0.97]
    close = 100 * np.exp(np.cumsum([draw.gauss(0, 0.003) for _ in times]))
    first = np.append(100.0, close[:-1])
    high, low = np.maximum(first, close) * 1.001, np.minimum(first, close) * 0.999
    volume = np.array([draw.expovariate(1) for _ in times])
    return Candles.of(np.array(times), first, high, low, close, volume)


def replies(draw: random.Random) -> list[Reply]:
    """Answers instead of the right one."""
    deep = b"[" * draw.choice((50, 100_000))
    bodies = (b"", b"null", b"[]", b"{}", b"[null]", b"[[]]", b"0", b'""', b"\xff\xfe\x00", deep,
              b"[1" * 40,
              b'{"result":{}}', b'{"result":{"a":{}}}', b'{"candles":null}', b'{"candles":[{}]}',
              b'{"error":null,"result":null}', b'{"error":{"a":[1]}}', b'{"error":["E\x1b[2J"]}',
              b"{}" * 1000, b'{"a":1e999}', b"[NaN]", b"\xef\xbb\xbf[]", b'["\xff"]',
              b'{"data":[{"id":5}]}', b'{"data":{}}', b"9" * 10_000)  # fmt: skip
    statuses = (200, 200, 200, 201, 204, 206, 304, 400, 401, 403, 404, 418, 429, 500, 503, 599, 999)
    headers: tuple[dict[str, str], ...] = (
        {}, {}, {"Retry-After": "inf"}, {"Retry-After": "-5"}, {"Retry-After": "9" * 30},
        {"Retry-After": "Wed, 99 Foo"}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"},
        {"Content-Type": "text/html; charset=nonsense"}, {"Date": "yesterday"}, {"X": "y" * 60_000},
        {"Transfer-Encoding": "chunked"}, {"Location": "http://[::"}, {"Content-Length": "-1"},
        {"X-RateLimit-Reset": "1e99"}, {"Set-Cookie": "a=b; Domain=.."},
    )  # fmt: skip
    made = Reply(draw.choice(statuses), draw.choice(bodies), draw.choice(headers))
    length = draw.choice((None, None, 0, 3, len(made.body) + 100, 10**15))
    huge = Reply(200, b"[" + b"1," * draw.choice((1000, 20_000_000)) + b"1]")
    faults = [html(), html(503), truncated_json(), cut_off(), reset(), hang(), drip(0.001),
              drip_head(),
              continues(), redirect("/x"), redirect("file:///etc/passwd"), redirect("http://\x00"),
              redirect("//"), redirect("ftp://127.0.0.1/"), as_json({"error": "x" * 10**6},
              400)]  # fmt: skip
    some = draw.choices(
        (replace(made, declared_length=length), draw.choice(faults), huge), (5, 4, 0.3)
    )[0]
    return [some] * draw.choice((1, 1, 3, 99))


def rubbish(draw: random.Random, value: Any) -> spoil.Rewrite:
    """Some cells are of other types or impossible."""
    number = draw.choice((1, 2, 20))

    def change(rows: list[Any]) -> list[Any]:
        for _ in range(number if rows else 0):
            row = draw.choice(rows)
            if isinstance(row, (list, dict)) and row:
                row[draw.choice(list(row) if isinstance(row, dict) else range(len(row)))] = value
            if draw.random() < 0.1:
                rows[draw.randrange(len(rows))] = value
        return rows

    return spoil.on_rows(change)


def rewrites(case: Case, truth: Truth) -> list[spoil.Rewrite]:
    """Steps that spoil right answers."""
    draw = case.draw
    value = draw.choice(RUBBISH)
    allow(truth, value)
    some: list[spoil.Rewrite] = [
        spoil.backwards(), spoil.shuffled(draw.randrange(99)), spoil.repeated(), spoil.emptied(),
        spoil.retyped(), spoil.stuck(), spoil.without(0, 3, 4), spoil.with_stray(draw.choice(
            (50 * 365 * 86_400, -50 * 365 * 86_400, 7, 10**9, -10**12, 10**15))),
        spoil.moved_in_time(draw.choice((10**9, -10**9, 10**12, 1))), spoil.high_below_low(),
        spoil.on_rows(lambda rows: {"0": rows}), spoil.on_rows(lambda rows: None),
        spoil.on_rows(lambda rows: rows * 50),
    ]  # fmt: skip
    spoils = case.chance(0.4)
    at = draw.randrange(len(some))
    case.notes += [f"cells: {value!r}"[:60] if spoils else f"rewrite {at}"]
    return [rubbish(draw, value) if spoils else some[at]] * draw.choice((1, 1, 3, 99))


def torn(case: Case, truth: Truth, answer: Answer) -> Answer:
    """Answers of which some part, anywhere in their JSON, is something else."""
    draw, value, share = case.draw, case.draw.choice(RUBBISH), case.draw.choice((0.2, 1.0))
    allow(truth, value)
    case.notes += [f"documents: {value!r}"[:60]]

    def changed(node: Any) -> Any:
        places = list(node if isinstance(node, dict) else range(len(node)))
        if not places:
            return value
        place = draw.choice(places)
        deeper = isinstance(node[place], (list, dict)) and draw.random() < 0.7
        if draw.random() < 0.1:
            del node[place]
        else:
            node[place] = changed(node[place]) if deeper else value
        return node

    def answered(request: Request) -> Reply:
        reply = answer(request)
        if draw.random() > share:
            return reply
        document = json.loads(reply.body)
        return replace(reply, body=json.dumps(changed(document)).encode())

    return answered


def allow(truth: Truth, value: Any) -> None:
    """Let a figure be true in any place: nobody sees that it is not a price."""
    if isinstance(value, (int, float)) and value is not True:
        truth.also = float("inf") if value > 1e308 else float(value)


def servers(case: Case) -> None:
    """Fetch, then a tick, while the server does what it should not."""
    draw = case.draw
    name = draw.choice(SOURCES)
    symbol = "BTC/USD" if name == "coincap" else "BTC/EUR"
    candles = held(draw)
    workspace = case.folder / "w"
    workspace.mkdir()
    case.secrets = (KEY,)
    truth = Truth(rows_of(candles))
    with Loopback({symbol: candles}) as server:
        text = f"[source]\nname = '{name}'\nbase_url = '{server.base_url(name)}'\n"
        text += f"[market]\nsymbols = ['{symbol}']\n"
        (workspace / "cryptocast.toml").write_text(text, encoding="utf-8")
        (workspace / ".env").write_text(f"COINCAP_API_KEY={KEY}\n", encoding="utf-8")
        server.skew_seconds = draw.choice((0, 0, 0, 0, 10**9, -(10**9), 10**11))
        how = draw.choice(("faults", "rows", "documents"))
        if how == "documents":
            server.answer = torn(case, truth, server.answer)  # type: ignore[method-assign]
        elif how == "faults":
            first: list[Any] = [None] * draw.choice((0, 0, 1))  # a right answer before
            server.faults.extend(first + replies(draw))
            case.notes += [repr(server.faults[-1])[:300]]
        else:
            server.rewrite.extend(rewrites(case, truth))
        if case.chance(0.98):
            hasty = replace(PATIENT, read_seconds=0.5, total_seconds=5)
            Setup.__init__.__kwdefaults__["patience"] = hasty
        case.notes += [name, f"skew {server.skew_seconds}"]
        rest = ("--as-of", iso(START + 200 * STEP), "-w", workspace)
        case.run("fetch", "--start", iso(START), *rest)
        # What was answered before it failed is kept.
        judge(case, workspace, f"{name}:{symbol}:5m", truth, 0)
        case.run("forecast", "--once", *rest, *(["--json"] if case.chance(0.5) else []))
        judge(case, workspace, f"{name}:{symbol}:5m", truth, 0)


def rows_of(c: Candles) -> dict[int, list[tuple[float, ...]]]:
    """Return candles by their open time."""
    columns = (c.open_time, c.open, c.high, c.low, c.close, c.volume)
    cells = (column.tolist() for column in columns)
    return {t: [tuple(row)] for t, *row in zip(*cells, strict=True)}
