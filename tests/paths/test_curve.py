"""The scale curve: what it learns, what it looks at, and that it never sees the future."""

from __future__ import annotations

import dataclasses

import numpy as np

from cryptocast.dataset import Bars, lay_out
from cryptocast.paths.curve import ScaleCurve
from cryptocast.paths.fitting import adapt_curve, fill_library, fit_curve
from cryptocast.paths.model import shipped
from cryptocast.paths.predictors import CONTEXT_DAYS, predictors
from cryptocast.sources.sim import simulate
from cryptocast.values import Candles, Market

BTC = Market("sim", "BTC", "EUR", "5m")
DAYS = np.arange(19_900, 19_935)
LEADS = 288


def laid_out(candles: Candles, days: np.ndarray = DAYS) -> Bars:
    return lay_out(candles, BTC, int(days[0]) * 86_400, (int(days[-1]) + 1) * 86_400)


def recorded(symbol: str = "BTC/EUR") -> Candles:
    return simulate(1, Market.of(symbol, "sim", "5m"), DAYS)


def scaled(candles: Candles, factor: float) -> Candles:
    """The same candles with every log-price times a factor."""
    prices = {
        name: np.exp(factor * np.log(getattr(candles, name)))
        for name in ("open", "high", "low", "close")
    }
    return dataclasses.replace(candles, **prices)


def sizes(bars: Bars, curve: ScaleCurve, *at: int) -> np.ndarray:
    return curve.sizes(predictors(bars, np.array(at)))


def test_what_happens_after_an_origin_changes_nothing() -> None:
    candles, at = recorded(), 30 * LEADS
    moment = int(DAYS[0]) * 86_400 + 300 * at
    later = candles.open_time >= moment
    spoiled = dataclasses.replace(
        candles,
        close=np.where(later, 7.0, candles.close),
        high=np.where(later, 9.0, candles.high),
        low=np.where(later, 5.0, candles.low),
        volume=np.where(later, 1.0, candles.volume),
    )
    curve = shipped().curve
    known = sizes(laid_out(candles), curve, at)
    assert (known == sizes(laid_out(spoiled), curve, at)).all()


def test_only_the_last_four_weeks_count_and_one_origin_is_as_many() -> None:
    bars, at = laid_out(recorded()), 34 * LEADS
    first = int(bars.open_time[at - CONTEXT_DAYS * LEADS - 1])  # one more: its return
    short = lay_out(recorded(), BTC, first, int(bars.open_time[at]))
    curve = shipped().curve
    alone = sizes(short, curve, len(short))[0]
    assert np.allclose(sizes(bars, curve, 31 * LEADS, at)[1], alone, rtol=1e-5)


def test_moves_of_ten_times_the_size_have_ten_times_the_curve() -> None:
    candles, curve, at = recorded(), shipped().curve, 30 * LEADS
    small, large = (sizes(laid_out(each), curve, at) for each in (candles, scaled(candles, 10.0)))
    assert np.allclose(large / small, 10.0, rtol=0.01)


def test_a_market_of_two_hours_gets_a_curve_of_its_size() -> None:
    candles = recorded().take(slice(24))
    bars = lay_out(candles, BTC, int(candles.open_time[0]), int(candles.open_time[-1]) + 300)
    curve = sizes(bars, shipped().curve, len(bars))[0]
    mean = np.abs(bars.log_return[1:]).mean()
    assert curve.shape == (LEADS,)
    assert 0.2 < curve.mean() / mean < 5


def test_a_price_that_stands_still_and_no_volume_are_no_fault() -> None:
    candles = recorded()
    still = np.full(len(candles), 5.0)
    flat = Candles.of(candles.open_time, still, still, still, still)
    assert (sizes(laid_out(flat), shipped().curve, 30 * LEADS) > 0).all()


def test_a_fitted_curve_has_the_size_of_the_moves_that_it_learned_from() -> None:
    series = [laid_out(recorded(symbol)) for symbol in ("BTC/EUR", "ETH/EUR")]
    curve = fit_curve(series)
    library = fill_library(series, curve, stride=97)
    assert library.codes.shape[1:] == (2, LEADS)
    at = np.arange(8 * LEADS, 34 * LEADS, 97)
    moves = np.abs(series[0].log_return[at[:, None] + np.arange(LEADS)])
    assert abs(moves.mean() / sizes(series[0], curve, *at).mean() - 1) < 0.1


def test_a_shared_curve_is_moved_towards_candles_that_it_does_not_fit() -> None:
    days = np.arange(19_900, 19_962)
    series = [laid_out(simulate(1, Market.of("BTC/EUR", "sim", "5m"), days), days)]
    true = adapt_curve(series, shipped().curve).curve or shipped().curve
    narrow = dataclasses.replace(true, coefficients=true.coefficients.copy())
    narrow.coefficients[:, 0] -= 0.4
    moved = adapt_curve(series, narrow)
    assert moved.curve is not None
    assert moved.gain is not None
    assert moved.error is not None
    assert moved.gain > moved.error > 0
    at = 50 * LEADS
    means = [sizes(series[0], c, at).mean() for c in (narrow, moved.curve, true)]
    assert means[0] < 0.75 * means[2]
    assert means[1] / means[2] > 0.85
    assert moved.reason.startswith("its own is better on the newest 1")
    assert moved.reason.endswith(" of 62 days")
    again = adapt_curve(series, moved.curve)  # towards the same candles: little is left
    assert again.gain is not None
    assert again.gain < moved.gain / 5


def test_a_few_weeks_move_no_curve() -> None:
    made = adapt_curve([laid_out(recorded())], shipped().curve)
    assert (made.curve, made.gain) == (None, None)
    assert made.reason == "35 days of candles, 60 are needed"
