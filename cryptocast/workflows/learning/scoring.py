"""Forecasts of versions and baselines at the same origins, and their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cryptocast import evaluation, models
from cryptocast.bundles import Bundle, Forecaster
from cryptocast.dataset import Part
from cryptocast.errors import CryptocastError, StateError
from cryptocast.evaluation import Candidate, Diagnosis
from cryptocast.values import Fitted, FloatArray, Windows
from cryptocast.workflows.learning.material import Material
from cryptocast.workflows.learning.scope import served_markets
from cryptocast.workspace import Workspace

WALK = "random_walk"
"""The baseline that everything is compared with, and the last resort."""

_NEEDED = (WALK, "constant")  # skills are relative to them

_SUMMARY = (
    "crps_bp",
    "skill_vs_random_walk",
    "skill_low",
    "skill_high",
    "skill_vs_constant",
    "coverage80",
    "coverage90",
    "calibration",
    "qlike",
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What candidates came to on a part: scores (`schemas.SCORES`) and what pictures show."""

    scores: pl.DataFrame
    diagnoses: tuple[Diagnosis, ...]  # of each version on each market
    left_out: tuple[str, ...]  # baselines that could not be fitted, and why


def score(
    ws: Workspace, material: Material, learned: Part, part: Part, chosen: Sequence[Bundle]
) -> pl.DataFrame:
    """Scores on the origins of a part; the baselines learn from `learned`."""
    return score_all(ws, material, learned, part, chosen).scores


def score_all(
    ws: Workspace, material: Material, learned: Part, part: Part, chosen: Sequence[Bundle]
) -> Scored:
    """The same with the numbers that pictures show; a version is scored on its own markets."""
    levels = ws.settings.model.levels
    meant = {b.card.version: served_markets(ws.settings, b.card) for b in chosen}
    frames: list[pl.DataFrame] = []
    diagnoses: list[Diagnosis] = []
    left_out: dict[str, None] = {}
    for i, market in enumerate(material.markets):
        before, windows = material.market_windows(i, learned), material.market_windows(i, part)
        versions = [
            Candidate(b.card.kind, b.card.version, quantiles(b, windows, levels))
            for b in chosen
            if market in meant[b.card.version]
        ]
        yardsticks = []
        for kind in models.baseline_kinds():
            try:
                yardsticks.append(baseline(kind, before, windows, levels))
            except CryptocastError as error:
                if kind in _NEEDED:
                    raise
                left_out[f"{kind} is left out: {error.message}"] = None
        frames.append(
            evaluation.score([*versions, *yardsticks], windows.targets, levels, market.id)
        )
        walk = next(c.quantiles for c in yardsticks if c.is_walk)
        diagnoses += [evaluation.diagnose(c, walk, windows, levels, market) for c in versions]
    return Scored(pl.concat(frames), tuple(diagnoses), tuple(left_out))


def baseline(kind: str, before: Windows, windows: Windows, levels: Sequence[float]) -> Candidate:
    """A baseline that learned from the windows before, and its forecasts of the others."""
    fields = dataclasses.fields(Windows)
    nothing = Windows(**{f.name: getattr(before, f.name)[:0] for f in fields})
    fitted = _learned(kind, before, nothing, levels)
    return Candidate(kind, None, Forecaster(fitted.onnx).log_returns(windows))


def crps(fitted: Fitted, windows: Windows, levels: Sequence[float]) -> FloatArray:
    """[N, H] CRPS of a model in bp."""
    answers = Forecaster(fitted.onnx).log_returns(windows)
    return evaluation.crps_bp(answers, windows.targets, levels)


def walk_crps(
    train: Windows, validation: Windows, windows: Windows, levels: Sequence[float]
) -> FloatArray:
    """[N, H] CRPS in bp of the random walk that learned from what a model learns from.

    So the two differ in kind only.
    """
    return crps(_learned(WALK, train, validation, levels), windows, levels)


def _learned(kind: str, train: Windows, validation: Windows, levels: Sequence[float]) -> Fitted:
    return models.get(kind).fit(train, validation, levels=levels, params={}, seed=0)


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
    narrow = dataclasses.replace(windows, inputs=windows.inputs[:, -card.lookback :])
    return bundle.forecaster.log_returns(narrow)


def score_rows(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Score rows as plain values; the step of all steps together is "all"."""
    return [
        {**row, "step": "all" if row["step"] is None else row["step"]} for row in scores.to_dicts()
    ]


def summary(scores: pl.DataFrame, version: str, prefix: str = "test") -> Mapping[str, float]:
    """A version's figures over all steps, a mean over the markets, for MLflow."""
    mine = scores.filter((pl.col("version") == version) & pl.col("step").is_null())
    means = mine.select(pl.col(figure).mean() for figure in _SUMMARY).row(0, named=True)
    return {f"{prefix}_{name}": value for name, value in means.items() if value is not None}
