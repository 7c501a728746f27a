"""pretrain: one network over many markets and years, for markets that have no past yet."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cryptocast import __version__, bundles, dataset, evaluation
from cryptocast.bundles import Card, Forecaster
from cryptocast.config import Settings
from cryptocast.errors import StateError, UsageError
from cryptocast.evaluation import Candidate
from cryptocast.models import Series, TrainingRun
from cryptocast.registry import git_commit, packages
from cryptocast.seams import Progress
from cryptocast.sources import recordings
from cryptocast.values import FEATURES, Epoch, Fitted, Windows
from cryptocast.workflows.learning.recorded import LEAST_BARS, LOOKBACK, Recorded
from cryptocast.workflows.learning.scoring import WALK, baseline, score_rows

_NETWORK = {"card.json", "model.onnx"}
_JUDGED_ORIGINS = 6000  # of each series, spread evenly: more tell nothing new


@dataclass(frozen=True, slots=True)
class PretrainReport:
    """A base network, and what it came to on the newest time, which it was not trained on."""

    folder: Path
    interval: str
    series: int
    origins: int
    held_out_from: int  # Unix seconds
    scores: list[dict[str, Any]]  # of the held-out time; a row a series and step, and "all"
    evidence: dict[str, float]
    seconds: float


def pretrain(
    settings: Settings,
    data: Sequence[str],
    out: Path,
    *,
    seed: int,
    origin: str | None,
    now: float,
    progress: Progress,
) -> PretrainReport:
    """Learn from every file, and keep the network as a bundle in the folder `out`.

    Candles that are not closed `now` (Unix seconds) are left out.

    Once from the older part of the time, to say what it is worth on the newest (by era: every
    market is cut at the same moment); then from all of it. Finer candles are put together to
    those of `[market] interval`. Interrupted, the same command goes on where it was. Raises
    ConfigError, SourceError, StateError where too few candles are there, and UsageError where
    `out` cannot be written, or holds other files than a network's.
    """
    began = time.monotonic()
    out = out.resolve()
    with _writing(out):
        _require_place(out)
    progress.stage("read candles")
    recorded = _named_apart(
        [
            found
            for each in recordings(data, settings.source.columns)
            if (found := Recorded.of(each, settings, now)) is not None
        ]
    )
    if not recorded:
        raise StateError(
            f"no file holds {LEAST_BARS} candles of {settings.market.interval}",
            code="state.not_enough_candles",
            hint="give pretrain longer files, or another [market] interval",
        )
    cut = _cut(recorded, settings.pretrain.validation_share)
    card = _card(settings, recorded, seed, origin)
    train = _Training(settings, card, out, seed, progress, began)
    progress.stage("train on the older candles")
    first = train([r.series(settings, r.start, cut) for r in recorded], "older")
    progress.stage("score on the newest")
    scores = _scores(settings, recorded, cut, first)
    evidence = _evidence(scores)
    progress.stage("train on all candles")
    everything = [r.series(settings, r.start, r.end) for r in recorded]
    fitted = train(everything, "all")
    progress.stage("write the bundle")
    with _writing(out):
        bundles.freeze(out, dataclasses.replace(card, evidence=evidence), fitted.onnx)
    train.forget()
    return PretrainReport(
        out,
        settings.market.interval,
        len(recorded),
        sum(len(series.newest) for series in everything),
        cut,
        scores,
        evidence,
        time.monotonic() - began,
    )


def _named_apart(recorded: Sequence[Recorded]) -> list[Recorded]:
    """Files of one name in several folders go by their paths."""
    many = Counter(each.file.name for each in recorded)
    return [
        dataclasses.replace(each, name=str(each.file)) if many[each.file.name] > 1 else each
        for each in recorded
    ]


def _require_place(out: Path) -> None:
    """Find out before the training that its end can be kept, and replaces nothing else."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        others = {p.name for p in out.iterdir()} - _NETWORK if out.exists() else set()
    if others:
        raise UsageError(
            f"{out} holds other files than a network's: {min(others)}",
            code="usage.out",
            hint="it would be replaced as a whole: name another folder, --out DIR",
        )


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written: {error.strerror}",
            code="usage.out",
            hint="name a folder that you may write: --out DIR",
        ) from None


@dataclass(slots=True)
class _Training:
    """Trains, and keeps where it stands beside the bundle."""

    settings: Settings
    card: Card
    out: Path
    seed: int
    progress: Progress
    began: float

    def __call__(self, series: Sequence[Series], name: str) -> Fitted:
        from cryptocast.models._pretraining import pretrain as run  # late: torch

        minutes = self.settings.pretrain.minutes
        share = {"older": 0.5, "all": 1.0}[name]
        deadline = math.inf if minutes is None else self.began + 60 * minutes * share
        return run(
            series,
            recipe=self.settings.pretrain,
            levels=self.settings.model.levels,
            lookback=LOOKBACK,
            run=TrainingRun(self.seed, self._told, self._file(name), deadline),
        )

    def forget(self) -> None:
        """The training is done: nothing is left to go on with."""
        for name in ("older", "all"):
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        text = json.dumps(dataclasses.asdict(self.card), sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.out.with_name(f".{self.out.name}.{key}.{name}.npz")

    def _told(self, epoch: Epoch, most: int) -> None:
        self.progress.advance(
            epoch.number,
            most,
            f"part {epoch.number} of {most}, loss {epoch.train_loss:.4f}, "
            f"{epoch.windows_per_second:,.0f} origins/s",
        )


def _cut(recorded: Sequence[Recorded], share: float) -> int:
    """The moment after which the newest share of all bars lies."""
    opens = np.sort(np.concatenate([each.bars.open_time for each in recorded]))
    seconds = recorded[0].market.interval_seconds
    return int(opens[int(len(opens) * (1 - share))]) // seconds * seconds


def _card(settings: Settings, recorded: Sequence[Recorded], seed: int, origin: str | None) -> Card:
    digest = hashlib.sha256("".join(each.fingerprint for each in recorded).encode())
    interval = settings.market.interval
    return Card(
        version=f"base-{interval}",
        kind="base",
        levels=settings.model.levels,
        horizon=settings.model.horizon,
        lookback=LOOKBACK,
        context_bars=dataset.context_bars(LOOKBACK),
        features=FEATURES,
        interval=interval,
        markets=tuple(dict.fromkeys(each.market.symbol for each in recorded)),
        data_start=min(each.start for each in recorded),
        data_end=max(each.end for each in recorded),
        fingerprint=digest.hexdigest()[:16],
        seed=seed,
        params={k: v for k, v in settings.pretrain.model_dump().items() if v is not None},
        code_version=__version__,
        packages=packages(),
        max_stale_bars=settings.loop.max_stale_bars,
        commit=git_commit(),
        origin=origin,
    )


def _scores(
    settings: Settings, recorded: Sequence[Recorded], cut: int, fitted: Fitted
) -> list[dict[str, Any]]:
    """The network against the baselines that learned from the same series' candles before."""
    levels, rows = settings.model.levels, []
    forecaster = Forecaster(fitted.onnx)
    for each in recorded:
        before, unseen = (
            _thinned(each.windows(settings, *part)) for part in ((each.start, cut), (cut, each.end))
        )
        if not len(before) or not len(unseen):
            continue
        candidates = [Candidate("base", "base", forecaster.log_returns(unseen))]
        candidates += [baseline(kind, before, unseen, levels) for kind in (WALK, "constant")]
        scores = evaluation.score(candidates, unseen.targets, levels, each.name)
        rows += [row for row in score_rows(scores) if row["model"] == "base"]
    return rows


def _thinned(windows: Windows) -> Windows:
    return windows.take(slice(None, None, -(-len(windows) // _JUDGED_ORIGINS) or 1))


def _evidence(scores: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Skill against the random walk over all steps and series, and what it rests on."""
    found = [row for row in scores if row["step"] == "all"]
    skills = [row["skill_vs_random_walk"] for row in found]
    if not skills:
        return {}
    return {
        "skill": float(np.mean(skills)),
        "worst_skill": float(np.min(skills)),
        "series": float(len(skills)),
        "n": float(sum(row["n"] for row in found)),
    }
