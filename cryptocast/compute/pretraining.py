"""Lay out recorded series of many markets, and train and score a base network on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast import dataset, evaluation
from cryptocast.bundles import Forecaster
from cryptocast.candles import aggregate, normalise
from cryptocast.compute.scoring import BASE, CONSTANT, WALK, baseline, score_rows
from cryptocast.config import Settings
from cryptocast.dataset import Bars, Part
from cryptocast.drafts import confine_libraries
from cryptocast.errors import ConfigError
from cryptocast.evaluation import Candidate
from cryptocast.models import Series
from cryptocast.seams import TrainingRun
from cryptocast.values import DAY_SECONDS, Fitted, Market, Recording, Windows

LOOKBACK = 4
"""Bars of a window, of which at most one may be missing.

The network reads only the newest bar, whose features hold the memory.
"""

FAR_STEPS = 288
"""How many steps a base network knows: as many as `[model] horizon` may ask for."""

_FAR_STRIDE = 25  # bars between origins that tell of those: every time of the day comes
LEAST_BARS = 576  # shorter series are left out
_JUDGED_ORIGINS = 6000  # per series, spread evenly: more add nothing
_WARM_UP = 30 * DAY_SECONDS  # of a series that is only scored


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
        if len(candles) < LEAST_BARS:
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

    @property
    def warmed_up(self) -> int:
        """The moment from which profile and baselines know it: after a month, or a quarter."""
        return self.start + min(_WARM_UP, (self.end - self.start) // 4)

    def windows(self, settings: Settings, start: int, end: int) -> Windows:
        """Return the windows of the origins in `[start, end)`, with targets purged at its end."""
        return dataset.cut(
            self.bars,
            Part(start, max(start, end)),
            lookback=LOOKBACK,
            horizon=settings.model.horizon,
            max_stale_bars=settings.loop.max_stale_bars,
        )

    def series(self, settings: Settings, start: int, end: int) -> Series:
        """Return what the network learns from in `[start, end)`: newest bars, and no windows."""
        windows = self.windows(settings, start, end)
        # A copy, since a view would keep the features of all bars.
        return Series(windows.inputs[:, -1].copy(), windows.standardised.astype(np.float32))

    def far(self, settings: Settings) -> Series:
        """Return origins, spread over all bars, with the targets of `FAR_STEPS` steps."""
        windows = self.windows(settings, self.start, self.end).take(slice(None, None, _FAR_STRIDE))
        at = (windows.origin - self.bars.first) // self.market.interval_seconds
        moves = dataset.log_returns(self.bars, at, FAR_STEPS, len(self.bars))
        return Series(
            windows.inputs[:, -1].copy(),
            (moves / windows.unit(FAR_STEPS)).astype(np.float32),
        )


@dataclass(frozen=True, slots=True)
class PretrainRule:
    """All that the series of a base network have in common."""

    settings: Settings
    now: float  # Unix seconds; candles that are not closed by then are left out


def record(recording: Recording, rule: PretrainRule) -> Recorded | None:
    """Lay out a file's candles, or return None if they are too few; see `Recorded.of`."""
    return Recorded.of(recording, rule.settings, rule.now)


def held_out_from(series: Sequence[Recorded], share: float) -> int:
    """Return the moment after which the newest share of all bars lies."""
    opens = np.sort(np.concatenate([recorded.bars.open_time for recorded in series]))
    seconds = series[0].market.interval_seconds
    return int(opens[int(len(opens) * (1 - share))]) // seconds * seconds


@dataclass(frozen=True, slots=True, eq=False)
class BaseTraining:
    """A training of a base network: what it learns from, and how it reports.

    `far` are origins that tell how it goes on after the steps that it is trained for.
    """

    series: Sequence[Series]
    run: TrainingRun
    far: Sequence[Series] = ()


def train_base(training: BaseTraining, settings: Settings) -> Fitted:
    """Train a base network, or continue a training that was interrupted."""
    confine_libraries()
    from cryptocast.models._far import reaching  # late: onnx
    from cryptocast.models._pretraining import pretrain  # late: torch

    fitted = pretrain(
        training.series,
        recipe=settings.pretrain,
        levels=settings.model.levels,
        lookback=LOOKBACK,
        run=training.run,
    )
    return reaching(fitted, training.far, LOOKBACK) if training.far else fitted


train_base.ON_GPU = True  # type: ignore[attr-defined]  # any function may have attributes


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSeries:
    """A recorded series on which a network is scored, from a moment on that it never saw."""

    recorded: Recorded
    network: Forecaster
    start: int  # Unix seconds; what lies before is for the baselines


def base_scores(scored: ScoredSeries, rule: PretrainRule) -> list[dict[str, Any]]:
    """Score a network on the origins from `start` on, against baselines that are learned anew."""
    settings, recorded = rule.settings, scored.recorded
    levels, seconds = settings.model.levels, recorded.market.interval_seconds
    before = recorded.windows(settings, recorded.start, scored.start)
    after = recorded.windows(settings, scored.start, recorded.end)
    if not len(before) or not len(after):
        return []
    every = _judged_every(len(after))
    unseen = after.take(slice(None, None, every))
    quantiles = scored.network.log_returns(unseen)[:, : settings.model.horizon]
    candidates = [Candidate(BASE, BASE, quantiles)]
    candidates += [
        baseline(kind, before, after, levels, seconds, every) for kind in (WALK, CONSTANT)
    ]
    scores = evaluation.score(candidates, unseen.targets, levels, recorded.name)
    return [row for row in score_rows(scores) if row["model"] == BASE]


def _judged_every(origins: int) -> int:
    every = max(-(-origins // _JUDGED_ORIGINS), 1)
    while math.gcd(every, 60) > 1:  # every slot of the hour has to be judged, whatever the interval
        every += 1
    return every


def base_evidence(
    scores: Sequence[dict[str, Any]], scored: Sequence[ScoredSeries]
) -> dict[str, float]:
    """Return the skill against the random walk over all steps and series, its sample size and time.

    `start` and `end` are the Unix seconds that the series were scored between.
    """
    overall = [row for row in scores if row["step"] == "all"]
    if not overall:
        return {}
    skills = [row["skill_vs_random_walk"] for row in overall]
    names = {row["market"] for row in overall}
    ours = [one for one in scored if one.recorded.name in names]
    return {
        "skill": float(np.mean(skills)),
        "worst_skill": float(np.min(skills)),
        "series": float(len(skills)),
        "n": float(sum(row["n"] for row in overall)),
        "start": float(min(one.start for one in ours)),
        "end": float(max(one.recorded.end for one in ours)),
    }
