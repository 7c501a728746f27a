"""The fallback ladder: which model version answers at an origin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryptocast import dataset
from cryptocast.bundles import Bundle, Card
from cryptocast.config import Settings
from cryptocast.dataset import Bars
from cryptocast.errors import ModelError
from cryptocast.models import reference_shape
from cryptocast.values import (
    BUILTIN_RANDOM_WALK,
    FEATURES,
    Deployment,
    FloatArray,
    IntArray,
    Market,
    ServedModel,
    Windows,
)

Answer = tuple[ServedModel, FloatArray]
"""The model that answered, and its [H, Q] quantiles of the log-return from the last close."""

# No sound model expects the next bars to move this many times more, or less, than those before.
_MOST_WIDENING = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Origins of one market to be answered, with the bars to answer from."""

    market: Market
    bars: Bars  # of this market, or of the same pair at another venue
    at: IntArray  # [N] the index of the first bar after each origin


@dataclass(frozen=True, slots=True, eq=False)
class _Ascent:
    """A request on its way up the ladder: for each origin its answer, or why it has none yet."""

    request: Request
    versions: Sequence[str]
    answers: list[Answer | None]
    reasons: list[str | None]

    @property
    def unanswered(self) -> list[int]:
        """The places in the request that have no answer yet."""
        return [place for place, answer in enumerate(self.answers) if answer is None]

    def refuse(self, place: int, reason: str | None) -> None:
        """Note why a version did not answer; the first reason stays."""
        self.reasons[place] = self.reasons[place] or reason


class Ladder:
    """The versions that may answer for each market, best first, and last the random walk.

    The first version that can answer an origin does. Any other than the first is labelled
    with the reason.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[str], Bundle],
        versions: Mapping[Market, Sequence[str]],
        *,
        graphs: Mapping[str, str],
        none: str = "no_production",
        in_sample: bool = False,
    ) -> None:
        """Load every version once; `load` raises ModelError for a damaged bundle.

        `graphs` are the hashes of the graphs that were deployed under the versions' numbers.
        `none` is why the random walk stands in for a market without a version. With
        `in_sample`, versions also answer at origins that they have learned from.
        """
        self._settings = settings
        # [H, Q] the random walk's quantiles in units of sigma * sqrt(step).
        self._shape = reference_shape(settings.model.levels, settings.model.horizon)
        self._versions = versions
        self._none = none
        self._in_sample = in_sample
        named = dict.fromkeys(version for row in versions.values() for version in row)
        self._rungs = {version: _rung(settings, load, version, graphs) for version in named}
        bundles = [rung for rung in self._rungs.values() if isinstance(rung, Bundle)]
        lookback = max((b.card.lookback for b in bundles), default=settings.model.lookback)
        self.recent_bars = dataset.recent_bars(lookback)
        self.context_bars = max([self.recent_bars, *(b.card.context_bars for b in bundles)])

    def versions(self, market: Market) -> tuple[str, ...]:
        """Return all that may answer for a market, the random walk last."""
        return *self._versions.get(market, ()), BUILTIN_RANDOM_WALK

    def of(self, markets: Iterable[Market]) -> Ladder:
        """Return the ladder of these markets alone, to be sent to a worker."""
        alone = copy.copy(self)
        alone._versions = {market: self._versions.get(market, ()) for market in markets}
        named = dict.fromkeys(version for row in alone._versions.values() for version in row)
        alone._rungs = {version: self._rungs[version] for version in named}
        return alone

    def answers(self, requests: Sequence[Request]) -> list[list[Answer]]:
        """Return the answer to each origin of each request.

        Each version is asked once for all markets.
        """
        ascents = []
        for request in requests:
            versions, count = self._versions.get(request.market, ()), len(request.at)
            reason = None if versions else self._none
            ascents.append(_Ascent(request, versions, [None] * count, [reason] * count))
        for height in range(max((len(ascent.versions) for ascent in ascents), default=0)):
            together: dict[str, list[int]] = {}
            for i, ascent in enumerate(ascents):
                if height < len(ascent.versions):
                    together.setdefault(ascent.versions[height], []).append(i)
            for version, numbers in together.items():
                self._ask(self._rungs[version], {i: ascents[i] for i in numbers})
        for ascent in ascents:
            self._let_walk(ascent)
        return [[answer for answer in ascent.answers if answer is not None] for ascent in ascents]

    def _ask(self, rung: Bundle | str, ascents: Mapping[int, _Ascent]) -> None:
        """Let a version answer the origins that have no answer yet; note why it cannot."""
        places: list[tuple[_Ascent, int]] = []
        asked: list[tuple[Bars, IntArray, int]] = []
        for number, ascent in ascents.items():
            bars, at, places_left = ascent.request.bars, ascent.request.at, ascent.unanswered
            reasons = self._unfit(rung, bars, at[places_left])
            fit = [k for k, reason in zip(places_left, reasons, strict=True) if reason is None]
            for place, reason in zip(places_left, reasons, strict=True):
                ascent.refuse(place, reason)
            if fit and isinstance(rung, Bundle):
                asked.append((bars, at[fit], number))
                places += [(ascent, place) for place in fit]
        if not asked or not isinstance(rung, Bundle):
            return
        windows = dataset.before_each(asked, rung.card.lookback)
        try:
            quantiles = rung.forecaster.log_returns(windows)
            if quantiles.shape[1:] != self._shape.shape:
                raise ModelError("the graph has another shape", code="model.bundle_damaged")
        except ModelError as error:  # it was read, but cannot be run
            for ascent, place in places:
                ascent.refuse(place, _reason(error))
            return
        sane = self._sane(quantiles, windows)
        for (ascent, place), answer, is_sane in zip(places, quantiles, sane, strict=True):
            if is_sane:
                card = rung.card
                model = ServedModel(card.version, card.kind, ascent.reasons[place])
                ascent.answers[place] = model, answer
            else:
                ascent.refuse(place, "output_not_sane")

    def _let_walk(self, ascent: _Ascent) -> None:
        """Let the random walk, which needs no training, answer what no version has answered."""
        places_left = ascent.unanswered
        if not places_left:
            return
        windows = dataset.before(ascent.request.bars, ascent.request.at[places_left], 1)
        quantiles = windows.unit(len(self._shape))[..., None] * self._shape  # [N, H, Q]
        for place, answer in zip(places_left, quantiles, strict=True):
            model = ServedModel(BUILTIN_RANDOM_WALK, "random_walk", ascent.reasons[place])
            ascent.answers[place] = model, answer

    def _unfit(self, rung: Bundle | str, bars: Bars, at: IntArray) -> Sequence[str | None]:
        """Return [N] why a version cannot answer at these origins, None if it can."""
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

    def _sane(self, quantiles: FloatArray, windows: Windows) -> NDArray[np.bool_]:
        """Return [N] whether quantiles are finite and rising and no width is out of proportion."""
        shape = self._shape
        usual = windows.unit(len(shape)) * (shape[:, -1] - shape[:, 0])
        with np.errstate(invalid="ignore"):
            widening = (quantiles[..., -1] - quantiles[..., 0]) / usual
            proper = (widening < _MOST_WIDENING) & (widening > 1 / _MOST_WIDENING)
            rising = (np.diff(quantiles) > 0).all(axis=(1, 2))
        return np.asarray(np.isfinite(quantiles).all(axis=(1, 2)) & rising & proper.all(axis=1))


def production_versions(
    deployments: Mapping[Market, Deployment],
) -> dict[Market, list[str]]:
    """Return for each market the version in production, then the one before it."""
    return {
        market: [v for v in (row.model_version, row.previous_version) if v is not None]
        for market, row in deployments.items()
    }


def _rung(
    settings: Settings, load: Callable[[str], Bundle], version: str, graphs: Mapping[str, str]
) -> Bundle | str:
    """Return the frozen version, or why it cannot serve under these settings."""
    try:
        bundle = load(version)
    except ModelError as error:
        return _reason(error)
    if graphs.get(version, bundle.graph) != bundle.graph:
        return "bundle_damaged"  # another model, under that version's number
    return mismatch(bundle.card, settings) or bundle


def mismatch(card: Card, settings: Settings) -> str | None:
    """Return why a version's forecasts are not what the settings ask for, or None if they are."""
    if card.levels != settings.model.levels or card.horizon != settings.model.horizon:
        return "settings_mismatch"
    market = settings.markets()[0]
    if card.interval != market.interval:
        return "interval_mismatch"
    context = dataset.context_bars(card.lookback, market.interval_seconds, card.features)
    if not set(card.features) <= set(FEATURES) or card.context_bars != context:
        return "features_mismatch"
    return None


def _reason(error: ModelError) -> str:
    return error.code.removeprefix("model.")
