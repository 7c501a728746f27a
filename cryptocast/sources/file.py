"""Recorded candles: one or many files, a folder, a glob or a list; of any format (`_formats`)."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _names
from cryptocast.sources._formats import SUFFIXES, bad_file
from cryptocast.sources._tables import Tables
from cryptocast.values import Candles, IntArray, Market, Page, iso

# Past the end of the files by more than this, an empty answer is a mistake, not a gap: a
# clock of today over recorded candles. Less is a tick at the edge of a file that still grows.
EDGE_SECONDS = 86_400


class Source:
    """Candles from files; each belongs to the symbol in its name (`BTC-USDT`, `BTCUSDT`)."""

    name = "file"
    publishes_late = False
    metered = False
    bars_a_call = 2_000_000  # about 100 MB of candles
    bars_back = None

    def __init__(
        self,
        settings: SourceSettings,
        markets: Sequence[Market],
        secrets: Secrets,  # noqa: ARG002 - every source is made alike
        *,
        clock: Clock,  # noqa: ARG002
        meter: Meter | None = None,  # noqa: ARG002
    ) -> None:
        self._settings = settings
        self._markets = tuple(markets)
        self._tables = Tables(settings.columns)

    def pages(
        self,
        market: Market,
        start: int,
        end: int,
        *,
        deadline: float = math.inf,  # noqa: ARG002 - nothing here is waited for
    ) -> Iterator[Page]:
        """Yield the candles with open time in `[start, end)` as one page, in file order.

        Of `market` only base, quote and interval matter: files are imported into any. Rows may
        be unsorted or repeated, as they are in the files. Raises ConfigError (`config.symbol`,
        `config.interval`, `config.path`) and SourceError: source.no_file, source.empty_file,
        source.bad_file, source.out_of_range.
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
        """The first and the last open time in a market's files; None where they hold no row.

        Raises what `pages` raises.
        """
        bounds = self._bounds(self._files(market), market)
        return None if bounds is None else (market.floor(bounds[0]), market.floor(bounds[1]))

    def close(self) -> None:
        """Give back the memory of the reader."""
        self._tables.close()

    def _files(self, market: Market) -> list[Path]:
        """The files of a market, in the order of the settings, a folder's by name."""
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
            there = ", ".join(symbols) or ", ".join(file.name for file in files[:10])
            raise ConfigError(
                f"no file has {market.symbol} in its name; there is {there}",
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
        """Refuse files of another interval: taken for ours, their candles would be wrong ones."""
        found = _names.step_of(times) or _names.step_of(self._tables.sample(file, market))
        if found is None:
            return
        (step, is_interval), ours = found, market.interval_seconds
        if 2 * step <= ours or (step > ours and is_interval):
            raise bad_file(
                f"{file} holds a candle every {step} s, not every {ours} s ({market.interval})",
                hint="set [market] interval to that of the file, or take another file",
            )

    def _bounds(self, files: list[Path], market: Market) -> tuple[int, int] | None:
        """A market's first and last time in some files."""
        each = (self._tables.bounds(file, market) for file in files)
        bounds = [found for found in each if found is not None]
        return (min(b[0] for b in bounds), max(b[1] for b in bounds)) if bounds else None

    def _check_range(self, files: list[Path], market: Market, start: int, end: int) -> None:
        """Tell an empty answer that is a gap from one that is a mistake."""
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


def _listed(files: list[Path]) -> str:
    """The files as the start of a sentence."""
    return f"{files[0]} holds" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more hold"


def expand(path: Path, option: str = "[source] path") -> list[Path]:
    """The files that a path, folder or glob stands for; SourceError where there is none.

    `option` is what named it.
    """
    if path.is_dir():
        found = [f for f in sorted(path.iterdir()) if f.name.lower().endswith(SUFFIXES)]
        missing = f"{path} holds no file that ends in {', '.join(SUFFIXES)}"
    elif path.exists():
        found, missing = [path], ""
    else:
        # Not Path.glob: the path is absolute, and any part of it may be a pattern.
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207
        files = [f for m in sorted(matches) if (f := Path(m)).is_file()]
        # `BTCUSDT*` finds checksums too; a pattern that finds no known suffix means what it finds.
        found = [f for f in files if f.name.lower().endswith(SUFFIXES)] or files
        missing = f"there is no file {path}"
    if not found:
        raise SourceError(missing, code="source.no_file", hint=f"check {option}")
    return found
