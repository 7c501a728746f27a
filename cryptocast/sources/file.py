"""Recorded candles: one or many files, a folder, a glob or a list, in any format (`_formats`)."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import ConfigError, SourceError
from cryptocast.sources import Setup, _names
from cryptocast.sources._formats import SUFFIXES, bad_file
from cryptocast.sources._tables import Tables
from cryptocast.values import (
    DAY_SECONDS,
    INTERVAL_SECONDS,
    Candles,
    IntArray,
    Market,
    Page,
    iso,
)

EDGE_SECONDS = DAY_SECONDS
"""An empty answer further past the end of the files than this is a mistake rather than a gap.

It is today's clock over recorded candles; less is a tick at the edge of a file that still grows.
"""

_ANY_INTERVAL = next(iter(INTERVAL_SECONDS))
_ALL_TIME = (-(1 << 40), 1 << 40)  # Unix seconds


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One file: its market, named by the file, and its candles as they are in it."""

    file: Path
    market: Market  # of source `file`, with the interval of its rows
    candles: Candles


class Source:
    """Candles from files; each file belongs to the symbol in its name (`BTC-USDT`, `BTCUSDT`)."""

    name = "file"
    publishes_late = False
    metered = False
    bars_a_call = 2_000_000  # about 100 MB of candles
    bars_back = None

    def __init__(self, setup: Setup) -> None:
        self._settings = setup.settings
        self._markets = tuple(setup.markets)
        self._tables = Tables(setup.settings.columns)

    def pages(
        self,
        market: Market,
        start: int,
        end: int,
        *,
        deadline: float = math.inf,  # noqa: ARG002 - files need no waiting
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)` as one page, in file order.

        Only base, quote and interval of `market` matter: files can be imported into any market.
        Rows may be unsorted or repeated, as they are in the files. Raise ConfigError
        (`config.symbol`, `config.interval`, `config.path`) and SourceError: source.no_file,
        source.empty_file, source.bad_file, source.out_of_range.
        """
        if start >= end:
            return
        files = self._files(market)
        parts = []
        for file in files:
            part = self._tables.read(file, market, start, end)
            if len(part):
                self._check_interval(file, market, part.open_time)
                parts.append(part)
        if not parts:
            self._check_range(files, market, start, end)
        yield Page(start, end, parts[0] if len(parts) == 1 else Candles.concatenate(parts))

    def span(self, market: Market) -> tuple[int, int] | None:
        """Return the first and the last open time in a market's files, or None without rows.

        Raise what `pages` raises.
        """
        bounds = self._bounds(self._files(market), market)
        return None if bounds is None else (market.floor(bounds[0]), market.floor(bounds[1]))

    def close(self) -> None:
        """Release the memory of the reader."""
        self._tables.close()

    def _files(self, market: Market) -> list[Path]:
        """Return the files of a market in the order of the settings, those of a folder by name."""
        if not self._settings.paths():
            raise ConfigError(
                "source file needs to know which files",
                code="config.path",
                hint='set [source] path = "candles.parquet" (or a folder, glob or list)',
            )
        files = list(dict.fromkeys(f for p in self._settings.paths() for f in expand(p)))
        if own := _names.own(files, market):
            return own
        if len(files) > 1 or len(self._markets) > 1:
            symbols = sorted({pair for file in files if (pair := _names.pair(file.name))})
            held = ", ".join(symbols) or ", ".join(file.name for file in files[:10])
            raise ConfigError(
                f"no file has {market.symbol} in its name; there is {held}",
                code="config.symbol",
                hint=f"name it like {market.base}-{market.quote}.parquet, or choose with --symbol",
            )
        other = _names.pair(files[0].name)
        if other is not None:
            raise ConfigError(
                f"{files[0].name} holds {other}, not {market.symbol}",
                code="config.symbol",
                hint=f"--symbol {other}, or a file of {market.symbol}",
            )
        return files

    def _check_interval(self, file: Path, market: Market, times: IntArray) -> None:
        """Refuse files of another interval, whose candles would be wrong if taken for ours."""
        distance = _names.step_of(times) or _names.step_of(self._tables.table(file, market).sample)
        if distance is None:
            return
        (step, is_interval), ours = distance, market.interval_seconds
        if 2 * step <= ours or (step > ours and is_interval):
            raise bad_file(
                f"{file} holds a candle every {step} s, not every {ours} s ({market.interval})",
                hint="set [market] interval to that of the file, or take another file",
            )

    def _bounds(self, files: list[Path], market: Market) -> tuple[int, int] | None:
        """Return a market's first and last time in some files, or None without rows."""
        times = [self._tables.table(file, market).time for file in files]
        firsts = [time.first for time in times if time.first is not None]
        lasts = [time.last for time in times if time.last is not None]
        return (min(firsts), max(lasts)) if firsts else None

    def _check_range(self, files: list[Path], market: Market, start: int, end: int) -> None:
        """Raise SourceError if an empty answer is a mistake rather than a gap."""
        bounds = self._bounds(files, market)
        if bounds is None:
            raise SourceError(
                f"{_listed(files)} no candle",
                code="source.empty_file",
                hint="check [source] path",
            )
        first, last = bounds
        edge = max(EDGE_SECONDS, market.interval_seconds)
        if end + edge < first or (start > last and end > last + edge):
            raise SourceError(
                f"no candle of {market.symbol} from {iso(start)} to {iso(end)}: "
                f"{_listed(files)} only {iso(first)} to {iso(last)}",
                code="source.out_of_range",
                hint=f"recorded candles are used with --as-of, for example --as-of {iso(last)}",
            )


def recordings(paths: Sequence[str], columns: Mapping[str, str]) -> Iterator[Recording]:
    """Yield every file of some paths, folders or globs, in the order of their names.

    Raise SourceError if a file cannot be read (source.no_file, source.bad_file), and ConfigError
    if its name says no pair.
    """
    tables = Tables(columns)
    try:
        for file in dict.fromkeys(f for path in paths for f in expand(Path(path), "--data")):
            symbol = _names.pair(file.name)
            if symbol is None:
                raise ConfigError(
                    f"the name of {file.name} says no pair",
                    code="config.symbol",
                    hint="name it like BTC-USDT.parquet",
                )
            # The rows themselves say their interval, so any will do to read them.
            market = Market.of(symbol, "file", _ANY_INTERVAL)
            candles = tables.read(file, market, *_ALL_TIME)
            distance = _names.step_of(candles.open_time)
            intervals = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
            if distance is None or distance[0] not in intervals:
                raise bad_file(
                    f"the rows of {file} are not candles of a known interval",
                    hint=f"known: {', '.join(INTERVAL_SECONDS)}",
                )
            yield Recording(file, Market.of(symbol, "file", intervals[distance[0]]), candles)
    finally:
        tables.close()


def _listed(files: list[Path]) -> str:
    """Return the files as the start of a sentence."""
    return f"{files[0]} holds" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more hold"


def expand(path: Path, option: str = "[source] path") -> list[Path]:
    """Return the files that a path, folder or glob stands for.

    Raise SourceError (source.no_file) with a hint to `option` if there is none.
    """
    if path.is_dir():
        files = [f for f in sorted(path.iterdir()) if f.name.lower().endswith(SUFFIXES)]
        missing = f"{path} holds no file that ends in {', '.join(SUFFIXES)}"
    elif path.exists():
        files, missing = [path], ""
    else:
        # Path.glob would not do: the path is absolute, and any part of it may be a pattern.
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207
        matching = [f for m in sorted(matches) if (f := Path(m)).is_file()]
        # `BTCUSDT*` also finds checksums; if no match has a known suffix, all matches are meant.
        files = [f for f in matching if f.name.lower().endswith(SUFFIXES)] or matching
        missing = f"there is no file {path}"
    if not files:
        raise SourceError(missing, code="source.no_file", hint=f"check {option}")
    return files
