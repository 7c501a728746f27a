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
from cryptocast.seams import Engine, Progress
from cryptocast.values import Epoch, Fitted, parse_path
from cryptocast.workflows.futures.fitting import path_model
from cryptocast.workflows.futures.simulating import FOLDER
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
class PretrainReport:
    """A base network, and its scores on the newest time, which it was not trained on."""

    folder: Path
    interval: str
    series: int
    origins: int
    held_out_from: int  # Unix seconds
    scores: list[dict[str, Any]]  # on the held-out time; a row per series and step, and "all"
    evidence: Mapping[str, float]
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

    Candles that are not closed `now` (Unix seconds) are left out. The network is trained on the
    older part of the time first, to say what it is worth on the newest (every market is cut at
    the same moment), and then on all of it. Finer candles are put together to those of
    `[market] interval`. After an interruption, the same command continues where it stopped. Raises
    ConfigError, SourceError, StateError if there are too few candles, and UsageError if `out`
    cannot be written, or holds other files than a network's.
    """
    began, out = time.monotonic(), parse_path(out).resolve()
    _require_place(out)
    with contextlib.closing(open_engine(settings.engine)) as engine:
        progress.stage("read candles")
        series = read_series(engine, settings, data, now)
        cut = held_out_from(series, settings.pretrain.validation_share)
        training = Pretraining(settings, base_card(settings, series, seed, origin), out, began)
        scores, fitted, origins = _trained(
            engine, training, series, PretrainRule(settings, now, cut), progress
        )
    progress.stage("write the bundle")
    evidence, horizon = base_evidence(scores), Forecaster(fitted.onnx).horizon
    card = dataclasses.replace(training.card, evidence=evidence, horizon=horizon)
    whole = path_model(series, origin or "")
    with _writing(out):
        bundles.freeze(out, card, fitted.onnx)
        if whole is not None:
            whole.save(out / FOLDER)
    training.forget()
    return PretrainReport(
        folder=out,
        interval=settings.market.interval,
        series=len(series),
        origins=origins,
        held_out_from=cut,
        scores=scores,
        evidence=evidence,
        seconds=time.monotonic() - began,
    )


def _trained(
    engine: Engine,
    training: Pretraining,
    series: Sequence[Recorded],
    rule: PretrainRule,
    progress: Progress,
) -> tuple[list[dict[str, Any]], Fitted, int]:
    """Do both trainings; return the first one's scores, the second network and its origins."""
    settings, show = rule.settings, _epoch_shower(progress)
    origins = 0

    def trainings() -> Iterator[BaseTraining]:
        nonlocal origins
        yield training.of([r.series(settings, r.start, rule.cut) for r in series], OLDER, show)
        everything = [r.series(settings, r.start, r.end) for r in series]
        origins = sum(len(one.newest) for one in everything)
        yield training.of(everything, ALL, show, [r.far(settings) for r in series])

    networks = engine.map(train_base, trainings(), settings)
    progress.stage("train on the older candles")
    older = Forecaster(next(networks).onnx)
    progress.stage("score on the newest")
    scored = (ScoredSeries(recorded, older) for recorded in series)
    scores = [row for rows in engine.map(base_scores, scored, rule) for row in rows]
    progress.stage("train on all candles")
    return scores, next(networks), origins


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
