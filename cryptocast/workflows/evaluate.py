"""evaluate: scores of versions and baselines on stored candles, all on the same origins."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cryptocast import evaluation, models
from cryptocast.bundles import Bundle, Forecaster, from_document
from cryptocast.dataset import Part
from cryptocast.errors import StateError, UsageError
from cryptocast.evaluation import Candidate
from cryptocast.values import FloatArray, Windows
from cryptocast.workflows.material import Material, gather
from cryptocast.workspace import Workspace

_DAY = 86_400


@dataclass(frozen=True, slots=True)
class EvaluateReport:
    """Scores (`schemas.SCORES`) over the origins of `[start, end)`."""

    start: int
    end: int
    in_sample: tuple[str, ...]  # versions that learned from some of these candles
    scores: pl.DataFrame

    def rows(self) -> list[dict[str, Any]]:
        """The scores as the contract writes them: the step of all steps together is "all"."""
        return score_rows(self.scores)


def evaluate(
    ws: Workspace,
    *,
    versions: Sequence[str] = (),
    days: float | None = None,
    test_bars: int | None = None,
) -> EvaluateReport:
    """Score versions (default: production and the newest of each kind) and the baselines.

    Over the last `test_bars` candles (default `[data] test_bars`), or the last `days`. The
    baselines learn from the `[data] days` before. Raises StateError for an unknown version.
    """
    if days and test_bars:
        raise UsageError("--days goes not with --test-bars", hint="name one of them")
    interval = ws.markets()[0].interval_seconds
    bars = round(days * _DAY) // interval if days else test_bars or ws.settings.data.test_bars
    total = bars * interval / _DAY + ws.settings.data.days
    chosen = [version_bundle(ws, version) for version in (versions or _usual(ws))]
    lookback = max((b.card.lookback for b in chosen), default=ws.settings.model.lookback)
    material = gather(ws, lookback=lookback, days=total, test_bars=bars)
    part = Part(max(material.end - bars * interval, material.start), material.end)
    learned = Part(material.start, part.start)
    if learned.bars(interval) <= lookback:
        have = (material.end - material.start) // interval
        raise StateError(
            f"there are {have} candles, too few to learn baselines before the last {bars}",
            code="state.not_enough_candles",
            hint=f"cryptocast fetch --days {math.ceil(total)}, or a smaller --days or --test-bars",
        )
    scores = score(ws, material, learned, part, chosen)
    in_sample = tuple(b.card.version for b in chosen if b.card.data_end > part.start)
    return EvaluateReport(part.start, part.end, in_sample, scores)


def score(
    ws: Workspace, material: Material, learned: Part, part: Part, chosen: Sequence[Bundle]
) -> pl.DataFrame:
    """Scores on the origins of a part; the baselines learn from `learned`."""
    levels = ws.settings.model.levels
    frames = []
    for i, market in enumerate(material.markets):
        before, windows = material.market_windows(i, learned), material.market_windows(i, part)
        candidates = [
            Candidate(b.card.kind, b.card.version, quantiles(b, windows, levels)) for b in chosen
        ]
        candidates += baselines(before, windows, levels)
        frames.append(evaluation.score(candidates, windows.targets, levels, market.id))
    return pl.concat(frames)


def baselines(
    before: Windows, windows: Windows, levels: Sequence[float]
) -> tuple[Candidate, Candidate]:
    """The random walk and the constant distribution, learned from the windows before."""
    shape = models.symmetric(before.standardised, levels)
    walk = shape * windows.unit(len(shape))[..., None]
    # The shape is found in the unit of a typical origin, so that its least spacing holds.
    sigma = before.sigma if len(before) else windows.sigma[:1]
    typical = (np.median(sigma) if len(sigma) else 1.0) * np.sqrt(np.arange(1, len(shape) + 1))
    flat = models.symmetric(before.targets / typical, levels) * typical[:, None]
    constant = flat[None].repeat(len(windows), axis=0)
    return Candidate("random_walk", None, walk), Candidate("constant", None, constant)


def quantiles(bundle: Bundle, windows: Windows, levels: Sequence[float]) -> FloatArray:
    """[N, H, Q] a version's log-return quantiles; StateError where it answers other questions."""
    card = bundle.card
    horizon = windows.targets.shape[1]
    if card.levels != tuple(levels) or card.horizon != horizon:
        raise StateError(
            f"version {card.version} forecasts {card.horizon} steps at {len(card.levels)} levels, "
            f"the settings ask for {horizon} at {len(levels)}",
            code="state.other_version",
            hint="cryptocast train makes one that fits",
        )
    return bundle.forecaster.log_returns(_narrow(windows, card.lookback))


def version_bundle(ws: Workspace, version: str) -> Bundle:
    """Load a version from MLflow."""
    registry = ws.registry()
    return Bundle(from_document(registry.card(version)), Forecaster(registry.onnx(version)))


def score_rows(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Score rows as plain values; the step of all steps together is "all"."""
    return [
        {**row, "step": "all" if row["step"] is None else row["step"]} for row in scores.to_dicts()
    ]


def summary(scores: pl.DataFrame, version: str) -> Mapping[str, float]:
    """A version's figures over all steps, a mean over the markets, for MLflow."""
    figures = ("crps_bp", "skill_vs_random_walk", "skill_vs_constant", "coverage80", "coverage90")
    mine = scores.filter((pl.col("version") == version) & pl.col("step").is_null())
    means = mine.select(pl.col(figure).mean() for figure in figures).row(0, named=True)
    return {f"test_{name}": value for name, value in means.items() if value is not None}


def _narrow(windows: Windows, lookback: int) -> Windows:
    """The same origins with the last `lookback` bars of each window."""
    return dataclasses.replace(windows, inputs=windows.inputs[:, -lookback:])


def _usual(ws: Workspace) -> list[str]:
    with ws.store.read() as reader:
        production = reader.deployment()
    chosen: dict[str, None] = {production.model_version: None} if production else {}
    kinds: set[str] = set()
    for version in ws.registry().versions():
        if version.kind not in kinds:
            kinds.add(version.kind)
            chosen[version.version] = None
    return list(chosen)
