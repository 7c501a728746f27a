"""Every way an answer can be wrong, and what is to come of it, as one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptocast.sources._pace import Patience
from faults.world import SOURCES, World
from support import spoil
from support.commands import NOW
from support.loopback import (
    Reply,
    Rewrite,
    as_json,
    continues,
    cut_off,
    drip,
    drip_head,
    hang,
    html,
    reset,
    truncated_json,
)
from support.patience import BRIEF, PATIENT

FOR_EVER = 99
Script = Callable[[], Sequence[Reply | Rewrite]]

ALL = "everything"
BEFORE = "what was answered before"
BUT_ONE = "all but the row"
BUT_A_PAGE = "all but the page"


@dataclass(frozen=True)
class Fault:
    """Something wrong with the second page: what is asked, told and kept then.

    `most` bounds the requests for the spoilt page; `codes` are those of sources that
    understand an answer better than others; `without` says why a source is left out.
    """

    script: Script
    keeps: str = ALL
    code: str = ""  # none: exit 0
    most: int = 1
    codes: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    from_page: int = 2
    patience: Patience = PATIENT

    def code_of(self, source: str) -> str:
        return self.codes.get(source, self.code)

    def exit_of(self, source: str) -> int:
        code = self.code_of(source)
        return 0 if not code else 2 if code.startswith("config.") else 4

    def prepare(self, world: World, *, page: int | None = None) -> None:
        """Put the fault into the server's scripts: before it come proper answers."""
        before = min(page or self.from_page, world.pages) - 1
        for step in self.script():
            if isinstance(step, Reply):
                ahead: list[Any] = [None] * (0 if world.server.faults else before)
                world.server.faults.extend([*ahead, step])
            else:
                untouched: list[Rewrite] = [lambda reply: reply]
                ahead = untouched * (0 if world.server.rewrite else before)
                world.server.rewrite.extend([*ahead, step])
        world.patience(self.patience)


def heal(world: World) -> None:
    """End all faults."""
    world.server.faults.clear()
    world.server.rewrite.clear()
    world.server.dripping = False  # or the clock would leap at the first drip alone
    world.patience(PATIENT)


def lasting(reply: Reply, code: str, most: int = 1, **more: Any) -> Fault:
    """The same answer again and again."""
    return Fault(lambda: [reply] * FOR_EVER, BEFORE, code, most, **more)


def passing(reply: Reply, most: int = 2, **more: Any) -> Fault:
    """An answer that is a proper one when it is asked for again."""
    return Fault(lambda: [reply], ALL, most=most, **more)


def spoilt(step: Rewrite, keeps: str = ALL, code: str = "", **more: Any) -> Fault:
    """One proper answer, spoilt."""
    return Fault(lambda: [step], keeps, code, **more)


def running(place: int) -> Fault:
    """The running candle, with prices that are not its last, stands at that place of every page."""

    def change(rows: list[Any]) -> list[Any]:
        rest = [row for row in rows if _seconds(row) < NOW]
        if not rest:
            return rows
        other = spoil._copy(rest[0])
        spoil._move(other, NOW - _seconds(other))
        for column in ("open", "high", "low", "close"):
            spoil._scale(other, spoil._key(other, column), lambda price: price * 1.5)
        at = place if place >= 0 else len(rest) + 1 + place
        return [*rest[:at], other, *rest[at:]]

    return Fault(lambda: [spoil.on_rows(change)] * FOR_EVER, from_page=1)


def _seconds(row: Any) -> float:
    moment = float(row[spoil._key(row, "time")])
    return moment / 1000 if moment > 1e11 else moment


def _stuck() -> Sequence[Rewrite]:
    return [spoil.stuck()] * FOR_EVER


_UNKNOWN = dict.fromkeys(("binance", "bitvavo", "coinbase", "coincap"), "config.symbol")
_NO_PLAN = {source: "it has no plan to use up" for source in SOURCES if source != "coincap"}
_ONLY_KRAKEN = {s: "only Kraken puts errors there" for s in SOURCES if s != "kraken"}
_ONLY_COINCAP = {s: "only CoinCap was seen to do so" for s in SOURCES if s != "coincap"}
_QUOTA = "Monthly usage limit exceeded"
_BUSY = "Too many requests per minute"

REFUSED: dict[str, Fault] = {
    "400": lasting(as_json({"error": "bad request"}, 400), "source.http"),
    "401": lasting(
        as_json({"error": "who are you"}, 401),
        "source.forbidden",
        codes={"coincap": "source.bad_key"},
    ),
    "403": lasting(as_json({"error": "Forbidden"}, 403), "source.forbidden"),
    "403 quota": lasting(
        as_json({"error": f"Forbidden: {_QUOTA}"}, 403), "source.quota", without=_NO_PLAN
    ),
    "404": lasting(as_json({"error": "not found"}, 404), "source.http", codes=_UNKNOWN),
    "429 minute": lasting(as_json({"error": _BUSY}, 429), "source.rate_limited", most=3),
    "429 quota": lasting(as_json({"error": _QUOTA}, 429), "source.quota", without=_NO_PLAN),
    "429 alone": lasting(
        Reply(429), "source.rate_limited", most=4, codes={"coincap": "source.quota"}
    ),
    "451": lasting(Reply(451), "source.forbidden"),
    "500": lasting(Reply(500, b"oops"), "source.http", most=4),
    "502": lasting(html(502), "source.http", most=4),
    "503": lasting(Reply(503), "source.http", most=4),
    "limits inside a 200": lasting(
        as_json({"error": ["EGeneral:Too many requests"]}),
        *("source.rate_limited", 4),
        without=_ONLY_KRAKEN,
    ),
    "a fault inside a 200": lasting(
        as_json({"error": ["EService:Unavailable"]}), "source.http", 4, without=_ONLY_KRAKEN
    ),
    "a quota inside a 200": lasting(
        as_json({"error": _QUOTA}), "source.quota", without=_ONLY_COINCAP
    ),
    "a redirect without end": Fault(
        lambda: [Reply(302, b"", {"Location": "/nowhere/else"})] * FOR_EVER,
        *(BEFORE, "source.bad_answer", 4),
    ),
}
CUT: dict[str, Fault] = {
    "reset": lasting(reset(), "source.unreachable", most=4),
    "time-out before the body": lasting(
        hang(), "source.timeout", most=4, from_page=1, patience=BRIEF
    ),
    "time-out inside the body": lasting(
        drip(3600.0), "source.timeout", most=4, from_page=1, patience=BRIEF
    ),
    "a head that drips": lasting(
        drip_head(), "source.timeout", most=4, from_page=1, patience=BRIEF
    ),
    "100 Continue without end": lasting(
        continues(), "source.timeout", most=4, from_page=1, patience=BRIEF
    ),
    "a drip": lasting(drip(0.002), "source.timeout", most=1, from_page=1),
    "cut off": lasting(cut_off(), "source.unreachable", most=4),
}
NO_CANDLES: dict[str, Fault] = {
    "HTML": lasting(html(), "source.bad_answer"),
    "truncated JSON": lasting(truncated_json(), "source.bad_answer"),
    "an object for the list": spoilt(
        spoil.on_rows(lambda rows: {"0": rows}), BEFORE, "source.bad_answer"
    ),
    "a word for a number": spoilt(spoil.cell("close", "n/a", 3), BEFORE, "source.bad_answer"),
    "a time that is null": spoilt(spoil.cell("time", None, 3), BEFORE, "source.bad_answer"),
    "a page that repeats for ever": Fault(
        _stuck, BEFORE, "source.bad_answer", 3, codes={"kraken": ""}, from_page=1
    ),
}
BAD_ROWS: dict[str, Fault] = {
    "a null price": spoilt(spoil.cell("close", None, 3), BUT_ONE),
    "a NaN price": spoilt(spoil.cell("open", math.nan, 3), BUT_ONE),
    "an infinite price": spoilt(spoil.cell("high", math.inf, 3), BUT_ONE),
    "a negative price": spoilt(spoil.cell("low", -1, 3), BUT_ONE),
    "a price of zero": spoilt(spoil.cell("high", 0, 3), BUT_ONE),
    "high below low": spoilt(spoil.high_below_low(3), BUT_ONE),
    "an empty list": spoilt(spoil.emptied(), BUT_A_PAGE),
}
UNTIDY: dict[str, Fault] = {
    "strings and numbers exchanged": spoilt(spoil.retyped()),
    "rows of long before": spoilt(spoil.with_stray(-9 * 86_400)),
    "rows of long after": spoilt(spoil.with_stray(9 * 86_400)),
    "unaligned times": spoilt(spoil.moved_in_time(8)),
    "two rows that disagree": spoilt(spoil.doubled(3)),
    "every row twice": spoilt(spoil.repeated()),
    "descending or ascending": spoilt(spoil.backwards()),
    "no order": spoilt(spoil.shuffled()),
    "the running candle first": running(0),
    "the running candle in the middle": running(5),
    "the running candle last": running(-1),
    "a 503 that passes": passing(Reply(503)),
    "a reset that passes": passing(reset()),
    "a minute's limit that passes": passing(as_json({"error": _BUSY}, 429)),
}
FAULTS = REFUSED | CUT | NO_CANDLES | BAD_ROWS | UNTIDY
