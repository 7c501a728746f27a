"""Who answers a tick: the fallback ladder."""

from __future__ import annotations

import numpy as np

from cryptocast import bundles, dataset
from cryptocast.bundles import Bundle
from cryptocast.dataset import Bars
from cryptocast.errors import ModelError
from cryptocast.models import reference_shape
from cryptocast.values import BUILTIN_RANDOM_WALK, FEATURES, Deployment, FloatArray, ServedModel
from cryptocast.workspace import Workspace


class Ladder:
    """Production, then the version before it, then the random walk that is built in.

    The first that can answer does; whatever is not production carries the reason.
    """

    def __init__(self, ws: Workspace, deployment: Deployment, now: float) -> None:
        self._settings = ws.settings
        self._now = now
        self._reason: str | None = None
        self._bundle: Bundle | None = None
        for version in (deployment.model_version, deployment.previous_version):
            if version is None or self._bundle is not None:
                continue
            try:
                bundle = bundles.load(ws.bundle_folder(version))
            except ModelError as error:
                self._reason = self._reason or error.code.removeprefix("model.")
                continue
            if misfit := self._misfit(bundle):
                self._reason = self._reason or misfit
                continue
            self._bundle = bundle
        lookback = self._bundle.card.lookback if self._bundle else self._settings.model.lookback
        self.context_bars = dataset.context_bars(lookback)
        self._lookback = lookback

    def answer(self, bars: Bars) -> tuple[ServedModel, FloatArray]:
        """Who answers at the end of the bars, and [H, Q] log-return quantiles."""
        windows = dataset.at_origin(bars, self._lookback)
        reason = self._reason
        if self._bundle is not None:
            unfit = dataset.unfit(bars, self._lookback, self._settings.loop.max_stale_bars)
            if unfit is None:
                quantiles = self._bundle.forecaster.log_returns(windows)[0]
                if np.isfinite(quantiles).all() and (np.diff(quantiles) > 0).all():
                    card = self._bundle.card
                    return ServedModel(card.version, card.kind, reason), quantiles
                unfit = "output_not_sane"
            reason = reason or unfit
        shape = reference_shape(self._settings.model.levels, self._settings.model.horizon)
        unit = windows.unit(len(shape))[0][:, None]
        return ServedModel(BUILTIN_RANDOM_WALK, "random_walk", reason), shape * unit

    def _misfit(self, bundle: Bundle) -> str | None:
        card, model = bundle.card, self._settings.model
        if card.levels != model.levels or card.horizon != model.horizon:
            return "settings_mismatch"
        if card.features != FEATURES:
            return "features_mismatch"
        if card.context_bars != dataset.context_bars(card.lookback):
            return "features_mismatch"
        if card.data_end > self._now:
            return "learned_later"  # with --as-of: it has seen what it would forecast
        if card.interval != self._settings.markets()[0].interval:
            return "interval_mismatch"
        return None
