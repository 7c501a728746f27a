"""Read recorded series of many markets, and describe and keep trainings of a base network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import asdict

from cryptocast import __version__, dataset
from cryptocast.bundles import Card
from cryptocast.compute.pretraining import (
    LEAST_BARS,
    LOOKBACK,
    BaseTraining,
    PretrainRule,
    Recorded,
    record,
)
from cryptocast.compute.scoring import BASE
from cryptocast.config import Settings
from cryptocast.errors import StateError
from cryptocast.models import Series
from cryptocast.registry import git_commit, packages
from cryptocast.seams import Engine, TrainingRun
from cryptocast.sources.file import recordings
from cryptocast.values import FEATURES, INTERVAL_SECONDS, Epoch

OLDER, ALL = "older", "all"
"""The two trainings of a base network: on the older candles, and on all of them."""

_TIME_SHARE = {OLDER: 0.5, ALL: 1.0}  # of the allowed minutes, when each has to end


def read_series(
    engine: Engine, settings: Settings, data: Sequence[str], now: float
) -> list[Recorded]:
    """Read the series of all files, and leave out the short ones.

    Series whose files share a name are named by their paths. Raises StateError if none is
    left, and ConfigError or SourceError if a file cannot be used.
    """
    files, rule = recordings(data, settings.source.columns), PretrainRule(settings, now)
    series = [recorded for recorded in engine.map(record, files, rule) if recorded is not None]
    if not series:
        raise StateError(
            f"no file holds {LEAST_BARS} candles of {settings.market.interval}",
            code="state.not_enough_candles",
            hint="give pretrain longer files, or another [market] interval",
        )
    names = Counter(recorded.file.name for recorded in series)
    return [
        dataclasses.replace(r, name=str(r.file)) if names[r.file.name] > 1 else r for r in series
    ]


def base_card(
    settings: Settings, series: Sequence[Recorded], seed: int, origin: str | None
) -> Card:
    """Return the card of a base network; `origin` says where its candles came from."""
    digest = hashlib.sha256("".join(recorded.fingerprint for recorded in series).encode())
    interval = settings.market.interval
    return Card(
        version=f"base-{interval}",
        kind=BASE,
        levels=settings.model.levels,
        horizon=settings.model.horizon,
        lookback=LOOKBACK,
        context_bars=dataset.context_bars(LOOKBACK, INTERVAL_SECONDS[interval]),
        features=FEATURES,
        interval=interval,
        markets=tuple(dict.fromkeys(recorded.market.symbol for recorded in series)),
        data_start=min(recorded.start for recorded in series),
        data_end=max(recorded.end for recorded in series),
        fingerprint=digest.hexdigest()[:16],
        seed=seed,
        params={k: v for k, v in asdict(settings.pretrain).items() if v is not None},
        code_version=__version__,
        packages=packages(),
        max_stale_bars=settings.loop.max_stale_bars,
        commit=git_commit(),
        origin=origin,
    )


@dataclass(frozen=True, slots=True)
class Pretraining:
    """The two trainings of a base network, each of which keeps its state beside the bundle."""

    settings: Settings
    card: Card
    out: Path  # the folder of the bundle
    began: float  # on the monotonic clock; the allowed minutes count from here

    def of(
        self,
        series: Sequence[Series],
        part: str,
        on_epoch: Callable[[Epoch, int], None],
        far: Sequence[Series] = (),
    ) -> BaseTraining:
        """Return the training on the series of the part `OLDER` or `ALL`."""
        minutes = self.settings.pretrain.minutes
        allowed = math.inf if minutes is None else 60 * minutes * _TIME_SHARE[part]
        run = TrainingRun(self.card.seed, on_epoch, self._file(part), self.began + allowed)
        return BaseTraining(series, run, far)

    def forget(self) -> None:
        """Remove the state of both trainings: they are done."""
        for part in (OLDER, ALL):
            self._file(part).unlink(missing_ok=True)

    def _file(self, part: str) -> Path:
        text = json.dumps(dataclasses.asdict(self.card), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.out.with_name(f".{self.out.name}.{key}.{part}.npz")
