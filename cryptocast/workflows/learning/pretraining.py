"""Train and score a base network on recorded series of many markets."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast import __version__, dataset, evaluation
from cryptocast.bundles import Card, Forecaster
from cryptocast.candles import aggregate, normalise
from cryptocast.compute.scoring import CONSTANT, WALK, baseline, score_rows
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part
from cryptocast.drafts import confine_libraries
from cryptocast.errors import ConfigError, StateError
from cryptocast.evaluation import Candidate
from cryptocast.models import Series
from cryptocast.registry import git_commit, packages
from cryptocast.seams import TrainingRun
from cryptocast.sources.file import Recording, recordings
from cryptocast.values import FEATURES, Epoch, Fitted, Market, Windows
from cryptocast.workflows.learning.bases import BASE

OLDER, ALL = "older", "all"
"""The two trainings of a base network: on the older candles, and on all of them."""

_TIME_SHARE = {OLDER: 0.5, ALL: 1.0}  # of the allowed minutes, when each has to end
_LOOKBACK = 4
"""Bars of a window, of which at most one may be missing.

The network reads only the newest bar, whose features hold the memory.
"""

FAR_STEPS = 288
"""How many steps a base network knows: as many as `[model] horizon` may ask for."""

_FAR_STRIDE = 25  # bars between origins that tell of those: every time of the day comes
_LEAST_BARS = 576  # shorter series are left out
_JUDGED_ORIGINS = 6000  # per series, spread evenly: more add nothing


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """One recorded series on its grid."""

    file: Path
    name: str  # in reports
    market: Market
    bars: Bars
    fingerprint: str

    @classmethod
    def of(cls, recording: Recording, settings: Settings, now: float) -> Recorded | None:
        """Lay out a file's closed candles in our interval, or return None if they are too few.

        Raises ConfigError if our interval is no multiple of the file's.
        """
        market = Market.of(recording.market.symbol, "file", settings.market.interval)
        finer, ours = recording.market.interval_seconds, market.interval_seconds
        if ours % finer:
            raise ConfigError(
                f"{recording.file.name} holds candles of {recording.market.interval}: "
                f"none of {market.interval} can be made of them",
                code="config.interval",
                hint="set [market] interval to theirs, or leave the file out",
            )
        candles = normalise(recording.candles, recording.market, now=now).candles
        if finer != ours:
            candles = aggregate(candles, finer, ours)
        if len(candles) < _LEAST_BARS:
            return None
        first, last = int(candles.open_time[0]), int(candles.open_time[-1])
        bars = dataset.lay_out(candles, market, first, last + ours)
        return cls(recording.file, recording.file.name, market, bars, candles.fingerprint())

    @property
    def start(self) -> int:
        """Open time of the first bar."""
        return self.bars.first

    @property
    def end(self) -> int:
        """End of the last bar."""
        return self.bars.first + len(self.bars) * self.market.interval_seconds

    def windows(self, settings: Settings, start: int, end: int) -> Windows:
        """Return the windows of the origins in `[start, end)`, with targets purged at its end."""
        return dataset.cut(
            self.bars,
            Part(start, max(start, end)),
            lookback=_LOOKBACK,
            horizon=settings.model.horizon,
            max_stale_bars=settings.loop.max_stale_bars,
        )

    def series(self, settings: Settings, start: int, end: int) -> Series:
        """Return what the network learns from in `[start, end)`: newest bars, and no windows."""
        windows = self.windows(settings, start, end)
        return Series(
            windows.inputs[:, -1].astype(np.float32), windows.standardised.astype(np.float32)
        )

    def far(self, settings: Settings) -> Series:
        """Return origins, spread over all bars, with the targets of `FAR_STEPS` steps."""
        windows = self.windows(settings, self.start, self.end).take(slice(None, None, _FAR_STRIDE))
        at = (windows.origin - self.bars.first) // self.market.interval_seconds
        moves = dataset.log_returns(self.bars, at, FAR_STEPS, len(self.bars))
        return Series(
            windows.inputs[:, -1].astype(np.float32),
            (moves / windows.unit(FAR_STEPS)).astype(np.float32),
        )


def read_series(settings: Settings, data: Sequence[str], now: float) -> list[Recorded]:
    """Read the series of all files, and leave out the short ones.

    Series whose files share a name are named by their paths. Raises StateError if none is
    left, and ConfigError or SourceError if a file cannot be used.
    """
    laid_out = (Recorded.of(r, settings, now) for r in recordings(data, settings.source.columns))
    series = [recorded for recorded in laid_out if recorded is not None]
    if not series:
        raise StateError(
            f"no file holds {_LEAST_BARS} candles of {settings.market.interval}",
            code="state.not_enough_candles",
            hint="give pretrain longer files, or another [market] interval",
        )
    names = Counter(recorded.file.name for recorded in series)
    return [
        dataclasses.replace(r, name=str(r.file)) if names[r.file.name] > 1 else r for r in series
    ]


def held_out_from(series: Sequence[Recorded], share: float) -> int:
    """Return the moment after which the newest share of all bars lies."""
    opens = np.sort(np.concatenate([recorded.bars.open_time for recorded in series]))
    seconds = series[0].market.interval_seconds
    return int(opens[int(len(opens) * (1 - share))]) // seconds * seconds


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
        lookback=_LOOKBACK,
        context_bars=dataset.context_bars(_LOOKBACK),
        features=FEATURES,
        interval=interval,
        markets=tuple(dict.fromkeys(recorded.market.symbol for recorded in series)),
        data_start=min(recorded.start for recorded in series),
        data_end=max(recorded.end for recorded in series),
        fingerprint=digest.hexdigest()[:16],
        seed=seed,
        params={k: v for k, v in settings.pretrain.model_dump().items() if v is not None},
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

    def train(
        self,
        series: Sequence[Series],
        part: str,
        on_epoch: Callable[[Epoch, int], None],
        far: Sequence[Series] = (),
    ) -> Fitted:
        """Train on the series of the part `OLDER` or `ALL`, or continue an interrupted training.

        `far` are origins that tell how it goes on after the steps that it is trained for.
        """
        confine_libraries()
        from cryptocast.models._far import reaching  # late: onnx
        from cryptocast.models._pretraining import pretrain  # late: torch

        minutes = self.settings.pretrain.minutes
        allowed = math.inf if minutes is None else 60 * minutes * _TIME_SHARE[part]
        run = TrainingRun(self.card.seed, on_epoch, self._file(part), self.began + allowed)
        fitted = pretrain(
            series,
            recipe=self.settings.pretrain,
            levels=self.settings.model.levels,
            lookback=_LOOKBACK,
            run=run,
        )
        return reaching(fitted, far, _LOOKBACK) if far else fitted

    def forget(self) -> None:
        """Remove the state of both trainings: they are done."""
        for part in (OLDER, ALL):
            self._file(part).unlink(missing_ok=True)

    def _file(self, part: str) -> Path:
        text = json.dumps(dataclasses.asdict(self.card), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.out.with_name(f".{self.out.name}.{key}.{part}.npz")


def base_scores(
    settings: Settings, series: Sequence[Recorded], cut: int, fitted: Fitted
) -> list[dict[str, Any]]:
    """Score a network from the moment `cut` on, against baselines that are learned anew."""
    levels, rows = settings.model.levels, []
    forecaster = Forecaster(fitted.onnx)
    for recorded in series:
        before = recorded.windows(settings, recorded.start, cut)
        unseen = _thinned(recorded.windows(settings, cut, recorded.end))
        if not len(before) or not len(unseen):
            continue
        candidates = [Candidate(BASE, BASE, forecaster.log_returns(unseen))]
        seconds = recorded.market.interval_seconds
        candidates += [baseline(kind, before, unseen, levels, seconds) for kind in (WALK, CONSTANT)]
        scores = evaluation.score(candidates, unseen.targets, levels, recorded.name)
        rows += [row for row in score_rows(scores) if row["model"] == BASE]
    return rows


def _thinned(windows: Windows) -> Windows:
    every = max(-(-len(windows) // _JUDGED_ORIGINS), 1)
    while math.gcd(every, 60) > 1:  # every slot of the hour has to be judged, whatever the interval
        every += 1
    return windows.take(slice(None, None, every))


def base_evidence(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the skill against the random walk over all steps and series, and its sample size."""
    overall = [row for row in scores if row["step"] == "all"]
    if not overall:
        return {}
    skills = [row["skill_vs_random_walk"] for row in overall]
    return {
        "skill": float(np.mean(skills)),
        "worst_skill": float(np.min(skills)),
        "series": float(len(skills)),
        "n": float(sum(row["n"] for row in overall)),
    }
