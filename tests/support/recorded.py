"""Files of candles as a source reads them: rows, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cryptocast.clock import SystemClock
from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import CryptocastError
from cryptocast.sources import Setup
from cryptocast.sources.file import Source
from cryptocast.values import Candles, Market, Page, parse_time

START = parse_time("2024-06-01")
FAR = parse_time("2030-01-01")
BTC = Market.of("BTC/USDT", "file", "5m")
NAMES = ("open", "high", "low", "close", "volume")
Row = tuple[int, float, float, float, float, float]


def rows_of(bars: int = 12, start: int = START, step: int = 300, price: float = 100.0) -> list[Row]:
    """Candles of which each number is another one."""
    return [
        (start + step * i, price + i, price + i + 0.75, price + i - 0.5, price + i + 0.25, 0.1 * i)
        for i in range(bars)
    ]


def columns(candles: Candles) -> list[list[Any]]:
    return [candles.open_time.tolist(), *(getattr(candles, name).tolist() for name in NAMES)]


def transposed(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


@contextmanager
def source(path: Path | Sequence[Path], market: Market = BTC, **more: Any) -> Iterator[Source]:
    paths = str(path) if isinstance(path, Path) else [str(p) for p in path]
    settings = SourceSettings(name="file", path=paths, **more)
    made = Source(Setup(settings, [market], Secrets({}), clock=SystemClock()))
    try:
        yield made
    finally:
        made.close()


def read(
    path: Path | Sequence[Path], market: Market = BTC, start: int = 0, end: int = FAR, **more: Any
) -> list[list[Any]]:
    return columns(page_of(path, market, start, end, **more).candles)


def page_of(
    path: Path | Sequence[Path], market: Market = BTC, start: int = 0, end: int = FAR, **more: Any
) -> Page:
    with source(path, market, **more) as made:
        (page,) = made.pages(market, start, end)
    return page


def fails(path: Path | Sequence[Path], market: Market = BTC, **more: Any) -> CryptocastError:
    with pytest.raises(CryptocastError) as caught:
        read(path, market, **more)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def csv_text(rows: Sequence[Row], time: str = "ts", delimiter: str = ",") -> str:
    lines = [delimiter.join((time, *NAMES))]
    lines += [delimiter.join(map(repr, row)) for row in rows]
    return "\n".join(lines) + "\n"
