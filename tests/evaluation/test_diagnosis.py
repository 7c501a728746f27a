from __future__ import annotations

import numpy as np
import pytest

from cryptocast.evaluation import Candidate, Diagnosis, crps_bp, diagnose, metrics
from cryptocast.values import FloatArray, Windows
from support.synthetic import BAR, LEVELS, MARKET, bars, windows

JUDGED = windows(bars(330, 4), 20, 320)
SHAPE = np.array(LEVELS) - 0.5


def spread(width: float) -> FloatArray:
    return np.asarray(JUDGED.unit(6)[..., None] * width * SHAPE)


MINE, WALK = spread(2.5), spread(3.5)


def look(judged: Windows = JUDGED, quantiles: FloatArray = MINE) -> Diagnosis:
    candidate = Candidate("lstm", "3", quantiles)
    return diagnose(candidate, WALK[: len(judged)], judged, LEVELS, MARKET)


def test_it_tells_the_share_of_targets_at_or_below_each_quantile() -> None:
    known = np.isfinite(JUDGED.targets)
    expected = [(JUDGED.targets <= MINE[..., i])[known].mean() for i in range(len(LEVELS))]
    np.testing.assert_allclose(look().observed, expected)
    assert look().observed[9] == pytest.approx(0.5, abs=0.15)


def test_it_tells_the_skill_of_each_step() -> None:
    mine, walk = (crps_bp(q, JUDGED.targets, LEVELS) for q in (MINE, WALK))
    expected = 1 - np.nanmean(mine, axis=0) / np.nanmean(walk, axis=0)
    np.testing.assert_allclose(look().skill_by_step, expected)


def test_it_tells_the_skill_of_each_hour_and_how_many_origins_it_rests_on() -> None:
    found = look()
    hour = JUDGED.origin // 3600 % 24
    scored = np.isfinite(JUDGED.targets).any(axis=1)
    assert found.origins_by_hour.tolist() == [int((hour[scored] == h).sum()) for h in range(24)]
    at = hour == 5
    mine, walk = (np.nansum(crps_bp(q[at], JUDGED.targets[at], LEVELS)) for q in (MINE, WALK))
    assert found.skill_by_hour[5] == pytest.approx(1 - mine / walk)


def test_an_hour_without_an_origin_has_no_skill() -> None:
    hour = JUDGED.origin // 3600 % 24
    empty = ~np.isin(np.arange(24), hour)
    assert np.isnan(look().skill_by_hour[empty]).all()


def test_the_fan_is_of_the_newest_origin_whose_targets_are_known() -> None:
    fan = look().fan
    assert fan is not None
    at = len(JUDGED) - 6
    assert fan.target_times.tolist() == [JUDGED.origin[at] + BAR * h for h in range(1, 7)]
    np.testing.assert_allclose(metrics.median(fan.quantiles, LEVELS), np.exp(JUDGED.log_close[at]))
    assert fan.times[0] == JUDGED.origin[at - 12]
    assert fan.times[-1] == fan.target_times[-1]
    actual = fan.closes[np.searchsorted(fan.times, fan.target_times[0])]
    assert np.log(actual) - JUDGED.log_close[at] == pytest.approx(JUDGED.targets[at, 0])


def test_where_nothing_is_scored_there_is_nothing_to_see() -> None:
    last = Windows(**{name: getattr(JUDGED, name)[-1:] for name in Windows.__slots__})
    unknown = Windows(
        last.inputs, last.sigma, last.log_close, last.origin, last.targets * np.nan, last.market
    )
    found = look(unknown, MINE[-1:])
    assert found.fan is None
    assert np.isnan(found.observed).all()
    assert np.isnan(found.skill_by_step).all()
    assert found.origins_by_hour.sum() == 0
