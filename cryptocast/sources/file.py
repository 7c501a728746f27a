"""Recorded candles: Parquet and CSV files, one or many, a folder, a glob or a list."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cryptocast.config import Secrets, SourceSettings
from cryptocast.errors import ConfigError, SourceError
from cryptocast.seams import Clock, Meter
from cryptocast.sources import _names
from cryptocast.sources._tables import Tables, bad_file
from cryptocast.values import INTERVAL_SECONDS, Candles, Market, Page, iso

SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz")
# Past the end of the files by more than this, an empty answer is a mistake, not a gap: a
# clock of today over recorded candles. Less is a tick at the edge of a file that still grows.
EDGE_SECONDS = 86_400


class Source:
    """Candles from files; each belongs to the symbol in its name (`BTC-USDT`, `BTCUSDT`)."""

    name = "file"
    publishes_late = False
    metered = False
    bars_a_call = 10_000_000
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

        Rows may be unsorted or repeated, as they are in the files. Raises ConfigError
        (`config.symbol`, `config.path`) and SourceError: source.no_file,
        source.empty_file, source.bad_file, source.out_of_range.
        """
        if start >= end:
            return
        files = self._files(market)
        parts = [self._tables.read(file, start, end) for file in files]
        candles = Candles.concatenate(parts)
        if len(candles):
            self._check_interval(files[0], market, candles)
        else:
            self._check_range(files, market, start, end)
        yield Page(start, end, candles)

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
        files = list(dict.fromkeys(f for p in self._settings.paths() for f in _expand(p)))
        own = [file for file in files if _names.holds(file.name, market)]
        if own:
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
                hint=f"--symbol {other}",
            )
        return files

    def _check_interval(self, file: Path, market: Market, candles: Candles) -> None:
        """Refuse files of another interval: taken for ours, their candles would be wrong ones."""
        step, ours = _names.usual_step(candles.open_time), market.interval_seconds
        if step is None:
            return
        # Many missing bars make a longer step too, but not one that every time is a multiple of.
        longer = step > ours and step in INTERVAL_SECONDS.values()
        if 2 * step <= ours or (longer and bool(np.all(candles.open_time % step == 0))):
            raise bad_file(
                f"{file} holds a candle every {step} s, not every "
                f"{market.interval_seconds} s ({market.interval})",
                hint="set [market] interval to that of the file, or take another file",
            )

    def _check_range(self, files: list[Path], market: Market, start: int, end: int) -> None:
        """Tell an empty answer that is a gap from one that is a mistake."""
        bounds = [found for file in files if (found := self._tables.bounds(file)) is not None]
        if not bounds:
            raise SourceError(
                f"{_listed(files)} no candle",
                code="source.empty_file",
                hint="check [source] path",
            )
        first, last = min(b[0] for b in bounds), max(b[1] for b in bounds)
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


def _expand(path: Path) -> list[Path]:
    """The files that a path, folder or glob stands for; SourceError where there is none."""
    if path.is_dir():
        found = [f for f in sorted(path.iterdir()) if f.name.lower().endswith(SUFFIXES)]
        missing = f"{path} holds no file that ends in {', '.join(SUFFIXES)}"
    elif path.exists():
        found, missing = [path], ""
    else:
        # Not Path.glob: the path is absolute, and any part of it may be a pattern.
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207
        found = [f for m in sorted(matches) if (f := Path(m)).is_file()]
        missing = f"there is no file {path}"
    if not found:
        raise SourceError(missing, code="source.no_file", hint="check [source] path")
    for file in found:
        if not file.name.lower().endswith(SUFFIXES):
            raise bad_file(
                f"{file} is neither Parquet nor CSV by its name",
                hint=f"its name must end in one of {', '.join(SUFFIXES)}",
            )
    return found
