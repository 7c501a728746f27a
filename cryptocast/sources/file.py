"""Recorded candles: one or many files, a folder, a glob or a list, in any format (`_formats`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cryptocast.errors import ConfigError, SourceError
from cryptocast.sources import Setup, _columns, _grid, _names
from cryptocast.sources._content import bad_file
from cryptocast.sources._formats import expand
from cryptocast.sources._tables import Tables
from cryptocast.values import (
    DAY_SECONDS,
    INTERVAL_SECONDS,
    Candles,
    Market,
    Page,
    Recording,
    iso,
)

EDGE_SECONDS = DAY_SECONDS
"""An empty answer further past the end of the files than this is a mistake rather than a gap.

It is today's clock over recorded candles; less is a tick at the edge of a file that still grows.
"""

_FEWEST_STEPS, _FEWEST_STEPS_NAMED = 3, 10
_ANY_INTERVAL = next(iter(INTERVAL_SECONDS))
_ALL_TIME = (-(1 << 40), 1 << 40)  # Unix seconds


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
        Rows may be unsorted or repeated, as they are in the files; a file that begins with its
        newest row is turned round. Raise ConfigError (`config.symbol`, `config.interval`,
        `config.path`) and SourceError: source.no_file, source.empty_file, source.bad_file,
        source.out_of_range.
        """
        if start >= end:
            return
        files, remarks = self._files(market)
        parts = []
        odd: list[str] = []
        for file in files:
            part = self._tables.read(file, market, start, end)
            if len(part):
                odd = self._check_rows(file, market, part)
                remarks += self._tables.table(file, market).remarks
                parts.append(part)
        if not parts:
            self._check_range(files, market, start, end)
        candles = Candles.concatenate(parts)
        if len(parts) > 1:
            odd = _grid.odd_times(f"{files[0]} and {len(files) - 1} more", candles, market)
        yield Page(start, end, candles, remarks=(*remarks, *odd))

    def span(self, market: Market) -> tuple[int, int] | None:
        """Return the first and the last open time in a market's files, or None without rows.

        Raise what `pages` raises.
        """
        bounds = self._bounds(self._files(market)[0], market)
        return None if bounds is None else (market.floor(bounds[0]), market.floor(bounds[1]))

    def close(self) -> None:
        """Release the memory of the reader."""
        self._tables.close()

    def _files(self, market: Market) -> tuple[list[Path], list[str]]:
        """Return the files of a market, and what to tell about their choice.

        They come in the order of the settings, those of a folder by name.
        """
        if not self._settings.paths():
            raise ConfigError(
                "source file needs to know which files",
                code="config.path",
                hint='set [source] path = "candles.parquet" (or a folder, glob or list)',
            )
        files = list(dict.fromkeys(f for p in self._settings.paths() for f in expand(p)))
        own, remarks = _names.own(files, market)
        if own:
            return self._without_trades(own, market, remarks)
        if len(files) > 1 or len(self._markets) > 1:
            symbols = sorted({pair for file in files for pair in _names.pairs(file.name)})
            held = ", ".join(symbols) or ", ".join(file.name for file in files[:10])
            raise ConfigError(
                f"no file has {market.symbol} in its name; there is {held}",
                code="config.symbol",
                hint=f"name it like {market.base}-{market.quote}.parquet, or choose with --symbol",
            )
        others = _names.pairs(files[0].name)
        if others:
            raise ConfigError(
                f"{files[0].name} holds {' or '.join(others)}, not {market.symbol}",
                code="config.symbol",
                hint=f"--symbol {' or '.join(others)}, or a file of {market.symbol}",
            )
        return _names.of_interval(files, _names.interval(files), market), []

    def _without_trades(
        self, files: list[Path], market: Market, remarks: list[str]
    ) -> tuple[list[Path], list[str]]:
        """Leave out files of trades beside those of candles, and tell it."""
        kept = []
        for file in files:
            try:
                self._tables.table(file, market)
            except SourceError as error:
                if error.code != _columns.TRADES or len(files) == 1:
                    raise
                remarks = [*remarks, f"{file.name} is left out: it holds trades, not candles"]
            else:
                kept.append(file)
        return kept, remarks

    def _check_rows(self, file: Path, market: Market, part: Candles) -> list[str]:
        """Return what is odd about the rows of a file. Raise SourceError if they are no candles.

        Candles of another interval would be wrong if taken for ours.
        """
        # The name goes before a few rows.
        fewest = _FEWEST_STEPS if _names.interval([file])[0] is None else _FEWEST_STEPS_NAMED
        sample = self._tables.table(file, market).sample
        step, is_interval = (
            _grid.step_of(part.open_time, _FEWEST_STEPS_NAMED)
            or _grid.step_of(sample, fewest)
            or (market.interval_seconds, True)
        )
        ours = market.interval_seconds
        finer, longer = 2 * step <= ours, step > ours and is_interval
        # Rows that share a candle seem to be further apart than they are.
        odd = [] if finer else _grid.odd_times(str(file), part, market)
        if finer or longer:
            raise bad_file(
                f"{file} holds a candle every {step} s, not every {ours} s ({market.interval})",
                hint="set [market] interval to that of the file, or take another file",
            )
        return odd

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
            pairs = _names.pairs(file.name)
            if len(pairs) != 1:
                said = f"may say {' or '.join(pairs)}" if pairs else "says no pair"
                raise ConfigError(
                    f"the name of {file.name} {said}",
                    code="config.symbol",
                    hint="name it like BTC-USDT.parquet",
                )
            # The rows themselves say their interval, so any will do to read them.
            market = Market.of(pairs[0], "file", _ANY_INTERVAL)
            candles = tables.read(file, market, *_ALL_TIME)
            distance = _grid.step_of(candles.open_time, _FEWEST_STEPS_NAMED)
            intervals = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
            if distance is None or distance[0] not in intervals:
                raise bad_file(
                    f"the rows of {file} are not candles of a known interval",
                    hint=f"known: {', '.join(INTERVAL_SECONDS)}",
                )
            market = Market.of(pairs[0], "file", intervals[distance[0]])
            _grid.odd_times(str(file), candles, market)
            yield Recording(file, market, candles)
    finally:
        tables.close()


def _listed(files: list[Path]) -> str:
    """Return the files as the start of a sentence."""
    return f"{files[0]} holds" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more hold"
