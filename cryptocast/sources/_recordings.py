"""Whole files of candles, whatever their markets: what `pretrain` learns from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptocast.errors import ConfigError
from cryptocast.sources import _names
from cryptocast.sources._formats import bad_file
from cryptocast.sources._tables import Tables
from cryptocast.sources.file import expand
from cryptocast.values import INTERVAL_SECONDS, Candles, Market

_ANY = next(iter(INTERVAL_SECONDS))
_EVER = (-(1 << 40), 1 << 40)  # Unix seconds


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One file: its market by its name, and its candles as they are in it."""

    file: Path
    market: Market  # of source `file`, with the interval of its rows
    candles: Candles


def recordings(paths: Sequence[str], columns: Mapping[str, str]) -> Iterator[Recording]:
    """Yield every file of some paths, folders or globs, in the order of their names.

    Raises SourceError where a file cannot be read (source.no_file, source.bad_file), and
    ConfigError where its name says no pair.
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
            # Its interval is what the rows will say.
            candles = tables.read(file, Market.of(symbol, "file", _ANY), *_EVER)
            found = _names.step_of(candles.open_time)
            known = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}
            if found is None or found[0] not in known:
                raise bad_file(
                    f"the rows of {file} are no candles of an interval that is known",
                    hint=f"known: {', '.join(INTERVAL_SECONDS)}",
                )
            yield Recording(file, Market.of(symbol, "file", known[found[0]]), candles)
    finally:
        tables.close()
