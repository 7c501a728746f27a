"""Pairs of a coin and a week of recorded candles, split as `init` does: for `accuracy.py`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from eras import era

from cryptocast import dataset
from cryptocast.candles import normalise
from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, Settings, SourceSettings
from cryptocast.dataset import Bars, Part, Split
from cryptocast.models import base_folder
from cryptocast.sources import Setup, _names
from cryptocast.sources.file import Source
from cryptocast.values import Candles, Market, Windows

DAY = 86_400
LEARNED_DAYS, SCORED_DAYS = 7, 2
LEAST_DAYS = 30
INTERVAL = "5m"
DESIGN = (
    *("BTC-USDT 2024", "ETH-USDT 2024", "LTC-USDT 2024", "XRP-USDT 2024"),
    *("BTC-USDT 2020", "LTC-USDT 2020", "XRP-USDT 2020"),
)
"""Coins and years by which the LSTM from scratch and the random walk were designed."""


@dataclass(frozen=True)
class Pair:
    """One coin and one week of it."""

    file: Path
    market: Market
    era: str
    start: int  # of the 7 days, Unix seconds

    @property
    def coin(self) -> str:
        """Venue, symbol and era, as the tables name it."""
        return f"{self.file.name.split('_')[0]} {self.market.symbol.replace('/', '-')} {self.era}"

    @property
    def designed(self) -> bool:
        """Whether the LSTM from scratch was designed by this coin and year."""
        return any(name in self.coin for name in DESIGN)

    @property
    def known(self) -> bool:
        """Whether the base network learned from this time, of whatever coin."""
        first, last = _learned()
        return self.start < last and self.end > first

    @property
    def learned_until(self) -> int:
        """Where the 7 days end and the scored ones begin."""
        return self.start + LEARNED_DAYS * DAY

    @property
    def end(self) -> int:
        """Where the scored days end."""
        return self.learned_until + SCORED_DAYS * DAY


@cache
def _learned() -> tuple[int, int]:
    card = json.loads((base_folder(INTERVAL) / "card.json").read_text(encoding="utf-8"))
    return card["data_start"], card["data_end"]


def pairs(folder: Path, each: int) -> Iterator[Pair]:
    """Weeks spread over every file that holds a month; each coin of an era has other weeks.

    For coins move together: the same week of eight of them is little more than one of one.
    """
    found = [one for file in sorted(folder.glob("*.parquet")) if (one := _span(file)) is not None]
    many = Counter(era(*span) for _, _, span in found)
    seen: Counter[str] = Counter()
    for file, market, span in found:
        name = era(*span)
        place = (seen[name] + 0.5) / many[name]
        seen[name] += 1
        first = -(-span[0] // DAY) * DAY
        room = (span[1] - first) // DAY - LEARNED_DAYS - SCORED_DAYS
        for number in range(each):
            yield Pair(file, market, name, first + round((number + place) / each * room) * DAY)


def _span(file: Path) -> tuple[Path, Market, tuple[int, int]] | None:
    symbols = _names.pairs(file.name)
    if len(symbols) != 1:
        return None
    market = Market.of(symbols[0], "file", INTERVAL)
    settings = SourceSettings(name="file", path=str(file))
    source = Source(Setup(settings, [market], Secrets({}), clock=SystemClock()))
    span = source.span(market)
    source.close()
    if span is None or span[1] - span[0] < LEAST_DAYS * DAY:
        return None
    return file, market, span


@dataclass(frozen=True)
class Week:
    """What a pair's models learn from, and what they are scored on."""

    bars: Bars  # of all 9 days
    split: Split
    train: Windows
    validation: Windows
    unseen: Windows

    @classmethod
    def of(cls, pair: Pair) -> Week:
        """Read and cut it. As with `init`, nothing that is learned from knows a later candle."""
        settings, candles = Settings(), read(pair)
        model, data = settings.model, settings.data
        split = dataset.plan(
            pair.start,
            pair.learned_until,
            pair.market.interval_seconds,
            test_bars=data.test_bars,
            gate_bars=data.gate_bars,
            validation_bars=data.validation_bars,
        )

        def windows(part: Part, until: int) -> Windows:
            return dataset.cut(
                dataset.lay_out(candles, pair.market, pair.start, until),
                part,
                lookback=model.lookback,
                horizon=model.horizon,
                max_stale_bars=settings.loop.max_stale_bars,
            )

        return cls(
            dataset.lay_out(candles, pair.market, pair.start, pair.end),
            split,
            windows(split.train, pair.learned_until),
            windows(split.validation, pair.learned_until),
            windows(Part(pair.learned_until, pair.end), pair.end),
        )


def read(pair: Pair) -> Candles:
    """The candles of a pair's days."""
    settings = SourceSettings(name="file", path=str(pair.file))
    source = Source(Setup(settings, [pair.market], Secrets({}), clock=SystemClock()))
    (page,) = source.pages(pair.market, pair.start, pair.end)
    source.close()
    return normalise(page.candles, pair.market, now=time.time()).candles
