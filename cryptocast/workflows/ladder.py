"""Who answers a tick: the fallback ladder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.bundles import Bundle
from cryptocast.dataset import Bars
from cryptocast.errors import ModelError
from cryptocast.models import reference_shape
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    FEATURES,
    Deployment,
    FloatArray,
    IntArray,
    ServedModel,
    Windows,
)
from cryptocast.workspace import Workspace

Answer = tuple[ServedModel, FloatArray]
"""Who answered, and [H, Q] quantiles of the log-return from the last close."""

# No model of ours says that the next bars move so much more, or less, than the bars before.
_MOST_WIDENING = 50.0


class Ladder:
    """Versions in the order of their right to answer; after them the random walk that is built in.

    The first that can answer an origin does. Whatever is not the first carries the reason.
    """

    def __init__(
        self,
        ws: Workspace,
        versions: Sequence[str],
        *,
        reason: str | None = None,
        in_sample: bool = False,
    ) -> None:
        """`reason`: why the first of the versions is already a stand-in.

        `in_sample`: origins before the end of what a version learned from are its too.
        """
        self._settings = ws.settings
        self._reason = reason
        self._in_sample = in_sample
        self._rungs = [self._rung(ws, version) for version in versions]
        lookbacks = [rung.card.lookback for rung in self._rungs if isinstance(rung, Bundle)]
        self.context_bars = dataset.context_bars(
            max(lookbacks, default=self._settings.model.lookback)
        )

    @classmethod
    def of(cls, ws: Workspace, deployment: Deployment, *, in_sample: bool = False) -> Ladder:
        """Production, then the version before it."""
        named = (deployment.model_version, deployment.previous_version)
        versions = [version for version in named if version is not None]
        return cls(ws, versions, in_sample=in_sample)

    def answers(self, asked: Sequence[tuple[Bars, IntArray]]) -> list[list[Answer]]:
        """For each market's bars, who answers at the origins before bars `at` [N], and what.

        Each version is asked once for all markets.
        """
        why: list[list[str | None]] = [[self._reason] * len(at) for _, at in asked]
        found: list[list[Answer | None]] = [[None] * len(at) for _, at in asked]
        for rung in self._rungs:
            self._ask(rung, asked, why, found)
        for (bars, at), reasons, answers in zip(asked, why, found, strict=True):
            left = [k for k, answer in enumerate(answers) if answer is None]
            if left:
                for k, quantiles in zip(left, self._walk(bars, at[left]), strict=True):
                    stand_in = ServedModel(BUILTIN_RANDOM_WALK, "random_walk", reasons[k])
                    answers[k] = stand_in, quantiles
        return [[answer for answer in answers if answer is not None] for answers in found]

    def _ask(
        self,
        rung: Bundle | str,
        asked: Sequence[tuple[Bars, IntArray]],
        why: list[list[str | None]],
        found: list[list[Answer | None]],
    ) -> None:
        """Let a version answer what it can of what is not answered yet; note why not the rest."""
        places: list[tuple[int, int]] = []
        parts: list[Windows] = []
        for i, (bars, at) in enumerate(asked):
            left = [k for k, answer in enumerate(found[i]) if answer is None]
            reasons = self._unfit(rung, bars, at[left])
            fit = [k for k, reason in zip(left, reasons, strict=True) if reason is None]
            for k, reason in zip(left, reasons, strict=True):
                why[i][k] = why[i][k] or reason
            if fit and isinstance(rung, Bundle):
                parts.append(dataset.before(bars, at[fit], rung.card.lookback, i))
                places += [(i, k) for k in fit]
        if not parts or not isinstance(rung, Bundle):
            return
        windows = Windows.concatenate(parts)
        quantiles = rung.forecaster.log_returns(windows)
        for (i, k), answer, sane in zip(
            places, quantiles, self._sane(quantiles, windows), strict=True
        ):
            if sane:
                model = ServedModel(rung.card.version, rung.card.kind, why[i][k])
                found[i][k] = model, answer
            else:
                why[i][k] = why[i][k] or "output_not_sane"

    def _unfit(self, rung: Bundle | str, bars: Bars, at: IntArray) -> list[str | None]:
        """[N] why a version cannot answer at these origins."""
        if isinstance(rung, str):
            return [rung] * len(at)
        reasons = dataset.unfit(bars, at, rung.card.lookback, self._settings.loop.max_stale_bars)
        if self._in_sample:
            return reasons
        origins = bars.first + at * bars.market.interval_seconds
        return [
            "learned_later" if learned else reason
            for learned, reason in zip(rung.card.data_end > origins, reasons, strict=True)
        ]

    def _walk(self, bars: Bars, at: IntArray) -> FloatArray:
        """[N, H, Q] the random walk's quantiles, which need no training."""
        shape = reference_shape(self._settings.model.levels, self._settings.model.horizon)
        return np.asarray(dataset.before(bars, at, 1).unit(len(shape))[..., None] * shape)

    def _sane(self, quantiles: FloatArray, windows: Windows) -> NDArray[np.bool_]:
        """[N] whether quantiles are finite, rising, and no width is out of all proportion."""
        shape = reference_shape(self._settings.model.levels, self._settings.model.horizon)
        usual = windows.unit(len(shape)) * (shape[:, -1] - shape[:, 0])
        with np.errstate(invalid="ignore"):
            widening = (quantiles[..., -1] - quantiles[..., 0]) / usual
            proper = (widening < _MOST_WIDENING) & (widening > 1 / _MOST_WIDENING)
            rising = (np.diff(quantiles) > 0).all(axis=(1, 2))
        return np.asarray(np.isfinite(quantiles).all(axis=(1, 2)) & rising & proper.all(axis=1))

    def _rung(self, ws: Workspace, version: str) -> Bundle | str:
        """The frozen version, or why it cannot serve in this workspace."""
        try:
            bundle = ws.bundle(version)
        except ModelError as error:
            return error.code.removeprefix("model.")
        card, model = bundle.card, self._settings.model
        if card.levels != model.levels or card.horizon != model.horizon:
            return "settings_mismatch"
        if card.features != FEATURES or card.context_bars != dataset.context_bars(card.lookback):
            return "features_mismatch"
        if card.interval != self._settings.markets()[0].interval:
            return "interval_mismatch"
        return bundle
