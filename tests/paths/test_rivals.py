"""The rivals of our paths are sound: their moves have the size that their past says."""

from __future__ import annotations

import numpy as np
import pytest

from cryptocast.paths.rivals import RIVALS, fhs, garch_t, gbm

LEADS = 288


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.mark.parametrize("name", RIVALS)
def test_an_even_past_goes_on_as_it_was(name: str) -> None:
    past = 0.001 * rng().standard_normal(28 * LEADS)
    moves = RIVALS[name](past, (400, LEADS), rng())
    assert moves.shape == (400, LEADS)
    assert moves.std() == pytest.approx(0.001, rel=0.25)
    assert abs(moves.mean()) < 1e-5


@pytest.mark.parametrize("name", RIVALS)
def test_a_short_or_still_past_is_no_fault(name: str) -> None:
    for past in (np.zeros(3000), 0.001 * rng().standard_normal(30)):
        assert np.isfinite(RIVALS[name](past, (10, LEADS), rng())).all()


def test_gbm_follows_the_last_hours_and_garch_returns_to_the_weeks_mean() -> None:
    noise = rng().standard_normal(7 * LEADS)
    past = np.where(np.arange(len(noise)) >= len(noise) - 36, 0.003, 0.001) * noise
    wild, fading = gbm(past, (400, LEADS), rng()), garch_t(past, (400, LEADS), rng())
    assert wild[:, -12:].std() == pytest.approx(wild[:, :12].std(), rel=0.1)
    assert wild.std() > 0.002
    assert fading[:, -12:].std() < 0.002


def test_garch_finds_how_volatility_goes_on() -> None:
    random, variance, past = rng(), 1e-6, []
    for _ in range(7 * LEADS):
        past.append(np.sqrt(variance) * random.standard_normal())
        variance = 0.03e-6 + 0.12 * past[-1] ** 2 + 0.85 * variance
    moves = garch_t(np.array(past), (2000, LEADS), rng())
    squares = moves**2
    first = [np.corrcoef(squares[:, i], squares[:, i + 1])[0, 1] for i in range(40)]
    assert np.mean(first) > 0.08  # large moves follow large ones
    assert moves[:, 0].std() == pytest.approx(np.sqrt(variance), rel=0.2)


def test_historical_simulation_keeps_the_day() -> None:
    profile = np.where(np.arange(LEADS) < 144, 2.0, 0.5)
    past = np.tile(profile, 28) * 0.001 * rng().standard_normal(28 * LEADS)
    moves = fhs(past, (400, LEADS), rng())
    assert moves[:, 20:120].std() > 2.5 * moves[:, 170:270].std()
