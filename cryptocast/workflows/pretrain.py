"""pretrain: one network over many markets and years, for markets that have no past yet."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptocast import bundles
from cryptocast.bundles import Forecaster
from cryptocast.compute.pretraining import (
    BaseTraining,
    PretrainRule,
    Recorded,
    ScoredSeries,
    base_evidence,
    base_scores,
    held_out_from,
    train_base,
)
from cryptocast.config import Settings
from cryptocast.engines import open_engine
from cryptocast.errors import StoreError, UsageError
from cryptocast.paths import FOLDER
from cryptocast.seams import Engine, Progress
from cryptocast.values import Epoch, Fitted, parse_path
from cryptocast.workflows.futures.fitting import path_model
from cryptocast.workflows.learning.pretraining import (
    ALL,
    OLDER,
    Pretraining,
    base_card,
    read_series,
)
from cryptocast.workspace import require_outside

_NETWORK_FILES = {"card.json", "model.onnx", FOLDER}


@dataclass(frozen=True, slots=True)
class PretrainData:
    """Files, folders or globs of candles: to learn from, and of other years to be scored on."""

    learned: Sequence[str]
    unseen: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PretrainReport:
    """A base network, and its scores on candles that it was not trained on."""

    folder: Path
    interval: str
    series: int
    origins: int
    held_out_from: int | None  # Unix seconds; None if it was scored on files of other years
    scores: list[dict[str, Any]]  # a row per scored series and step, and "all"
    evidence: Mapping[str, float]
    seconds: float


def pretrain(
    settings: Settings,
    data: PretrainData,
    out: Path,
    *,
    seed: int,
    origin: str | None,
    now: float,
    progress: Progress,
) -> PretrainReport:
    """Learn from all of the learned files, and keep the network as a bundle in the folder `out`.

    Candles that are not closed `now` (Unix seconds) are left out. The network is scored on the
    unseen files, which are of other years. Without them it is trained on the older part of the
    time first, to say what it is worth on the newest (every market is cut at the same moment),
    and then on all of it. Finer candles are put together to those of `[market] interval`. After
    an interruption, the same command continues where it stopped. Raises ConfigError, SourceError,
    StateError if there are too few candles, and UsageError if an unseen file shares time with a
    learned one, or if `out` cannot be written, or holds other files than a network's.
    """
    began, out = time.monotonic(), parse_path(out).resolve()
    _require_place(out)
    with contextlib.closing(open_engine(settings.engine)) as engine:
        progress.stage("read candles")
        series = read_series(engine, settings, data.learned, now)
        judged = read_series(engine, settings, data.unseen, now) if data.unseen else []
        _require_apart(series, judged)
        training = Pretraining(settings, base_card(settings, series, seed, origin), out, began)
        learned = _learned(engine, training, series, judged, PretrainRule(settings, now), progress)
    progress.stage("write the bundle")
    onnx = learned.fitted.onnx
    horizon = Forecaster(onnx).horizon
    card = dataclasses.replace(training.card, evidence=learned.evidence, horizon=horizon)
    whole = path_model(series, origin or "")
    with _writing(out):
        bundles.freeze(out, card, onnx)
        if whole is not None:
            whole.save(out / FOLDER)
    training.forget()
    return PretrainReport(
        folder=out,
        interval=settings.market.interval,
        series=len(series),
        origins=learned.origins,
        held_out_from=learned.held_out_from,
        scores=learned.scores,
        evidence=learned.evidence,
        seconds=time.monotonic() - began,
    )


def _require_apart(series: Sequence[Recorded], unseen: Sequence[Recorded]) -> None:
    """Raise UsageError if a series to be scored on shares time with one that is learned from."""
    for other in unseen:
        for one in series:
            if other.start < one.end and one.start < other.end:
                raise UsageError(
                    f"{other.name} shares time with {one.name}, which the network learns from",
                    code="usage.unseen",
                    hint="markets move together: name files of other years, --unseen DATA",
                )


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """A network that learned from everything, and what it is worth on what it did not see."""

    fitted: Fitted
    origins: int
    scores: list[dict[str, Any]]
    evidence: Mapping[str, float]
    held_out_from: int | None


def _learned(
    engine: Engine,
    training: Pretraining,
    series: Sequence[Recorded],
    unseen: Sequence[Recorded],
    rule: PretrainRule,
    progress: Progress,
) -> _Learned:
    """Train on everything, and score: on the unseen series, else by a training on the older."""
    settings, show = rule.settings, _epoch_shower(progress)
    cut = None if unseen else held_out_from(series, settings.pretrain.validation_share)
    origins = 0

    def trainings() -> Iterator[BaseTraining]:
        nonlocal origins
        if cut is not None:
            yield training.of([r.series(settings, r.start, cut) for r in series], OLDER, show)
        everything = [r.series(settings, r.start, r.end) for r in series]
        origins = sum(len(one.newest) for one in everything)
        yield training.of(everything, ALL, show, [r.far(settings) for r in series])

    def scored(name: str, pieces: list[ScoredSeries]) -> list[dict[str, Any]]:
        progress.stage(name)
        return [row for rows in engine.map(base_scores, pieces, rule) for row in rows]

    networks = engine.map(train_base, trainings(), settings)
    if cut is not None:
        progress.stage("train on the older candles")
        older = Forecaster(next(networks).onnx)
        pieces = [ScoredSeries(recorded, older, cut) for recorded in series]
        scores = scored("score on the newest", pieces)
    progress.stage("train on all candles")
    fitted = next(networks)
    if cut is None:
        network = Forecaster(fitted.onnx)
        pieces = [ScoredSeries(recorded, network, recorded.warmed_up) for recorded in unseen]
        scores = scored("score on the unseen", pieces)
    return _Learned(fitted, origins, scores, base_evidence(scores, pieces), cut)


def _epoch_shower(progress: Progress) -> Callable[[Epoch, int], None]:
    """Return a function that shows each epoch of a training."""

    def show(epoch: Epoch, most: int) -> None:
        speed = f"{epoch.windows_per_second:,.0f} origins/s"
        detail = f"part {epoch.number} of {most}, loss {epoch.train_loss:.4f}, {speed}"
        progress.advance(epoch.number, most, detail)

    return show


def _require_place(out: Path) -> None:
    """Raise UsageError if the bundle cannot be written there, or would replace other files.

    It is checked before the training, so that none is done in vain.
    """
    require_outside(out)
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            files = {path.name for path in out.iterdir()} if out.exists() else set()
    if others := files - _NETWORK_FILES:
        raise UsageError(
            f"{out} holds other files than a network's: {min(others)}",
            code="usage.out",
            hint="it would be replaced as a whole: name another folder, --out DIR",
        )


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Raise UsageError for a folder that cannot be written."""
    try:
        yield
    except (OSError, StoreError) as error:
        refusal = error.__cause__ if isinstance(error, StoreError) else error
        reason = refusal.strerror if isinstance(refusal, OSError) else str(error)
        raise UsageError(
            f"{out} cannot be written: {reason}",
            code="usage.out",
            hint="name a folder that you may write: --out DIR",
        ) from None
