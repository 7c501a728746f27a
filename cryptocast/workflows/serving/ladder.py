"""Who answers a tick: the fallback ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.bundles import Bundle
from cryptocast.dataset import Bars
from cryptocast.errors import ModelError
from cryptocast.models import reference_shape
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    Deployment,
    FloatArray,
    IntArray,
    Market,
    ServedModel,
    Windows,
)
from cryptocast.workflows.learning.versions import mismatch
from cryptocast.workspace import Workspace

Answer = tuple[ServedModel, FloatArray]
"""Who answered, and [H, Q] quantiles of the log-return from the last close."""

# No model of ours says that the next bars move so much more, or less, than the bars before.
_MOST_WIDENING = 50.0


class Ladder:
    """For each market versions in the order of their right to answer; then the built-in walk.

    The first that can answer an origin does. Whatever is not the first carries the reason.
    """

    def __init__(
        self,
        ws: Workspace,
        versions: Mapping[Market, Sequence[str]],
        *,
        none: str = "no_production",
        in_sample: bool = False,
    ) -> None:
        """`none`: why the random walk stands in for a market that has no version.

        `in_sample`: origins before the end of what a version learned from are its too.
        """
        self._settings = ws.settings
        self._versions = versions
        self._none = none
        self._in_sample = in_sample
        named = dict.fromkeys(version for row in versions.values() for version in row)
        self._rungs = {version: self._rung(ws, version) for version in named}
        bundles = [rung for rung in self._rungs.values() if isinstance(rung, Bundle)]
        self.context_bars = dataset.context_bars(
            max((b.card.lookback for b in bundles), default=self._settings.model.lookback)
        )

    @classmethod
    def of(
        cls, ws: Workspace, deployments: Mapping[Market, Deployment], *, in_sample: bool = False
    ) -> Ladder:
        """Each market's production, then the version before it."""
        versions = {
            market: [v for v in (row.model_version, row.previous_version) if v is not None]
            for market, row in deployments.items()
        }
        return cls(ws, versions, in_sample=in_sample)

    def answers(self, asked: Sequence[tuple[Market, Bars, IntArray]]) -> list[list[Answer]]:
        """For each market who answers at the origins before its bars `at` [N], and what.

        The bars may be another venue's. Each version is asked once for all markets.
        """
        ladders = [self._versions.get(market, ()) for market, _, _ in asked]
        why: list[list[str | None]] = [
            [None if ladder else self._none] * len(at)
            for ladder, (_, _, at) in zip(ladders, asked, strict=True)
        ]
        found: list[list[Answer | None]] = [[None] * len(at) for _, _, at in asked]
        for height in range(max(map(len, ladders), default=0)):
            together: dict[str, list[int]] = {}
            for i, ladder in enumerate(ladders):
                if height < len(ladder):
                    together.setdefault(ladder[height], []).append(i)
            for version, places in together.items():
                self._ask(self._rungs[version], places, asked, why, found)
        for (_, bars, at), reasons, answers in zip(asked, why, found, strict=True):
            left = [k for k, answer in enumerate(answers) if answer is None]
            if left:
                for k, quantiles in zip(left, self._walk(bars, at[left]), strict=True):
                    stand_in = ServedModel(BUILTIN_RANDOM_WALK, "random_walk", reasons[k])
                    answers[k] = stand_in, quantiles
        return [[answer for answer in answers if answer is not None] for answers in found]

    def _ask(
        self,
        rung: Bundle | str,
        those: Sequence[int],
        asked: Sequence[tuple[Market, Bars, IntArray]],
        why: list[list[str | None]],
        found: list[list[Answer | None]],
    ) -> None:
        """Let a version answer what it can of what is not answered yet; note why not the rest."""
        places: list[tuple[int, int]] = []
        parts: list[Windows] = []
        for i in those:
            _, bars, at = asked[i]
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
        return mismatch(bundle.card, self._settings) or bundle
